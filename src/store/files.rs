//! The files of one database: names instead of paths, whole reads and writes, interruptions retried, errors that say
//! where and what.

use super::layout::LOCK_BYTES;
use super::map::{Region, Words};
use super::vfs::{Vfs, VfsFile};
use crate::error::{Error, Result};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Directory of segments and delete sets.
pub(crate) const SEG: &str = "seg";
/// Directory of view parameters.
pub(crate) const VIEW: &str = "view";
/// Directory of what can be rebuilt.
pub(crate) const DERIVED: &str = "derived";
/// Directories inside a database.
pub(crate) const DIRS: [&str; 3] = [SEG, VIEW, DERIVED];
/// The file that the writer locks.
pub(crate) const LOCK: &str = "LOCK";
/// A file that is given up when the disk is full.
pub(crate) const RESERVE: &str = "RESERVE";
/// End of names that mean nothing after a restart.
pub(crate) const TEMPORARY: &str = ".tmp";

/// The directory of a database on some file system.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    vfs: Arc<dyn Vfs>,
    root: PathBuf,
}

/// An open file that knows its path.
#[derive(Debug)]
pub(crate) struct File {
    inner: Box<dyn VfsFile>,
    path: PathBuf,
}

fn retried<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// A failed sync is never reported as a full disk: space would not heal it.
fn sync(path: &Path, operation: &'static str, attempt: impl Fn(&Path) -> io::Result<()>) -> Result<()> {
    retried(|| attempt(path)).map_err(|source| Error::Io { path: path.to_path_buf(), operation, source })
}

/// Whether an error says that a file does not exist.
pub(crate) fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

fn is_taken(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists)
}

impl Files {
    pub(crate) fn new(vfs: Arc<dyn Vfs>, root: &Path) -> Files {
        Files { vfs, root: root.to_path_buf() }
    }

    /// The directory of the database.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The path of a name; the empty name is the database itself.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.root.clone() } else { self.root.join(name) }
    }

    fn run<T>(&self, name: &str, operation: &'static str, attempt: impl Fn(&Path) -> io::Result<T>) -> Result<T> {
        let path = self.path(name);
        retried(|| attempt(&path)).map_err(|error| Error::io(&path, operation, error))
    }

    fn file(&self, name: &str, inner: Box<dyn VfsFile>) -> File {
        File { inner, path: self.path(name) }
    }

    /// Makes a directory unless it is there.
    pub(crate) fn create_dir(&self, name: &str) -> Result<()> {
        match self.run(name, "create directory", |path| self.vfs.create_dir(path)) {
            Err(error) if is_taken(&error) => Ok(()),
            made => made,
        }
    }

    /// Makes names in a directory durable.
    pub(crate) fn sync_dir(&self, name: &str) -> Result<()> {
        sync(&self.path(name), "sync directory", |path| self.vfs.sync_dir(path))
    }

    /// Makes the name of the database itself durable.
    pub(crate) fn sync_parent(&self) -> Result<()> {
        let parent = match self.root.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => return Ok(()),
        };
        sync(parent, "sync directory", |path| self.vfs.sync_dir(path))
    }

    /// Makes bytes and lengths of several files durable.
    pub(crate) fn sync_files(&self, files: &[&File]) -> Result<()> {
        let inner: Vec<&dyn VfsFile> = files.iter().map(|file| &*file.inner).collect();
        let mut failed = 0;
        let synced = retried(|| {
            self.vfs.sync_files(&inner).map_err(|(at, error)| {
                failed = at;
                error
            })
        });
        synced.map_err(|source| {
            let path = files.get(failed).map_or(self.root(), |file| file.path());
            Error::Io { path: path.to_path_buf(), operation: "sync", source }
        })
    }

    /// Names in a directory of the database, sorted.
    pub(crate) fn list(&self, name: &str) -> Result<Vec<String>> {
        let mut names = self.run(name, "list", |path| self.vfs.list(path))?;
        names.sort_unstable();
        Ok(names)
    }

    /// The same, and none when there is no such directory.
    pub(crate) fn list_if_there(&self, name: &str) -> Result<Vec<String>> {
        match self.list(name) {
            Err(error) if is_missing(&error) => Ok(Vec::new()),
            names => names,
        }
    }

    /// Makes a file. Something of that name can only be left over from a publish that failed, because names that a
    /// manifest holds are never given again; it goes.
    pub(crate) fn create(&self, name: &str) -> Result<File> {
        let create = || self.run(name, "create", |path| self.vfs.create(path));
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
        Ok(self.file(name, self.run(name, "open", |path| self.vfs.open(path))?))
    }

    /// Opens a file for reading and writing, making it when missing.
    pub(crate) fn open_or_create(&self, name: &str) -> Result<File> {
        Ok(self.file(name, self.run(name, "open", |path| self.vfs.open_or_create(path))?))
    }

    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<()> {
        let to = self.path(to);
        self.run(from, "rename", |from| self.vfs.rename(from, &to))
    }

    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        self.run(name, "remove", |path| self.vfs.remove(path))
    }

    /// Makes the file `RESERVE` unless it is there; its bytes take room on the disk and mean nothing.
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

    /// Gives a file another name in another database's directory of the same file system.
    pub(crate) fn link(&self, name: &str, target: &Files) -> Result<()> {
        let to = target.path(name);
        self.run(name, "link", |from| self.vfs.link(from, &to))
    }

    /// The files of another directory on the same file system.
    pub(crate) fn beside(&self, root: &Path) -> Files {
        Files { vfs: self.vfs.clone(), root: root.to_path_buf() }
    }

    /// Length of a file, for statistics.
    pub(crate) fn bytes_of(&self, name: &str) -> Result<u64> {
        self.open(name)?.bytes()
    }
}

impl File {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn run<T>(&self, operation: &'static str, attempt: impl FnMut() -> io::Result<T>) -> Result<T> {
        retried(attempt).map_err(|error| Error::io(&self.path, operation, error))
    }

    pub(crate) fn bytes(&self) -> Result<u64> {
        self.run("length", || self.inner.bytes())
    }

    /// Fills `buffer` from `offset` on; the end of the file inside it is an error.
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

    /// The bytes `offset..offset + bytes` in memory of their own.
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
        sync(&self.path, "sync", |_| self.inner.sync())
    }

    pub(crate) fn try_lock(&self, exclusive: bool) -> Result<bool> {
        self.run("lock", || self.inner.try_lock(exclusive))
    }

    pub(crate) fn is_linked(&self) -> Result<bool> {
        self.run("length", || self.inner.is_linked())
    }

    pub(crate) fn map(&self, bytes: u64) -> Result<Region> {
        self.run("map", || self.inner.map(bytes))
    }

    /// Asks the system to read the file from the disk the next time.
    pub(crate) fn forget(&self) {
        self.inner.forget();
    }

    /// Marks the file read-only. Only a guard against accidents, so a system that cannot is no error.
    pub(crate) fn protect(&self) {
        let _ = self.inner.protect();
    }

    /// The text in `LOCK`, for humans; empty when it cannot be read.
    pub(crate) fn text(&self) -> String {
        let mut bytes = [0; LOCK_BYTES];
        match self.read_exact_at(&mut bytes, 0) {
            Ok(()) => String::from_utf8_lossy(&bytes).trim().replace('\n', ", "),
            Err(_) => String::new(),
        }
    }
}
