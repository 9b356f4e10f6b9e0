//! The `otolith` command: arguments, output, the experiment, and the formats of other programs.
//!
//! The rooms stand in rank order: each uses the library and the rooms before it.
//!
//! This crate is the tool. Whoever searches from a program of their own wants the library, `otolith`.

mod zipped;

mod commands;
pub mod esc50;
pub mod exchange;

pub use commands::{check_arguments, run};
