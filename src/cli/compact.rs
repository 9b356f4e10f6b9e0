//! `compact`: space back from what was deleted and replaced.

use super::exit::Failure;
use super::output::Output;
use crate::DatabaseOptions;
use serde_json::json;
use std::path::PathBuf;

const HELP: &str = "\
Rewrites segments in which much is deleted or replaced, and joins small ones. Readers go on; other writers wait. Files that
a reader still uses go once it lets them go. It may be interrupted at any time, with Ctrl-C too: what was finished by then
stays, and the rest is as it was.

Example:
  otolith compact sounds.otolith

With --json: {\"segments\", \"written_bytes\", \"freed_bytes\", \"finished\"}";

/// Give back the space of deleted and replaced records.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    /// The database, a directory
    db: PathBuf,
}

pub(super) fn run(args: Args, opening: DatabaseOptions, output: &mut Output) -> Result<(), Failure> {
    let db = opening.must_exist().open(&args.db)?;
    let done = db.compact(&|| true)?;
    db.close()?;
    if output.is_json() {
        return output.document(&json!({
            "segments": done.segments, "written_bytes": done.written_bytes, "freed_bytes": done.freed_bytes,
            "finished": done.finished,
        }));
    }
    output.line(format_args!(
        "{} segments rewritten, {} bytes written, {} bytes freed",
        done.segments, done.written_bytes, done.freed_bytes
    ))
}
