//! Segments: immutable files of records.
//!
//! ```text
//! header | matrices (64-byte aligned, no padding between rows) | fields (JSON) | ids | record entries | id table | ..
//! ```
//! A record's number is its place in the file, oldest first. Reading one record touches its entry, its id, its JSON and its
//! matrix and checks only the 64 KiB blocks that these lie in, so a damaged block costs the records in it and no others.

mod lookup;
mod reader;
mod writer;

pub(crate) use lookup::Lookup;
pub use reader::Segment;
pub(crate) use writer::{SegmentWriter, StoredRecord};
