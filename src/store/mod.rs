//! Storage: keeps records on disk so that they are found again after any crash.
//!
//! # Words
//! A *manifest* names the files that make up the database. Each *publish* writes the next manifest; its number is the
//! *generation*. A *segment* is an immutable file of records, a *delete set* lists which of them are deleted, a *view
//! file* holds the fitted parameters of a view. These hold what cannot be made again. *Derived rows* can be rebuilt;
//! losing them costs only time. A [`Version`] is one manifest with its files open; while it is held, its files are
//! *pinned*: they stay on disk.
//!
//! # In and out
//! ```text
//! Vec<Change> -> Store::commit -> log + open segments -> Version (files, and what is in the log, in memory)
//!                Store::flush  -> segments, delete sets, view files, then a manifest -> Version (files)
//! Version -> CollectionVersion -> SegmentRef -> Segment -> matrix
//! ```
//! Every commit is atomic, and durable when it returns unless it is only [buffered](Durability). Readers, in this
//! process and in others, see one fixed version while the writer continues. `storage-format.md` specifies the bytes;
//! [`layout`] holds the same numbers.
//!
//! # Folders, each using only those before it
//! - `vfs/`: file systems: the real one, one in memory, one that fails on purpose; mapping of files.
//! - `files/`: the files of one database on a `vfs`, the check that they are still those that were opened, the lock.
//! - `format/`, with [`layout`]: the bytes of each kind of file; `segment/`: records in a file or in memory.
//! - `derived/`: what can be rebuilt from segments: rows of views, indexes.
//! - `version/`: what the database holds: manifests, what the log adds, the next version built in memory, snapshots.
//! - `write/`: commits, publishes, segments staged beside them, removal of files that nothing needs.
//! - `upkeep/`: compaction, backup, verification, counting, background threads.
//! - this folder, on top: the handle, opening, and `repair/`, which writes into a new database through a handle.
//!
//! # Costs
//! Opening: for each segment one open, three short reads and, from 64 KiB on, one mapping where the system grants it;
//! no row, id or JSON is read; after a crash at most 64 MiB of log, and the matrices beside it. A commit: one write and
//! one sync, two if it holds a large matrix, however many collections there are; commits of several threads share them.
//! A publish: one sync for each file written and each directory changed, and two for the manifest. Finding an id: one
//! search in the id table of each segment of its collection. First read of a 64 KiB block: its CRC-32. Memory: what the
//! log holds, at most twice 64 MiB.
//!
//! # What it does not do
//! It stores records but never scores them.

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
#[doc(hidden)] // used by the modules above and by the durability tests
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
    /// Returns the directory of the database.
    pub fn path(&self) -> &Path {
        self.shared.files.root()
    }

    /// Returns whether this handle may commit.
    pub fn is_writable(&self) -> bool {
        self.shared.writer.is_some()
    }

    /// Returns the newest version that this handle knows.
    pub fn version(&self) -> Arc<Version> {
        self.shared.version()
    }

    /// Moves this handle to the newest version on disk and returns it.
    ///
    /// # Errors
    /// As when opening; the handle then keeps the version that it had.
    pub fn refresh(&self) -> Result<Arc<Version>> {
        self.shared.refresh()
    }

    /// Returns one collection as it is now.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub(crate) fn snapshot(&self, name: &str) -> Result<Snapshot> {
        Snapshot::new(&self.shared.derived, self.version(), name)
    }

    /// Begins a bulk load into a collection; commits continue beside it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::ReadOnly`].
    pub(crate) fn bulk_load(&self, collection: &str) -> Result<BulkLoad> {
        BulkLoad::new(&self.shared, collection)
    }

    /// Copies the newest version into the directory `dir`, which must be new or empty. Calls `progress` with the bytes
    /// done so far and the bytes in total.
    ///
    /// # Errors
    /// Those of the copy (`upkeep/backup.rs`), and for a writable handle those of [`Store::flush`].
    pub fn backup_to(&self, dir: &Path, progress: &dyn Fn(u64, u64)) -> Result<BackedUp> {
        self.shared.backup_to(dir, progress)
    }

    /// Returns sizes and counts as of this handle's version; bytes on disk are as of now.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn stat(&self) -> Result<Stat> {
        Stat::of(&self.shared)
    }

    /// Applies all changes atomically and durably: all of them or none.
    ///
    /// # Errors
    /// Errors of the caller ([`Error::NotFound`], [`Error::Exists`], [`Error::Mismatch`], [`Error::Invalid`],
    /// [`Error::ReadOnly`]), [`Error::DiskFull`], and [`Error::Corrupt`] (when damage hides whether an id exists):
    /// nothing was changed. [`Error::Io`] on writing or syncing: nothing was changed, but this handle writes no more
    /// ([`Error::Poisoned`]). [`Error::OutcomeUnknown`]: either all or none of the changes took place, and this handle
    /// writes no more.
    pub fn commit(&self, changes: Vec<Change>) -> Result<Committed> {
        self.commit_with(changes, Durability::Sync)
    }

    /// Applies all changes or none; `durability` says whether they must be durable when this returns.
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

    /// Does what [`Store::sync`] does, and writes all records into sealed segments.
    ///
    /// # Errors
    /// As [`Store::commit`]; also, once, an error that a background thread met since: this flush itself then succeeded.
    pub fn flush(&self) -> Result<()> {
        self.shared.flush()?;
        self.background.look_after(&self.shared, Durability::Sync);
        match self.shared.writer()?.untold.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Does what [`Store::flush`] does, and releases the lock. Dropping the store does the same, but reports no errors.
    ///
    /// # Errors
    /// As [`Store::flush`].
    pub fn close(self) -> Result<()> {
        if self.is_writable() { self.flush() } else { Ok(()) }
    }

    /// Rewrites segments that hold many deleted records and joins small ones, until there is nothing left to gain or
    /// `keep_going`, called every few records, returns false. Work finished by then is kept. Commits continue beside
    /// it. When it returns, the space is free again, except for what readers have pinned.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn compact(&self, keep_going: &(dyn Fn() -> bool + Sync)) -> Result<Compacted> {
        self.shared.compact(keep_going, compact::Reason::Asked)
    }

    /// Does what [`Store::compact`] does, and rewrites every segment that holds anything deleted or replaced.
    ///
    /// # Errors
    /// As [`Store::commit`], and when a file cannot be removed.
    pub fn purge(&self, keep_going: &(dyn Fn() -> bool + Sync)) -> Result<Compacted> {
        self.shared.compact(keep_going, compact::Reason::Forced)
    }

    /// Returns the rows of a view over a segment: from memory, else from their file, else made by `build`, which
    /// returns one record's rows and is called in parallel. A writable store keeps them in a file; if that cannot be
    /// written or is damaged, this costs time and nothing else.
    ///
    /// # Errors
    /// Those of `build`.
    #[cfg(any(test, feature = "testing"))]
    pub fn rows(&self, segment: &Arc<Segment>, view: &ViewFile, build: &Build<'_>) -> Result<Arc<DerivedRows>> {
        self.shared.derived.rows(segment, view, build)
    }

    /// Looks for damage in all files as they are on disk now, without stopping at the first.
    ///
    /// # Errors
    /// Only when the database cannot be examined; damage is in the report.
    pub fn verify(&self, depth: Depth) -> Result<Verification> {
        let mut report = verify::verify(&self.shared.files, depth)?;
        // Files that a compaction or bulk load is still writing are not named by any manifest yet.
        if let Ok(writer) = self.shared.unchecked_writer() {
            let number = |path: &PathBuf| manifest::number_of(path.file_name()?.to_str()?);
            report.orphans.retain(|path| !number(path).is_some_and(|number| writer.making.contains(&number)));
        }
        Ok(report)
    }
}

impl Drop for Store {
    /// Writes out the log. If that fails, the commits are safe in it and are written out when the database is opened
    /// again. Releases the lock even while snapshots live on: these read what they have pinned and write nothing any
    /// more.
    fn drop(&mut self) {
        self.background.stop();
        if self.is_writable() && !std::thread::panicking() {
            let _ = self.shared.flush();
        }
        self.shared.derived.stop_writing();
    }
}
