//! Searching planes: a bound for every record from a few leading coordinates, for the better ones from more, and the
//! score of those that may be among the best, the likeliest first.

use super::build::coordinates;
use super::plan::{Key, Measured, Refining, SAMPLE, Scores, expected_costs, factor, first_tier, seen_costs};
use super::together::{Bounds, Together};
use super::{Planes, Records, drift, lead, rest};
use crate::error::Result;
use crate::index::exact::{BoundBy, Gathered};
use crate::index::rows::{Place, ViewRows};
use crate::kernel::{self, LANES, Lanes, PackedRows, ordered};
use crate::matrix::MatrixView;
use crate::score::{Metric, Outcome, PreparedQuery, Scratch};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Most rows of a query that is packed for every tier.
const LONGEST_QUERY: usize = 1 << 14;
/// Records bounded by one thread at a time, and scored.
pub(super) const BOUNDED: usize = 16;
const SCORED: usize = 2;
/// Records that say how much lower bounds by other tiers are.
const PROBES: usize = 4;
/// Rows of a query after which it is asked whether a record is below the threshold: so many, or a multiple where all
/// records together would have more parts than this.
pub(super) const PART: usize = 4 * LANES;
const MOST_PARTS: usize = 1 << 22;

/// A query in whole numbers.
pub(super) struct Query {
    metric: Metric,
    dim: usize,
    /// Whole numbers of each row: its rests, then its coordinates.
    whole: Vec<i16>,
    lead: usize,
    /// Rows of a part.
    part: usize,
    tiers: Vec<Tier>,
    /// What one of each row stands for, but for the record's scale.
    units: Vec<f64>,
    /// The rows' norms.
    norms: Vec<f64>,
}

/// The same for some leading coordinates. The names are the bound's (see the room).
struct Tier {
    coordinates: usize,
    /// Made when first asked for: most tiers are not.
    packed: OnceLock<PackedRows>,
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
            // Rests are among a row's first numbers.
            let unshifted = |at: usize| at.checked_sub(lead).map_or(0.0, |at| factor * weighted[at]);
            let factor = factor * PackedRows::fit((0..lead + width).map(unshifted));
            units.push(if most == 0.0 { 0.0 } else { 1.0 / factor });
            // Rests are rounded up: nothing of them is missing then.
            let all = rests[..lead].iter().chain(&weighted);
            let mut numbers: Vec<f64> = all.map(|number| number * factor).collect();
            PackedRows::round(&mut numbers, lead);
            whole.iter_mut().zip(&numbers).for_each(|(whole, &number)| *whole = number as i16);
            let numbers = &numbers[lead..];
            let (mut from, mut error, mut square) = (0, 0.0, 0.0);
            for (&tier, (lengths, errors)) in planes.tiers.iter().zip(&mut sums) {
                for k in from..tier {
                    error += if factor == 0.0 { 0.0 } else { (weighted[k] - numbers[k] / factor).powi(2) };
                    square += f64::from(z[k]).powi(2);
                }
                lengths.push(square.sqrt() * 1.000_01);
                errors.push(error.sqrt() * 1.000_01);
                from = tier;
            }
        }
        let tiers = planes.tiers.iter().zip(sums).zip(&drifts).map(|((&coordinates, (lengths, errors)), drift)| {
            let reference = (dim + query.rows() + 32) as f64 * 4.0 * f64::EPSILON;
            let slack = 2.02 * drift + drift * drift + reference;
            Tier { coordinates, packed: OnceLock::new(), lengths, errors, slack }
        });
        Ok(Query { metric, dim, whole, lead, part: PART, tiers: tiers.collect(), units, norms: lengths_of_rows })
    }

    /// Rows of a tier, as the kernels like them.
    fn packed(&self, tier: usize) -> &PackedRows {
        let Tier { coordinates, packed, .. } = &self.tiers[tier];
        packed.get_or_init(|| {
            let rows = self.whole.chunks(self.whole.len() / self.units.len()).map(|whole| {
                let mut row = whole[..self.lead + coordinates].to_vec();
                // The rest that belongs to this tier, and no other.
                (0..self.lead).filter(|&other| other != tier).for_each(|other| row[other] = 0);
                row
            });
            PackedRows::whole(rows)
        })
    }

    /// Returns the most that a record can score, by the coordinates of a tier; minus infinity if it has no rows.
    pub(super) fn upper(&self, records: &Records<'_>, record: u32, tier: usize, work: &mut Work) -> f64 {
        let (entry, rows) = records.get(record);
        if entry.scale() == f64::INFINITY || rows.count == 0 {
            let upper = if entry.scale() < f64::INFINITY { f64::NEG_INFINITY } else { f64::INFINITY };
            work.parts.fill(upper);
            return upper;
        }
        self.of_rows(records, record, tier, 0..self.groups(), work);
        let Work { uppers, parts, .. } = work;
        parts.iter_mut().zip(uppers.chunks(self.part)).for_each(|(part, uppers)| *part = uppers.iter().sum());
        let upper: f64 = parts.iter().sum();
        // Only a forged file has numbers of which nothing follows.
        if upper.is_nan() { f64::INFINITY } else { upper }
    }

    /// Puts into `work` the most that each query row of some groups can add to a record's score.
    fn of_rows(&self, records: &Records<'_>, record: u32, tier: usize, groups: Range<usize>, work: &mut Work) {
        let ((entry, rows), own) = (records.get(record), &self.tiers[tier]);
        work.best.clear();
        work.best.resize(groups.len(), Lanes([f32::NEG_INFINITY; LANES]));
        kernel::largest(self.packed(tier), groups.clone(), rows, &mut work.best);
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

    fn groups(&self) -> usize {
        self.units.len().div_ceil(LANES)
    }

    /// Bounds a record again, part by part of the query, until the sum is below the threshold; returns the most that it
    /// can score. Begins with the parts of the bound by another tier.
    pub(super) fn lower(
        &self,
        records: &Records<'_>,
        record: u32,
        tier: usize,
        threshold: f64,
        work: &mut Work,
    ) -> f64 {
        let groups = self.groups();
        let mut upper: f64 = work.parts.iter().sum();
        for (part, start) in (0..groups).step_by(self.part / LANES).enumerate() {
            if upper < threshold || upper == f64::INFINITY {
                break;
            }
            self.of_rows(records, record, tier, start..groups.min(start + self.part / LANES), work);
            let rows = self.part * part..self.units.len().min(self.part * (part + 1));
            work.parts[part] = work.uppers[rows].iter().sum();
            upper = work.parts.iter().sum();
        }
        upper
    }

    /// Parts that a record's bound has.
    pub(super) fn parts(&self) -> usize {
        self.units.len().div_ceil(self.part)
    }

    /// Makes parts as long as so many records need.
    pub(super) fn divide(&mut self, records: usize) {
        self.part = PART * records.saturating_mul(self.units.len().div_ceil(PART)).div_ceil(MOST_PARTS).max(1);
    }

    pub(super) fn work(&self) -> Work {
        let rows = self.units.len();
        Work { best: Vec::new(), uppers: vec![0.0; rows], parts: vec![0.0; self.parts()] }
    }
}

/// How records are bounded that have been by a first tier.
struct Tiers<'a> {
    first: usize,
    /// The parts of a record's bound by it.
    parts: &'a (dyn Fn(u32) -> &'a [f64] + Sync),
    /// By which others, if that pays.
    refining: Option<Refining>,
    /// Those that were used, a bit each.
    used: AtomicUsize,
}

/// Working memory of one thread.
pub(super) struct Work {
    best: Vec<Lanes>,
    /// Most that each row of the query can add to the score.
    pub(super) uppers: Vec<f64>,
    /// The sums of these, part by part.
    parts: Vec<f64>,
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
    /// The queries that this one is asked together with, and which one of them it is.
    pub(crate) together: Option<(&'a Together<'a>, usize)>,
}

impl Search<'_> {
    /// Searches `selected` records. Says how, or nothing when that does not pay: then some of them may have been scored
    /// already, and are taken from `selected`. Also returns what a few of them, if any were asked, said of all scores.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) when the planes cannot be read.
    pub(crate) fn run(&self, selected: &mut Vec<u32>) -> Result<(Option<String>, Option<Scores>)> {
        let rows = self.query.rows();
        if selected.len() < 2 * SAMPLE || !self.prepared.is_ordinary() || rows > LONGEST_QUERY {
            return Ok((None, None));
        }
        let mut query = Query::new(self.planes, self.metric, self.query, self.prepared.norms())?;
        query.divide(selected.len());
        let records = self.planes.records()?;
        let key = Key::new(rows, self.k);
        let all = if matches!(self.together, Some((_, 0))) { selected.clone() } else { Vec::new() };
        let (sample, first, scores) = match self.planes.memory.recall(key, rows) {
            Some((sample, first)) => (sample, first, None),
            None => {
                let sample = self.sample(&query, &records, selected);
                let scores = self.k.and_then(|k| Scores::new(&sample, selected.len(), k));
                let threshold = self.gathered.top.threshold();
                let kth = scores.map_or(threshold, |scores| scores.kth(self.planes).max(threshold));
                let costs = expected_costs(&sample, kth);
                let first = first_tier(&costs);
                if !self.gathered.is_late() {
                    self.planes.memory.keep(key, rows, &sample, costs);
                }
                (sample, first, scores)
            }
        };
        let Some(mut first) = first else { return Ok((None, scores)) };
        let together = self.bounded_together(&records, &all, first)?;
        if let Some((bounds, _)) = &together {
            first = bounds.tier;
        }
        let count = query.parts();
        let mut parts = vec![0.0; selected.len() * count];
        let mut bounded: Vec<(f64, u32)> = selected
            .par_chunks(BOUNDED)
            .zip(parts.par_chunks_mut(BOUNDED * count))
            .flat_map_iter(|(some, parts)| {
                let mut work = query.work();
                let bound = |(&record, parts): (&u32, &mut [f64])| {
                    if self.gathered.is_late() {
                        return (self.prepared.most(), record);
                    }
                    if let (Some((bounds, member)), [part]) = (&together, &mut *parts)
                        && let Some(upper) = bounds.of(record, *member)
                    {
                        *part = upper;
                        return (upper, record);
                    }
                    let upper = query.upper(&records, record, first, &mut work);
                    parts.copy_from_slice(&work.parts);
                    (upper, record)
                };
                some.iter().zip(parts.chunks_mut(count)).map(bound).collect::<Vec<_>>()
            })
            .filter(|(upper, _)| *upper > f64::NEG_INFINITY)
            .collect();
        bounded.par_sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let likely = self.k.map_or(0, |k| bounded.len().min(2 * k.min(bounded.len())));
        let (likely, others) = bounded.split_at(likely);
        let parts = |record: u32| {
            let at = selected.binary_search(&record).unwrap_or_default();
            &parts[at * count..][..count]
        };
        let mut tiers = Tiers { first, parts: &parts, refining: None, used: AtomicUsize::new(1 << first) };
        self.best_first(&query, &records, likely, &tiers);
        let factor = self.factor(&query, &records, others, first, &sample);
        tiers.refining = factor.map(|factor| Refining::new(&sample, first, factor));
        self.best_first(&query, &records, others, &tiers);
        let kth = self.gathered.top.threshold();
        if kth.is_finite() && !self.gathered.is_late() {
            self.planes.memory.note(key, &seen_costs(&sample, first, factor.unwrap_or(1.0), [likely, others], kth));
        }
        let used = tiers.used.into_inner();
        let tiers = (0..self.planes.tiers.len()).filter(|tier| used >> tier & 1 == 1);
        let tiers = tiers.map(|tier| self.planes.tiers[tier].to_string()).collect::<Vec<_>>().join(" and ");
        let together = if together.is_some() { ", together with other queries" } else { "" };
        Ok((Some(format!("bounded by {tiers} of {} numbers a row{together}", self.planes.dim)), scores))
    }

    /// Returns bounds of these records that were computed for several queries at once, and which one of them this is.
    /// The first one of them computes those of all.
    fn bounded_together(
        &self,
        records: &Records<'_>,
        all: &[u32],
        tier: usize,
    ) -> Result<Option<(Arc<Bounds>, usize)>> {
        let Some((together, member)) = self.together else { return Ok(None) };
        if member == 0 {
            together.bound((self.planes, self.metric, self.segment), records, all, tier)?;
        }
        Ok(together.bounds(self.segment).map(|bounds| (bounds, member)))
    }

    /// Finds out how many times as much as in the sample the last tier lowers these bounds by the first one: that
    /// depends on the query.
    fn factor(
        &self,
        query: &Query,
        records: &Records<'_>,
        others: &[(f64, u32)],
        first: usize,
        sample: &[Measured],
    ) -> Option<f64> {
        let threshold = self.gathered.top.threshold();
        let left = &others[..others.partition_point(|(upper, _)| *upper >= threshold)];
        let (last, mut work) = (query.tiers.len() - 1, query.work());
        let some = left.iter().step_by((left.len() / PROBES).max(1)).take(PROBES);
        let lowered = some.map(|&(upper, record)| upper - query.upper(records, record, last, &mut work));
        let lowered: Vec<f64> = lowered.filter(|lowered| lowered.is_finite()).collect();
        factor(sample, first, &lowered)
    }

    /// Scores records that have been bounded by the first tier, best first, until the others cannot be among the best;
    /// those that may are bounded again by other tiers, where that pays.
    fn best_first(&self, query: &Query, records: &Records<'_>, bounded: &[(f64, u32)], tiers: &Tiers<'_>) {
        let &Tiers { first, parts, ref refining, ref used } = tiers;
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
                for &(mut upper, record) in some {
                    let (threshold, mut tier) = (top.threshold(), first);
                    let next =
                        |tier, upper| refining.as_ref().and_then(|refining| refining.next(tier, upper, threshold));
                    work.parts.copy_from_slice(parts(record));
                    while let Some(finer) = next(tier, upper) {
                        tier = finer;
                        upper = query.lower(records, record, tier, threshold, &mut work);
                        used.fetch_or(1 << tier, Ordering::Relaxed);
                    }
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
}
