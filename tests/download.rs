//! What comes from the network, from a server on a loopback address: no test here asks anybody else.
#![cfg(feature = "hub")]
#![allow(clippy::unwrap_used, unreachable_pub)]

#[cfg(feature = "cli")]
mod common;
#[cfg(feature = "cli")]
#[path = "download/data_set.rs"]
mod data_set;
#[cfg(all(feature = "cli", feature = "models"))]
#[path = "download/hub.rs"]
mod hub;
#[path = "download/server.rs"]
mod server;
#[path = "download/transfer.rs"]
mod transfer;
