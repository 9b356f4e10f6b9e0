//! Estimates the score of every record, and ranks the records by it.

use super::space::{Space, finite};
use crate::index::questions::Signs;
use crate::kernel::{self, LANES, Lanes, PackedRows, ScaledRows};
use crate::matrix::MatrixView;
use crate::score::Metric;
use rayon::prelude::*;
use roaring::RoaringBitmap;

/// Most query rows in one table: with 2,048 centroids it takes 128 KiB.
const WIDTH: usize = 64;
/// Centroids compared at a time by one thread.
const CENTROIDS: usize = 256;
/// Most query rows that are compared with each other.
const COMPARED: usize = 64;
/// Records estimated at a time by one thread.
const RECORDS: usize = 512;

/// What records are estimated from.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) space: &'a Space,
    /// Row after row; a row has the space's width.
    pub(super) centroids: &'a [f32],
    /// For each record the mean of what its rows have beyond their centroids; or empty.
    pub(super) rests: &'a [f32],
    /// Where each record's codes begin, and the end. Whoever reads a file checks that these and the codes fit.
    pub(super) starts: &'a [u64],
    /// Numbers of the centroids that the record's rows are nearest to.
    pub(super) codes: &'a [u16],
}

impl<'a> Parts<'a> {
    pub(super) fn records(&self) -> u32 {
        self.starts.len().saturating_sub(1) as u32 // a segment's records are counted in 32 bits
    }

    /// Returns the codes of a record; a record without rows has none.
    pub(super) fn codes_of(&self, record: u32) -> &'a [u16] {
        let record = record as usize;
        &self.codes[self.starts[record] as usize..self.starts[record + 1] as usize]
    }

    /// Estimates all eligible records for a query, by each of these weights of the rests. They are put in order later,
    /// as far as is asked for.
    pub(super) fn ask<const N: usize>(
        &self,
        weights: [f64; N],
        query: MatrixView<'_>,
        allowed: Option<&RoaringBitmap>,
        deleted: &RoaringBitmap,
    ) -> [Estimated; N] {
        let eligible = |record: &u32| !self.codes_of(*record).is_empty() && !deleted.contains(*record);
        let records: Vec<u32> = match allowed {
            None => (0..self.records()).filter(eligible).collect(),
            Some(allowed) => allowed.range(0..self.records()).filter(eligible).collect(),
        };
        if query.rows() == 0 || records.is_empty() {
            return weights.map(|_| Estimated { signs: [f64::NAN; 2], ranked: Vec::new() });
        }
        let (estimates, signs) = self.estimates(query, &records);
        weights.map(|weight| {
            let ranked = estimates.iter().zip(&records).map(|((sum, rest), record)| (sum + weight * rest, *record));
            Estimated { signs, ranked: ranked.collect() }
        })
    }

    /// Returns how a query looks, without estimating any record.
    pub(super) fn signs(&self, query: MatrixView<'_>) -> Signs {
        self.estimates(query, &[]).1
    }

    /// Returns for each of these records an estimate of its score by centroids, apart from what is the same for all of
    /// them, and what its rest adds; and how the query looks.
    fn estimates(&self, query: MatrixView<'_>, records: &[u32]) -> (Vec<(f64, f64)>, Signs) {
        let width = self.space.width();
        let mut estimates = vec![(0.0, 0.0); records.len()];
        let mut sums = vec![0.0f64; width];
        let (mut rows, mut look) = (Vec::new(), Look::new(self.space.metric(), query.rows()));
        for block in query.values().chunks(WIDTH * query.dim()) {
            self.space.queries(block, &mut rows);
            for row in rows.chunks_exact(width) {
                sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
            }
            let table = Table::new(MatrixView::trusted(rows.len() / width, width, &rows), self.centroids);
            for (row, highest) in rows.chunks_exact(width).zip(&table.highest) {
                look.add(row, f64::from(*highest));
            }
            for_chunks(records, &mut estimates, |record, estimate| estimate.0 += table.sum(self.codes_of(record)));
        }
        if !self.rests.is_empty() {
            let sums: Vec<f32> = sums.into_iter().map(finite).collect();
            for_chunks(records, &mut estimates, |record, estimate| {
                estimate.1 = kernel::dot(&sums, &self.rests[record as usize * width..][..width]);
            });
        }
        (estimates, look.signs())
    }
}

/// The records that a query was compared with, each with its estimate.
pub(crate) struct Estimated {
    signs: Signs,
    ranked: Vec<(f64, u32)>,
}

impl Estimated {
    /// Returns how near the query's rows are to the nearest centroids, as
    /// [`nearness`](crate::index::questions::nearness) counts it, and how many different rows it has, as a logarithm. A
    /// query of few different rows, because it is short or because its rows are all alike, has much less to tell
    /// records apart by.
    pub(crate) fn signs(&self) -> Signs {
        self.signs
    }

    /// Returns the numbers of the `count` records that are estimated best, best first, equal ones by number.
    pub(crate) fn first(&mut self, count: usize) -> Vec<u32> {
        let order = |a: &(f64, u32), b: &(f64, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        let count = count.min(self.ranked.len());
        if count < self.ranked.len() {
            self.ranked.select_nth_unstable_by(count, order);
        }
        self.ranked[..count].sort_unstable_by(order);
        self.ranked[..count].iter().map(|(_, record)| *record).collect()
    }
}

/// Sums over the rows of a query, from which its signs are computed.
struct Look {
    metric: Metric,
    rows: usize,
    /// One row in `every`, scaled to length 1; rows of zeros stay.
    some: Vec<Vec<f32>>,
    every: usize,
    lengths: f64,
    sum: f64,
}

impl Look {
    fn new(metric: Metric, rows: usize) -> Look {
        Look { metric, rows: 0, some: Vec::new(), every: rows.div_ceil(COMPARED), lengths: 0.0, sum: 0.0 }
    }

    /// Adds a row, in the space of the centroids, and its highest inner product with one of them.
    fn add(&mut self, row: &[f32], highest: f64) {
        let own = if self.metric == Metric::L2 { &row[..row.len() - 1] } else { row };
        let square = own.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>();
        if self.rows.is_multiple_of(self.every) {
            let scale = if square > 0.0 { 1.0 / square.sqrt() } else { 0.0 };
            self.some.push(own.iter().map(|value| (f64::from(*value) * scale) as f32).collect());
        }
        self.rows += 1;
        self.lengths += square.sqrt();
        self.sum += if self.metric == Metric::L2 { -(square - 2.0 * highest).max(0.0) } else { highest };
    }

    fn signs(&self) -> Signs {
        [self.nearness(), self.variety().log2()]
    }

    /// Returns how many different rows there are: the diversity of order 2 of equally frequent rows (Leinster and
    /// Cobbold, "Measuring diversity: the importance of species similarity", 2012), which are as similar as the square
    /// of their cosine says, or not at all where the cosine is negative.
    fn variety(&self) -> f64 {
        let rows = &self.some;
        let similar = |a: &[f32], b: &[f32]| kernel::dot(a, b).max(0.0).powi(2);
        let pairs = (0..rows.len()).flat_map(|one| (0..one).map(move |other| (one, other)));
        let similar: f64 = pairs.map(|(one, other)| similar(&rows[one], &rows[other])).sum();
        let count = rows.len() as f64;
        count * count / (count + 2.0 * similar)
    }

    fn nearness(&self) -> f64 {
        match self.metric {
            Metric::L2 => -(-self.sum / self.rows as f64).sqrt(),
            Metric::Dot | Metric::Cosine if self.lengths > 0.0 => self.sum / self.lengths,
            Metric::Dot | Metric::Cosine => f64::NAN,
        }
    }
}

/// Calls `each` with every record and its estimate, in parallel.
fn for_chunks(records: &[u32], estimates: &mut [(f64, f64)], each: impl Fn(u32, &mut (f64, f64)) + Sync) {
    records.par_chunks(RECORDS).zip(estimates.par_chunks_mut(RECORDS)).for_each(|(records, estimates)| {
        records.iter().zip(estimates).for_each(|(record, estimate)| each(*record, estimate));
    });
}

/// Similarities of up to [`WIDTH`] query rows to all centroids, in eight bits: each row's highest is 255, and the step
/// is the same for all rows. More bits rank no better.
struct Table {
    step: f64,
    /// The highest similarity of each query row.
    highest: Vec<f32>,
    /// By centroid, its similarity to each query row.
    levels: Vec<[u8; WIDTH]>,
}

impl Table {
    fn new(query: MatrixView<'_>, centroids: &[f32]) -> Table {
        let packed = PackedRows::new(query);
        let (groups, dim) = (packed.groups(), query.dim());
        let mut products = vec![Lanes([0.0; LANES]); centroids.len() / dim * groups];
        products.par_chunks_mut(CENTROIDS * groups).zip(centroids.par_chunks(CENTROIDS * dim)).for_each(
            |(products, values)| {
                let (scales, offsets) = ([1.0; CENTROIDS], [0.0; CENTROIDS]);
                let count = values.len() / dim;
                let (scales, offsets) = (&scales[..count], &offsets[..count]);
                let rows = ScaledRows { values, scales, offsets, factors: &[] };
                kernel::tile(&packed, 0..groups, rows, products, &mut [Lanes([0.0; LANES]); WIDTH / LANES][..groups]);
            },
        );
        let mut lowest = [[f32::INFINITY; LANES]; WIDTH / LANES];
        let mut highest = [[f32::NEG_INFINITY; LANES]; WIDTH / LANES];
        for products in products.chunks_exact(groups) {
            for ((products, lowest), highest) in products.iter().zip(&mut lowest).zip(&mut highest) {
                for ((product, lowest), highest) in products.0.iter().zip(lowest).zip(highest) {
                    *lowest = lowest.min(*product);
                    *highest = highest.max(*product);
                }
            }
        }
        let spreads = highest[..groups].iter().flatten().zip(lowest.iter().flatten()).map(|(high, low)| high - low);
        let spread = spreads.fold(0.0, f32::max);
        // Products that overflow give useless levels; the measured recall will show it.
        let step = if spread.is_normal() { spread / 255.0 } else { 1.0 };
        let level = |products: &[Lanes]| {
            let mut levels = [0; WIDTH];
            for ((levels, products), highest) in levels.chunks_exact_mut(LANES).zip(products).zip(&highest) {
                for ((level, product), highest) in levels.iter_mut().zip(products.0).zip(highest) {
                    *level = (255.5 - (highest - product) / step) as u8;
                }
            }
            levels
        };
        let levels = products.chunks_exact(groups).map(level).collect();
        Table { step: f64::from(step), highest: highest.into_iter().flatten().take(query.rows()).collect(), levels }
    }

    /// Returns the sum, over query rows, of the highest similarity to one of these centroids.
    fn sum(&self, codes: &[u16]) -> f64 {
        let mut highest = [0; WIDTH];
        for &code in codes {
            let levels = &self.levels[usize::from(code)];
            highest.iter_mut().zip(levels).for_each(|(highest, level)| *highest = (*highest).max(*level));
        }
        let sum: u32 = highest.iter().map(|level| u32::from(*level)).sum();
        f64::from(sum) * self.step
    }
}
