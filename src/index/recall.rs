//! The recall of an index while it is in use: what it measured of itself, and what it finds for real queries that are
//! also answered exactly.
//!
//! Recall measured with records holds for queries that are like records. Whether real queries are, only they can tell.
//! So a share of them ([`Query::recheck`](crate::Query::recheck)) is also answered exactly, and what the index would
//! have found at each of its settings is kept beside the curve, as questions of a source of its own
//! ([`CurveSource::Asked`]): in memory, as long as the index is.

use super::curve::{Curve, CurveSource};
use super::questions::{Questions, Signs};
use crate::random::mixed;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Fewest queries whose recall counts; and most that are kept for each number of hits: the newest.
const FEWEST: usize = 20;
const MOST: usize = 500;
/// Most numbers of hits for which queries are kept.
const NUMBERS: usize = 16;

/// How a query looked, and how many hits it found at each setting.
type Asked = (Signs, Vec<usize>);

/// What is known of the recall of one index.
#[derive(Debug)]
pub(crate) struct Recall {
    measured: Curve,
    /// `measured`, together with what real queries have shown since.
    curve: RwLock<Arc<Curve>>,
    /// How many queries there were that might have been rechecked.
    asked: AtomicU64,
    /// The rechecked queries by number of hits, the newest last.
    since: Mutex<BTreeMap<u64, VecDeque<Asked>>>,
}

impl Recall {
    pub(super) fn new(measured: Curve) -> Recall {
        let curve = RwLock::new(Arc::new(measured.clone()));
        Recall { measured, curve, asked: AtomicU64::new(0), since: Mutex::default() }
    }

    pub(crate) fn curve(&self) -> Arc<Curve> {
        Arc::clone(&self.curve.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns whether the next query is to be rechecked, when this share of all queries is. The choice has no rhythm,
    /// because queries may have one.
    pub(crate) fn is_due(&self, share: f64) -> bool {
        let word = mixed(self.asked.fetch_add(1, Ordering::Relaxed));
        ((word >> 11) as f64 / (1u64 << 53) as f64) < share
    }

    /// Returns the settings at which a rechecked query for so many hits is to be tried.
    pub(crate) fn settings(&self, k: u64) -> Vec<u64> {
        self.measured.settings(k)
    }

    /// Records how many hits a rechecked query found at each of [`Recall::settings`].
    pub(crate) fn note(&self, k: u64, signs: Signs, found: Vec<usize>) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if since.len() == NUMBERS && !since.contains_key(&k) {
            return;
        }
        let asked = since.entry(k).or_default();
        asked.push_back((signs, found));
        if asked.len() > MOST {
            asked.pop_front();
        }
        if asked.len() < FEWEST {
            return;
        }
        let questions = since.iter().filter(|(_, asked)| asked.len() >= FEWEST).map(|(&k, asked)| {
            let settings = self.measured.settings(k);
            let compared = settings.iter().map(|&setting| self.measured.compared(setting)).collect();
            (Questions::new(CurveSource::Asked, k, settings, asked.iter().cloned().collect()), compared)
        });
        let curve = Arc::new(self.measured.with(questions.collect()));
        *self.curve.write().unwrap_or_else(PoisonError::into_inner) = curve;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::questions::NO_CONTRAST;

    /// Recall measured with a hundred records of nearness 1 that found everything at the smallest setting.
    fn recall() -> Recall {
        let asked = vec![([1.0, NO_CONTRAST], vec![10, 10]); 100];
        let questions = Questions::new(CurveSource::Records, 10, vec![16, 64], asked);
        Recall::new(Curve::new(vec![(questions, vec![100.0, 400.0])]))
    }

    #[test]
    fn a_share_of_the_queries_is_due_without_a_rhythm() {
        let recall = recall();
        let due: Vec<bool> = (0..10_000).map(|_| recall.is_due(0.1)).collect();
        let count = |of: &mut dyn Iterator<Item = &bool>| of.filter(|due| **due).count();
        assert!((900..1_100).contains(&count(&mut due.iter())));
        for rhythm in [2, 10, 50] {
            let share = count(&mut due.iter().step_by(rhythm)) * rhythm;
            assert!((700..1_300).contains(&share), "{rhythm}: {share}");
        }
        assert!((0..100).all(|_| recall.is_due(1.0)) && !(0..100).any(|_| recall.is_due(0.0)));
    }

    #[test]
    fn queries_that_find_less_take_back_a_promise_once_they_are_enough() {
        let recall = recall();
        let settings = |target| recall.curve().setting(10, target);
        assert_eq!((settings(0.9), recall.settings(10)), (Some(16), vec![16, 64]));
        for number in 1..=FEWEST {
            recall.note(10, [1.0, NO_CONTRAST], vec![4, 10]);
            assert_eq!(settings(0.9), if number < FEWEST { Some(16) } else { Some(64) }, "after {number}");
        }
        for _ in 0..MOST {
            recall.note(10, [1.0, NO_CONTRAST], vec![10, 10]);
        }
        assert_eq!(settings(0.9), Some(16), "the newest count");
        assert_eq!(recall.curve().entries().last().unwrap().queries, MOST as u64);
    }

    #[test]
    fn few_queries_that_found_all_do_not_take_back_what_many_records_proved() {
        let recall = recall();
        (0..FEWEST).for_each(|_| recall.note(10, [1.0, NO_CONTRAST], vec![10, 10]));
        assert_eq!(recall.curve().setting(10, 0.99), Some(16));
        (0..1_000).for_each(|k| recall.note(100 + k, [1.0, NO_CONTRAST], vec![1]));
        assert!(recall.since.lock().unwrap().len() <= NUMBERS);
    }
}
