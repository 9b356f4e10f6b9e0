//! Compares the pairs of rows that could match best, as the reference does.

use super::Metric;
use super::reference::cosine;
use crate::kernel::ordered::{self, LANES};
use crate::matrix::MatrixView;

/// The record row that a query row matched best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowMatch {
    /// Index of the record row, the lowest of those equally good.
    pub record_row: usize,
    /// Similarity of the two rows, as the reference has it.
    pub similarity: f64,
}

/// What was rescored for one record, and memory kept for the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Rescored {
    /// Each query row's match.
    pub(super) matches: Vec<RowMatch>,
    record_norms: Vec<f64>,
}

/// Takes candidate pairs and keeps each query row's best. Of equally good record rows the first one offered stays.
pub(super) struct Rescore<'a> {
    metric: Metric,
    query: MatrixView<'a>,
    query_norms: &'a [f64],
    record: MatrixView<'a>,
    pairs: [(usize, usize); LANES],
    waiting: usize,
    rescored: Rescored,
}

impl<'a> Rescore<'a> {
    /// Starts a record, in the memory of `rescored`.
    pub(super) fn new(
        metric: Metric,
        query: MatrixView<'a>,
        query_norms: &'a [f64],
        record: MatrixView<'a>,
        mut rescored: Rescored,
    ) -> Rescore<'a> {
        rescored.matches.clear();
        rescored.matches.extend(query_norms.iter().map(|&norm| {
            // Nothing to compare for a zero row: by inner product and cosine it is as similar to the first row as to
            // any.
            let equal = norm == 0.0 && metric != Metric::L2;
            RowMatch { record_row: 0, similarity: if equal { 0.0 } else { f64::NEG_INFINITY } }
        }));
        rescored.record_norms.clear();
        rescored.record_norms.resize(if metric == Metric::Cosine { record.rows() } else { 0 }, f64::NAN);
        Rescore { metric, query, query_norms, record, pairs: [(0, 0); LANES], waiting: 0, rescored }
    }

    /// Takes a pair of a query row and a record row.
    pub(super) fn consider(&mut self, query: usize, row: usize) {
        self.pairs[self.waiting] = (query, row);
        self.waiting += 1;
        if self.waiting == LANES {
            self.compare();
        }
    }

    /// Compares the pairs that still wait, and returns the matches.
    pub(super) fn finish(mut self) -> Rescored {
        if self.waiting > 0 {
            self.compare();
        }
        self.rescored
    }

    /// Compares the waiting pairs; lanes beyond them hold old pairs, whose results are ignored.
    fn compare(&mut self) {
        let rows = self.pairs.map(|(query, row)| (self.query.row(query), self.record.row(row)));
        let similarities = match self.metric {
            Metric::Dot => ordered::dots(rows),
            Metric::Cosine => self.cosines(rows),
            Metric::L2 => ordered::squared_distances(rows).map(|distance| 0.0 - distance),
        };
        for (&(query, record_row), similarity) in self.pairs[..self.waiting].iter().zip(similarities) {
            let best = &mut self.rescored.matches[query];
            if similarity > best.similarity {
                *best = RowMatch { record_row, similarity };
            }
        }
        self.waiting = 0;
    }

    fn cosines(&mut self, rows: [(&[f32], &[f32]); LANES]) -> [f64; LANES] {
        let norms = &mut self.rescored.record_norms;
        if self.pairs.iter().any(|&(_, row)| norms[row].is_nan()) {
            let squares = ordered::dots(rows.map(|(_, row)| (row, row)));
            self.pairs.iter().zip(squares).for_each(|(&(_, row), square)| norms[row] = square.sqrt());
        }
        let dots = ordered::dots(rows);
        std::array::from_fn(|lane| {
            let (query, row) = self.pairs[lane];
            cosine(dots[lane], self.query_norms[query], norms[row])
        })
    }
}
