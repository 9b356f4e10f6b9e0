//! Collects the best items of a scan that several threads share.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Collects the `k` best items at or above a score, from any number of threads.
///
/// What is kept does not depend on the order of arrival: items that share the k-th score all stay until
/// [`Top::finish`] puts them in order of their ids. So a scan may drop a record only when its score is *strictly*
/// below [`Top::threshold`].
#[derive(Debug)]
pub struct Top<T> {
    k: Option<usize>,
    /// Bits of the threshold: read by every thread before each record, written under the lock.
    threshold: AtomicU64,
    kept: Mutex<Kept<T>>,
}

#[derive(Debug)]
struct Kept<T> {
    by_score: BTreeMap<Score, Vec<T>>,
    len: usize,
    excluded: f64,
}

/// What [`Top::finish`] returns: the items that are kept, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked<T> {
    /// The items with their scores, best first, equal scores by rising id.
    pub hits: Vec<(f64, T)>,
    /// No item outside `hits` scores above this; minus infinity when there is none. It may differ from run to run:
    /// how closely a dropped record was bounded depends on when it was met.
    pub best_excluded: f64,
}

/// A score as a map key: any two numbers have an order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Score(pub(super) f64);

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Score) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Score) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl<T> Top<T> {
    /// Makes a collector of the `k` best items that score at least `min_score`; `None` means no limit.
    pub fn new(k: Option<usize>, min_score: Option<f64>) -> Top<T> {
        let threshold = if k == Some(0) { f64::INFINITY } else { min_score.unwrap_or(f64::NEG_INFINITY) };
        let kept = Kept { by_score: BTreeMap::new(), len: 0, excluded: f64::NEG_INFINITY };
        Top { k, threshold: AtomicU64::new(threshold.to_bits()), kept: Mutex::new(kept) }
    }

    /// Returns the threshold: a record that scores strictly below it is no hit. It only rises.
    pub fn threshold(&self) -> f64 {
        // A stale value is lower, so it only drops fewer records.
        f64::from_bits(self.threshold.load(Relaxed))
    }

    /// Takes an item with its exact score.
    pub fn push(&self, score: f64, item: T) {
        let score = score + 0.0; // turns -0 into 0
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if score < self.threshold() {
            kept.excluded = kept.excluded.max(score);
            return;
        }
        kept.by_score.entry(Score(score)).or_default().push(item);
        kept.len += 1;
        let Some(k) = self.k else { return };
        while let Some(worst) = kept.by_score.first_entry() {
            let (Score(score), count) = (*worst.key(), worst.get().len());
            if kept.len - count < k {
                if kept.len >= k {
                    self.threshold.store(score.to_bits(), Relaxed);
                }
                return;
            }
            kept.by_score.pop_first();
            kept.len -= count;
            kept.excluded = kept.excluded.max(score);
        }
    }

    /// Notes that a record was dropped because it scores at most `upper`, which is below the threshold.
    pub fn exclude(&self, upper: f64) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.excluded = kept.excluded.max(upper);
    }

    /// Returns the items in order. `id` is called only where scores are equal.
    ///
    /// # Errors
    /// The first error of `id`.
    pub fn finish<I: Ord, E>(self, mut id: impl FnMut(&T) -> Result<I, E>) -> Result<Ranked<T>, E> {
        let kept = self.kept.into_inner().unwrap_or_else(PoisonError::into_inner);
        let k = self.k.unwrap_or(kept.len);
        let mut ranked = Ranked { hits: Vec::with_capacity(k.min(kept.len)), best_excluded: kept.excluded };
        for (Score(score), items) in kept.by_score.into_iter().rev() {
            let room = k - ranked.hits.len();
            if items.len() > room {
                ranked.best_excluded = ranked.best_excluded.max(score);
            }
            let items = if items.len() == 1 { items } else { by_id(items, &mut id)? };
            ranked.hits.extend(items.into_iter().take(room).map(|item| (score, item)));
        }
        Ok(ranked)
    }
}

fn by_id<T, I: Ord, E>(items: Vec<T>, mut id: impl FnMut(&T) -> Result<I, E>) -> Result<Vec<T>, E> {
    let mut items = items.into_iter().map(|item| Ok((id(&item)?, item))).collect::<Result<Vec<_>, E>>()?;
    items.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(items.into_iter().map(|(_, item)| item).collect())
}
