//! What the command fetches, from a server on a loopback address: no test here asks anybody else.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "../common/mod.rs"]
mod common;
mod data_set;
mod hub;
#[path = "../../../../tests/download/server.rs"]
mod server;
