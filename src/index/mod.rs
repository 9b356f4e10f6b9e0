//! Finding the records that score best.

mod top;

pub use top::{Ranked, Top};
