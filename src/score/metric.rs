//! The similarity of two rows. Larger is always better.

use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// Similarity `s(q, d)` of a query row and a record row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Metric {
    /// Inner product. Long rows win over fitting ones: on raw log-mel frames MaxSim by `Dot` finds the loudest clips
    /// (top-1 0.02 on ESC-50), so use it for embeddings made for it.
    Dot,
    /// Inner product of the rows scaled to length one; a zero row scores 0.
    #[default]
    Cosine,
    /// Minus the squared Euclidean distance.
    L2,
}

impl Metric {
    /// Returns the name as it stands in schemas: `dot`, `cosine`, `l2`.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Dot => "dot",
            Metric::Cosine => "cosine",
            Metric::L2 => "l2",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Metric {
    type Err = Error;

    /// Reads the name of a metric.
    fn from_str(name: &str) -> Result<Metric> {
        match name {
            "dot" => Ok(Metric::Dot),
            "cosine" => Ok(Metric::Cosine),
            "l2" => Ok(Metric::L2),
            _ => Err(Error::invalid("metric", format!("`{name}` is none of dot, cosine, l2"))),
        }
    }
}
