//! The files of one database: addressed by names instead of paths, read and written in full, with interruptions retried
//! and errors that say where and what.

pub(crate) mod file_system;
pub(crate) mod hold;
pub(crate) mod lock;

use self::hold::{Held, Holding};
use crate::error::{Error, Result};
use crate::store::layout::LOCK_BYTES;
use crate::store::vfs::map::{Region, Unchanging, Words};
use crate::store::vfs::{FileId, MemoryVfs, Vfs, VfsDir, VfsFile, WrongKind};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Directory of segments and delete sets.
pub(crate) const SEG: &str = "seg";
/// Directory of view parameters.
pub(crate) const VIEW: &str = "view";
/// Directory of derived files, which can be rebuilt.
pub(crate) const DERIVED: &str = "derived";
/// Directories inside a database.
pub(crate) const DIRS: [&str; 3] = [SEG, VIEW, DERIVED];
/// The file that the writer locks.
pub(crate) const LOCK: &str = "LOCK";
/// A file that is removed when the disk is full, to give space back.
pub(crate) const RESERVE: &str = "RESERVE";
/// Ending of temporary names, which mean nothing after a restart.
pub(crate) const TEMPORARY: &str = ".tmp";

/// The directory of a database on some file system, held open: wherever it is moved to and whatever its path comes to
/// mean, this stays the directory that was opened. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Files(pub(crate) Arc<Opened>);

#[derive(Debug)]
pub(crate) struct Opened {
    vfs: Arc<dyn Vfs>,
    /// The path as it was given, for messages.
    root: PathBuf,
    dir: Arc<dyn VfsDir>,
    /// `seg/` and `view/`, once they were used. Anybody may replace `derived/`, so it is opened each time.
    pub(crate) inside: [OnceLock<Arc<dyn VfsDir>>; 2],
    /// The lock, for a writer.
    pub(crate) lock: OnceLock<Held>,
}

/// An open file that knows its path.
#[derive(Debug)]
pub(crate) struct File {
    inner: Box<dyn VfsFile>,
    path: PathBuf,
    /// Its name in the database.
    name: String,
}

pub(crate) fn retried<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Makes the error of a failed sync. It is never that of a full disk, because more space would not heal it.
fn unsynced(path: &Path, operation: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Io { path: path.to_path_buf(), operation, source }
}

/// Turns an I/O error into an [`Error`]. An entry that is not a file where one should be is damage, like wrong bytes.
fn failed(path: &Path, operation: &'static str, error: io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<WrongKind>()) {
        Some(wrong) => Error::corrupt(path, None, wrong.to_string()),
        None => Error::io(path, operation, error),
    }
}

/// Returns whether an error says that a file does not exist.
pub(crate) fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

fn is_taken(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists)
}

impl Files {
    /// Opens the directory of a database, which must exist.
    pub(crate) fn new(vfs: Arc<dyn Vfs>, root: &Path) -> Result<Files> {
        let dir = retried(|| vfs.open_dir(root)).map_err(|error| Error::io(root, "open", error))?;
        Ok(Files::of(vfs, root, dir))
    }

    /// Opens the directory of a database, making it if it is missing.
    pub(crate) fn make(vfs: Arc<dyn Vfs>, root: &Path) -> Result<Files> {
        match Files::new(vfs.clone(), root) {
            Err(error) if is_missing(&error) => {
                match retried(|| vfs.create_dir(root)).map_err(|error| Error::io(root, "create directory", error)) {
                    Err(error) if !is_taken(&error) => Err(error),
                    _ => Files::new(vfs, root),
                }
            }
            opened => opened,
        }
    }

    fn of(vfs: Arc<dyn Vfs>, root: &Path, dir: Box<dyn VfsDir>) -> Files {
        let (root, dir, inside, lock) = (root.to_path_buf(), Arc::from(dir), Default::default(), OnceLock::new());
        Files(Arc::new(Opened { vfs, root, dir, inside, lock }))
    }

    /// Makes a database directory in memory with the directory `inside` in it; `root` is for messages.
    pub(crate) fn in_memory(root: &Path, inside: &str) -> Result<Files> {
        let vfs = MemoryVfs::default();
        let top = vfs.create_dir(Path::new(inside)).and_then(|()| vfs.open_dir(Path::new("")));
        let top = top.map_err(|error| Error::io(root, "create directory", error))?;
        Ok(Files::of(Arc::new(vfs), root, top))
    }

    /// Opens the directory `path` on the same file system, making it if it is missing.
    pub(crate) fn beside(&self, path: &Path) -> Result<Files> {
        Files::make(self.0.vfs.clone(), path)
    }

    /// Returns whether something made at `path` would lie in this directory, even if the path leads there through
    /// links.
    pub(crate) fn contains(&self, path: &Path) -> Result<bool> {
        for above in path.ancestors() {
            let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
            match retried(|| self.0.vfs.open_dir(above)) {
                Ok(dir) => {
                    let lineage = retried(|| dir.lineage()).map_err(|error| Error::io(above, "look up", error))?;
                    return Ok(lineage.contains(&self.identity()?));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // Then nothing can be made there either.
                Err(_) => return Ok(false),
            }
        }
        Ok(false)
    }

    fn identity(&self) -> Result<FileId> {
        retried(|| self.0.dir.identity()).map_err(|error| Error::io(self.root(), "look up", error))
    }

    /// Returns the path of the database, as it was given.
    pub(crate) fn root(&self) -> &Path {
        &self.0.root
    }

    /// Returns the path of a name; the empty name is the database itself.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.0.root.clone() } else { self.0.root.join(name) }
    }

    /// Returns the directory of that name, open; the empty name is the database itself.
    fn dir(&self, name: &str) -> io::Result<Arc<dyn VfsDir>> {
        let known = match name {
            "" => return Ok(self.0.dir.clone()),
            SEG => Some(&self.0.inside[0]),
            VIEW => Some(&self.0.inside[1]),
            _ => None,
        };
        if let Some(opened) = known.and_then(OnceLock::get) {
            return Ok(opened.clone());
        }
        let opened: Arc<dyn VfsDir> = Arc::from(self.0.dir.open_dir(name)?);
        Ok(known.map_or_else(|| opened.clone(), |known| known.get_or_init(|| opened.clone()).clone()))
    }

    /// Calls `attempt` with the directory that a name is in and the name in it, and retries interruptions.
    pub(crate) fn run<T>(
        &self,
        name: &str,
        operation: &'static str,
        attempt: impl Fn(&dyn VfsDir, &str) -> io::Result<T>,
    ) -> Result<T> {
        let (dir, last) = name.rsplit_once('/').unwrap_or(("", name));
        retried(|| attempt(&*self.dir(dir)?, last)).map_err(|error| failed(&self.path(name), operation, error))
    }

    /// Calls `attempt` with a directory, and retries interruptions.
    fn run_in<T>(&self, name: &str, attempt: impl Fn(&dyn VfsDir) -> io::Result<T>) -> io::Result<T> {
        retried(|| attempt(&*self.dir(name)?))
    }

    fn file(&self, name: &str, inner: Box<dyn VfsFile>) -> File {
        File { inner, path: self.path(name), name: name.to_owned() }
    }

    /// Makes a directory in the database unless it exists.
    pub(crate) fn create_dir(&self, name: &str) -> Result<()> {
        self.check_lock()?;
        match self.run(name, "create directory", |dir, name| dir.create_dir(name)) {
            Err(error) if is_taken(&error) => Ok(()),
            made => made,
        }
    }

    /// Makes names in a directory durable.
    pub(crate) fn sync_dir(&self, name: &str) -> Result<()> {
        self.run_in(name, |dir| dir.sync()).map_err(unsynced(&self.path(name), "sync directory"))
    }

    /// Makes the name of the database itself durable.
    pub(crate) fn sync_parent(&self) -> Result<()> {
        self.run_in("", |dir| dir.sync_parent()).map_err(unsynced(self.root(), "sync directory"))
    }

    /// Makes bytes and lengths of several files durable.
    pub(crate) fn sync_files(&self, files: &[&File]) -> Result<()> {
        let inner: Vec<&dyn VfsFile> = files.iter().map(|file| &*file.inner).collect();
        let mut failed = 0;
        let synced = retried(|| {
            self.0.vfs.sync_files(&inner).map_err(|(at, error)| {
                failed = at;
                error
            })
        });
        synced.map_err(|error| unsynced(files.get(failed).map_or(self.root(), |file| file.path()), "sync")(error))
    }

    /// Returns the names in a directory of the database, sorted.
    pub(crate) fn list(&self, name: &str) -> Result<Vec<String>> {
        let names = self.run_in(name, |dir| dir.list());
        let mut names = names.map_err(|error| failed(&self.path(name), "list", error))?;
        names.sort_unstable();
        Ok(names)
    }

    /// Does the same, but returns no names when there is no such directory.
    pub(crate) fn list_if_there(&self, name: &str) -> Result<Vec<String>> {
        match self.list(name) {
            Err(error) if is_missing(&error) => Ok(Vec::new()),
            names => names,
        }
    }

    /// Makes a file, replacing one of that name: it can only be left over from a failed publish, because names in a
    /// manifest are never given again.
    pub(crate) fn create(&self, name: &str) -> Result<File> {
        self.check_lock()?;
        let create = || self.run(name, "create", |dir, name| dir.create(name));
        let inner = match create() {
            Err(error) if is_taken(&error) => {
                self.remove(name)?;
                create()?
            }
            made => made?,
        };
        Ok(self.file(name, inner))
    }

    /// Opens a file for reading.
    pub(crate) fn open(&self, name: &str) -> Result<File> {
        Ok(self.file(name, self.run(name, "open", |dir, name| dir.open(name))?))
    }

    /// Opens a file for reading and writing, making it if it is missing.
    pub(crate) fn open_or_create(&self, name: &str) -> Result<File> {
        self.check_lock()?;
        Ok(self.file(name, self.run(name, "open", |dir, name| dir.open_or_create(name))?))
    }

    /// Renames a file within its directory.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.check_lock()?;
        let to = to.rsplit_once('/').map_or(to, |(_, last)| last);
        self.run(from, "rename", |dir, from| dir.rename(from, to))
    }

    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        self.check_lock()?;
        self.run(name, "remove", |dir, name| dir.remove(name))
    }

    /// Fills the file `RESERVE` up to `bytes` bytes, which take space on the disk and mean nothing.
    pub(crate) fn reserve(&self, bytes: u64) -> Result<()> {
        let file = self.open_or_create(RESERVE)?;
        let zeros = vec![0; (1 << 20).min(bytes as usize)];
        let mut at = file.bytes()?;
        while at < bytes {
            let now = (bytes - at).min(zeros.len() as u64);
            file.write_all_at(&zeros[..now as usize], at)?;
            at += now;
        }
        Ok(())
    }

    /// Makes a hard link to an open file, with the same name in the directory of another database. Returns false where
    /// that fails for any reason: another device, a file system without hard links, permissions.
    pub(crate) fn link(&self, name: &str, file: &File, target: &Files) -> Result<bool> {
        let (dir, last) = name.rsplit_once('/').unwrap_or(("", name));
        let link = || self.dir(dir)?.link(last, &*target.dir(dir)?);
        if retried(link).is_err() {
            return Ok(false);
        }
        // The name may have come to mean another file since this one was opened.
        let linked = target.holding(name, file)? == Holding::Same;
        if !linked {
            target.remove(name)?;
        }
        Ok(linked)
    }

    /// Returns the length of a file in bytes, for statistics.
    pub(crate) fn bytes_of(&self, name: &str) -> Result<u64> {
        self.open(name)?.bytes()
    }
}

impl File {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns its name in the database, as it was opened.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn run<T>(&self, operation: &'static str, attempt: impl FnMut() -> io::Result<T>) -> Result<T> {
        retried(attempt).map_err(|error| Error::io(&self.path, operation, error))
    }

    pub(crate) fn bytes(&self) -> Result<u64> {
        self.run("length", || self.inner.bytes())
    }

    /// Fills `buffer` from `offset` on; fails if the file ends before.
    pub(crate) fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> Result<()> {
        while !buffer.is_empty() {
            match self.run("read", || self.inner.read_at(buffer, offset))? {
                0 => return Err(Error::io(&self.path, "read", io::ErrorKind::UnexpectedEof.into())),
                count => {
                    buffer = &mut buffer[count..];
                    offset += count as u64;
                }
            }
        }
        Ok(())
    }

    /// Reads the bytes `offset..offset + bytes` into new memory.
    pub(crate) fn read(&self, offset: u64, bytes: u64) -> Result<Words> {
        let len = usize::try_from(bytes).map_err(io::Error::other);
        let mut words = len.and_then(Words::zeroed).map_err(|error| Error::io(&self.path, "read", error))?;
        self.read_exact_at(words.as_bytes_mut(), offset)?;
        Ok(words)
    }

    pub(crate) fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> Result<()> {
        while !bytes.is_empty() {
            match self.run("write", || self.inner.write_at(bytes, offset))? {
                0 => return Err(Error::io(&self.path, "write", io::ErrorKind::WriteZero.into())),
                count => {
                    bytes = &bytes[count..];
                    offset += count as u64;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn sync(&self) -> Result<()> {
        retried(|| self.inner.sync()).map_err(unsynced(&self.path, "sync"))
    }

    pub(crate) fn try_lock(&self, exclusive: bool) -> Result<bool> {
        self.run("lock", || self.inner.try_lock(exclusive))
    }

    pub(crate) fn identity(&self) -> Result<FileId> {
        self.run("look up", || self.inner.identity())
    }

    /// Returns the ids of the process that holds a lock on it and of its user, where the system tells.
    pub(crate) fn lock_holder(&self) -> Option<(u32, u32)> {
        self.inner.lock_holder()
    }

    /// Maps the first `bytes` bytes; `None` where the system refuses, as it does when a process has 65,530 mappings or
    /// no address space is left: then they can still be read.
    pub(crate) fn map(&self, bytes: u64) -> Result<Option<Region>> {
        match retried(|| self.inner.map(bytes, Unchanging(()))) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Ok(None),
            mapped => mapped.map(Some).map_err(|error| Error::io(&self.path, "map", error)),
        }
    }

    /// Advises the system to read the file from the disk the next time.
    pub(crate) fn forget(&self) {
        self.inner.forget();
    }

    /// Marks the file read-only, as a guard against accidents; so it is no error if the system cannot.
    pub(crate) fn protect(&self) {
        let _ = self.inner.protect();
    }

    /// Returns the text in `LOCK`, for humans; empty when it cannot be read.
    pub(crate) fn text(&self) -> String {
        let mut bytes = [0; LOCK_BYTES];
        match self.read_exact_at(&mut bytes, 0) {
            Ok(()) => String::from_utf8_lossy(&bytes).trim().replace('\n', ", "),
            Err(_) => String::new(),
        }
    }
}
