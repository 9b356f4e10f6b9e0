//! The promise about damage: it costs what it hit and nothing else, every cost is named, and what is whole can be saved
//! into a new database.
//!
//! - `search`: questions, fitting, changes, where records are damaged.
//! - `rescue`: verification and repair, file by file and by chance.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "repair/search.rs"]
mod search;
#[path = "repair/world.rs"]
mod world;
