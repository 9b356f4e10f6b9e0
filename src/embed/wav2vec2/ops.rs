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

/// Products of matrices: `[.., m, k]` by `[.., k, n]` or `[k, n]`, any strides.
struct Product;

impl CustomOp2 for Product {
    fn name(&self) -> &'static str {
        "product"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (left, right) = (s1.as_slice::<f32>()?, s2.as_slice::<f32>()?);
        let (batch, [m, k]) = split(l1.dims())?;
        let (right_batch, [right_k, n]) = split(l2.dims())?;
        if k != right_k || !(right_batch.is_empty() || right_batch == batch) {
            bail!("a product of {:?} by {:?}", l1.dims(), l2.dims());
        }
        let mut dims = batch.to_vec();
        dims.extend([m, n]);
        let mut out = vec![0.0; dims.iter().product()];
        if right_batch.is_empty() && l1.is_contiguous() {
            let rows = batch.iter().product::<usize>() * m;
            let left = Strided::new(&left[l1.start_offset()..], rows, k);
            kernel::product(&mut out, left, matrix(right, l2, 0), false);
        } else {
            for (index, out) in out.chunks_exact_mut((m * n).max(1)).enumerate() {
                let left = matrix(left, l1, offset(index, batch, l1.stride()));
                let right = matrix(right, l2, offset(index, right_batch, l2.stride()));
                kernel::product(out, left, right, false);
            }
        }
        Ok((CpuStorage::F32(out), Shape::from(dims)))
    }
}

/// Batch dimensions and the last two.
fn split(dims: &[usize]) -> Result<(&[usize], [usize; 2])> {
    match dims.split_last_chunk::<2>() {
        Some((batch, last)) => Ok((batch, *last)),
        None => bail!("a product needs two dimensions, found {dims:?}"),
    }
}

/// Offset of the `index`-th matrix of a batch in row-major order.
fn offset(mut index: usize, batch: &[usize], strides: &[usize]) -> usize {
    let mut offset = 0;
    for (dim, stride) in batch.iter().zip(strides).rev() {
        offset += index % dim * stride;
        index /= dim;
    }
    offset
}

fn matrix<'a>(values: &'a [f32], layout: &Layout, offset: usize) -> Strided<'a> {
    let (rank, dims, strides) = (layout.dims().len(), layout.dims(), layout.stride());
    Strided {
        values: &values[layout.start_offset() + offset..],
        rows: dims[rank - 2],
        cols: dims[rank - 1],
        row_stride: strides[rank - 2],
        col_stride: strides[rank - 1],
    }
}

/// `[.., m, k]` by `[.., k, n]`, or by one `[k, n]` for the whole batch.
pub(super) fn product(left: &Tensor, right: &Tensor) -> Result<Tensor> {
    left.apply_op2(right, Product)
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
