//! The promise about damage: it costs what it hit and nothing else, every cost is named, and what is whole can be saved
//! into a new database.
//!
//! - `search`: questions, fitting, changes, where records are damaged.
//! - `rescue`: verification and repair, one kind of file after the other.
//! - `logged`: the same where part of the records stand in the log.
//! - `chance`: repair after any damage at all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod chance;
mod logged;
mod rescue;
mod search;
mod world;
