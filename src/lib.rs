//! otolith: an embedded vector database for records that are whole matrices.
//!
//! A five-second sound is 249 rows of 512 numbers, not one vector. otolith stores such records as they are, searches them
//! exactly by MaxSim, and says which rows matched. The rooms below stand in rank order: each uses only those before it.

// Private rooms are public to `testing`.
#![cfg_attr(not(feature = "testing"), allow(unreachable_pub))]

// engine
mod collection;
mod database;
mod error;
pub mod filter;
mod index;
mod kernel;
pub mod limits;
mod matrix;
pub mod pipeline;
pub mod query;
#[doc(hidden)] // for the command line
pub mod random;
mod record;
mod score;
mod store;
mod threads;
// sound
#[cfg(feature = "audio")]
pub mod audio;
#[cfg(any(feature = "fit", feature = "models"))]
pub mod classify;
#[cfg(any(feature = "audio", feature = "hub"))]
pub mod download;
#[cfg(feature = "audio")]
pub mod embed;
#[cfg(any(feature = "audio", feature = "hub"))]
#[doc(hidden)] // for the command line
pub mod outside;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing;

pub use collection::{Collection, IndexInfo, IndexKind, View, ViewInfo};
pub use database::{Database, DatabaseOptions, Transaction};
pub use error::{Error, ErrorKind, Result};
pub use index::{Curve, CurveEntry, CurveSource};
pub use matrix::{Matrix, MatrixView, Precision, StoredMatrix};
pub use pipeline::Step;
pub use query::{Certificate, Explanation, Hit, Hits, Query, fuse, run_all};
pub use record::{Fields, Record, Schema};
pub use score::Metric;
pub use store::{
    Access, BackedUp, BulkLoad, Compacted, Depth, Durability, Entry, Finding, RAW, Snapshot, Stat, Verification,
};
pub use store::{LostRecord, LostSegment, LostView, RepairReport, Revived, SavedCollection};
pub use threads::use_threads;

#[cfg(target_endian = "big")]
compile_error!("otolith maps little-endian files and is not built for big-endian machines");
