//! `classify`: the classes of sounds, by a fine-tuned network.

use super::exit::Failure;
use super::model::ModelArgs;
use super::output::Output;
use super::sound::ChannelArgs;
use otolith::audio::{Clip, Mix};
use otolith::classify::Classifier;
use otolith::classify::ranked;
use otolith::ingest;
use otolith::{Error, Result};
use rayon::prelude::*;
use serde_json::json;
use std::path::{Path, PathBuf};

const HELP: &str = "\
Examples:
  otolith classify bark.wav --model tuned/
  otolith classify recordings/ --model tuned/ --top 1 --json

Probabilities add up to 1, unless the checkpoint says that a sound may have several classes (problem_type
multi_label_classification): then each stands for itself. Of equal ones the class that the checkpoint names first comes first.

With --json: {\"sounds\": [{\"file\", \"classes\": [{\"class\", \"probability\"}]}], \"failed\": [{\"file\", \"error\"}]}";

/// Name the classes of sounds by a network with a classification head, such as `fine-tune` leaves.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    /// Sound files, or directories to be searched for them
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    channel: ChannelArgs,
    /// Classes to show of each sound
    #[arg(long, value_name = "N", default_value_t = 3)]
    top: usize,
}

pub(super) fn run(args: Args, output: &mut Output) -> Result<(), Failure> {
    let Some(located) = args.model.locate(output)? else {
        return Err(Error::invalid("model", "log-mel frames name no classes: give a fine-tuned checkpoint").into());
    };
    let classifier = located.classifier()?;
    if classifier.labels().len() == 1 && !classifier.is_multi_label() {
        output.remark(format_args!("{}: a network of one class, whose probability is always 1", args.model.model));
    }
    let ingest::Found { sounds, failed: unread, left_out } = ingest::find_sounds(&args.files)?;
    let bar = output.progress(sounds.len() as u64, "classifying");
    let found: Vec<_> = sounds
        .par_iter()
        .map(|sound| {
            let found = classes(&classifier, &sound.path, args.channel.channel, args.top);
            bar.inc(1);
            found
        })
        .collect();
    bar.finish_and_clear();
    let (mut named, mut failed) = (Vec::new(), Vec::new());
    for (path, why) in &unread {
        output.problem(format_args!("{}: {why}", path.display()));
        failed.push(json!({"file": path.display().to_string(), "error": why}));
    }
    if !left_out.is_empty() {
        output.remark(&left_out);
    }
    for (sound, found) in sounds.iter().zip(found) {
        let file = sound.path.display().to_string();
        match found {
            Ok(classes) if output.is_json() => {
                let class = |(class, chance): (&str, f32)| json!({"class": class, "probability": chance});
                named.push(json!({"file": file, "classes": classes.into_iter().map(class).collect::<Vec<_>>()}));
            }
            Ok(classes) => {
                let classes: Vec<String> =
                    classes.iter().map(|(class, chance)| format!("{class} {chance:.3}")).collect();
                output.line(format_args!("{file}  {}", classes.join("  ")))?;
            }
            Err(error) => {
                output.problem(&error);
                failed.push(json!({"file": file, "error": error.to_string()}));
            }
        }
    }
    let count = failed.len();
    if output.is_json() {
        output.document(&json!({"sounds": named, "failed": failed}))?;
    }
    if count > 0 {
        return Err(Failure::Partly(format!(
            "{count} of {} files could not be classified",
            sounds.len() + unread.len()
        )));
    }
    Ok(())
}

/// The likeliest classes with their probabilities.
fn classes<'c>(classifier: &'c Classifier, path: &Path, mix: Mix, top: usize) -> Result<Vec<(&'c str, f32)>> {
    let clip = Clip::read_mixed(path, classifier.sample_rate(), mix)?;
    let chances = classifier.chances(&clip.samples).map_err(|error| Error::unusable(path, error.to_string()))?;
    let ranked = ranked(&chances).into_iter().take(top);
    Ok(ranked.map(|class| (classifier.labels()[class].as_str(), chances[class])).collect())
}
