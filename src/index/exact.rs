//! Exact answers: every matching record is bounded or scored, so the answer is the reference's.
//!
//! [`scan`] reads the rows of the view and computes at least the `f32` scores of each record, and the `f64` score of
//! those that may be among the best (see [`crate::score`]). Plain vectors that also have [codes](super::sq8) are
//! bounded by these, a quarter of the bytes, and [`rescore`] scores the few that the bounds leave open. Records are
//! shared out among the threads of the caller's rayon pool, which tell each other the k-th best score so far; the
//! answer does not depend on their number.

use super::rows::{Place, ViewRows};
use super::top::{Ranked, Top};
use crate::error::Error;
use crate::kernel::prefetch;
use crate::matrix::{MatrixView, StoredMatrix};
use crate::score::{Outcome, PreparedQuery, Scratch};
use rayon::prelude::*;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Records of one row that are scored together.
const VECTORS: usize = 8;
/// Candidates that one thread scores at a time.
const CANDIDATES: usize = 32;
/// Parts that a scan is divided into, if there are records enough; and most records in one.
const SHARES: usize = 64;
const PLACES: usize = 256;

/// Numbers of a row that are prefetched; the rest of a longer one follows by itself.
const PREFETCHED: usize = 2_048;

/// Collects what all parts of a search find, from any thread.
pub(crate) struct Gathered {
    pub(crate) top: Top<Place>,
    bounded: AtomicUsize,
    scored: AtomicUsize,
    failed: Mutex<Vec<(Place, Error)>>,
}

/// What a search found.
pub(crate) struct Found {
    /// The best, with their exact scores; best first, ties by id.
    pub(crate) hits: Vec<(f64, Place)>,
    /// No other record looked at scores above this; minus infinity when there is none.
    pub(crate) best_excluded: f64,
    /// Records that were left out because their bound was low enough.
    pub(crate) bounded: usize,
    /// Records whose exact score was computed.
    pub(crate) scored: usize,
    /// Records that could not be read, and why, in order.
    pub(crate) failed: Vec<(Place, Error)>,
}

impl Gathered {
    /// Starts to collect the best `k` records (all when `None`) that score at least `min_score`.
    pub(crate) fn new(k: Option<usize>, min_score: Option<f64>) -> Gathered {
        let (bounded, scored) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Gathered { top: Top::new(k, min_score), bounded, scored, failed: Mutex::default() }
    }

    /// Notes that this many records score at most `upper`, which is below the threshold.
    pub(crate) fn exclude(&self, records: usize, upper: f64) {
        self.bounded.fetch_add(records, Ordering::Relaxed);
        self.top.exclude(upper);
    }

    pub(crate) fn note(&self, place: Place, outcome: Outcome) {
        match outcome {
            Outcome::Below { upper } => self.exclude(1, upper),
            Outcome::Exact { score } => {
                self.scored.fetch_add(1, Ordering::Relaxed);
                self.top.push(score, place);
            }
        }
    }

    pub(crate) fn fail(&self, place: Place, error: Error) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).push((place, error));
    }

    /// Returns what was found, in order. `id` is called where scores are equal; a record without one comes first.
    pub(crate) fn finish<'a>(self, id: impl Fn(Place) -> Option<&'a str>) -> Found {
        let Ok(Ranked { hits, best_excluded }) = self.top.finish(|place| Ok::<_, Infallible>(id(*place)));
        let mut failed = self.failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        failed.sort_by_key(|(place, _)| *place);
        Found { hits, best_excluded, bounded: self.bounded.into_inner(), scored: self.scored.into_inner(), failed }
    }
}

/// Scans the records at `places`.
pub(crate) fn scan<'a>(rows: &'a ViewRows<'_>, places: &[Place], query: &'a PreparedQuery, gathered: &'a Gathered) {
    let part = |places: &[Place]| {
        let mut worker = Worker::new(query, gathered);
        for &place in places {
            match rows.matrix(place) {
                Ok(matrix) => worker.take(place, matrix),
                Err(error) => gathered.fail(place, error),
            }
        }
        worker.finish();
    };
    // With several query rows each record is much work, so parts are small.
    let most = if query.rows() == 1 { PLACES } else { 4 };
    places.par_chunks(places.len().div_ceil(SHARES).clamp(4, most)).for_each(part);
}

/// Scores those of the `candidates` that may be among the best. Each comes with the most that it can score, best first;
/// `place` returns where it lies.
pub(crate) fn rescore(
    rows: &ViewRows<'_>,
    candidates: &[(f64, u32)],
    place: impl Fn(u32) -> Place + Sync,
    query: &PreparedQuery,
    gathered: &Gathered,
) {
    let part = |candidates: &[(f64, u32)]| {
        let mut worker = Worker::new(query, gathered);
        for (at, &(upper, candidate)) in candidates.iter().enumerate() {
            if upper < gathered.top.threshold() {
                // The rest can score no more than this one.
                gathered.exclude(candidates.len() - at, upper);
                break;
            }
            let place = place(candidate);
            match rows.matrix(place) {
                Ok(matrix) => worker.take(place, matrix),
                Err(error) => gathered.fail(place, error),
            }
        }
        worker.finish();
    };
    // Handing work to other threads takes longer than scoring a few candidates.
    if candidates.len() <= 8 * CANDIDATES {
        candidates.chunks(VECTORS).for_each(part);
    } else {
        candidates.par_chunks(CANDIDATES).for_each(part);
    }
}

/// The state of one thread of a scan.
struct Worker<'a> {
    query: &'a PreparedQuery,
    gathered: &'a Gathered,
    scratch: Scratch,
    /// Plain vectors that wait to be scored side by side.
    vectors: Vec<(Place, StoredMatrix<'a>)>,
    /// How many plain vectors scored below the threshold, and the most that any of these can score.
    below: usize,
    highest: f64,
}

impl<'a> Worker<'a> {
    fn new(query: &'a PreparedQuery, gathered: &'a Gathered) -> Worker<'a> {
        let vectors = Vec::with_capacity(VECTORS);
        Worker { query, gathered, scratch: Scratch::default(), vectors, below: 0, highest: f64::NEG_INFINITY }
    }

    fn take(&mut self, place: Place, matrix: StoredMatrix<'a>) {
        match (self.query.rows(), matrix.view().rows()) {
            (_, 0) => {}
            (1, 1) => {
                let values = matrix.view().values();
                prefetch(&values[..values.len().min(PREFETCHED)]);
                self.vectors.push((place, matrix));
                if self.vectors.len() == VECTORS {
                    self.score_waiting();
                }
            }
            _ => {
                let outcome = self.query.score(matrix.view(), self.gathered.top.threshold(), &mut self.scratch);
                self.gathered.note(place, outcome);
            }
        }
    }

    fn score_waiting(&mut self) {
        let rows: Vec<MatrixView<'_>> = self.vectors.iter().map(|(_, matrix)| matrix.view()).collect();
        let threshold = self.gathered.top.threshold();
        self.query.score_rows(&rows, threshold, |index, outcome| match outcome {
            Outcome::Below { upper } => {
                self.below += 1;
                self.highest = self.highest.max(upper);
            }
            Outcome::Exact { .. } => self.gathered.note(self.vectors[index].0, outcome),
        });
        self.vectors.clear();
    }

    fn finish(mut self) {
        if !self.vectors.is_empty() {
            self.score_waiting();
        }
        if self.below > 0 {
            self.gathered.exclude(self.below, self.highest);
        }
    }
}
