//! `compare`: the experiment.

use super::exit::Failure;
use super::model::ModelArgs;
use super::output::Output;
use super::scratch::Scratch;
use super::shown::shown;
use super::sound::tell_beside;
use crate::esc50::Progress;
use crate::esc50::compare::{Setup, compare};
use crate::esc50::fine_tuned::FineTuning;
use crate::esc50::{Arm, Protocol, report};
use crate::exchange::create_whole;
use indicatif::ProgressBar;
use otolith::DatabaseOptions;
use otolith::Error;
use otolith::classify::fine_tune::Settings;
use otolith::embed;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;

const HELP: &str = "\
Sounds become frames (--model), frames go into a database once (--db keeps it for the next time), and every arm answers
the same queries: search arms rank the records, classifiers the classes. What is fitted sees training clips only.

Arms: concat-64, flat, mean, mean-std, maxsim, maxsim-white, codes, fused, adapted, tuned (search); knn, linear-probe,
fine-tune (classifiers). adapted and the classifiers learn from labels. fine-tune trains a wav2vec2 on the records of each
round, its convolution encoder frozen, and keeps the last epoch; tuned searches by the hidden states of that network.
On the built-in sounds it is trained for the first round only, which the number of queries shows.
Protocols: folds (each fold queries the others), 34-5-1 (of each class 34 clips to search, the 40th to search for),
open-set (as folds, among a fifth of the classes, on which nothing was fitted: adapted learns from the other classes).
--data takes ESC-50's own layout (meta/esc50.csv, audio/*.wav) or folders of classes, with or without train|test|val.

Examples:
  otolith compare
  otolith compare --data ESC-50 --db esc50.otolith --report esc50.html
  otolith compare --data ESC-50 --protocol 34-5-1 --arms concat-64,codes --json";

/// Compare vector search with a classifier on a set of sounds.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    /// The set of sounds; the built-in one unless given
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Who queries whom
    #[arg(long, value_name = "folds|34-5-1|open-set", default_value = "folds")]
    protocol: Protocol,
    #[command(flatten)]
    model: ModelArgs,
    /// Arms to run, separated by commas; all unless given
    #[arg(long, value_name = "ARM,..", value_delimiter = ',')]
    arms: Vec<String>,
    /// Keep the database here, and use what it holds
    #[arg(long, value_name = "DIR")]
    db: Option<PathBuf>,
    /// Epochs of fine-tune
    #[arg(long, value_name = "N", default_value_t = 5)]
    epochs: usize,
    /// Highest learning rate of fine-tune; 1e-3 for the miniature and 5e-5 for others unless given
    #[arg(long, value_name = "RATE")]
    rate: Option<f64>,
    /// Rounds in which fine-tune is trained; all unless given, and one on the built-in sounds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,
    /// Keep the network of each round in a folder here, and go on with what an interrupted comparison left
    #[arg(long, value_name = "DIR")]
    networks: Option<PathBuf>,
    /// Seed of the built-in sounds, of drawn folds and of arms that draw
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Write a page with plots, confusions and playable examples
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

pub(super) fn run(args: Args, opening: DatabaseOptions, output: &mut Output) -> Result<(), Failure> {
    let arms = if args.arms.is_empty() { Arm::ALL.to_vec() } else { Arm::named(&args.arms)? };
    let located = args.model.locate(output)?;
    let embedder = args.model.embedder(located.as_ref())?;
    let tuning = located.filter(embed::Located::is_trainable).map(|model| FineTuning {
        settings: Settings {
            epochs: args.epochs,
            rate: args.rate.unwrap_or(if args.model.model == embed::MINI { 1e-3 } else { 5e-5 }),
            seed: args.seed,
            ..Settings::default()
        },
        rounds: args.rounds.map_or(if args.data.is_none() { 1 } else { usize::MAX }, usize::from),
        out: args.networks,
        model,
    });
    let scratch = Scratch::new()?;
    let set = scratch.data_set(args.data.as_deref(), args.seed)?;
    tell_beside(&set.beside, output);
    let db = opening.open(args.db.unwrap_or_else(|| scratch.database()))?;
    let setup = Setup {
        set: &set,
        protocol: args.protocol,
        embedder: embedder.as_ref(),
        model: args.model.label(embedder.as_ref()),
        arms,
        seed: args.seed,
        tuning,
    };
    let bar = Mutex::new(ProgressBar::hidden());
    let mut comparison = compare(&setup, &db, &|progress| {
        let mut bar = bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match progress {
            Progress::Begin { what, steps } => *bar = output.progress(steps as u64, what),
            Progress::Step => bar.inc(1),
            Progress::End => bar.finish_and_clear(),
        }
    })?;
    if let Some(path) = args.report {
        let page = report::render(&comparison, &set)?;
        let failed = |error| Error::io(&path, "write the report", error);
        create_whole(&path, |out| out.write_all(page.as_bytes()).map_err(failed))?;
        output.remark(format_args!("report written to {}", path.display()));
    }
    if output.is_json() {
        return output.document(&comparison.to_json());
    }
    comparison.dataset = shown(&comparison.dataset).into_owned();
    output.text(&comparison.to_text(None))
}
