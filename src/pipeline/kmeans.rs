//! k-means: finds centroids, rows that stand for many others, for all that needs them here and in the rooms above.
//!
//! It does Lloyd's rounds, starting from rows drawn from the sample. The number of threads changes nothing: each row's
//! nearest centroid is found on one thread, a block of fixed size at a time, and rows are summed in their order.

pub(crate) use super::apply::normalise;
use crate::kernel::{Strided, product};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;
use rayon::prelude::*;

/// Rows compared with all centroids at a time; the scores of a block stay in the cache.
pub(crate) const BLOCK: usize = 256;

/// What makes rows alike, and so how a centroid is made of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Similarity {
    /// A large inner product with a centroid of length 1: it is the direction of their sum (spherical k-means).
    Direction,
    /// A small distance: it is their mean.
    Distance,
}

/// Centroids of one dimension.
#[derive(Clone, Debug)]
pub(crate) struct Centroids {
    dim: usize,
    values: Vec<f32>,
    /// What is subtracted from inner products to rank centroids: half of the squared length where distance counts, else
    /// 0.
    halves: Vec<f32>,
}

impl Centroids {
    /// Finds up to `count` centroids of a sample's rows, starting from some of these.
    pub(crate) fn fit(
        similarity: Similarity,
        sample: &[f32],
        dim: usize,
        count: usize,
        rounds: usize,
        draws: &mut ChaCha8Rng,
    ) -> Centroids {
        let mut centroids = Centroids::drawn(similarity, sample, dim, count, draws);
        for _ in 0..rounds {
            let nearest = centroids.nearest_of_all(sample);
            centroids = centroids.moved(similarity, sample, &nearest);
        }
        centroids
    }

    /// Draws up to `count` of a sample's rows, for centroids to start from.
    pub(super) fn drawn(
        similarity: Similarity,
        sample: &[f32],
        dim: usize,
        count: usize,
        draws: &mut ChaCha8Rng,
    ) -> Centroids {
        let chosen = choose(sample.len() / dim, count, draws);
        let mut values: Vec<f32> = chosen.flat_map(|row| &sample[row * dim..][..dim]).copied().collect();
        if similarity == Similarity::Direction {
            values.chunks_exact_mut(dim).for_each(normalise);
        }
        Centroids::new(similarity, dim, values)
    }

    /// Moves each centroid to where the rows nearest to it are.
    pub(super) fn moved(self, similarity: Similarity, sample: &[f32], nearest: &[usize]) -> Centroids {
        let (mut values, dim) = (self.values, self.dim);
        recentre(similarity, sample, nearest, &mut values, dim);
        Centroids::new(similarity, dim, values)
    }

    /// Takes centroids, row after row.
    pub(crate) fn new(similarity: Similarity, dim: usize, values: Vec<f32>) -> Centroids {
        let halves = match similarity {
            Similarity::Direction => vec![0.0; values.len() / dim],
            Similarity::Distance => half_squares(&values, dim),
        };
        Centroids { dim, values, halves }
    }

    /// Returns the number of centroids.
    pub(crate) fn len(&self) -> usize {
        self.halves.len()
    }

    /// Returns the centroids, row after row.
    pub(crate) fn values(&self) -> &[f32] {
        &self.values
    }

    /// Returns the centroids, row after row, without copying them.
    pub(crate) fn into_values(self) -> Vec<f32> {
        self.values
    }

    /// Returns for every row the number of its nearest centroid, the first of equals; nothing when there are no
    /// centroids. Runs on this thread, and is meant for about [`BLOCK`] rows; `scores` is memory to be used again.
    pub(crate) fn nearest<'a>(&'a self, rows: &[f32], scores: &'a mut Vec<f32>) -> impl Iterator<Item = usize> + 'a {
        let left = Strided::new(rows, rows.len() / self.dim, self.dim);
        let right = Strided::new(&self.values, self.len(), self.dim).transposed();
        scores.clear();
        scores.resize(left.rows * self.len(), 0.0);
        product(scores, left, right, false);
        scores.chunks_exact(self.len().max(1)).map(|scores| largest(scores, &self.halves))
    }

    /// Does what [`Centroids::nearest`] does for any number of rows, in parallel.
    pub(crate) fn nearest_of_all(&self, rows: &[f32]) -> Vec<usize> {
        rows.par_chunks(BLOCK * self.dim)
            .map_init(Vec::new, |scores, block| self.nearest(block, scores).collect::<Vec<usize>>())
            .flatten_iter()
            .collect()
    }
}

/// Returns half of the squared length of each row.
pub(crate) fn half_squares(rows: &[f32], dim: usize) -> Vec<f32> {
    let square = |row: &[f32]| row.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>();
    rows.chunks_exact(dim).map(|row| (0.5 * square(row)) as f32).collect()
}

fn largest(scores: &[f32], halves: &[f32]) -> usize {
    let (mut best, mut highest) = (0, f32::NEG_INFINITY);
    for (index, (score, half)) in scores.iter().zip(halves).enumerate() {
        if *score - *half > highest {
            (best, highest) = (index, *score - *half);
        }
    }
    best
}

/// Moves each centroid to the mean or the direction of its rows; one without rows, or whose rows' directions cancel,
/// stays.
fn recentre(similarity: Similarity, rows: &[f32], nearest: &[usize], centroids: &mut [f32], dim: usize) {
    let mut sums = vec![0.0f64; centroids.len()];
    let mut counts = vec![0u64; centroids.len() / dim];
    for (row, &nearest) in rows.chunks_exact(dim).zip(nearest) {
        let sum = &mut sums[nearest * dim..][..dim];
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
        counts[nearest] += 1;
    }
    for ((centroid, sum), count) in centroids.chunks_exact_mut(dim).zip(sums.chunks_exact(dim)).zip(counts) {
        let divisor = match similarity {
            Similarity::Direction => sum.iter().map(|value| value * value).sum::<f64>().sqrt(),
            Similarity::Distance => count as f64,
        };
        if divisor > 0.0 {
            centroid.iter_mut().zip(sum).for_each(|(value, sum)| *value = (sum / divisor) as f32);
        }
    }
}

/// Draws `count` of the numbers below `total`, ascending, every choice equally likely; all of them if there are no more
/// (Knuth, *The Art of Computer Programming* 2, 3.4.2, algorithm S).
pub(crate) fn choose(total: usize, count: usize, draws: &mut ChaCha8Rng) -> impl Iterator<Item = usize> {
    let mut wanted = count.min(total);
    let drawn = (0..total).filter(move |number| {
        let below = ((u128::from(draws.next_u64()) * (total - number) as u128) >> 64) as usize;
        let taken = below < wanted;
        wanted -= usize::from(taken);
        taken
    });
    drawn.take(count.min(total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;

    #[test]
    fn centroids_of_clumps_are_their_means_or_directions() {
        // Clumps at a right angle, one of them in two places along its direction.
        let sample: Vec<f32> = (0..300)
            .flat_map(|row| match (row % 3, row as f32 / 300.0) {
                (0, at) => [10.0, at],
                (1, at) => [at, 10.0],
                (_, at) => [20.0, 2.0 * at],
            })
            .collect();
        for (similarity, count) in [(Similarity::Distance, 3), (Similarity::Direction, 2)] {
            // Several of twenty random starts find the clumps.
            let found = (0..20).filter(|&seed| {
                let mut draws = ChaCha8Rng::seed_from_u64(seed);
                let centroids = Centroids::fit(similarity, &sample, 2, count, 10, &mut draws);
                let nearest = centroids.nearest_of_all(&sample);
                let values = centroids.values();
                let apart =
                    nearest[0] != nearest[1] && (nearest[0] == nearest[2]) == (similarity == Similarity::Direction);
                let alike = (0..300).all(|row| nearest[row] == nearest[row % 3]);
                let lies = match similarity {
                    Similarity::Distance => values[2 * nearest[0]] == 10.0,
                    Similarity::Direction => values.chunks(2).all(|row| (row[0].hypot(row[1]) - 1.0).abs() < 1e-6),
                };
                apart && alike && lies
            });
            assert!(found.count() >= 5, "{similarity:?}");
        }
    }
}
