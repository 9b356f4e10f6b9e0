//! What all records of a collection share.

use crate::error::{Error, Result};
use crate::limits;
use crate::matrix::Precision;
use crate::score::Metric;
use serde_json::{Value, json};

/// What all records of a collection share: dimension, metric, precision of storage. The number of rows is each
/// record's own. A schema is set when the collection is created and does not change.
///
/// # Examples
///
/// ```
/// use otolith::{Metric, Precision, Schema};
///
/// // Frames of 512 numbers, 50 a second, in half precision, made by the named model.
/// let frames = Schema::new(512).precision(Precision::F16).rows_per_second(50.0).embedder("wav2vec2/features/3f9a");
/// assert_eq!((frames.dim, frames.metric), (512, Metric::Cosine));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Schema {
    /// The dimension: how many numbers a row has, from 1 to [`limits::DIM`].
    pub dim: usize,
    /// The metric by which rows are compared where a view does not name another.
    pub metric: Metric,
    /// The type in which values are stored.
    pub precision: Precision,
    /// Rows in a second, where rows are moments of a recording: explanations then give times.
    pub rows_per_second: Option<f64>,
    /// The identity of the model that made the rows, where that matters. The database only keeps it;
    /// `ingest::collection_for` refuses to open the collection for another model.
    pub embedder: Option<String>,
}

impl Schema {
    /// Describes rows of `dim` numbers, compared by cosine and stored as `f32`.
    pub fn new(dim: usize) -> Schema {
        Schema {
            dim,
            metric: Metric::default(),
            precision: Precision::default(),
            rows_per_second: None,
            embedder: None,
        }
    }

    /// Compares rows by `metric`.
    pub fn metric(mut self, metric: Metric) -> Schema {
        self.metric = metric;
        self
    }

    /// Stores values as `precision`.
    pub fn precision(mut self, precision: Precision) -> Schema {
        self.precision = precision;
        self
    }

    /// Says that rows follow each other in time, `rows` of them in a second.
    pub fn rows_per_second(mut self, rows: f64) -> Schema {
        self.rows_per_second = Some(rows);
        self
    }

    /// Names the model that makes the rows.
    pub fn embedder(mut self, identity: impl Into<String>) -> Schema {
        self.embedder = Some(identity.into());
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.dim == 0 || self.dim > limits::DIM {
            return Err(Error::invalid("dimension", format!("{} is not between 1 and {}", self.dim, limits::DIM)));
        }
        match self.rows_per_second {
            Some(rate) if !rate.is_finite() || rate <= 0.0 => {
                Err(Error::invalid("rows per second", format!("{rate} is no rate")))
            }
            _ => Ok(()),
        }
    }

    /// Writes the schema as it is stored in a manifest.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "dim": self.dim, "metric": self.metric.name(), "precision": self.precision.name(),
            "rows_per_second": self.rows_per_second, "embedder": self.embedder,
        })
    }

    /// Reads what [`Schema::to_json`] wrote.
    pub(crate) fn from_json(value: &Value) -> Result<Schema> {
        let text = |key: &str| value[key].as_str().ok_or_else(|| Error::invalid("schema", format!("no `{key}`")));
        let dim = value["dim"].as_u64().and_then(|dim| usize::try_from(dim).ok());
        let schema = Schema {
            dim: dim.ok_or_else(|| Error::invalid("schema", "no `dim`"))?,
            metric: text("metric")?.parse()?,
            precision: text("precision")?.parse()?,
            rows_per_second: value["rows_per_second"].as_f64(),
            embedder: value["embedder"].as_str().map(str::to_owned),
        };
        schema.check()?;
        Ok(schema)
    }
}
