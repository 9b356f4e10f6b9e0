//! The interface between the store and whatever keeps its bytes (*virtual file system*).
//!
//! [`Vfs`], [`VfsDir`] and [`VfsFile`] are the few operations that a database needs of a file system. [`DiskVfs`] is
//! the real one, [`MemoryVfs`] keeps files in memory, [`PowerCut`] computes what a power cut could leave of them, and
//! [`FaultyVfs`] makes the n-th operation fail. All I/O is positional: there is no cursor that two threads could fight
//! over. Implementations do not retry; the store does ([`io::ErrorKind::Interrupted`], short reads and writes).
//!
//! What an implementation promises:
//! 1. after [`VfsFile::sync`] the file's bytes and length survive a power cut; its *name* does so only after
//!    [`VfsDir::sync`] of the directory;
//! 2. [`VfsDir::rename`] is atomic: after a power cut either the old name or the new one exists;
//! 3. locks belong to the opened file: two openings in one process exclude each other, and closing (or the death of the
//!    process) releases them;
//! 4. a removed file stays readable for those who have it open or mapped;
//! 5. an open directory stays the one that was opened, wherever it is moved to and whatever takes its name;
//! 6. only regular files and real directories are opened inside a directory: no link is followed and nothing waits,
//!    neither for the other end of a FIFO nor for a device ([`WrongKind`]).

mod disk;
#[cfg(any(test, feature = "testing"))]
mod faulty;
mod kind;
pub(crate) mod map;
#[cfg_attr(not(any(test, feature = "testing")), allow(dead_code))] // only tests read its record of changes
mod memory;
#[cfg(not(unix))]
mod paths;
#[cfg(any(test, feature = "testing"))]
mod power;
#[cfg(test)]
mod tests;
#[cfg_attr(not(any(test, feature = "testing")), allow(dead_code))] // only tests read its record of changes
mod tree;
#[cfg(unix)]
mod unix;

pub use crate::store::vfs::map::{Region, Unchanging, Words};
pub use disk::DiskVfs;
#[cfg(any(test, feature = "testing"))]
pub use faulty::{Fault, FaultyVfs};
pub use memory::{MemoryVfs, Operation};
#[cfg(any(test, feature = "testing"))]
pub use power::{Aftermath, Effort, PowerCut};

use std::any::Any;
use std::fmt::{self, Debug};
use std::io;
use std::path::Path;

/// A file system, as far as a database needs one.
pub trait Vfs: Debug + Send + Sync {
    /// Makes one directory.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`], or another error of the system; likewise below.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Opens a directory; links on the way to it are followed.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], or another error of the system.
    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn VfsDir>>;

    /// Makes bytes and lengths of several files durable: one after the other, unless an implementation knows better.
    ///
    /// # Errors
    /// As [`VfsFile::sync`], with the index in `files` of the file that failed. The others may not be durable either.
    fn sync_files(&self, files: &[&dyn VfsFile]) -> Result<(), (usize, io::Error)> {
        files.iter().enumerate().try_for_each(|(at, file)| file.sync().map_err(|error| (at, error)))
    }

    /// Returns what kind of file system holds `path`, which need not exist yet.
    fn file_system(&self, _: &Path) -> FileSystem {
        FileSystem::Local
    }
}

/// An open directory. Every `name` is that of an entry in it, never a path.
pub trait VfsDir: Any + Debug + Send + Sync {
    /// Makes a directory.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`], or another error of the system; likewise below.
    fn create_dir(&self, name: &str) -> io::Result<()>;

    /// Opens a directory.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], [`WrongKind`], or another error of the system.
    fn open_dir(&self, name: &str) -> io::Result<Box<dyn VfsDir>>;

    /// Returns the names of its entries, in no particular order.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when the directory was removed, or another error of the system.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a file and opens it for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when the name is taken, by an entry of any kind.
    fn create(&self, name: &str) -> io::Result<Box<dyn VfsFile>>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], [`WrongKind`], or another error of the system.
    fn open(&self, name: &str) -> io::Result<Box<dyn VfsFile>>;

    /// Opens a file for reading and writing, making it when it is missing.
    ///
    /// # Errors
    /// [`WrongKind`], or another error of the system.
    fn open_or_create(&self, name: &str) -> io::Result<Box<dyn VfsFile>>;

    /// Renames an entry atomically, replacing what has the new name.
    ///
    /// # Errors
    /// Those of the system.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes the name of an entry that is not a directory.
    ///
    /// # Errors
    /// Those of the system.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes a hard link: gives a file that no longer changes the same name in another directory. The two names share
    /// the bytes, and each is removed by itself. The new name is durable after [`VfsDir::sync`]; the bytes are as
    /// durable as before.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where there are no hard links, which is the default, or another error of the
    /// system: the caller copies instead.
    fn link(&self, _name: &str, _target: &dyn VfsDir) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Makes the names of its entries durable.
    ///
    /// # Errors
    /// Those of the system; afterwards it is unknown which names that were not durable before reached the disk.
    fn sync(&self) -> io::Result<()>;

    /// Makes its own name durable, in its parent directory.
    ///
    /// # Errors
    /// Those of the system.
    fn sync_parent(&self) -> io::Result<()>;

    /// Looks up what has this name now, without following a link; `None` when nothing has it.
    ///
    /// # Errors
    /// Those of the system.
    fn find(&self, name: &str) -> io::Result<Option<Found>>;

    /// Returns the identity of this directory.
    ///
    /// # Errors
    /// Those of the system.
    fn identity(&self) -> io::Result<FileId>;

    /// Returns the identities of the directories that this one lies in: itself first, the top of the file system last.
    ///
    /// # Errors
    /// Those of the system.
    fn lineage(&self) -> io::Result<Vec<FileId>>;
}

/// The identity of a file or directory, whatever its name. No two that exist at the same time are equal; one that is
/// held open counts as existing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileId {
    /// Number of the file system.
    pub device: u64,
    /// Number of the file or directory in that file system.
    pub number: u64,
}

/// What was found under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its identity.
    pub identity: FileId,
    /// Its kind.
    pub kind: Kind,
}

/// Kinds of entries in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Link,
    /// A FIFO, which may make whoever opens it wait.
    Fifo,
    /// A socket, a device, or anything else.
    Other,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::File => "a file",
            Kind::Dir => "a directory",
            Kind::Link => "a symbolic link",
            Kind::Fifo => "a FIFO",
            Kind::Other => "a socket or device",
        })
    }
}

/// An entry is not of the kind that was to be opened; inside an [`io::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is {found}, where only {} can be, and no link is followed", if *.wanted == Kind::Dir { "a real directory" } else { "a regular file" })]
pub struct WrongKind {
    /// The kind of the entry.
    pub found: Kind,
    /// The kind that could have been opened.
    pub wanted: Kind,
}

impl From<WrongKind> for io::Error {
    fn from(wrong: WrongKind) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidInput, wrong)
    }
}

/// The kind of file system at a path, as far as it decides what the store can promise there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// A disk of this machine, or its memory.
    Local,
    /// Another machine, the host of a virtual machine, or a program (FUSE), by its name: its locks and syncs may be
    /// worth nothing, and a mapped page that cannot be fetched kills the process.
    Network(String),
    /// An unknown file system; the text says what is known of it.
    Unknown(String),
}

/// An open file.
pub trait VfsFile: Debug + Send + Sync {
    /// Returns the length in bytes.
    ///
    /// # Errors
    /// Those of the system.
    fn bytes(&self) -> io::Result<u64>;

    /// Reads some bytes at `offset` and returns how many; 0 means the end of the file.
    ///
    /// # Errors
    /// Those of the system.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes some of the bytes at `offset`, growing the file if needed, and returns how many.
    ///
    /// # Errors
    /// Those of the system.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Makes bytes and length durable; times and modes may not be.
    ///
    /// # Errors
    /// Those of the system; afterwards it is unknown which bytes that were not durable before reached the disk, and a
    /// later success proves nothing.
    fn sync(&self) -> io::Result<()>;

    /// Takes a shared or exclusive lock without waiting; returns false when another opening holds one that excludes it.
    ///
    /// # Errors
    /// Those of the system.
    fn try_lock(&self, exclusive: bool) -> io::Result<bool>;

    /// Returns the identity of this file.
    ///
    /// # Errors
    /// Those of the system.
    fn identity(&self) -> io::Result<FileId>;

    /// Returns the ids of the process that holds a lock on the file and of its user; `None` where the system does not
    /// tell.
    fn lock_holder(&self) -> Option<(u32, u32)> {
        None
    }

    /// Returns the first `bytes` bytes of a file that no longer changes, as one slice.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the file is shorter.
    fn map(&self, bytes: u64, _: Unchanging) -> io::Result<Region>;

    /// Advises the system to drop its cached pages of the file, so that it is read from the disk again.
    fn forget(&self) {}

    /// Marks the file read-only for everybody, as a guard against accidents.
    ///
    /// # Errors
    /// Those of the system.
    fn protect(&self) -> io::Result<()>;
}
