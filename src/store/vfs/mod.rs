//! The seam between the store and whatever keeps its bytes.
//!
//! [`Vfs`] and [`VfsFile`] are the eighteen operations a database needs of a file system. [`DiskVfs`] is the real one,
//! [`MemoryVfs`] keeps files in memory and can tell what a power cut would leave of them ([`PowerCut`]), and [`FaultyVfs`]
//! fails the n-th operation. All I/O is positional: there is no cursor that two threads could fight over. Implementations
//! do not retry; the store does ([`io::ErrorKind::Interrupted`], short reads and writes).
//!
//! What an implementation promises:
//! 1. after [`VfsFile::sync`] the file's bytes and length survive a power cut; its *name* does so only after
//!    [`Vfs::sync_dir`] of the directory;
//! 2. [`Vfs::rename`] within a directory is atomic: after a cut there is the old name or the new one;
//! 3. locks belong to the opened file: two openings in one process exclude each other, and closing (or the death of the
//!    process) releases them;
//! 4. a removed file stays readable for those who have it open or mapped.

mod disk;
mod faulty;
mod kind;
mod memory;
mod power;
#[cfg(test)]
mod tests;

pub use super::map::{Region, Words};
pub use disk::DiskVfs;
pub use faulty::{Fault, FaultyVfs};
pub use memory::{MemoryVfs, Operation};
pub use power::{Effort, Outcome, PowerCut};

use std::fmt::Debug;
use std::io;
use std::path::Path;

/// A file system, as far as a database needs one.
pub trait Vfs: Debug + Send + Sync {
    /// Makes one directory.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`], or what the system says; so below.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Names in a directory, in no order.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], or what the system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Makes a file, for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when the name is taken.
    fn create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`], or what the system says.
    fn open(&self, path: &Path) -> io::Result<Box<dyn VfsFile>>;

    /// Opens a file for reading and writing, making it when it is missing.
    ///
    /// # Errors
    /// What the system says.
    fn open_or_create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>>;

    /// Renames within one directory, atomically, replacing what has the new name.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes the name of a file.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Gives a file that will not change any more a second name, in any directory; its bytes are shared from then on, and
    /// each name is removed by itself. The new name is durable after [`Vfs::sync_dir`], the bytes as they were.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where there is no such thing, as here unless overridden, or what the system says:
    /// the caller copies instead.
    fn link(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// What the system says; afterwards nothing is known of names not made durable before.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

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

/// What keeps the bytes of a path, as far as it decides what can be promised there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// A disk of this machine, or its memory.
    Local,
    /// Another machine, the host of a virtual machine, or a program (FUSE), by its name: nobody knows what its locks and
    /// syncs are worth, and a mapped page that cannot be fetched kills the process.
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

    /// Whether the file still has a name.
    ///
    /// # Errors
    /// What the system says.
    fn is_linked(&self) -> io::Result<bool>;

    /// The first `bytes` of a file that will not change any more, as one slice.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the file is shorter.
    fn map(&self, bytes: u64) -> io::Result<Region>;

    /// Asks the system to drop what it remembers of the file, so that it is read from the disk again. Advice only.
    fn forget(&self) {}

    /// Marks the file read-only against accidents.
    ///
    /// # Errors
    /// What the system says.
    fn protect(&self) -> io::Result<()>;
}
