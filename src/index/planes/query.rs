//! Searching planes: a bound for every record from a few leading coordinates, for the better ones from more, and the
//! score of those that may be among the best, the likeliest first.

use super::build::coordinates;
use super::{Planes, Records, are_always_used, drift, lead, rest};
use crate::error::Result;
use crate::index::exact::{BoundBy, Gathered};
use crate::index::rows::{Place, ViewRows};
use crate::kernel::{self, LANES, Lanes, PackedRows, ordered};
use crate::matrix::MatrixView;
use crate::score::{Metric, Outcome, PreparedQuery, Scratch};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Records by which a search is planned.
const SAMPLE: usize = 20;
/// Most rows of a query that is packed for every tier.
const LONGEST_QUERY: usize = 1 << 14;
/// Records bounded by one thread at a time, and scored.
const BOUNDED: usize = 16;
const SCORED: usize = 2;
/// Groups of query rows after which it is asked whether a record is below the threshold.
const GROUPS: usize = 4;
/// The part of a query's rows that is looked at beyond what would be enough, in the mean.
const ROUND_UP: f64 = 0.12;
/// Deviations by which the best are further from the middle than they are where all are distributed normally: there
/// are groups of records that are alike.
const FAR: f64 = 0.75;

/// A query in whole numbers.
pub(super) struct Query {
    metric: Metric,
    dim: usize,
    tiers: Vec<Tier>,
    /// What one of each row stands for, but for the record's scale.
    units: Vec<f64>,
    /// The rows' norms.
    norms: Vec<f64>,
}

/// The same for some leading coordinates. The names are the bound's (see the room).
struct Tier {
    packed: PackedRows,
    /// `|z|` of each row.
    lengths: Vec<f64>,
    /// `|t - g / S|` of each row.
    errors: Vec<f64>,
    /// For two rows of length one: how far computed coordinates, and the reference itself, can be off.
    slack: f64,
}

impl Query {
    pub(super) fn new(planes: &Planes, metric: Metric, query: MatrixView<'_>, norms: &[f64]) -> Result<Query> {
        let (dim, width, basis) = (planes.dim, planes.width(), planes.basis()?);
        let (weights, rest_weights) = planes.weights()?.split_at(width);
        let lead = lead(&planes.tiers);
        let mut z = coordinates(dim, basis, query.values());
        let mut lengths_of_rows = norms.to_vec();
        if metric == Metric::Cosine {
            for (z, norm) in z.chunks_mut(width).zip(&mut lengths_of_rows) {
                let inverse = if *norm == 0.0 { 0.0 } else { (1.0 / *norm) as f32 };
                z.iter_mut().for_each(|z| *z *= inverse);
                *norm = if *norm == 0.0 { 0.0 } else { 1.0 };
            }
        }
        let drifts: Vec<f64> = planes.tiers.iter().map(|&tier| drift(dim, tier, planes.defect)).collect();
        let mut sums = vec![(Vec::new(), Vec::new()); planes.tiers.len()];
        let mut units = Vec::with_capacity(query.rows());
        // Of each row: its rests, then its coordinates.
        let mut whole = vec![0i16; query.rows() * (lead + width)];
        for ((z, &norm), whole) in z.chunks(width).zip(&lengths_of_rows).zip(whole.chunks_mut(lead + width)) {
            let weighted: Vec<f64> =
                z.iter().zip(weights).map(|(&z, &weight)| f64::from(z) * f64::from(weight)).collect();
            let mut most = weighted.iter().map(|t| t * t).sum::<f64>().sqrt();
            let mut rests = [0.0f64; super::TIERS.len() + 1];
            for (((own, &tier), drift), weight) in rests.iter_mut().zip(&planes.tiers).zip(&drifts).zip(rest_weights) {
                let length = ordered::dot(&z[..tier], &z[..tier]).sqrt();
                *own = if tier == dim { 0.0 } else { rest(norm, length, *drift) * f64::from(*weight) };
                most = most.max(*own);
            }
            let factor = if most == 0.0 { 0.0 } else { f64::from(kernel::SHORT_SIZE) / most };
            units.push(if most == 0.0 { 0.0 } else { 1.0 / factor });
            for (whole, rest) in whole.iter_mut().zip(&rests[..planes.tiers.len()]) {
                *whole = (rest * factor).ceil() as i16;
            }
            let (mut from, mut error, mut square) = (0, 0.0, 0.0);
            for (&tier, (lengths, errors)) in planes.tiers.iter().zip(&mut sums) {
                for k in from..tier {
                    let number = (weighted[k] * factor).round_ties_even();
                    whole[lead + k] = number as i16;
                    error += if factor == 0.0 { 0.0 } else { (weighted[k] - number / factor).powi(2) };
                    square += f64::from(z[k]).powi(2);
                }
                lengths.push(square.sqrt() * 1.000_01);
                errors.push(error.sqrt() * 1.000_01);
                from = tier;
            }
        }
        let tiers = planes.tiers.iter().zip(sums).zip(&drifts).enumerate().map(|(number, ((&tier, sums), drift))| {
            let rows = whole.chunks(lead + width).map(|whole| {
                let mut row = whole[..lead + tier].to_vec();
                // The rest that belongs to this tier, and no other.
                (0..lead).filter(|&other| other != number).for_each(|other| row[other] = 0);
                row
            });
            let reference = (dim + query.rows() + 32) as f64 * 4.0 * f64::EPSILON;
            Tier {
                packed: PackedRows::whole(rows),
                lengths: sums.0,
                errors: sums.1,
                slack: 2.02 * drift + drift * drift + reference,
            }
        });
        Ok(Query { metric, dim, tiers: tiers.collect(), units, norms: lengths_of_rows })
    }

    /// Returns the most that a record can score, by the coordinates of a tier; minus infinity if it has no rows.
    pub(super) fn upper(&self, records: &Records<'_>, record: u32, tier: usize, work: &mut Work) -> f64 {
        let (entry, bytes) = records.get(record);
        if entry.scale() == f64::INFINITY {
            return f64::INFINITY;
        }
        if bytes.is_empty() {
            return f64::NEG_INFINITY;
        }
        self.of_rows(records, record, tier, 0..self.tiers[tier].packed.groups(), work);
        let upper: f64 = work.uppers.iter().sum();
        // Only a forged file has numbers of which nothing follows.
        if upper.is_nan() { f64::INFINITY } else { upper }
    }

    /// Puts into `work` the most that each query row of some groups can add to a record's score.
    fn of_rows(&self, records: &Records<'_>, record: u32, tier: usize, groups: Range<usize>, work: &mut Work) {
        let ((entry, bytes), own) = (records.get(record), &self.tiers[tier]);
        work.best.clear();
        work.best.resize(groups.len(), Lanes([f32::NEG_INFINITY; LANES]));
        kernel::largest(&own.packed, groups.clone(), bytes, records.stride, &mut work.best);
        let (scale, (error, size), slack) = (entry.scale(), entry.errors(tier), own.slack * entry.longest());
        let rows = groups.start * LANES..self.units.len().min(groups.end * LANES);
        let best = work.best.iter().flat_map(|lanes| &lanes.0);
        for (row, &best) in rows.zip(best) {
            // A sum in 32 bits may have been rounded to `f32`.
            let best = f64::from(best) + f64::from(best.abs()) * 2.4e-7;
            let of_numbers = scale * self.units[row] * best;
            let norm = self.norms[row];
            let product = of_numbers + error * own.lengths[row] + size * own.errors[row] + slack * norm;
            work.uppers[row] = match self.metric {
                Metric::Dot | Metric::Cosine => product,
                Metric::L2 => {
                    // What the reference, which adds up squared differences, and these few operations can be off.
                    let reach = norm + entry.longest();
                    let roundings = (self.dim + self.units.len() + 32) as f64 * 4.0 * f64::EPSILON;
                    2.0 * product - entry.shortest().powi(2) - norm * norm + roundings * reach * reach
                }
            };
        }
    }

    /// Bounds a record by one tier, then its rows by another one until the sum is below the threshold; returns the most
    /// that it can score.
    fn lower(&self, records: &Records<'_>, record: u32, tiers: (usize, usize), threshold: f64, work: &mut Work) -> f64 {
        let (first, second) = tiers;
        let mut upper = self.upper(records, record, first, work);
        let groups = self.tiers[second].packed.groups();
        for start in (0..groups).step_by(GROUPS) {
            if upper < threshold || upper == f64::INFINITY {
                break;
            }
            self.of_rows(records, record, second, start..groups.min(start + GROUPS), work);
            upper = work.uppers.iter().sum();
        }
        upper
    }

    pub(super) fn work(&self) -> Work {
        Work { best: Vec::new(), uppers: vec![0.0; self.units.len()] }
    }
}

/// Working memory of one thread.
pub(super) struct Work {
    best: Vec<Lanes>,
    /// Most that each row of the query can add to the score.
    pub(super) uppers: Vec<f64>,
}

/// Records of a segment, and what they are searched by.
pub(crate) struct Search<'a> {
    pub(crate) planes: &'a Planes,
    pub(crate) rows: &'a ViewRows<'a>,
    pub(crate) segment: u32,
    pub(crate) query: MatrixView<'a>,
    pub(crate) metric: Metric,
    pub(crate) prepared: &'a PreparedQuery,
    pub(crate) k: Option<usize>,
    pub(crate) gathered: &'a Gathered,
}

impl Search<'_> {
    /// Searches `selected` records. Says how, or nothing when that does not pay: then some of them were scored, and are
    /// taken from `selected`.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) when the planes cannot be read.
    pub(crate) fn run(&self, selected: &mut Vec<u32>) -> Result<Option<String>> {
        let rows = self.query.rows();
        if selected.len() < 2 * SAMPLE || !self.prepared.is_ordinary() || rows > LONGEST_QUERY {
            return Ok(None);
        }
        let query = Query::new(self.planes, self.metric, self.query, self.prepared.norms())?;
        let records = self.planes.records()?;
        let sample = self.sample(&query, &records, selected);
        let Some(first) = first_tier(&sample, self.expected(&sample, selected.len())) else { return Ok(None) };
        let mut bounded: Vec<(f64, u32)> = selected
            .par_chunks(BOUNDED)
            .flat_map_iter(|some| {
                let mut work = query.work();
                let bound = |&record: &u32| {
                    let is_late = self.gathered.is_late();
                    let most = self.prepared.most();
                    (if is_late { most } else { query.upper(&records, record, first, &mut work) }, record)
                };
                some.iter().map(bound).collect::<Vec<_>>()
            })
            .filter(|(upper, _)| *upper > f64::NEG_INFINITY)
            .collect();
        bounded.par_sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let likely = self.k.map_or(0, |k| bounded.len().min(2 * k.min(bounded.len())));
        let (likely, others) = bounded.split_at(likely);
        self.best_first(&query, &records, likely, (first, None));
        let second = second_tier(&sample, first, others, self.gathered.top.threshold());
        self.best_first(&query, &records, others, (first, second));
        let tiers = std::iter::once(first).chain(second).map(|tier| self.planes.tiers[tier].to_string());
        Ok(Some(format!("bounded by {} of {} numbers a row", tiers.collect::<Vec<_>>().join(" and "), self.planes.dim)))
    }

    /// Scores records that have been bounded by the first of `tiers`, best first, until the others cannot be among the
    /// best; by the second one those are bounded again that may.
    fn best_first(&self, query: &Query, records: &Records<'_>, bounded: &[(f64, u32)], tiers: (usize, Option<usize>)) {
        let (first, second) = tiers;
        let by = |tier: usize| BoundBy::Planes(self.planes.tiers[tier] as u32);
        // Threads take the next best, whatever the others do: the threshold rises the sooner.
        let (next, top) = (AtomicUsize::new(0), &self.gathered.top);
        (0..rayon::current_num_threads()).into_par_iter().for_each(|_| {
            let (mut scratch, mut work) = (Scratch::default(), query.work());
            loop {
                let at = next.fetch_add(SCORED, Ordering::Relaxed).min(bounded.len());
                let some = &bounded[at..bounded.len().min(at + SCORED)];
                let Some(&(highest, _)) = some.first() else { break };
                if highest < top.threshold() || self.gathered.is_late() {
                    // The others can score no more than this one.
                    let end = next.swap(bounded.len(), Ordering::Relaxed).min(bounded.len());
                    self.gathered.leave(by(first), some.len() + bounded.len() - end.max(at + some.len()), highest);
                    break;
                }
                for &(upper, record) in some {
                    let threshold = top.threshold();
                    let (tier, upper) = match second {
                        Some(second) if upper >= threshold => {
                            (second, query.lower(records, record, (first, second), threshold, &mut work))
                        }
                        _ => (first, upper),
                    };
                    if upper < threshold {
                        self.gathered.exclude(by(tier), 1, upper);
                    } else {
                        self.score(record, threshold, &mut scratch);
                    }
                }
            }
        });
    }

    fn place(&self, record: u32) -> Place {
        Place { segment: self.segment, record }
    }

    /// Scores a record that has rows and can be read.
    fn score(&self, record: u32, threshold: f64, scratch: &mut Scratch) -> Option<Outcome> {
        match self.rows.matrix(self.place(record)) {
            Ok(matrix) if matrix.view().rows() == 0 => None,
            Ok(matrix) => {
                let outcome = self.prepared.score(matrix.view(), threshold, scratch);
                self.gathered.note(self.place(record), outcome);
                Some(outcome)
            }
            Err(error) => {
                self.gathered.fail(self.place(record), error);
                None
            }
        }
    }

    /// Scores a few records from all over the segment, which are then taken from `selected`, and measures what each way
    /// of bounding tells of them and takes.
    fn sample(&self, query: &Query, records: &Records<'_>, selected: &mut Vec<u32>) -> Vec<Measured> {
        let step = selected.len() / SAMPLE;
        let sample: Vec<u32> = selected.iter().copied().skip(step / 2).step_by(step).take(SAMPLE).collect();
        let (mut scratch, mut work) = (Scratch::default(), query.work());
        let measure = |&record: &u32| {
            if self.gathered.is_late() {
                self.gathered.leave(BoundBy::Rows, 1, self.prepared.most());
                return None;
            }
            // First what is to be compared with bounds, because the rows come from afar.
            let begun = Instant::now();
            if let Ok(matrix) = self.rows.matrix(self.place(record)) {
                self.prepared.score(matrix.view(), f64::INFINITY, &mut scratch);
            }
            let dropping = begun.elapsed().as_secs_f64();
            let begun = Instant::now();
            let Some(Outcome::Exact { score }) = self.score(record, f64::NEG_INFINITY, &mut scratch) else {
                return None;
            };
            let scoring = begun.elapsed().as_secs_f64().max(dropping);
            let tier = |tier| {
                let begun = Instant::now();
                (query.upper(records, record, tier, &mut work), begun.elapsed().as_secs_f64())
            };
            // The longest one first, for the same reason.
            let mut tiers: Vec<(f64, f64)> = (0..self.planes.tiers.len()).rev().map(tier).collect();
            tiers.reverse();
            Some(Measured { score, scoring, dropping, tiers })
        };
        let mut measured: Vec<Measured> = sample.iter().filter_map(measure).collect();
        selected.retain(|record| sample.binary_search(record).is_err());
        measured.retain(|measured| measured.tiers.iter().all(|(upper, _)| upper.is_finite()));
        measured
    }

    /// Estimates the k-th best score of so many records, from a sample and a normal distribution of scores.
    fn expected(&self, sample: &[Measured], records: usize) -> f64 {
        let threshold = self.gathered.top.threshold();
        let Some(k) = self.k else { return threshold };
        let middle = mean(sample, |measured| measured.score);
        let spread = mean(sample, |measured| (measured.score - middle).powi(2)).sqrt();
        let share = (records as f64 / k.max(1) as f64).max(2.0).ln();
        // The first terms of the normal distribution's quantile far from its middle.
        let root = (2.0 * share).sqrt();
        let deviations = root - (4.0 * std::f64::consts::PI * share).ln() / (2.0 * root);
        threshold.max(middle + spread * (deviations.max(0.0) + FAR))
    }
}

/// What one record of a sample told. Times are in seconds.
struct Measured {
    score: f64,
    scoring: f64,
    /// What it takes to find by its rows that a record is below the threshold.
    dropping: f64,
    /// By each tier, the most that it can score, and the time that finding this took.
    tiers: Vec<(f64, f64)>,
}

fn mean(sample: &[Measured], of: impl Fn(&Measured) -> f64) -> f64 {
    sample.iter().map(of).sum::<f64>() / sample.len() as f64
}

/// Returns the median, for times: the first ones take longer, and others may interrupt.
fn middle(sample: &[Measured], of: impl Fn(&Measured) -> f64) -> f64 {
    let mut times: Vec<f64> = sample.iter().map(of).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Chooses the tier by which to bound all records, given the k-th best score; none when reading the rows of all of them
/// takes no longer.
fn first_tier(sample: &[Measured], kth: f64) -> Option<usize> {
    if sample.len() < SAMPLE / 2 {
        return are_always_used().then_some(0);
    }
    let tiers = 0..sample[0].tiers.len();
    let bounding = |tier: usize| middle(sample, |measured| measured.tiers[tier].1);
    let scoring = middle(sample, |measured| measured.scoring);
    // The share of the records whose bounds a tier leaves above the k-th best score.
    let left = |tier: usize| {
        let upper = mean(sample, |measured| measured.tiers[tier].0);
        let spread = mean(sample, |measured| (measured.tiers[tier].0 - upper).powi(2)).sqrt();
        above((kth - upper) / spread.max(f64::MIN_POSITIVE))
    };
    let cost = |first: usize| {
        let alone = left(first) * scoring;
        let with = tiers.clone().skip(first + 1).map(|second| {
            let share = |measured: &Measured| share(measured, first, second, measured.tiers[first].0, kth);
            mean(sample, share) * bounding(second) + left(second) * scoring
        });
        (bounding(first) + with.fold(alone, f64::min), first)
    };
    let (least, first) = tiers.clone().map(cost).min_by(|a, b| a.0.total_cmp(&b.0))?;
    let pays = least < 0.9 * middle(sample, |measured| measured.dropping);
    (pays || are_always_used()).then_some(first)
}

/// Chooses the tier by which to bound records again before they are scored; none when scoring them takes no longer.
fn second_tier(sample: &[Measured], first: usize, others: &[(f64, u32)], threshold: f64) -> Option<usize> {
    let left = &others[..others.partition_point(|(upper, _)| *upper >= threshold)];
    if left.is_empty() || sample.is_empty() {
        return None;
    }
    let scoring = middle(sample, |measured| measured.scoring);
    let again = middle(sample, |measured| measured.tiers[first].1);
    let cost = |second: usize| {
        let bounding = middle(sample, |measured| measured.tiers[second].1);
        let lowered = mean(sample, |measured| measured.tiers[first].0 - measured.tiers[second].0);
        let of_record = |&(upper, _): &(f64, u32)| {
            let scoring = if upper - lowered >= threshold { scoring } else { 0.0 };
            again
                + bounding * sample.first().map_or(1.0, |measured| share(measured, first, second, upper, threshold))
                + scoring
        };
        (left.iter().map(of_record).sum::<f64>(), second)
    };
    let tiers = first + 1..sample.first().map_or(0, |measured| measured.tiers.len());
    let (least, second) = tiers.map(cost).min_by(|a, b| a.0.total_cmp(&b.0))?;
    (least < scoring * left.len() as f64).then_some(second)
}

/// Estimates the share of the query's rows that a second tier has to look at until a record is below a threshold, if
/// each row lowers the bound as much as the others do.
fn share(measured: &Measured, first: usize, second: usize, upper: f64, threshold: f64) -> f64 {
    let lowered = (measured.tiers[first].0 - measured.tiers[second].0).max(f64::MIN_POSITIVE);
    if upper < threshold { 0.0 } else { ((upper - threshold) / lowered + ROUND_UP).min(1.0) }
}

/// Returns the share of a normal distribution that lies so many standard deviations above its mean, to about 0.01.
fn above(deviations: f64) -> f64 {
    let x = deviations.abs();
    let tail = 0.5 * (-0.717 * x - 0.416 * x * x).exp();
    if deviations < 0.0 { 1.0 - tail } else { tail }
}
