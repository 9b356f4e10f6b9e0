//! The estimate of every record's score, and the records that it puts first.

use super::space::{Space, finite};
use crate::kernel::{self, LANES, Lanes, PackedRows, ScaledRows};
use crate::matrix::MatrixView;
use rayon::prelude::*;
use roaring::RoaringBitmap;

/// Query rows whose similarities stand side by side: with 2,048 centroids a table of 128 KiB.
const WIDTH: usize = 64;
/// Centroids compared at a time by one thread.
const CENTROIDS: usize = 256;
/// Records estimated at a time by one thread.
const RECORDS: usize = 512;

/// What records are estimated from.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) space: &'a Space,
    /// Row after row; a row has the space's width.
    pub(super) centroids: &'a [f32],
    /// Of each record the mean of what its rows have beyond their centroids, or nothing at all.
    pub(super) rests: &'a [f32],
    /// How much of that counts.
    pub(super) weight: f64,
    /// Where each record's codes begin, and the end. Such bounds and such codes as fit are the reader's to check.
    pub(super) starts: &'a [u64],
    /// Numbers of the centroids that the record's rows are nearest to.
    pub(super) codes: &'a [u16],
}

impl<'a> Parts<'a> {
    pub(super) fn records(&self) -> u32 {
        self.starts.len().saturating_sub(1) as u32 // a segment's records are counted in 32 bits
    }

    /// The codes of a record; a record without rows has none.
    pub(super) fn codes_of(&self, record: u32) -> &'a [u16] {
        let record = record as usize;
        &self.codes[self.starts[record] as usize..self.starts[record + 1] as usize]
    }

    /// The numbers of the `count` records that are estimated best, best first, equal ones by number.
    pub(super) fn best(
        &self,
        query: MatrixView<'_>,
        count: usize,
        allowed: Option<&RoaringBitmap>,
        deleted: &RoaringBitmap,
    ) -> Vec<u32> {
        let eligible = |record: &u32| !self.codes_of(*record).is_empty() && !deleted.contains(*record);
        let records: Vec<u32> = match allowed {
            None => (0..self.records()).filter(eligible).collect(),
            Some(allowed) => allowed.range(0..self.records()).filter(eligible).collect(),
        };
        if query.rows() == 0 || records.is_empty() || count == 0 {
            return Vec::new();
        }
        let estimates = self.estimates(query, &records);
        let mut ranked: Vec<(f64, u32)> = estimates.into_iter().zip(records).collect();
        let order = |a: &(f64, u32), b: &(f64, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        if count < ranked.len() {
            ranked.select_nth_unstable_by(count, order);
            ranked.truncate(count);
        }
        ranked.sort_unstable_by(order);
        ranked.into_iter().map(|(_, record)| record).collect()
    }

    /// An estimate of the score of each of these records, but for what is the same for all of them.
    fn estimates(&self, query: MatrixView<'_>, records: &[u32]) -> Vec<f64> {
        let width = self.space.width();
        let mut estimates = vec![0.0; records.len()];
        let mut sums = vec![0.0f64; width];
        let mut rows = Vec::new();
        for block in query.values().chunks(WIDTH * query.dim()) {
            self.space.queries(block, &mut rows);
            for row in rows.chunks_exact(width) {
                sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
            }
            let table = Table::new(MatrixView::trusted(rows.len() / width, width, &rows), self.centroids);
            for_chunks(records, &mut estimates, |record, estimate| *estimate += table.sum(self.codes_of(record)));
        }
        if !self.rests.is_empty() {
            let sums: Vec<f32> = sums.into_iter().map(finite).collect();
            for_chunks(records, &mut estimates, |record, estimate| {
                *estimate += self.weight * kernel::dot(&sums, &self.rests[record as usize * width..][..width]);
            });
        }
        estimates
    }
}

/// Hands out each record and its estimate, in parallel.
fn for_chunks(records: &[u32], estimates: &mut [f64], each: impl Fn(u32, &mut f64) + Sync) {
    records.par_chunks(RECORDS).zip(estimates.par_chunks_mut(RECORDS)).for_each(|(records, estimates)| {
        records.iter().zip(estimates).for_each(|(record, estimate)| each(*record, estimate));
    });
}

/// Similarities of up to [`WIDTH`] query rows to all centroids, in eight bits: each row's highest is 255, and a step is the
/// same for all. More bits rank no better.
struct Table {
    step: f64,
    /// By centroid.
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
                let rows = ScaledRows { values, scales: &scales[..count], offsets: &offsets[..count] };
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
        // Products that overflow have no levels worth anything; the measured recall will say so.
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
        Table { step: f64::from(step), levels: products.chunks_exact(groups).map(level).collect() }
    }

    /// The sum over query rows of the highest similarity to one of these centroids.
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
