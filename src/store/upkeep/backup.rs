//! Copies a database that is in use.
//!
//! 1. One version is pinned: its files stay where they are, however long this takes and whatever the writer does.
//! 2. The target gets `LOCK`, held until the end so that nobody makes a database of a half copy, and its directories.
//! 3. Sealed files are hard-linked where the file system can, else copied and synced; a reader also copies what it has
//!    read of the log and of the segments that grow beside it. Then their directories are synced. Sharing an inode is
//!    safe: nobody writes to a sealed file, and removing it removes one of its names.
//! 4. The manifest comes last, as in a publish: written under another name, synced, renamed, directory synced. It is
//!    never linked, because a lock on it is a pin, and those of two databases must not be one.
//! 5. The copy is opened as a reader would and compared with the original. If it does not hold the same, its manifest
//!    is removed.
//!
//! A power cut before step 4 is durable leaves a directory without a manifest, which nobody takes for a database; after
//! it, every file that the manifest names is there, because these were synced before, names included. Derived files are
//! not copied: whoever opens the copy makes them again.

use crate::error::{Error, Result};
use crate::store::Access;
use crate::store::files::lock;
use crate::store::files::{DIRS, File, Files, LOCK, SEG, VIEW};
use crate::store::format::log;
use crate::store::format::manifest::{Manifest, name_of};
use crate::store::segment::Growing;
use crate::store::shared::Shared;
use crate::store::version;
use crate::store::version::Version;
use std::path::Path;
use std::sync::{Arc, PoisonError};

/// Bytes copied at a time.
const PIECE_BYTES: u64 = 1 << 20;

/// What a backup holds and how it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackedUp {
    /// The generation that was copied.
    pub generation: u64,
    /// How many records the backup holds.
    pub records: u64,
    /// Files that share their bytes with the original.
    pub linked_files: u64,
    /// Files that were written anew, the manifest among them.
    pub copied_files: u64,
    /// Bytes that were written, those of the manifest too.
    pub copied_bytes: u64,
    /// Bytes of the backup, shared ones too.
    pub bytes: u64,
}

impl Shared {
    /// Copies the newest version into the directory `dir`, which must be new or empty. Calls `progress` with the bytes
    /// done so far and the bytes in total.
    ///
    /// # Errors
    /// [`Error::Unusable`] when the directory is not empty or lies in the database, [`Error::Corrupt`] when a file of
    /// the database is no regular file, [`Error::Io`] and [`Error::DiskFull`] when one is missing or the backup cannot
    /// be written, and again [`Error::Unusable`] when the copy does not hold the same in the end: there is no backup
    /// then. A writable handle also has those of [`Store::flush`].
    pub(crate) fn backup_to(&self, dir: &Path, progress: &dyn Fn(u64, u64)) -> Result<BackedUp> {
        let files = &self.files;
        if files.contains(dir)? {
            let why = "lies in the database itself: give the path of a directory elsewhere for the backup";
            return Err(Error::unusable(dir, why));
        }
        let source = self.to_copy()?;
        let version = source.version;
        let target = files.beside(dir)?;
        check_empty(&target)?;
        let lock = lock::acquire(&target)?;
        // Another backup may have come and gone before the lock was ours.
        check_empty(&target)?;
        for dir in DIRS {
            target.create_dir(dir)?;
        }
        let manifest = version.pin.file();
        let manifest_bytes = manifest.bytes()?;
        let total = manifest_bytes + version.manifest.files().map(|(_, file)| file.bytes).sum::<u64>();
        let mut done = BackedUp { generation: version.generation, ..BackedUp::default() };
        done.records = version.collections.values().map(|collection| collection.records).sum();
        for (name, file) in version.manifest.files() {
            let original = files.open(&name)?;
            if files.link(&name, &original, &target)? {
                done.linked_files += 1;
            } else {
                copy(&original, file.bytes, &target, &name)?;
                done.copied_files += 1;
                done.copied_bytes += file.bytes;
            }
            done.bytes += file.bytes;
            progress(done.bytes, total);
        }
        let mut logged: Vec<(&File, u64, String)> = Vec::new();
        for growing in &source.growing {
            logged.push((growing.file(), growing.file().bytes()?, format!("{SEG}/{}", growing.name())));
        }
        logged.extend(source.logs.iter().map(|(file, bytes, name)| (file, *bytes, name.clone())));
        for (file, bytes, name) in logged {
            copy(file, bytes, &target, &name)?;
            done.copied_files += 1;
            done.copied_bytes += bytes;
            done.bytes += bytes;
        }
        for dir in [SEG, VIEW] {
            target.sync_dir(dir)?;
        }
        // The names of the subdirectories, and that of the backup itself.
        target.sync_dir("")?;
        target.sync_parent()?;

        Manifest::place(&target, version.generation, manifest.read(0, manifest_bytes)?.as_bytes())?;
        if let Err(error) = compare(&target, &version) {
            target.remove(&name_of(version.generation))?;
            return Err(error);
        }
        drop(lock);
        done.copied_files += 1;
        done.copied_bytes += manifest_bytes;
        done.bytes += manifest_bytes;
        progress(done.bytes, total);
        Ok(done)
    }
}

/// Checks that nothing but a lock file is in the directory.
fn check_empty(target: &Files) -> Result<()> {
    match target.list("")?.iter().find(|name| *name != LOCK) {
        None => Ok(()),
        Some(name) => {
            let why = format!("is not empty (there is `{name}`): give the path of a new directory for the backup");
            Err(Error::unusable(target.root(), why))
        }
    }
}

/// Opens the copy, which checks the length and the root of every file, delete sets and views in full, and the log, and
/// compares it with the original. What is damaged in the original may be so in the copy.
fn compare(copy: &Files, version: &Version) -> Result<()> {
    let (found, _) = version::newest_of(copy, Access::Read, None)?;
    let records = |version: &Version| version.collections.values().map(|collection| collection.records).sum::<u64>();
    let damage = |version: &Version| version.segments().filter_map(|part| part.segment.damage()).count();
    if (found.seq, records(&found)) != (version.seq, records(version)) || damage(&found) > damage(version) {
        let why =
            format!("the backup does not hold what the database does, up to commit {}: make it again", version.seq);
        return Err(Error::unusable(copy.root(), why));
    }
    Ok(())
}

/// What a backup is made from.
struct Source {
    version: Arc<Version>,
    /// Logs: the file, how many bytes of it, and its name.
    logs: Vec<(File, u64, String)>,
    /// Segments that the logs name.
    growing: Vec<Arc<Growing>>,
}

impl Shared {
    /// Returns everything that is committed. A writer first publishes it in sealed files; a reader adds the log, as far
    /// as it has read it.
    fn to_copy(&self) -> Result<Source> {
        let Some(replay) = &self.replay else {
            self.flush()?;
            return Ok(Source { version: self.version(), logs: Vec::new(), growing: Vec::new() });
        };
        let mut replay = replay.lock().unwrap_or_else(PoisonError::into_inner);
        let version = self.catch_up(&mut replay)?;
        let mut logs = Vec::new();
        for (number, bytes) in replay.logs() {
            let name = log::name_of(number);
            logs.push((self.files.open(&name)?, bytes, name));
        }
        Ok(Source { version, logs, growing: replay.growing() })
    }
}

/// Copies a file and makes the bytes durable, but not the name. Sums are copied too, so damage stays visible.
fn copy(source: &File, bytes: u64, to: &Files, name: &str) -> Result<()> {
    let copy = to.create(name)?;
    let mut offset = 0;
    while offset < bytes {
        let piece = source.read(offset, PIECE_BYTES.min(bytes - offset))?;
        copy.write_all_at(piece.as_bytes(), offset)?;
        offset += piece.as_bytes().len() as u64;
    }
    copy.sync()?;
    copy.protect();
    Ok(())
}
