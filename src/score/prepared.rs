//! A query made ready for many records.

use super::Metric;
use super::bound::{Bound, RecordBound, is_ordinary};
use super::rescore::{Rescore, Rescored, RowMatch};
use crate::error::{Error, Result};
use crate::kernel::{self, LANES, Lanes, PackedRows, Reaching, SHORT_SIZE, ScaledRows, ordered};
use crate::matrix::{Matrix, MatrixView};
use std::ops::Range;

/// Groups of sixteen `f32` numbers in a tile: 1 MiB, about a core's L2, and more than a five-second sound against
/// another (249 x 249) needs.
const TILE: usize = 1 << 14;
/// Most groups of sixteen query rows in a tile.
const TILE_GROUPS: usize = 32;
/// Queries of fewer rows leave most of a group idle: they are compared pair by pair.
const FEW: usize = 3;
/// Rows of a query from which on products of whole numbers are faster: rounding a record's rows has to pay.
const SHORT_ROWS: usize = LANES + 1;
/// Most numbers in a row for which they are precise enough to drop records.
const SHORT_DIM: usize = 4_096;

/// A query and what is computed once for it.
#[derive(Clone, Debug)]
pub struct PreparedQuery {
    pub(super) metric: Metric,
    pub(super) query: Matrix,
    packed: PackedRows,
    pub(super) norms: Vec<f64>,
    pub(super) ordinary: bool,
    pub(super) bound: Bound,
}

/// A record row's fast value is its inner product times `scale`, plus `offset`.
pub(super) struct Scaling {
    /// The row's squared norm, in `f32`.
    pub(super) square: f64,
    pub(super) scale: f64,
    pub(super) offset: f32,
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
    scales: Vec<f32>,
    offsets: Vec<f32>,
    factors: Vec<f32>,
    tile: Vec<Lanes>,
    best: Vec<Lanes>,
    cuts: Vec<Lanes>,
    reaching: Vec<Reaching>,
    rescored: Rescored,
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
        let short = query.rows() >= SHORT_ROWS && query.dim() <= SHORT_DIM && kernel::short_is_faster();
        let (packed, bound) = if short && ordinary {
            let factors: Vec<f32> = norms.iter().map(|&norm| factor(norm)).collect();
            (PackedRows::short(query, &factors), Bound::short(metric, query.dim()))
        } else {
            (PackedRows::new(query), Bound::new(metric, query.dim()))
        };
        Ok(PreparedQuery { metric, packed, query: query.to_matrix(), norms, ordinary, bound })
    }

    /// Returns the number of rows of the query.
    pub fn rows(&self) -> usize {
        self.query.rows()
    }

    /// Whether the norms of all rows are such as bounds in `f32` hold for.
    pub(crate) fn is_ordinary(&self) -> bool {
        self.ordinary
    }

    /// Returns the norm of each row of the query.
    pub fn norms(&self) -> &[f64] {
        &self.norms
    }

    /// Returns an upper bound of every record's score, whatever its rows: infinite by inner product.
    pub(crate) fn most(&self) -> f64 {
        match self.metric {
            Metric::Dot => f64::INFINITY,
            Metric::L2 => 0.0,
            Metric::Cosine => {
                let rows = self.norms.iter().filter(|&&norm| norm != 0.0).count() as f64;
                rows * (1.0 + (self.dim() + self.rows() + 16) as f64 * 4.0 * f64::EPSILON)
            }
        }
    }

    /// Returns the dimension of the query's rows.
    pub fn dim(&self) -> usize {
        self.query.dim()
    }

    /// Scores a record, or finds that it scores below `threshold`; at minus infinity the answer is always exact. A
    /// record of no rows is `Below` any threshold.
    ///
    /// # Panics
    /// When the record's rows have another dimension.
    pub fn score(&self, record: MatrixView<'_>, threshold: f64, scratch: &mut Scratch) -> Outcome {
        if record.rows() == 0 {
            return Outcome::Below { upper: f64::NEG_INFINITY };
        }
        if let Some(upper) = self.upper(record, scratch).filter(|&upper| upper < threshold) {
            return Outcome::Below { upper };
        }
        self.decide(record, scratch);
        Outcome::Exact { score: scratch.rescored.matches.iter().fold(0.0, |sum, found| sum + found.similarity) }
    }

    /// Returns the record row that each query row matched; their similarities, added in order, are the score. Empty for
    /// a record of no rows.
    ///
    /// # Panics
    /// When the record's rows have another dimension.
    pub fn matches(&self, record: MatrixView<'_>, scratch: &mut Scratch) -> Vec<RowMatch> {
        if record.rows() == 0 {
            return Vec::new();
        }
        self.best_fast_values(record, scratch);
        self.decide(record, scratch);
        scratch.rescored.matches.clone()
    }

    /// Returns the most that the score can be, as far as `f32` tells; `None` where no bound holds.
    pub(super) fn upper(&self, record: MatrixView<'_>, scratch: &mut Scratch) -> Option<f64> {
        let bound = self.best_fast_values(record, scratch)?;
        Some(bound.of_score(&self.norms, scratch.best.iter().flat_map(|best| best.0)))
    }

    /// Fills `best` with each query row's largest fast value and `cuts` with the least value that could still be the
    /// reference's maximum, and returns the bound. Where none holds, `cuts` is empty.
    fn best_fast_values(&self, record: MatrixView<'_>, scratch: &mut Scratch) -> Option<RecordBound> {
        scratch.cuts.clear();
        if !self.ordinary {
            return None;
        }
        let bound = self.bound.of_record(self.measure(record, scratch)?);
        scratch.best.clear();
        scratch.best.resize(self.packed.groups(), Lanes([f32::NEG_INFINITY; LANES]));
        scratch.cuts.resize(self.packed.groups(), Lanes([f32::INFINITY; LANES]));
        for (groups, rows) in self.blocks(record) {
            self.fill_tile(record, groups, rows, scratch);
        }
        for ((cuts, best), norms) in scratch.cuts.iter_mut().zip(&scratch.best).zip(self.norms.chunks(LANES)) {
            for ((cut, &best), &norm) in cuts.0.iter_mut().zip(&best.0).zip(norms) {
                // A zero row is settled beforehand (by `Rescore::new`), and every value would reach its cut.
                if norm > 0.0 || self.metric == Metric::L2 {
                    *cut = ((f64::from(best) - 2.0 * bound.of_value(norm)) as f32).next_down();
                }
            }
        }
        Some(bound)
    }

    /// Fills `scales` and `offsets` and returns an upper bound of the longest row's norm, or `None` when a row is not
    /// ordinary.
    fn measure(&self, record: MatrixView<'_>, scratch: &mut Scratch) -> Option<f64> {
        scratch.scales.clear();
        scratch.offsets.clear();
        scratch.factors.clear();
        let mut longest = 0.0f64;
        for row in record.iter() {
            let Scaling { square, scale, offset } = self.scaling(row)?;
            longest = longest.max(square);
            let mut scale = scale;
            if self.packed.is_short() {
                let factor = factor(square.sqrt());
                scratch.factors.push(factor);
                scale = if factor == 0.0 { 0.0 } else { scale / f64::from(factor) };
            }
            scratch.scales.push(scale as f32);
            scratch.offsets.push(offset);
        }
        Some(self.bound.longest(longest))
    }

    /// Returns what makes fast values of a record row's inner products; `None` when the row is not ordinary.
    pub(super) fn scaling(&self, row: &[f32]) -> Option<Scaling> {
        let square = kernel::dot(row, row);
        if !is_ordinary(square.sqrt()) || (square == 0.0 && row.iter().any(|&value| value != 0.0)) {
            return None;
        }
        let (scale, offset) = match self.metric {
            Metric::Dot => (1.0, 0.0),
            Metric::Cosine if square == 0.0 => (0.0, 0.0),
            Metric::Cosine => (1.0 / square.sqrt(), 0.0),
            Metric::L2 => (1.0, -0.5 * square),
        };
        Some(Scaling { square, scale, offset: offset as f32 })
    }

    /// Computes the fast values of a block and raises `best` to them.
    fn fill_tile(&self, record: MatrixView<'_>, groups: Range<usize>, rows: Range<usize>, scratch: &mut Scratch) {
        let Scratch { scales, offsets, factors, tile, best, .. } = scratch;
        tile.resize(groups.len() * rows.len(), Lanes([0.0; LANES]));
        let best = &mut best[groups.clone()];
        if self.rows() < FEW {
            for (out, row) in tile.iter_mut().zip(rows) {
                for ((out, best), query) in out.0.iter_mut().zip(&mut best[0].0).zip(self.query.view().iter()) {
                    *out = kernel::dot(query, record.row(row)) as f32 * scales[row] + offsets[row];
                    *best = best.max(*out);
                }
            }
            return;
        }
        let values = &record.values()[rows.start * self.dim()..rows.end * self.dim()];
        let factors = if factors.is_empty() { &[] } else { &factors[rows.clone()] };
        let rows = ScaledRows { values, scales: &scales[rows.clone()], offsets: &offsets[rows], factors };
        kernel::tile(&self.packed, groups, rows, tile, best);
    }

    /// Finds the matches as the reference does, looking only at pairs that pass the cut.
    fn decide(&self, record: MatrixView<'_>, scratch: &mut Scratch) {
        let bounded = !scratch.cuts.is_empty();
        let rescored = std::mem::take(&mut scratch.rescored);
        let mut rescore = Rescore::new(self.metric, self.query.view(), &self.norms, record, rescored);
        let blocks = self.blocks(record);
        let one_block = blocks.len() == 1;
        for (groups, rows) in blocks {
            // If there is only one block, its values are still in the tile.
            if bounded && !one_block {
                self.fill_tile(record, groups.clone(), rows.clone(), scratch);
            }
            // A row like the one before it is never the first of equals, so it is skipped. Silence repeats a row
            // hundreds of times, and every repetition would pass the cut.
            let repeats = |row: usize| row > 0 && record.row(row) == record.row(row - 1);
            if !bounded {
                for row in rows.filter(|&row| !repeats(row)) {
                    let queries = groups.start * LANES..self.rows().min(groups.end * LANES);
                    queries.for_each(|query| rescore.consider(query, row));
                }
                continue;
            }
            let tile = &scratch.tile[..groups.len() * rows.len()];
            kernel::reaching(tile, &scratch.cuts[groups.clone()], &mut scratch.reaching);
            let row_of = |found: &Reaching| rows.start + found.at / groups.len();
            for found in scratch.reaching.chunk_by(|a, b| row_of(a) == row_of(b)) {
                let row = row_of(&found[0]);
                if repeats(row) {
                    continue;
                }
                for found in found {
                    let first = (groups.start + found.at % groups.len()) * LANES;
                    let lanes = (0..LANES).filter(|lane| found.lanes >> lane & 1 == 1);
                    lanes.for_each(|lane| rescore.consider(first + lane, row));
                }
            }
        }
        scratch.rescored = rescore.finish();
    }

    /// Returns the blocks that a comparison is divided into: ranges of groups of query rows and of record rows.
    fn blocks(&self, record: MatrixView<'_>) -> impl ExactSizeIterator<Item = (Range<usize>, Range<usize>)> + use<> {
        let (groups, rows) = (self.packed.groups(), record.rows());
        let width = groups.min(TILE_GROUPS);
        let height = (TILE / width).min(rows);
        let columns = groups.div_ceil(width);
        (0..columns * rows.div_ceil(height)).map(move |block| {
            let (group, row) = (block % columns * width, block / columns * height);
            (group..groups.min(group + width), row..rows.min(row + height))
        })
    }
}

/// Returns what to multiply a row of this norm by, one that the bound covers, before its numbers are rounded.
fn factor(norm: f64) -> f32 {
    if norm == 0.0 { 0.0 } else { (f64::from(SHORT_SIZE) / norm) as f32 }
}
