//! Files from the network. Nothing else in the library asks a server for anything, and this only when its user named
//! something to fetch.
//!
//! - A [`Download`] fetches one address into one file. Bytes go to `FILE.incomplete` beside it, which an interrupted
//!   download leaves and the next one goes on with; when all are there they are checked (length, checksum), synced
//!   and renamed. A file that bears its own name is whole.
//! - A [`Hub`] fetches a checkpoint by its name (`owner/name`, `owner/name@revision`: a [`HubId`]) into the cache
//!   that the hub's own tools use, and returns the folder that holds it. What is in the cache already is not fetched
//!   again.
//! - An *ETag* is a server's name for one content of an address: the same tag means the same bytes.
//!
//! ```text
//! address --(client: redirects, token only to its own host)--> transfer: .incomplete --(checksum)--> file
//! owner/name --(hub: which commit, which files)--> blobs/ETAG <--(link)-- snapshots/COMMIT/config.json, ..
//! ```
//!
//! Nothing that a server says is trusted: names that become parts of paths are checked, sizes and sums compared, and
//! no more bytes are taken than a file of its kind may have. After a dropped connection, a failure of the server's
//! own (5xx), silence for a minute, or less than 1 KiB a second ([`Pace`]), it tries again a few times, with growing
//! pauses. Nothing is written through a link that somebody put where a file is to be. Connections go through the
//! proxy that the usual variables name, loopback addresses directly.
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
    /// Name of the file that is being fetched.
    pub what: &'a str,
    /// Bytes of it that are here.
    pub bytes: u64,
    /// Bytes that it has in all, where the server said so.
    pub total: Option<u64>,
}
