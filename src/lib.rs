//! otolith: an embedded vector database for records that are whole matrices.
//!
//! A five-second sound is 249 rows of 512 numbers, not one vector. otolith stores such records as they are, searches them
//! exactly by MaxSim, and says which rows matched. The rooms below stand in rank order: each uses only those before it.

// engine
pub mod collection;
mod database;
pub mod error;
pub mod filter;
pub mod index;
pub mod kernel;
pub mod limits;
pub mod matrix;
pub mod pipeline;
pub mod query;
#[doc(hidden)] // for the command line
pub mod random;
pub mod record;
pub mod score;
pub mod store;
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

pub use collection::{Collection, IndexInfo, IndexKind, View, ViewInfo};
pub use database::{Database, DatabaseOptions, Transaction};
pub use error::{Error, ErrorKind, Result};
pub use matrix::{Matrix, MatrixView, Precision, StoredMatrix};
pub use query::{Hit, Hits, Query};
pub use record::{Fields, Record, Schema};
pub use score::Metric;
pub use store::{Durability, Snapshot, repair_to};
pub use threads::use_threads;

#[cfg(target_endian = "big")]
compile_error!("otolith maps little-endian files and is not built for big-endian machines");
