//! How a database is opened, and how sure a commit is to survive.

use super::vfs::{DiskVfs, Vfs};
use crate::limits;
use std::sync::Arc;

/// What a database is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Reading and writing; there is one writer at a time.
    Write {
        /// Whether to make the database when it does not exist.
        create: bool,
    },
    /// Reading only; needs no write access to anything.
    Read,
}

/// How the bytes of segments reach memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access {
    /// Mapped: nothing is copied, but a disk error while a page is read kills the process.
    #[default]
    Map,
    /// Read into memory of the process; disk errors are values. For removable disks; used unasked on network file
    /// systems, FUSE and unknown ones.
    Read,
}

/// What a commit survives once it is acknowledged. Either way it is all there or not at all, after those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// A power cut: it is synced, with everything committed before it.
    #[default]
    Sync,
    /// The death of the process. A power cut may take the last commits, newest first; the store syncs by itself what
    /// has waited for a second, or 64 MiB together.
    Buffered,
}

/// How to open a database.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where its files are.
    pub vfs: Arc<dyn Vfs>,
    /// How they are read.
    pub access: Access,
    /// Whether to write also where locks and syncs may be worth nothing: on network file systems, FUSE and unknown
    /// ones.
    pub allow_network: bool,
    /// Sizes at which the store does something.
    pub tuning: Tuning,
}

impl Default for Options {
    /// Files of the operating system, mapped.
    fn default() -> Options {
        Options { vfs: Arc::new(DiskVfs), access: Access::Map, allow_network: false, tuning: Tuning::default() }
    }
}

/// Sizes at which the store does something. The defaults suit disks; tests make them small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// A matrix of so many stored bytes goes straight to a segment instead of through the log.
    pub direct_bytes: u64,
    /// Commits of together so many bytes in the log are written out as a segment.
    pub log_bytes: u64,
    /// An open segment of so many bytes of matrices is sealed.
    pub segment_bytes: u64,
    /// So many bytes of commits that are only buffered are synced.
    pub buffered_bytes: u64,
    /// So long a buffered commit waits for its sync.
    pub buffered_for: std::time::Duration,
    /// Length of the file `RESERVE`, which is given up when the disk is full.
    pub reserve_bytes: u64,
    /// Commits that could make a manifest larger than so many bytes are refused.
    pub manifest_bytes: u64,
    /// Bytes of ids, fields and entries at which compaction and bulk loading end a segment, since these wait in memory.
    pub table_bytes: u64,
    /// Whether threads of the store's own sync what has been buffered for long, and compact when there is enough to
    /// gain.
    pub background: bool,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning {
            direct_bytes: 64 << 10,
            log_bytes: 64 << 20,
            segment_bytes: 256 << 20,
            buffered_bytes: 64 << 20,
            buffered_for: std::time::Duration::from_secs(1),
            reserve_bytes: 4 << 20,
            manifest_bytes: limits::MANIFEST_BYTES,
            table_bytes: 32 << 20,
            background: true,
        }
    }
}
