//! The convolution encoder: samples to frames.
//!
//! Activations are channels-last, so an output row of a convolution is the product of `kernel * channels` consecutive
//! values with a `[kernel * channels, outputs]` weight: one product over overlapping rows a layer, no copies. Clips go
//! through in blocks of frames, all layers at a time, so memory does not grow with the clip and activations stay in the
//! cache. The one thing that looks at the whole clip, the channel norm after layer 0, is folded into that layer's
//! weight.

use super::loader::Loader;
use super::ops::{self, Values, norm_row};
use super::parameter::Form;
use crate::embed::checkpoint::{BLOCK, Config, FeatureNorm};
use crate::embed::{Moments, Taps};
use crate::error::Result;
use crate::kernel::{self, Strided};
use candle_core::{Result as Computed, Tensor};

/// Epsilon of the norms in here, whatever the configuration says for the others.
const EPS: f64 = 1e-5;

/// One convolution with its norm; in the checkpoint `feature_extractor.conv_layers.N`.
#[derive(Debug)]
struct ConvLayer {
    inputs: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
    /// `[kernel, inputs, outputs]`
    weight: Tensor,
    bias: Option<Tensor>,
    /// Scale and shift, where the layer has a norm.
    layer_norm: Option<[Tensor; 2]>,
}

/// The numbers of a [`ConvLayer`], borrowed for a pass.
struct Lent<'a> {
    layer: &'a ConvLayer,
    weight: Values<'a>,
    bias: Option<Values<'a>>,
    layer_norm: Option<[Values<'a>; 2]>,
}

/// The stack of convolutions; in the checkpoint `feature_extractor`.
#[derive(Debug)]
pub(super) struct FeatureExtractor {
    conv_layers: Vec<ConvLayer>,
    norm: FeatureNorm,
}

impl FeatureExtractor {
    pub(super) fn load(loader: &mut Loader, config: &Config) -> Result<FeatureExtractor> {
        let mut inputs = 1;
        let mut conv_layers = Vec::with_capacity(config.conv_layers.len());
        for (index, layer) in config.conv_layers.iter().enumerate() {
            let name = |part: &str| format!("feature_extractor.conv_layers.{index}.{part}");
            let (outputs, kernel) = (layer.dim, layer.kernel);
            let weight = loader.formed(&name("conv.weight"), &[outputs, inputs, kernel], Form::ByTap)?;
            let bias = config.conv_bias.then(|| loader.tensor(&name("conv.bias"), &[outputs])).transpose()?;
            let layer_norm = if index == 0 || config.feat_extract_norm == FeatureNorm::Layer {
                let scale = loader.tensor(&name("layer_norm.weight"), &[outputs])?;
                Some([scale, loader.tensor(&name("layer_norm.bias"), &[outputs])?])
            } else {
                None
            };
            conv_layers.push(ConvLayer { inputs, outputs, kernel, stride: layer.stride, weight, bias, layer_norm });
            inputs = outputs;
        }
        Ok(FeatureExtractor { conv_layers, norm: config.feat_extract_norm })
    }

    /// The rows of samples whose moments over a whole sound decide how a part of it is normed.
    pub(super) fn taps(&self) -> Option<Taps> {
        let first = self.conv_layers.first().filter(|_| self.norm == FeatureNorm::Group)?;
        Some(Taps { width: first.kernel, stride: first.stride })
    }

    /// Frames of a clip of prepared samples, `[frames, channels]`; none for fewer samples than the receptive field. Of
    /// a clip that is part of a longer one, `whole` is what [`FeatureExtractor::taps`] asks for.
    pub(super) fn forward(&self, samples: &[f32], whole: Option<&Moments>) -> Computed<Vec<f32>> {
        let rows = self.conv_layers.iter().fold(samples.len(), |length, layer| layer.rows(length));
        let outputs = self.conv_layers.last().map_or(0, |layer| layer.outputs);
        let mut frames = vec![0.0; rows * outputs];
        if rows == 0 {
            return Ok(frames);
        }
        let layers: Vec<Lent<'_>> = self.conv_layers.iter().map(ConvLayer::lend).collect::<Computed<_>>()?;
        let folded = match self.norm {
            FeatureNorm::Group => layers.first().and_then(|layer| {
                let own = || layer.moments(samples);
                layer.fold_channel_norm(&whole.cloned().map_or_else(own, |whole| (0.0, whole)))
            }),
            FeatureNorm::Layer => None,
        };
        let mut buffers = [Vec::new(), Vec::new()];
        for (block, out) in frames.chunks_mut(BLOCK * outputs).enumerate() {
            self.block(&layers, samples, folded.as_ref(), block * BLOCK, out, &mut buffers);
        }
        Ok(frames)
    }

    /// The same for a batch `[clips, samples]` of clips of equal length, keeping what a backward pass needs: `[clips,
    /// frames, channels]`. Whole layers at a time, so memory grows with the clip.
    pub(super) fn forward_for_training(&self, samples: &Tensor) -> Computed<Tensor> {
        let mut x = samples.unsqueeze(2)?;
        for layer in &self.conv_layers {
            x = ops::convolution(&x, &layer.weight, layer.stride)?;
            if let Some(bias) = &layer.bias {
                x = x.broadcast_add(bias)?;
            }
            x = match (&layer.layer_norm, self.norm) {
                (Some([scale, shift]), FeatureNorm::Group) => ops::channel_norm(&x, scale, shift, EPS)?,
                (Some([scale, shift]), FeatureNorm::Layer) => ops::layer_norm(&x, scale, shift, EPS)?,
                (None, _) => x,
            };
            x = ops::gelu(&x)?;
        }
        Ok(x)
    }

    /// All layers for the frames from `first` on that `out` has room for.
    fn block(
        &self,
        layers: &[Lent<'_>],
        samples: &[f32],
        folded: Option<&(Vec<f32>, Vec<f32>)>,
        first: usize,
        out: &mut [f32],
        [input, output]: &mut [Vec<f32>; 2],
    ) {
        // Which rows of each layer's output these frames see, last layer first.
        let (mut start, mut rows) = (first, out.len() / self.conv_layers.last().map_or(1, |layer| layer.outputs));
        let mut spans = Vec::with_capacity(self.conv_layers.len());
        for layer in self.conv_layers.iter().rev() {
            spans.push(rows);
            start *= layer.stride;
            rows = (rows - 1) * layer.stride + layer.kernel;
        }
        input.clear();
        input.extend_from_slice(&samples[start..start + rows]);
        for (index, (lent, rows)) in layers.iter().zip(spans.into_iter().rev()).enumerate() {
            let layer = lent.layer;
            output.resize(rows * layer.outputs, 0.0);
            match folded.filter(|_| index == 0) {
                Some((weight, bias)) => layer.convolve(input, weight, Some(bias.as_slice()), output),
                None => layer.convolve(input, &lent.weight, lent.bias.as_deref(), output),
            }
            match &lent.layer_norm {
                Some([scale, shift]) if self.norm == FeatureNorm::Layer => {
                    for row in output.chunks_exact_mut(layer.outputs) {
                        norm_row(row, scale, shift, EPS);
                        kernel::gelu(row);
                    }
                }
                _ => kernel::gelu(output),
            }
            std::mem::swap(input, output);
        }
        out.copy_from_slice(input);
    }
}

impl ConvLayer {
    /// Output rows for an input of `length` rows.
    fn rows(&self, length: usize) -> usize {
        length.checked_sub(self.kernel).map_or(0, |rest| rest / self.stride + 1)
    }

    /// One product over the overlapping rows of `input`; `out` gives the number of rows.
    fn convolve(&self, input: &[f32], weight: &[f32], bias: Option<&[f32]>, out: &mut [f32]) {
        if let Some(bias) = bias {
            out.chunks_exact_mut(self.outputs).for_each(|row| row.copy_from_slice(bias));
        }
        let left = Strided {
            values: input,
            rows: out.len() / self.outputs,
            cols: self.kernel * self.inputs,
            row_stride: self.stride * self.inputs,
            col_stride: 1,
        };
        kernel::product(out, left, Strided::new(weight, left.cols, self.outputs), bias.is_some());
    }

    fn lend(&self) -> Computed<Lent<'_>> {
        Ok(Lent {
            layer: self,
            weight: Values::of(&self.weight)?,
            bias: self.bias.as_ref().map(Values::of).transpose()?,
            layer_norm: match &self.layer_norm {
                Some([scale, shift]) => Some([Values::of(scale)?, Values::of(shift)?]),
                None => None,
            },
        })
    }
}

impl Lent<'_> {
    /// The mean of the samples, and less that the moments of the rows that the layer sees.
    fn moments(&self, samples: &[f32]) -> (f64, Moments) {
        let ConvLayer { kernel: taps, stride, .. } = *self.layer;
        let rows = self.layer.rows(samples.len());
        // Centred first: the covariance is then not a small difference of large numbers.
        let centre = samples.iter().map(|&sample| f64::from(sample)).sum::<f64>() / samples.len() as f64;
        let centred: Vec<f64> = samples.iter().map(|&sample| f64::from(sample) - centre).collect();
        let windows = Strided { values: &centred, rows, cols: taps, row_stride: stride, col_stride: 1 };
        let mut mean = vec![0.0; taps];
        kernel::product_f64(&mut mean, Strided::new(&vec![1.0 / rows as f64; rows], 1, rows), windows, false);
        let mut covariance = vec![0.0; taps * taps];
        kernel::product_f64(&mut covariance, windows.transposed(), windows, false);
        for (at, moment) in covariance.iter_mut().enumerate() {
            *moment = *moment / rows as f64 - mean[at / taps] * mean[at % taps];
        }
        (centre, Moments { mean, covariance })
    }

    /// Weight and bias that give the output of the convolution already normed channel by channel over the whole clip.
    ///
    /// With `m` the mean of the input rows and `Q` their covariance, the output of a channel with weight `w` has mean
    /// `w . m` and variance `w^T Q w`, so no pass over the output is needed. The layer's own bias cancels. `None` when
    /// the layer has no norm.
    fn fold_channel_norm(
        &self,
        (centre, Moments { mean, covariance }): &(f64, Moments),
    ) -> Option<(Vec<f32>, Vec<f32>)> {
        let [scale, shift] = self.layer_norm.as_ref()?;
        let ConvLayer { kernel: taps, outputs, .. } = *self.layer;
        let (mut weight, mut bias) = (vec![0.0; self.weight.len()], vec![0.0; outputs]);
        for channel in 0..outputs {
            let w: Vec<f64> = (0..taps).map(|tap| f64::from(self.weight[tap * outputs + channel])).collect();
            let mut variance = 0.0;
            for (a, row) in covariance.chunks_exact(taps).enumerate() {
                variance += w[a] * row.iter().zip(&w).map(|(covariance, w)| covariance * w).sum::<f64>();
            }
            let gain = f64::from(scale[channel]) / (variance.max(0.0) + EPS).sqrt();
            let level: f64 = w.iter().zip(mean).map(|(w, m)| w * (m + centre)).sum();
            for (tap, w) in w.iter().enumerate() {
                weight[tap * outputs + channel] = (gain * w) as f32;
            }
            bias[channel] = (f64::from(shift[channel]) - gain * level) as f32;
        }
        Some((weight, bias))
    }
}

/// Brings a clip to mean 0 and variance 1, as the feature extractor of the original does: `(x - mean) / sqrt(variance +
/// 1e-7)`. The sums run in f64, so the result is the rounded exact one.
pub(super) fn normalise(samples: &[f32]) -> Vec<f32> {
    let count = samples.len() as f64;
    let mean = samples.iter().map(|&sample| f64::from(sample)).sum::<f64>() / count;
    let variance = samples.iter().map(|&sample| (f64::from(sample) - mean).powi(2)).sum::<f64>() / count;
    scaled(samples, mean, spread(variance))
}

/// What a clip of this variance is divided by.
pub(super) fn spread(variance: f64) -> f64 {
    (variance + 1e-7).sqrt()
}

/// The samples less `centre` and divided by `spread`.
pub(super) fn scaled(samples: &[f32], centre: f64, spread: f64) -> Vec<f32> {
    samples.iter().map(|&sample| ((f64::from(sample) - centre) / spread) as f32).collect()
}
