//! `dataset prepare`: a set of sounds in the folders that training scripts expect.

use super::exit::Failure;
use super::output::Output;
use super::scratch::Scratch;
use crate::esc50::prepare::prepare;
use serde_json::json;
use std::path::PathBuf;

#[derive(clap::Subcommand)]
pub(super) enum Action {
    /// Write DIR/{train,test,val}/CLASS/*.wav
    Prepare(PrepareArgs),
}

/// Write DIR/{train,test,val}/CLASS/*.wav: of each class 34 clips to train, 5 to test, 1 to validate.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  otolith dataset prepare --data ESC-50 prepared/")]
pub(super) struct PrepareArgs {
    /// Where to write; made when missing
    out: PathBuf,
    /// The set: ESC-50's own layout or folders of classes; the built-in sounds unless given
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Seed of the built-in sounds and of drawn folds
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub(super) fn run(action: Action, output: &mut Output) -> Result<(), Failure> {
    let Action::Prepare(args) = action;
    let scratch = Scratch::new()?;
    let set = scratch.data_set(args.data.as_deref(), args.seed)?;
    let prepared = prepare(&set, &args.out)?;
    if output.is_json() {
        return output.document(&json!({ "train": prepared.train, "test": prepared.test, "val": prepared.val }));
    }
    output.line(format_args!("{} train, {} test, {} val", prepared.train, prepared.test, prepared.val))
}
