//! A file system whose n-th operation fails.

use super::memory::{MemoryDir, MemoryFile};
use super::{FileId, Found, MemoryVfs, Region, Unchanging, Vfs, VfsDir, VfsFile};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Input/output error.
    Io,
    /// No space left on the device.
    NoSpace,
    /// Disk quota exceeded.
    Quota,
    /// Interrupted by a signal; to be tried again.
    Interrupted,
    /// A write writes half of its bytes; other operations fail as with [`Fault::NoSpace`].
    ShortWrite,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Fault; 5] = [Fault::Io, Fault::NoSpace, Fault::Quota, Fault::Interrupted, Fault::ShortWrite];

    fn error(self) -> io::Error {
        match self {
            Fault::Io => io::Error::other("injected input/output error"),
            Fault::NoSpace | Fault::ShortWrite => io::ErrorKind::StorageFull.into(),
            Fault::Quota => io::ErrorKind::QuotaExceeded.into(),
            Fault::Interrupted => io::ErrorKind::Interrupted.into(),
        }
    }
}

/// A [`MemoryVfs`] in which one operation fails, or all from one on. A failed [`VfsFile::sync`] also loses the file's
/// unsynced bytes, as Linux file systems do.
#[derive(Clone, Debug)]
pub struct FaultyVfs {
    inner: MemoryVfs,
    plan: Arc<Plan>,
}

#[derive(Debug)]
struct Plan {
    fault: Fault,
    /// Which operation fails, counted from 0.
    at: u64,
    for_good: bool,
    done: AtomicU64,
    /// The name of the first operation that failed, and its path.
    fired: OnceLock<(&'static str, PathBuf)>,
    /// How many mappings are granted; `asked` counts those that were asked for.
    granted: u64,
    asked: AtomicU64,
}

impl FaultyVfs {
    /// Makes operation `at` (counted from 0) of `inner` fail, and with `for_good` all later ones.
    pub fn new(inner: MemoryVfs, at: u64, fault: Fault, for_good: bool) -> FaultyVfs {
        FaultyVfs { inner, plan: Arc::new(Plan::new(fault, at, for_good, u64::MAX)) }
    }

    /// Grants this many mappings of files and refuses all later ones, as a system does to a process that has too many.
    pub fn with_mappings(inner: MemoryVfs, granted: u64) -> FaultyVfs {
        FaultyVfs { inner, plan: Arc::new(Plan::new(Fault::Io, u64::MAX, false, granted)) }
    }

    /// Returns how many operations there were.
    pub fn operation_count(&self) -> u64 {
        self.plan.done.load(Ordering::SeqCst)
    }

    /// Returns the name of the first operation that failed, if one did.
    pub fn fired(&self) -> Option<&'static str> {
        self.plan.fired.get().map(|(operation, _)| *operation)
    }

    /// Returns the path of the file or directory of that operation.
    pub fn fired_on(&self) -> Option<&Path> {
        self.plan.fired.get().map(|(_, path)| path.as_path())
    }
}

impl Plan {
    fn new(fault: Fault, at: u64, for_good: bool, granted: u64) -> Plan {
        let (done, asked, fired) = (AtomicU64::new(0), AtomicU64::new(0), OnceLock::new());
        Plan { fault, at, for_good, done, fired, granted, asked }
    }

    fn hits(&self, operation: &'static str, path: &Path) -> bool {
        let now = self.done.fetch_add(1, Ordering::SeqCst);
        let hit = now == self.at || (self.for_good && now > self.at);
        if hit {
            self.fired.get_or_init(|| (operation, path.to_path_buf()));
        }
        hit
    }

    fn step(&self, operation: &'static str, path: &Path) -> io::Result<()> {
        if self.hits(operation, path) { Err(self.fault.error()) } else { Ok(()) }
    }
}

impl Vfs for FaultyVfs {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.plan.step("create_dir", path)?;
        self.inner.create_dir(path)
    }

    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn VfsDir>> {
        self.plan.step("open_dir", path)?;
        Ok(Box::new(FaultyDir { inner: self.inner.dir(path)?, path: path.to_path_buf(), plan: self.plan.clone() }))
    }
}

#[derive(Debug)]
struct FaultyDir {
    inner: MemoryDir,
    path: PathBuf,
    plan: Arc<Plan>,
}

impl FaultyDir {
    fn step(&self, operation: &'static str, name: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        self.plan.step(operation, &path).map(|()| path)
    }

    fn file(&self, path: PathBuf, inner: MemoryFile) -> Box<dyn VfsFile> {
        Box::new(FaultyFile { inner, path, plan: self.plan.clone() })
    }
}

impl VfsDir for FaultyDir {
    fn create_dir(&self, name: &str) -> io::Result<()> {
        self.step("create_dir", name)?;
        self.inner.create_dir(name)
    }

    fn open_dir(&self, name: &str) -> io::Result<Box<dyn VfsDir>> {
        let path = self.step("open_dir", name)?;
        Ok(Box::new(FaultyDir { inner: self.inner.dir(name)?, path, plan: self.plan.clone() }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.plan.step("list", &self.path)?;
        self.inner.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn VfsFile>> {
        let path = self.step("create", name)?;
        Ok(self.file(path, self.inner.create_file(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn VfsFile>> {
        let path = self.step("open", name)?;
        Ok(self.file(path, self.inner.open_file(name, false)?))
    }

    fn open_or_create(&self, name: &str) -> io::Result<Box<dyn VfsFile>> {
        let path = self.step("open_or_create", name)?;
        Ok(self.file(path, self.inner.open_or_create_file(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.step("rename", from)?;
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.step("remove", name)?;
        self.inner.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.plan.step("sync_dir", &self.path)?;
        self.inner.sync()
    }

    fn sync_parent(&self) -> io::Result<()> {
        self.plan.step("sync_dir", self.path.parent().unwrap_or(Path::new("")))?;
        self.inner.sync_parent()
    }

    fn find(&self, name: &str) -> io::Result<Option<Found>> {
        self.step("find", name)?;
        self.inner.find(name)
    }

    fn identity(&self) -> io::Result<FileId> {
        self.plan.step("identity", &self.path)?;
        self.inner.identity()
    }

    fn lineage(&self) -> io::Result<Vec<FileId>> {
        self.plan.step("lineage", &self.path)?;
        self.inner.lineage()
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: MemoryFile,
    path: PathBuf,
    plan: Arc<Plan>,
}

impl VfsFile for FaultyFile {
    fn bytes(&self) -> io::Result<u64> {
        self.plan.step("bytes", &self.path)?;
        self.inner.bytes()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.plan.step("read_at", &self.path)?;
        self.inner.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if !self.plan.hits("write_at", &self.path) {
            self.inner.write_at(bytes, offset)
        } else if self.plan.fault == Fault::ShortWrite && bytes.len() > 1 {
            self.inner.write_at(&bytes[..bytes.len() / 2], offset)
        } else {
            Err(self.plan.fault.error())
        }
    }

    fn sync(&self) -> io::Result<()> {
        if let Err(error) = self.plan.step("sync", &self.path) {
            if self.plan.fault != Fault::Interrupted {
                self.inner.lose_unsynced();
            }
            return Err(error);
        }
        self.inner.sync()
    }

    fn try_lock(&self, exclusive: bool) -> io::Result<bool> {
        self.plan.step("try_lock", &self.path)?;
        self.inner.try_lock(exclusive)
    }

    fn identity(&self) -> io::Result<FileId> {
        self.plan.step("identity", &self.path)?;
        self.inner.identity()
    }

    fn map(&self, bytes: u64, leave: Unchanging) -> io::Result<Region> {
        self.plan.step("map", &self.path)?;
        if self.plan.asked.fetch_add(1, Ordering::SeqCst) >= self.plan.granted {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.inner.map(bytes, leave)
    }

    fn protect(&self) -> io::Result<()> {
        self.plan.step("protect", &self.path)?;
        self.inner.protect()
    }
}
