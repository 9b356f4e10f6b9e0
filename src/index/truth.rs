//! What an index measures its recall by: rows that ask, and which others are truly the most like them.

use super::one_row::Rows;
use super::sq8::{Sq8, Sq8Query};
use super::top::{Ranked, Top};
use crate::error::Result;
use crate::matrix::MatrixView;
use crate::score::{Metric, Outcome, PreparedQuery, Scratch};
use std::convert::Infallible;

/// Numbers of hits that are measured.
pub(super) const HITS: [u64; 3] = [1, 10, 100];
/// The most of them.
const MOST: usize = 100;
/// Mean recall beyond which no larger setting is measured.
pub(super) const ENOUGH: f64 = 0.999;
/// Most rows that ask, and at most one in so many.
const QUERIES: usize = 500;
const SHARE: usize = 10;

/// How many of so many rows ask.
pub(super) fn queries(rows: usize) -> usize {
    (rows / SHARE).min(QUERIES)
}

/// The rows most like one, found as they go by.
pub(super) struct Truth {
    own: Option<u32>,
    pub(super) query: Sq8Query,
    prepared: PreparedQuery,
    top: Top<u32>,
}

impl Truth {
    /// Nothing has gone by yet of what is like this row; record `own` is none of it.
    ///
    /// # Errors
    /// None in practice: there is a row.
    pub(super) fn new(metric: Metric, row: MatrixView<'_>, own: Option<u32>) -> Result<Truth> {
        let query = Sq8Query::new(metric, row.row(0));
        Ok(Truth { own, query, prepared: PreparedQuery::new(metric, row)?, top: Top::new(Some(MOST), None) })
    }

    /// Looks at the rows of `records`, of which these are the codes; they are numbered from `first` on.
    ///
    /// # Errors
    /// Those of reading rows.
    pub(super) fn look_at(&self, codes: Sq8<'_>, rows: &Rows<'_>, records: &[u32], first: u32) -> Result<()> {
        // One more than wanted, since the row's own may be among them.
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

    /// The numbers of the rows most like this one, best first: as many as are measured.
    pub(super) fn finish(self) -> Vec<u32> {
        let Ok(Ranked { hits, .. }) = self.top.finish(|&number| Ok::<u32, Infallible>(number));
        hits.into_iter().map(|(_, number)| number).collect()
    }
}
