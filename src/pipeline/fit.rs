//! Fits the steps in order, each on the training rows as the steps before it leave them.

use super::codes;
use super::contrast;
use super::fitted::Fitted;
use super::source::{Source, Training};
use super::step::invalid;
use super::{Pipeline, Step};
#[cfg(feature = "fit")]
use super::{lda, pca};
use crate::error::Result;
use crate::matrix::Matrix;
use rayon::prelude::*;

/// Columns whose deviation is at most this part of their size hold nothing but the rounding of `f32`.
const CONSTANT: f64 = 1e-6;

pub(super) fn fit(steps: &[Step], dim: usize, source: &dyn Source) -> Result<Pipeline> {
    steps.iter().try_for_each(Step::check)?;
    let mut pipeline = Pipeline::identity(dim)?;
    let mut training = None;
    for step in steps {
        let fitted = match Fitted::without_training(step) {
            Some(fitted) => fitted,
            None => {
                let training = match &training {
                    Some(training) => training,
                    None => training.insert(Training::new(source)?),
                };
                if training.rows(&pipeline).all(|rows| rows == 0) {
                    return Err(invalid(step.name(), "there are no training rows to learn from"));
                }
                learn(step, training, &pipeline)?
            }
        };
        pipeline.push(fitted)?;
    }
    Ok(pipeline)
}

/// Fits one step to the rows that come out of the steps before it.
fn learn(step: &Step, training: &Training<'_>, before: &Pipeline) -> Result<Fitted> {
    let settings = step.to_json();
    match step {
        Step::Pca { dim, whiten } => {
            let (mean, matrix) = principal_components(training, before, *dim, *whiten)?;
            Ok(Fitted::Linear { settings, mean, matrix })
        }
        Step::Lda { field, shrinkage, dim } => {
            let (mean, matrix) = discriminants(training, before, field, *dim, *shrinkage)?;
            Ok(Fitted::Linear { settings, mean, matrix })
        }
        Step::Contrast { field, dim, seed } => {
            let (mean, matrix) = contrast::fit(training, before, field, *dim, *seed)?;
            Ok(Fitted::Linear { settings, mean, matrix })
        }
        Step::Codes { centroids, sample, rounds, seed } => {
            let centroids = codes::fit(training, before, *centroids, *sample, *rounds, *seed)?;
            Ok(Fitted::Codes { settings, centroids })
        }
        _ => {
            let moments = Moments::of(training, before)?;
            let factor = if *step == Step::Standardise { moments.factors() } else { vec![1.0; before.dim()] };
            Ok(Fitted::Affine { settings, mean: moments.mean().map(|mean| mean as f32).collect(), factor })
        }
    }
}

#[cfg(feature = "fit")]
use {lda::fit as discriminants, pca::fit as principal_components};

#[cfg(not(feature = "fit"))]
fn principal_components(_: &Training<'_>, _: &Pipeline, _: usize, _: bool) -> Result<(Vec<f32>, Vec<f32>)> {
    Err(invalid("pca", UNFITTED))
}

#[cfg(not(feature = "fit"))]
fn discriminants(_: &Training<'_>, _: &Pipeline, _: &str, _: Option<usize>, _: f64) -> Result<(Vec<f32>, Vec<f32>)> {
    Err(invalid("lda", UNFITTED))
}

#[cfg(not(feature = "fit"))]
const UNFITTED: &str = "this build cannot fit it (only apply it): build otolith with the feature `fit`";

/// Sums and sums of squares of all training rows, column by column, about the first row: a large mean then does not
/// swallow a small deviation.
struct Moments {
    count: usize,
    about: Vec<f32>,
    sum: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    fn of(training: &Training<'_>, steps: &Pipeline) -> Result<Moments> {
        let dim = steps.dim();
        let mut all = Moments { count: 0, about: Vec::new(), sum: vec![0.0; dim], squares: vec![0.0; dim] };
        training.for_each_batch(
            steps,
            |_| true,
            |batch| {
                if all.about.is_empty() {
                    all.about = batch[0].1.view().row(0).to_vec();
                }
                let parts: Vec<_> = batch.par_iter().map(|(_, matrix)| sums(matrix, &all.about)).collect();
                for ((_, matrix), (sum, squares)) in batch.iter().zip(parts) {
                    all.count += matrix.rows();
                    all.sum.iter_mut().zip(sum).for_each(|(all, part)| *all += part);
                    all.squares.iter_mut().zip(squares).for_each(|(all, part)| *all += part);
                }
                Ok(())
            },
        )?;
        Ok(all)
    }

    fn mean(&self) -> impl Iterator<Item = f64> {
        self.sum.iter().zip(&self.about).map(|(sum, about)| f64::from(*about) + sum / self.count as f64)
    }

    /// Returns the factor that brings each column to standard deviation 1; 0 for a column that does not vary.
    fn factors(&self) -> Vec<f32> {
        let count = self.count as f64;
        let columns = self.mean().zip(self.sum.iter().zip(&self.squares));
        columns
            .map(|(mean, (sum, squares))| {
                let variance = (squares / count - (sum / count).powi(2)).max(0.0);
                let constant = variance <= CONSTANT * CONSTANT * (variance + mean * mean);
                if constant { 0.0 } else { (1.0 / variance.sqrt()).min(f64::from(f32::MAX)) as f32 }
            })
            .collect()
    }
}

/// Returns the sums and the sums of squares of the rows of one matrix about a row.
fn sums(matrix: &Matrix, about: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let (mut sum, mut squares) = (vec![0.0; about.len()], vec![0.0; about.len()]);
    for row in matrix.view().iter() {
        for ((sum, squares), (value, about)) in sum.iter_mut().zip(&mut squares).zip(row.iter().zip(about)) {
            let value = f64::from(*value) - f64::from(*about);
            *sum += value;
            *squares += value * value;
        }
    }
    (sum, squares)
}
