//! Tensors out of a checkpoint, hashed as they pass.

use crate::embed::checkpoint::Weights;
use crate::error::{Error, Result};
use candle_core::{Device, Tensor};
use xxhash_rust::xxh3::Xxh3;

/// Hands out tensors and keeps a hash of names, shapes and values: two checkpoints that give the same tensors get the
/// same hash, whatever files and types they were stored in.
pub(super) struct Loader {
    weights: Weights,
    hash: Xxh3,
}

impl Loader {
    /// `recipe` says everything that enters the result beside the tensors.
    pub(super) fn new(weights: Weights, recipe: &str) -> Loader {
        let mut hash = Xxh3::new();
        hash.update(recipe.as_bytes());
        Loader { weights, hash }
    }

    /// Values of a tensor, row-major.
    pub(super) fn values(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let values = self.weights.tensor(name, shape)?;
        self.hash.update(format!("\n{name} {shape:?}\n").as_bytes());
        for chunk in values.chunks(1 << 14) {
            let bytes: Vec<u8> = chunk.iter().flat_map(|value| value.to_le_bytes()).collect();
            self.hash.update(&bytes);
        }
        Ok(values)
    }

    pub(super) fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let values = self.values(name, shape)?;
        Tensor::from_vec(values, shape, &Device::Cpu).map_err(internal)
    }

    /// The hash of everything handed out.
    pub(super) fn digest(&self) -> u128 {
        self.hash.digest128()
    }
}

/// An error of the tensor library: shapes that do not fit each other, which the checks before should have caught.
pub(super) fn internal(error: candle_core::Error) -> Error {
    Error::invalid("wav2vec2", error.to_string())
}
