//! `backup`: a copy of a database that is in use.

use super::exit::Failure;
use super::output::Output;
use otolith::Database;
use serde_json::json;
use std::cell::OnceCell;
use std::path::PathBuf;

const HELP: &str = "\
The copy is one committed version, whole, whatever others write meanwhile; copying the files with cp is not. It is a
database like any other: open it, verify it, back it up again. When the command or the machine is cut off, DIR holds no
database: remove it and begin again.

To restore, give the copy a place of its own: `otolith backup COPY DIR` with a new or an empty DIR, or remove the damaged
database first. Copied over a database that has gone on since, files of a backup change nothing, and nobody says so: of all
versions in a directory the newest counts.

On the file system of the original, files are shared by hard links: it takes no time and no space, and it is safe, because
a finished file is never written again. It is no guard against a disk that fails: for that, give a DIR on another one.

Examples:
  otolith backup sounds.otolith /mnt/other/sounds-2026-11-24.otolith
  otolith verify --deep /mnt/other/sounds-2026-11-24.otolith
  otolith backup /mnt/other/sounds-2026-11-24.otolith restored.otolith

With --json: {\"generation\", \"records\", \"linked_files\", \"copied_files\", \"copied_bytes\", \"bytes\"}";

/// Copy a database, also while others write to it.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    /// The database, a directory
    db: PathBuf,
    /// Where the copy goes: a new or an empty directory
    dir: PathBuf,
}

pub(super) fn run(args: Args, output: &mut Output) -> Result<(), Failure> {
    let db = Database::open_read_only(&args.db)?;
    let bar = OnceCell::new();
    let done = db.backup_with(&args.dir, &|bytes, total| {
        bar.get_or_init(|| output.progress(total, "bytes")).set_position(bytes);
    })?;
    if let Some(bar) = bar.get() {
        bar.finish_and_clear();
    }
    if output.is_json() {
        return output.document(&json!({
            "generation": done.generation, "records": done.records, "linked_files": done.linked_files,
            "copied_files": done.copied_files, "copied_bytes": done.copied_bytes, "bytes": done.bytes,
        }));
    }
    output.line(format_args!(
        "{} records in {} bytes: {} files linked, {} copied ({} bytes)",
        done.records, done.bytes, done.linked_files, done.copied_files, done.copied_bytes
    ))
}
