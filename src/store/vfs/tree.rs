//! The parts of a file system in memory: directories by number, names in them, links that are followed on the way.

use super::{Kind, Operation, Words};
use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Number of the topmost directory.
pub(super) const TOP: u64 = 0;
/// Most links followed on one path.
const MOST_LINKS: usize = 16;

#[derive(Clone, Debug)]
pub(super) struct State {
    /// Directories by number, without those that were removed.
    pub(super) dirs: BTreeMap<u64, Dir>,
    /// The last number given out.
    last: u64,
    pub(super) recorded: Option<Vec<Operation>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Dir {
    pub(super) names: BTreeMap<String, Node>,
    pub(super) parent: u64,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    Dir(u64),
    File(Arc<Mutex<Inode>>),
    Link(PathBuf),
}

#[derive(Debug, Default)]
pub(super) struct Inode {
    pub(super) number: u64,
    pub(super) content: Arc<Words>,
    pub(super) shared: usize,
    pub(super) exclusive: bool,
}

pub(super) fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn missing<T>() -> io::Result<T> {
    Err(io::ErrorKind::NotFound.into())
}

impl Node {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Node::Dir(_) => Kind::Dir,
            Node::File(_) => Kind::File,
            Node::Link(_) => Kind::Link,
        }
    }
}

impl Default for State {
    fn default() -> State {
        State { dirs: BTreeMap::from([(TOP, Dir::default())]), last: TOP, recorded: None }
    }
}

impl State {
    pub(super) fn record(&mut self, operation: impl FnOnce() -> Operation) {
        if let Some(recorded) = &mut self.recorded {
            recorded.push(operation());
        }
    }

    pub(super) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(super) fn dir(&self, number: u64) -> io::Result<&Dir> {
        self.dirs.get(&number).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn node(&self, dir: u64, name: &str) -> io::Result<&Node> {
        self.dir(dir)?.names.get(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Puts something under a name and returns what was there.
    pub(super) fn set(&mut self, dir: u64, name: &str, node: Node) -> io::Result<Option<Node>> {
        match self.dirs.get_mut(&dir) {
            Some(dir) => Ok(dir.names.insert(name.to_owned(), node)),
            None => missing(),
        }
    }

    pub(super) fn make_dir(&mut self, parent: u64, name: &str) -> io::Result<u64> {
        let number = self.number();
        self.set(parent, name, Node::Dir(number))?;
        self.dirs.insert(number, Dir { parent, names: BTreeMap::new() });
        Ok(number)
    }

    pub(super) fn make_file(&mut self, dir: u64, name: &str, content: Arc<Words>) -> io::Result<Arc<Mutex<Inode>>> {
        let inode = Arc::new(Mutex::new(Inode { number: self.number(), content, ..Inode::default() }));
        self.set(dir, name, Node::File(inode.clone()))?;
        Ok(inode)
    }

    /// Returns the directory that a path leads to from another, following links.
    pub(super) fn walk(&self, from: u64, path: &Path, links: usize) -> io::Result<u64> {
        let mut at = from;
        for part in path.components() {
            at = match part {
                Component::Prefix(_) | Component::RootDir => TOP,
                Component::CurDir => at,
                Component::ParentDir => self.dir(at)?.parent,
                Component::Normal(name) => match self.node(at, name.to_str().unwrap_or_default())? {
                    Node::Dir(number) => *number,
                    Node::Link(target) if links < MOST_LINKS => self.walk(at, target, links + 1)?,
                    _ => return Err(io::ErrorKind::NotADirectory.into()),
                },
            };
        }
        Ok(at)
    }

    /// Returns the directory and the name that a path means; a link in its last part is not followed.
    pub(super) fn place(&self, path: &Path) -> io::Result<(u64, String)> {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.walk(TOP, path.parent().unwrap_or(Path::new("")), 0)?, name.to_owned()))
    }

    /// Makes a directory and those above it.
    pub(super) fn make_dirs(&mut self, path: &Path) -> io::Result<u64> {
        match self.walk(TOP, path, 0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let parent = self.make_dirs(path.parent().unwrap_or(Path::new("")))?;
                match path.file_name().and_then(|name| name.to_str()) {
                    Some(name) => self.make_dir(parent, name),
                    None => missing(),
                }
            }
            walked => walked,
        }
    }

    /// Forgets a directory and everything in it.
    pub(super) fn forget(&mut self, node: &Node) {
        if let Node::Dir(number) = node
            && let Some(dir) = self.dirs.remove(number)
        {
            dir.names.values().for_each(|node| self.forget(node));
        }
    }

    /// Collects everything below a directory, with its path.
    fn below<'a>(&'a self, dir: u64, path: &Path, found: &mut Vec<(PathBuf, &'a Node)>) {
        for (name, node) in self.dirs.get(&dir).iter().flat_map(|dir| &dir.names) {
            let path = path.join(name);
            found.push((path.clone(), node));
            if let Node::Dir(number) = node {
                self.below(*number, &path, found);
            }
        }
    }

    pub(super) fn all(&self) -> Vec<(PathBuf, &Node)> {
        let mut found = Vec::new();
        self.below(TOP, Path::new(""), &mut found);
        found
    }
}
