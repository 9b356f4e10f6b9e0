//! Files in memory, with an optional record of every change.

use super::{Region, Vfs, VfsFile, Words};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use xxhash_rust::xxh3::Xxh3;

/// A change to a file system, as [`MemoryVfs::recording`] writes it down.
#[derive(Clone, Debug)]
pub enum Operation {
    /// A directory was made.
    CreateDir(PathBuf),
    /// A file was made and got an inode number.
    Create(PathBuf, u64),
    /// Bytes were written to an inode at an offset.
    Write(u64, u64, Arc<[u8]>),
    /// An inode was made durable.
    Sync(u64),
    /// An inode's sync failed: its unsynced bytes stay visible, are marked clean, and will never reach the disk.
    SyncLost(u64),
    /// A name was changed within its directory.
    Rename(PathBuf, PathBuf),
    /// A name was removed.
    Remove(PathBuf),
    /// The names of a directory were made durable.
    SyncDir(PathBuf),
}

/// A file system in memory, for databases that need not survive and for tests. Clones share their files, and stand for
/// the same process.
#[derive(Clone, Debug, Default)]
pub struct MemoryVfs {
    state: Arc<Mutex<State>>,
    /// Whether the process was killed.
    killed: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<PathBuf, Node>,
    inodes: u64,
    recorded: Option<Vec<Operation>>,
}

#[derive(Clone, Debug)]
enum Node {
    Dir,
    File(Arc<Mutex<Inode>>),
}

#[derive(Debug, Default)]
struct Inode {
    number: u64,
    content: Arc<Words>,
    removed: bool,
    shared: usize,
    exclusive: bool,
}

#[derive(Debug)]
pub(super) struct MemoryFile {
    inode: Arc<Mutex<Inode>>,
    vfs: MemoryVfs,
    writable: bool,
    /// The lock held: none, shared (false), exclusive (true).
    lock: Mutex<Option<bool>>,
}

/// Inode number and bytes of a file.
pub(super) type NumberedFile = (u64, Arc<Words>);

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The directory of a path; the top is written as the empty path.
pub(super) fn parent(path: &Path) -> PathBuf {
    top(path.parent().unwrap_or(Path::new("")))
}

fn top(path: &Path) -> PathBuf {
    if path == Path::new(".") || path == Path::new("/") { PathBuf::new() } else { path.to_path_buf() }
}

impl State {
    fn record(&mut self, operation: impl FnOnce() -> Operation) {
        if let Some(recorded) = &mut self.recorded {
            recorded.push(operation());
        }
    }

    fn check_dir(&self, dir: &Path) -> io::Result<()> {
        match self.entries.get(dir) {
            Some(Node::Dir) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None if dir.as_os_str().is_empty() => Ok(()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn file(&self, path: &Path) -> io::Result<&Arc<Mutex<Inode>>> {
        match self.entries.get(path) {
            Some(Node::File(inode)) => Ok(inode),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl MemoryVfs {
    /// An empty file system that writes down every change, for [`PowerCut`](super::PowerCut).
    pub fn recording() -> MemoryVfs {
        let vfs = MemoryVfs::default();
        vfs.record();
        vfs
    }

    /// Begins to write down changes, forgetting those so far.
    pub fn record(&self) {
        guard(&self.state).recorded = Some(Vec::new());
    }

    /// The changes so far; empty when they are not recorded.
    pub fn operations(&self) -> Vec<Operation> {
        guard(&self.state).recorded.clone().unwrap_or_default()
    }

    /// How many changes there were so far.
    pub fn operation_count(&self) -> usize {
        guard(&self.state).recorded.as_ref().map_or(0, Vec::len)
    }

    /// Kills the process that has this handle: whatever it tries from now on, through clones and open files too, fails
    /// and changes nothing. Its locks go when it drops its files. Gives the handle of the next process.
    pub fn kill(&self) -> MemoryVfs {
        self.killed.store(true, Ordering::SeqCst);
        MemoryVfs { state: self.state.clone(), killed: Arc::default() }
    }

    /// The files, for a process that lives.
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = guard(&self.state);
        if self.killed.load(Ordering::SeqCst) { Err(io::Error::other("the process was killed")) } else { Ok(state) }
    }

    /// Paths of all files.
    pub fn files(&self) -> Vec<PathBuf> {
        self.entries().into_iter().filter(|(_, file)| file.is_some()).map(|(path, _)| path).collect()
    }

    /// Every path, with inode and bytes where it is a file's.
    pub(super) fn entries(&self) -> Vec<(PathBuf, Option<NumberedFile>)> {
        let content = |node: &Node| match node {
            Node::Dir => None,
            Node::File(inode) => {
                let inode = guard(inode);
                Some((inode.number, inode.content.clone()))
            }
        };
        guard(&self.state).entries.iter().map(|(path, node)| (path.clone(), content(node))).collect()
    }

    /// A file system of its own with the same files. Bytes are copied only when one of the two changes them.
    ///
    /// # Errors
    /// When the process was killed.
    pub fn copy(&self) -> io::Result<MemoryVfs> {
        drop(self.state()?);
        let copy = MemoryVfs::default();
        for (path, file) in self.entries() {
            match file {
                None => copy.make_dirs(&path),
                Some((_, content)) => copy.put(&path, content),
            }
        }
        Ok(copy)
    }

    /// A sum over all names and bytes.
    pub fn sum(&self) -> u64 {
        let mut sum = Xxh3::new();
        for (path, node) in &guard(&self.state).entries {
            sum.update(path.as_os_str().as_encoded_bytes());
            if let Node::File(inode) = node {
                let inode = guard(inode);
                let bytes = inode.content.as_bytes();
                sum.update(&(bytes.len() as u64).to_le_bytes());
                sum.update(bytes);
            }
        }
        sum.digest()
    }

    /// A copy of a file's bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] and the like.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let inode = guard(&self.state).file(path)?.clone();
        Ok(guard(&inode).content.as_bytes().to_vec())
    }

    /// Sets a file's bytes, making it (and the directories above it) when missing. Not recorded; for tests that build
    /// or damage a file system.
    ///
    /// # Errors
    /// [`io::ErrorKind::OutOfMemory`].
    pub fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut content = Words::zeroed(bytes.len())?;
        content.as_bytes_mut().copy_from_slice(bytes);
        self.make_dirs(&parent(path));
        self.put(path, Arc::new(content));
        Ok(())
    }

    /// A file with these bytes under a name in a directory that is there.
    pub(super) fn put(&self, path: &Path, content: Arc<Words>) {
        let mut state = guard(&self.state);
        state.inodes += 1;
        let inode = Inode { number: state.inodes, content, ..Inode::default() };
        state.entries.insert(path.to_path_buf(), Node::File(Arc::new(Mutex::new(inode))));
    }

    /// Makes a directory and those above it, unrecorded.
    pub fn make_dirs(&self, path: &Path) {
        for dir in path.ancestors().map(top).filter(|dir| !dir.as_os_str().is_empty()) {
            guard(&self.state).entries.entry(dir).or_insert(Node::Dir);
        }
    }

    fn handle(&self, inode: &Arc<Mutex<Inode>>, writable: bool) -> MemoryFile {
        MemoryFile { inode: inode.clone(), vfs: self.clone(), writable, lock: Mutex::new(None) }
    }

    pub(super) fn create_file(&self, path: &Path) -> io::Result<MemoryFile> {
        let mut state = self.state()?;
        state.check_dir(&parent(path))?;
        if state.entries.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.inodes += 1;
        let number = state.inodes;
        let inode = Arc::new(Mutex::new(Inode { number, ..Inode::default() }));
        state.entries.insert(path.to_path_buf(), Node::File(inode.clone()));
        state.record(|| Operation::Create(path.to_path_buf(), number));
        drop(state);
        Ok(self.handle(&inode, true))
    }

    pub(super) fn open_file(&self, path: &Path, writable: bool) -> io::Result<MemoryFile> {
        let inode = self.state()?.file(path)?.clone();
        Ok(self.handle(&inode, writable))
    }
}

impl Vfs for MemoryVfs {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state()?;
        state.check_dir(&parent(path))?;
        if state.entries.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.entries.insert(path.to_path_buf(), Node::Dir);
        state.record(|| Operation::CreateDir(path.to_path_buf()));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let dir = top(dir);
        let state = self.state()?;
        state.check_dir(&dir)?;
        let inside = state.entries.keys().filter(|path| parent(path) == dir);
        Ok(inside.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(self.create_file(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(self.open_file(path, false)?))
    }

    fn open_or_create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        match self.create_file(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Box::new(self.open_file(path, true)?)),
            created => Ok(Box::new(created?)),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state()?;
        if parent(from) != parent(to) {
            return Err(io::Error::new(io::ErrorKind::CrossesDevices, "renames stay within a directory"));
        }
        let inode = state.file(from)?.clone();
        state.entries.remove(from);
        if let Some(Node::File(replaced)) = state.entries.insert(to.to_path_buf(), Node::File(inode)) {
            guard(&replaced).removed = true;
        }
        state.record(|| Operation::Rename(from.to_path_buf(), to.to_path_buf()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state()?;
        let inode = state.file(path)?.clone();
        guard(&inode).removed = true;
        state.entries.remove(path);
        state.record(|| Operation::Remove(path.to_path_buf()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = top(dir);
        let mut state = self.state()?;
        state.check_dir(&dir)?;
        state.record(|| Operation::SyncDir(dir));
        Ok(())
    }
}

impl MemoryFile {
    /// What a failed sync does to unsynced bytes, see [`Operation::SyncLost`].
    pub(super) fn lose_unsynced(&self) {
        let number = guard(&self.inode).number;
        guard(&self.vfs.state).record(|| Operation::SyncLost(number));
    }
}

impl VfsFile for MemoryFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(guard(&self.inode).content.as_bytes().len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let _living = self.vfs.state()?;
        let inode = guard(&self.inode);
        let bytes = inode.content.as_bytes();
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let count = buffer.len().min(bytes.len() - from);
        buffer[..count].copy_from_slice(&bytes[from..][..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut state = self.vfs.state()?;
        let mut inode = guard(&self.inode);
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let end = from.checked_add(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        let content = Arc::make_mut(&mut inode.content);
        content.grow(end)?;
        content.as_bytes_mut()[from..end].copy_from_slice(bytes);
        let number = inode.number;
        drop(inode);
        state.record(|| Operation::Write(number, offset, bytes.into()));
        Ok(bytes.len())
    }

    fn sync(&self) -> io::Result<()> {
        let number = guard(&self.inode).number;
        self.vfs.state()?.record(|| Operation::Sync(number));
        Ok(())
    }

    fn try_lock(&self, exclusive: bool) -> io::Result<bool> {
        let _living = self.vfs.state()?;
        let mut held = guard(&self.lock);
        if *held == Some(exclusive) {
            return Ok(true);
        }
        let mut inode = guard(&self.inode);
        let (own_shared, own_exclusive) = (usize::from(*held == Some(false)), *held == Some(true));
        let others_shared = inode.shared - own_shared;
        let others_exclusive = inode.exclusive && !own_exclusive;
        if others_exclusive || (exclusive && others_shared > 0) {
            return Ok(false);
        }
        inode.shared = others_shared + usize::from(!exclusive);
        inode.exclusive = exclusive;
        *held = Some(exclusive);
        Ok(true)
    }

    fn is_linked(&self) -> io::Result<bool> {
        Ok(!guard(&self.inode).removed)
    }

    fn map(&self, bytes: u64) -> io::Result<Region> {
        Region::share(guard(&self.inode).content.clone(), bytes)
    }

    fn protect(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        let mut inode = guard(&self.inode);
        match *guard(&self.lock) {
            Some(true) => inode.exclusive = false,
            Some(false) => inode.shared -= 1,
            None => {}
        }
    }
}
