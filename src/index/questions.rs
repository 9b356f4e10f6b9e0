//! The queries that an index was measured by, and what they say of another one.
//!
//! How *near* a query is to what an index holds is one number, larger for nearer, that a search knows almost for
//! nothing: of a graph, how like the k-th best node of a walk is; of lists and candidates, how like the centroids are.
//! By inner product it is taken of the query's direction, by L2 it is minus a distance, so lengths of queries count
//! where the answer depends on them. Measured on queries from elsewhere than the records (other signs, planes, cones,
//! clusters; see `tests/recall`), it told nearly all of them from the records' own: pictures asked for by texts, say,
//! are at 0.4 where every record is above 0.7.
//!
//! Lists have a second sign, their *contrast*: how much nearer the nearest centroid is than one of many. Where all are
//! about as far, hits lie in many lists. Of candidates it is how many of a query's rows differ: one steady sound, or a
//! row or two, tells records apart by little, so pieces of records ask as well ([`CurveSource::Pieces`]).
//!
//! So a query is compared, sign by sign, with the questions that were about like it:
//! - less near than any of them (by more than a share of what the last twentieth of them spreads over): nothing is
//!   known of it, and the exact scan answers;
//! - else up to [`WINDOW`] questions next to it in this order, of those that are not far from it, tell what recall is
//!   there. Mostly what it is overall; where it is significantly less than what is asked for, as of the few records
//!   that lie outside the crowd, more effort is made until it is not.
//!
//! A query that is nearer than all of them is taken for one like the nearest; one in a wide gap between them is like
//! none.

use super::curve::{CurveEntry, CurveSource, error};
use crate::score::Metric;

/// Most questions that tell of a query, and fewest. With fewer the means are too rough, with more the few that are
/// apart drown in the others.
const WINDOW: usize = 50;
const FEWEST: usize = 8;
/// Beyond the fewest only those count that are no further than this share of what nine tenths of all questions spread
/// over.
const REACH: f64 = 0.125;
/// So many times that, and a query is like none of those on either side.
const GAP: f64 = 3.0;
/// One part in so many of the questions, the least near ones, tells how far below them others may be: by a share of
/// what it spreads over, all of it where a hundred questions or fewer left the edge uncertain.
const EDGE: usize = 20;
const BEYOND: f64 = 1.0 / 3.0;
const CERTAIN: f64 = 100.0;
/// So many times the setting is tried before a query that is less near than the questions is given up: a walk may have
/// missed what is near.
const SECOND_LOOK: u64 = 4;

/// What the questions of one source with one `k` found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Questions {
    pub(crate) source: CurveSource,
    pub(crate) k: u64,
    /// Rising.
    settings: Vec<u64>,
    signs: Vec<Sign>,
    /// At each setting, of each question, how many of `k`; at most 255.
    found: Vec<u8>,
}

/// By what questions are told apart.
#[derive(Clone, Debug, PartialEq)]
struct Sign {
    /// Rising.
    values: Vec<f32>,
    /// Which question each is of.
    order: Vec<u32>,
}

/// How a query, or a question, looks from an index: its nearness, and the contrast where there is one.
pub(crate) type Signs = [f64; 2];

/// Where there is no second sign.
pub(crate) const NO_CONTRAST: f64 = f64::INFINITY;

/// A query that is to be judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) signs: Signs,
    pub(super) setting: u64,
    pub(super) target: f64,
    /// Whether more effort may find it nearer, and was not made yet.
    pub(super) may_look_again: bool,
    /// Whether recall is to be shown by the questions like it alone, and not only by all together.
    pub(super) must_prove: bool,
}

/// What questions say of a query at a setting; of several, what those say that know more, and of these the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// None was like it.
    Unlike,
    /// None was like it, but at this setting one might be.
    LookAgain(u64),
    /// Those like it found enough.
    Enough,
    /// They did at this setting.
    At(u64),
    /// They did at none that was measured.
    Never,
}

impl Questions {
    /// Takes each question's signs and what it found at each of the settings.
    pub(crate) fn new(
        source: CurveSource,
        k: u64,
        settings: Vec<u64>,
        mut asked: Vec<(Signs, Vec<usize>)>,
    ) -> Questions {
        // Those that look the same by what they found, so that the order in which they asked does not matter.
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

    /// Whether there are some, asked at a setting: where rows have many twins, a search may find all before it is as
    /// wide as `k`.
    pub(super) fn tell(&self) -> bool {
        self.count() > 0 && !self.settings.is_empty()
    }

    /// Whether a query has more contrast than any of them.
    pub(super) fn is_beyond(&self, signs: Signs) -> bool {
        signs[1] > self.signs[1].range().1
    }

    pub(super) fn range(&self) -> (f64, f64) {
        self.signs[0].range()
    }

    /// The mean recall of some questions at a setting, by its place, and how it deviates.
    fn mean(&self, questions: impl Iterator<Item = usize>, setting: usize) -> (f64, f64) {
        let found = &self.found[setting * self.count()..][..self.count()];
        let (mut count, mut sum, mut squares) = (0u64, 0u64, 0u64);
        for question in questions {
            let found = u64::from(found[question]);
            (count, sum, squares) = (count + 1, sum + found, squares + found * found);
        }
        let (count, sum, squares) = (count.max(1) as f64, sum as f64, squares as f64);
        // of a sample: divided by one less than it holds
        let variance = (squares - sum * sum / count).max(0.0) / (count - 1.0).max(1.0);
        (((sum / count) / self.k as f64).min(1.0), variance.sqrt() / self.k as f64)
    }

    /// What all of them found at each setting.
    pub(super) fn entries<'a>(&'a self, compared: &'a [f64]) -> impl Iterator<Item = CurveEntry> + 'a {
        self.settings.iter().zip(compared).enumerate().map(|(at, (&setting, &compared))| {
            let (mean, deviation) = self.mean(0..self.count(), at);
            let (source, k, queries) = (self.source, self.k, self.count() as u64);
            CurveEntry { source, k, setting, mean, deviation, queries, compared }
        })
    }

    /// What they say of a query: the worst of what each sign says.
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
            // Between a few that are apart and the others nothing is known either.
            return Verdict::Unlike;
        }
        let window = sign.window(value);
        let is_enough = |at: &usize| {
            let (mean, deviation) = self.mean(window.iter().map(|&question| question as usize), *at);
            // A full window is like many others, one of which is bad by chance. A smaller one stands apart, and is the
            // only one of its kind.
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

    /// For a file: of each question its signs, f32; then, setting by setting, a byte for each.
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

    /// Takes those that the entries of one source and `k` were measured by off the front of a file's bytes.
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

    /// Whether it is there.
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

    /// How far the next question is from a query that lies between questions.
    fn gap(&self, value: f64) -> f64 {
        let at = self.values.partition_point(|&other| f64::from(other) < value);
        match (at.checked_sub(1).and_then(|below| self.values.get(below)), self.values.get(at)) {
            (Some(&below), Some(&above)) => (value - f64::from(below)).min(f64::from(above) - value),
            _ => 0.0,
        }
    }

    /// The questions about like a query.
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

/// How near a query's row is to another, roughly; not a number where it has no direction.
pub(crate) fn nearness(metric: Metric, query: &[f32], norm: f64, row: &[f32]) -> f64 {
    // Sums in `f64`, whatever the sizes, in the order in which the machine is quickest.
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

/// The nearest finite number; not a number is far away.
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
