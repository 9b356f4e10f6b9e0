//! The exact scan: every matching record is bounded or scored, so the answer is the reference's.
//!
//! Cost: one pass over the rows of the view; of each record at least its `f32` scores are computed, and the `f64` score of
//! those that may be among the best (see [`crate::score`]). Records are shared out among the threads of the caller's
//! rayon pool, which tell each other the k-th best score so far; the answer does not depend on their number.

use super::rows::{Place, ViewRows};
use super::top::Top;
use crate::error::Result;
use crate::score::{Outcome, PreparedQuery, Scratch};
use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a scan found.
pub(crate) struct Scan {
    /// The best, with their exact scores; best first, ties by id.
    pub(crate) found: Vec<(f64, Place)>,
    /// No other record scores above this; minus infinity when there is none.
    pub(crate) best_excluded: f64,
    /// Records whose bound was enough.
    pub(crate) bounded: usize,
    /// Records whose exact score was computed.
    pub(crate) scored: usize,
}

/// Scans the records at `places`, keeping the best `k` (all when `None`) of at least `min_score`.
pub(crate) fn search<'a>(
    rows: &ViewRows<'_>,
    places: &[Place],
    query: &PreparedQuery,
    k: Option<usize>,
    min_score: Option<f64>,
    id: impl Fn(Place) -> Result<&'a str>,
) -> Result<Scan> {
    let top = Top::new(k, min_score);
    let (bounded, scored) = (AtomicUsize::new(0), AtomicUsize::new(0));
    places.par_iter().with_min_len(4).try_for_each_init(Scratch::default, |scratch, &place| -> Result<()> {
        let matrix = rows.matrix(place)?;
        if matrix.view().rows() == 0 {
            return Ok(());
        }
        match query.score(matrix.view(), top.threshold(), scratch) {
            Outcome::Below { upper } => {
                bounded.fetch_add(1, Ordering::Relaxed);
                top.exclude(upper);
            }
            Outcome::Exact { score } => {
                scored.fetch_add(1, Ordering::Relaxed);
                top.push(score, place);
            }
        }
        Ok(())
    })?;
    let ranked = top.finish(|place| id(*place))?;
    Ok(Scan {
        found: ranked.hits,
        best_excluded: ranked.best_excluded,
        bounded: bounded.into_inner(),
        scored: scored.into_inner(),
    })
}
