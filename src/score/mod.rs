//! How alike two matrices are: MaxSim, exact to the last bit, and fast where it can be.
//!
//! `score(Q, D) = sum over query rows i of max over record rows j of s(q_i, d_j)`, larger is better; [`Metric`] is
//! `s`. [`reference()`] is that definition in `f64`, sums by rising index. [`PreparedQuery::score`] gives the same
//! bits:
//! 1. [`kernel::tile`](crate::kernel::tile()) computes all inner products, in `f32` or, for queries of more than
//!    sixteen rows where that is faster, of numbers rounded to 16 bits, and each query row's best of them, a block at a
//!    time;
//! 2. these, with a rigorous bound of their error, bound the score from above: a record below the threshold is dropped
//!    there ([`Outcome::Below`]);
//! 3. for any other record the pairs that could be a row's best, given the bound, are computed again as the reference
//!    does: a few of a thousand. Their maximum is the reference's maximum, and the lowest record row that has it is
//!    the match.
//!
//! [`PreparedQuery::score_rows`] is the same for records that are plain vectors, eight side by side.
//!
//! Data: a query comes in once as a [`PreparedQuery`], records as [`MatrixView`](crate::MatrixView)s, in any number
//! of threads, each with its own [`Scratch`]. Out come an [`Outcome`] or the [`RowMatch`]es that explain it.
//!
//! Costs: `query rows x record rows x dim` multiplications for every record, and about `query rows x dim` in
//! `f64` for one that is not dropped. Rows that have no bound in `f32` (norms beyond 2^40 or, but for zero, below
//! 2^-40) are compared in `f64` pair by pair: exact, and about twenty times slower.

mod bound;
mod metric;
mod prepared;
mod reference;
mod rescore;
mod single;

pub(crate) use bound::is_ordinary;
pub use metric::Metric;
pub use prepared::{Outcome, PreparedQuery, Scratch};
#[cfg(any(test, feature = "testing"))]
pub use reference::reference;
pub use rescore::RowMatch;
