//! Bytes that survive: records on disk, found again after any crash.
//!
//! # Words
//! A *manifest* names the files that make up the database; each *publish* writes the next one, and its number is the
//! *generation*. A *segment* is an immutable file of records, a *delete set* says which of them are gone, a *view file*
//! holds fitted parameters. These are the truth. *Derived rows* can be rebuilt and are worth nothing but time. A
//! [`Version`] is one manifest with its files open; holding it *pins* them.
//!
//! # In and out
//! ```text
//! Vec<Change> -> Store::commit -> log + open segments -> Version (files, and what is in the log, in memory)
//!                Store::flush  -> segments, delete sets, view files, then a manifest -> Version (files)
//! Version -> CollectionVersion -> SegmentRef -> Segment -> matrix
//! ```
//! Every commit is atomic, and durable when it returns unless it is only [buffered](Durability). Readers, in this
//! process and in others, see one version while the writer goes on. The bytes are specified in `storage-format.md`;
//! [`layout`] holds the same numbers.
//!
//! # Folders, each using only those before it
//! - `vfs/`: file systems, real ones, one in memory, faulty ones; mapping files.
//! - `files/`: the files of one database over a `vfs`, whether they are still those that were opened, the lock.
//! - `format/`, with [`layout`]: the bytes of each kind of file; `segment/`: records in a file or in memory.
//! - `derived/`: what can be made again from segments: rows of views, indexes.
//! - `version/`: what there is: manifests, what the log adds, the next version thought out in memory, snapshots.
//! - `write/`: commits, publishes, segments written beside them, removing files that nothing needs.
//! - `upkeep/`: compaction, backup, verifying, counting, threads in the background.
//! - here, on top: the handle, opening, and `repair/`, which works with a handle on a new database.
//!
//! # Costs
//! Opening: for each segment one open, three short reads and, from 64 KiB on, one mapping where the system grants it;
//! no row, id or JSON is read; after a crash at most 64 MiB of log, and the matrices beside it. A commit: one write and
//! one sync, two where a large matrix is in it, however many collections there are; commits of several threads share
//! them. A publish: one sync for each file written and each directory touched, and two for the manifest. Finding an id:
//! one binary search in each segment of its collection. First touch of a 64 KiB block: its CRC-32. Memory: what the log
//! holds, at most twice 64 MiB.
//!
//! # What it does not do
//! It knows records, never scores.

mod derived;
mod files;
mod format;
#[doc(hidden)]
pub mod layout;
mod open;
mod options;
mod repair;
mod segment;
mod shared;
#[cfg(test)]
#[allow(clippy::print_stdout)]
mod tests;
mod upkeep;
mod version;
pub mod vfs;
mod write;

#[cfg(any(test, feature = "testing"))]
pub(crate) use derived::in_memory;
#[cfg(test)]
pub(crate) use derived::sections_of;
pub(crate) use derived::{Artefact, Sections, SectionsWriter};
#[doc(hidden)]
pub use derived::{Build, DerivedRows};
pub(crate) use format::container::Counts;
pub use format::damage::Unreadable;
#[doc(hidden)]
pub use format::view_file::ViewFile;
pub use options::{Access, Durability, Mode, Options, Tuning};
pub use repair::{
    LostRecord, LostSegment, LostView, RepairReport, Revived, SavedCollection, repair_in_place, repair_to,
};
#[doc(hidden)]
pub use segment::Segment;
pub use upkeep::backup::BackedUp;
pub use upkeep::compact::Compacted;
pub use upkeep::stat::Stat;
pub use upkeep::verify::{Depth, Finding, Verification, verify_path};
#[doc(hidden)] // what the rooms above and the tests of durability use
pub use version::change::{Change, Committed};
pub use version::snapshot::{Entry, RAW, Snapshot};
#[doc(hidden)]
pub use version::{CollectionVersion, SegmentRef, Version};
pub use write::bulk::BulkLoad;

use crate::error::Result;
use format::manifest;
use shared::Shared;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use upkeep::background::Background;
use upkeep::{compact, verify};

/// An open database.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    background: Background,
}

impl Store {
    /// The directory of the database.
    pub fn path(&self) -> &Path {
        self.shared.files.root()
    }

    /// Whether this handle may commit.
    pub fn is_writable(&self) -> bool {
        self.shared.writer.is_some()
    }

    /// The newest version that this handle knows.
    pub fn version(&self) -> Arc<Version> {
        self.shared.version()
    }

    /// The newest version on disk.
    ///
    /// # Errors
    /// As when opening; the handle keeps the version that it had.
    pub fn refresh(&self) -> Result<Arc<Version>> {
        self.shared.refresh()
    }

    /// One collection as it is now.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub(crate) fn snapshot(&self, name: &str) -> Result<Snapshot> {
        Snapshot::new(&self.shared.derived, self.version(), name)
    }

    /// Begins to load records into a collection, beside its commits.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::ReadOnly`].
    pub(crate) fn bulk_load(&self, collection: &str) -> Result<BulkLoad> {
        BulkLoad::new(&self.shared, collection)
    }

    /// Copies the newest version into the directory `dir`, which must be new or empty. `progress` gets the bytes done
    /// and the bytes in all.
    ///
    /// # Errors
    /// Those of the copy (`upkeep/backup.rs`), and for a writable handle those of [`Store::flush`].
    pub fn backup_to(&self, dir: &Path, progress: &dyn Fn(u64, u64)) -> Result<BackedUp> {
        self.shared.backup_to(dir, progress)
    }

    /// Sizes and counts as of this handle's version; bytes on disk as of now.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn stat(&self) -> Result<Stat> {
        Stat::of(&self.shared)
    }

    /// Carries out all changes as one, durably, or none.
    ///
    /// # Errors
    /// Of the caller ([`Error::NotFound`], [`Error::Exists`], [`Error::Mismatch`], [`Error::Invalid`],
    /// [`Error::ReadOnly`]), [`Error::DiskFull`] and [`Error::Corrupt`] (where it must be known whether an id exists):
    /// nothing happened. [`Error::Io`] on writing or syncing: nothing happened, but this handle writes no more
    /// ([`Error::Poisoned`]). [`Error::OutcomeUnknown`]: all of it or nothing, and no more writes.
    pub fn commit(&self, changes: Vec<Change>) -> Result<Committed> {
        self.commit_with(changes, Durability::Sync)
    }

    /// Carries out all changes as one or none, and says when that must be durable.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn commit_with(&self, changes: Vec<Change>, durability: Durability) -> Result<Committed> {
        let committed = self.shared.commit(changes, durability)?;
        self.background.look_after(&self.shared, durability);
        Ok(committed)
    }

    /// Makes every earlier commit durable.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn sync(&self) -> Result<()> {
        self.shared.sync()
    }

    /// As [`Store::sync`], and all records are in sealed segments when it returns.
    ///
    /// # Errors
    /// As [`Store::commit`]; also, once, what the store's own threads met since: then this flush itself went well.
    pub fn flush(&self) -> Result<()> {
        self.shared.flush()?;
        self.background.look_after(&self.shared, Durability::Sync);
        match self.shared.writer()?.untold.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// As [`Store::flush`], and the lock is released. Dropping the store does the same, but tells nobody of errors.
    ///
    /// # Errors
    /// As [`Store::flush`].
    pub fn close(self) -> Result<()> {
        if self.is_writable() { self.flush() } else { Ok(()) }
    }

    /// Rewrites segments in which much is deleted and joins small ones, as long as `keep_going` says so; it is asked
    /// every few records. What was finished by then stays. Commits go on beside it. The space is back when it returns,
    /// but for what readers have pinned.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn compact(&self, keep_going: &(dyn Fn() -> bool + Sync)) -> Result<Compacted> {
        self.shared.compact(keep_going, compact::Reason::Asked)
    }

    /// As [`Store::compact`], and every segment is rewritten that holds anything deleted or replaced.
    ///
    /// # Errors
    /// As [`Store::commit`], and when a file cannot be removed.
    pub fn purge(&self, keep_going: &(dyn Fn() -> bool + Sync)) -> Result<Compacted> {
        self.shared.compact(keep_going, compact::Reason::Forced)
    }

    /// The rows of a view over a segment: remembered, else read from their file, else made by `build`, which gives one
    /// record's rows and is called in parallel. A writable store keeps them in a file; one that cannot be written or is
    /// damaged costs time and nothing else.
    ///
    /// # Errors
    /// Those of `build`.
    #[cfg(any(test, feature = "testing"))]
    pub fn rows(&self, segment: &Arc<Segment>, view: &ViewFile, build: &Build<'_>) -> Result<Arc<DerivedRows>> {
        self.shared.derived.rows(segment, view, build)
    }

    /// Looks for damage everywhere, in the files as they are on disk now, and goes on after the first.
    ///
    /// # Errors
    /// Only when the database cannot be looked at; damage is in the report.
    pub fn verify(&self, depth: Depth) -> Result<Verification> {
        let mut report = verify::verify(&self.shared.files, depth)?;
        // What a compaction is writing is named by nothing yet.
        if let Ok(writer) = self.shared.unchecked_writer() {
            let number = |path: &PathBuf| manifest::number_of(path.file_name()?.to_str()?);
            report.orphans.retain(|path| !number(path).is_some_and(|number| writer.making.contains(&number)));
        }
        Ok(report)
    }
}

impl Drop for Store {
    /// Commits are safe in the log, so what cannot be written out now will be when the database is opened again. The
    /// lock goes now, also while snapshots live on: they read what they have pinned and write nothing any more.
    fn drop(&mut self) {
        self.background.stop();
        if self.is_writable() && !std::thread::panicking() {
            let _ = self.shared.flush();
        }
        self.shared.derived.stop_writing();
    }
}
