//! `export`: records as arrays and vectors, one at a time.

use super::exit::Failure;
use super::model::Target;
use super::output::Output;
use crate::exchange;
use otolith::Database;
use serde_json::json;
use std::path::PathBuf;

const HELP: &str = "\
What is written is told by the ending of OUT:
  .npy            one array of all records, which must have equally many rows; shape (records, dim) where that is one row,
                  else (records, rows, dim)
  .npz            an array (rows, dim) for every record, named by its id; ids that are no safe names of files (`../a`, `a` beside
                  `A`, line breaks) stand in records.jsonl in the archive, which `import` reads
  .fvecs, .fbin   vectors, of records of one row
  anything else   a directory: NUMBER.npy for every record, and records.jsonl with id, file and fields

Values are f32. With .npy, .fvecs and .fbin the ids go to OUT.ids.txt (v.npy.ids.txt beside v.npy), a line each, for
`import --ids`. Only a directory keeps fields. A file gets its name when it is whole; one of that name is replaced then, and
that is said. A directory must be new or empty. The records are those of one moment, whatever others write meanwhile.
A damaged record ends the export with its name and exit code 3: delete it, or export from what `otolith repair` saves.

Examples:
  otolith export sounds.otolith exported/
  otolith export sounds.otolith frames.npz --collection takes
  otolith export vectors.otolith base.fvecs

With --json: {\"exported\"}";

/// Write records out as arrays and vectors.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// A file, or a directory, made when missing
    out: PathBuf,
}

pub(super) fn run(args: Args, output: &mut Output) -> Result<(), Failure> {
    let db = Database::open_read_only(&args.target.db)?;
    let snapshot = db.collection(&args.target.collection)?.snapshot()?;
    let bar = output.progress(snapshot.len() as u64, "exporting");
    let mut replaced = exchange::files_of(&args.out);
    replaced.retain(|file| file.exists());
    exchange::write(&snapshot, &args.out, &bar)?;
    bar.finish_and_clear();
    replaced.iter().for_each(|file| output.remark(format_args!("{}: replaced", file.display())));
    if output.is_json() {
        return output.document(&json!({ "exported": snapshot.len() }));
    }
    output.line(format_args!("{} exported", snapshot.len()))
}
