//! Centroids for coding rows: spherical k-means on a sample of training rows.

use super::Pipeline;
use super::kmeans::{Centroids, Similarity};
use super::source::Training;
use crate::error::Result;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// Returns up to `count` centroids of length 1, row after row.
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
    let (_, sample) = training.sample(steps, |_| true, sample, &mut draws)?;
    Ok(Centroids::fit(Similarity::Direction, &sample, dim, count, rounds, &mut draws).into_values())
}
