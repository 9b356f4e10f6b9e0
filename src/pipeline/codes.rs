//! Centroids for coding rows: spherical k-means on a sample of training rows.

use super::Pipeline;
use super::apply::normalise;
use super::source::Training;
use crate::error::Result;
use crate::kernel::{Strided, product};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use rayon::prelude::*;

/// Rows compared with all centroids at a time; the scores of a block stay in the cache.
const BLOCK: usize = 256;

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
    let rows = sample.len() / dim;
    let chosen = choose(rows, count, &mut draws);
    let mut centroids: Vec<f32> = chosen.flat_map(|row| &sample[row * dim..][..dim]).copied().collect();
    centroids.chunks_exact_mut(dim).for_each(normalise);
    for _ in 0..rounds {
        let nearest = assign(&sample, &centroids, dim);
        recentre(&sample, &nearest, &mut centroids, dim);
    }
    Ok(centroids)
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

/// `count` of the numbers below `total`, ascending, every choice equally likely; all of them if there are no more
/// (Knuth, *The Art of Computer Programming* 2, 3.4.2, algorithm S).
fn choose(total: usize, count: usize, draws: &mut ChaCha8Rng) -> impl Iterator<Item = usize> {
    let mut wanted = count.min(total);
    let drawn = (0..total).filter(move |number| {
        let below = ((u128::from(draws.next_u64()) * (total - number) as u128) >> 64) as usize;
        let taken = below < wanted;
        wanted -= usize::from(taken);
        taken
    });
    drawn.take(count.min(total))
}

/// For every row the number of the centroid with the largest inner product, the first of equals.
fn assign(rows: &[f32], centroids: &[f32], dim: usize) -> Vec<usize> {
    let count = centroids.len() / dim;
    let right = Strided::new(centroids, count, dim).transposed();
    rows.par_chunks(BLOCK * dim)
        .map_init(Vec::new, |scores, block| {
            let left = Strided::new(block, block.len() / dim, dim);
            scores.resize(left.rows * count, 0.0);
            product(scores, left, right, false);
            scores.chunks_exact(count).map(largest).collect::<Vec<usize>>()
        })
        .flatten_iter()
        .collect()
}

fn largest(scores: &[f32]) -> usize {
    let mut best = 0;
    for (index, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = index;
        }
    }
    best
}

/// Moves each centroid to the direction of the sum of its rows; one without rows, or whose rows cancel, stays.
fn recentre(rows: &[f32], nearest: &[usize], centroids: &mut [f32], dim: usize) {
    let mut sums = vec![0.0f64; centroids.len()];
    for (row, nearest) in rows.chunks_exact(dim).zip(nearest) {
        let sum = &mut sums[nearest * dim..][..dim];
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    for (centroid, sum) in centroids.chunks_exact_mut(dim).zip(sums.chunks_exact(dim)) {
        let length = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
        if length > 0.0 {
            centroid.iter_mut().zip(sum).for_each(|(value, sum)| *value = (sum / length) as f32);
        }
    }
}
