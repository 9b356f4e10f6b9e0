//! `compact`: space back from what was deleted and replaced.

use super::exit::Failure;
use super::output::Output;
use otolith::DatabaseOptions;
use serde_json::json;
use std::path::PathBuf;

const HELP: &str = "\
Rewrites segments in which much is deleted or replaced, and joins small ones. Readers go on; other writers wait. Files that
a reader still uses go once it lets them go. It may be interrupted at any time, with Ctrl-C too: what was finished by then
stays, and the rest is as it was.

With --force nothing that was deleted or replaced is left in any file of the database: not its rows, its id or its fields, nor
what views and indexes made of it. What it does not reach: files that readers still use (run it again when they have ended),
backups and other copies, what the disk keeps of removed files, and what a fitted view has learnt (drop it first, and create
it again).

Example:
  otolith compact sounds.otolith --force

With --json: {\"segments\", \"removed\", \"written_bytes\", \"freed_bytes\", \"finished\", \"damaged\", \"pinned\"}";

/// Give back the space of deleted and replaced records.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    /// The database, a directory
    db: PathBuf,
    /// Leave nothing of what was deleted or replaced
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: Args, opening: DatabaseOptions, output: &mut Output) -> Result<(), Failure> {
    let db = opening.must_exist().open(&args.db)?;
    let done = if args.force { db.purge() } else { db.compact() }?;
    db.close()?;
    if output.is_json() {
        return output.document(&json!({
            "segments": done.segments, "removed": done.removed, "written_bytes": done.written_bytes,
            "freed_bytes": done.freed_bytes, "finished": done.finished, "damaged": done.damaged, "pinned": done.pinned,
        }));
    }
    if done.pinned > 0 {
        let why = "readers still use files of before: they go when the readers have ended and something is written";
        output.remark(format_args!("{} older generations stay: {why}", done.pinned));
    }
    if done.damaged > 0 {
        let why = "are damaged and were left as they are, deleted records too: see `otolith verify`";
        output.remark(format_args!("{} segments {why}", done.damaged));
    }
    let removed = match done.removed {
        0 => String::new(),
        removed => format!(", {removed} removed that held nothing live"),
    };
    output.line(format_args!(
        "{} segments rewritten{removed}, {} bytes written, {} bytes freed",
        done.segments, done.written_bytes, done.freed_bytes
    ))
}
