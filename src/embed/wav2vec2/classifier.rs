//! The classification head: one score for each class.

use super::encoder::kept_frames;
use super::layers::Linear;
use super::loader::{Loader, internal};
use super::{Layer, States, WINDOW_ROWS, Wav2Vec2};
use crate::embed::checkpoint::{Checkpoint, Generation, Problem};
use crate::embed::{Embedder, Moments};
use crate::error::{Error, Result};
use candle_core::{Result as Computed, Tensor};
use std::path::Path;

/// A network with a classification head: the last hidden state, or a weighted sum of all states, averaged over time,
/// projected, and mapped to classes.
#[derive(Debug)]
pub struct Classifier {
    model: Wav2Vec2,
    /// One weight a state, before their softmax.
    layer_weights: Option<Tensor>,
    projector: Linear,
    classifier: Linear,
}

impl Classifier {
    /// Loads a checkpoint folder that was saved with a head.
    ///
    /// # Errors
    /// As [`Wav2Vec2::open`]; a folder without a head lacks the tensor `projector.weight`.
    pub fn open(dir: &Path) -> Result<Classifier> {
        Classifier::of(Checkpoint::open(dir)?)
    }

    /// Loads a checkpoint that was saved with a head.
    ///
    /// # Errors
    /// As [`Classifier::open`].
    #[doc(hidden)]
    pub fn of(checkpoint: Checkpoint) -> Result<Classifier> {
        let (model, mut loader) = Wav2Vec2::load(checkpoint, Layer::Mean)?;
        Classifier::build(model, &mut loader)
    }

    /// The head on top of a network with all its layers.
    pub(super) fn build(model: Wav2Vec2, loader: &mut Loader) -> Result<Classifier> {
        let config = model.config();
        if config.problem == Problem::Regression {
            return Err(Error::invalid("checkpoint", "its problem_type is `regression`: its outputs are no classes"));
        }
        let (width, inner, labels) = (config.hidden_size, config.classifier_proj_size, config.labels.len());
        let layer_weights = config
            .use_weighted_layer_sum
            .then(|| loader.tensor("layer_weights", &[config.num_hidden_layers + 1]))
            .transpose()?;
        let projector = Linear::load(loader, "projector", width, inner)?;
        let classifier = Linear::load(loader, "classifier", inner, labels)?;
        Ok(Classifier { model, layer_weights, projector, classifier })
    }

    /// The network below the head, with all its layers.
    #[doc(hidden)]
    pub fn model(&self) -> &Wav2Vec2 {
        &self.model
    }

    /// Samples a second of the clips that it takes.
    pub fn sample_rate(&self) -> u32 {
        self.model.preprocessor().sampling_rate
    }

    /// Whether each class has a probability of its own, as where the checkpoint's `problem_type` is
    /// `multi_label_classification`; otherwise those of all classes add up to 1.
    pub fn is_multi_label(&self) -> bool {
        self.model.config().problem == Problem::MultiLabel
    }

    /// Names of the classes, in the order of the scores.
    pub fn labels(&self) -> &[String] {
        &self.model.config().labels
    }

    /// A probability for each class of a clip at the model's rate: they add up to 1, or, where the checkpoint's
    /// `problem_type` is `multi_label_classification`, each stands for itself. A clip of more than 30 s goes through in
    /// windows of equal length, and all its frames are averaged; one shorter than the receptive field is filled up with
    /// silence.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for a clip without samples or with one that is not a number, or when
    /// the network gives one that is none.
    pub fn chances(&self, samples: &[f32]) -> Result<Vec<f32>> {
        if samples.is_empty() || samples.iter().any(|sample| !sample.is_finite()) {
            return Err(Error::invalid("clip", "it holds no samples, or one that is not a number"));
        }
        let config = self.model.config();
        let mut prepared = self.model.prepare(samples).into_owned();
        prepared.resize(prepared.len().max(config.receptive_field()), 0.0);
        let frames = config.frames(prepared.len());
        let count = frames.div_ceil(WINDOW_ROWS);
        let moments = self.model.taps().filter(|_| count > 1).map(|taps| Moments::of(&prepared, taps));
        // The head is linear behind the mean over time, so the scores of windows are averaged as their frames would be.
        let window = |window: usize| {
            let (first, last) = (frames * window / count, frames * (window + 1) / count);
            let samples = &prepared[first * config.hop()..][..config.samples(last - first)];
            let conv = self.model.conv_within(samples, moments.as_ref())?;
            let projected = self.model.project(&self.model.features(&conv)?)?;
            let logits = self.logits(&self.model.encode(&projected, None)?, None)?;
            (logits * ((last - first) as f64 / frames as f64)).map_err(internal)
        };
        let parts = (0..count).map(window).collect::<Result<Vec<_>>>()?;
        let logits = Tensor::cat(&parts, 0).and_then(|parts| parts.sum(0));
        let chances = logits.and_then(|logits| match config.problem {
            Problem::MultiLabel => candle_nn::ops::sigmoid(&logits)?.to_vec1(),
            Problem::SingleLabel | Problem::Regression => candle_nn::ops::softmax(&logits, 0)?.to_vec1(),
        });
        let chances: Vec<f32> = chances.map_err(internal)?;
        match chances.iter().all(|chance| chance.is_finite()) {
            true => Ok(chances),
            false => Err(Error::invalid("classes", "the network gives scores that are no numbers")),
        }
    }

    /// Scores `[batch, classes]` of the hidden states that [`Wav2Vec2::encode`] gave for the same `kept`.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for states of another shape.
    #[doc(hidden)]
    pub fn logits(&self, states: &States, kept: Option<&[usize]>) -> Result<Tensor> {
        self.classifier.forward(&self.pooled(states, kept)?).map_err(internal)
    }

    /// What the classes are told apart by, one row a clip, `[batch, classifier_proj_size]`.
    ///
    /// # Errors
    /// As [`Classifier::logits`].
    #[doc(hidden)]
    pub fn pooled(&self, states: &States, kept: Option<&[usize]>) -> Result<Tensor> {
        let pooled = self.summed(states).and_then(|hidden| self.projector.forward(&pool(&hidden, kept)?));
        pooled.map_err(internal)
    }

    /// What is classified, `[batch, rows, width]`.
    fn summed(&self, states: &States) -> Computed<Tensor> {
        let Some(weights) = &self.layer_weights else { return Ok(states.last.clone()) };
        let mut all = states.states.clone();
        if self.model.config().generation == Generation::Normed {
            all.pop();
            all.push(states.last.clone());
        }
        let shares = candle_nn::ops::softmax(weights, 0)?.reshape((all.len(), 1, 1, 1))?;
        Tensor::stack(&all, 0)?.broadcast_mul(&shares)?.sum(0)
    }
}

/// The mean over the frames that count. The projector is linear, so pooling before it gives the same and costs less.
fn pool(hidden: &Tensor, kept: Option<&[usize]>) -> Computed<Tensor> {
    let Some(kept) = kept else { return hidden.mean(1) };
    let flags = kept_frames(kept, hidden.dim(1)?)?;
    hidden.broadcast_mul(&flags)?.sum(1)?.broadcast_div(&flags.sum(1)?)
}
