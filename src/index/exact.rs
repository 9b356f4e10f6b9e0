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
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Records of one row that are scored together.
const VECTORS: usize = 8;
/// Candidates that one thread scores at a time.
const CANDIDATES: usize = 32;
/// Parts that a scan is divided into, if there are records enough; and most records in one.
const SHARES: usize = 64;
const PLACES: usize = 256;

/// Numbers of a row that are prefetched; the rest of a longer one follows by itself.
const PREFETCHED: usize = 2_048;

/// What the upper bound of a score was computed from, by which a record was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum BoundBy {
    /// All numbers of its rows, in `f32` or 16 bits.
    Rows,
    /// The SQ8 codes of its one row.
    Sq8,
    /// So many leading numbers of each row, a byte each.
    Planes(u32),
}

impl fmt::Display for BoundBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BoundBy::Rows => f.write_str("rows"),
            BoundBy::Sq8 => f.write_str("sq8"),
            BoundBy::Planes(numbers) => write!(f, "planes of {numbers}"),
        }
    }
}

/// Records that are left out of an answer without an exact score.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LeftOut {
    /// How many.
    pub records: usize,
    /// None of them scores more: infinite when nothing is known, minus infinity when there are none.
    pub most: f64,
}

impl LeftOut {
    pub(crate) const NONE: LeftOut = LeftOut { records: 0, most: f64::NEG_INFINITY };

    fn add(&mut self, records: usize, most: f64) {
        self.records += records;
        self.most = self.most.max(most);
    }
}

/// Collects what all parts of a search find, from any thread.
pub(crate) struct Gathered {
    pub(crate) top: Top<Place>,
    /// When to stop.
    deadline: Option<Instant>,
    excluded: Mutex<BTreeMap<BoundBy, LeftOut>>,
    unsearched: Mutex<LeftOut>,
    scored: AtomicUsize,
    failed: Mutex<Vec<(Place, Error)>>,
}

/// What a search found.
pub(crate) struct Found {
    /// The best, with their exact scores; best first, ties by id.
    pub(crate) hits: Vec<(f64, Place)>,
    /// No other record looked at scores above this; minus infinity when there is none.
    pub(crate) best_excluded: f64,
    /// Records that were left out because their bound was low enough, by what it was computed from.
    pub(crate) excluded: Vec<(BoundBy, LeftOut)>,
    /// Records that there was no time for.
    pub(crate) unsearched: LeftOut,
    /// Records whose exact score was computed.
    pub(crate) scored: usize,
    /// Records that could not be read, and why, in order.
    pub(crate) failed: Vec<(Place, Error)>,
}

impl Gathered {
    /// Starts to collect the best `k` records (all when `None`) that score at least `min_score`.
    /// Past the deadline, what is not yet looked at is left out.
    pub(crate) fn new(k: Option<usize>, min_score: Option<f64>, deadline: Option<Instant>) -> Gathered {
        Gathered {
            top: Top::new(k, min_score),
            deadline,
            excluded: Mutex::default(),
            unsearched: Mutex::new(LeftOut::NONE),
            scored: AtomicUsize::new(0),
            failed: Mutex::default(),
        }
    }

    /// Whether the time is up.
    pub(crate) fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Notes that this many records score at most `upper`, which is below the threshold.
    pub(crate) fn exclude(&self, by: BoundBy, records: usize, upper: f64) {
        if records > 0 {
            let mut excluded = self.excluded.lock().unwrap_or_else(PoisonError::into_inner);
            excluded.entry(by).or_insert(LeftOut::NONE).add(records, upper);
        }
    }

    /// Leaves out records that score at most `upper`: excludes them if that is below the threshold, else there was no
    /// time for them.
    pub(crate) fn leave(&self, by: BoundBy, records: usize, upper: f64) {
        if upper < self.top.threshold() {
            self.exclude(by, records, upper);
        } else {
            self.unsearched.lock().unwrap_or_else(PoisonError::into_inner).add(records, upper);
        }
    }

    pub(crate) fn note(&self, place: Place, outcome: Outcome) {
        match outcome {
            Outcome::Below { upper } => self.exclude(BoundBy::Rows, 1, upper),
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
        let excluded = self.excluded.into_inner().unwrap_or_else(PoisonError::into_inner);
        Found {
            hits,
            best_excluded: excluded.values().fold(best_excluded, |best, left| best.max(left.most)),
            excluded: excluded.into_iter().collect(),
            unsearched: self.unsearched.into_inner().unwrap_or_else(PoisonError::into_inner),
            scored: self.scored.into_inner(),
            failed,
        }
    }
}

/// Scans the records at `places`.
pub(crate) fn scan<'a>(rows: &'a ViewRows<'_>, places: &[Place], query: &'a PreparedQuery, gathered: &'a Gathered) {
    let part = |places: &[Place]| {
        let mut worker = Worker::new(query, gathered);
        for (at, &place) in places.iter().enumerate() {
            if gathered.is_late() {
                gathered.leave(BoundBy::Rows, places.len() - at, query.most());
                break;
            }
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
            if upper < gathered.top.threshold() || gathered.is_late() {
                // The rest can score no more than this one.
                gathered.leave(BoundBy::Sq8, candidates.len() - at, upper);
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
            self.gathered.exclude(BoundBy::Rows, self.below, self.highest);
        }
    }
}
