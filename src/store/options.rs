//! Options: how a database is opened, and what a commit survives.

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
    /// Read into the memory of the process; disk errors are returned as errors. For removable disks; always used on
    /// network file systems, FUSE and unknown ones.
    Read,
}

/// What a commit survives once it is acknowledged. Either way it survives whole or not at all, and never without those
/// before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// A power cut: it is synced, with everything committed before it.
    #[default]
    Sync,
    /// The death of the process. A power cut may take the last commits, newest first; the store itself syncs them when
    /// they have waited for a second, or reach 64 MiB together.
    Buffered,
}

/// How to open a database.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file system that holds the database.
    pub vfs: Arc<dyn Vfs>,
    /// How segments are read.
    pub access: Access,
    /// Whether to write even where locks and syncs may be worth nothing: on network file systems, FUSE and unknown
    /// ones.
    pub allow_network: bool,
    /// Thresholds at which the store acts.
    pub tuning: Tuning,
}

impl Default for Options {
    /// Returns options for files of the operating system, mapped.
    fn default() -> Options {
        Options { vfs: Arc::new(DiskVfs), access: Access::Map, allow_network: false, tuning: Tuning::default() }
    }
}

/// Thresholds at which the store acts. The defaults suit disks; tests make them small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// A matrix of this many stored bytes or more goes straight to a segment instead of through the log.
    pub direct_bytes: u64,
    /// When the log holds this many bytes of commits, they are written out as segments.
    pub log_bytes: u64,
    /// An open segment is sealed when it holds this many bytes of matrices.
    pub segment_bytes: u64,
    /// Commits that are only buffered are synced when they reach this many bytes together.
    pub buffered_bytes: u64,
    /// How long a buffered commit waits before it is synced.
    pub buffered_for: std::time::Duration,
    /// Length in bytes of the file `RESERVE`, which is removed when the disk is full.
    pub reserve_bytes: u64,
    /// Commits that could make a manifest larger than this many bytes are refused.
    pub manifest_bytes: u64,
    /// Compaction and bulk loading end a segment at this many bytes of ids, fields and entries, since these wait in
    /// memory.
    pub table_bytes: u64,
    /// Whether background threads sync commits that were buffered for long, and compact when there is enough to gain.
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
