//! Deciding how planes are searched: which tier bounds all records, and which one those that are left, by what a few
//! records told. What they told is kept for the queries that follow.

use super::{Planes, are_always_used};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Records by which a search is planned.
pub(super) const SAMPLE: usize = 20;
/// Searches that are planned by one sample; and where it told to read rows, from which nothing is learnt of tiers.
const USES: u32 = 16;
const USES_OF_ROWS: u32 = 4;
/// How much of what is known gives way to what a search tells: of how far the best reach; and of what a tier takes,
/// where it took more, and less. A tier that is a little faster most of the time may be much slower for some queries.
const SHARE: f64 = 0.25;
const RISING: f64 = 0.5;
const FALLING: f64 = 0.1;
/// What a tier lowers bounds by lies within about this part of what is expected.
const SPREAD: f64 = 0.4;
/// The part of a query's rows that is looked at beyond what would be enough, in the mean.
const ROUND_UP: f64 = 0.12;

/// How many standard deviations the best scores are further from the mean than they are where all scores are
/// distributed normally, in the searches until now: groups of records that are alike reach far.
#[derive(Debug)]
pub(super) struct Far(AtomicU64);

impl Far {
    /// Before the first search.
    const FIRST: f64 = 0.75;

    pub(super) fn new() -> Far {
        Far(AtomicU64::new(Far::FIRST.to_bits()))
    }

    fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    /// Of searches side by side some may be forgotten, which does not matter.
    fn note(&self, further: f64) {
        if further.is_finite() {
            let known = self.get();
            self.0.store((known + SHARE * (further - known)).to_bits(), Ordering::Relaxed);
        }
    }
}

/// Queries that are searched alike: those of about as many rows, for about as many hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    rows: u32,
    hits: u32,
}

impl Key {
    pub(super) fn new(rows: usize, k: Option<usize>) -> Key {
        Key { rows: rows.ilog2(), hits: k.map_or(0, |k| k.max(1).ilog2() + 1) }
    }
}

/// What the last sample told, and by which tier the next search begins.
#[derive(Debug)]
struct Remembered {
    /// Rows of the query that the sample was measured by.
    rows: usize,
    sample: Vec<Measured>,
    /// What beginning by each tier takes, by the searches until now; see [`first_tier`].
    costs: Vec<f64>,
    uses: u32,
}

/// Plans of earlier searches. Asking some records in every way takes as long as searching by planes takes for a few
/// hundred, so it is done once for many searches.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<HashMap<Key, Remembered>>);

impl Memory {
    /// Returns what is known, as of a query of so many rows, and the tier to begin by.
    pub(super) fn recall(&self, key: Key, rows: usize) -> Option<(Vec<Measured>, Option<usize>)> {
        let mut plans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = plans.get_mut(&key)?;
        plan.uses += 1;
        let first = first_tier(&plan.costs);
        if plan.uses >= if first.is_some() { USES } else { USES_OF_ROWS } {
            plans.remove(&key);
            return None;
        }
        let factor = rows as f64 / plan.rows as f64;
        Some((plan.sample.iter().map(|measured| measured.scaled(factor)).collect(), first))
    }

    pub(super) fn keep(&self, key: Key, rows: usize, sample: &[Measured], costs: Vec<f64>) {
        let plan = Remembered { rows, sample: sample.to_vec(), costs, uses: 0 };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, plan);
    }

    /// Takes into account what a search would have taken by each tier.
    pub(super) fn note(&self, key: Key, costs: &[f64]) {
        if let Some(plan) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&key) {
            for (known, cost) in plan.costs.iter_mut().zip(costs) {
                let share = if cost > known { RISING } else { FALLING };
                *known += share * (cost - *known);
            }
        }
    }
}

/// What a sample says of the scores of all records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scores {
    middle: f64,
    spread: f64,
    /// Standard deviations from the middle to the k-th best, if they are distributed normally.
    deviations: f64,
}

impl Scores {
    pub(super) fn new(sample: &[Measured], records: usize, k: usize) -> Option<Scores> {
        let middle = mean(sample, |measured| measured.score);
        let spread = mean(sample, |measured| (measured.score - middle).powi(2)).sqrt();
        let share = (records as f64 / k.max(1) as f64).max(2.0).ln();
        // The first terms of the normal distribution's quantile far from its middle.
        let root = (2.0 * share).sqrt();
        let deviations = (root - (4.0 * std::f64::consts::PI * share).ln() / (2.0 * root)).max(0.0);
        (spread > 0.0).then_some(Scores { middle, spread, deviations })
    }

    /// Estimates the k-th best score.
    pub(super) fn kth(&self, planes: &Planes) -> f64 {
        self.middle + self.spread * (self.deviations + planes.far.get())
    }

    /// Teaches the planes what the k-th best score was.
    pub(crate) fn note(&self, planes: &Planes, kth: f64) {
        planes.far.note((kth - self.middle) / self.spread - self.deviations);
    }
}

/// What one record of a sample told. Times are in seconds.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) score: f64,
    pub(super) scoring: f64,
    /// What it takes to find by its rows that a record is below the threshold.
    pub(super) dropping: f64,
    /// By each tier, the most that it can score, and the time that finding this took.
    pub(super) tiers: Vec<(f64, f64)>,
}

impl Measured {
    /// What a query of another number of rows would tell: all that matters grows with it.
    fn scaled(&self, factor: f64) -> Measured {
        Measured {
            score: self.score * factor,
            scoring: self.scoring * factor,
            dropping: self.dropping * factor,
            tiers: self.tiers.iter().map(|(upper, time)| (upper * factor, time * factor)).collect(),
        }
    }
}

fn mean(sample: &[Measured], of: impl Fn(&Measured) -> f64) -> f64 {
    sample.iter().map(of).sum::<f64>() / sample.len() as f64
}

/// How much lower bounds by one tier are than by another, in the mean.
fn lowered(sample: &[Measured], from: usize, to: usize) -> f64 {
    mean(sample, |measured| measured.tiers[from].0 - measured.tiers[to].0)
}

/// Estimates how many times as much as in a sample the last tier lowers bounds by another one, of which these were seen
/// to be lowered by so much.
pub(super) fn factor(sample: &[Measured], first: usize, by_last: &[f64]) -> Option<f64> {
    let last = sample.first()?.tiers.len() - 1;
    let factor = by_last.iter().sum::<f64>() / by_last.len() as f64 / lowered(sample, first, last);
    (factor.is_finite() && factor > 0.0).then_some(factor)
}

/// Returns the median, for times: the first ones take longer, and others may interrupt.
fn middle(sample: &[Measured], of: impl Fn(&Measured) -> f64) -> f64 {
    let mut times: Vec<f64> = sample.iter().map(of).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Chooses the tier by which to bound all records, by what each takes; none when reading the rows of all of them takes
/// no longer.
pub(super) fn first_tier(costs: &[f64]) -> Option<usize> {
    let least = (0..costs.len()).min_by(|&a, &b| costs[a].total_cmp(&costs[b]));
    let pays = least.filter(|&first| costs[first] < 0.9);
    if are_always_used() { least.or(Some(0)) } else { pays }
}

/// Returns what searching takes that begins by each tier, as a share of reading all rows, given the k-th best score.
/// Empty when the sample is too small to tell.
pub(super) fn expected_costs(sample: &[Measured], kth: f64) -> Vec<f64> {
    if sample.len() < SAMPLE / 2 {
        return Vec::new();
    }
    let left = |tier: usize| {
        let upper = mean(sample, |measured| measured.tiers[tier].0);
        let spread = mean(sample, |measured| (measured.tiers[tier].0 - upper).powi(2)).sqrt();
        above((kth - upper) / spread.max(f64::MIN_POSITIVE))
    };
    let again = |first: usize, second: usize| {
        mean(sample, |Measured { tiers, .. }| share(tiers[first].0 - tiers[second].0, tiers[first].0, kth))
    };
    costs(sample, left, again)
}

/// Returns the same for a search that is done: `bounded` by the tier `first`, in two parts, and with this k-th best
/// score. Other tiers' bounds differ from these by `factor` times as much as they did in the sample.
pub(super) fn seen_costs(
    sample: &[Measured],
    first: usize,
    factor: f64,
    bounded: [&[(f64, u32)]; 2],
    kth: f64,
) -> Vec<f64> {
    if sample.is_empty() {
        return Vec::new();
    }
    let all = || bounded.into_iter().flatten();
    let of_all = |sum: f64| sum / all().count().max(1) as f64;
    let lowered = |tier: usize| factor * self::lowered(sample, first, tier);
    let left = |tier: usize| {
        let least = kth + lowered(tier);
        of_all(all().filter(|(upper, _)| *upper >= least).count() as f64)
    };
    let again = |tier: usize, second: usize| {
        let lowered = lowered(tier);
        let further = self::lowered(sample, tier, second);
        of_all(all().map(|(upper, _)| share(factor * further, upper - lowered, kth)).sum())
    };
    costs(sample, left, again)
}

/// Returns what searching takes that begins by each tier, as a share of reading all rows: bounding all records by it,
/// then scoring those that are `left`; or bounding `again` a share of the rows by a second tier, and scoring what that
/// leaves.
fn costs(sample: &[Measured], left: impl Fn(usize) -> f64, again: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    let tiers = 0..sample[0].tiers.len();
    let bounding: Vec<f64> = tiers.clone().map(|tier| middle(sample, |measured| measured.tiers[tier].1)).collect();
    let (scoring, dropping) =
        (middle(sample, |measured| measured.scoring), middle(sample, |measured| measured.dropping));
    let left: Vec<f64> = tiers.clone().map(left).collect();
    let cost = |first: usize| {
        let with =
            (first + 1..left.len()).map(|second| again(first, second) * bounding[second] + left[second] * scoring);
        (bounding[first] + with.fold(left[first] * scoring, f64::min)) / dropping.max(f64::MIN_POSITIVE)
    };
    tiers.map(cost).collect()
}

/// Chooses by which tiers records are bounded again before they are scored.
#[derive(Debug)]
pub(super) struct Refining {
    /// What bounding a record by each tier takes, and scoring one.
    bounding: Vec<f64>,
    scoring: f64,
    /// How much lower than by the first tier bounds are by each.
    lowered: Vec<f64>,
}

impl Refining {
    /// Takes a sample, the tier by which records were bounded, and how many times as much as in the sample finer ones
    /// lower bounds.
    pub(super) fn new(sample: &[Measured], first: usize, factor: f64) -> Refining {
        let tiers = 0..sample[0].tiers.len();
        Refining {
            bounding: tiers.clone().map(|tier| middle(sample, |measured| measured.tiers[tier].1)).collect(),
            scoring: middle(sample, |measured| measured.scoring),
            lowered: tiers.map(|tier| factor * lowered(sample, first, tier)).collect(),
        }
    }

    /// Returns the tier by which to bound a record next, which has this bound by `tier`; none when it is below the
    /// threshold, or scoring it takes no longer.
    pub(super) fn next(&self, tier: usize, upper: f64, threshold: f64) -> Option<usize> {
        if upper < threshold || upper == f64::INFINITY {
            return None;
        }
        let cost = |finer: usize| {
            let lowered = self.lowered[finer] - self.lowered[tier];
            let above = (upper - lowered - threshold) / (SPREAD * lowered.max(f64::MIN_POSITIVE));
            let scoring = self.scoring * (0.5 + above).clamp(0.0, 1.0);
            (self.bounding[finer] * share(lowered, upper, threshold) + scoring, finer)
        };
        let (least, finer) = (tier + 1..self.bounding.len()).map(cost).min_by(|a, b| a.0.total_cmp(&b.0))?;
        (least < self.scoring).then_some(finer)
    }
}

/// Estimates the share of the query's rows that a second tier has to look at until a record is below a threshold, if
/// each row lowers the bound as much as the others do.
fn share(lowered: f64, upper: f64, threshold: f64) -> f64 {
    let part = (upper - threshold) / lowered.max(f64::MIN_POSITIVE);
    if upper < threshold { 0.0 } else { (part + ROUND_UP).min(1.0) }
}

/// Returns the share of a normal distribution that lies so many standard deviations above its mean, to about 0.01.
fn above(deviations: f64) -> f64 {
    let x = deviations.abs();
    let tail = 0.5 * (-0.717 * x - 0.416 * x * x).exp();
    if deviations < 0.0 { 1.0 - tail } else { tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twenty records that score about 10, whose bounds lie this far above by each tier, and what tiers and rows take.
    fn sample(tiers: &[(f64, f64)], rows: f64) -> Vec<Measured> {
        let record = |at: usize| {
            let score = 10.0 + (at as f64 - 9.5) / 5.0;
            let tiers = tiers.iter().map(|(above, time)| (score + above, *time)).collect();
            Measured { score, scoring: rows, dropping: rows, tiers }
        };
        (0..SAMPLE).map(record).collect()
    }

    #[test]
    fn the_tier_is_chosen_that_leaves_little_at_little_cost() {
        let cases = [
            // bounds above scores and costs of three tiers, k-th best score, chosen tier
            ([(1.0, 0.1), (0.5, 0.3), (0.1, 0.6)], 13.0, Some(0)),
            ([(9.0, 0.1), (0.5, 0.3), (0.1, 0.6)], 13.0, Some(1)),
            ([(9.0, 0.3), (8.0, 0.4), (0.1, 0.5)], 13.0, Some(2)),
            ([(9.0, 0.1), (8.0, 0.3), (0.1, 0.6)], 13.0, Some(0)), // and then the third
            ([(9.0, 0.1), (8.0, 0.3), (7.0, 0.6)], 13.0, None),
            ([(1.0, 0.95), (0.5, 0.97), (0.1, 0.99)], 13.0, None),
            ([(1.0, 0.1), (0.5, 0.3), (0.1, 0.6)], 9.0, None),
        ];
        for (tiers, kth, wanted) in cases {
            let sample = sample(&tiers, 1.0);
            assert_eq!(first_tier(&expected_costs(&sample, kth)), wanted, "{tiers:?} {kth}");
            // The same is seen afterwards, whichever tier the search began by.
            for first in 0..3 {
                let bounded: Vec<(f64, u32)> =
                    (0..).zip(&sample).map(|(record, one)| (one.tiers[first].0, record)).collect();
                let seen = first_tier(&seen_costs(&sample, first, 1.0, [&bounded[..7], &bounded[7..]], kth));
                assert_eq!(seen, wanted, "{tiers:?} {kth} after {first}");
            }
        }
        assert_eq!(first_tier(&expected_costs(&sample(&[(1.0, 0.1)], 1.0)[..3], 13.0)), None);
    }

    #[test]
    fn another_tier_has_to_pay() {
        let sample = sample(&[(4.0, 0.1), (2.0, 0.2), (0.2, 0.5)], 1.0);
        let refining = Refining::new(&sample, 0, 1.0);
        let cases = [
            // tier, bound by it, threshold, tier chosen
            (0, 14.0, 13.0, Some(1)),
            (0, 16.0, 13.0, Some(2)),
            (0, 20.0, 13.0, None), // it would be scored all the same
            (0, 12.0, 13.0, None),
            (0, f64::INFINITY, 13.0, None),
            (1, 14.0, 13.0, Some(2)),
            (2, 14.0, 13.0, None),
        ];
        for (tier, upper, threshold, wanted) in cases {
            assert_eq!(refining.next(tier, upper, threshold), wanted, "{tier} {upper} {threshold}");
        }
        // Of this query tiers lower bounds less than of the sample's.
        let quarter = factor(&sample, 0, &[1.0, 0.9]).unwrap();
        assert!((quarter - 0.25).abs() < 1e-9);
        assert_eq!(Refining::new(&sample, 0, quarter).next(0, 16.0, 13.0), None);
        assert!(factor(&[], 0, &[1.0]).is_none() && factor(&sample, 0, &[]).is_none(), "nothing to compare");
        assert!(factor(&sample, 2, &[0.0]).is_none(), "there is none");
    }

    #[test]
    fn plans_are_remembered_for_some_queries_like_the_first() {
        let (memory, key) = (Memory::default(), Key::new(100, Some(10)));
        assert!(memory.recall(key, 100).is_none());
        memory.keep(key, 100, &sample(&[(1.0, 0.1), (0.5, 0.3)], 1.0), vec![0.3, 0.5]);
        assert!(
            memory.recall(Key::new(10, Some(10)), 10).is_none() && memory.recall(Key::new(100, None), 100).is_none()
        );
        let (scaled, first) = memory.recall(key, 120).unwrap();
        assert!((scaled[3].dropping - 1.2).abs() < 1e-9 && first == Some(0));
        // One search for which it took long is enough to begin otherwise.
        memory.note(key, &[0.9, 0.5]);
        assert_eq!(memory.recall(key, 100).unwrap().1, Some(1));
        memory.note(key, &[0.1, 0.5]);
        assert_eq!(memory.recall(key, 100).unwrap().1, Some(1));
        let more = (0..USES).take_while(|_| memory.recall(key, 100).is_some()).count();
        assert_eq!(more, USES as usize - 4);
        assert_eq!(Key::new(64, Some(8)), Key::new(127, Some(15)));
    }
}
