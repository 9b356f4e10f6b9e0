//! `add`: sound files into a database.

use super::exit::Failure;
use super::model::{ModelArgs, Target};
use super::output::Output;
use super::sound::{ChannelArgs, left_out_json};
use otolith::DatabaseOptions;
use otolith::ingest::{self, Event, Ingest};
use serde_json::{Value, json};
use std::path::PathBuf;

const HELP: &str = "\
A record's id is the file's path below the argument it was found under. Its fields: file (its whole path), seconds,
sample_rate, rows_per_second, hash (of the samples), model, class with --class-from-folder, channel with --channel. A file
that is there already with the same hash, model and channel is skipped, wherever it lies now; one that has changed replaces
its record. A file with the id of another file's record and another sound is refused (exit code 1, the others go in): after
`add DB 2025/` give `add DB .`, or --replace. Files are committed in batches: whatever happens, a batch is there wholly or
not at all.

Of a directory every file is read that is named like a sound, whatever its case; links to folders are followed once. What is
left out (hidden, not named like a sound, no regular file) is counted and told, with the first names. Read are WAV (also RF64,
Wave64), AIFF, AU, CAF, FLAC, Ogg (Vorbis, Opus, FLAC), MP3, MP2, AAC-LC, ALAC, and the sound of MP4 and WebM.

Example:
  otolith add sounds.otolith recordings/ --class-from-folder

With --json: {\"added\", \"replaced\", \"skipped\", \"failed\": [{\"file\", \"error\"}], \"remarks\": [{\"file\", \"remark\"}],
\"left_out\": [{\"why\", \"files\", \"first\"}]}";

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
    #[command(flatten)]
    channel: ChannelArgs,
    /// Let sounds replace those of other files whose records have their ids
    #[arg(long)]
    replace: bool,
}

pub(super) fn run(args: Args, opening: DatabaseOptions, output: &mut Output) -> Result<(), Failure> {
    let embedder = args.model.open(output)?;
    let found = ingest::find_sounds(&args.files)?;
    let sounds = &found.sounds;
    let db = opening.open(&args.target.db)?;
    let collection = ingest::collection_for(&db, &args.target.collection, embedder.as_ref())?;
    let bar = output.progress(sounds.len() as u64, "embedding");
    let ingest = Ingest::new(&collection, embedder.as_ref())
        .class_from_folder(args.class_from_folder)
        .mix(args.channel.channel)
        .replace(args.replace);
    let mut report = ingest.run(sounds, &|event| match event {
        Event::Done => bar.inc(1),
        Event::Failed(error) => bar.suspend(|| output.problem(error)),
        Event::Remark(file, remark) => bar.suspend(|| output.remark(format_args!("{}: {remark}", file.display()))),
    })?;
    bar.finish_and_clear();
    for (path, why) in &found.failed {
        output.problem(format_args!("{}: {why}", path.display()));
        report.failed.push((path.display().to_string(), why.clone()));
    }
    if !found.left_out.is_empty() {
        output.remark(&found.left_out);
    }

    let (added, replaced) = (report.added, report.replaced);
    let (skipped, failed) = (report.skipped, report.failed.len());
    if output.is_json() {
        let list = |list: &[(String, String)], what: &str| -> Vec<Value> {
            list.iter().map(|(file, text)| json!({ "file": file, what: text })).collect()
        };
        let (problems, remarks) = (list(&report.failed, "error"), list(&report.remarks, "remark"));
        let left_out = left_out_json(&found.left_out);
        output.document(&json!({
            "added": added, "replaced": replaced, "skipped": skipped, "failed": problems, "remarks": remarks,
            "left_out": left_out,
        }))?;
    } else {
        output.line(format_args!("{added} added, {replaced} replaced, {skipped} unchanged, {failed} failed"))?;
    }
    if failed > 0 {
        let files = sounds.len() + found.failed.len();
        return Err(Failure::Partly(format!(
            "{failed} of {files} files could not be added (records of other sounds give way with --replace)"
        )));
    }
    Ok(())
}
