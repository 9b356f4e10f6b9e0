//! Linear discriminant analysis with a shrunk covariance, in double precision.
//!
//! The directions in which the classes' means lie apart, measured by how far the rows of one class lie apart (Fisher,
//! *The use of multiple measurements in taxonomic problems*, 1936). With few rows the covariance within the classes is
//! mostly chance, so it is drawn towards a multiple of the identity, `(1 - shrinkage) W + shrinkage trace(W) / d I`
//! (Friedman, *Regularized discriminant analysis*, 1989; Ledoit and Wolf, *A well-conditioned estimator for
//! large-dimensional covariance matrices*, 2004). Every class counts alike, however many rows it has.

use super::Pipeline;
use super::pca::{SymmetricSum, largest_eigen};
use super::source::Training;
use super::step::invalid;
use crate::error::Result;
use crate::kernel::Strided;
use crate::limits;
use faer::linalg::triangular_solve::{solve_lower_triangular_in_place, solve_upper_triangular_in_place};
use faer::{Mat, Par, Side};
use std::collections::BTreeMap;

/// The rows of one class: how many, and their sum about a row common to all.
struct Class {
    count: usize,
    sum: Vec<f64>,
}

/// Returns the mean (`d`) and the matrix (`d x n`) that map a row to its discriminants, the most telling first: `keep`
/// of them, or as many as there are, which is at most one fewer than classes. The covariance of the rows within their
/// classes becomes the identity.
///
/// # Errors
/// `Invalid` when there are fewer than two classes, when no class has two rows that differ, or when there are too many
/// columns.
pub(super) fn fit(
    training: &Training<'_>,
    steps: &Pipeline,
    field: &str,
    keep: Option<usize>,
    shrinkage: f64,
) -> Result<(Vec<f32>, Vec<f32>)> {
    let dim = steps.dim();
    let labels = training.labels(field)?;
    let rows = training.rows(steps).zip(&labels).filter(|(rows, _)| *rows > 0);
    let mut classes: BTreeMap<&str, Class> = BTreeMap::new();
    for label in rows.filter_map(|(_, label)| label.as_deref()) {
        classes.entry(label).or_insert_with(|| Class { count: 0, sum: vec![0.0; dim] });
    }
    if classes.len() < 2 {
        let why = format!("needs records of at least two classes in the field `{field}`, and finds {}", classes.len());
        return Err(invalid("lda", why));
    }
    if dim.max(classes.len()) > limits::EIGEN_SIDE {
        let (classes, most) = (classes.len(), limits::EIGEN_SIDE);
        return Err(invalid(
            "lda",
            format!("{dim} numbers in a row and {classes} classes: at most {most} of each; put `pca` before it"),
        ));
    }

    let mut about = Vec::new();
    let mut scatter = SymmetricSum::new(dim);
    training.for_each_batch(
        steps,
        |record| labels[record].is_some(),
        |batch| {
            if about.is_empty() {
                about = batch[0].1.view().row(0).to_vec();
            }
            let mut shifted = Vec::new();
            for (record, matrix) in &batch {
                let Some(class) = labels[*record].as_deref().and_then(|label| classes.get_mut(label)) else { continue };
                class.count += matrix.rows();
                for row in matrix.view().iter() {
                    for ((sum, value), about) in class.sum.iter_mut().zip(row).zip(&about) {
                        let value = f64::from(*value) - f64::from(*about);
                        *sum += value;
                        shifted.push(value);
                    }
                }
            }
            scatter.add(Strided::new(&shifted, shifted.len() / dim, dim));
            Ok(())
        },
    )?;

    let count = classes.values().map(|class| class.count).sum::<usize>() as f64;
    let mean: Vec<f64> =
        (0..dim).map(|column| classes.values().map(|class| class.sum[column]).sum::<f64>() / count).collect();
    // The part of the scatter about the common row that is due to the classes' own means.
    let scaled: Vec<f64> =
        classes.values().flat_map(|class| class.sum.iter().map(|sum| sum / (class.count as f64).sqrt())).collect();
    let mut of_means = SymmetricSum::new(dim);
    of_means.add(Strided::new(&scaled, classes.len(), dim));
    let within = |row: usize, column: usize| (scatter.get(row, column) - of_means.get(row, column)) / count;
    let level = (0..dim).map(|at| within(at, at)).sum::<f64>() / dim as f64;
    let total = (0..dim).map(|at| scatter.get(at, at)).sum::<f64>() / count / dim as f64;
    if level <= total * f64::EPSILON * count {
        return Err(invalid(
            "lda",
            format!("no class of the field `{field}` has two rows that differ: label more records"),
        ));
    }
    let shrunk = Mat::from_fn(dim, dim, |row, column| {
        let ridge = if row == column { shrinkage * level } else { 0.0 };
        (1.0 - shrinkage) * within(row.min(column), row.max(column)) + ridge
    });
    let factor = shrunk
        .llt(Side::Lower)
        .map_err(|_| invalid("lda", "columns depend on each other within the classes: give more shrinkage"))?;

    // The class means, whitened by the shrunk covariance, a column a class; then their principal axes, mapped back.
    let mut means = Mat::from_fn(dim, classes.len(), |_, _| 0.0);
    for (column, class) in classes.values().enumerate() {
        for (row, (sum, mean)) in class.sum.iter().zip(&mean).enumerate() {
            means[(row, column)] = sum / class.count as f64 - mean;
        }
    }
    solve_lower_triangular_in_place(factor.L(), means.as_mut(), Par::Seq);
    let products = means.transpose() * &means;
    let keep = keep.unwrap_or(usize::MAX).min(classes.len() - 1);
    let (squares, vectors) = largest_eigen("lda", classes.len(), keep, |row, column| products[(row, column)])?;
    let vectors = Mat::from_fn(classes.len(), squares.len(), |row, column| {
        vectors[row * squares.len() + column] / squares[column].sqrt()
    });
    let mut axes = &means * &vectors;
    solve_upper_triangular_in_place(factor.L().transpose(), axes.as_mut(), Par::Seq);

    // The sign of an axis is arbitrary; this choice makes fits comparable.
    let signs: Vec<f64> = (0..squares.len())
        .map(|column| {
            let entries = (0..dim).map(|row| axes[(row, column)]);
            entries.fold(0.0f64, |best, entry| if entry.abs() > best.abs() { entry } else { best }).signum()
        })
        .collect();
    let entries = (0..dim).flat_map(|row| (0..squares.len()).map(move |column| (row, column)));
    let matrix: Vec<f32> = entries.map(|(row, column)| (axes[(row, column)] * signs[column]) as f32).collect();
    if !matrix.iter().all(|entry| entry.is_finite()) {
        return Err(invalid("lda", "the rows differ too little for `f32`: put `standardise` before it"));
    }
    Ok((about.iter().zip(&mean).map(|(about, mean)| (f64::from(*about) + mean) as f32).collect(), matrix))
}
