//! The steps of a view before they are fitted, and their settings as JSON.

use super::pool::Statistic;
use crate::error::{Error, Result};
use serde_json::{Value, json};

/// One step of a [`View`](crate::View) or a [`Pipeline`](super::Pipeline): what is done to the rows, before it is
/// fitted.
///
/// A step can also be written as text (`every:2`, `whiten:96`, `codes:100`), which is what its `Display` prints and
/// `FromStr` reads, or as a JSON object ([`Step::to_json`], [`Step::from_json`]).
///
/// # Examples
///
/// ```
/// use otolith::pipeline::Statistic;
/// use otolith::{Step, View};
///
/// // One vector for each record: mean, deviation and median of every column, scaled to length 1.
/// let statistics = vec![Statistic::Mean, Statistic::Std, Statistic::Median];
/// let view = View::new([Step::Pool(statistics), Step::Standardise, Step::Normalise]);
///
/// assert_eq!(view.steps()[0].to_string(), "pool:mean,std,median");
/// assert_eq!("whiten:96".parse::<Step>()?, Step::Pca { dim: 96, whiten: true });
/// # Ok::<(), otolith::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// Lays rows side by side, to give each row its context: row `t` becomes the rows `t + offset`. Beyond the ends
    /// the first or last row is repeated. The dimension grows by as many times as there are offsets.
    Stack {
        /// Distances in rows, in the order in which the rows are laid side by side.
        offsets: Vec<i32>,
    },
    /// Keeps rows 0, n, 2n, .. and drops the others, which makes searching faster.
    Every {
        /// Distance between rows that are kept, at least 1.
        n: usize,
    },
    /// Subtracts the mean of all training rows from each row.
    Centre,
    /// Subtracts the mean and divides by the standard deviation, column by column. A column that does not vary over
    /// the training rows (deviation below a millionth of its size, the rounding of `f32`) becomes 0.
    Standardise,
    /// Projects rows on the principal components of the training rows, largest variance first; the mean is subtracted
    /// before. The sign of a component is such that its largest entry is positive. Fitting needs the feature `fit`.
    Pca {
        /// Components to keep; fewer when the training rows have fewer.
        dim: usize,
        /// Whether each component is divided by `sqrt(variance + 1e-6)`, so that loud directions do not drown the
        /// others.
        whiten: bool,
    },
    /// Projects rows on linear discriminants: the directions that tell the classes of the training rows apart, scaled
    /// so that the rows within a class have the identity as their covariance. Fitted on the records that have the
    /// field; at least two classes are needed. The covariance within the classes is shrunk (Friedman, *Regularized
    /// discriminant analysis*, 1989). Fitting needs the feature `fit`.
    Lda {
        /// The field that names a record's class.
        field: String,
        /// How far the covariance is drawn towards a multiple of the identity, from 0 to 1. Some is needed wherever
        /// there are fewer rows than columns.
        shrinkage: f64,
        /// Directions to keep; `None` for all, of which there are one fewer than classes.
        dim: Option<usize>,
    },
    /// Projects rows by a linear map after which, by cosine, rows of one class point the same way and rows of others
    /// elsewhere. Fitted by the supervised contrastive loss (Khosla et al., *Supervised contrastive learning*, 2020)
    /// on rows drawn from the records that have the field; at least two classes are needed. Unlike [`Step::Lda`] it
    /// may have any number of directions.
    Contrast {
        /// The field that names a record's class.
        field: String,
        /// Dimension of the rows that come out.
        dim: usize,
        /// Seed of the draws; equal seeds give equal maps.
        seed: u64,
    },
    /// Scales each row to length 1; a row of zeros stays as it is.
    Normalise,
    /// Lays evenly spaced rows (from the first to the last, positions rounded down) one after another into one row
    /// for the whole record. A record with fewer rows repeats some.
    Concatenate {
        /// Rows to take, at least 1.
        rows: usize,
    },
    /// Makes one row for the whole record: each statistic of all columns, one statistic after another.
    Pool(Vec<Statistic>),
    /// Replaces each row by its similarities to centroids, `max(row . centroid, 0)`. The centroids are found by
    /// spherical k-means (Dhillon and Modha, *Concept decompositions for large sparse text data using clustering*,
    /// 2001); the rectified coding is that of Coates and Ng, *Learning feature representations with k-means*, 2012.
    Codes {
        /// Centroids, which are the dimension that comes out; fewer when there are fewer training rows.
        centroids: usize,
        /// Training rows drawn for k-means, no fewer than centroids.
        sample: usize,
        /// Rounds of k-means.
        rounds: usize,
        /// Seed of all draws; equal seeds give equal centroids.
        seed: u64,
    },
}

impl Step {
    /// Returns the name of the step, as it stands in its JSON settings: `pca`, say.
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

    /// Writes the settings as a JSON object, such as `{"step": "pca", "dim": 96, "whiten": true}`.
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

    /// Reads a step from the JSON object that [`Step::to_json`] writes.
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

/// Makes the error about the step of this name.
pub(super) fn invalid(step: &str, why: impl Into<String>) -> Error {
    Error::invalid(format!("step `{step}`"), why)
}
