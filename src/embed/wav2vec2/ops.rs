//! The operations behind the convolution encoder as candle operations on `kernel`.
//!
//! candle's own product splits each call over all cores, which helps nobody when callers embed one clip per core; its
//! fused layer norm drops gradients without a word. These run on the calling thread, and a backward pass through them is
//! an error until it is written.

use crate::kernel::{self, Strided};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};

/// The values of a contiguous `f32` tensor.
fn contiguous<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("a contiguous tensor is needed, found strides {:?}", layout.stride()),
    }
}

/// `x W + b` for every row, with `W` `[inputs, outputs]`.
struct Linear;

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
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
        let (x, weight, bias) = (contiguous(s1, l1)?, contiguous(s2, l2)?, contiguous(s3, l3)?);
        let (Some((&width, batch)), &[inputs, outputs]) = (l1.dims().split_last(), l2.dims()) else {
            bail!("a linear map {:?} of {:?}", l2.dims(), l1.dims());
        };
        if width != inputs || bias.len() != outputs {
            bail!("a linear map {:?} with {} biases of {:?}", l2.dims(), bias.len(), l1.dims());
        }
        let rows = batch.iter().product();
        let mut out = bias.repeat(rows);
        kernel::product(&mut out, Strided::new(x, rows, inputs), Strided::new(weight, inputs, outputs), true);
        Ok((CpuStorage::F32(out), Shape::from([batch, &[outputs]].concat())))
    }
}

/// `x W + b` for every row of `x` `[.., inputs]`, with `W` `[inputs, outputs]`.
pub(super) fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.apply_op3(weight, bias, Linear)
}

struct Gelu;

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut values = contiguous(storage, layout)?.to_vec();
        kernel::gelu(&mut values);
        Ok((CpuStorage::F32(values), layout.shape().clone()))
    }
}

/// Exact GELU of every value.
pub(super) fn gelu(x: &Tensor) -> Result<Tensor> {
    x.apply_op1(Gelu)
}

/// Attention by heads. Scores exist for a block of query rows at a time, so they stay in the cache and their memory does
/// not grow with the square of the clip.
struct Attention {
    heads: usize,
    /// How many of each clip's rows are keys; `None` for all.
    kept: Option<Vec<usize>>,
}

/// Query rows a block.
const QUERIES: usize = 256;

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
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
        let (q, k, v) = (contiguous(s1, l1)?, contiguous(s2, l2)?, contiguous(s3, l3)?);
        let &[_, rows, width] = l1.dims() else { bail!("attention over {:?}", l1.dims()) };
        if l1.dims() != l2.dims() || l1.dims() != l3.dims() || width == 0 || width % self.heads != 0 {
            bail!("attention of {} heads over {:?}, {:?} and {:?}", self.heads, l1.dims(), l2.dims(), l3.dims());
        }
        let size = width / self.heads;
        let (mut scores, mut part) = (vec![0.0; QUERIES * rows], vec![0.0; QUERIES * size]);
        let mut out = vec![0.0; q.len()];
        for (clip, out) in out.chunks_exact_mut((rows * width).max(1)).enumerate() {
            let keys = self.kept.as_ref().map_or(rows, |kept| kept[clip]);
            for (block, out) in out.chunks_mut(QUERIES * width).enumerate() {
                let queries = out.len() / width;
                let (scores, part) = (&mut scores[..queries * keys], &mut part[..queries * size]);
                for head in 0..self.heads {
                    let columns = |values, first: usize, rows| {
                        let values: &[f32] = values;
                        let values = &values[first * width + head * size..];
                        Strided { values, rows, cols: size, row_stride: width, col_stride: 1 }
                    };
                    let first = clip * rows;
                    let q = columns(q, first + block * QUERIES, queries);
                    kernel::product(scores, q, columns(k, first, keys).transposed(), false);
                    kernel::softmax(scores, keys);
                    kernel::product(part, Strided::new(scores, queries, keys), columns(v, first, keys), false);
                    for (to, from) in out.chunks_exact_mut(width).zip(part.chunks_exact(size)) {
                        to[head * size..][..size].copy_from_slice(from);
                    }
                }
            }
        }
        Ok((CpuStorage::F32(out), l1.shape().clone()))
    }
}

/// Of every head the values `v` weighed by `softmax(q k^T)`, heads side by side; all `[batch, rows, width]`. Of clip `i`
/// only the first `kept[i]` rows are keys, one at least: the others weigh exactly 0.
pub(super) fn attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, kept: Option<&[usize]>) -> Result<Tensor> {
    q.apply_op3(k, v, Attention { heads, kept: kept.map(<[usize]>::to_vec) })
}

struct Norm {
    eps: f64,
}

impl CustomOp3 for Norm {
    fn name(&self) -> &'static str {
        "layer-norm"
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
            bail!("a layer norm of {} over {:?}", scale.len(), l1.dims());
        }
        values.chunks_exact_mut(scale.len()).for_each(|row| norm_row(row, scale, shift, self.eps));
        Ok((CpuStorage::F32(values), l1.shape().clone()))
    }
}

/// Layer norm over the last dimension.
pub(super) fn layer_norm(x: &Tensor, scale: &Tensor, shift: &Tensor, eps: f64) -> Result<Tensor> {
    x.apply_op3(scale, shift, Norm { eps })
}

/// Brings a row to mean 0 and (biased) variance 1, then scales and shifts it.
pub(super) fn norm_row(row: &mut [f32], scale: &[f32], shift: &[f32], eps: f64) {
    let count = row.len() as f32;
    let mean = sum(row, |value| value) / count;
    let variance = sum(row, |value| (value - mean) * (value - mean)) / count;
    let deviation = (f64::from(variance) + eps).sqrt() as f32;
    for ((value, scale), shift) in row.iter_mut().zip(scale).zip(shift) {
        *value = (*value - mean) / deviation * scale + shift;
    }
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

/// A convolution over time in channel groups that keeps the number of rows.
struct Convolution;

impl CustomOp2 for Convolution {
    fn name(&self) -> &'static str {
        "grouped-convolution"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, weight) = (contiguous(s1, l1)?, contiguous(s2, l2)?);
        let (&[_, rows, width], &[groups, taps, inputs, outputs]) = (l1.dims(), l2.dims()) else {
            bail!("a convolution of {:?} by {:?}", l1.dims(), l2.dims());
        };
        if groups * inputs != width || groups * outputs != width {
            bail!("a convolution of {width} channels in {groups} groups of {inputs} and {outputs}");
        }
        let mut out = vec![0.0; x.len()];
        // One group of a clip, its channels side by side, between zeros.
        let mut padded = vec![0.0; (rows + taps) * inputs];
        let mut part = vec![0.0; rows * outputs];
        let clip = (rows * width).max(1);
        for (x, out) in x.chunks_exact(clip).zip(out.chunks_exact_mut(clip)) {
            for (group, weight) in weight.chunks_exact(taps * inputs * outputs).enumerate() {
                let inside = &mut padded[taps / 2 * inputs..][..rows * inputs];
                for (to, from) in inside.chunks_exact_mut(inputs).zip(x.chunks_exact(width)) {
                    to.copy_from_slice(&from[group * inputs..][..inputs]);
                }
                let left = Strided { values: &padded, rows, cols: taps * inputs, row_stride: inputs, col_stride: 1 };
                kernel::product(&mut part, left, Strided::new(weight, taps * inputs, outputs), false);
                for (to, from) in out.chunks_exact_mut(width).zip(part.chunks_exact(outputs)) {
                    to[group * outputs..][..outputs].copy_from_slice(from);
                }
            }
        }
        Ok((CpuStorage::F32(out), l1.shape().clone()))
    }
}

/// `x` `[batch, rows, channels]` by `weight` `[groups, taps, inputs, outputs]`: tap `k` of row `t` reads row
/// `t + k - taps / 2`, zeros outside.
pub(super) fn grouped_convolution(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.apply_op2(weight, Convolution)
}
