//! The steps of a view before they are fitted, and their settings as JSON.

use super::pool::Statistic;
use crate::error::{Error, Result};
use serde_json::{Value, json};

/// One step of a view.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// Row `t` becomes the rows `t + offset` side by side; beyond the ends the first or last row is repeated.
    Stack {
        /// Distances in rows, in the order in which the rows are laid side by side.
        offsets: Vec<i32>,
    },
    /// Keeps rows 0, n, 2n, ..
    Every {
        /// Distance between rows that are kept.
        n: usize,
    },
    /// Subtracts the mean of all training rows.
    Centre,
    /// Subtracts the mean and divides by the standard deviation, column by column. A column that does not vary over the
    /// training rows (deviation below a millionth of its size, the rounding of `f32`) becomes 0.
    Standardise,
    /// Principal components of the centred training rows, largest variance first, each with its largest entry positive.
    Pca {
        /// Components to keep; fewer when the training rows have fewer.
        dim: usize,
        /// Divides each component by `sqrt(variance + 1e-6)`.
        whiten: bool,
    },
    /// Linear discriminants: the directions that tell the classes of the training rows apart, scaled so that the rows within a class have
    /// the identity as their covariance. Fitted on the records that have the field; at least two classes are needed. The
    /// covariance within the classes is shrunk (Friedman, *Regularized discriminant analysis*, 1989).
    Lda {
        /// The field that names a record's class.
        field: String,
        /// 0 to 1: how far the covariance is drawn towards a multiple of the identity. Some is needed wherever there are fewer rows
        /// than columns.
        shrinkage: f64,
        /// Directions to keep; as many as there are (one fewer than classes) unless given.
        dim: Option<usize>,
    },
    /// A linear map of rows after which those of one class point the same way and those of others elsewhere, by cosine: fitted by the
    /// supervised contrastive loss (Khosla et al., *Supervised contrastive learning*, 2020) on rows drawn from the records that have
    /// the field; at least two classes are needed. Unlike [`Step::Lda`] it may have any number of directions.
    Contrast {
        /// The field that names a record's class.
        field: String,
        /// Numbers in a row that comes out.
        dim: usize,
        /// Seed of the draws.
        seed: u64,
    },
    /// Scales each row to length 1; a row of zeros stays.
    Normalise,
    /// Lays evenly spaced rows (from the first to the last, positions rounded down) one after another into one row.
    /// A record with fewer rows repeats some.
    Concatenate {
        /// Rows to take.
        rows: usize,
    },
    /// One row for the whole record: each statistic of all columns, one after another.
    Pool(Vec<Statistic>),
    /// Each row becomes its similarities to centroids, `max(row . centroid, 0)`. The centroids are found by spherical
    /// k-means (Dhillon and Modha, *Concept decompositions for large sparse text data using clustering*, 2001), the
    /// rectified coding is that of Coates and Ng, *Learning feature representations with k-means*, 2012.
    Codes {
        /// Centroids; fewer when there are fewer training rows.
        centroids: usize,
        /// Training rows drawn for k-means.
        sample: usize,
        /// Rounds of k-means.
        rounds: usize,
        /// Seed of all draws.
        seed: u64,
    },
}

impl Step {
    /// Name of the step, as it stands in its settings.
    pub fn name(&self) -> &'static str {
        match self {
            Step::Stack { .. } => "stack",
            Step::Every { .. } => "every",
            Step::Centre => "centre",
            Step::Standardise => "standardise",
            Step::Pca { .. } => "pca",
            Step::Lda { .. } => "lda",
            Step::Contrast { .. } => "contrast",
            Step::Normalise => "normalise",
            Step::Concatenate { .. } => "concatenate",
            Step::Pool(_) => "pool",
            Step::Codes { .. } => "codes",
        }
    }

    /// The settings as a JSON object, such as `{"step": "pca", "dim": 96, "whiten": true}`.
    pub fn to_json(&self) -> Value {
        let name = self.name();
        match self {
            Step::Stack { offsets } => json!({"step": name, "offsets": offsets}),
            Step::Every { n } => json!({"step": name, "n": n}),
            Step::Centre | Step::Standardise | Step::Normalise => json!({"step": name}),
            Step::Pca { dim, whiten } => json!({"step": name, "dim": dim, "whiten": whiten}),
            Step::Lda { field, shrinkage, dim } => {
                json!({"step": name, "field": field, "shrinkage": shrinkage, "dim": dim})
            }
            Step::Contrast { field, dim, seed } => json!({"step": name, "field": field, "dim": dim, "seed": seed}),
            Step::Concatenate { rows } => json!({"step": name, "rows": rows}),
            Step::Pool(statistics) => {
                let names: Vec<String> = statistics.iter().map(Statistic::to_string).collect();
                json!({"step": name, "statistics": names})
            }
            Step::Codes { centroids, sample, rounds, seed } => {
                json!({"step": name, "centroids": centroids, "sample": sample, "rounds": rounds, "seed": seed})
            }
        }
    }

    /// The step with these settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the step is unknown, a setting is missing, or its value makes no sense.
    pub fn from_json(settings: &Value) -> Result<Step> {
        let name = settings["step"].as_str().unwrap_or_default();
        let field = |key: &str, wanted: &str| invalid(name, format!("`{key}` must be {wanted}"));
        let whole = |key: &str| settings[key].as_u64().ok_or_else(|| field(key, "a whole number"));
        let count = |key: &str| usize::try_from(whole(key)?).map_err(|_| field(key, "a smaller number"));
        let list = |key: &str| settings[key].as_array().ok_or_else(|| field(key, "a list"));
        let of_records = || {
            let name = settings["field"].as_str().ok_or_else(|| field("field", "the name of a field"));
            name.map(str::to_owned)
        };
        let offset = |value: &Value| value.as_i64().and_then(|offset| i32::try_from(offset).ok());
        let step = match name {
            "stack" => {
                let offsets = list("offsets")?.iter().map(offset).collect::<Option<Vec<i32>>>();
                Step::Stack { offsets: offsets.ok_or_else(|| field("offsets", "a list of 32-bit whole numbers"))? }
            }
            "every" => Step::Every { n: count("n")? },
            "centre" => Step::Centre,
            "standardise" => Step::Standardise,
            "pca" => Step::Pca {
                dim: count("dim")?,
                whiten: settings["whiten"].as_bool().ok_or_else(|| field("whiten", "true or false"))?,
            },
            "contrast" => Step::Contrast { field: of_records()?, dim: count("dim")?, seed: whole("seed")? },
            "lda" => Step::Lda {
                field: of_records()?,
                shrinkage: settings["shrinkage"].as_f64().ok_or_else(|| field("shrinkage", "a number"))?,
                dim: if settings["dim"].is_null() { None } else { Some(count("dim")?) },
            },
            "normalise" => Step::Normalise,
            "concatenate" => Step::Concatenate { rows: count("rows")? },
            "pool" => Step::Pool(
                list("statistics")?
                    .iter()
                    .map(|name| name.as_str().unwrap_or_default().parse())
                    .collect::<Result<Vec<Statistic>>>()?,
            ),
            "codes" => Step::Codes {
                centroids: count("centroids")?,
                sample: count("sample")?,
                rounds: count("rounds")?,
                seed: whole("seed")?,
            },
            _ => {
                let known =
                    "stack, every, centre, standardise, pca, lda, contrast, normalise, concatenate, pool, codes";
                return Err(Error::invalid("step", format!("`{name}` is none of {known}")));
            }
        };
        step.check()?;
        Ok(step)
    }

    /// Refuses settings that make no sense for any rows.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the setting.
    pub(super) fn check(&self) -> Result<()> {
        let refused = match self {
            Step::Stack { offsets } if offsets.is_empty() => "`offsets` must not be empty",
            Step::Every { n: 0 } => "`n` must be at least 1",
            Step::Pca { dim: 0, .. } | Step::Contrast { dim: 0, .. } => "`dim` must be at least 1",
            Step::Lda { field, .. } | Step::Contrast { field, .. } if field.is_empty() => "`field` must not be empty",
            Step::Lda { shrinkage, .. } if !(0.0..=1.0).contains(shrinkage) => "`shrinkage` must be between 0 and 1",
            Step::Lda { dim: Some(0), .. } => "`dim` must be at least 1",
            Step::Concatenate { rows: 0 } => "`rows` must be at least 1",
            Step::Pool(statistics) if statistics.is_empty() => "`statistics` must not be empty",
            Step::Pool(statistics) if !statistics.iter().all(Statistic::is_sound) => {
                "a quantile must be between 0 and 1"
            }
            Step::Codes { centroids, sample, .. } if *centroids == 0 || sample < centroids => {
                "`centroids` must be at least 1 and `sample` no smaller"
            }
            _ => return Ok(()),
        };
        Err(invalid(self.name(), refused))
    }
}

/// The error of a step of that name.
pub(super) fn invalid(step: &str, why: impl Into<String>) -> Error {
    Error::invalid(format!("step `{step}`"), why)
}
