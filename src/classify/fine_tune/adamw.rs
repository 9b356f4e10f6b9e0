//! AdamW: Adam with decoupled weight decay (Loshchilov and Hutter 2019), each tensor with a step count of its own.

use super::step::Gradients;
use crate::embed::wav2vec2::Parameter;
use crate::error::Result;
use rayon::prelude::*;

/// What the optimiser is set to, beside the learning rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// How much of the mean of gradients is kept at a step.
    pub beta1: f64,
    /// How much of the mean of squared gradients is kept.
    pub beta2: f64,
    /// Added to the root of that mean, after the correction of its beginning.
    pub epsilon: f64,
    /// Share of a weight that is taken off at a step, times the learning rate. Biases and norms are spared.
    pub weight_decay: f64,
}

impl Default for AdamW {
    fn default() -> AdamW {
        AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }
}

/// What is remembered of a tensor's gradients, in the order of the tensor in use.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// Steps in which the tensor had a gradient.
    pub steps: u32,
    /// Running mean of gradients.
    pub first: Vec<f32>,
    /// Running mean of their squares.
    pub second: Vec<f32>,
}

impl AdamW {
    /// Moves every parameter that has a gradient, all gradients multiplied by `scale` first. A parameter without one is
    /// left alone: it does not decay, and its count of steps stays (LayerDrop).
    ///
    /// # Errors
    /// None that could be expected.
    pub fn step(
        &self,
        parameters: &[Parameter],
        moments: &mut [Option<Moments>],
        gradients: &Gradients,
        scale: f64,
        rate: f64,
    ) -> Result<()> {
        let all = parameters.par_iter().zip(moments).zip(&gradients.values);
        all.try_for_each(|((parameter, moments), gradient)| {
            let Some(gradient) = gradient else { return Ok(()) };
            let zeros = || vec![0.0; gradient.len()];
            let moments = moments.get_or_insert_with(|| Moments { steps: 0, first: zeros(), second: zeros() });
            moments.steps += 1;
            let correction = |beta: f64| 1.0 - beta.powi(moments.steps as i32);
            let (size, root) = (rate / correction(self.beta1), correction(self.beta2).sqrt());
            let decay = if decays(parameter.name()) { rate * self.weight_decay } else { 0.0 };
            parameter.update(|values| {
                let moments = moments.first.iter_mut().zip(&mut moments.second);
                for ((value, gradient), (first, second)) in values.iter_mut().zip(gradient).zip(moments) {
                    let gradient = f64::from(*gradient) * scale;
                    *first = (self.beta1 * f64::from(*first) + (1.0 - self.beta1) * gradient) as f32;
                    *second = (self.beta2 * f64::from(*second) + (1.0 - self.beta2) * gradient * gradient) as f32;
                    let kept = f64::from(*value) * (1.0 - decay);
                    *value =
                        (kept - size * f64::from(*first) / (f64::from(*second).sqrt() / root + self.epsilon)) as f32;
                }
            })
        })
    }
}

/// Whether weight decay acts on a tensor: not on biases, nor on what belongs to a norm.
pub fn decays(name: &str) -> bool {
    let name = name.to_lowercase();
    let norm = |part: &str| part == "norm" || part.ends_with("_norm");
    !(name.contains("bias") || name.contains("layernorm") || name.contains("rmsnorm") || name.split('.').any(norm))
}
