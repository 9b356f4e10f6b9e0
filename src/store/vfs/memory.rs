//! Files in memory, with an optional record of every change.

use super::tree::{Inode, Node, State, TOP, guard};
use super::{FileId, Found, Kind, Region, Unchanging, Vfs, VfsDir, VfsFile, Words, WrongKind};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use xxhash_rust::xxh3::Xxh3;

/// A change to a file system, as [`MemoryVfs::recording`] records it. Directories and files are given by their numbers;
/// the topmost directory is 0.
#[derive(Clone, Debug)]
pub enum Operation {
    /// A directory was made: number of its parent, its name, its number.
    CreateDir(u64, String, u64),
    /// A file was made: number of its directory, its name, its number.
    Create(u64, String, u64),
    /// Bytes were written: number of the file, offset, bytes.
    Write(u64, u64, Arc<[u8]>),
    /// A file was made durable.
    Sync(u64),
    /// A file's sync failed: its unsynced bytes stay visible, are marked clean, and will never reach the disk.
    SyncLost(u64),
    /// A name was changed: number of the directory, old name, new name.
    Rename(u64, String, String),
    /// A name was removed from a directory.
    Remove(u64, String),
    /// The names of a directory were made durable.
    SyncDir(u64),
}

/// A file system in memory, for databases that need not survive and for tests. Clones share their files, and stand for
/// the same process. Methods that take a path act like another program on the files: directories and files that are
/// open stay what they are.
#[derive(Clone, Debug, Default)]
pub struct MemoryVfs {
    state: Arc<Mutex<State>>,
    /// Whether the process was killed.
    killed: Arc<AtomicBool>,
}

/// A directory, by its number.
#[derive(Debug)]
pub(super) struct MemoryDir {
    vfs: MemoryVfs,
    number: u64,
}

#[derive(Debug)]
pub(super) struct MemoryFile {
    inode: Arc<Mutex<Inode>>,
    vfs: MemoryVfs,
    writable: bool,
    /// The lock held: none, shared (false), exclusive (true).
    lock: Mutex<Option<bool>>,
}

/// What is under a name: the number of a directory, or number and bytes of a file.
pub(super) enum Seen {
    Dir(u64),
    File(u64, Arc<Words>),
}

impl MemoryVfs {
    /// Returns an empty file system that records every change, for [`PowerCut`](super::PowerCut).
    pub fn recording() -> MemoryVfs {
        let vfs = MemoryVfs::default();
        vfs.record();
        vfs
    }

    /// Begins to record changes, forgetting those so far.
    pub fn record(&self) {
        guard(&self.state).recorded = Some(Vec::new());
    }

    /// Returns the changes so far; empty when they are not recorded.
    pub fn operations(&self) -> Vec<Operation> {
        guard(&self.state).recorded.clone().unwrap_or_default()
    }

    /// Returns how many changes were recorded so far.
    pub fn operation_count(&self) -> usize {
        guard(&self.state).recorded.as_ref().map_or(0, Vec::len)
    }

    /// Simulates the death of the process that has this handle: everything that it tries from now on, through clones
    /// and open files too, fails and changes nothing. Its locks are released when it drops its files. Returns a handle
    /// for the next process.
    pub fn kill(&self) -> MemoryVfs {
        self.killed.store(true, Ordering::SeqCst);
        MemoryVfs { state: self.state.clone(), killed: Arc::default() }
    }

    /// Locks the state; an error if the process was killed.
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = guard(&self.state);
        if self.killed.load(Ordering::SeqCst) { Err(io::Error::other("the process was killed")) } else { Ok(state) }
    }

    /// Returns the paths of all files.
    pub fn files(&self) -> Vec<PathBuf> {
        let state = guard(&self.state);
        state.all().into_iter().filter(|(_, node)| matches!(node, Node::File(_))).map(|(path, _)| path).collect()
    }

    /// Returns every directory and file that has a name, with the number of the directory that it is in.
    pub(super) fn entries(&self) -> Vec<(u64, String, Seen)> {
        let seen = |node: &Node| match node {
            Node::Dir(number) => Some(Seen::Dir(*number)),
            Node::File(inode) => {
                let inode = guard(inode);
                Some(Seen::File(inode.number, inode.content.clone()))
            }
            Node::Link(_) => None,
        };
        let state = guard(&self.state);
        let named = state.dirs.iter().flat_map(|(dir, inside)| inside.names.iter().map(|named| (*dir, named)));
        named.filter_map(|(dir, (name, node))| Some((dir, name.clone(), seen(node)?))).collect()
    }

    /// Returns an independent file system with the same files. Bytes are copied only when one of the two changes them.
    ///
    /// # Errors
    /// When the process was killed.
    pub fn copy(&self) -> io::Result<MemoryVfs> {
        let mut copy = self.state()?.clone();
        copy.recorded = None;
        for node in copy.dirs.values_mut().flat_map(|dir| dir.names.values_mut()) {
            if let Node::File(inode) = node {
                let (number, content) = {
                    let inode = guard(inode);
                    (inode.number, inode.content.clone())
                };
                *inode = Arc::new(Mutex::new(Inode { number, content, ..Inode::default() }));
            }
        }
        Ok(MemoryVfs { state: Arc::new(Mutex::new(copy)), killed: Arc::default() })
    }

    /// Returns a hash over all names and bytes.
    pub fn sum(&self) -> u64 {
        let mut sum = Xxh3::new();
        for (path, node) in guard(&self.state).all() {
            sum.update(path.as_os_str().as_encoded_bytes());
            match node {
                Node::Dir(_) => {}
                Node::Link(target) => sum.update(target.as_os_str().as_encoded_bytes()),
                Node::File(inode) => {
                    let inode = guard(inode);
                    let bytes = inode.content.as_bytes();
                    sum.update(&(bytes.len() as u64).to_le_bytes());
                    sum.update(bytes);
                }
            }
        }
        sum.digest()
    }

    /// Returns a copy of a file's bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] and the like.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = guard(&self.state);
        let (dir, name) = state.place(path)?;
        match state.node(dir, &name)? {
            Node::File(inode) => Ok(guard(inode).content.as_bytes().to_vec()),
            Node::Dir(_) | Node::Link(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    /// Puts a new file with these bytes at a path, replacing what is there, and makes the directories above it. Not
    /// recorded; for tests that build or damage a file system, as are the methods that follow.
    ///
    /// # Errors
    /// [`io::ErrorKind::OutOfMemory`], [`io::ErrorKind::NotADirectory`].
    pub fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut content = Words::zeroed(bytes.len())?;
        content.as_bytes_mut().copy_from_slice(bytes);
        self.put(path, Arc::new(content))
    }

    pub(super) fn put(&self, path: &Path, content: Arc<Words>) -> io::Result<()> {
        let mut state = guard(&self.state);
        state.make_dirs(path.parent().unwrap_or(Path::new("")))?;
        let (dir, name) = state.place(path)?;
        state.make_file(dir, &name, content).map(drop)
    }

    /// Writes these bytes over the start of the file at a path, which stays the same file.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] and the like.
    pub fn overwrite(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let (number, name) = self.state()?.place(path)?;
        let dir = MemoryDir { vfs: self.clone(), number };
        dir.open_file(&name, true)?.write_at(bytes, 0).map(drop)
    }

    /// Makes a directory and those above it.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotADirectory`].
    pub fn make_dirs(&self, path: &Path) -> io::Result<()> {
        guard(&self.state).make_dirs(path).map(drop)
    }

    /// Makes a symbolic link, replacing what is at the path.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`].
    pub fn link_to(&self, target: &Path, path: &Path) -> io::Result<()> {
        let mut state = guard(&self.state);
        let (dir, name) = state.place(path)?;
        state.set(dir, &name, Node::Link(target.to_path_buf())).map(drop)
    }

    /// Removes a file, a link, or a directory with all that is in it.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`].
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = guard(&self.state);
        let (dir, name) = state.place(path)?;
        let gone = state.dirs.get_mut(&dir).and_then(|dir| dir.names.remove(&name)).ok_or(io::ErrorKind::NotFound)?;
        state.forget(&gone);
        Ok(())
    }

    /// Moves a file, a link or a directory, replacing what is at the new path.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`].
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = guard(&self.state);
        let (old, new) = (state.place(from)?, state.place(to)?);
        let node = state.node(old.0, &old.1)?.clone();
        if let Some(dir) = state.dirs.get_mut(&old.0) {
            dir.names.remove(&old.1);
        }
        if let Node::Dir(number) = node
            && let Some(dir) = state.dirs.get_mut(&number)
        {
            dir.parent = new.0;
        }
        let replaced = state.set(new.0, &new.1, node)?;
        replaced.iter().for_each(|node| state.forget(node));
        Ok(())
    }

    fn file(&self, inode: &Arc<Mutex<Inode>>, writable: bool) -> MemoryFile {
        MemoryFile { inode: inode.clone(), vfs: self.clone(), writable, lock: Mutex::new(None) }
    }

    pub(super) fn dir(&self, path: &Path) -> io::Result<MemoryDir> {
        let number = self.state()?.walk(TOP, path, 0)?;
        Ok(MemoryDir { vfs: self.clone(), number })
    }
}

impl Vfs for MemoryVfs {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let (number, name) = self.state()?.place(path)?;
        MemoryDir { vfs: self.clone(), number }.create_dir(&name)
    }

    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn VfsDir>> {
        Ok(Box::new(self.dir(path)?))
    }
}

impl MemoryDir {
    pub(super) fn dir(&self, name: &str) -> io::Result<MemoryDir> {
        match self.vfs.state()?.node(self.number, name)? {
            Node::Dir(number) => Ok(MemoryDir { vfs: self.vfs.clone(), number: *number }),
            other => Err(WrongKind { found: other.kind(), wanted: Kind::Dir }.into()),
        }
    }

    pub(super) fn create_file(&self, name: &str) -> io::Result<MemoryFile> {
        let mut state = self.vfs.state()?;
        if state.dir(self.number)?.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.make_file(self.number, name, Arc::default())?;
        let number = guard(&inode).number;
        state.record(|| Operation::Create(self.number, name.to_owned(), number));
        Ok(self.vfs.file(&inode, true))
    }

    pub(super) fn open_file(&self, name: &str, writable: bool) -> io::Result<MemoryFile> {
        match self.vfs.state()?.node(self.number, name)? {
            Node::File(inode) => Ok(self.vfs.file(inode, writable)),
            other => Err(WrongKind { found: other.kind(), wanted: Kind::File }.into()),
        }
    }

    pub(super) fn open_or_create_file(&self, name: &str) -> io::Result<MemoryFile> {
        match self.create_file(name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.open_file(name, true),
            created => created,
        }
    }
}

impl VfsDir for MemoryDir {
    fn create_dir(&self, name: &str) -> io::Result<()> {
        let mut state = self.vfs.state()?;
        if state.dir(self.number)?.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let number = state.make_dir(self.number, name)?;
        state.record(|| Operation::CreateDir(self.number, name.to_owned(), number));
        Ok(())
    }

    fn open_dir(&self, name: &str) -> io::Result<Box<dyn VfsDir>> {
        Ok(Box::new(self.dir(name)?))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.vfs.state()?.dir(self.number)?.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(self.create_file(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(self.open_file(name, false)?))
    }

    fn open_or_create(&self, name: &str) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(self.open_or_create_file(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.vfs.state()?;
        let node = state.node(self.number, from)?.clone();
        if let Some(dir) = state.dirs.get_mut(&self.number) {
            dir.names.remove(from);
            dir.names.insert(to.to_owned(), node);
        }
        state.record(|| Operation::Rename(self.number, from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.vfs.state()?;
        if let Node::Dir(_) = state.node(self.number, name)? {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if let Some(dir) = state.dirs.get_mut(&self.number) {
            dir.names.remove(name);
        }
        state.record(|| Operation::Remove(self.number, name.to_owned()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.vfs.state()?;
        state.record(|| Operation::SyncDir(self.number));
        Ok(())
    }

    fn sync_parent(&self) -> io::Result<()> {
        let mut state = self.vfs.state()?;
        let parent = state.dir(self.number)?.parent;
        state.record(|| Operation::SyncDir(parent));
        Ok(())
    }

    fn find(&self, name: &str) -> io::Result<Option<Found>> {
        let state = self.vfs.state()?;
        let Some(node) = state.dirs.get(&self.number).and_then(|dir| dir.names.get(name)) else { return Ok(None) };
        let number = match node {
            Node::Dir(number) => *number,
            Node::File(inode) => guard(inode).number,
            Node::Link(_) => u64::MAX,
        };
        Ok(Some(Found { identity: FileId { device: 0, number }, kind: node.kind() }))
    }

    fn identity(&self) -> io::Result<FileId> {
        let _living = self.vfs.state()?;
        Ok(FileId { device: 0, number: self.number })
    }

    fn lineage(&self) -> io::Result<Vec<FileId>> {
        let state = self.vfs.state()?;
        let mut numbers = vec![self.number];
        while let Some(dir) = numbers.last().filter(|number| **number != TOP) {
            numbers.push(state.dir(*dir)?.parent);
        }
        Ok(numbers.into_iter().map(|number| FileId { device: 0, number }).collect())
    }
}

impl MemoryFile {
    /// Records what a failed sync does to unsynced bytes, see [`Operation::SyncLost`].
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

    fn identity(&self) -> io::Result<FileId> {
        let _living = self.vfs.state()?;
        Ok(FileId { device: 0, number: guard(&self.inode).number })
    }

    fn map(&self, bytes: u64, _: Unchanging) -> io::Result<Region> {
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
