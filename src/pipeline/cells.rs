//! Centroids in cells: finds a row's nearest centroid, or one about as near, without a look at all of them.
//!
//! Centroids near each other form a *cell*. A row is compared with the middles of all cells, and then with the
//! centroids of the few cells whose middles are nearest: the inverted file of Jégou, Douze and Schmid ("Product
//! quantization for nearest neighbor search", 2011), here over centroids. k-means whose rounds do the same finds
//! centroids about as good as Lloyd's own in less time (Philbin et al., "Object retrieval with large vocabularies and
//! fast spatial matching", 2007). Of few centroids there is one cell, and the nearest is found.
//!
//! The number of threads changes nothing: what is found for a row does not depend on the rows beside it.

use super::kmeans::{Centroids, Similarity};
use crate::kernel::{LANES, Lanes, PackedRows, ScaledRows, tile};
use crate::matrix::MatrixView;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Rows that are best looked at together: each cell then meets enough of them to be worth fetching.
pub(crate) const BATCH: usize = 1_024;
/// Rows compared with a cell at a time; the products stay in the cache.
const BLOCK: usize = 256;
/// Most centroids that are one cell.
const FEW: usize = 512;
/// Cells that a row looks into.
const LOOKED_INTO: usize = 8;
/// Rounds of k-means that find the cells.
const ROUNDS: usize = 4;

/// Centroids by distance, in cells.
pub(crate) struct Cells {
    dim: usize,
    middles: Packed,
    cells: Vec<Packed>,
}

/// Centroids that are compared together.
struct Packed {
    dim: usize,
    rows: PackedRows,
    /// Half of each one's squared length; infinite in lanes that are left over.
    halves: Vec<Lanes>,
    /// Which centroids they are.
    numbers: Vec<u32>,
}

/// Memory to be used again.
#[derive(Default)]
pub(crate) struct Work {
    products: Vec<Lanes>,
    gathered: Vec<f32>,
    /// By cell, the rows that look into it.
    lookers: Vec<Vec<usize>>,
    /// By row, how near the nearest centroid so far is, and its number.
    nearest: Vec<(f32, u32)>,
}

impl Cells {
    /// Finds up to `count` centroids of a sample's rows, starting from some of these.
    pub(crate) fn fit(
        sample: &[f32],
        dim: usize,
        count: usize,
        rounds: usize,
        draws: &mut ChaCha8Rng,
    ) -> (Centroids, Cells) {
        let mut centroids = Centroids::drawn(Similarity::Distance, sample, dim, count, draws);
        let mut cells = Cells::new(&centroids, dim, draws);
        for _ in 0..rounds {
            let of_batch = |work: &mut Work, rows: &[f32]| cells.nearest(rows, work).collect::<Vec<usize>>();
            let nearest: Vec<usize> =
                sample.par_chunks(BATCH * dim).map_init(Work::default, of_batch).flatten_iter().collect();
            centroids = centroids.moved(Similarity::Distance, sample, &nearest);
            cells = Cells::new(&centroids, dim, draws);
        }
        (centroids, cells)
    }

    fn new(centroids: &Centroids, dim: usize, draws: &mut ChaCha8Rng) -> Cells {
        let all = 0..centroids.len() as u32;
        if centroids.len() <= FEW {
            let none = Packed::new(dim, &[], Vec::new());
            return Cells { dim, middles: none, cells: vec![Packed::new(dim, centroids.values(), all.collect())] };
        }
        let count = centroids.len().isqrt();
        let middles = Centroids::fit(Similarity::Distance, centroids.values(), dim, count, ROUNDS, draws);
        let mut members = vec![Vec::new(); middles.len()];
        all.zip(middles.nearest_of_all(centroids.values())).for_each(|(number, cell)| members[cell].push(number));
        members.retain(|members| !members.is_empty());
        let cells: Vec<Packed> =
            members.into_iter().map(|members| Packed::new(dim, centroids.values(), members)).collect();
        // The middles of what is in the cells now: the last round has moved some centroids.
        let middle = |cell: &Packed| {
            let mut sums = vec![0.0f64; dim];
            for &number in &cell.numbers {
                let centroid = &centroids.values()[number as usize * dim..][..dim];
                sums.iter_mut().zip(centroid).for_each(|(sum, value)| *sum += f64::from(*value));
            }
            sums.into_iter().map(|sum| (sum / cell.numbers.len() as f64) as f32).collect::<Vec<f32>>()
        };
        let middles: Vec<f32> = cells.iter().flat_map(middle).collect();
        Cells { dim, middles: Packed::new(dim, &middles, (0..cells.len() as u32).collect()), cells }
    }

    /// Returns for every row the number of its nearest centroid, or of one about as near; 0 for a row that has none.
    /// Runs on this thread, and is meant for about [`BATCH`] rows.
    pub(crate) fn nearest<'w>(&self, rows: &[f32], work: &'w mut Work) -> impl Iterator<Item = usize> + use<'w> {
        let Work { products, gathered, lookers, nearest } = work;
        let count = rows.len() / self.dim;
        nearest.clear();
        nearest.resize(count, (f32::NEG_INFINITY, 0));
        lookers.iter_mut().for_each(Vec::clear);
        lookers.resize_with(self.cells.len(), Vec::new);
        if self.cells.len() <= LOOKED_INTO {
            lookers.iter_mut().for_each(|rows| rows.extend(0..count));
        } else {
            let mut order: Vec<(f32, u32)> = Vec::new();
            for (block, rows) in rows.chunks(BLOCK * self.dim).enumerate() {
                self.middles.compare(rows, products);
                for (row, products) in products.chunks(self.middles.halves.len()).enumerate() {
                    order.clear();
                    let scores = products.iter().zip(&self.middles.halves).flat_map(|(products, halves)| {
                        products.0.iter().zip(&halves.0).map(|(product, half)| product - half)
                    });
                    order.extend(scores.zip(&self.middles.numbers).map(|(score, &cell)| (score, cell)));
                    order.select_nth_unstable_by(LOOKED_INTO, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
                    for &(_, cell) in &order[..LOOKED_INTO] {
                        lookers[cell as usize].push(block * BLOCK + row);
                    }
                }
            }
        }
        for (cell, lookers) in self.cells.iter().zip(lookers) {
            for lookers in lookers.chunks(BLOCK) {
                gathered.clear();
                lookers.iter().for_each(|row| gathered.extend_from_slice(&rows[row * self.dim..][..self.dim]));
                cell.compare(gathered, products);
                for (&row, products) in lookers.iter().zip(products.chunks(cell.halves.len())) {
                    let (score, number) = cell.best(products);
                    if score > nearest[row].0 {
                        nearest[row] = (score, number);
                    }
                }
            }
        }
        nearest.iter().map(|(_, number)| *number as usize)
    }
}

impl Packed {
    /// Takes some of these centroids.
    fn new(dim: usize, centroids: &[f32], numbers: Vec<u32>) -> Packed {
        let values: Vec<f32> =
            numbers.iter().flat_map(|&number| &centroids[number as usize * dim..][..dim]).copied().collect();
        let mut halves = vec![Lanes([f32::INFINITY; LANES]); numbers.len().div_ceil(LANES)];
        let places = halves.iter_mut().flat_map(|lanes| &mut lanes.0);
        places.zip(super::kmeans::half_squares(&values, dim)).for_each(|(place, half)| *place = half);
        let rows = PackedRows::new(MatrixView::trusted(numbers.len(), dim, &values));
        Packed { dim, rows, halves, numbers }
    }

    /// Puts the products of up to [`BLOCK`] rows with all of them into `products`.
    fn compare(&self, values: &[f32], products: &mut Vec<Lanes>) {
        let (groups, count) = (self.halves.len(), values.len() / self.dim);
        products.clear();
        products.resize(count * groups, Lanes([0.0; LANES]));
        let rows = ScaledRows { values, scales: &[1.0; BLOCK][..count], offsets: &[0.0; BLOCK][..count], factors: &[] };
        tile(&self.rows, 0..groups, rows, products, &mut vec![Lanes([0.0; LANES]); groups]);
    }

    /// Returns the nearest one by its products with a row, and how near that is; the first of equals in its lane.
    fn best(&self, products: &[Lanes]) -> (f32, u32) {
        let (mut highest, mut at) = ([f32::NEG_INFINITY; LANES], [0u32; LANES]);
        for (group, (products, halves)) in (0..).zip(products.iter().zip(&self.halves)) {
            for lane in 0..LANES {
                let score = products.0[lane] - halves.0[lane];
                at[lane] = if score > highest[lane] { group } else { at[lane] };
                highest[lane] = if score > highest[lane] { score } else { highest[lane] };
            }
        }
        let lane = (0..LANES).fold(0, |best, lane| if highest[lane] > highest[best] { lane } else { best });
        let number = self.numbers.get(at[lane] as usize * LANES + lane).copied().unwrap_or_default();
        (highest[lane], number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::unit_f32;
    use rand_chacha::rand_core::SeedableRng;

    #[test]
    fn a_row_finds_its_nearest_centroid_or_one_about_as_near() {
        let (dim, mut draws) = (8, ChaCha8Rng::seed_from_u64(3));
        let sample: Vec<f32> = (0..20_000 * dim).map(|_| unit_f32(&mut draws) - 0.5).collect();
        for count in [20, FEW, 3 * FEW] {
            let (centroids, cells) = Cells::fit(&sample, dim, count, 3, &mut draws);
            let mut work = Work::default();
            let found: Vec<usize> =
                sample.chunks(700 * dim).flat_map(|rows| cells.nearest(rows, &mut work).collect::<Vec<_>>()).collect();
            let (mut same, mut excess) = (0, 0.0f64);
            for ((row, found), nearest) in sample.chunks(dim).zip(found).zip(centroids.nearest_of_all(&sample)) {
                let distance = |centroid: usize| -> f64 {
                    let centroid = &centroids.values()[centroid * dim..][..dim];
                    row.iter().zip(centroid).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
                };
                let over = distance(found) - distance(nearest);
                same += usize::from(over < 1e-4);
                excess += over / 20_000.0;
            }
            assert!(same >= if count <= FEW { 20_000 } else { 19_000 }, "{count}: {same} of 20000");
            assert!(excess < 0.02, "{count}: {excess}");
        }
    }

    #[test]
    fn rows_without_a_nearest_centroid_get_the_first() {
        let mut draws = ChaCha8Rng::seed_from_u64(3);
        let (_, cells) = Cells::fit(&[1.0, 2.0, -1.0, 0.5], 2, 2, 1, &mut draws);
        assert_eq!(cells.nearest(&[f32::NAN; 4], &mut Work::default()).collect::<Vec<_>>(), [0, 0]);
        assert_eq!(cells.nearest(&[], &mut Work::default()).count(), 0);
        let (centroids, none) = Cells::fit(&[], 2, 2, 1, &mut draws);
        assert_eq!((centroids.len(), none.nearest(&[], &mut Work::default()).count()), (0, 0));
    }
}
