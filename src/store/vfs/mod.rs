//! The seam between the store and whatever keeps its bytes.
//!
//! [`Vfs`], [`VfsDir`] and [`VfsFile`] are the few operations a database needs of a file system. [`DiskVfs`] is the
//! real one, [`MemoryVfs`] keeps files in memory and can tell what a power cut would leave of them ([`PowerCut`]), and
//! [`FaultyVfs`] fails the n-th operation. All I/O is positional: there is no cursor that two threads could fight over.
//! Implementations do not retry; the store does ([`io::ErrorKind::Interrupted`], short reads and writes).
//!
//! What an implementation promises:
//! 1. after [`VfsFile::sync`] the file's bytes and length survive a power cut; its *name* does so only after
//!    [`VfsDir::sync`] of the directory;
//! 2. [`VfsDir::rename`] is atomic: after a cut there is the old name or the new one;
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
#[cfg_attr(not(any(test, feature = "testing")), allow(dead_code))] // only tests look at what was done to it
mod memory;
#[cfg(not(unix))]
mod paths;
#[cfg(any(test, feature = "testing"))]
mod power;
#[cfg(test)]
mod tests;
#[cfg_attr(not(any(test, feature = "testing")), allow(dead_code))] // only tests look at what was done to it
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
    /// [`io::ErrorKind::AlreadyExists`], or what the system says; so below.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Opens a directory; links on the way to it are followed.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], or what the system says.
    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn VfsDir>>;

    /// Makes bytes and lengths of several files durable: one after the other, unless an implementation knows better.
    ///
    /// # Errors
    /// As [`VfsFile::sync`], with the place of the file in `files`. Of the others nothing is known either.
    fn sync_files(&self, files: &[&dyn VfsFile]) -> Result<(), (usize, io::Error)> {
        files.iter().enumerate().try_for_each(|(at, file)| file.sync().map_err(|error| (at, error)))
    }

    /// What keeps the bytes below `path`, which need not exist yet.
    fn file_system(&self, _: &Path) -> FileSystem {
        FileSystem::Local
    }
}

/// An open directory. Every name is that of a thing in it, never a path.
pub trait VfsDir: Any + Debug + Send + Sync {
    /// Makes a directory.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`], or what the system says; so below.
    fn create_dir(&self, name: &str) -> io::Result<()>;

    /// Opens a directory.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], [`WrongKind`], or what the system says.
    fn open_dir(&self, name: &str) -> io::Result<Box<dyn VfsDir>>;

    /// The names in it, in no order.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when the directory was removed, or what the system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a file, for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when the name is taken, by whatever it is.
    fn create(&self, name: &str) -> io::Result<Box<dyn VfsFile>>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], [`WrongKind`], or what the system says.
    fn open(&self, name: &str) -> io::Result<Box<dyn VfsFile>>;

    /// Opens a file for reading and writing, making it when it is missing.
    ///
    /// # Errors
    /// [`WrongKind`], or what the system says.
    fn open_or_create(&self, name: &str) -> io::Result<Box<dyn VfsFile>>;

    /// Renames, atomically, replacing what has the new name.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes the name of what is no directory.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Gives a file that will not change any more the same name in another directory; its bytes are shared from then
    /// on, and each name is removed by itself. The new name is durable after [`VfsDir::sync`], the bytes as they were.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where there is no such thing, as here unless overridden, or what the system says:
    /// the caller copies instead.
    fn link(&self, _name: &str, _target: &dyn VfsDir) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Makes the names in it durable.
    ///
    /// # Errors
    /// What the system says; afterwards nothing is known of names not made durable before.
    fn sync(&self) -> io::Result<()>;

    /// Makes its own name durable, in the directory that it is in.
    ///
    /// # Errors
    /// What the system says.
    fn sync_parent(&self) -> io::Result<()>;

    /// What has this name now, a link itself and not what it leads to; none when nothing has.
    ///
    /// # Errors
    /// What the system says.
    fn find(&self, name: &str) -> io::Result<Option<Found>>;

    /// Which directory it is.
    ///
    /// # Errors
    /// What the system says.
    fn identity(&self) -> io::Result<FileId>;

    /// Which directories this one lies in: itself first, the top of the file system last.
    ///
    /// # Errors
    /// What the system says.
    fn lineage(&self) -> io::Result<Vec<FileId>>;
}

/// Which file or directory something is, whatever its name. No two that exist at the same time are equal; one that is
/// held open counts as existing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileId {
    /// Number of the file system.
    pub device: u64,
    /// Number in it.
    pub number: u64,
}

/// What has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which one it is.
    pub identity: FileId,
    /// And of what kind.
    pub kind: Kind,
}

/// Kinds of things in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Link,
    /// Something that may wait for others: a FIFO.
    Fifo,
    /// A socket, a device, or what else there may be.
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

/// A name is that of something which cannot be opened under it; inside an [`io::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is {found}, where only {} can be, and no link is followed", if *.wanted == Kind::Dir { "a real directory" } else { "a regular file" })]
pub struct WrongKind {
    /// What it is.
    pub found: Kind,
    /// What could have been opened.
    pub wanted: Kind,
}

impl From<WrongKind> for io::Error {
    fn from(wrong: WrongKind) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidInput, wrong)
    }
}

/// What keeps the bytes of a path, as far as it decides what can be promised there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// A disk of this machine, or its memory.
    Local,
    /// Another machine, the host of a virtual machine, or a program (FUSE), by its name: nobody knows what its locks
    /// and syncs are worth, and a mapped page that cannot be fetched kills the process.
    Network(String),
    /// One that nobody has looked at, by what is known of it.
    Unknown(String),
}

/// An open file.
pub trait VfsFile: Debug + Send + Sync {
    /// Length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn bytes(&self) -> io::Result<u64>;

    /// Reads some bytes at `offset`; 0 means the end of the file.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes some bytes at `offset`, growing the file, and says how many.
    ///
    /// # Errors
    /// What the system says.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Makes bytes and length durable; of times and modes nothing is promised.
    ///
    /// # Errors
    /// What the system says; afterwards nothing is known of bytes not made durable before, and trying again proves
    /// nothing.
    fn sync(&self) -> io::Result<()>;

    /// Takes a shared or exclusive lock without waiting; false when another opening holds one that excludes it.
    ///
    /// # Errors
    /// What the system says.
    fn try_lock(&self, exclusive: bool) -> io::Result<bool>;

    /// Which file it is.
    ///
    /// # Errors
    /// What the system says.
    fn identity(&self) -> io::Result<FileId>;

    /// The process that holds a lock on the file, and its user; none where the system does not tell.
    fn lock_holder(&self) -> Option<(u32, u32)> {
        None
    }

    /// The first `bytes` of a file that will not change any more, as one slice.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the file is shorter.
    fn map(&self, bytes: u64, _: Unchanging) -> io::Result<Region>;

    /// Asks the system to drop what it remembers of the file, so that it is read from the disk again. Advice only.
    fn forget(&self) {}

    /// Marks the file read-only against accidents, for everybody who may write it.
    ///
    /// # Errors
    /// What the system says.
    fn protect(&self) -> io::Result<()>;
}
