//! The way in: a directory with collections.

use crate::collection::Collection;
#[allow(unused_imports)] // the docs name it
use crate::error::Error;
use crate::error::Result;
use crate::record::{Record, Schema, check_name};
use crate::store::vfs::{DiskVfs, Vfs};
use crate::store::{
    self, Access, BackedUp, Change, Committed, Compacted, Depth, Durability, Mode, Options, RepairReport, Stat, Store,
    Tuning, Verification,
};
use crate::threads;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A database: a directory that one process writes and any number read.
///
/// Handles are cheap to clone and may be used from any thread. Opening costs a fixed amount per segment, whatever the
/// number of records. The files are written by otolith alone and never changed in place; a foreign program that truncates a
/// mapped file can end this process by a bus error ([`Access::Read`] maps nothing).
///
/// Work is shared out among the threads of rayon's global pool, which the first opening makes unless the program has; where the system
/// refuses threads, the thread that asks does all of it. A child that is forked without `exec` has none of these threads: it searches
/// alone, and should open the database anew, for reading. Handles that it inherits are of no use to it but to be dropped: they hold its
/// parent's lock, which stays taken until both have let go of it.
#[derive(Clone)]
pub struct Database {
    store: Arc<Store>,
}

/// How a database is opened.
#[derive(Clone)]
pub struct DatabaseOptions {
    vfs: Arc<dyn Vfs>,
    access: Access,
    mode: Mode,
    allow_network: bool,
    tuning: Tuning,
}

impl Database {
    /// Opens the database for writing and reading; creates it when there is none.
    ///
    /// # Errors
    /// [`Error::Locked`] when another handle writes, [`Error::Unusable`] when the path holds something else or lies on a
    /// network file system (see [`DatabaseOptions::allow_network_fs`]), [`Error::Corrupt`], [`Error::Version`], [`Error::Io`].
    pub fn open(path: impl AsRef<Path>) -> Result<Database> {
        Database::options().open(path)
    }

    /// Opens the database for reading: beside a writer, and on media that cannot be written.
    ///
    /// # Errors
    /// As [`Database::open`], without `Locked`.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Database> {
        Database::options().read_only().open(path)
    }

    /// Other ways of opening.
    pub fn options() -> DatabaseOptions {
        DatabaseOptions {
            vfs: Arc::new(DiskVfs),
            access: Access::Map,
            mode: Mode::Write { create: true },
            allow_network: false,
            tuning: Tuning::default(),
        }
    }

    /// Creates a collection in a commit of its own, which costs the same however many there are: one for each of ten
    /// thousands of users is fine.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Invalid`] for a name or schema that cannot be, and those of [`Collection::upsert`].
    pub fn create_collection(&self, name: &str, schema: Schema) -> Result<Collection> {
        check_name("collection", name)?;
        schema.check()?;
        self.store.commit(vec![Change::CreateCollection { name: name.to_owned(), schema }])?;
        Ok(Collection::new(&self.store, name))
    }

    /// The collection of that name.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn collection(&self, name: &str) -> Result<Collection> {
        let collection = Collection::new(&self.store, name);
        collection.snapshot().map(|_| collection)
    }

    /// The names of all collections, sorted.
    pub fn collections(&self) -> Vec<String> {
        self.store.version().collections.keys().cloned().collect()
    }

    /// Drops a collection with all its records and views in one commit.
    ///
    /// # Errors
    /// [`Error::NotFound`], and those of [`Collection::upsert`].
    pub fn drop_collection(&self, name: &str) -> Result<()> {
        self.store.commit(vec![Change::DropCollection { name: name.to_owned() }])?;
        Ok(())
    }

    /// Begins a batch over several collections, written as one commit by [`Transaction::commit`].
    pub fn transaction(&self) -> Transaction {
        Transaction { store: Arc::clone(&self.store), changes: Vec::new() }
    }

    /// Makes what other processes have committed since visible to this read-only handle.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Io`]; the handle then goes on with what it had.
    pub fn refresh(&self) -> Result<()> {
        self.store.refresh().map(|_| ())
    }

    /// Makes every commit so far durable, those made with [`Durability::Buffered`] too.
    ///
    /// # Errors
    /// Those of [`Collection::upsert`].
    pub fn sync(&self) -> Result<()> {
        self.store.sync()
    }

    /// As [`Database::sync`], and everything is in sealed files when it returns. After every few records this is an
    /// expensive habit: each call seals a segment, however small.
    ///
    /// # Errors
    /// Those of [`Collection::upsert`].
    pub fn flush(&self) -> Result<()> {
        self.store.flush()
    }

    /// As [`Database::flush`], with the errors that dropping the handle would keep to itself. The lock is released with the
    /// last handle.
    ///
    /// # Errors
    /// Those of [`Collection::upsert`].
    pub fn close(self) -> Result<()> {
        if self.store.is_writable() { self.flush() } else { Ok(()) }
    }

    /// Rewrites segments in which much is deleted and joins small ones, while reading and writing go on. Views that had
    /// [indexes](Collection::build_index) get them again for the new segments. The space is back when it returns, but for files
    /// that readers still use.
    ///
    /// # Errors
    /// Those of [`Collection::upsert`].
    pub fn compact(&self) -> Result<Compacted> {
        self.compact_while(&|| true)
    }

    /// As [`Database::compact`], until `keep_going` says false: it then stops early and keeps what is done.
    ///
    /// # Errors
    /// Those of [`Collection::upsert`].
    pub fn compact_while(&self, keep_going: &(dyn Fn() -> bool + Sync)) -> Result<Compacted> {
        self.compact_by(|store| store.compact(keep_going), keep_going)
    }

    /// As [`Database::compact`], and of every record that was deleted or replaced before the call nothing is left in any file
    /// of the database: not its rows, its id or its fields, nor what views and indexes made of it. So it is to be used to
    /// erase, not to save space: each segment that holds a single deleted record is rewritten.
    ///
    /// What it does not reach: files that a [`Snapshot`](crate::store::Snapshot) or another process still reads
    /// ([`Compacted::pinned`] says how many generations; call it again when they are gone); segments with damage
    /// ([`Compacted::damaged`]); backups and other copies; what the disk itself keeps of files that were removed. The parameters of a
    /// fitted view are learnt from the records that it was fitted on, and stay as they are: means and directions of many, but centroids may be
    /// single records. To have them forget, drop the view and create it again before the call.
    ///
    /// # Errors
    /// Those of [`Collection::upsert`], and [`Error::Io`] when a file could not be removed.
    pub fn purge(&self) -> Result<Compacted> {
        self.purge_while(&|| true)
    }

    /// As [`Database::purge`], until `keep_going` says false: it then stops early, and what was deleted may still be in files.
    ///
    /// # Errors
    /// Those of [`Database::purge`].
    pub fn purge_while(&self, keep_going: &(dyn Fn() -> bool + Sync)) -> Result<Compacted> {
        self.compact_by(|store| store.purge(keep_going), keep_going)
    }

    fn compact_by(
        &self,
        compact: impl FnOnce(&Store) -> Result<Compacted>,
        keep_going: &(dyn Fn() -> bool + Sync),
    ) -> Result<Compacted> {
        threads::ready();
        let names = self.collections().into_iter();
        let indexed: Vec<_> =
            names.map(|name| Collection::new(&self.store, &name)).map(|of| (of.indexed(), of)).collect();
        let compacted = compact(&self.store)?;
        if compacted.segments > 0 {
            indexed.iter().for_each(|(views, collection)| collection.index_again(views, keep_going));
        }
        Ok(compacted)
    }

    /// Makes a copy of the database in the directory `dir`, which must be new or empty: one committed version, whole, while
    /// this and other processes go on reading and writing.
    ///
    /// What the handle has committed is in it, for a read-only handle what anyone has. On the file system of the original
    /// the copy shares its sealed files by hard links, which takes no space: safe, because nobody changes a sealed file, but
    /// no guard against a disk that fails. For that, back up to another one. When the call or the machine is cut off, `dir`
    /// holds no database and may be removed.
    ///
    /// # Errors
    /// [`Error::Unusable`] when `dir` is not empty, [`Error::Io`], [`Error::DiskFull`], and those of [`Database::flush`].
    pub fn backup_to(&self, dir: impl AsRef<Path>) -> Result<BackedUp> {
        self.backup_with(dir, &|_, _| ())
    }

    /// As [`Database::backup_to`]; `progress` gets the bytes done and the bytes in all.
    ///
    /// # Errors
    /// Those of [`Database::backup_to`].
    pub fn backup_with(&self, dir: impl AsRef<Path>, progress: &dyn Fn(u64, u64)) -> Result<BackedUp> {
        threads::ready();
        self.store.backup_to(dir.as_ref(), progress)
    }

    /// Looks for damage and names every place of it; beside a writer, too.
    ///
    /// # Errors
    /// [`Error::Io`] when it could not be looked for.
    pub fn verify(&self, depth: Depth) -> Result<Verification> {
        threads::ready();
        self.store.verify(depth)
    }

    /// Sizes, segments, readers.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn stat(&self) -> Result<Stat> {
        self.store.stat()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.store.path()
    }
}

impl DatabaseOptions {
    /// Opens for reading only.
    pub fn read_only(mut self) -> Self {
        self.mode = Mode::Read;
        self
    }

    /// Refuses to create a database where there is none.
    pub fn must_exist(mut self) -> Self {
        if let Mode::Write { create } = &mut self.mode {
            *create = false;
        }
        self
    }

    /// How sealed files are read: mapped (the default) or copied.
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Whether to write also on a network file system, FUSE, or one of unknown type. Otolith promises nothing there: locks
    /// may not keep a second writer out, and what was synced may be lost. Such files are always read, never mapped.
    pub fn allow_network_fs(mut self, allow: bool) -> Self {
        self.allow_network = allow;
        self
    }

    /// Another file system, such as one in memory.
    #[cfg(any(test, feature = "testing"))]
    #[doc(hidden)]
    pub fn vfs(mut self, vfs: Arc<dyn Vfs>) -> Self {
        self.vfs = vfs;
        self
    }

    /// Sizes at which the store does something.
    #[cfg(any(test, feature = "testing"))]
    #[doc(hidden)]
    pub fn tuning(mut self, tuning: Tuning) -> Self {
        self.tuning = tuning;
        self
    }

    /// Opens.
    ///
    /// # Errors
    /// As [`Database::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<Database> {
        threads::ready();
        let mode = self.mode;
        let store = Store::open(path.as_ref(), mode, self.of_store())?;
        Ok(Database { store: Arc::new(store) })
    }

    /// Looks for damage in the database at `path`, also in one that cannot be opened any more.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none, [`Error::Io`] when it cannot be looked at.
    pub fn verify(self, path: impl AsRef<Path>, depth: Depth) -> Result<Verification> {
        store::verify_path(path.as_ref(), self.of_store(), depth)
    }

    /// Writes everything that is whole in the database at `path` into a new one at `out`, and says what is not. Nothing is
    /// written to `path`; what was written to `out` before an error is no database to be used.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no database, [`Error::Unusable`] when `out` is not empty or lies within `path`,
    /// [`Error::Version`] when it is of a newer format (that is no damage), [`Error::Io`] and [`Error::DiskFull`]. Damage is
    /// no error.
    pub fn repair_to(self, path: impl AsRef<Path>, out: impl AsRef<Path>) -> Result<RepairReport> {
        store::repair_to(path.as_ref(), self.of_store(), out.as_ref())
    }

    /// Removes from the database at `path` the leftovers of commits that never took place and derived files that are damaged
    /// or wrong, and gives the paths of what it removed. Nothing that holds records is changed.
    ///
    /// # Errors
    /// As [`Database::open`], and [`Error::Io`] when a file cannot be removed.
    pub fn repair_in_place(self, path: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
        store::repair_in_place(path.as_ref(), self.of_store())
    }

    fn of_store(self) -> Options {
        let DatabaseOptions { vfs, access, mode: _, allow_network, tuning } = self;
        Options { vfs, access, allow_network, tuning }
    }
}

/// Changes to any collections, gathered and then written as one commit. Dropped uncommitted, it leaves nothing.
#[must_use = "nothing is written before `commit`"]
pub struct Transaction {
    store: Arc<Store>,
    changes: Vec<Change>,
}

impl Transaction {
    /// Adds records to be written to `collection`.
    pub fn upsert(&mut self, collection: &str, records: impl IntoIterator<Item = Record>) -> &mut Self {
        let records = records.into_iter().collect();
        self.changes.push(Change::Upsert { collection: collection.to_owned(), records });
        self
    }

    /// Adds ids to be deleted from `collection`.
    pub fn delete<I: Into<String>>(&mut self, collection: &str, ids: impl IntoIterator<Item = I>) -> &mut Self {
        let ids = ids.into_iter().map(Into::into).collect();
        self.changes.push(Change::Delete { collection: collection.to_owned(), ids });
        self
    }

    /// Writes all of it: all there or not at all, on disk when this returns.
    ///
    /// # Errors
    /// As [`Collection::upsert`].
    pub fn commit(self) -> Result<()> {
        self.commit_with(Durability::Sync)
    }

    /// Writes everything in one commit that survives what `durability` says.
    ///
    /// # Errors
    /// As [`Collection::upsert`].
    pub fn commit_with(self, durability: Durability) -> Result<()> {
        let _: Committed = self.store.commit_with(self.changes, durability)?;
        Ok(())
    }
}
