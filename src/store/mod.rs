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
//! Vec<Change> -> Store::commit -> log + open segments -> Version (files, and what is in the log, in memory)
//!                Store::flush  -> segments, delete sets, view files, then a manifest -> Version (files)
//! Version -> CollectionVersion -> SegmentRef -> Segment -> matrix
//! ```
//! Every commit is atomic, and durable when it returns unless it is only [buffered](Durability). Readers, in this process and
//! in others, see one version while the writer goes on. The bytes are specified in `storage-format.md`; [`layout`] holds the same
//! numbers.
//!
//! # Which file does what
//! - a commit: `commit` (taken, waited for), `draft` and `staged` (thought out in memory), `writer` (written), `log/`,
//!   `segment/growing`;
//! - a publish: `publish`, `fold` (small segments join), `aside` with `compact` and `bulk` (segments written beside the commits), `gc`;
//! - opening: `open`, `lock`, `replay` (the log, by readers again and again), `version` with its `collections`, `snapshot`;
//! - the files: `files` over `vfs/`, `hold` (whether they are still those that were opened), `container/` (the shape that all
//!   but logs and manifests share), `segment/`, `deletes`, `view_file`,
//!   `derived`, `manifest/`;
//! - when something is wrong: `damage`, `verify`, `repair/`, and in good time `backup`.
//!
//! # Costs
//! Opening: for each segment one open, three short reads and, from 64 KiB on, one mapping where the system grants it; no row, id or JSON is read; after a crash at most 64 MiB
//! of log, and the matrices beside it. A commit: one write and one sync, two where a large matrix is in it, however many
//! collections there are; commits of several threads share them. A publish: one sync for each file written and each directory touched, and two for the manifest. Finding an
//! id: one binary search in each segment of its collection. First touch of a 64 KiB block: its CRC-32. Memory: what the log
//! holds, at most twice 64 MiB.
//!
//! # What it does not do
//! It knows records, never scores.

mod aside;
mod backup;
mod bits;
mod bulk;
mod change;
mod collections;
mod commit;
mod compact;
mod container;
mod damage;
mod deletes;
mod derived;
mod draft;
mod file_system;
mod files;
mod fold;
mod gc;
mod helpers;
mod hold;
#[doc(hidden)]
pub mod layout;
mod lock;
mod log;
mod manifest;
mod map;
mod matches;
mod open;
mod options;
mod publish;
mod repair;
mod replay;
mod segment;
mod snapshot;
mod staged;
mod stat;
#[cfg(test)]
#[allow(clippy::print_stdout)]
mod tests;
mod verify;
mod version;
pub mod vfs;
mod view_file;
mod writer;

pub use backup::BackedUp;
pub use bulk::BulkLoad;
#[doc(hidden)] // what the rooms above and the tests of durability use
pub use change::{Change, Committed};

pub(crate) use container::Counts;
pub use damage::Unreadable;
#[cfg(any(test, feature = "testing"))]
pub(crate) use derived::in_memory;
#[cfg(test)]
pub(crate) use derived::sections_of;
pub(crate) use derived::{Artefact, Sections, SectionsWriter};
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
pub use verify::{Depth, Finding, Verification, verify_path};
#[doc(hidden)]
pub use version::{CollectionVersion, SegmentRef, Version};
#[doc(hidden)]
pub use view_file::ViewFile;

use crate::error::{Error, Result};
use derived::Derived;
use files::Files;
use helpers::Helpers;
use replay::Replay;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use writer::Writer;

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compacted {
    /// Segments that were rewritten.
    pub segments: u64,
    /// Segments that went without being rewritten: nothing in them was live any more.
    pub removed: u64,
    /// Bytes of segments written.
    pub written_bytes: u64,
    /// Bytes of segments and delete sets that are no longer needed, once nobody has them pinned.
    pub freed_bytes: u64,
    /// Whether it came to its end.
    pub finished: bool,
    /// Segments with deleted records that were left as they are, because a record in them cannot be read.
    pub damaged: u64,
    /// Older generations that readers have pinned: their files go when they are let go and something is written next.
    pub pinned: u64,
}

/// An open database.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    helpers: Helpers,
}

/// What the handle and its threads share.
#[derive(Debug)]
struct Shared {
    files: Files,
    access: Access,
    tuning: Tuning,
    /// What readers get: everything acknowledged.
    current: RwLock<Arc<Version>>,
    /// Where a reader is in the log. None for a writer, which knows what it wrote.
    replay: Option<Mutex<Replay>>,
    /// Shared with snapshots, which may outlive the store.
    derived: Arc<Derived>,
    writer: Option<Mutex<Writer>>,
    /// Told of whenever commits have become durable.
    synced: Condvar,
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
        self.helpers.look_after(&self.shared, durability);
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
        self.helpers.look_after(&self.shared, Durability::Sync);
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
    /// every few records. What was finished by then stays. Commits go on beside it. The space is back when it returns, but
    /// for what readers have pinned.
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
    /// Commits are safe in the log, so what cannot be written out now will be when the database is opened again. The lock
    /// goes now, also while snapshots live on: they read what they have pinned and write nothing any more.
    fn drop(&mut self) {
        self.helpers.stop();
        if self.is_writable() && !std::thread::panicking() {
            let _ = self.shared.flush();
        }
        self.shared.derived.stop_writing();
    }
}

impl Shared {
    fn version(&self) -> Arc<Version> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, next: Arc<Version>) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        // Two threads may come with one each; the newer stays.
        if next.is_after(&current) {
            *current = next;
        }
    }

    /// Remembers what went wrong beside the commits.
    fn note(&self, error: Error) {
        if let Ok(mut writer) = self.unchecked_writer() {
            writer.trouble = Some(error.to_string());
            writer.untold = Some(error);
        }
    }

    fn refresh(&self) -> Result<Arc<Version>> {
        match &self.replay {
            None => Ok(self.version()),
            Some(replay) => self.catch_up(&mut replay.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// Goes to the newest version; `replay` is then exactly there.
    fn catch_up(&self, replay: &mut Replay) -> Result<Arc<Version>> {
        let known = self.version();
        let anew = |what: String| Error::unusable(self.files.root(), format!("{what}: open it anew"));
        let gone = |error: Error| match error {
            error if files::is_missing(&error) || matches!(error, Error::NotFound { .. }) => {
                anew("was removed".to_owned())
            }
            other => other,
        };
        let newest = version::is_newest(&self.files, known.generation).map_err(gone)?;
        if newest && known.is_in_place(&self.files)? {
            match replay.catch_up(&self.files, &known) {
                Ok(None) => return Ok(known),
                Ok(Some(next)) => {
                    self.replace(Arc::new(next));
                    return Ok(self.version());
                }
                // Overtaken while it was read.
                Err(_) if !version::is_newest(&self.files, known.generation)? => {}
                Err(error) => return Err(error),
            }
        }
        let (next, now) = open::newest(&self.files, self.access, Some(&known)).map_err(gone)?;
        if next.manifest.database != known.manifest.database {
            return Err(anew("holds another database than when it was opened".to_owned()));
        }
        if next.generation <= known.generation {
            return Err(anew(
                "holds an older state than this handle has seen, as when a backup is restored".to_owned(),
            ));
        }
        self.files.check_place().map_err(|error| match error {
            Error::Poisoned { cause, .. } => anew(cause),
            other => other,
        })?;
        *replay = now;
        self.replace(Arc::new(next));
        Ok(self.version())
    }
}
