//! Multinomial logistic regression with an L2 penalty, its strength chosen by cross-validation.

use super::lbfgs::minimise;
use crate::error::{Error, Result};
use crate::kernel::{Strided, product_f64};
use crate::matrix::MatrixView;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Strengths of the penalty that are tried, strongest first: each fit starts from the one before it. The strength
/// multiplies half the squared weights; the mean loss over the samples is added to that.
const STRENGTHS: [f64; 7] = [1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001];

/// The strength where the groups do not allow cross-validation.
const DEFAULT_STRENGTH: f64 = 0.1;

/// Rounds of cross-validation, each checking on about this part of the samples.
const FOLDS: usize = 4;

/// Largest gradient at which a fit counts as done.
const TOLERANCE: f64 = 1e-4;

/// The same in cross-validation, where it is enough to compare strengths: this saves two thirds of the time.
const COARSE: f64 = 1e-3;

/// The most rounds of minimisation in a fit.
const ROUNDS: usize = 300;

/// Rows and columns of blocks that are computed in parallel. Fixed, so that results do not depend on the threads.
const BLOCK: usize = 128;

/// A linear classifier that gives probabilities: multinomial logistic regression with an L2 penalty whose strength is
/// chosen by cross-validation. It shows how much of the classes can be read from features.
///
/// # Examples
///
/// ```
/// use otolith::Matrix;
/// use otolith::classify::{LinearProbe, ranked};
///
/// // Two features of six samples in two classes; samples 0 and 1 are cut from one recording, and so on.
/// let features = Matrix::from_rows(6, 2, vec![0.1, 0.9, 0.2, 0.8, 0.9, 0.1, 0.8, 0.2, 0.1, 0.8, 0.9, 0.3])?;
/// let probe = LinearProbe::fit(features.view(), &[0, 0, 1, 1, 0, 1], 2, &[0, 0, 1, 1, 2, 3])?;
///
/// let probabilities = probe.predict(&[0.7, 0.2])?;
/// assert_eq!(ranked(&probabilities), [1, 0]);
/// # Ok::<(), otolith::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LinearProbe {
    scaling: Scaling,
    classes: usize,
    /// `dim x classes`, row-major, then the `classes` offsets.
    weights: Vec<f64>,
    strength: f64,
}

impl LinearProbe {
    /// Fits a probe. `features` has a row for each sample; `labels` gives its class, a number below `classes`;
    /// `groups` its group. Features are standardised inside. Samples of one group are never on both sides of the
    /// cross-validation (four folds) that chooses the strength of the penalty.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when there is not one label and one group for each row, [`Error::Invalid`] when there are
    /// no rows or a label is not below `classes`.
    pub fn fit(features: MatrixView<'_>, labels: &[usize], classes: usize, groups: &[u32]) -> Result<LinearProbe> {
        for (what, found) in [("labels", labels.len()), ("groups", groups.len())] {
            if found != features.rows() {
                return Err(Error::mismatch(what, format!("{}, one per sample", features.rows()), found));
            }
        }
        if features.rows() == 0 {
            return Err(Error::invalid("linear probe", "there are no samples to fit"));
        }
        if let Some(label) = labels.iter().find(|label| **label >= classes) {
            return Err(Error::invalid("labels", format!("{label} is not below the {classes} classes")));
        }
        let strength = choose_strength(features, labels, classes, groups);
        let samples: Vec<usize> = (0..features.rows()).collect();
        let scaling = Scaling::of(features, &samples);
        let problem = Problem::new(features, &samples, &scaling, labels, classes);
        let weights = problem.solve(problem.zeros(), strength, TOLERANCE);
        Ok(LinearProbe { scaling, classes, weights, strength })
    }

    /// Returns the probability of each class for one row of features.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when the row has another dimension than the features it was fitted on.
    pub fn predict(&self, row: &[f32]) -> Result<Vec<f32>> {
        let dim = self.scaling.mean.len();
        if row.len() != dim {
            return Err(Error::mismatch("dimension", dim, row.len()));
        }
        let scaled = self.scaling.apply(row);
        let (weights, offsets) = self.weights.split_at(dim * self.classes);
        let mut scores = offsets.to_vec();
        for (value, weights) in scaled.zip(weights.chunks_exact(self.classes)) {
            scores.iter_mut().zip(weights).for_each(|(score, weight)| *score += value * weight);
        }
        softmax(&mut scores);
        Ok(scores.iter().map(|probability| *probability as f32).collect())
    }

    /// Returns the strength of the penalty that cross-validation chose.
    pub fn strength(&self) -> f64 {
        self.strength
    }
}

/// Chooses the strength whose cross-entropy on left-out samples is smallest. Weaker ones are tried only while that
/// helps: they take the longest.
fn choose_strength(features: MatrixView<'_>, labels: &[usize], classes: usize, groups: &[u32]) -> f64 {
    let folds = deal_groups(labels, groups);
    let used = folds.iter().max().map_or(0, |most| most + 1);
    if used < 2 {
        return DEFAULT_STRENGTH;
    }
    let mut rounds: Vec<Round> = (0..used)
        .into_par_iter()
        .map(|fold| {
            let (checked, fitted): (Vec<usize>, Vec<usize>) =
                (0..labels.len()).partition(|sample| folds[*sample] == fold);
            let scaling = Scaling::of(features, &fitted);
            let problem = |samples: &[usize]| Problem::new(features, samples, &scaling, labels, classes);
            let fitted = problem(&fitted);
            Round { weights: fitted.zeros(), fitted, checked: problem(&checked) }
        })
        .collect();
    let (mut best, mut least) = (DEFAULT_STRENGTH, f64::INFINITY);
    for strength in STRENGTHS {
        let losses: Vec<f64> = rounds.par_iter_mut().map(|round| round.loss(strength)).collect();
        let loss = losses.iter().sum::<f64>();
        if loss > least {
            break;
        }
        (best, least) = (strength, loss);
    }
    best
}

/// A round of cross-validation: most samples to fit, the others to check.
struct Round {
    fitted: Problem,
    checked: Problem,
    weights: Vec<f64>,
}

impl Round {
    /// Fits, starting from the weights of the fit before, and returns the sum of cross-entropies over left-out samples.
    fn loss(&mut self, strength: f64) -> f64 {
        self.weights = self.fitted.solve(std::mem::take(&mut self.weights), strength, COARSE);
        self.checked.residuals(&self.weights).1
    }
}

/// Returns the fold of each sample. Whole groups are dealt out, large ones first, each to the fold that has the fewest
/// samples of the group's classes and, of equal ones, the fewest samples.
fn deal_groups(labels: &[usize], groups: &[u32]) -> Vec<usize> {
    let mut members: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (sample, group) in groups.iter().enumerate() {
        members.entry(*group).or_default().push(sample);
    }
    let mut members: Vec<Vec<usize>> = members.into_values().collect();
    members.sort_by_key(|members| std::cmp::Reverse(members.len()));
    let mut of_class = vec![BTreeMap::<usize, usize>::new(); FOLDS];
    let mut size = [0; FOLDS];
    let mut folds = vec![0; labels.len()];
    for members in members {
        let alike = |fold: usize| {
            members.iter().map(|sample| of_class[fold].get(&labels[*sample]).copied().unwrap_or(0)).sum::<usize>()
        };
        let fold = (0..FOLDS).min_by_key(|fold| (alike(*fold), size[*fold])).unwrap_or(0);
        for sample in &members {
            folds[*sample] = fold;
            *of_class[fold].entry(labels[*sample]).or_default() += 1;
        }
        size[fold] += members.len();
    }
    folds
}

/// Brings each feature to mean 0 and deviation 1; one that does not vary becomes 0.
#[derive(Clone, Debug, PartialEq)]
struct Scaling {
    mean: Vec<f64>,
    factor: Vec<f64>,
}

impl Scaling {
    fn of(features: MatrixView<'_>, samples: &[usize]) -> Scaling {
        let count = samples.len() as f64;
        let column = |at: usize| samples.iter().map(move |sample| f64::from(features.row(*sample)[at]));
        let mean: Vec<f64> = (0..features.dim()).map(|at| column(at).sum::<f64>() / count).collect();
        let factor = mean.iter().enumerate().map(|(at, mean)| {
            let std = (column(at).map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
            if std > 1e-6 * mean.abs() { 1.0 / std } else { 0.0 }
        });
        Scaling { factor: factor.collect(), mean }
    }

    fn apply(&self, row: &[f32]) -> impl Iterator<Item = f64> {
        let parameters = self.mean.iter().zip(&self.factor);
        row.iter().zip(parameters).map(|(value, (mean, factor))| (f64::from(*value) - mean) * factor)
    }
}

/// Samples to fit or to check: scaled features and labels.
struct Problem {
    features: Vec<f64>,
    labels: Vec<usize>,
    dim: usize,
    classes: usize,
}

impl Problem {
    fn new(
        features: MatrixView<'_>,
        samples: &[usize],
        scaling: &Scaling,
        labels: &[usize],
        classes: usize,
    ) -> Problem {
        Problem {
            features: samples.iter().flat_map(|sample| scaling.apply(features.row(*sample))).collect(),
            labels: samples.iter().map(|sample| labels[*sample]).collect(),
            dim: features.dim(),
            classes,
        }
    }

    fn zeros(&self) -> Vec<f64> {
        vec![0.0; (self.dim + 1) * self.classes]
    }

    fn solve(&self, start: Vec<f64>, strength: f64, tolerance: f64) -> Vec<f64> {
        minimise(start, tolerance, ROUNDS, |weights, gradient| self.objective(weights, strength, gradient))
    }

    /// Returns the mean cross-entropy plus half the squared weights (not the offsets) times `strength`, and its
    /// gradient.
    fn objective(&self, weights: &[f64], strength: f64, gradient: &mut [f64]) -> f64 {
        let (residuals, loss) = self.residuals(weights);
        let count = self.labels.len() as f64;
        let residuals = Strided::new(&residuals, self.labels.len(), self.classes);
        let (slopes, offsets) = gradient.split_at_mut(self.dim * self.classes);
        slopes.par_chunks_mut(BLOCK * self.classes).enumerate().for_each(|(index, out)| {
            let columns = Strided {
                values: &self.features[index * BLOCK..],
                rows: self.labels.len(),
                cols: out.len() / self.classes,
                row_stride: self.dim,
                col_stride: 1,
            };
            product_f64(out, columns.transposed(), residuals, false);
        });
        offsets.fill(0.0);
        for row in residuals.values.chunks_exact(self.classes) {
            offsets.iter_mut().zip(row).for_each(|(offset, residual)| *offset += residual);
        }
        gradient.iter_mut().for_each(|entry| *entry /= count);
        let mut penalty = 0.0;
        for (entry, weight) in gradient.iter_mut().zip(&weights[..self.dim * self.classes]) {
            *entry += strength * weight;
            penalty += weight * weight;
        }
        loss / count + 0.5 * strength * penalty
    }

    /// Returns the probabilities, less 1 at the label (`samples x classes`), and the sum of cross-entropies.
    fn residuals(&self, weights: &[f64]) -> (Vec<f64>, f64) {
        let (slopes, offsets) = weights.split_at(self.dim * self.classes);
        let slopes = Strided::new(slopes, self.dim, self.classes);
        let mut residuals = vec![0.0; self.labels.len() * self.classes];
        let losses: Vec<f64> = residuals
            .par_chunks_mut(BLOCK * self.classes)
            .zip(self.features.par_chunks(BLOCK * self.dim))
            .zip(self.labels.par_chunks(BLOCK))
            .map(|((scores, features), labels)| {
                scores.chunks_exact_mut(self.classes).for_each(|row| row.copy_from_slice(offsets));
                product_f64(scores, Strided::new(features, labels.len(), self.dim), slopes, true);
                let rows = scores.chunks_exact_mut(self.classes).zip(labels);
                rows.map(|(row, label)| {
                    let at_label = row[*label];
                    let loss = softmax(row) - at_label;
                    row[*label] -= 1.0;
                    loss
                })
                .sum()
            })
            .collect();
        (residuals, losses.iter().sum())
    }
}

/// Turns scores into probabilities and returns the logarithm of the sum of their exponentials.
fn softmax(scores: &mut [f64]) -> f64 {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    scores.iter_mut().for_each(|score| *score = (*score - largest).exp());
    let sum: f64 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
    largest + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Matrix;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{RngCore, SeedableRng};

    fn noise(count: usize) -> Vec<f32> {
        let mut draws = ChaCha8Rng::seed_from_u64(1);
        (0..count).map(|_| draws.next_u32() as f32 / u32::MAX as f32 - 0.5).collect()
    }

    /// Three classes around three points of a plane, a constant feature and a large one beside them.
    fn three_clouds(samples: usize, spread: f32) -> (Matrix, Vec<usize>) {
        let centres = [[0.0, 1.0], [1.0, -1.0], [-1.0, -1.0]];
        let labels: Vec<usize> = (0..samples).map(|sample| sample % 3).collect();
        let draws = noise(samples * 3);
        let rows = labels.iter().zip(draws.chunks_exact(3)).flat_map(|(label, draws)| {
            let [x, y] = centres[*label];
            [x + spread * draws[0], y + spread * draws[1], 7.0, 1e6 * draws[2]]
        });
        (Matrix::from_rows(samples, 4, rows.collect()).unwrap(), labels)
    }

    fn correct(probe: &LinearProbe, features: &Matrix, labels: &[usize]) -> usize {
        let best = |row: &[f32]| {
            let probabilities = probe.predict(row).unwrap();
            assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            (0..probabilities.len()).max_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b])).unwrap()
        };
        features.view().iter().zip(labels).filter(|(row, label)| best(row) == **label).count()
    }

    #[test]
    fn the_gradient_is_the_slope_of_the_objective() {
        let (samples, dim, classes) = (300, 140, 3);
        let features = Matrix::from_rows(samples, dim, noise(samples * dim)).unwrap();
        let labels: Vec<usize> = (0..samples).map(|sample| sample * sample % classes).collect();
        let all: Vec<usize> = (0..samples).collect();
        let problem = Problem::new(features.view(), &all, &Scaling::of(features.view(), &all), &labels, classes);
        let at: Vec<f64> = noise((dim + 1) * classes).iter().map(|value| f64::from(*value)).collect();
        let mut gradient = problem.zeros();
        let mut unused = problem.zeros();
        problem.objective(&at, 0.2, &mut gradient);
        for entry in 0..at.len() {
            let mut value = |step: f64| {
                let mut moved = at.clone();
                moved[entry] += step;
                problem.objective(&moved, 0.2, &mut unused)
            };
            let slope = (value(1e-4) - value(-1e-4)) / 2e-4;
            assert!((slope - gradient[entry]).abs() < 1e-6, "entry {entry}: {slope}, not {}", gradient[entry]);
        }
    }

    #[test]
    fn separable_classes_are_told_apart_without_error() {
        let (features, labels) = three_clouds(90, 0.8);
        let groups: Vec<u32> = (0..90).map(|sample| sample / 6).collect();
        let probe = LinearProbe::fit(features.view(), &labels, 3, &groups).unwrap();
        assert_eq!(correct(&probe, &features, &labels), 90);
    }

    #[test]
    fn one_group_or_one_class_is_enough() {
        let (features, labels) = three_clouds(30, 0.8);
        let probe = LinearProbe::fit(features.view(), &labels, 3, &[5; 30]).unwrap();
        assert_eq!((correct(&probe, &features, &labels), probe.strength()), (30, DEFAULT_STRENGTH));
        let alone = LinearProbe::fit(features.view(), &[0; 30], 1, &[5; 30]).unwrap();
        assert_eq!(alone.predict(features.view().row(3)).unwrap(), [1.0]);
    }

    #[test]
    fn features_that_tell_nothing_get_a_stronger_penalty() {
        let groups: Vec<u32> = (0..120).collect();
        let (features, labels) = three_clouds(120, 0.8);
        let telling = LinearProbe::fit(features.view(), &labels, 3, &groups).unwrap();
        let features = Matrix::from_rows(120, 40, noise(120 * 40)).unwrap();
        let blind = LinearProbe::fit(features.view(), &labels, 3, &groups).unwrap();
        assert_eq!((telling.strength(), blind.strength()), (STRENGTHS[STRENGTHS.len() - 1], STRENGTHS[0]));
    }

    #[test]
    fn groups_stay_together_and_classes_are_spread_over_the_folds() {
        // 8 classes of 10 samples, cut from recordings of 1, 2, 3 and 4 samples.
        let labels: Vec<usize> = (0..80).map(|sample| sample / 10).collect();
        let groups: Vec<u32> =
            (0..80).map(|sample| sample / 10 * 4 + [0, 1, 1, 2, 2, 2, 3, 3, 3, 3][sample as usize % 10]).collect();
        let folds = deal_groups(&labels, &groups);
        for (one, other) in (0..80).zip(1..80) {
            assert!(groups[one] != groups[other] || folds[one] == folds[other], "group {} is split", groups[one]);
        }
        for class in 0..8 {
            let mut sizes = [0; FOLDS];
            (class * 10..class * 10 + 10).for_each(|sample| sizes[folds[sample]] += 1);
            sizes.sort_unstable();
            assert_eq!(sizes, [1, 2, 3, 4], "each recording of class {class} in a fold of its own");
        }
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let (features, labels) = three_clouds(300, 3.0);
        let groups: Vec<u32> = (0..300).map(|sample| sample / 3).collect();
        let fit = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| LinearProbe::fit(features.view(), &labels, 3, &groups).unwrap())
        };
        assert_eq!(fit(1), fit(8));
    }

    #[test]
    fn arguments_that_do_not_fit_are_refused() {
        let (features, labels) = three_clouds(6, 1.0);
        let groups = [0, 0, 1, 1, 2, 2];
        let fit = |labels: &[usize], groups: &[u32]| LinearProbe::fit(features.view(), labels, 3, groups);
        assert!(matches!(fit(&labels[1..], &groups), Err(Error::Mismatch { .. })));
        assert!(matches!(fit(&labels, &groups[1..]), Err(Error::Mismatch { .. })));
        assert!(matches!(fit(&[3; 6], &groups), Err(Error::Invalid { .. })));
        let empty = Matrix::from_rows(0, 4, vec![]).unwrap();
        assert!(matches!(LinearProbe::fit(empty.view(), &[], 3, &[]), Err(Error::Invalid { .. })));
        assert!(matches!(fit(&labels, &groups).unwrap().predict(&[0.0; 3]), Err(Error::Mismatch { .. })));
    }
}
