//! Files from the network: the only room that asks a server for anything, and only when its user named something to fetch.
//!
//! - A [`Download`] brings one address to one file: into `FILE.incomplete` beside it, which an interrupted download leaves
//!   and the next one goes on with, then checked (length, checksum), synced and renamed. What bears the file's own name is whole.
//! - A [`Hub`] brings a checkpoint by its name (`owner/name`, `owner/name@revision`: a [`HubId`]) into the cache that the hub's
//!   own tools use, and gives the folder it lies in. What is in the cache already is not fetched again.
//! - An *ETag* is a server's name for one content of an address: the same tag, the same bytes.
//!
//! ```text
//! address --(client: redirects, token only to its own host)--> transfer: .incomplete --(checksum)--> file
//! owner/name --(hub: which commit, which files)--> blobs/ETAG <--(link)-- snapshots/COMMIT/config.json, ..
//! ```
//!
//! Nothing that a server says is trusted: names that become parts of paths are checked, sizes and sums compared, and no more is
//! taken than a file of its kind may have. A dropped connection, a server's own failure (5xx), silence for a minute or less than
//! 1 KiB a second ([`Pace`]) is tried again a few times, with growing pauses. Nothing is written through a link that somebody put
//! where a file is to be.
//! Connections go through the proxy that the usual variables name, loopback addresses directly.
//!
//! **Cost.** 64 KiB of memory; a checksum reads the file once more.

#[cfg(feature = "hub")]
mod cache;
#[cfg(feature = "hub")]
mod checksum;
#[cfg(feature = "hub")]
mod client;
#[cfg(feature = "hub")]
mod hub;
#[cfg(feature = "hub")]
mod hub_id;
#[cfg(feature = "hub")]
mod transfer;

#[cfg(feature = "hub")]
pub use {
    checksum::Checksum,
    client::Retries,
    hub::{Checkpoint, Hub},
    hub_id::HubId,
    transfer::{Download, Pace},
};

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// What is being fetched: a file's name.
    pub what: &'a str,
    /// Bytes that are here.
    pub bytes: u64,
    /// Bytes in all, where the server said so.
    pub total: Option<u64>,
}
