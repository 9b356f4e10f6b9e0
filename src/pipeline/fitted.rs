//! Fitted steps: their shapes, and their stored form.

use super::pool::Statistic;
use super::section::{Array, Section};
use super::step::{Step, invalid};
use crate::error::Result;
use crate::limits;
use serde_json::Value;

/// A step with what it has learnt. `settings` are those of the step that was fitted.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fitted {
    Stack {
        offsets: Vec<i32>,
    },
    Every {
        n: usize,
    },
    /// `(row - mean) * factor`.
    Affine {
        settings: Value,
        mean: Vec<f32>,
        factor: Vec<f32>,
    },
    /// `(row - mean) matrix`, the matrix row-major `input x output`. Every linear map has this form however it was
    /// fitted.
    Linear {
        settings: Value,
        mean: Vec<f32>,
        matrix: Vec<f32>,
    },
    Normalise,
    Concatenate {
        rows: usize,
    },
    Pool {
        statistics: Vec<Statistic>,
    },
    /// `max(centroids row, 0)`, the centroids row-major `output x input`.
    Codes {
        settings: Value,
        centroids: Vec<f32>,
    },
}

/// Version of the settings and arrays of every kind so far.
const VERSION: u32 = 1;

impl Fitted {
    /// Returns the step as it is where there is nothing to learn, else `None`.
    pub(super) fn without_training(step: &Step) -> Option<Fitted> {
        match step {
            Step::Stack { offsets } => Some(Fitted::Stack { offsets: offsets.clone() }),
            Step::Every { n } => Some(Fitted::Every { n: *n }),
            Step::Normalise => Some(Fitted::Normalise),
            Step::Concatenate { rows } => Some(Fitted::Concatenate { rows: *rows }),
            Step::Pool(statistics) => Some(Fitted::Pool { statistics: statistics.clone() }),
            Step::Centre
            | Step::Standardise
            | Step::Pca { .. }
            | Step::Lda { .. }
            | Step::Contrast { .. }
            | Step::Codes { .. } => None,
        }
    }

    fn kind(&self) -> u32 {
        match self {
            Fitted::Stack { .. } => 1,
            Fitted::Every { .. } => 2,
            Fitted::Affine { .. } => 3,
            Fitted::Linear { .. } => 4,
            Fitted::Normalise => 5,
            Fitted::Concatenate { .. } => 6,
            Fitted::Pool { .. } => 7,
            Fitted::Codes { .. } => 8,
        }
    }

    /// Returns how many rows come out when `rows` go in.
    pub(super) fn output_rows(&self, rows: usize) -> usize {
        match self {
            Fitted::Every { n } => rows.div_ceil(*n),
            Fitted::Concatenate { .. } | Fitted::Pool { .. } => rows.min(1),
            _ => rows,
        }
    }

    /// Returns the dimension of the rows that come out when rows of `dim` numbers go in.
    ///
    /// # Errors
    /// `Invalid` when the step was fitted for another dimension, or the rows would be too long.
    pub(super) fn output_dim(&self, dim: usize) -> Result<usize> {
        let (name, times) = match self {
            Fitted::Stack { offsets } => ("stack", offsets.len()),
            Fitted::Concatenate { rows } => ("concatenate", *rows),
            Fitted::Pool { statistics } => ("pool", statistics.len()),
            Fitted::Every { .. } | Fitted::Normalise => return Ok(dim),
            Fitted::Affine { mean, factor, .. } => {
                return if mean.len() == dim && factor.len() == dim { Ok(dim) } else { Err(misfit("affine", dim)) };
            }
            Fitted::Linear { mean, matrix, .. } => {
                return if mean.len() == dim { quotient("linear", matrix, dim) } else { Err(misfit("linear", dim)) };
            }
            Fitted::Codes { centroids, .. } => return quotient("codes", centroids, dim),
        };
        dim.checked_mul(times).filter(|long| *long <= limits::DIM).ok_or_else(|| {
            invalid(name, format!("{times} times {dim} numbers are more than the {} of a row", limits::DIM))
        })
    }

    /// Returns the step in the form in which it is stored.
    pub(super) fn section(&self) -> Section {
        let array = |values: &Vec<f32>| Array::F32(values.clone());
        let (settings, arrays) = match self {
            Fitted::Stack { offsets } => (Step::Stack { offsets: offsets.clone() }.to_json(), vec![]),
            Fitted::Every { n } => (Step::Every { n: *n }.to_json(), vec![]),
            Fitted::Affine { settings, mean, factor } => (settings.clone(), vec![array(mean), array(factor)]),
            Fitted::Linear { settings, mean, matrix } => (settings.clone(), vec![array(mean), array(matrix)]),
            Fitted::Normalise => (Step::Normalise.to_json(), vec![]),
            Fitted::Concatenate { rows } => (Step::Concatenate { rows: *rows }.to_json(), vec![]),
            Fitted::Pool { statistics } => (Step::Pool(statistics.clone()).to_json(), vec![]),
            Fitted::Codes { settings, centroids } => (settings.clone(), vec![array(centroids)]),
        };
        Section { kind: self.kind(), version: VERSION, settings, arrays }
    }

    /// Reads the fitted step that was stored as `section`, for rows of `dim` numbers.
    ///
    /// # Errors
    /// `Invalid` when it is not one, see [`super::Pipeline::from_sections`].
    pub(super) fn from_section(dim: usize, section: &Section) -> Result<Fitted> {
        if section.version != VERSION {
            let found = format!("version {} of kind {} is unknown to this release", section.version, section.kind);
            return Err(invalid("stored", found));
        }
        let mut arrays = Vec::with_capacity(section.arrays.len());
        for array in &section.arrays {
            match array {
                Array::F32(values) if values.iter().all(|value| value.is_finite()) => arrays.push(values),
                _ => return Err(invalid("stored", "an array is not of finite `f32`")),
            }
        }
        let settings = section.settings.clone();
        let fitted = match (section.kind, arrays.as_slice()) {
            (3, [mean, factor]) => Fitted::Affine { settings, mean: mean.to_vec(), factor: factor.to_vec() },
            (4, [mean, matrix]) => Fitted::Linear { settings, mean: mean.to_vec(), matrix: matrix.to_vec() },
            (8, [centroids]) => Fitted::Codes { settings, centroids: centroids.to_vec() },
            (kind, []) => Fitted::without_training(&Step::from_json(&settings)?)
                .filter(|fitted| fitted.kind() == kind)
                .ok_or_else(|| invalid("stored", format!("kind {kind} with these settings is unknown")))?,
            (kind, _) => return Err(invalid("stored", format!("kind {kind} with {} arrays is unknown", arrays.len()))),
        };
        fitted.output_dim(dim)?;
        Ok(fitted)
    }
}

fn misfit(step: &str, dim: usize) -> crate::Error {
    invalid(step, format!("was not fitted for rows of {dim} numbers"))
}

/// Returns how many rows or columns of `dim` numbers `values` holds.
fn quotient(step: &str, values: &[f32], dim: usize) -> Result<usize> {
    match values.len() / dim {
        0 => Err(misfit(step, dim)),
        count if count > limits::DIM || count * dim != values.len() => Err(misfit(step, dim)),
        count => Ok(count),
    }
}
