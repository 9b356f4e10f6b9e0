//! The *questions*: the queries that an index was measured with, and what they say about another query.
//!
//! How *near* a query is to what an index holds is one number, larger for nearer, that a search gets almost for
//! nothing: in a graph, how similar the k-th best node of a walk is; in lists and candidates, how similar the centroids
//! are. By inner product it is taken of the query's direction, by L2 it is minus a distance, so lengths of queries
//! count where the answer depends on them. Measured on queries from elsewhere than the records (other signs, planes,
//! cones, clusters; see `tests/recall`), it told nearly all of them apart from the records' own: pictures asked for by
//! texts, say, are at 0.4 where every record is above 0.7.
//!
//! Lists have a second sign, the *contrast*: how much nearer the nearest centroid is than one further down the order.
//! Where all are about as far, hits lie in many lists. For candidates the second sign is how many of a query's rows
//! differ: one steady sound, or a row or two, tells records apart by little, so pieces of records serve as questions as
//! well ([`CurveSource::Pieces`]).
//!
//! So a query is compared, sign by sign, with the questions that were about like it:
//! - less near than any of them (by more than a share of what the least near twentieth of them spreads over): nothing
//!   is known of it, and the exact scan answers;
//! - else up to [`WINDOW`] questions next to it in this order, but not far from it, tell its recall. Mostly that is the
//!   recall of all questions; where it is significantly less than what is asked for, as for the few records that lie
//!   outside the crowd, more effort is made until it is not.
//!
//! A query that is nearer than all of them is treated like the nearest; one in a wide gap between them is like none.

use super::curve::{CurveEntry, CurveSource, error};
use crate::score::Metric;

/// Most questions that a query is judged by, and fewest. With fewer the means are too rough, with more the few
/// questions that lie apart drown in the others.
const WINDOW: usize = 50;
const FEWEST: usize = 8;
/// Beyond the fewest, only questions count that are no further away than this share of what nine tenths of all spread
/// over: the *reach*.
const REACH: f64 = 0.125;
/// A query further than so many reaches from the questions on either side is like none of them.
const GAP: f64 = 3.0;
/// A query may be less near than all questions by a share of what the least near part of them, one in `EDGE`, spreads
/// over. The share is `BEYOND`, growing to 1 where `CERTAIN` questions or fewer leave the edge uncertain.
const EDGE: usize = 20;
const BEYOND: f64 = 1.0 / 3.0;
const CERTAIN: f64 = 100.0;
/// A query that is less near than the questions is tried again with so many times the setting before it is given up: a
/// walk may have missed what is near.
const SECOND_LOOK: u64 = 4;

/// What the questions of one source with one `k` found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Questions {
    pub(crate) source: CurveSource,
    pub(crate) k: u64,
    /// The settings that were tried, rising.
    settings: Vec<u64>,
    signs: Vec<Sign>,
    /// Setting by setting, how many of the `k` hits each question found; at most 255.
    found: Vec<u8>,
}

/// One sign of all questions, by which they are told apart.
#[derive(Clone, Debug, PartialEq)]
struct Sign {
    /// The sign of each question, rising.
    values: Vec<f32>,
    /// Which question each value belongs to.
    order: Vec<u32>,
}

/// How a query, or a question, looks from an index: its nearness, and its second sign where there is one.
pub(crate) type Signs = [f64; 2];

/// Stands for the second sign where there is none.
pub(crate) const NO_CONTRAST: f64 = f64::INFINITY;

/// A query that is to be judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) signs: Signs,
    pub(super) setting: u64,
    pub(super) target: f64,
    /// Whether more effort, not made yet, may find it nearer.
    pub(super) may_look_again: bool,
    /// Whether the questions like it must prove the recall by themselves, because that of all questions does not hold
    /// for it.
    pub(super) must_prove: bool,
}

/// What questions say about a query at a setting. Of several verdicts the largest counts: those that know something
/// over those that do not, then the more demanding one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// No question is like it.
    Unlike,
    /// No question is like it, but at this setting one might be.
    LookAgain(u64),
    /// The questions like it found enough.
    Enough,
    /// They found enough at this larger setting.
    At(u64),
    /// They found enough at no setting that was measured.
    Never,
}

impl Questions {
    /// Takes the signs of each question and how many hits it found at each of the settings.
    pub(crate) fn new(
        source: CurveSource,
        k: u64,
        settings: Vec<u64>,
        mut asked: Vec<(Signs, Vec<usize>)>,
    ) -> Questions {
        // Questions with equal signs are sorted by what they found, so that their order in `asked` does not matter.
        let order = |a: &Signs, b: &Signs| a[0].total_cmp(&b[0]).then_with(|| a[1].total_cmp(&b[1]));
        asked.sort_by(|a, b| order(&a.0, &b.0).then_with(|| a.1.cmp(&b.1)));
        let signs = [0, 1].map(|sign| asked.iter().map(|(signs, _)| finite(signs[sign])).collect::<Vec<f32>>());
        let of_setting = |at: usize| asked.iter().map(move |(_, found)| found[at].min(255) as u8);
        let found = (0..settings.len()).flat_map(of_setting).collect();
        Questions { source, k, settings, signs: signs.map(Sign::new).into(), found }
    }

    pub(super) fn count(&self) -> usize {
        self.signs[0].values.len()
    }

    /// Returns whether there are questions and settings at all: where rows have many twins, a search may find
    /// everything before it is as wide as `k`, and no setting is left.
    pub(super) fn tell(&self) -> bool {
        self.count() > 0 && !self.settings.is_empty()
    }

    /// Returns whether a query's second sign is larger than that of any question.
    pub(super) fn is_beyond(&self, signs: Signs) -> bool {
        signs[1] > self.signs[1].range().1
    }

    pub(super) fn range(&self) -> (f64, f64) {
        self.signs[0].range()
    }

    /// Returns the mean recall of some questions at a setting, given by its place, and its standard deviation.
    fn mean(&self, questions: impl Iterator<Item = usize>, setting: usize) -> (f64, f64) {
        let found = &self.found[setting * self.count()..][..self.count()];
        let (mut count, mut sum, mut squares) = (0u64, 0u64, 0u64);
        for question in questions {
            let found = u64::from(found[question]);
            (count, sum, squares) = (count + 1, sum + found, squares + found * found);
        }
        let (count, sum, squares) = (count.max(1) as f64, sum as f64, squares as f64);
        // of a sample: divided by its size less one
        let variance = (squares - sum * sum / count).max(0.0) / (count - 1.0).max(1.0);
        (((sum / count) / self.k as f64).min(1.0), variance.sqrt() / self.k as f64)
    }

    /// Returns what all questions together found at each setting.
    pub(super) fn entries<'a>(&'a self, compared: &'a [f64]) -> impl Iterator<Item = CurveEntry> + 'a {
        self.settings.iter().zip(compared).enumerate().map(|(at, (&setting, &compared))| {
            let (mean, deviation) = self.mean(0..self.count(), at);
            let (source, k, queries) = (self.source, self.k, self.count() as u64);
            CurveEntry { source, k, setting, mean, deviation, queries, compared }
        })
    }

    /// Judges a query by each sign; the worst verdict counts.
    pub(super) fn judge(&self, asked: Asked) -> Verdict {
        let told = self.signs.iter().zip(asked.signs).filter(|(sign, _)| sign.tells());
        let worse = |a: Verdict, b: Verdict| if a.min(b) < Verdict::Enough { a.min(b) } else { a.max(b) };
        told.map(|(sign, value)| self.judge_by(sign, value, &asked)).reduce(worse).unwrap_or(Verdict::Unlike)
    }

    fn judge_by(&self, sign: &Sign, value: f64, asked: &Asked) -> Verdict {
        let Asked { setting, target, may_look_again, must_prove, .. } = *asked;
        let ((least, most), edge) = (sign.range(), sign.at(1.0 / EDGE as f64));
        let beyond = (CERTAIN / self.count() as f64).clamp(BEYOND, 1.0);
        if value.is_nan() || value < least - beyond * (edge - least) {
            let again = self.settings.iter().find(|&&other| other >= SECOND_LOOK * setting);
            let is_far = value.is_nan() || value < least - (most - least);
            return again
                .filter(|_| may_look_again && !is_far)
                .map_or(Verdict::Unlike, |&again| Verdict::LookAgain(again));
        }
        if sign.gap(value) > GAP * sign.reach() {
            // In the gap between a few questions and the others nothing is known either.
            return Verdict::Unlike;
        }
        let window = sign.window(value);
        let is_enough = |at: &usize| {
            let (mean, deviation) = self.mean(window.iter().map(|&question| question as usize), *at);
            // A full window is one of many, and one of many is bad by chance, which is allowed for. A smaller one
            // stands apart and is the only one of its kind, so it has to do better.
            let count = window.len() as f64;
            if must_prove {
                return mean - error(deviation, count) >= target;
            }
            let chance = if window.len() < WINDOW { -0.5 * deviation / count.sqrt() } else { error(deviation, count) };
            mean + chance >= target
        };
        let here = self.settings.partition_point(|&other| other <= setting).saturating_sub(1);
        match (here..self.settings.len()).find(is_enough) {
            Some(at) if at == here => Verdict::Enough,
            Some(at) => Verdict::At(self.settings[at]),
            None => Verdict::Never,
        }
    }

    /// Returns the questions for a file: the signs of each, f32; then, setting by setting, a byte for each.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut signs = vec![[0.0f32; 2]; self.count()];
        for (number, sign) in self.signs.iter().enumerate() {
            sign.order
                .iter()
                .zip(&sign.values)
                .for_each(|(&question, &value)| signs[question as usize][number] = value);
        }
        let signs = signs.iter().flatten().flat_map(|sign| sign.to_le_bytes());
        signs.chain(self.found.iter().copied()).collect()
    }

    /// Reads the questions that the entries of one source and `k` were measured with, and cuts them off the front of
    /// `bytes`; `None` when they contradict the entries.
    pub(super) fn from_bytes(entries: &[CurveEntry], bytes: &mut &[u8]) -> Option<Questions> {
        const SIGNS: usize = 8;
        let CurveEntry { source, k, queries, .. } = *entries.first()?;
        let mut signs: [Vec<f32>; 2];
        let count = usize::try_from(queries).ok()?;
        let (own_signs, rest) = bytes.split_at_checked(count.checked_mul(SIGNS)?)?;
        let (found, rest) = rest.split_at_checked(count.checked_mul(entries.len())?)?;
        (*bytes, signs) = (rest, [Vec::with_capacity(count), Vec::with_capacity(count)]);
        let found = found.to_vec();
        for of_question in own_signs.chunks_exact(SIGNS) {
            for (number, sign) in signs.iter_mut().enumerate() {
                sign.push(f32::from_le_bytes(*of_question.get(4 * number..)?.first_chunk()?));
            }
        }
        let is_sound = signs.iter().flatten().all(|sign| sign.is_finite())
            && entries.iter().all(|entry| entry.queries == queries)
            && found.iter().all(|&found| u64::from(found) <= k);
        let settings = entries.iter().map(|entry| entry.setting).collect();
        is_sound.then(|| Questions { source, k, settings, signs: signs.map(Sign::new).into(), found })
    }
}

impl Sign {
    fn new(of_questions: Vec<f32>) -> Sign {
        let mut order: Vec<u32> = (0..of_questions.len() as u32).collect();
        order.sort_by(|a, b| of_questions[*a as usize].total_cmp(&of_questions[*b as usize]));
        Sign { values: order.iter().map(|&question| of_questions[question as usize]).collect(), order }
    }

    /// Returns whether there is such a sign: whether it is not [`NO_CONTRAST`].
    fn tells(&self) -> bool {
        self.values.first().is_some_and(|&value| value < finite(NO_CONTRAST))
    }

    fn at(&self, share: f64) -> f64 {
        let place = (self.values.len().saturating_sub(1) as f64 * share).ceil() as usize;
        self.values.get(place).copied().map_or(0.0, f64::from)
    }

    fn range(&self) -> (f64, f64) {
        (self.at(0.0), self.at(1.0))
    }

    fn reach(&self) -> f64 {
        REACH * (self.at(0.95) - self.at(0.05))
    }

    /// Returns how far the nearest question is from a query that lies between questions; 0 for one that does not.
    fn gap(&self, value: f64) -> f64 {
        let at = self.values.partition_point(|&other| f64::from(other) < value);
        match (at.checked_sub(1).and_then(|below| self.values.get(below)), self.values.get(at)) {
            (Some(&below), Some(&above)) => (value - f64::from(below)).min(f64::from(above) - value),
            _ => 0.0,
        }
    }

    /// Returns the questions most like a query.
    fn window(&self, value: f64) -> &[u32] {
        let reach = self.reach();
        let off = |at: usize| (f64::from(self.values[at]) - value).abs();
        let mut start = self.values.partition_point(|&other| f64::from(other) < value);
        let mut end = start;
        while end - start < WINDOW.min(self.values.len()) {
            let below = start.checked_sub(1);
            let above = Some(end).filter(|&end| end < self.values.len());
            let next = match (below, above) {
                (Some(below), Some(above)) => {
                    if off(below) <= off(above) {
                        below
                    } else {
                        above
                    }
                }
                (below, above) => match below.or(above) {
                    Some(next) => next,
                    None => break,
                },
            };
            if off(next) > reach && end - start >= FEWEST {
                break;
            }
            (start, end) = (start.min(next), end.max(next + 1));
        }
        &self.order[start..end]
    }
}

/// Returns roughly how near a query's row is to another row; NaN where it has no direction.
pub(crate) fn nearness(metric: Metric, query: &[f32], norm: f64, row: &[f32]) -> f64 {
    // Sums in `f64`, so that any sizes do, in the order that is fastest.
    let sum = |term: fn(f64, f64) -> f64| {
        let ((query, query_rest), (row, row_rest)) = (query.as_chunks::<8>(), row.as_chunks::<8>());
        let mut sums = [0.0; 8];
        for (a, b) in query.iter().zip(row) {
            (0..8).for_each(|lane| sums[lane] += term(f64::from(a[lane]), f64::from(b[lane])));
        }
        let rest = query_rest.iter().zip(row_rest).map(|(a, b)| term(f64::from(*a), f64::from(*b))).sum::<f64>();
        sums.iter().sum::<f64>() + rest
    };
    match metric {
        Metric::L2 => -sum(|a, b| (a - b) * (a - b)).sqrt(),
        _ if norm == 0.0 => f64::NAN,
        Metric::Dot => sum(|a, b| a * b) / norm,
        Metric::Cosine => {
            let length = sum(|_, b| b * b).sqrt();
            if length > 0.0 { sum(|a, b| a * b) / (norm * length) } else { 0.0 }
        }
    }
}

/// Returns the nearest finite number; NaN becomes the least near.
fn finite(nearness: f64) -> f32 {
    let range = f64::from(f32::MIN)..=f64::from(f32::MAX);
    if nearness.is_nan() { f32::MIN } else { nearness.clamp(*range.start(), *range.end()) as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five hundred questions: those below 0 find little before setting 64.
    fn questions() -> Questions {
        let found = |near: bool| if near { vec![9, 10, 10] } else { vec![3, 5, 10] };
        let one = |at: i32| ([f64::from(at - 40) / 460.0, NO_CONTRAST], found(at >= 40));
        Questions::new(CurveSource::Records, 10, vec![16, 32, 64], (0..500).map(one).collect())
    }

    fn judge(nearness: f64, setting: u64, target: f64) -> Verdict {
        questions().judge(Asked {
            signs: [nearness, 0.0],
            setting,
            target,
            may_look_again: setting == 16,
            must_prove: false,
        })
    }

    #[test]
    fn a_query_is_judged_by_the_questions_about_as_near() {
        assert_eq!(judge(0.5, 16, 0.9), Verdict::Enough);
        assert_eq!(judge(0.5, 16, 0.95), Verdict::At(32));
        assert_eq!(judge(-0.08, 16, 0.9), Verdict::At(64), "overall it is enough");
        assert_eq!(judge(-0.08, 64, 0.9), Verdict::Enough);
        assert_eq!(judge(2.0, 16, 0.9), Verdict::Enough, "nearer than all");
    }

    #[test]
    fn a_query_less_near_than_all_is_looked_for_again_and_then_given_up() {
        assert_eq!(judge(-0.09, 16, 0.9), Verdict::At(64), "little beyond the edge");
        assert_eq!(judge(-0.5, 16, 0.9), Verdict::LookAgain(64));
        assert_eq!(judge(-0.5, 64, 0.9), Verdict::Unlike);
        assert_eq!(judge(-50.0, 16, 0.9), Verdict::Unlike, "too far for a walk that missed something");
        assert_eq!(judge(f64::NAN, 16, 0.9), Verdict::Unlike);
        assert_eq!(judge(f64::NEG_INFINITY, 16, 0.9), Verdict::Unlike);
    }

    #[test]
    fn a_target_that_those_like_it_never_reach_is_told() {
        let asked = Asked { signs: [0.0; 2], setting: 8, target: 0.5, may_look_again: true, must_prove: false };
        let few = Questions::new(CurveSource::Records, 1, vec![8], vec![([0.0; 2], vec![0]); 30]);
        assert_eq!(few.judge(asked), Verdict::Never);
        assert_eq!(Questions::new(CurveSource::Records, 1, vec![8], vec![]).judge(asked), Verdict::Unlike);
    }

    #[test]
    fn a_few_questions_that_are_apart_are_not_drowned_by_the_many() {
        let far = (0..12).map(|at| ([-9.0 + 0.01 * f64::from(at), NO_CONTRAST], vec![2, 10]));
        let near = (0..400).map(|at| ([-0.001 * f64::from(at), NO_CONTRAST], vec![10, 10]));
        let questions = Questions::new(CurveSource::Records, 10, vec![1, 8], far.chain(near).collect());
        let asked = |nearness| Asked {
            signs: [nearness, 0.0],
            setting: 1,
            target: 0.8,
            may_look_again: false,
            must_prove: false,
        };
        assert_eq!(questions.judge(asked(-8.9)), Verdict::At(8));
        assert_eq!(questions.judge(asked(-0.3)), Verdict::Enough);
        assert_eq!(questions.judge(asked(-4.0)), Verdict::Unlike, "neither the ones nor the others");
    }

    #[test]
    fn each_sign_is_heeded() {
        let one = |at: u32| ([f64::from(at % 20), f64::from(at)], vec![if at < 60 { 3 } else { 10 }, 10]);
        let questions = Questions::new(CurveSource::Records, 10, vec![1, 8], (0..400).map(one).collect());
        let judge = |contrast| {
            questions.judge(Asked {
                signs: [10.0, contrast],
                setting: 1,
                target: 0.7,
                may_look_again: false,
                must_prove: false,
            })
        };
        assert_eq!((judge(200.0), judge(20.0), judge(-100.0)), (Verdict::Enough, Verdict::At(8), Verdict::Unlike));
    }

    #[test]
    fn mean_and_deviation_are_those_of_a_sample() {
        let asked = [2, 1, 0].map(|found| ([0.1 * found as f64, NO_CONTRAST], vec![found])).to_vec();
        let three = Questions::new(CurveSource::Records, 2, vec![16], asked);
        let entry = three.entries(&[7.0]).next().unwrap();
        assert_eq!((entry.mean, entry.deviation, entry.queries, entry.compared), (0.5, 0.5, 3, 7.0));
    }
}
