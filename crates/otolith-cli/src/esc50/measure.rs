//! How good the answers are: accuracies with intervals, mean average precision, confusions, paired comparison.

/// What one arm answered to one query, in classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The class of the query.
    pub truth: usize,
    /// The class of each hit, best first; a classifier gives each class once.
    pub ranked: Vec<usize>,
    /// How many records of the query's class there were to find; `None` for a classifier, which ranks no records.
    pub relevant: Option<usize>,
}

/// Fractions over all queries of an arm, with Wilson's 95 % intervals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measures {
    /// Queries whose first hit is of their class.
    pub top1: f64,
    /// Lower end of its interval.
    pub top1_low: f64,
    /// Upper end of its interval.
    pub top1_high: f64,
    /// Queries with a hit of their class among the first three.
    pub top3: f64,
    /// Lower end of its interval.
    pub top3_low: f64,
    /// Upper end of its interval.
    pub top3_high: f64,
    /// Mean average precision over the whole ranking; `None` where there is no ranking of records.
    pub map: Option<f64>,
}

/// How often clips of one class were taken for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    counts: Vec<u64>,
}

/// Everything that is measured on the outcomes of one arm.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The fractions.
    pub measures: Measures,
    /// True class by first answer.
    pub confusion: Confusion,
    /// Whether the first answer was right, a query each in the order given, for [`compare_paired`].
    pub right: Vec<bool>,
}

/// Measures outcomes over `classes` classes.
///
/// # Panics
/// When an outcome names a class that is not below `classes`.
pub fn evaluate(outcomes: &[Outcome], classes: usize) -> Evaluation {
    let mut confusion = Confusion { classes, counts: vec![0; classes * classes] };
    let (mut right, mut within3, mut precision) = (Vec::with_capacity(outcomes.len()), 0, Some(0.0));
    for outcome in outcomes {
        if let Some(&first) = outcome.ranked.first() {
            assert!(outcome.truth < classes && first < classes, "a class outside of {classes}");
            confusion.counts[outcome.truth * classes + first] += 1;
        }
        right.push(outcome.ranked.first() == Some(&outcome.truth));
        within3 += usize::from(outcome.ranked.iter().take(3).any(|&class| class == outcome.truth));
        precision = precision.zip(average_precision(outcome)).map(|(sum, one)| sum + one);
    }
    let queries = outcomes.len();
    let (top1, (top1_low, top1_high)) = fraction(right.iter().filter(|&&right| right).count(), queries);
    let (top3, (top3_low, top3_high)) = fraction(within3, queries);
    let map = precision.filter(|_| queries > 0).map(|sum| sum / queries as f64);
    let measures = Measures { top1, top1_low, top1_high, top3, top3_low, top3_high, map };
    Evaluation { measures, confusion, right }
}

/// Precision at the rank of each relevant hit, summed and divided by how many there were to find; a class with nothing
/// to find counts as 0.
fn average_precision(outcome: &Outcome) -> Option<f64> {
    let relevant = outcome.relevant?;
    let (mut found, mut sum) = (0usize, 0.0);
    for (place, _) in outcome.ranked.iter().enumerate().filter(|&(_, &class)| class == outcome.truth) {
        found += 1;
        sum += found as f64 / (place + 1) as f64;
    }
    Some(if relevant == 0 { 0.0 } else { sum / relevant as f64 })
}

fn fraction(successes: usize, trials: usize) -> (f64, (f64, f64)) {
    (if trials == 0 { 0.0 } else { successes as f64 / trials as f64 }, wilson(successes, trials))
}

/// Wilson's 95 % score interval for `successes` of `trials` (E. B. Wilson, JASA 22, 1927): unlike the textbook's
/// symmetric one it stays within 0 to 1 and holds its level for few trials and for fractions near the ends.
pub fn wilson(successes: usize, trials: usize) -> (f64, f64) {
    if trials == 0 {
        return (0.0, 1.0);
    }
    // the 97.5 % point of the normal distribution
    const Z: f64 = 1.959_963_984_540_054;
    let (n, p) = (trials as f64, successes as f64 / trials as f64);
    let middle = p + Z * Z / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    // the ends are exact where rounding would push them past
    let low = if successes == 0 { 0.0 } else { (middle - spread) / scale };
    let high = if successes == trials { 1.0 } else { (middle + spread) / scale };
    (low, high)
}

impl Confusion {
    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// How many queries of class `truth` got `answer` as their first answer.
    pub fn count(&self, truth: usize, answer: usize) -> u64 {
        self.counts[truth * self.classes + answer]
    }

    /// How many queries of class `truth` were answered.
    pub fn queries(&self, truth: usize) -> u64 {
        self.counts[truth * self.classes..][..self.classes].iter().sum()
    }

    /// The fraction of the queries of class `truth` whose first answer was right; `None` when there were none.
    pub fn accuracy(&self, truth: usize) -> Option<f64> {
        let queries = self.queries(truth);
        (queries > 0).then(|| self.count(truth, truth) as f64 / queries as f64)
    }

    /// Pairs of different classes that were taken for one another, the most frequent first, as (truth, answer, count).
    pub fn mistakes(&self) -> Vec<(usize, usize, u64)> {
        let pairs = (0..self.classes).flat_map(|truth| (0..self.classes).map(move |answer| (truth, answer)));
        let mut mistakes: Vec<_> = pairs
            .filter(|(truth, answer)| truth != answer)
            .map(|(truth, answer)| (truth, answer, self.count(truth, answer)))
            .filter(|&(.., count)| count > 0)
            .collect();
        mistakes.sort_by_key(|&(truth, answer, count)| (std::cmp::Reverse(count), truth, answer));
        mistakes
    }
}

/// Two arms on the same queries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paired {
    /// Queries that only the first arm got right.
    pub only_first: usize,
    /// Queries that only the second arm got right.
    pub only_second: usize,
    /// How probable so uneven a difference is if neither arm is better.
    pub p_value: f64,
}

/// McNemar's test in its exact form (Q. McNemar, Psychometrika 12, 1947): of the queries on which two arms differ, each
/// arm should win half. It sees differences that are far smaller than the two arms' intervals.
///
/// # Panics
/// When the arms did not answer the same number of queries.
pub fn compare_paired(first: &[bool], second: &[bool]) -> Paired {
    assert_eq!(first.len(), second.len(), "arms compared on different queries");
    let only = |ours: &[bool], theirs: &[bool]| {
        std::iter::zip(ours, theirs).filter(|(ours, theirs)| **ours && !**theirs).count()
    };
    let (only_first, only_second) = (only(first, second), only(second, first));
    let (fewer, trials) = (only_first.min(only_second), only_first + only_second);
    // terms of the binomial distribution in logarithms: 2^-trials alone would vanish beyond a thousand
    let mut log_term = -(trials as f64) * std::f64::consts::LN_2;
    let mut tail = 0.0;
    for wins in 0..=fewer {
        tail += log_term.exp();
        log_term += ((trials - wins) as f64 / (wins + 1) as f64).ln();
    }
    Paired { only_first, only_second, p_value: (2.0 * tail).min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(value: f64, expected: f64) {
        assert!((value - expected).abs() < 5e-7, "{value} is not {expected}");
    }

    fn outcome(truth: usize, ranked: &[usize], relevant: Option<usize>) -> Outcome {
        Outcome { truth, ranked: ranked.to_vec(), relevant }
    }

    #[test]
    fn measures_equal_values_computed_by_hand() {
        let outcomes = [
            outcome(0, &[0, 1, 0, 2], Some(2)), // (1/1 + 2/3) / 2 = 5/6
            outcome(1, &[0, 0, 1, 2], Some(1)), // 1/3
            outcome(2, &[0, 0, 1, 2], Some(2)), // (1/4) / 2 = 1/8
            outcome(2, &[], Some(0)),
        ];
        let Evaluation { measures, confusion, right } = evaluate(&outcomes, 3);
        assert_eq!((measures.top1, measures.top3), (0.25, 0.5));
        close(measures.map.unwrap(), (5.0 / 6.0 + 1.0 / 3.0 + 1.0 / 8.0) / 4.0);
        assert_eq!(right, [true, false, false, false]);
        assert_eq!(
            (confusion.count(0, 0), confusion.count(1, 0), confusion.count(2, 0), confusion.queries(2)),
            (1, 1, 1, 1)
        );
        assert_eq!((confusion.accuracy(0), confusion.accuracy(1)), (Some(1.0), Some(0.0)));
        assert_eq!(confusion.mistakes(), [(1, 0, 1), (2, 0, 1)]);
    }

    #[test]
    fn classifiers_have_no_mean_average_precision() {
        assert_eq!(evaluate(&[outcome(0, &[0, 1], None)], 2).measures.map, None);
        assert_eq!(evaluate(&[], 2).measures.map, None);
    }

    #[test]
    fn wilson_intervals_equal_published_values() {
        // 0.50 of 50: 0.37 to 0.63; 15 of 50 and 81 of 263: R. G. Newcombe, Statistics in Medicine 17, 1998, table I
        for (successes, trials, low, high) in
            [(25, 50, 0.366_446, 0.633_554), (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)]
        {
            let (found_low, found_high) = wilson(successes, trials);
            assert!((found_low - low).abs() < 5e-5 && (found_high - high).abs() < 5e-5, "{found_low} {found_high}");
        }
        assert_eq!(wilson(7, 7).1, 1.0);
        assert_eq!(wilson(0, 0), (0.0, 1.0));
    }

    #[test]
    fn mcnemars_test_is_the_exact_binomial() {
        // 1 against 7 of 8: 2 (1 + 8) / 256
        let (mut first, mut second) = (vec![true; 20], vec![true; 20]);
        first[..7].fill(false);
        second[7] = false;
        let paired = compare_paired(&first, &second);
        assert_eq!((paired.only_first, paired.only_second), (1, 7));
        close(paired.p_value, 18.0 / 256.0);
        assert_eq!(compare_paired(&first, &first).p_value, 1.0);
        // far beyond what a power of one half in f64 reaches
        let (all, none) = (vec![true; 3000], vec![false; 3000]);
        assert!(compare_paired(&all, &none).p_value < 1e-300);
    }
}
