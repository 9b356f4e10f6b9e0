//! `add`: sound files into a database.

use super::exit::Failure;
use super::model::{ModelArgs, Target};
use super::output::Output;
use crate::DatabaseOptions;
use crate::embed::ingest::{self, Event, Ingest};
use serde_json::json;
use std::path::PathBuf;

const HELP: &str = "\
A record's id is the file's path below the argument it was found under. Its fields: file, seconds, sample_rate,
rows_per_second, hash (of the samples), model, and class with --class-from-folder. A file that is there already with the
same hash and model is skipped. Files are committed in batches: whatever happens, a batch is there wholly or not at all.

Example:
  otolith add sounds.otolith recordings/ --class-from-folder

With --json: {\"added\", \"skipped\", \"failed\": [{\"file\", \"error\"}]}";

/// Put sound files into a database; creates it when there is none.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// Sound files, or directories to be searched for them
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// Take the name of the folder that a file lies in as the field `class`
    #[arg(long)]
    class_from_folder: bool,
}

pub(super) fn run(args: Args, opening: DatabaseOptions, output: &mut Output) -> Result<(), Failure> {
    let embedder = args.model.open(output)?;
    let sounds = ingest::find_sounds(&args.files)?;
    let db = opening.open(&args.target.db)?;
    let collection = ingest::collection_for(&db, &args.target.collection, embedder.as_ref())?;
    let bar = output.progress(sounds.len() as u64, "embedding");
    let ingest =
        Ingest { collection: &collection, embedder: embedder.as_ref(), class_from_folder: args.class_from_folder };
    let report = ingest.run(&sounds, &|event| match event {
        Event::Done => bar.inc(1),
        Event::Failed(error) => bar.suspend(|| output.problem(error)),
    })?;
    bar.finish_and_clear();

    let (added, skipped, failed) = (report.added, report.skipped, report.failed.len());
    if output.is_json() {
        let list: Vec<_> = report.failed.iter().map(|(file, error)| json!({ "file": file, "error": error })).collect();
        output.document(&json!({ "added": added, "skipped": skipped, "failed": list }))?;
    } else {
        output.line(format_args!("{added} added, {skipped} unchanged, {failed} failed"))?;
    }
    if failed > 0 {
        return Err(Failure::Partly(format!("{failed} of {} files could not be added", sounds.len())));
    }
    Ok(())
}
