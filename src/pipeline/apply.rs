//! Applying fitted steps to one matrix, in blocks of rows.
//!
//! The chain is cut into *runs*: choose rows (stack, every), map them one by one, and end with all of them, or with one
//! row for the record (pool, concatenate). Within a run a block of rows goes through all maps while it is in the cache,
//! rows that are not kept are never computed, and nothing wider than a block is held but the result.

use super::fitted::Fitted;
use super::pool::{Pooling, Statistic};
use crate::error::{Error, Result};
use crate::kernel::{Strided, product};
use crate::matrix::{Matrix, MatrixView};

/// Rows of a block: enough for the products to run at full speed, few enough for 256 x 1,000 numbers to stay in the
/// cache.
const BLOCK: usize = 256;

/// Returns the derived rows of a matrix whose dimension fits the first step.
pub(super) fn apply(steps: &[Fitted], matrix: MatrixView<'_>) -> Result<Matrix> {
    let mut current: Option<Matrix> = None;
    let mut rest = steps;
    while !rest.is_empty() {
        let run = Run::take(&mut rest);
        current = Some(run.apply(current.as_ref().map_or(matrix, Matrix::view))?);
    }
    Ok(current.unwrap_or_else(|| matrix.to_matrix()))
}

/// Part of a chain: which rows are chosen, the maps that each goes through, and what becomes of them at the end.
struct Run<'a> {
    offsets: &'a [i32],
    every: usize,
    maps: &'a [Fitted],
    end: End<'a>,
}

enum End<'a> {
    /// All rows are kept.
    Rows,
    /// This many evenly spaced rows, laid one after another.
    Concatenate(usize),
    Pool(&'a [Statistic]),
}

impl<'a> Run<'a> {
    /// Takes the longest run off the front of a chain that is not empty.
    fn take(rest: &mut &'a [Fitted]) -> Run<'a> {
        let mut run = Run { offsets: &[0], every: 1, maps: &[], end: End::Rows };
        if let [Fitted::Stack { offsets }, tail @ ..] = *rest {
            (run.offsets, *rest) = (offsets, tail);
        }
        if let [Fitted::Every { n }, tail @ ..] = *rest {
            (run.every, *rest) = (*n, tail);
        }
        let is_map = |step: &&Fitted| {
            matches!(step, Fitted::Affine { .. } | Fitted::Linear { .. } | Fitted::Normalise | Fitted::Codes { .. })
        };
        (run.maps, *rest) = rest.split_at(rest.iter().take_while(is_map).count());
        match *rest {
            [Fitted::Concatenate { rows }, tail @ ..] => (run.end, *rest) = (End::Concatenate(*rows), tail),
            [Fitted::Pool { statistics }, tail @ ..] => (run.end, *rest) = (End::Pool(statistics), tail),
            _ => {}
        }
        run
    }

    fn apply(&self, input: MatrixView<'_>) -> Result<Matrix> {
        let mut dim = input.dim() * self.offsets.len();
        for map in self.maps {
            dim = map.output_dim(dim)?;
        }
        let available = input.rows().div_ceil(self.every);
        let picks = match self.end {
            End::Concatenate(rows) if available > 0 => rows,
            _ => available,
        };
        let mut pooling = match self.end {
            End::Pool(statistics) => Some(Pooling::new(statistics, dim)),
            _ => None,
        };
        let mut out: Vec<f32> = Vec::new();
        if pooling.is_none() && out.try_reserve_exact(picks.saturating_mul(dim)).is_err() {
            return Err(Error::invalid("view", format!("{picks} rows of {dim} numbers do not fit in memory")));
        }
        let (mut block, mut spare) = (Vec::new(), Vec::new());
        for start in (0..picks).step_by(BLOCK) {
            block.clear();
            for pick in start..picks.min(start + BLOCK) {
                let row = match self.end {
                    End::Concatenate(rows) => evenly_spaced(pick, rows, available),
                    _ => pick,
                };
                stack(&mut block, input, row * self.every, self.offsets);
            }
            let mut width = input.dim() * self.offsets.len();
            for map in self.maps {
                width = map_rows(map, &mut block, &mut spare, width);
            }
            match &mut pooling {
                Some(pooling) => pooling.push(&block),
                None => out.extend_from_slice(&block),
            }
        }
        match (pooling, &self.end) {
            (Some(pooling), End::Pool(statistics)) => {
                Matrix::from_rows(available.min(1), dim * statistics.len(), pooling.finish())
            }
            (_, End::Concatenate(rows)) => Matrix::from_rows(available.min(1), dim * rows, out),
            _ => Matrix::from_rows(available, dim, out),
        }
    }
}

/// Returns position `pick` of `picks` evenly spaced ones from 0 to `rows - 1`, rounded down. The arithmetic is that of
/// numpy's `linspace`, so that the same rows are chosen as by programs that use it.
fn evenly_spaced(pick: usize, picks: usize, rows: usize) -> usize {
    let last = rows - 1;
    if pick == 0 {
        0
    } else if pick + 1 == picks {
        last
    } else {
        let step = last as f64 / (picks - 1) as f64;
        ((pick as f64 * step) as usize).min(last)
    }
}

/// Appends the rows around `row`, side by side.
fn stack(block: &mut Vec<f32>, input: MatrixView<'_>, row: usize, offsets: &[i32]) {
    let last = input.rows() - 1;
    for offset in offsets {
        let distance = offset.unsigned_abs() as usize;
        let at = if *offset < 0 { row.saturating_sub(distance) } else { row.saturating_add(distance).min(last) };
        block.extend_from_slice(input.row(at));
    }
}

/// Maps the rows of `block`, `dim` numbers each, and returns how many numbers each has now.
fn map_rows(map: &Fitted, block: &mut Vec<f32>, spare: &mut Vec<f32>, dim: usize) -> usize {
    let rows = block.len() / dim;
    match map {
        Fitted::Affine { mean, factor, .. } => {
            for row in block.chunks_exact_mut(dim) {
                for (value, (mean, factor)) in row.iter_mut().zip(mean.iter().zip(factor)) {
                    *value = (*value - mean) * factor;
                }
            }
            dim
        }
        Fitted::Linear { mean, matrix, .. } => {
            for row in block.chunks_exact_mut(dim) {
                row.iter_mut().zip(mean).for_each(|(value, mean)| *value -= mean);
            }
            let output = matrix.len() / dim;
            spare.resize(rows * output, 0.0);
            product(spare, Strided::new(block, rows, dim), Strided::new(matrix, dim, output), false);
            std::mem::swap(block, spare);
            output
        }
        Fitted::Codes { centroids, .. } => {
            let output = centroids.len() / dim;
            spare.resize(rows * output, 0.0);
            let right = Strided::new(centroids, output, dim).transposed();
            product(spare, Strided::new(block, rows, dim), right, false);
            spare.iter_mut().for_each(|code| *code = code.max(0.0));
            std::mem::swap(block, spare);
            output
        }
        Fitted::Normalise => {
            block.chunks_exact_mut(dim).for_each(normalise);
            dim
        }
        Fitted::Stack { .. } | Fitted::Every { .. } | Fitted::Concatenate { .. } | Fitted::Pool { .. } => dim,
    }
}

/// Scales a row to length 1; a row of zeros stays as it is.
pub(crate) fn normalise(row: &mut [f32]) {
    let squares: f64 = row.iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
    if squares > 0.0 {
        let factor = 1.0 / squares.sqrt();
        row.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
    }
}
