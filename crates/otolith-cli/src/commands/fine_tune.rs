//! `fine-tune`: a network trained on a set of sounds.

use super::exit::Failure;
use super::model::ModelArgs;
use super::output::Output;
use super::scratch::Scratch;
use super::sound::tell_beside;
use crate::esc50::fine_tuned::Sounds;
use crate::esc50::{DataSet, Split, protocol};
use otolith::Error;
use otolith::classify::Epoch;
use otolith::classify::fine_tune::{Corpus, Keep, Progress, Settings, fine_tune};
use serde_json::json;
use signal_hook::consts::SIGINT;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

const HELP: &str = "\
OUT becomes a checkpoint in the common layout (config.json, model.safetensors) of the best epoch so far; the program's
--model takes it, and so does transformers. OUT/checkpoint-STEP is what an interrupted run goes on from: the same command
again. Ctrl-C ends the run after the step in progress and keeps it; a second one ends it at once, back to the last epoch.

Without splits of its own, a set is validated on one of its folds (--fold, the last unless given), or with --split on the
5 clips of each class that `dataset prepare` calls test.

Examples:
  otolith fine-tune --out tuned/                                       the miniature, on the built-in sounds
  otolith fine-tune --data ESC-50 --model facebook/wav2vec2-large --split --epochs 20 --out tuned/    the tutorial's run
  otolith fine-tune --data ESC-50 --freeze --fold 5 --rate 1e-3 --out tuned/
  otolith classify bark.wav --model tuned/

With --json: {\"epochs\": [{\"epoch\", \"training_loss\", \"validation_loss\", \"accuracy\", \"top3\", \"seconds\"}],
\"kept\": the number of the epoch in OUT, \"stopped\", \"training_clips\", \"validation_clips\"}";

/// Train a network to tell classes of sound apart.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    /// The set of sounds; the built-in one unless given
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// Where to write the checkpoint; an interrupted run there goes on
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The fold to validate on
    #[arg(long, value_name = "N", conflicts_with = "split")]
    fold: Option<u32>,
    /// Train on 34 clips of each class in the set's order, validate on the next 5
    #[arg(long)]
    split: bool,
    /// Leave the convolution encoder as it is, and compute it once for each clip
    #[arg(long)]
    freeze: bool,
    /// Times that every clip is seen
    #[arg(long, default_value_t = 5)]
    epochs: usize,
    /// Clips of a batch
    #[arg(long, default_value_t = 8)]
    batch: usize,
    /// Batches of a step
    #[arg(long, value_name = "N", default_value_t = 1)]
    accumulate: usize,
    /// Highest learning rate
    #[arg(long, default_value_t = 5e-5)]
    rate: f64,
    /// Share of the steps in which the rate rises
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    warmup: f64,
    /// Weight decay
    #[arg(long, value_name = "DECAY", default_value_t = 0.0)]
    weight_decay: f64,
    /// Longest gradient; 0 for any
    #[arg(long, value_name = "LENGTH", default_value_t = 1.0)]
    clip: f64,
    /// Keep the last epoch, not the best
    #[arg(long)]
    keep_last: bool,
    /// Seed of the head, of orders and noise, of the built-in sounds and of drawn folds
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub(super) fn run(args: Args, output: &mut Output) -> Result<(), Failure> {
    if args.model.layer.is_some() {
        return Err(Error::invalid("--layer", "is for search: fine-tuning takes the last hidden state").into());
    }
    let Some(located) = args.model.locate(output)? else {
        return Err(Error::invalid("model", "log-mel frames have nothing to train: give a wav2vec2 checkpoint").into());
    };
    let scratch = Scratch::new()?;
    let set = scratch.data_set(args.data.as_deref(), args.seed)?;
    tell_beside(&set.beside, output);
    let (training, validation) = parts(&args, &set)?;
    let network = located.trainable(&set.classes, args.freeze, args.seed)?;
    let rate = network.sample_rate();
    let sounds = Sounds { set: &set, rate, samples: None };
    let corpus = Corpus::new(&sounds);
    let settings = Settings {
        epochs: args.epochs,
        batch: args.batch,
        accumulation: args.accumulate,
        rate: args.rate,
        warmup: args.warmup,
        weight_decay: args.weight_decay,
        clip: args.clip,
        seed: args.seed,
        keep: if args.keep_last { Keep::Last } else { Keep::Best },
    };
    output.remark(format_args!("{} clips to train on, {} to validate", training.len(), validation.len()));
    let stop = stopped_by_ctrl_c()?;
    if !output.is_json() {
        output.line(Epoch::HEADING)?;
        output.finish()?;
    }
    let bar = output.progress(0, "training");
    let shown = Mutex::new(&mut *output);
    let outcome =
        fine_tune(&network, &corpus, (&training, &validation), &settings, Some(&args.out), &stop, &|progress| {
            match progress {
                Progress::Epoch { number, steps, first } => {
                    bar.set_length(steps as u64);
                    bar.set_position(first as u64);
                    bar.set_message(format!("epoch {number}"));
                }
                Progress::Step(step) => {
                    bar.set_message(format!("loss {:.3}", step.loss));
                    bar.inc(1);
                }
                Progress::Evaluated { .. } => bar.set_message("validating"),
                Progress::Epochs(epoch) => {
                    let mut output = shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    if !output.is_json() {
                        // A closed pipe shows at the next line that must be written; the run is worth more.
                        let _ = bar.suspend(|| output.line(epoch.to_line()).and_then(|()| output.finish()));
                    }
                }
            }
        })?;
    bar.finish_and_clear();
    if output.is_json() {
        output.document(&json!({
            "epochs": outcome.epochs.iter().map(Epoch::to_json).collect::<Vec<_>>(),
            "kept": outcome.kept.map(|kept| kept + 1),
            "stopped": outcome.stopped,
            "training_clips": training.len(),
            "validation_clips": validation.len(),
        }))?;
    }
    if outcome.stopped {
        return Err(Failure::Partly(format!("stopped: the same command goes on from {}", args.out.display())));
    }
    if !output.is_json()
        && let Some(kept) = outcome.kept
    {
        output.line(format_args!("epoch {} is in {}", kept + 1, args.out.display()))?;
    }
    Ok(())
}

/// The clips to train on and those to validate with.
fn parts(args: &Args, set: &DataSet) -> Result<(Vec<usize>, Vec<usize>), Error> {
    let all = 0..set.clips.len();
    if args.split || set.clips.iter().any(|clip| clip.split.is_some()) && args.fold.is_none() {
        let splits = protocol::splits(set)?;
        let of = |split| all.clone().filter(|clip| splits[*clip] == Some(split)).collect();
        return Ok((of(Split::Train), of(Split::Test)));
    }
    let last = set.clips.iter().map(|clip| clip.fold).max().unwrap_or(1);
    let fold = args.fold.unwrap_or(last);
    if fold == 0 || fold > last {
        return Err(Error::invalid("--fold", format!("{fold}: the set has folds 1 to {last}")));
    }
    Ok(all.partition(|clip| set.clips[*clip].fold != fold))
}

/// Becomes true at the first Ctrl-C; the second ends the program.
fn stopped_by_ctrl_c() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register_conditional_shutdown(SIGINT, 130, Arc::clone(&stop))?;
    signal_hook::flag::register(SIGINT, Arc::clone(&stop))?;
    Ok(stop)
}
