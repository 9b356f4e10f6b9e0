//! A training run: epochs of steps, an evaluation after each, the best or the last weights kept.

use super::adamw::AdamW;
use super::corpus::Corpus;
use super::schedule::Schedule;
use super::state::{self, State};
use super::step::{Optimiser, cross_entropy, gradients, internal};
use super::{Keep, Progress, Settings};
use crate::classify::{Epoch, ranked};
use crate::embed::wav2vec2::{Drawn, Still, Trainable};
use crate::error::{Error, Result};
use crate::matrix::Precision;
use crate::random::shuffle;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Clips that are evaluated between two reports of progress.
const EVALUATED: usize = 32;

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// Its epochs, in order.
    pub epochs: Vec<Epoch>,
    /// Index, in `epochs`, of the epoch whose weights the network has now; `None` when the run was stopped.
    pub kept: Option<usize>,
    /// Whether it was stopped before its end.
    pub stopped: bool,
}

/// What the network predicts for a clip.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Number of the clip in the corpus.
    pub clip: usize,
    /// The probability of each class.
    pub chances: Vec<f32>,
    /// The cross-entropy: minus the logarithm of the probability of the clip's own class.
    pub loss: f64,
}

/// Trains a network on clips of a corpus, and evaluates it on others after each epoch.
///
/// When `out` is given, that folder itself becomes the checkpoint of the best epoch so far, and `checkpoint-STEP` in
/// it holds what the run needs to go on. A run that finds one goes on from there, and ends as it would have without
/// the interruption. Setting `stop` ends the run after the step in progress, with a checkpoint. `progress` is called
/// from any thread.
///
/// # Errors
/// [`Error::Invalid`] for settings or clips that make no sense, or when the loss stops being a number; those of
/// reading clips and writing checkpoints.
pub fn fine_tune(
    network: &Trainable,
    corpus: &Corpus<'_>,
    (training, validation): (&[usize], &[usize]),
    settings: &Settings,
    out: Option<&Path>,
    stop: &AtomicBool,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Trained> {
    settings.check()?;
    check_classes(network, corpus, training, validation)?;
    let batches = training.len().div_ceil(settings.batch);
    let steps = batches.div_ceil(settings.accumulation);
    let total = steps * settings.epochs;
    let schedule = Schedule { peak: settings.rate, warmup: (total as f64 * settings.warmup).ceil() as usize, total };
    let adamw = AdamW { weight_decay: settings.weight_decay, ..AdamW::default() };
    let mut optimiser = Optimiser::new(network.parameters().len(), adamw, schedule, settings.clip);
    let mut state = State::default();
    if let Some(out) = out {
        state = state::read(out, network, &mut optimiser, settings)?.unwrap_or_default();
    }
    let mut best: Option<Vec<Vec<f32>>> = None;
    while state.epochs.len() < settings.epochs {
        let begin = Instant::now();
        let order = shuffled(training, settings.seed, state.epochs.len());
        let groups: Vec<&[usize]> = order.chunks(settings.batch * settings.accumulation).collect();
        let first = optimiser.steps - state.epochs.len() * steps;
        progress(Progress::Epoch { number: state.epochs.len() + 1, steps, first });
        for group in &groups[first..] {
            if stop.load(Ordering::Relaxed) {
                if let Some(out) = out {
                    state::write(out, network, &optimiser, &state, settings)?;
                }
                return Ok(Trained { epochs: state.epochs, kept: None, stopped: true });
            }
            let group = group.chunks(settings.batch);
            let shards = group.map(|clips| corpus.shards(network, clips)).collect::<Result<Vec<_>>>()?;
            let regularisation = &network.classifier().model().config().regularisation;
            let seed = |batch: usize| settings.seed << 40 ^ (optimiser.steps * settings.accumulation + batch) as u64;
            let noise = |batch, shard| Drawn::new(regularisation, seed(batch), shard as u64);
            let step = optimiser.apply(network.parameters(), &gradients(network, &shards, noise)?)?;
            state.loss += step.loss;
            progress(Progress::Step(step));
        }
        let predictions = predict(network, corpus, validation, progress)?;
        let epoch = Epoch {
            number: state.epochs.len() + 1,
            training_loss: state.loss / steps as f64,
            validation_loss: predictions.iter().map(|one| one.loss).sum::<f64>() / predictions.len() as f64,
            accuracy: share_within(corpus, &predictions, 1),
            top3: share_within(corpus, &predictions, 3),
            seconds: begin.elapsed().as_secs_f64(),
        };
        progress(Progress::Epochs(&epoch));
        let better = state.best.is_none_or(|best| epoch.accuracy > state.epochs[best].accuracy);
        state.epochs.push(epoch);
        state.loss = 0.0;
        if better || settings.keep == Keep::Last {
            state.best = Some(state.epochs.len() - 1);
            match out {
                Some(out) => network.save(out, Precision::F32)?,
                None if settings.keep == Keep::Best => {
                    best =
                        Some(network.parameters().iter().map(|parameter| parameter.values()).collect::<Result<_>>()?);
                }
                None => {}
            }
        }
        if let Some(out) = out {
            state::write(out, network, &optimiser, &state, settings)?;
        }
    }
    match (out, best) {
        (Some(out), _) => network.load(out)?,
        (None, Some(best)) => {
            let parameters = network.parameters().iter().zip(best);
            parameters.filter(|(p, _)| p.variable().is_some()).try_for_each(|(p, values)| p.set(values))?;
        }
        (None, None) => {}
    }
    Ok(Trained { kept: state.best, epochs: state.epochs, stopped: false })
}

/// Evaluates clips, in their order, and reports [`Progress::Evaluated`] as it goes on.
///
/// # Errors
/// Those of reading clips.
pub fn predict(
    network: &Trainable,
    corpus: &Corpus<'_>,
    clips: &[usize],
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Vec<Prediction>> {
    let mut predictions = Vec::with_capacity(clips.len());
    for part in clips.chunks(EVALUATED) {
        let found: Vec<Prediction> = part
            .par_iter()
            .map(|&clip| {
                let logits = network.logits(&corpus.conv(network, clip)?, None, &mut Still)?.detach();
                let loss =
                    cross_entropy(&logits, &[corpus.label(clip) as u32])?.to_scalar::<f32>().map_err(internal)?;
                let chances = candle_nn::ops::softmax(&logits, 1).and_then(|chances| chances.flatten_all()?.to_vec1());
                Ok(Prediction { clip, chances: chances.map_err(internal)?, loss: loss.into() })
            })
            .collect::<Result<_>>()?;
        progress(Progress::Evaluated { clips: found.len(), of: clips.len() });
        predictions.extend(found);
    }
    Ok(predictions)
}

/// Returns for each of the clips the mean over time of the network's last hidden state.
///
/// # Errors
/// As [`predict`].
pub fn mean_states(network: &Trainable, corpus: &Corpus<'_>, clips: &[usize]) -> Result<Vec<Vec<f32>>> {
    let mean = |clip: &usize| {
        let states = network.states(&corpus.conv(network, *clip)?, None, &mut Still)?;
        states.last.mean(1).and_then(|mean| mean.flatten_all()?.to_vec1()).map_err(internal)
    };
    clips.par_iter().map(mean).collect()
}

impl Prediction {
    /// Returns the class numbers, likeliest first.
    pub fn ranked(&self) -> Vec<usize> {
        ranked(&self.chances)
    }
}

/// Returns the share of predictions that have the right class among the first `count`.
fn share_within(corpus: &Corpus<'_>, predictions: &[Prediction], count: usize) -> f64 {
    let right =
        predictions.iter().filter(|one| one.ranked().iter().take(count).any(|class| *class == corpus.label(one.clip)));
    right.count() as f64 / predictions.len() as f64
}

fn check_classes(network: &Trainable, corpus: &Corpus<'_>, training: &[usize], validation: &[usize]) -> Result<()> {
    let labels = network.classifier().labels();
    let mut seen = vec![false; labels.len()];
    for &clip in training {
        match seen.get_mut(corpus.label(clip)) {
            Some(seen) => *seen = true,
            None => return Err(Error::invalid("training clips", format!("class {} has no label", corpus.label(clip)))),
        }
    }
    if seen.iter().filter(|seen| **seen).count() < 2 {
        return Err(Error::invalid("training clips", "a classifier needs clips of two classes at least"));
    }
    if validation.is_empty() {
        return Err(Error::invalid("validation clips", "there are none: nothing would say which epoch is best"));
    }
    for &clip in validation {
        let class = corpus.label(clip);
        if !seen.get(class).copied().unwrap_or(false) {
            let label = labels.get(class).map_or_else(|| class.to_string(), |label| format!("`{label}`"));
            return Err(Error::invalid("validation clips", format!("class {label} has no clip to train on")));
        }
    }
    Ok(())
}

/// Returns the clips in the order of an epoch.
fn shuffled(clips: &[usize], seed: u64, epoch: usize) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(epoch as u64);
    let mut order = clips.to_vec();
    shuffle(&mut order, &mut rng);
    order
}
