//! The way in: a directory that holds collections, and the handles that open it, change it and look after it.

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

/// A database: a directory that holds collections. One process writes it at a time, any number may read it.
///
/// Handles are cheap to clone and may be used from any thread. The first writing handle locks the database; the lock
/// is released when the last clone is dropped. Opening costs a fixed amount per segment, whatever the number of
/// records.
///
/// Files are written by otolith alone, and sealed ones are never changed in place. They are mapped into memory by
/// default: a foreign program that truncates one can then end this process by a bus error. [`Access::Read`] maps
/// nothing.
///
/// # Threads
///
/// Work is shared among the threads of rayon's global pool, which the first opening makes unless the program has made
/// it (see [`use_threads`](crate::use_threads)). Where the operating system refuses threads, the calling thread does
/// all work.
///
/// A child that is forked without `exec` has none of its parent's threads: it searches alone, and should open the
/// database anew, for reading. It must drop the handles that it inherits: the parent's lock is released only when both
/// processes have dropped theirs.
///
/// # Examples
///
/// ```
/// use otolith::{Database, Matrix, Record, Schema};
/// # let folder = tempfile::tempdir()?; let path = folder.path().join("sounds.otolith");
///
/// let db = Database::open(&path)?;
/// let clips = db.create_collection("clips", Schema::new(2))?;
/// clips.upsert([Record::new("dog-1", Matrix::from_vector(vec![0.6, 0.8])?)])?;
/// assert_eq!(db.collections(), ["clips"]);
/// println!("{} bytes on disk", db.stat()?.bytes());
/// db.close()?; // writes out the log and reports errors that dropping the handle would swallow
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Database {
    store: Arc<Store>,
}

/// Chooses how a database is opened, verified or repaired. Made by [`Database::options`].
///
/// # Examples
///
/// ```
/// use otolith::{Access, Database};
/// # let folder = tempfile::tempdir()?; let path = folder.path().join("db"); Database::open(&path)?;
///
/// // On a removable disk: report a disk error as an `Error` instead of being ended by it.
/// let db = Database::options().must_exist().access(Access::Read).open(&path)?;
/// # drop(db);
/// assert!(Database::options().must_exist().open(path.join("nothing")).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct DatabaseOptions {
    vfs: Arc<dyn Vfs>,
    access: Access,
    mode: Mode,
    allow_network: bool,
    tuning: Tuning,
}

impl Database {
    /// Opens the database at `path` for writing and reading, and creates it when there is none. After a crash it
    /// first brings back every commit that had reached the disk.
    ///
    /// # Errors
    /// - [`Error::Locked`] when another handle, here or in another process, has it open for writing.
    /// - [`Error::Unusable`] when the path holds something else, or lies on a network file system (see
    ///   [`DatabaseOptions::allow_network_fs`]).
    /// - [`Error::Corrupt`] when files without which it cannot be opened are damaged, [`Error::Version`] when it was
    ///   written by a newer release, [`Error::Io`] when the operating system refuses.
    pub fn open(path: impl AsRef<Path>) -> Result<Database> {
        Database::options().open(path)
    }

    /// Opens the database at `path` for reading only: while another process writes it, or on media that cannot be
    /// written. The handle sees the newest version, and a newer one after [`Database::refresh`].
    ///
    /// # Errors
    /// As [`Database::open`], without [`Error::Locked`]; [`Error::NotFound`] when there is no database.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Database> {
        Database::options().read_only().open(path)
    }

    /// Begins with the usual options (write, create when missing, map files), to be changed before opening.
    pub fn options() -> DatabaseOptions {
        DatabaseOptions {
            vfs: Arc::new(DiskVfs),
            access: Access::Map,
            mode: Mode::Write { create: true },
            allow_network: false,
            tuning: Tuning::default(),
        }
    }

    /// Creates an empty collection in a commit of its own and returns a handle to it. This costs the same however
    /// many collections there are: one for each of ten thousand users is fine.
    ///
    /// # Errors
    /// [`Error::Exists`] when the name is taken, [`Error::Invalid`] when the name is empty, longer than
    /// [`limits::NAME_BYTES`](crate::limits::NAME_BYTES) or holds control characters, or when the schema is
    /// impossible; and those of [`Collection::upsert`].
    pub fn create_collection(&self, name: &str, schema: Schema) -> Result<Collection> {
        check_name("collection", name)?;
        schema.check()?;
        self.store.commit(vec![Change::CreateCollection { name: name.to_owned(), schema }])?;
        Ok(Collection::new(&self.store, name))
    }

    /// Returns a handle to the collection called `name`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none.
    pub fn collection(&self, name: &str) -> Result<Collection> {
        let collection = Collection::new(&self.store, name);
        collection.snapshot().map(|_| collection)
    }

    /// Returns the names of all collections, sorted.
    pub fn collections(&self) -> Vec<String> {
        self.store.version().collections.keys().cloned().collect()
    }

    /// Drops a collection with all its records, views and indexes in one commit. Snapshots of it stay readable.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none of this name, and those of [`Collection::upsert`].
    pub fn drop_collection(&self, name: &str) -> Result<()> {
        self.store.commit(vec![Change::DropCollection { name: name.to_owned() }])?;
        Ok(())
    }

    /// Begins a batch of changes, to one collection or several, that [`Transaction::commit`] writes as one commit.
    ///
    /// # Examples
    ///
    /// ```
    /// # use otolith::{Database, Matrix, Record, Schema};
    /// # let folder = tempfile::tempdir()?; let db = Database::open(folder.path().join("db"))?;
    /// # for name in ["inbox", "clips"] { db.create_collection(name, Schema::new(2))?; }
    /// let moved = Record::new("dog-1", Matrix::from_vector(vec![0.6, 0.8])?);
    /// let mut both = db.transaction();
    /// both.delete("inbox", ["dog-1"]).upsert("clips", [moved]);
    /// both.commit()?; // a crash leaves both changes or neither
    /// assert_eq!(db.collection("clips")?.len()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn transaction(&self) -> Transaction {
        Transaction { store: Arc::clone(&self.store), changes: Vec::new() }
    }

    /// Makes what other processes have committed visible to this read-only handle and its collections. A snapshot
    /// that was taken before keeps its version.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Io`] when the newer version cannot be read; the handle then keeps the one it
    /// has.
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

    /// Does what [`Database::sync`] does, and writes everything that is still in the log into sealed files. Each call
    /// seals a segment, however small, so calling it after every few records makes many small segments.
    ///
    /// # Errors
    /// Those of [`Collection::upsert`].
    pub fn flush(&self) -> Result<()> {
        self.store.flush()
    }

    /// Flushes a writing handle (see [`Database::flush`]) and reports the errors that dropping it would swallow. The
    /// lock is released when the last clone of the handle is gone.
    ///
    /// # Errors
    /// Those of [`Collection::upsert`].
    pub fn close(self) -> Result<()> {
        if self.store.is_writable() { self.flush() } else { Ok(()) }
    }

    /// Rewrites segments in which much is deleted and joins small ones, while reading and writing go on. Views that
    /// had [indexes](Collection::build_index) get them again for the new segments. The space is free when the call
    /// returns, except that of files which readers still use.
    ///
    /// # Errors
    /// Those of [`Collection::upsert`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use otolith::{Database, Matrix, Record, Schema};
    /// # let folder = tempfile::tempdir()?; let db = Database::open(folder.path().join("db"))?;
    /// # let clips = db.create_collection("clips", Schema::new(2))?; let vector = Matrix::from_vector(vec![0.6, 0.8])?;
    /// # clips.upsert((0..100).map(|n| Record::new(format!("{n}"), vector.clone())))?;
    /// # db.flush()?;
    /// clips.delete((0..90).map(|n| n.to_string()))?;
    /// let done = db.compact()?;
    /// println!("{} segments rewritten, {} bytes freed", done.segments, done.freed_bytes);
    /// # assert!(done.finished && done.segments == 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn compact(&self) -> Result<Compacted> {
        self.compact_while(&|| true)
    }

    /// Does what [`Database::compact`] does until `keep_going` returns false; it then stops early and keeps what is
    /// done.
    ///
    /// # Errors
    /// Those of [`Collection::upsert`].
    pub fn compact_while(&self, keep_going: &(dyn Fn() -> bool + Sync)) -> Result<Compacted> {
        self.compact_by(|store| store.compact(keep_going), keep_going)
    }

    /// Erases for good what was deleted or replaced before the call: no file of the database holds its rows, id or
    /// fields any more, nor what views and indexes made of it. To do so it rewrites every segment that holds a single
    /// deleted record; to save space, use [`Database::compact`].
    ///
    /// It does not reach files that a [`Snapshot`](crate::Snapshot) or another process still reads
    /// ([`Compacted::pinned`] counts their generations: call it again when they are gone), segments with damage
    /// ([`Compacted::damaged`]), backups, and what the disk itself keeps of removed files. Nor does it change the
    /// parameters of a fitted view, which were learnt from many records, though a centroid may be a single record's
    /// row: drop the view and create it again before the call.
    ///
    /// # Errors
    /// Those of [`Collection::upsert`], and [`Error::Io`] when a file could not be removed.
    pub fn purge(&self) -> Result<Compacted> {
        self.purge_while(&|| true)
    }

    /// Does what [`Database::purge`] does until `keep_going` returns false; it then stops early, and what was deleted
    /// may still be in files.
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

    /// Copies one committed version of the database, whole, into the directory `dir`, which must be new or empty,
    /// while this and other processes go on reading and writing.
    ///
    /// A writing handle copies everything it has committed, a read-only handle everything that any process has
    /// committed. On the file system of the original the copy shares its sealed files by hard links. That takes no
    /// space and is safe, because sealed files never change, but it does not guard against a disk that fails: for that,
    /// back up to another disk. When the call or the machine is cut off, `dir` holds no database and may be removed. To
    /// restore, copy the backup back, or open it.
    ///
    /// # Errors
    /// [`Error::Unusable`] when `dir` is not empty, [`Error::Io`], [`Error::DiskFull`], and those of
    /// [`Database::flush`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use otolith::{Database, Schema};
    /// # let folder = tempfile::tempdir()?; let db = Database::open(folder.path().join("db"))?;
    /// # db.create_collection("clips", Schema::new(2))?;
    /// let target = folder.path().join("monday.otolith");
    /// let done = db.backup_to(&target)?;
    /// println!("{} records, {} bytes, {} of them copied", done.records, done.bytes, done.copied_bytes);
    /// assert_eq!(Database::open_read_only(&target)?.collections(), ["clips"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn backup_to(&self, dir: impl AsRef<Path>) -> Result<BackedUp> {
        self.backup_with(dir, &|_, _| ())
    }

    /// Does what [`Database::backup_to`] does and calls `progress` as it goes on, with the bytes done and the bytes in
    /// total.
    ///
    /// # Errors
    /// Those of [`Database::backup_to`].
    pub fn backup_with(&self, dir: impl AsRef<Path>, progress: &dyn Fn(u64, u64)) -> Result<BackedUp> {
        threads::ready();
        self.store.backup_to(dir.as_ref(), progress)
    }

    /// Looks for damage, as closely as `depth` says, and names every damaged place. May run beside a writer.
    ///
    /// # Errors
    /// [`Error::Io`] when the files could not be looked at. Damage is not an error: each damaged place is a
    /// [`Finding`](crate::Finding).
    ///
    /// # Examples
    ///
    /// ```
    /// # use otolith::{Database, Depth};
    /// # let folder = tempfile::tempdir()?; let db = Database::open(folder.path().join("db"))?;
    /// let found = db.verify(Depth::Deep)?; // reads every byte
    /// for damage in &found.findings {
    ///     eprintln!("{}: {}", damage.path.display(), damage.what);
    /// }
    /// assert!(found.is_clean());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn verify(&self, depth: Depth) -> Result<Verification> {
        threads::ready();
        self.store.verify(depth)
    }

    /// Counts records, rows and segments of this handle's version, and the bytes of every kind of file as they are
    /// now.
    ///
    /// # Errors
    /// [`Error::Io`] when the directory cannot be listed.
    pub fn stat(&self) -> Result<Stat> {
        self.store.stat()
    }

    /// Returns the directory that holds the database.
    pub fn path(&self) -> &Path {
        self.store.path()
    }
}

impl DatabaseOptions {
    /// Opens for reading only: needs no lock and no right to write, and never creates anything.
    pub fn read_only(mut self) -> Self {
        self.mode = Mode::Read;
        self
    }

    /// Refuses to create a database where there is none: opening is then [`Error::NotFound`].
    pub fn must_exist(mut self) -> Self {
        if let Mode::Write { create } = &mut self.mode {
            *create = false;
        }
        self
    }

    /// Chooses how sealed files are read: mapped into memory ([`Access::Map`], the default) or copied
    /// ([`Access::Read`]).
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Allows writing on a network file system, on FUSE, or on a file system of unknown type. Otolith promises
    /// nothing there: locks may not keep a second writer out, and what was synced may be lost. Files there are always
    /// copied, never mapped.
    pub fn allow_network_fs(mut self, allow: bool) -> Self {
        self.allow_network = allow;
        self
    }

    /// Uses another file system, such as one in memory.
    #[cfg(any(test, feature = "testing"))]
    #[doc(hidden)]
    pub fn vfs(mut self, vfs: Arc<dyn Vfs>) -> Self {
        self.vfs = vfs;
        self
    }

    /// Sets the sizes at which the store acts by itself, such as the size at which the log is written out.
    #[cfg(any(test, feature = "testing"))]
    #[doc(hidden)]
    pub fn tuning(mut self, tuning: Tuning) -> Self {
        self.tuning = tuning;
        self
    }

    /// Opens the database at `path` with these options.
    ///
    /// # Errors
    /// As [`Database::open`]; [`Error::NotFound`] when there is no database and none may be created.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Database> {
        threads::ready();
        let mode = self.mode;
        let store = Store::open(path.as_ref(), mode, self.of_store())?;
        Ok(Database { store: Arc::new(store) })
    }

    /// Looks for damage in the database at `path`, as [`Database::verify`] does, also in one that cannot be opened
    /// any more.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no database, [`Error::Io`] when its files could not be looked at.
    pub fn verify(self, path: impl AsRef<Path>, depth: Depth) -> Result<Verification> {
        store::verify_path(path.as_ref(), self.of_store(), depth)
    }

    /// Writes everything that is whole in the database at `path` into a new one at `out`, and reports what is not.
    /// Nothing at `path` is changed. After an error, do not use what was written to `out`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no database, [`Error::Unusable`] when `out` is not empty or lies within
    /// `path`, [`Error::Version`] when it is of a newer format (which is not damage), [`Error::Io`] and
    /// [`Error::DiskFull`]. Damage is not an error: the report lists it.
    pub fn repair_to(self, path: impl AsRef<Path>, out: impl AsRef<Path>) -> Result<RepairReport> {
        store::repair_to(path.as_ref(), self.of_store(), out.as_ref())
    }

    /// Removes from the database at `path` the leftovers of commits that never took place, and derived files that are
    /// damaged or wrong, and returns the paths of what it removed. Nothing that holds records is changed.
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

/// Changes to any collections, gathered and then written as one commit. Made by [`Database::transaction`], which
/// shows an example. Dropping it uncommitted changes nothing.
#[must_use = "nothing is written before `commit`"]
pub struct Transaction {
    store: Arc<Store>,
    changes: Vec<Change>,
}

impl Transaction {
    /// Adds records to be written to `collection`, replacing those of the same id. They are checked when committed.
    pub fn upsert(&mut self, collection: &str, records: impl IntoIterator<Item = Record>) -> &mut Self {
        let records = records.into_iter().collect();
        self.changes.push(Change::Upsert { collection: collection.to_owned(), records });
        self
    }

    /// Adds ids to be deleted from `collection`. Ids that do not exist are ignored.
    pub fn delete<I: Into<String>>(&mut self, collection: &str, ids: impl IntoIterator<Item = I>) -> &mut Self {
        let ids = ids.into_iter().map(Into::into).collect();
        self.changes.push(Change::Delete { collection: collection.to_owned(), ids });
        self
    }

    /// Writes all changes in one commit: all of them or none, and on disk when the call returns.
    ///
    /// # Errors
    /// As [`Collection::upsert`]; [`Error::NotFound`] for a collection that does not exist. Nothing is written then.
    pub fn commit(self) -> Result<()> {
        self.commit_with(Durability::Sync)
    }

    /// Writes all changes in one commit that survives what `durability` says: a power cut, or only the end of the
    /// process, which spares the wait for the disk.
    ///
    /// # Errors
    /// As [`Transaction::commit`].
    pub fn commit_with(self, durability: Durability) -> Result<()> {
        let _: Committed = self.store.commit_with(self.changes, durability)?;
        Ok(())
    }
}
