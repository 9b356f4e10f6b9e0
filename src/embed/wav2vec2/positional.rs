//! The positional convolution: how the transformer learns where in time a frame stands.

use super::loader::{Loader, internal};
use super::ops;
use crate::embed::checkpoint::Config;
use crate::error::{Error, Result};
use candle_core::{Device, Tensor};

/// In the checkpoint `encoder.pos_conv_embed`.
#[derive(Debug)]
pub(super) struct PositionalConvEmbedding {
    weight: Weight,
    groups: usize,
    bias: Tensor,
    /// Scale and shift of the batch norm before the convolution, in place of the weight norm.
    batch_norm: Option<[Tensor; 2]>,
}

#[derive(Debug)]
enum Weight {
    /// `[groups, taps, inputs, outputs]`, the weight norm folded in.
    Folded(Tensor),
    /// While it is trained: a gain `[1, 1, taps]` and a direction `[width, width / groups, taps]`.
    Normed { gain: Tensor, direction: Tensor },
}

impl PositionalConvEmbedding {
    pub(super) fn load(loader: &mut Loader, config: &Config) -> Result<PositionalConvEmbedding> {
        let name = |part: &str| format!("encoder.pos_conv_embed.{part}");
        let (width, taps, groups) =
            (config.hidden_size, config.num_conv_pos_embeddings, config.num_conv_pos_embedding_groups);
        let channels = width / groups;
        let shape = [width, channels, taps];
        if loader.is_training() {
            if config.conv_pos_batch_norm {
                return Err(Error::invalid(
                    "training",
                    "networks with a batch norm (conv_pos_batch_norm) are not built",
                ));
            }
            let gain = loader.tensor(&name("conv.weight_g"), &[1, 1, taps])?;
            let direction = loader.tensor(&name("conv.weight_v"), &shape)?;
            let bias = loader.tensor(&name("conv.bias"), &[width])?;
            let weight = Weight::Normed { gain, direction };
            return Ok(PositionalConvEmbedding { weight, groups, bias, batch_norm: None });
        }
        let (weight, batch_norm) = if config.conv_pos_batch_norm {
            (loader.values(&name("conv.weight"), &shape)?, Some(batch_norm(loader, &name, width)?))
        } else {
            let gains = loader.values(&name("conv.weight_g"), &[1, 1, taps])?;
            let mut weight = loader.values(&name("conv.weight_v"), &shape)?;
            fold_weight_norm(&mut weight, &gains);
            (weight, None)
        };
        let weight = Tensor::from_vec(weight, &shape, &Device::Cpu).and_then(|weight| by_tap(&weight, groups));
        let bias = loader.tensor(&name("conv.bias"), &[width])?;
        Ok(PositionalConvEmbedding { weight: Weight::Folded(weight.map_err(internal)?), groups, bias, batch_norm })
    }

    /// What is added to `x` `[batch, rows, width]`.
    pub(super) fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let weight = match &self.weight {
            Weight::Folded(weight) => weight.clone(),
            Weight::Normed { gain, direction } => {
                let norm = direction.sqr()?.sum_keepdim((0, 1))?.sqrt()?;
                by_tap(&direction.broadcast_mul(&gain.div(&norm)?)?, self.groups)?
            }
        };
        let convolved = match &self.batch_norm {
            Some([scale, shift]) => ops::grouped_convolution(&x.broadcast_mul(scale)?.broadcast_add(shift)?, &weight)?,
            None => ops::grouped_convolution(x, &weight)?,
        };
        ops::gelu(&convolved.broadcast_add(&self.bias)?)
    }
}

/// `[width, width / groups, taps]` to `[groups, taps, inputs, outputs]`.
fn by_tap(weight: &Tensor, groups: usize) -> candle_core::Result<Tensor> {
    let (width, inputs, taps) = weight.dims3()?;
    weight.reshape((groups, width / groups, inputs, taps))?.permute((0, 3, 2, 1))?.contiguous()
}

/// `w[.., k] = g[k] * v[.., k] / |v[.., k]|`: one norm and one gain for each kernel tap. Sums in f64.
fn fold_weight_norm(weight: &mut [f32], gains: &[f32]) {
    let mut squares = vec![0.0; gains.len()];
    for row in weight.chunks_exact(gains.len()) {
        squares.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value).powi(2));
    }
    let factors: Vec<f64> = gains.iter().zip(squares).map(|(gain, sum)| f64::from(*gain) / sum.sqrt()).collect();
    for row in weight.chunks_exact_mut(gains.len()) {
        row.iter_mut().zip(&factors).for_each(|(value, factor)| *value = (f64::from(*value) * factor) as f32);
    }
}

/// A batch norm at inference is one scale and one shift a channel.
fn batch_norm(loader: &mut Loader, name: &impl Fn(&str) -> String, width: usize) -> Result<[Tensor; 2]> {
    const EPS: f64 = 1e-5;
    let mut part = |part: &str| loader.values(&name(&format!("batch_norm.{part}")), &[width]);
    let (weight, bias, mean, variance) = (part("weight")?, part("bias")?, part("running_mean")?, part("running_var")?);
    let scale: Vec<f64> =
        weight.iter().zip(variance).map(|(w, variance)| f64::from(*w) / (f64::from(variance) + EPS).sqrt()).collect();
    let shift = bias.iter().zip(mean).zip(&scale).map(|((b, mean), scale)| f64::from(*b) - f64::from(mean) * scale);
    let tensor = |values: Vec<f32>| Tensor::from_vec(values, width, &Device::Cpu).map_err(internal);
    let shift = tensor(shift.map(|value| value as f32).collect())?;
    Ok([tensor(scale.into_iter().map(|value| value as f32).collect())?, shift])
}
