//! Attention by heads.

use super::{Values, contiguous, tensor};
use crate::kernel::{self, Strided};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

/// Attention by heads. Scores exist for a block of query rows at a time, so they stay in the cache and their memory
/// does not grow with the square of the clip; the backward pass computes them again.
struct Attention {
    heads: usize,
    /// How many of each clip's rows are keys; `None` for all.
    kept: Option<Vec<usize>>,
    /// What each weight is multiplied by, `[batch, heads, rows, rows]`; `None` for 1.
    factors: Option<Vec<f32>>,
}

/// Query rows a block.
const QUERIES: usize = 256;

/// Where one head of a block of query rows lies.
struct Block {
    clip: usize,
    head: usize,
    /// First query row, and how many.
    first: usize,
    queries: usize,
    keys: usize,
}

/// `[batch, rows, heads * size]`
#[derive(Clone, Copy)]
struct Dims {
    rows: usize,
    heads: usize,
    size: usize,
}

impl Dims {
    fn width(self) -> usize {
        self.heads * self.size
    }

    /// Where a head's part of a row begins.
    fn at(self, block: &Block, row: usize) -> usize {
        (block.clip * self.rows + row) * self.width() + block.head * self.size
    }

    /// One head's columns of `count` rows.
    fn columns<'a>(self, values: &'a [f32], block: &Block, first: usize, count: usize) -> Strided<'a> {
        let values = &values[self.at(block, first)..];
        Strided { values, rows: count, cols: self.size, row_stride: self.width(), col_stride: 1 }
    }

    /// Adds `part` `[.., size]` to one head's columns from row `first` on.
    fn add(self, out: &mut [f32], block: &Block, first: usize, part: &[f32]) {
        for (row, part) in part.chunks_exact(self.size).enumerate() {
            let out = &mut out[self.at(block, first + row)..][..self.size];
            out.iter_mut().zip(part).for_each(|(out, part)| *out += part);
        }
    }
}

impl Attention {
    fn blocks(&self, batch: usize, rows: usize) -> impl Iterator<Item = Block> {
        (0..batch).flat_map(move |clip| {
            let keys = self.kept.as_ref().map_or(rows, |kept| kept[clip]);
            (0..rows).step_by(QUERIES).flat_map(move |first| {
                let queries = QUERIES.min(rows - first);
                (0..self.heads).map(move |head| Block { clip, head, first, queries, keys })
            })
        })
    }

    /// The weights of a block, `[queries, keys]`, before the factors.
    fn weights(&self, dims: Dims, q: &[f32], k: &[f32], block: &Block, weights: &mut Vec<f32>) {
        weights.resize(block.queries * block.keys, 0.0);
        let q = dims.columns(q, block, block.first, block.queries);
        kernel::product(weights, q, dims.columns(k, block, 0, block.keys).transposed(), false);
        kernel::softmax(weights, block.keys);
    }

    fn multiply(&self, dims: Dims, block: &Block, weights: &mut [f32]) {
        let Some(factors) = &self.factors else { return };
        let first = (block.clip * self.heads + block.head) * dims.rows + block.first;
        for (row, weights) in weights.chunks_exact_mut(block.keys).enumerate() {
            let factors = &factors[(first + row) * dims.rows..][..block.keys];
            weights.iter_mut().zip(factors).for_each(|(weight, factor)| *weight *= factor);
        }
    }
}

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
        let &[batch, rows, width] = l1.dims() else { bail!("attention over {:?}", l1.dims()) };
        if l1.dims() != l2.dims() || l1.dims() != l3.dims() || width == 0 || width % self.heads != 0 {
            bail!("attention of {} heads over {:?}, {:?} and {:?}", self.heads, l1.dims(), l2.dims(), l3.dims());
        }
        if let Some(factors) = self.factors.as_ref().filter(|f| f.len() != batch * self.heads * rows * rows) {
            bail!("{} factors for attention of {} heads over {:?}", factors.len(), self.heads, l1.dims());
        }
        let dims = Dims { rows, heads: self.heads, size: width / self.heads };
        let (mut weights, mut part) = (Vec::new(), Vec::new());
        let mut out = vec![0.0; q.len()];
        for block in self.blocks(batch, rows) {
            self.weights(dims, q, k, &block, &mut weights);
            self.multiply(dims, &block, &mut weights);
            part.resize(block.queries * dims.size, 0.0);
            let weights = Strided::new(&weights, block.queries, block.keys);
            kernel::product(&mut part, weights, dims.columns(v, &block, 0, block.keys), false);
            dims.add(&mut out, &block, block.first, &part);
        }
        Ok((CpuStorage::F32(out), l1.shape().clone()))
    }

    /// With `P` the weights, `M` the factors, `W = P M` and `O = W v`: `dv = W^T dO`, `dP = M (dO v^T)`, and through
    /// the softmax `dS = P (dP - sum(P dP))`, so `dq = dS k` and `dk = dS^T q`.
    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let (batch, rows, width) = q.dims3()?;
        let dims = Dims { rows, heads: self.heads, size: width / self.heads };
        let (qs, ks, vs, dos) = (Values::of(q)?, Values::of(k)?, Values::of(v)?, Values::of(&gradient)?);
        let [mut dq, mut dk, mut dv] = [(); 3].map(|()| vec![0.0; qs.len()]);
        let (mut weights, mut slopes, mut part) = (Vec::new(), Vec::new(), Vec::new());
        for block in self.blocks(batch, rows) {
            let Block { first, queries, keys, .. } = block;
            let d_out = dims.columns(&dos, &block, first, queries);
            self.weights(dims, &qs, &ks, &block, &mut weights);
            slopes.resize(queries * keys, 0.0);
            kernel::product(&mut slopes, d_out, dims.columns(&vs, &block, 0, keys).transposed(), false);
            self.multiply(dims, &block, &mut slopes);
            for (slopes, weights) in slopes.chunks_exact_mut(keys).zip(weights.chunks_exact(keys)) {
                let mean: f32 = slopes.iter().zip(weights).map(|(slope, weight)| slope * weight).sum();
                slopes.iter_mut().zip(weights).for_each(|(slope, weight)| *slope = weight * (*slope - mean));
            }
            self.multiply(dims, &block, &mut weights);
            part.resize(keys * dims.size, 0.0);
            kernel::product(&mut part, Strided::new(&weights, queries, keys).transposed(), d_out, false);
            dims.add(&mut dv, &block, 0, &part);
            let slopes = Strided::new(&slopes, queries, keys);
            kernel::product(&mut part, slopes.transposed(), dims.columns(&qs, &block, first, queries), false);
            dims.add(&mut dk, &block, 0, &part);
            part.resize(queries * dims.size, 0.0);
            kernel::product(&mut part, slopes, dims.columns(&ks, &block, 0, keys), false);
            dims.add(&mut dq, &block, first, &part);
        }
        Ok((Some(tensor(dq, q)?), Some(tensor(dk, k)?), Some(tensor(dv, v)?)))
    }
}

/// Of every head the values `v` weighed by `softmax(q k^T)`, heads side by side; all `[batch, rows, width]`. Of clip
/// `i` only the first `kept[i]` rows are keys, one at least: the others weigh exactly 0. Each weight is multiplied by
/// its factor, `[batch, heads, rows, rows]`, where there are any.
pub(in super::super) fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    kept: Option<&[usize]>,
    factors: Option<Vec<f32>>,
) -> Result<Tensor> {
    q.apply_op3(k, v, Attention { heads, kept: kept.map(<[usize]>::to_vec), factors })
}
