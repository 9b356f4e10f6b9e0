//! One step of training: gradients of a batch, clipped, applied.

use super::adamw::{AdamW, Moments};
use super::schedule::Schedule;
use crate::embed::wav2vec2::{Input, Noise, Parameter, Trainable};
use crate::error::{Error, Result};
use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};
use rayon::prelude::*;

/// Clips that go through the network together; the shards of a batch run side by side.
#[derive(Clone, Debug)]
pub struct Shard {
    /// The clips.
    pub input: Input,
    /// Of each clip the frames that count; `None` for all.
    pub kept: Option<Vec<usize>>,
    /// Their classes.
    pub labels: Vec<u32>,
}

/// What a batch says about every parameter, in the order of [`Trainable::parameters`].
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients {
    /// Mean loss.
    pub loss: f64,
    /// The gradient in the order of the tensor in use; `None` where the parameter had no part.
    pub values: Vec<Option<Vec<f32>>>,
}

impl Gradients {
    /// No gradient of `count` parameters yet.
    pub fn none(count: usize) -> Gradients {
        Gradients { loss: 0.0, values: vec![None; count] }
    }

    /// Adds what a backward pass found.
    ///
    /// # Errors
    /// None that could be expected.
    pub fn add(&mut self, parameters: &[Parameter], found: &GradStore) -> Result<()> {
        for (sum, parameter) in self.values.iter_mut().zip(parameters) {
            let Some(gradient) = found.get(parameter.tensor()).filter(|_| parameter.variable().is_some()) else {
                continue;
            };
            let gradient: Vec<f32> = gradient.flatten_all().and_then(|flat| flat.to_vec1()).map_err(internal)?;
            match sum {
                Some(sum) => sum.iter_mut().zip(gradient).for_each(|(sum, value)| *sum += value),
                None => *sum = Some(gradient),
            }
        }
        Ok(())
    }

    /// The length of all gradients as one vector.
    pub fn norm(&self) -> f64 {
        let square = |value: &f32| f64::from(*value).powi(2);
        self.values.iter().flatten().map(|values| values.iter().map(square).sum::<f64>()).sum::<f64>().sqrt()
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainingStep {
    /// The learning rate that it used.
    pub rate: f64,
    /// Mean loss over the batches of the step.
    pub loss: f64,
    /// Length of the gradient before clipping.
    pub norm: f64,
}

/// A network, and what its training needs from one step to the next.
#[derive(Debug)]
pub struct Optimiser {
    adamw: AdamW,
    schedule: Schedule,
    /// Longest gradient; 0 for any.
    clip: f64,
    /// Steps done.
    pub(super) steps: usize,
    /// One entry a parameter.
    pub(super) moments: Vec<Option<Moments>>,
}

impl Optimiser {
    /// For `parameters` parameters, before the first step.
    pub fn new(parameters: usize, adamw: AdamW, schedule: Schedule, clip: f64) -> Optimiser {
        Optimiser { adamw, schedule, clip, steps: 0, moments: vec![None; parameters] }
    }

    /// Steps done.
    #[cfg(any(test, feature = "testing"))]
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Moves the network by gradients.
    ///
    /// # Errors
    /// [`Error::Invalid`] when they are not finite: the network stays as it was.
    pub fn apply(&mut self, network: &[Parameter], gradients: &Gradients) -> Result<TrainingStep> {
        let norm = gradients.norm();
        if !norm.is_finite() || !gradients.loss.is_finite() {
            let why = format!(
                "step {}: loss {} and gradient {norm} are not finite: lower the learning rate",
                self.steps, gradients.loss
            );
            return Err(Error::invalid("training", why));
        }
        let scale = if self.clip > 0.0 { (self.clip / (norm + 1e-6)).min(1.0) } else { 1.0 };
        let rate = self.schedule.rate(self.steps);
        self.adamw.step(network, &mut self.moments, gradients, scale, rate)?;
        self.steps += 1;
        Ok(TrainingStep { rate, loss: gradients.loss, norm })
    }
}

/// Gradients of the mean cross-entropy of several batches, each in shards: the mean of the batches' means. `noise`
/// makes the noise of a shard of a batch.
///
/// # Errors
/// Those of [`Trainable::logits`].
pub fn gradients<N: Noise>(
    network: &Trainable,
    batches: &[Vec<Shard>],
    noise: impl Fn(usize, usize) -> N + Sync,
) -> Result<Gradients> {
    let mut sum = Gradients::none(network.parameters().len());
    for (number, shards) in batches.iter().enumerate() {
        let clips: usize = shards.iter().map(|shard| shard.labels.len()).sum();
        let passes: Vec<(f64, GradStore)> = shards
            .par_iter()
            .enumerate()
            .map(|(index, shard)| {
                let logits = network.logits(&shard.input, shard.kept.as_deref(), &mut noise(number, index))?;
                let weight = shard.labels.len() as f64 / (clips * batches.len()) as f64;
                let loss = (cross_entropy(&logits, &shard.labels)? * weight).map_err(internal)?;
                let value = loss.to_scalar::<f32>().map_err(internal)?;
                Ok((f64::from(value), loss.backward().map_err(internal)?))
            })
            .collect::<Result<_>>()?;
        for (loss, found) in passes {
            sum.loss += loss;
            sum.add(network.parameters(), &found)?;
        }
    }
    Ok(sum)
}

/// Mean cross-entropy of logits `[clips, classes]`.
pub(super) fn cross_entropy(logits: &Tensor, labels: &[u32]) -> Result<Tensor> {
    let labels = Tensor::new(labels, &Device::Cpu).map_err(internal)?;
    candle_nn::loss::cross_entropy(logits, &labels).map_err(internal)
}

/// An error of the tensor library.
pub(super) fn internal(error: candle_core::Error) -> Error {
    Error::invalid("training", error.to_string())
}
