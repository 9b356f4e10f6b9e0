//! The definition of a score, written down as plainly as possible: what every faster way has to equal.

#[cfg(any(test, feature = "testing"))]
use crate::{kernel::ordered, matrix::MatrixView, score::Metric};

#[cfg(any(test, feature = "testing"))]
/// Returns the score of a record for a query in `f64`, sums by rising index. `None` when either has no rows.
///
/// # Panics
/// When the dimensions differ.
pub fn reference(metric: Metric, query: MatrixView<'_>, record: MatrixView<'_>) -> Option<f64> {
    assert_eq!(query.dim(), record.dim(), "rows of different lengths");
    if query.rows() == 0 || record.rows() == 0 {
        return None;
    }
    let best = |q| record.iter().map(|d| similarity(metric, q, d)).fold(f64::NEG_INFINITY, f64::max);
    Some(query.iter().map(best).fold(0.0, |sum, best| sum + best))
}

#[cfg(any(test, feature = "testing"))]
/// Returns the similarity of two rows in `f64`, sums by rising index.
fn similarity(metric: Metric, q: &[f32], d: &[f32]) -> f64 {
    match metric {
        Metric::Dot => ordered::dot(q, d),
        Metric::Cosine => cosine(ordered::dot(q, d), ordered::dot(q, q).sqrt(), ordered::dot(d, d).sqrt()),
        // Not a negation: the distance 0 gives 0, not -0.
        Metric::L2 => 0.0 - ordered::squared_distance(q, d),
    }
}

/// Returns the cosine, given an inner product and the norms of its rows; a zero row has cosine 0 with everything.
pub(super) fn cosine(dot: f64, query_norm: f64, record_norm: f64) -> f64 {
    if query_norm == 0.0 || record_norm == 0.0 { 0.0 } else { dot / (query_norm * record_norm) }
}
