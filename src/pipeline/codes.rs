//! Centroids for coding rows: spherical k-means on a sample of training rows.

use super::Pipeline;
use super::kmeans::{Centroids, Likeness, choose};
use super::source::Training;
use crate::error::Result;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// Up to `count` centroids of length 1, row after row.
pub(super) fn fit(
    training: &Training<'_>,
    steps: &Pipeline,
    count: usize,
    sample: usize,
    rounds: usize,
    seed: u64,
) -> Result<Vec<f32>> {
    let mut draws = ChaCha8Rng::seed_from_u64(seed);
    let dim = steps.dim();
    let sample = sampled_rows(training, steps, sample, &mut draws)?;
    Ok(Centroids::fit(Likeness::Direction, &sample, dim, count, rounds, &mut draws).into_values())
}

/// `count` training rows drawn without repetition, in their order; all of them if there are no more.
fn sampled_rows(training: &Training<'_>, steps: &Pipeline, count: usize, draws: &mut ChaCha8Rng) -> Result<Vec<f32>> {
    // Row numbers drawn from each record.
    let mut starts = Vec::new();
    let total = training.rows(steps).fold(0, |start, rows| {
        starts.push(start);
        start + rows
    });
    let mut drawn = vec![Vec::new(); starts.len()];
    let mut record = 0;
    for row in choose(total, count, draws) {
        while starts.get(record + 1).is_some_and(|next| *next <= row) {
            record += 1;
        }
        drawn[record].push(row - starts[record]);
    }
    let mut sample = Vec::with_capacity(count.min(total) * steps.dim());
    training.for_each_batch(
        steps,
        |record| !drawn[record].is_empty(),
        |batch| {
            for (record, matrix) in &batch {
                drawn[*record].iter().for_each(|row| sample.extend_from_slice(matrix.view().row(*row)));
            }
            Ok(())
        },
    )?;
    Ok(sample)
}
