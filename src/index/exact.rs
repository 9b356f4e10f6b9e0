//! The exact scan: every matching record is bounded or scored, so the answer is the reference's.
//!
//! Cost: one pass over the rows of the view; of each record at least its `f32` scores are computed, and the `f64` score of
//! those that may be among the best (see [`crate::score`]). Records are shared out among the threads of the caller's
//! rayon pool, which tell each other the k-th best score so far; the answer does not depend on their number.

use super::rows::{Place, ViewRows};
use super::top::Top;
use crate::error::Error;
use crate::matrix::{MatrixView, StoredMatrix};
use crate::score::{Outcome, PreparedQuery, Scratch};
use rayon::prelude::*;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Records of one row that are settled together.
const VECTORS: usize = 8;

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
    /// Records that could not be read, and why, in order.
    pub(crate) failed: Vec<(Place, Error)>,
}

/// Scans the records at `places`, keeping the best `k` (all when `None`) of at least `min_score`. `id` is asked where scores
/// are equal; a record without one stands first.
pub(crate) fn search<'a, 'r>(
    rows: &'r ViewRows<'_>,
    places: &[Place],
    query: &PreparedQuery,
    k: Option<usize>,
    min_score: Option<f64>,
    id: impl Fn(Place) -> Option<&'a str>,
) -> Scan {
    let top = Top::new(k, min_score);
    let (bounded, scored) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let failed = Mutex::new(Vec::new());
    let note = |place, outcome| match outcome {
        Outcome::Below { upper } => {
            bounded.fetch_add(1, Ordering::Relaxed);
            top.exclude(upper);
        }
        Outcome::Exact { score } => {
            scored.fetch_add(1, Ordering::Relaxed);
            top.push(score, place);
        }
    };
    let begin = || Worker { scratch: Scratch::default(), vectors: Vec::with_capacity(VECTORS) };
    let step = |mut worker: Worker<'r>, &place: &Place| {
        let matrix = match rows.matrix(place) {
            Ok(matrix) => matrix,
            Err(error) => {
                failed.lock().unwrap_or_else(PoisonError::into_inner).push((place, error));
                return worker;
            }
        };
        match (query.rows(), matrix.view().rows()) {
            (_, 0) => {}
            (1, 1) => {
                worker.vectors.push((place, matrix));
                if worker.vectors.len() == VECTORS {
                    worker.settle(query, top.threshold(), note);
                }
            }
            _ => note(place, query.score(matrix.view(), top.threshold(), &mut worker.scratch)),
        }
        worker
    };
    let workers = places.par_iter().with_min_len(4).fold(begin, step);
    workers.for_each(|mut worker| worker.settle(query, top.threshold(), note));
    let ranked = top.finish(|place| Ok::<_, Infallible>(id(*place)));
    let Ok(ranked) = ranked;
    let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort_by_key(|(place, _)| *place);
    Scan {
        found: ranked.hits,
        best_excluded: ranked.best_excluded,
        bounded: bounded.into_inner(),
        scored: scored.into_inner(),
        failed,
    }
}

/// What one thread holds.
struct Worker<'a> {
    scratch: Scratch,
    /// Plain vectors that wait for company, to be settled side by side.
    vectors: Vec<(Place, StoredMatrix<'a>)>,
}

impl Worker<'_> {
    fn settle(&mut self, query: &PreparedQuery, threshold: f64, note: impl Fn(Place, Outcome)) {
        if self.vectors.is_empty() {
            return;
        }
        let rows: Vec<MatrixView<'_>> = self.vectors.iter().map(|(_, matrix)| matrix.view()).collect();
        query.score_rows(&rows, threshold, &mut self.scratch, |index, outcome| note(self.vectors[index].0, outcome));
        self.vectors.clear();
    }
}
