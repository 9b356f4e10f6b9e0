//! Norms: over the channels of a row, and of a channel over the rows of a clip.
//!
//! With `n` the normed value and `g` the gradient times the scale, both go back as `(g - mean(g) - n mean(g n)) /
//! deviation`.

use super::{Values, contiguous, tensor};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

/// Over which values mean and variance are taken.
#[derive(Clone, Copy)]
enum Over {
    /// The last dimension, `[.., channels]`.
    Channels,
    /// The rows of a clip, for each channel: `[batch, rows, channels]`. Sums in f64, for a clip has many rows.
    Rows,
}

struct Norm {
    over: Over,
    eps: f64,
}

impl CustomOp3 for Norm {
    fn name(&self) -> &'static str {
        match self.over {
            Over::Channels => "layer-norm",
            Over::Rows => "channel-norm",
        }
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (scale, shift) = (contiguous(s2, l2)?, contiguous(s3, l3)?);
        let mut values = contiguous(s1, l1)?.to_vec();
        if l1.dims().last() != Some(&scale.len()) || scale.len() != shift.len() {
            bail!("a {} of {} over {:?}", self.name(), scale.len(), l1.dims());
        }
        match self.over {
            Over::Channels => {
                values.chunks_exact_mut(scale.len()).for_each(|row| norm_row(row, scale, shift, self.eps));
            }
            Over::Rows => {
                let &[_, rows, channels] = l1.dims() else { bail!("a channel norm over {:?}", l1.dims()) };
                for clip in values.chunks_exact_mut((rows * channels).max(1)) {
                    let (means, deviations) = self.moments(clip, channels);
                    for row in clip.chunks_exact_mut(channels) {
                        for (channel, value) in row.iter_mut().enumerate() {
                            let normed = (f64::from(*value) - means[channel]) / deviations[channel];
                            *value = normed as f32 * scale[channel] + shift[channel];
                        }
                    }
                }
            }
        }
        Ok((CpuStorage::F32(values), l1.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        scale: &Tensor,
        shift: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let (values, scales, gradients) = (Values::of(x)?, Values::of(scale)?, Values::of(&gradient)?);
        let channels = scales.len();
        let mut dx = vec![0.0; values.len()];
        let (mut d_scale, mut d_shift) = (vec![0.0_f64; channels], vec![0.0_f64; channels]);
        match self.over {
            Over::Channels => {
                let rows = values.chunks_exact(channels).zip(gradients.chunks_exact(channels));
                for ((row, gradient), out) in rows.zip(dx.chunks_exact_mut(channels)) {
                    let (mean, deviation) = moments(row, self.eps);
                    out.iter_mut().zip(row).for_each(|(out, value)| *out = (value - mean) / deviation);
                    let (mut sum, mut product) = (0.0, 0.0);
                    for channel in 0..channels {
                        d_scale[channel] += f64::from(gradient[channel] * out[channel]);
                        d_shift[channel] += f64::from(gradient[channel]);
                        sum += gradient[channel] * scales[channel];
                        product += gradient[channel] * scales[channel] * out[channel];
                    }
                    let (mean, product) = (sum / channels as f32, product / channels as f32);
                    for (channel, out) in out.iter_mut().enumerate() {
                        *out = (gradient[channel] * scales[channel] - mean - *out * product) / deviation;
                    }
                }
            }
            Over::Rows => {
                let rows = x.dim(1)?;
                let clip = (rows * channels).max(1);
                let clips = values.chunks_exact(clip).zip(gradients.chunks_exact(clip));
                for ((values, gradients), out) in clips.zip(dx.chunks_exact_mut(clip)) {
                    let (means, deviations) = self.moments(values, channels);
                    let (mut sums, mut products) = (vec![0.0_f64; channels], vec![0.0_f64; channels]);
                    let normed = |channel: usize, value: f32| (f64::from(value) - means[channel]) / deviations[channel];
                    for (row, gradient) in values.chunks_exact(channels).zip(gradients.chunks_exact(channels)) {
                        for channel in 0..channels {
                            let gradient = f64::from(gradient[channel]);
                            sums[channel] += gradient;
                            products[channel] += gradient * normed(channel, row[channel]);
                        }
                    }
                    let rows = values.chunks_exact(channels).zip(gradients.chunks_exact(channels));
                    for ((row, gradient), out) in rows.zip(out.chunks_exact_mut(channels)) {
                        for channel in 0..channels {
                            let less = (sums[channel] + normed(channel, row[channel]) * products[channel])
                                / (clip / channels) as f64;
                            let gain = f64::from(scales[channel]) / deviations[channel];
                            out[channel] = ((f64::from(gradient[channel]) - less) * gain) as f32;
                        }
                    }
                    d_scale.iter_mut().zip(products).for_each(|(sum, part)| *sum += part);
                    d_shift.iter_mut().zip(sums).for_each(|(sum, part)| *sum += part);
                }
            }
        }
        let narrow = |values: Vec<f64>, like| tensor(values.into_iter().map(|value| value as f32).collect(), like);
        Ok((Some(tensor(dx, x)?), Some(narrow(d_scale, scale)?), Some(narrow(d_shift, shift)?)))
    }
}

impl Norm {
    /// Mean and deviation of each channel of a clip `[rows, channels]`.
    fn moments(&self, clip: &[f32], channels: usize) -> (Vec<f64>, Vec<f64>) {
        let rows = (clip.len() / channels) as f64;
        let mut means = vec![0.0; channels];
        for row in clip.chunks_exact(channels) {
            means.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        means.iter_mut().for_each(|sum| *sum /= rows);
        let mut deviations = vec![0.0; channels];
        for row in clip.chunks_exact(channels) {
            for ((sum, value), mean) in deviations.iter_mut().zip(row).zip(&means) {
                *sum += (f64::from(*value) - mean).powi(2);
            }
        }
        deviations.iter_mut().for_each(|sum: &mut f64| *sum = (*sum / rows + self.eps).sqrt());
        (means, deviations)
    }
}

/// Layer norm over the last dimension.
pub(in super::super) fn layer_norm(x: &Tensor, scale: &Tensor, shift: &Tensor, eps: f64) -> Result<Tensor> {
    x.apply_op3(scale, shift, Norm { over: Over::Channels, eps })
}

/// Each channel of each clip over its rows; `x` is `[batch, rows, channels]`.
pub(in super::super) fn channel_norm(x: &Tensor, scale: &Tensor, shift: &Tensor, eps: f64) -> Result<Tensor> {
    x.apply_op3(scale, shift, Norm { over: Over::Rows, eps })
}

/// Brings a row to mean 0 and (biased) variance 1, then scales and shifts it.
pub(in super::super) fn norm_row(row: &mut [f32], scale: &[f32], shift: &[f32], eps: f64) {
    let (mean, deviation) = moments(row, eps);
    for ((value, scale), shift) in row.iter_mut().zip(scale).zip(shift) {
        *value = (*value - mean) / deviation * scale + shift;
    }
}

/// Mean and deviation of a row.
fn moments(row: &[f32], eps: f64) -> (f32, f32) {
    let count = row.len() as f32;
    let mean = sum(row, |value| value) / count;
    let variance = sum(row, |value| (value - mean) * (value - mean)) / count;
    (mean, (f64::from(variance) + eps).sqrt() as f32)
}

/// A sum in 16 running parts: as fast as the memory on any vector unit, and far more accurate than one part.
fn sum(values: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = values.as_chunks::<16>();
    let mut parts = [0.0; 16];
    for chunk in chunks {
        for (part, value) in parts.iter_mut().zip(chunk) {
            *part += of(*value);
        }
    }
    parts.iter().sum::<f32>() + rest.iter().map(|value| of(*value)).sum::<f32>()
}
