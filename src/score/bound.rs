//! How far a fast value can be from the reference's: the proof that dropping a record, or a pair of rows, loses
//! nothing.
//!
//! # The fast value
//! With `p` the `f32` inner product of query row `q` and record row `d`, the fast value is `v = p * scale(d) +
//! offset(d)`, chosen so that for one `q` the largest `v` is the largest similarity:
//!
//! | metric | scale | offset | `v` approximates | similarity |
//! |---|---|---|---|---|
//! | dot | 1 | 0 | `<q,d>` | `v` |
//! | cosine | `1/\|d\|`, or 0 | 0 | `<q,d>/\|d\|` | `v/\|q\|` |
//! | l2 | 1 | `-\|d\|^2/2` | `<q,d> - \|d\|^2/2` | `2v - \|q\|^2` |
//!
//! # The bound
//! Let `u = 2^-24` and `g(h) = hu/(1-hu)`. A sum of products, each of which passes through at most `h` roundings in
//! whatever order, is off by at most `g(h) * sum |q_k d_k| <= g(h)|q||d|` (Higham, Accuracy and Stability of
//! Numerical Algorithms, 2nd ed., section 3.1; the second step is Cauchy-Schwarz). The kernels promise `h =`
//! [`roundings`]. `e = g(h + 4) + (dim + 8) * 2^-52` leaves room for four more roundings in `f32` and for every one
//! of the reference's own in `f64` (at most `dim + 4` of half that size). With `D` the longest record row:
//! - dot: `|v - <q,d>| <= e|q|D`;
//! - cosine: `|d|^2` is summed in `f32` with relative error `g(h)`, its root has half of that, then the division's,
//!   `scale`'s and the last product's roundings: at most `2.1 e|q|` together with the product's own error;
//! - l2: the product is off by `e|q||d|`, the offset by `e|d|^2/2`, their sum by `u(|q||d| + |d|^2/2)`, which `e` has
//!   room for. The reference squares differences instead, with an error of `(dim + 4) * 2^-53 * (|q| + |d|)^2`: at
//!   most `e(|q|D + D^2/2) + (dim + 8) * 2^-52 * (|q| + D)^2`.
//!
//! Products that overflow or underflow in `f32` have no such bound. So this holds for *ordinary* rows only, those of
//! norm 0 or between 2^-40 and 2^40: no partial sum exceeds 2^81 there, and what gradual underflow takes, at most
//! `dim * 2^-149`, is far below `u|q||d| >= 2^-104`. Records and queries with other rows are scored in `f64`
//! throughout.

use super::Metric;
use crate::kernel::roundings;

const UNIT: f64 = f64::EPSILON * (1u64 << 28) as f64; // 2^-24

/// Whether a norm is one that the bound covers.
pub(super) fn is_ordinary(norm: f64) -> bool {
    const LARGEST: f64 = (1u64 << 40) as f64;
    norm == 0.0 || (1.0 / LARGEST..=LARGEST).contains(&norm)
}

/// Relative error of an inner product: `e` above.
fn relative_error(dim: usize) -> f64 {
    let roundings = (roundings(dim) + 4) as f64 * UNIT;
    roundings / (1.0 - roundings) + (dim as f64 + 8.0) * f64::EPSILON
}

/// Bounds of one query's fast values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    metric: Metric,
    error: f64,
    reference_error: f64,
}

/// The same against one record.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordBound {
    query: Bound,
    longest: f64,
}

impl Bound {
    /// For rows of `dim` numbers.
    pub(super) fn new(metric: Metric, dim: usize) -> Bound {
        Bound { metric, error: relative_error(dim), reference_error: (dim as f64 + 8.0) * f64::EPSILON }
    }

    /// At least the norm of a row of which `f32` says that its square is this.
    pub(super) fn longest(&self, square: f64) -> f64 {
        square.sqrt() * (1.0 + self.error)
    }

    /// Against a record whose longest row has no larger norm than this.
    pub(super) fn of_record(self, longest: f64) -> RecordBound {
        RecordBound { query: self, longest }
    }
}

impl RecordBound {
    /// Most that a fast value of a query row of this norm can be off.
    pub(super) fn of_value(&self, query_norm: f64) -> f64 {
        let (Bound { metric, error, reference_error }, q, d) = (self.query, query_norm, self.longest);
        match metric {
            Metric::Dot => error * q * d,
            Metric::Cosine => 2.1 * error * q,
            Metric::L2 => error * (q * d + d * d / 2.0) + reference_error * (q + d) * (q + d),
        }
    }

    /// Most that the reference's score can be, given each query row's norm and best fast value.
    pub(super) fn of_score(&self, norms: &[f64], best: impl Iterator<Item = f32>) -> f64 {
        let count = norms.len() as f64;
        let (mut score, mut size) = (0.0, 0.0);
        for (&norm, best) in norms.iter().zip(best) {
            let largest = f64::from(best) + self.of_value(norm);
            let reach = norm + self.longest;
            let (similarity, limit) = match self.query.metric {
                Metric::Dot => (largest, norm * self.longest),
                Metric::Cosine if norm == 0.0 => (0.0, 0.0),
                Metric::Cosine => (largest / norm, 1.0),
                Metric::L2 => (2.0 * largest - norm * norm, reach * reach),
            };
            score += similarity;
            size += limit;
        }
        // Roundings of this sum and of the reference's: at most `count` of 2^-53 each, and a few for every row.
        score + (count + 16.0) * 4.0 * f64::EPSILON * size
    }
}
