//! A query made ready for many records.

use super::Metric;
use super::bound::{Bound, is_ordinary, relative_error};
use super::settle::{RowMatch, Settle, Settled};
use crate::error::{Error, Result};
use crate::kernel::{self, ordered};
use crate::matrix::{Matrix, MatrixView};
use std::ops::Range;

/// Numbers in a tile: 1 MiB, about a core's L2, and more than a five-second sound against another (249 x 249) needs.
const TILE: usize = 1 << 18;
/// Query rows in a tile, where there are more.
const TILE_QUERIES: usize = 512;

/// A query and what is computed once for it.
#[derive(Clone, Debug)]
pub struct PreparedQuery {
    metric: Metric,
    query: Matrix,
    norms: Vec<f64>,
    ordinary: bool,
}

/// What [`PreparedQuery::score`] found out about a record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// The score is below the threshold.
    Below {
        /// The score is not above this.
        upper: f64,
    },
    /// The score is exact, and may be on either side of the threshold.
    Exact {
        /// The reference's score, bit for bit.
        score: f64,
    },
}

/// Working memory of one thread, reused from record to record: at most about 1 MiB and a few numbers for each row.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    tile: Vec<f32>,
    scales: Vec<f32>,
    offsets: Vec<f32>,
    best: Vec<f32>,
    cuts: Vec<f32>,
    settled: Settled,
}

impl PreparedQuery {
    /// Copies the query and computes what does not depend on records.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the query has no rows.
    pub fn new(metric: Metric, query: MatrixView<'_>) -> Result<PreparedQuery> {
        if query.rows() == 0 {
            return Err(Error::invalid("query", "it has no rows: give at least one"));
        }
        let norms: Vec<f64> = query.iter().map(|row| ordered::dot(row, row).sqrt()).collect();
        let ordinary = norms.iter().copied().all(is_ordinary);
        Ok(PreparedQuery { metric, query: query.to_matrix(), norms, ordinary })
    }

    /// Rows of the query.
    pub fn rows(&self) -> usize {
        self.query.rows()
    }

    /// Numbers in a row.
    pub fn dim(&self) -> usize {
        self.query.dim()
    }

    /// Scores a record, or finds that it scores below `threshold`; at minus infinity the answer is always exact. A record of no
    /// rows is `Below` any threshold.
    ///
    /// # Panics
    /// When the record's rows have another dimension.
    pub fn score(&self, record: MatrixView<'_>, threshold: f64, scratch: &mut Scratch) -> Outcome {
        if record.rows() == 0 {
            return Outcome::Below { upper: f64::NEG_INFINITY };
        }
        if let Some(bound) = self.best_fast_values(record, scratch) {
            let best = scratch.best.iter().map(|&best| f64::from(best));
            let upper = bound.of_score(self.norms.iter().copied().zip(best));
            if upper < threshold {
                return Outcome::Below { upper };
            }
        }
        self.decide(record, scratch);
        Outcome::Exact { score: scratch.settled.matches.iter().fold(0.0, |sum, found| sum + found.similarity) }
    }

    /// The record row that each query row matched; their similarities, added in order, are the score. Empty for a record of no rows.
    ///
    /// # Panics
    /// When the record's rows have another dimension.
    pub fn matches(&self, record: MatrixView<'_>, scratch: &mut Scratch) -> Vec<RowMatch> {
        if record.rows() == 0 {
            return Vec::new();
        }
        self.best_fast_values(record, scratch);
        self.decide(record, scratch);
        scratch.settled.matches.clone()
    }

    /// Fills `best` with each query row's largest fast value and `cuts` with the least value that could still be the reference's
    /// maximum. Where no bound holds, every pair passes the cut and there is no bound.
    fn best_fast_values(&self, record: MatrixView<'_>, scratch: &mut Scratch) -> Option<Bound> {
        scratch.cuts.clear();
        let longest = if self.ordinary { self.measure(record, scratch) } else { None };
        let Some(longest) = longest else {
            scratch.cuts.resize(self.rows(), f32::NEG_INFINITY);
            return None;
        };
        let bound = Bound::new(self.metric, self.dim(), longest);
        scratch.best.clear();
        scratch.best.resize(self.rows(), f32::NEG_INFINITY);
        for (queries, rows) in blocks(self.rows(), record.rows()) {
            self.fill_tile(record, queries.clone(), rows, scratch);
            let best = &mut scratch.best[queries];
            for values in scratch.tile.chunks_exact(best.len()) {
                for (best, &value) in best.iter_mut().zip(values) {
                    *best = if value > *best { value } else { *best };
                }
            }
        }
        scratch.cuts.extend(self.norms.iter().zip(&scratch.best).map(|(&norm, &best)| {
            match self.metric {
                // Settled beforehand, and every value would reach a cut at 0.
                Metric::Dot | Metric::Cosine if norm == 0.0 => f32::INFINITY,
                _ => ((f64::from(best) - 2.0 * bound.of_value(norm)) as f32).next_down(),
            }
        }));
        Some(bound)
    }

    /// Fills `scales` and `offsets` and returns an upper bound of the longest row's norm, or nothing when a row is not ordinary.
    fn measure(&self, record: MatrixView<'_>, scratch: &mut Scratch) -> Option<f64> {
        scratch.scales.clear();
        scratch.offsets.clear();
        let mut longest = 0.0f64;
        for row in record.iter() {
            let square = kernel::dot(row, row);
            if !is_ordinary(square.sqrt()) || (square == 0.0 && row.iter().any(|&value| value != 0.0)) {
                return None;
            }
            longest = longest.max(square);
            let (scale, offset) = match self.metric {
                Metric::Dot => (1.0, 0.0),
                Metric::Cosine if square == 0.0 => (0.0, 0.0),
                Metric::Cosine => (1.0 / square.sqrt(), 0.0),
                Metric::L2 => (1.0, -0.5 * square),
            };
            scratch.scales.push(scale as f32);
            scratch.offsets.push(offset as f32);
        }
        Some(longest.sqrt() * (1.0 + relative_error(self.dim())))
    }

    /// Computes the fast values of a block.
    fn fill_tile(&self, record: MatrixView<'_>, queries: Range<usize>, rows: Range<usize>, scratch: &mut Scratch) {
        let width = queries.len();
        scratch.tile.resize(width * rows.len(), 0.0);
        kernel::tile(&mut scratch.tile, self.query.view(), queries, record, rows.clone());
        if self.metric != Metric::Dot {
            for (values, row) in scratch.tile.chunks_exact_mut(width).zip(rows) {
                let (scale, offset) = (scratch.scales[row], scratch.offsets[row]);
                values.iter_mut().for_each(|value| *value = *value * scale + offset);
            }
        }
    }

    /// Finds the matches as the reference does, looking only at pairs that pass the cut.
    fn decide(&self, record: MatrixView<'_>, scratch: &mut Scratch) {
        let bounded = scratch.cuts[0] > f32::NEG_INFINITY;
        let mut settle =
            Settle::new(self.metric, self.query.view(), &self.norms, record, std::mem::take(&mut scratch.settled));
        let blocks = blocks(self.rows(), record.rows());
        let one_block = blocks.len() == 1;
        for (queries, rows) in blocks {
            // The values of an only block are still there.
            if bounded && !one_block {
                self.fill_tile(record, queries.clone(), rows.clone(), scratch);
            }
            let cuts = &scratch.cuts[queries.clone()];
            for (offset, row) in rows.enumerate() {
                // Never the first of equals. Silence repeats a row hundreds of times, and every repetition would pass the cut.
                if row > 0 && record.row(row) == record.row(row - 1) {
                    continue;
                }
                if bounded {
                    let values = &scratch.tile[offset * cuts.len()..][..cuts.len()];
                    passing(values, cuts, |lane| settle.consider(queries.start + lane, row));
                } else {
                    queries.clone().for_each(|query| settle.consider(query, row));
                }
            }
        }
        scratch.settled = settle.finish();
    }
}

/// Calls `pass` for each index at which the value reaches its cut: few of many, so whole strips are ruled out first.
fn passing(values: &[f32], cuts: &[f32], mut pass: impl FnMut(usize)) {
    const STRIP: usize = 32;
    for (strip, (values, cuts)) in values.chunks(STRIP).zip(cuts.chunks(STRIP)).enumerate() {
        if values.iter().zip(cuts).fold(false, |any, (value, cut)| any | (value >= cut)) {
            let passing = values.iter().zip(cuts).enumerate().filter(|(_, (value, cut))| value >= cut);
            passing.for_each(|(lane, _)| pass(strip * STRIP + lane));
        }
    }
}

/// The blocks that a comparison falls into.
fn blocks(queries: usize, rows: usize) -> impl ExactSizeIterator<Item = (Range<usize>, Range<usize>)> {
    let width = queries.min(TILE_QUERIES);
    let height = (TILE / width).min(rows);
    let columns = queries.div_ceil(width);
    (0..columns * rows.div_ceil(height)).map(move |block| {
        let (query, row) = (block % columns * width, block / columns * height);
        (query..queries.min(query + width), row..rows.min(row + height))
    })
}
