//! What all records of a collection share.

use crate::error::{Error, Result};
use crate::limits;
use crate::matrix::Precision;
use crate::score::Metric;
use serde_json::{Value, json};

/// Dimension, metric and storage type of a collection. The number of rows is each record's own.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Schema {
    /// Numbers in a row.
    pub dim: usize,
    /// How rows are compared where a view does not say otherwise.
    pub metric: Metric,
    /// How values are stored.
    pub precision: Precision,
    /// Rows a second, when rows are moments of a recording: explanations then give times.
    pub rows_per_second: Option<f64>,
    /// Who made the rows (a model's identity), when that matters: queries made by another are refused by the tools above.
    pub embedder: Option<String>,
}

impl Schema {
    /// Rows of `dim` numbers, compared by cosine, stored as `f32`.
    pub fn new(dim: usize) -> Schema {
        Schema {
            dim,
            metric: Metric::default(),
            precision: Precision::default(),
            rows_per_second: None,
            embedder: None,
        }
    }

    /// The schema with another metric.
    pub fn metric(mut self, metric: Metric) -> Schema {
        self.metric = metric;
        self
    }

    /// The schema with another storage type.
    pub fn precision(mut self, precision: Precision) -> Schema {
        self.precision = precision;
        self
    }

    /// The schema of rows that follow each other in time.
    pub fn rows_per_second(mut self, rows: f64) -> Schema {
        self.rows_per_second = Some(rows);
        self
    }

    /// The schema of rows made by the named embedder.
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

    /// The schema as it stands in a manifest.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "dim": self.dim, "metric": self.metric.name(), "precision": self.precision.name(),
            "rows_per_second": self.rows_per_second, "embedder": self.embedder,
        })
    }

    /// Reads what [`Schema::to_json`] gave.
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
