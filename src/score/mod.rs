//! How alike two matrices are.

mod metric;

pub use metric::Metric;
