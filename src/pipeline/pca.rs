//! Principal components, in double precision.
//!
//! With at least as many training rows as columns: eigenvectors of the covariance, summed batch by batch. With fewer
//! rows: eigenvectors of the rows' inner products (Gram matrix), mapped back to columns; the two agree (Turk and
//! Pentland, *Eigenfaces for recognition*, 1991), and the smaller matrix costs less.

use super::Pipeline;
use super::source::Training;
use super::step::invalid;
use crate::error::Result;
use crate::kernel::{Strided, product_f64};
use crate::limits;
use faer::{Mat, Side};
use rayon::prelude::*;

/// Variances below this part of the largest are rounding: their components are not kept.
const NOISE: f64 = 1e-10;

/// Added to a variance before whitening divides by its root.
const EPSILON: f64 = 1e-6;

/// Columns of a block of a matrix whose blocks are computed in parallel.
const PANEL: usize = 64;

/// The principal axes of the training rows before scaling: `basis` is row-major, a column per axis of length 1.
struct Axes {
    mean: Vec<f64>,
    variances: Vec<f64>,
    basis: Vec<f64>,
}

/// Returns the mean (`d`) and the matrix (`d x n`) that map a row to its first `keep` principal components, or as many
/// as there are.
///
/// # Errors
/// `Invalid` when the training rows do not vary or the eigenproblem is too large.
pub(super) fn fit(
    training: &Training<'_>,
    steps: &Pipeline,
    keep: usize,
    whiten: bool,
) -> Result<(Vec<f32>, Vec<f32>)> {
    let (rows, dim) = (training.rows(steps).sum::<usize>(), steps.dim());
    if rows.min(dim) > limits::EIGEN_SIDE {
        return Err(invalid(
            "pca",
            format!("{rows} rows of {dim} numbers: one of the two must be at most {}", limits::EIGEN_SIDE),
        ));
    }
    let axes = if rows < dim { from_rows(training, steps, keep)? } else { from_covariance(training, steps, keep)? };
    let count = axes.variances.len();
    let mut scale: Vec<f64> =
        axes.variances.iter().map(|variance| if whiten { 1.0 / (variance + EPSILON).sqrt() } else { 1.0 }).collect();
    // An eigenvector's sign is arbitrary; this choice makes fits comparable.
    for (axis, scale) in scale.iter_mut().enumerate() {
        let column = axes.basis[axis..].iter().step_by(count);
        let largest = column.fold(0.0f64, |best, entry| if entry.abs() > best.abs() { *entry } else { best });
        *scale *= largest.signum();
    }
    let entries = axes.basis.iter().zip(scale.iter().cycle());
    let matrix = entries.map(|(entry, scale)| (entry * scale) as f32).collect();
    Ok((axes.mean.iter().map(|mean| *mean as f32).collect(), matrix))
}

/// Finds the axes from the covariance of the columns.
fn from_covariance(training: &Training<'_>, steps: &Pipeline, keep: usize) -> Result<Axes> {
    let dim = steps.dim();
    let (mut about, mut count) = (Vec::new(), 0);
    let mut sum = vec![0.0; dim];
    let mut products = SymmetricSum::new(dim);
    training.for_each_batch(
        steps,
        |_| true,
        |batch| {
            if about.is_empty() {
                about = batch[0].1.view().row(0).to_vec();
            }
            let shifted: Vec<f64> = batch
                .par_iter()
                .flat_map_iter(|(_, matrix)| {
                    matrix
                        .values()
                        .iter()
                        .zip(about.iter().cycle())
                        .map(|(value, about)| f64::from(*value) - f64::from(*about))
                })
                .collect();
            let shifted = Strided::new(&shifted, shifted.len() / dim, dim);
            let ones = vec![1.0; shifted.rows];
            product_f64(&mut sum, Strided::new(&ones, 1, shifted.rows), shifted, true);
            products.add(shifted);
            count += shifted.rows;
            Ok(())
        },
    )?;
    let offset: Vec<f64> = sum.iter().map(|sum| sum / count as f64).collect();
    let (variances, vectors) =
        largest_eigen("pca", dim, keep, |row, col| products.get(row, col) / count as f64 - offset[row] * offset[col])?;
    let mean = about.iter().zip(&offset).map(|(about, offset)| f64::from(*about) + offset).collect();
    Ok(Axes { mean, variances, basis: vectors })
}

/// Finds the axes from the inner products of the rows.
fn from_rows(training: &Training<'_>, steps: &Pipeline, keep: usize) -> Result<Axes> {
    let dim = steps.dim();
    let mut values = Vec::new();
    training.for_each_batch(
        steps,
        |_| true,
        |batch| {
            batch.iter().for_each(|(_, matrix)| values.extend_from_slice(matrix.values()));
            Ok(())
        },
    )?;
    let count = values.len() / dim;
    let mean: Vec<f64> = (0..dim)
        .into_par_iter()
        .map(|column| values[column..].iter().step_by(dim).map(|value| f64::from(*value)).sum::<f64>() / count as f64)
        .collect();
    // Columns `start..start + PANEL` of the centred rows.
    let centred = |start: usize| -> Vec<f64> {
        let columns = start..dim.min(start + PANEL);
        let rows = values.chunks_exact(dim);
        rows.flat_map(|row| row[columns.clone()].iter().zip(&mean[columns.clone()]))
            .map(|(value, mean)| f64::from(*value) - mean)
            .collect()
    };
    let mut products = SymmetricSum::new(count);
    for start in (0..dim).step_by(PANEL) {
        let panel = centred(start);
        products.add(Strided::new(&panel, count, panel.len() / count).transposed());
    }
    let (sums, mut vectors) = largest_eigen("pca", count, keep, |row, col| products.get(row, col))?;
    let kept = sums.len();
    for row in vectors.chunks_exact_mut(kept) {
        row.iter_mut().zip(&sums).for_each(|(entry, sum)| *entry /= sum.sqrt());
    }
    let mut basis = vec![0.0; dim * kept];
    basis.par_chunks_mut(PANEL * kept).enumerate().for_each(|(index, out)| {
        let panel = centred(index * PANEL);
        let columns = Strided::new(&panel, count, panel.len() / count);
        product_f64(out, columns.transposed(), Strided::new(&vectors, count, kept), false);
    });
    Ok(Axes { mean, variances: sums.iter().map(|sum| sum / count as f64).collect(), basis })
}

/// Returns the up to `keep` largest eigenvalues of a symmetric matrix in descending order, without those that are
/// rounding, and their vectors as columns of a row-major matrix.
pub(super) fn largest_eigen(
    step: &str,
    side: usize,
    keep: usize,
    entry: impl Fn(usize, usize) -> f64,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let matrix = Mat::from_fn(side, side, |row, col| entry(row.min(col), row.max(col)));
    let eigen = matrix
        .self_adjoint_eigen(Side::Lower)
        .map_err(|error| invalid(step, format!("no eigenvectors found ({error:?})")))?;
    let ascending = eigen.S().column_vector();
    let largest = ascending[side - 1];
    if largest <= 0.0 || !largest.is_finite() {
        return Err(invalid(step, "the training rows are all the same, or too large to be squared"));
    }
    let kept: Vec<usize> = (0..side).rev().take(keep).take_while(|axis| ascending[*axis] > NOISE * largest).collect();
    let vectors = (0..side).flat_map(|row| kept.iter().map(move |axis| (row, *axis)));
    Ok((
        kept.iter().map(|axis| ascending[*axis]).collect(),
        vectors.map(|(row, axis)| eigen.U()[(row, axis)]).collect(),
    ))
}

/// Sum of `xT x` over blocks of rows: the upper half, in stripes of `PANEL` rows that begin at the diagonal.
pub(super) struct SymmetricSum {
    side: usize,
    stripes: Vec<Vec<f64>>,
}

impl SymmetricSum {
    pub(super) fn new(side: usize) -> SymmetricSum {
        let stripe = |start: usize| vec![0.0; PANEL.min(side - start) * (side - start)];
        SymmetricSum { side, stripes: (0..side).step_by(PANEL).map(stripe).collect() }
    }

    pub(super) fn add(&mut self, x: Strided<'_, f64>) {
        let columns =
            |start: usize, end: usize| Strided { values: &x.values[start * x.col_stride..], cols: end - start, ..x };
        let side = self.side;
        self.stripes.par_iter_mut().enumerate().for_each(|(index, stripe)| {
            let start = index * PANEL;
            let left = columns(start, side.min(start + PANEL));
            product_f64(stripe, left.transposed(), columns(start, side), true);
        });
    }

    /// Returns the entry at a row and a column that is not before it.
    pub(super) fn get(&self, row: usize, col: usize) -> f64 {
        let start = row - row % PANEL;
        self.stripes[row / PANEL][(row - start) * (self.side - start) + col - start]
    }
}
