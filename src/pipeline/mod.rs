//! What a view does to the rows of a record.

mod section;

pub use section::{Array, Section};
