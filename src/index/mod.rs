//! Ways of finding the best records of a view: the exact scan, over rows or over codes, and indexes that look at a
//! part.
//!
//! *Rows* are what a view makes of a record (`rows.rs`); a *place* is where a record lies in a snapshot; a *selection*
//! is the records that a search looks at. All that an index keeps on disk is derived: it may be missing or broken,
//! which costs speed and never an answer. A record that is itself damaged is left out and named, and the others are
//! found as if it were not there.
//!
//! ```text
//! selection -> [graph walk, or lists: some] -> codes: an interval each -> the few that may be best: exact scores -> hits
//!              rows: f32 and its bound -> exact scores --------------------------------------------------------------^
//! ```
//! However a record was found, its score is exact and has the same bits.

pub(crate) mod candidates;
mod curve;
pub(crate) mod exact;
pub(crate) mod hnsw;
pub(crate) mod ivf;
pub(crate) mod one_row;
pub(crate) mod pace;
pub(crate) mod plain;
pub(crate) mod planes;
pub(crate) mod questions;
pub(crate) mod recall;
mod rows;
mod select;
pub(crate) mod sq8;
pub(crate) mod table;
mod top;
mod truth;

pub use candidates::Candidates;
pub use curve::{Curve, CurveEntry, CurveSource};
#[cfg(feature = "testing")]
pub use planes::always_use_planes;
pub(crate) use rows::{Place, ViewRows};
pub(crate) use select::{Selected, Selection, select};
#[cfg(feature = "testing")]
pub use top::Ranked;
pub use top::Top;
