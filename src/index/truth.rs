//! What an index measures its recall against: rows that serve as queries, and which other rows truly score best for
//! them.

use super::one_row::Rows;
use super::sq8::{Sq8, Sq8Query};
use super::top::{Ranked, Top};
use crate::error::Result;
use crate::matrix::MatrixView;
use crate::score::{Metric, Outcome, PreparedQuery, Scratch};
use std::convert::Infallible;

/// Numbers of hits for which recall is measured.
pub(super) const HITS: [u64; 3] = [1, 10, 100];
/// The largest of [`HITS`].
const MOST: usize = 100;
/// Mean recall beyond which no larger setting is measured.
pub(super) const ENOUGH: f64 = 0.999;
/// Most rows that serve as queries; and at most one row in `SHARE`.
const QUERIES: usize = 500;
const SHARE: usize = 10;

/// Returns how many of so many rows serve as queries.
pub(super) fn queries(rows: usize) -> usize {
    (rows / SHARE).min(QUERIES)
}

/// The rows that score best for one query, found while all rows are passed through once.
pub(super) struct Truth {
    own: Option<u32>,
    pub(super) query: Sq8Query,
    prepared: PreparedQuery,
    top: Top<u32>,
}

impl Truth {
    /// Starts with `row` as the query. `own` is the record that the query comes from: it is left out.
    ///
    /// # Errors
    /// None in practice: there is a row.
    pub(super) fn new(metric: Metric, row: MatrixView<'_>, own: Option<u32>) -> Result<Truth> {
        let query = Sq8Query::new(metric, row.row(0));
        Ok(Truth { own, query, prepared: PreparedQuery::new(metric, row)?, top: Top::new(Some(MOST), None) })
    }

    /// Looks at the rows of `records`, which have these codes and are numbered from `first` on.
    ///
    /// # Errors
    /// Those of reading rows.
    pub(super) fn look_at(&self, codes: Sq8<'_>, rows: &Rows<'_>, records: &[u32], first: u32) -> Result<()> {
        // One more than wanted, since the query's own row may be among them.
        let (candidates, _) = codes.candidates(&self.query, None, Some(MOST + 1), self.top.threshold());
        let mut scratch = Scratch::default();
        for (_, at) in candidates {
            let record = records[at as usize];
            if Some(record) != self.own
                && let Outcome::Exact { score } =
                    self.prepared.score(rows.matrix(record)?.view(), self.top.threshold(), &mut scratch)
            {
                self.top.push(score, first + at);
            }
        }
        Ok(())
    }

    /// Returns the numbers of the rows that score best, best first, at most [`MOST`].
    pub(super) fn finish(self) -> Vec<u32> {
        let Ok(Ranked { hits, .. }) = self.top.finish(|&number| Ok::<u32, Infallible>(number));
        hits.into_iter().map(|(_, number)| number).collect()
    }
}
