//! `check`: whether an answer is the exact one, by the proof that `search --proof` wrote.

use super::exit::Failure;
use super::model::{ModelArgs, Target};
use super::output::Output;
use super::search::query_rows;
use super::sound::ChannelArgs;
use otolith::query::{Proof, Verdict};
use otolith::{Database, Error, outside};
use serde_json::json;
use std::path::PathBuf;

/// Most bytes of a proof: that of an answer of some million hits.
const MOST_BYTES: u64 = 1 << 30;

const HELP: &str = "\
Examples:
  otolith search sounds.otolith bark.wav --proof answer.json
  otolith check sounds.otolith bark.wav answer.json

Every record that passes the proof's filter is compared with the query in double precision, by code that shares nothing
with the search. That takes some hundred times as long as a search. What `tests/check_with_numpy.py` of the source code
says, which reads the files by their specification alone, is the same.

Exit codes: 0 the answer is the exact one; 1 it is refuted, or could not be checked; 3 records are damaged.
With --json: {\"holds\", \"records\", \"refuted_by\", \"why\"}; `records` were compared (null when refuted).";

/// Check whether an answer is the exact one, by its proof.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// The query: a sound file, or a .npy matrix of raw rows
    file: PathBuf,
    /// What `search --proof` wrote
    proof: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    channel: ChannelArgs,
}

pub(super) fn run(args: Args, output: &mut Output) -> Result<(), Failure> {
    let text = String::from_utf8(outside::read(&args.proof, MOST_BYTES)?)
        .map_err(|_| Error::invalid(args.proof.display().to_string(), "this is no text"))?;
    let proof: Proof = text.parse()?;
    let collection = Database::open_read_only(&args.target.db)?.collection(&args.target.collection)?;
    let rows = query_rows(&args.file, &args.model, &args.channel, &collection.schema()?, output)?;
    let bar = output.progress(1, "comparing");
    bar.tick();
    let verdict = collection.check(&rows, &proof);
    bar.finish_and_clear();
    let verdict = verdict?;
    if output.is_json() {
        let (records, refuted_by, why) = match &verdict {
            Verdict::Holds { records } => (Some(records), None, None),
            Verdict::Refuted { record, why } => (None, record.as_ref(), Some(why)),
            other => (None, None, Some(&other.to_string())),
        };
        output.document(&json!({
            "holds": verdict.holds(), "records": records, "refuted_by": refuted_by, "why": why,
        }))?;
    } else if verdict.holds() {
        output.line(format_args!("{verdict}"))?;
    }
    if verdict.holds() { Ok(()) } else { Err(Failure::Partly(verdict.to_string())) }
}
