//! The promise of the store: what was acknowledged is there after any crash, a batch is all there or not at all, and damage
//! is named, never guessed around.
//!
//! - `power`: the power is cut after every operation on the file system, over every short sequence of API calls and one
//!   long one; every file system that the cut can leave must open and hold exactly the committed prefix.
//! - `faults`: the n-th operation fails, for every n and in every way.
//! - `kill`: a real process on a real disk is killed at random moments.
//! - `damage`: every byte of a small database gets one bit flipped.
//!
//! Lines `figure NAME = VALUE UNIT` say how much was tried.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "durability/damage.rs"]
mod damage;
#[path = "durability/faults.rs"]
mod faults;
#[path = "durability/kill.rs"]
mod kill;
#[path = "durability/model.rs"]
mod model;
#[path = "durability/power.rs"]
mod power;
