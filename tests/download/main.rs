//! What comes from the network, from a server on a loopback address: no test here asks anybody else.
#![cfg(feature = "hub")]
#![allow(clippy::unwrap_used, unreachable_pub)]

mod server;
mod transfer;
