//! The similarity of two rows. Larger is always better.

use crate::error::{Error, Result};

/// Similarity `s(q, d)` of a query row and a record row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// Name as it stands in schemas: `dot`, `cosine`, `l2`.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Dot => "dot",
            Metric::Cosine => "cosine",
            Metric::L2 => "l2",
        }
    }

    /// The metric of that name.
    ///
    /// # Errors
    /// [`Error::Invalid`] for any other name.
    pub fn from_name(name: &str) -> Result<Metric> {
        match name {
            "dot" => Ok(Metric::Dot),
            "cosine" => Ok(Metric::Cosine),
            "l2" => Ok(Metric::L2),
            _ => Err(Error::invalid("metric", format!("`{name}` is none of dot, cosine, l2"))),
        }
    }
}
