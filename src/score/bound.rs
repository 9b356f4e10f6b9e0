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
//! # Whole numbers
//! Of a query of several rows the products may be those of whole numbers of 16 bits ([`kernel::tile`]): row `x` is kept
//! as `x^ = x * s` with every number rounded, where `s` is [`SHORT_SIZE`] over the row's norm in `f32`. A number is off
//! by half of one, and by a rounding of a product of at most 32,000 in `f32`: `|x^ / s - x| <= r|x|` with `r = 0.504
//! sqrt(dim) / 32,000`, which leaves room for the errors of `s`. So `|<q^,d^> / (s s') - <q,d>| <= (2r + r^2)|q||d|`,
//! at most `1.01 sqrt(dim) / 32,000 |q||d|` for the up to 4,096 numbers of a row that are kept so. The sum itself is
//! exact. Six roundings in `f32` make a fast value of it, fewer than `e` has room for, so this error is added to `e` in
//! the product's place above.
//!
//! # Where it holds
//! Products that overflow or underflow in `f32` have no such bound. So this holds for *ordinary* rows only, those of
//! norm 0 or between 2^-40 and 2^40: no partial sum exceeds 2^81 there, and what gradual underflow takes, at most
//! `dim * 2^-149`, is far below `u|q||d| >= 2^-104`. Records and queries with other rows are scored in `f64`
//! throughout.

use super::Metric;
use crate::kernel::{SHORT_SIZE, roundings};

const UNIT: f64 = f64::EPSILON * (1u64 << 28) as f64; // 2^-24

/// Returns whether the bound covers rows of this norm.
pub(crate) fn is_ordinary(norm: f64) -> bool {
    const LARGEST: f64 = (1u64 << 40) as f64;
    norm == 0.0 || (1.0 / LARGEST..=LARGEST).contains(&norm)
}

/// Returns the relative error of an inner product: `e` above.
fn relative_error(dim: usize) -> f64 {
    let roundings = (roundings(dim) + 4) as f64 * UNIT;
    roundings / (1.0 - roundings) + (dim as f64 + 8.0) * f64::EPSILON
}

/// Error bounds of one query's fast values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    metric: Metric,
    error: f64,
    /// What whole numbers add to the relative error of an inner product.
    rounding: f64,
    reference_error: f64,
}

/// Error bounds of one query's fast values against one record.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordBound {
    query: Bound,
    longest: f64,
}

impl Bound {
    /// Makes the bounds for rows of `dim` numbers.
    pub(super) fn new(metric: Metric, dim: usize) -> Bound {
        let reference_error = (dim as f64 + 8.0) * f64::EPSILON;
        Bound { metric, error: relative_error(dim), rounding: 0.0, reference_error }
    }

    /// Bounds for rows of `dim` numbers that are multiplied as whole numbers.
    pub(super) fn short(metric: Metric, dim: usize) -> Bound {
        Bound { rounding: 1.01 * (dim as f64).sqrt() / f64::from(SHORT_SIZE), ..Bound::new(metric, dim) }
    }

    /// Returns an upper bound of a row's norm, given its square as computed in `f32`.
    pub(super) fn longest(&self, square: f64) -> f64 {
        square.sqrt() * (1.0 + self.error)
    }

    /// Returns the bounds against a record whose longest row has no larger norm than this.
    pub(super) fn of_record(self, longest: f64) -> RecordBound {
        RecordBound { query: self, longest }
    }
}

impl RecordBound {
    /// Returns the most that a fast value of a query row of this norm can be off.
    pub(super) fn of_value(&self, query_norm: f64) -> f64 {
        let (Bound { metric, error, rounding, reference_error }, q, d) = (self.query, query_norm, self.longest);
        match metric {
            Metric::Dot => (error + rounding) * q * d,
            Metric::Cosine => (2.1 * error + rounding) * q,
            Metric::L2 => rounding * q * d + error * (q * d + d * d / 2.0) + reference_error * (q + d) * (q + d),
        }
    }

    /// Returns the most that the reference's score can be, given each query row's norm and best fast value.
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
