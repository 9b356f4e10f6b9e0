//! Tensors out of a checkpoint, or drawn, hashed as they pass.

use super::initial::Initial;
use super::parameter::{Form, Parameter};
use crate::embed::checkpoint::Weights;
use crate::error::{Error, Result};
use candle_core::Tensor;
use xxhash_rust::xxh3::Xxh3;

/// Hands out tensors and keeps a hash of names, shapes and values: two checkpoints that give the same tensors get the
/// same hash, whatever files and types they were stored in.
pub(in crate::embed) struct Loader {
    weights: Option<Weights>,
    training: Option<Training>,
    hash: Xxh3,
}

/// What a loader does beside when the network is to be trained.
pub(super) struct Training {
    /// Draws what the weights do not have.
    pub(super) initial: Initial,
    /// Tensors to be drawn even if the weights have some of that name: their names begin with one of these.
    pub(super) anew: Vec<&'static str>,
    /// Tensors that stay as they are: their names begin with this.
    pub(super) frozen: Option<&'static str>,
    /// All that was handed out.
    pub(super) parameters: Vec<Parameter>,
}

impl Loader {
    /// `recipe` says everything that enters the result beside the tensors.
    pub(in crate::embed) fn new(weights: Weights, recipe: &str) -> Loader {
        Loader::with(Some(weights), None, recipe)
    }

    /// With `training` tensors become variables; without weights all are drawn.
    pub(super) fn with(weights: Option<Weights>, training: Option<Training>, recipe: &str) -> Loader {
        let mut hash = Xxh3::new();
        hash.update(recipe.as_bytes());
        Loader { weights, training, hash }
    }

    /// Whether the tensors are to be trained.
    pub(super) fn is_training(&self) -> bool {
        self.training.is_some()
    }

    /// Values of a tensor, row-major.
    pub(super) fn values(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let values = match (&self.weights, &self.training) {
            (Some(weights), None) => weights.tensor(name, shape)?,
            (Some(weights), Some(training)) if !training.anew.iter().any(|anew| name.starts_with(anew)) => {
                weights.tensor(name, shape)?
            }
            (_, Some(training)) => training.initial.draw(name, shape),
            (None, None) => return Err(Error::invalid("wav2vec2", "neither weights nor a seed to draw them from")),
        };
        self.hash.update(format!("\n{name} {shape:?}\n").as_bytes());
        for chunk in values.chunks(1 << 14) {
            let bytes: Vec<u8> = chunk.iter().flat_map(|value| value.to_le_bytes()).collect();
            self.hash.update(&bytes);
        }
        Ok(values)
    }

    pub(in crate::embed) fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.formed(name, shape, Form::Stored)
    }

    /// A tensor that is stored with `shape`, in the form in which it is used.
    pub(super) fn formed(&mut self, name: &str, shape: &[usize], form: Form) -> Result<Tensor> {
        let tensor = form.used(self.values(name, shape)?, shape)?;
        let Some(training) = &mut self.training else { return Ok(tensor) };
        let frozen = training.frozen.is_some_and(|frozen| name.starts_with(frozen));
        let parameter = Parameter::new(name, shape, form, tensor, frozen)?;
        let tensor = parameter.tensor().clone();
        training.parameters.push(parameter);
        Ok(tensor)
    }

    /// The tensors handed out for training.
    pub(super) fn into_parameters(self) -> Vec<Parameter> {
        self.training.map(|training| training.parameters).unwrap_or_default()
    }

    /// The hash of everything handed out.
    pub(in crate::embed) fn digest(&self) -> u128 {
        self.hash.digest128()
    }
}

/// An error of the tensor library: shapes that do not fit each other, which the checks before should have caught.
pub(super) fn internal(error: candle_core::Error) -> Error {
    Error::invalid("wav2vec2", error.to_string())
}
