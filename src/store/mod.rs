//! Bytes that survive: records on disk, found again after any crash.
//!
//! # Words
//! A *manifest* names the files that make up the database; each *publish* writes the next one, and its number is the
//! *generation*. A *segment* is an immutable file of records, a *delete set* says which of them are gone, a *view file* holds
//! fitted parameters. These are the truth. *Derived rows* can be rebuilt and are worth nothing but time. A [`Version`] is one
//! manifest with its files open; holding it *pins* them.
//!
//! # In and out
//! ```text
//! Vec<Change> -> Store::publish -> files, then manifest -> Version -> CollectionVersion -> SegmentRef -> Segment -> matrix
//! ```
//! Every publish is atomic and on disk when it returns. Readers, in this process and in others, see one version while the
//! writer goes on. The bytes are specified in `storage-format.md`; [`layout`] holds the same numbers.
//!
//! # Costs
//! Opening: for each segment one open, three short reads and one mapping; no row, id or JSON is read. A publish: one sync
//! for each file written and each directory touched, and two for the manifest (about 16 ms on a virtual disk). Finding an
//! id: one binary search in each segment of its collection. First touch of a 64 KiB block: its CRC-32.
//!
//! # What it does not do
//! It knows records, never scores. It has no log yet: each commit writes a segment, and small segments are folded together
//! (see `fold.rs`).

mod bits;
mod change;
mod container;
mod damage;
mod deletes;
mod derived;
mod draft;
mod files;
mod fold;
mod gc;
#[doc(hidden)]
pub mod layout;
mod lock;
mod manifest;
mod map;
mod matches;
mod open;
mod options;
mod publish;
mod repair;
mod segment;
mod snapshot;
mod stat;
#[cfg(test)]
#[allow(clippy::print_stdout)]
mod tests;
mod verify;
mod version;
pub mod vfs;
mod view_file;

#[doc(hidden)] // what the rooms above and the tests of durability use
pub use change::{Change, Committed};
pub use damage::Unreadable;
#[doc(hidden)]
pub use derived::{Build, DerivedRows};
pub use options::{Access, Durability, Mode, Options, Tuning};
pub use repair::{
    LostRecord, LostSegment, LostView, RepairReport, Revived, SavedCollection, repair_in_place, repair_to,
};
#[doc(hidden)]
pub use segment::Segment;
pub use snapshot::{Entry, RAW, Snapshot};
pub use stat::Stat;
pub use verify::{Depth, Finding, Report, verify_path};
#[doc(hidden)]
pub use version::{CollectionVersion, SegmentRef, Version};
#[doc(hidden)]
pub use view_file::ViewFile;

use crate::error::{Error, Result};
use derived::Derived;
use draft::Draft;
use files::{File, Files};
use publish::{Publisher, Stop};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Segments that were rewritten.
    pub segments: u64,
    /// Bytes of segments written.
    pub written_bytes: u64,
    /// Bytes of segments and delete sets that are no longer needed, once nobody has them pinned.
    pub freed_bytes: u64,
    /// Whether it came to its end.
    pub finished: bool,
}

/// An open database.
#[derive(Debug)]
pub struct Store {
    files: Files,
    access: Access,
    current: RwLock<Arc<Version>>,
    /// Shared with snapshots, which may outlive the store.
    derived: Arc<Derived>,
    writer: Option<Mutex<Writer>>,
}

/// What only a writer has.
#[derive(Debug)]
struct Writer {
    /// Held for as long as the store is open.
    lock: File,
    /// A child after fork shares locks and files, but must not write.
    process: u32,
    /// The failure after which nothing is written.
    poisoned: Option<String>,
    /// What the last removal of garbage could not do. The commit before it stands.
    trouble: Option<String>,
}

impl Store {
    /// The directory of the database.
    pub fn path(&self) -> &Path {
        self.files.root()
    }

    /// Whether this handle may publish.
    pub fn is_writable(&self) -> bool {
        self.writer.is_some()
    }

    /// The newest version that this handle knows.
    pub fn version(&self) -> Arc<Version> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The newest version on disk.
    ///
    /// # Errors
    /// As when opening; the handle keeps the version that it had.
    pub fn refresh(&self) -> Result<Arc<Version>> {
        if self.is_writable() {
            return Ok(self.version());
        }
        let (manifest, _, pin) = version::newest(&self.files)?;
        let known = self.version();
        if manifest.database != known.manifest.database {
            return Err(Error::unusable(self.path(), "holds another database than when it was opened: open it anew"));
        }
        if manifest.generation == known.generation {
            return Ok(known);
        }
        let next = Arc::new(Version::load(&self.files, self.access, manifest, pin, Some(&known))?);
        self.replace(next.clone());
        Ok(next)
    }

    fn replace(&self, next: Arc<Version>) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        // Two threads may refresh at once; the newer version stays.
        if next.generation > current.generation {
            *current = next;
        }
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
    pub fn commit_with(&self, changes: Vec<Change>, _: Durability) -> Result<Committed> {
        let Some(writer) = &self.writer else {
            return Err(Error::ReadOnly { path: self.path().to_path_buf() });
        };
        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.check(self.path())?;
        let current = self.version();
        let mut draft = Draft::new(&current);
        changes.into_iter().try_for_each(|change| draft.apply(change))?;
        let (ids, deleted) = (std::mem::take(&mut draft.ids), std::mem::take(&mut draft.deleted));
        if !draft.changed {
            drop(draft);
            return Ok(Committed { version: current, ids, deleted });
        }
        let done = Publisher::new(self, draft).run();
        let (version, retired) = done.map_err(|stop| writer.settle(stop, self.path()))?;
        let version = Arc::new(version);
        self.replace(version.clone());
        let swept = gc::sweep(&self.files, &version.manifest, &[&current.manifest], gc::Round::Publish);
        writer.trouble = retired.and(swept).err().map(|error| error.to_string());
        Ok(Committed { version, ids, deleted })
    }

    /// Makes every earlier commit durable.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn sync(&self) -> Result<()> {
        Ok(())
    }

    /// As [`Store::sync`], and all records are in sealed segments when it returns.
    ///
    /// # Errors
    /// As [`Store::commit`]; also those that writing segments in the background met since.
    pub fn flush(&self) -> Result<()> {
        Ok(())
    }

    /// As [`Store::flush`], and the lock is released. Dropping the store does the same, but tells nobody of errors.
    ///
    /// # Errors
    /// As [`Store::flush`].
    pub fn close(self) -> Result<()> {
        self.flush()
    }

    /// Rewrites segments in which much is deleted and joins small ones, as long as `keep_going` says so; it is asked
    /// every few records. What was finished by then stays. Commits go on beside it.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn compact(&self, keep_going: &(dyn Fn() -> bool + Sync)) -> Result<Compacted> {
        Ok(Compacted { finished: keep_going(), ..Compacted::default() })
    }

    /// The rows of a view over a segment: remembered, else read from their file, else made by `build`, which gives one
    /// record's rows and is called in parallel. A writable store keeps them in a file; one that cannot be written or is
    /// damaged costs time and nothing else.
    ///
    /// # Errors
    /// Those of `build`.
    pub fn rows(&self, segment: &Arc<Segment>, view: &ViewFile, build: &Build<'_>) -> Result<Arc<DerivedRows>> {
        self.derived.rows(segment, view, build)
    }

    /// Looks for damage everywhere, in the files as they are on disk now, and goes on after the first.
    ///
    /// # Errors
    /// Only when the database cannot be looked at; damage is in the report.
    pub fn verify(&self, depth: Depth) -> Result<Report> {
        verify::verify(&self.files, depth)
    }
}

impl Drop for Store {
    /// The lock goes now, also while snapshots live on: they read what they have pinned and write nothing any more.
    fn drop(&mut self) {
        self.derived.stop_writing();
    }
}

impl Writer {
    fn check(&self, path: &Path) -> Result<()> {
        let cause = match &self.poisoned {
            Some(cause) => cause.clone(),
            None if self.process != std::process::id() => "fork: this is a child of the process that opened it".into(),
            // Somebody else may hold a lock of that name by now, and two writers would undo each other's commits.
            None if !self.lock.is_linked()? => "the file LOCK was removed while it was held".into(),
            None => return Ok(()),
        };
        Err(Error::Poisoned { path: path.to_path_buf(), cause })
    }

    fn settle(&mut self, stop: Stop, path: &Path) -> Error {
        match stop {
            Stop::Refused(error) => error,
            Stop::Poison(error) => {
                self.poisoned = Some(error.to_string());
                error
            }
            Stop::Unknown(error) => {
                self.poisoned = Some(error.to_string());
                Error::OutcomeUnknown { path: path.to_path_buf(), cause: error.to_string() }
            }
        }
    }
}
