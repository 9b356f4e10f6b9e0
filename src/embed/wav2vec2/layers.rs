//! The small parts that the rest is made of.

use super::loader::Loader;
use super::ops;
use super::parameter::Form;
use crate::embed::checkpoint::Config;
use crate::error::Result;
use candle_core::Tensor;

/// `x W^T + b`
#[derive(Debug)]
pub(super) struct Linear {
    /// `[inputs, outputs]`
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    pub(super) fn load(loader: &mut Loader, name: &str, inputs: usize, outputs: usize) -> Result<Linear> {
        Ok(Linear {
            weight: loader.formed(&format!("{name}.weight"), &[outputs, inputs], Form::Turned)?,
            bias: loader.tensor(&format!("{name}.bias"), &[outputs])?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        ops::linear(x, &self.weight, &self.bias)
    }
}

/// A norm over the channels of each row.
#[derive(Debug)]
pub(super) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    pub(super) fn load(loader: &mut Loader, name: &str, width: usize, config: &Config) -> Result<LayerNorm> {
        Ok(LayerNorm {
            weight: loader.tensor(&format!("{name}.weight"), &[width])?,
            bias: loader.tensor(&format!("{name}.bias"), &[width])?,
            eps: config.layer_norm_eps,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        ops::layer_norm(x, &self.weight, &self.bias, self.eps)
    }
}
