//! Convolutions over time, channels last: products over overlapping rows, so nothing is copied on the way forwards.

use super::{Values, contiguous, tensor};
use crate::kernel::{self, Strided};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

/// Output rows whose gradients for the input are made at once.
const BLOCK: usize = 128;

/// A convolution over all channels, without padding.
struct Convolution {
    stride: usize,
}

/// Every row that a kernel sees, side by side: `rows x (taps * inputs)`, overlapping in memory.
fn windows(values: &[f32], rows: usize, taps: usize, inputs: usize, stride: usize) -> Strided<'_> {
    Strided { values, rows, cols: taps * inputs, row_stride: stride * inputs, col_stride: 1 }
}

impl CustomOp2 for Convolution {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, weight) = (contiguous(s1, l1)?, contiguous(s2, l2)?);
        let (&[batch, length, channels], &[taps, inputs, outputs]) = (l1.dims(), l2.dims()) else {
            bail!("a convolution of {:?} by {:?}", l1.dims(), l2.dims());
        };
        if channels != inputs || length < taps || self.stride == 0 {
            bail!("a convolution of {:?} by {:?} with stride {}", l1.dims(), l2.dims(), self.stride);
        }
        let rows = (length - taps) / self.stride + 1;
        let weight = Strided::new(weight, taps * inputs, outputs);
        let mut out = vec![0.0; batch * rows * outputs];
        for (x, out) in x.chunks_exact(length * inputs).zip(out.chunks_exact_mut(rows * outputs)) {
            kernel::product(out, windows(x, rows, taps, inputs, self.stride), weight, false);
        }
        Ok((CpuStorage::F32(out), Shape::from((batch, rows, outputs))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let ((_, length, inputs), (_, rows, outputs)) = (x.dims3()?, gradient.dims3()?);
        let (taps, stride) = (weight.dim(0)?, self.stride);
        let (xs, weights, gradients) = (Values::of(x)?, Values::of(weight)?, Values::of(&gradient)?);
        let columns = Strided::new(&weights, taps * inputs, outputs);
        let mut dw = vec![0.0; weights.len()];
        let mut dx = vec![0.0; if x.track_op() { xs.len() } else { 0 }];
        let mut part = Vec::new();
        for (clip, (x, gradient)) in
            xs.chunks_exact(length * inputs).zip(gradients.chunks_exact(rows * outputs)).enumerate()
        {
            let dy = Strided::new(gradient, rows, outputs);
            kernel::product(&mut dw, windows(x, rows, taps, inputs, stride).transposed(), dy, true);
            let Some(dx) = dx.get_mut(clip * length * inputs..).filter(|dx| !dx.is_empty()) else { continue };
            for (block, gradient) in gradient.chunks(BLOCK * outputs).enumerate() {
                let rows = gradient.len() / outputs;
                part.resize(rows * taps * inputs, 0.0);
                kernel::product(&mut part, Strided::new(gradient, rows, outputs), columns.transposed(), false);
                for (row, part) in part.chunks_exact(taps * inputs).enumerate() {
                    let dx = &mut dx[(block * BLOCK + row) * stride * inputs..][..taps * inputs];
                    dx.iter_mut().zip(part).for_each(|(dx, part)| *dx += part);
                }
            }
        }
        let dx = x.track_op().then(|| tensor(dx, x)).transpose()?;
        Ok((dx, Some(tensor(dw, weight)?)))
    }
}

/// `x` `[batch, length, inputs]` by `weight` `[taps, inputs, outputs]`: `[batch, (length - taps) / stride + 1,
/// outputs]`.
pub(in super::super) fn convolution(x: &Tensor, weight: &Tensor, stride: usize) -> Result<Tensor> {
    x.apply_op2(weight, Convolution { stride })
}

/// A convolution in channel groups that keeps the number of rows.
struct Grouped;

/// One group of a clip, its channels side by side, between zeros.
struct Padded {
    values: Vec<f32>,
    taps: usize,
    inputs: usize,
}

impl Padded {
    fn new(rows: usize, taps: usize, inputs: usize) -> Padded {
        Padded { values: vec![0.0; (rows + taps) * inputs], taps, inputs }
    }

    /// Takes a group's channels out of a clip's rows of `width` numbers.
    fn fill(&mut self, clip: &[f32], width: usize, group: usize) {
        let inside = &mut self.values[self.taps / 2 * self.inputs..];
        for (to, from) in inside.chunks_exact_mut(self.inputs).zip(clip.chunks_exact(width)) {
            to.copy_from_slice(&from[group * self.inputs..][..self.inputs]);
        }
    }

    fn windows(&self, rows: usize) -> Strided<'_> {
        windows(&self.values, rows, self.taps, self.inputs, 1)
    }
}

impl CustomOp2 for Grouped {
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
        let mut padded = Padded::new(rows, taps, inputs);
        let mut part = vec![0.0; rows * outputs];
        let clip = (rows * width).max(1);
        for (x, out) in x.chunks_exact(clip).zip(out.chunks_exact_mut(clip)) {
            for (group, weight) in weight.chunks_exact(taps * inputs * outputs).enumerate() {
                padded.fill(x, width, group);
                kernel::product(&mut part, padded.windows(rows), Strided::new(weight, taps * inputs, outputs), false);
                for (to, from) in out.chunks_exact_mut(width).zip(part.chunks_exact(outputs)) {
                    to[group * outputs..][..outputs].copy_from_slice(from);
                }
            }
        }
        Ok((CpuStorage::F32(out), l1.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let ((_, rows, width), (_, taps, inputs, outputs)) = (x.dims3()?, weight.dims4()?);
        let (xs, weights, gradients) = (Values::of(x)?, Values::of(weight)?, Values::of(&gradient)?);
        let (mut dx, mut dw) = (vec![0.0; xs.len()], vec![0.0; weights.len()]);
        let mut padded = Padded::new(rows, taps, inputs);
        let (mut dy, mut part) = (vec![0.0; rows * outputs], Vec::new());
        let clip = (rows * width).max(1);
        for (index, (x, gradient)) in xs.chunks_exact(clip).zip(gradients.chunks_exact(clip)).enumerate() {
            let size = taps * inputs * outputs;
            for (group, (weight, dw)) in weights.chunks_exact(size).zip(dw.chunks_exact_mut(size)).enumerate() {
                for (to, from) in dy.chunks_exact_mut(outputs).zip(gradient.chunks_exact(width)) {
                    to.copy_from_slice(&from[group * outputs..][..outputs]);
                }
                padded.fill(x, width, group);
                let windows = padded.windows(rows).transposed();
                kernel::product(dw, windows, Strided::new(&dy, rows, outputs), true);
                let columns = Strided::new(weight, taps * inputs, outputs).transposed();
                for (block, dy) in dy.chunks(BLOCK * outputs).enumerate() {
                    let count = dy.len() / outputs;
                    part.resize(count * taps * inputs, 0.0);
                    kernel::product(&mut part, Strided::new(dy, count, outputs), columns, false);
                    for (row, part) in part.chunks_exact(taps * inputs).enumerate() {
                        for (tap, part) in part.chunks_exact(inputs).enumerate() {
                            // Tap k of row t read row t + k - taps / 2, zeros outside.
                            let Some(from) = (block * BLOCK + row + tap).checked_sub(taps / 2) else { continue };
                            if from < rows {
                                let dx = &mut dx[index * clip + from * width + group * inputs..][..inputs];
                                dx.iter_mut().zip(part).for_each(|(dx, part)| *dx += part);
                            }
                        }
                    }
                }
            }
        }
        Ok((Some(tensor(dx, x)?), Some(tensor(dw, weight)?)))
    }
}

/// `x` `[batch, rows, channels]` by `weight` `[groups, taps, inputs, outputs]`: tap `k` of row `t` reads row
/// `t + k - taps / 2`, zeros outside.
pub(in super::super) fn grouped_convolution(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.apply_op2(weight, Grouped)
}
