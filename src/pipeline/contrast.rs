//! A linear map fitted by the supervised contrastive loss, on rows of labelled records.
//!
//! With `z` the mapped rows of a batch at length 1 and `p_ij` the softmax over `j != i` of `z_i . z_j / temperature`,
//! the loss is minus the mean over rows and their positives (the other rows of the same class) of `ln p_ij`. Its
//! gradient by the scores is `p_ij`, less one share of the positives of `i` where `j` is one of them, so one step costs
//! three products of the batch's size. Steps are Adam's (Kingma and Ba 2015), one after another on one thread: the same
//! map for any number of threads.

use super::Pipeline;
use super::source::Training;
use super::step::invalid;
use crate::error::Result;
use crate::kernel::{self, Strided};
use crate::random::unit_f32;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::collections::BTreeMap;

/// Rows drawn to learn from.
const SAMPLE: usize = 20_000;
/// Rows in the batch of a step.
const BATCH: usize = 256;
/// Number of steps.
const STEPS: usize = 400;
const TEMPERATURE: f32 = 0.1;
/// Adam's step size at first; it falls to 0 in a straight line.
const RATE: f32 = 3e-3;
const BETAS: [f32; 2] = [0.9, 0.999];

/// Returns the mean (`d`) and the matrix (`d x n`) that map a row.
///
/// # Errors
/// `Invalid` when there are fewer than two classes, or rows that `f32` cannot tell apart.
pub(super) fn fit(
    training: &Training<'_>,
    steps: &Pipeline,
    field: &str,
    keep: usize,
    seed: u64,
) -> Result<(Vec<f32>, Vec<f32>)> {
    let dim = steps.dim();
    let labels = training.labels(field)?;
    let mut draws = ChaCha8Rng::seed_from_u64(seed);
    let (records, mut rows) = training.sample(steps, |record| labels[record].is_some(), SAMPLE, &mut draws)?;
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    for label in records.iter().filter_map(|record| labels[*record].as_deref()) {
        let next = numbers.len();
        numbers.entry(label).or_insert(next);
    }
    if numbers.len() < 2 {
        let why = format!("needs records of at least two classes in the field `{field}`, and finds {}", numbers.len());
        return Err(invalid("contrast", why));
    }
    let classes: Vec<usize> =
        records.iter().filter_map(|record| numbers.get(labels[*record].as_deref()?).copied()).collect();

    let count = records.len() as f64;
    let mut mean = vec![0.0_f64; dim];
    for row in rows.chunks_exact(dim) {
        mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value) / count);
    }
    for row in rows.chunks_exact_mut(dim) {
        row.iter_mut().zip(&mean).for_each(|(value, mean)| *value = (f64::from(*value) - mean) as f32);
    }
    let spread = (rows.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>() / rows.len() as f64).sqrt() as f32;
    if !(spread > 0.0 && spread.is_finite()) {
        return Err(invalid("contrast", format!("no two rows of the field `{field}` differ")));
    }
    // Brings the rows to one size, whatever their own is, because steps are of one size as well.
    rows.iter_mut().for_each(|value| *value /= spread);

    let reach = (3.0 / dim as f32).sqrt();
    let mut matrix: Vec<f32> = (0..dim * keep).map(|_| (unit_f32(&mut draws) * 2.0 - 1.0) * reach).collect();
    let mut moments = [vec![0.0_f32; matrix.len()], vec![0.0_f32; matrix.len()]];
    let mut batch = Vec::new();
    for step in 0..STEPS {
        let chosen: Vec<usize> = (0..BATCH.min(records.len() * 2))
            .map(|_| ((unit_f32(&mut draws) * records.len() as f32) as usize).min(records.len() - 1))
            .collect();
        batch.clear();
        chosen.iter().for_each(|row| batch.extend_from_slice(&rows[row * dim..][..dim]));
        let gradient = gradient(&batch, &chosen, &classes, &matrix, keep);
        let rate = RATE * (STEPS - step) as f32 / STEPS as f32;
        let correction = BETAS.map(|beta| 1.0 - beta.powi(step as i32 + 1));
        let [first, second] = &mut moments;
        for (((value, gradient), first), second) in matrix.iter_mut().zip(gradient).zip(first).zip(second) {
            *first = BETAS[0] * *first + (1.0 - BETAS[0]) * gradient;
            *second = BETAS[1] * *second + (1.0 - BETAS[1]) * gradient * gradient;
            *value -= rate * (*first / correction[0]) / ((*second / correction[1]).sqrt() + 1e-8);
        }
    }
    matrix.iter_mut().for_each(|value| *value /= spread);
    if !matrix.iter().all(|value| value.is_finite()) {
        return Err(invalid("contrast", "the rows differ too little for `f32`: put `standardise` before it"));
    }
    Ok((mean.into_iter().map(|mean| mean as f32).collect(), matrix))
}

/// Returns the gradient of the loss by the matrix, for the rows of a batch.
fn gradient(batch: &[f32], chosen: &[usize], classes: &[usize], matrix: &[f32], keep: usize) -> Vec<f32> {
    let (count, dim) = (chosen.len(), batch.len() / chosen.len());
    let rows = Strided::new(batch, count, dim);
    let mut mapped = vec![0.0; count * keep];
    kernel::product(&mut mapped, rows, Strided::new(matrix, dim, keep), false);
    let lengths: Vec<f32> = mapped
        .chunks_exact_mut(keep)
        .map(|row| {
            let length = row.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-6);
            row.iter_mut().for_each(|value| *value /= length);
            length
        })
        .collect();
    let directions = Strided::new(&mapped, count, keep);
    let mut scores = vec![0.0; count * count];
    kernel::product(&mut scores, directions, directions.transposed(), false);
    for (i, row) in scores.chunks_exact_mut(count).enumerate() {
        // A row drawn twice is not a positive of itself.
        let oneself = |j: usize| chosen[i] == chosen[j];
        let is_positive = |j: usize| !oneself(j) && classes[chosen[i]] == classes[chosen[j]];
        let positives = (0..count).filter(|j| is_positive(*j)).count();
        if positives == 0 {
            row.fill(0.0);
            continue;
        }
        for (j, score) in row.iter_mut().enumerate() {
            *score = if oneself(j) { f32::NEG_INFINITY } else { *score / TEMPERATURE };
        }
        kernel::softmax(row, count);
        for (j, share) in row.iter_mut().enumerate() {
            *share -= if is_positive(j) { 1.0 / positives as f32 } else { 0.0 };
            *share /= TEMPERATURE * count as f32;
        }
    }
    // Each score belongs to two rows.
    let shares = Strided::new(&scores, count, count);
    let mut back = vec![0.0; count * keep];
    kernel::product(&mut back, shares, directions, false);
    kernel::product(&mut back, shares.transposed(), directions, true);
    for ((back, row), length) in back.chunks_exact_mut(keep).zip(mapped.chunks_exact(keep)).zip(&lengths) {
        let along: f32 = back.iter().zip(row).map(|(gradient, value)| gradient * value).sum();
        back.iter_mut().zip(row).for_each(|(gradient, value)| *gradient = (*gradient - along * value) / length);
    }
    let mut gradient = vec![0.0; dim * keep];
    kernel::product(&mut gradient, rows.transposed(), Strided::new(&back, count, keep), false);
    gradient
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the loss that [`gradient`] is the gradient of, in f64.
    fn loss(batch: &[f32], chosen: &[usize], classes: &[usize], matrix: &[f32], keep: usize) -> f64 {
        let (count, dim) = (chosen.len(), batch.len() / chosen.len());
        let rows: Vec<Vec<f64>> = batch
            .chunks_exact(dim)
            .map(|row| {
                let column = |at: usize| {
                    row.iter().zip(matrix.chunks(keep)).map(|(a, b)| f64::from(*a) * f64::from(b[at])).sum()
                };
                let mapped: Vec<f64> = (0..keep).map(column).collect();
                let length = mapped.iter().map(|value| value * value).sum::<f64>().sqrt();
                mapped.into_iter().map(|value| value / length).collect()
            })
            .collect();
        let score = |i: usize, j: usize| {
            (rows[i].iter().zip(&rows[j]).map(|(a, b)| a * b).sum::<f64>() / f64::from(TEMPERATURE)).exp()
        };
        let of_row = |i: usize| {
            let positives: Vec<usize> =
                (0..count).filter(|j| i != *j && classes[chosen[i]] == classes[chosen[*j]]).collect();
            let all: f64 = (0..count).filter(|j| i != *j).map(|j| score(i, j)).sum();
            -positives.iter().map(|j| (score(i, *j) / all).ln()).sum::<f64>() / positives.len().max(1) as f64
        };
        (0..count).map(of_row).sum::<f64>() / count as f64
    }

    #[test]
    fn the_slope_is_that_of_the_loss() {
        let mut draws = ChaCha8Rng::seed_from_u64(1);
        let mut numbers = |count: usize| -> Vec<f32> { (0..count).map(|_| unit_f32(&mut draws) - 0.5).collect() };
        let (batch, mut matrix) = (numbers(6 * 4), numbers(4 * 3));
        let (chosen, classes) = ([0, 1, 2, 3, 4, 5], [0, 0, 1, 1, 0, 2]);
        let found = gradient(&batch, &chosen, &classes, &matrix, 3);
        for at in 0..matrix.len() {
            let mut moved = |by: f32| {
                matrix[at] += by;
                let loss = loss(&batch, &chosen, &classes, &matrix, 3);
                matrix[at] -= by;
                loss
            };
            let expected = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            let found = f64::from(found[at]);
            assert!((found - expected).abs() < 2e-2 * (1.0 + expected.abs()), "{at}: {found} {expected}");
        }
    }
}
