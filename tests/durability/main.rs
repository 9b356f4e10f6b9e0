//! The promise of the store: what was acknowledged is there after any crash, a batch is all there or not at all, and
//! damage is named, never guessed around.
//!
//! - `power_cut`: the power is cut after every operation on the file system, over every short sequence of API calls and
//!   a long one; every file system that the cut can leave must open and hold the commits in order, up to a last one
//!   that is not older than the last acknowledged as durable.
//! - `io_error_nth`: the n-th operation fails, for every n and in every way.
//! - `kill9`: a real process on a real disk is killed at random moments.
//! - `bit_flip`, `truncate`: every byte of a small database gets a bit flipped; files are cut, swapped, zeroed,
//!   replaced.
//! - `derived`: the same is done to files that can be made again, and every answer stays what it is.
//! - `full_disk`: a small file system is filled.
//! - `moves`: directories are moved, replaced, emptied, restored and linked under a writer at work.
//! - `model`: random histories, crashes among them, against maps in memory.
//! - `readers`: processes read while another writes and compacts.
//!
//! Lines `figure NAME = VALUE UNIT` say how much was tried. The whole of it is tried with the engine alone: `cargo test
//! --release -p otolith --test durability -- --nocapture`. Beside the models, as part of all tests, and in a debug
//! build a twentieth is tried. `OTOLITH_NIGHTLY=1` asks for the long run, 13 minutes and more on two cores.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod bit_flip;
mod calls;
mod damaged;
mod derived;
mod full_disk;
mod images;
mod io_error_nth;
mod kill9;
mod model;
mod moves;
mod oracle;
mod power_cut;
mod readers;
mod truncate;

use std::path::Path;
use std::process::{Command, Stdio};

/// Whether the long run was asked for.
fn is_nightly() -> bool {
    std::env::var_os("OTOLITH_NIGHTLY").is_some_and(|value| value == "1")
}

/// This program again, to run one test of it beside this one; what it prints is to be read.
fn child(test: &str, variable: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(variable, path).stdout(Stdio::piped());
    command
}

/// How much to try.
fn count(usual: usize, nightly: usize) -> usize {
    match is_nightly() {
        true => nightly,
        false if cfg!(debug_assertions) || cfg!(feature = "models") => usual.div_ceil(20),
        false => usual,
    }
}
