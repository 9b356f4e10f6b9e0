//! What a power cut can leave of a file system.
//!
//! Bytes and names that were synced are there. Everything else may have reached the disk or not, independently and in any
//! order: each write wholly, in part or as zeros with the new length; each creation, removal and renaming of a name
//! wholly. That is more than any one real file system does, on purpose.

use super::memory::parent;
use super::{MemoryVfs, Operation};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// Most unsynced operations of which every subset is tried: 64 images.
const EVERY_SUBSET: usize = 6;
const SECTOR: usize = 512;

/// The state of a disk while [`Operation`]s arrive: what is durable, and what is on its way.
#[derive(Clone, Debug, Default)]
pub struct PowerCut {
    entries: BTreeMap<PathBuf, Entry>,
    contents: HashMap<u64, Vec<u8>>,
    /// Names as the running system sees them, to know what a renaming moves.
    live: BTreeMap<PathBuf, Entry>,
    unsynced: Vec<Unsynced>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Entry {
    Dir,
    File(u64),
}

#[derive(Clone, Debug)]
enum Unsynced {
    Write { inode: u64, offset: u64, bytes: Vec<u8> },
    Add(PathBuf, Entry),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, Entry),
}

/// How much of a write reached the disk.
#[derive(Clone, Copy, Debug)]
enum Tear {
    Half,
    AllButOne,
    FirstSectors,
    LastSectors,
    OddSectors,
    Zeros,
}

impl Tear {
    const ALL: [Tear; 6] =
        [Tear::Half, Tear::AllButOne, Tear::FirstSectors, Tear::LastSectors, Tear::OddSectors, Tear::Zeros];

    /// Whether byte `at` of `len` reached the disk; the length did, except for [`Tear::Half`] and [`Tear::AllButOne`].
    fn keeps(self, at: usize, len: usize) -> bool {
        let sectors = len.div_ceil(SECTOR);
        match self {
            Tear::Half => at < len / 2,
            Tear::AllButOne => at + 1 < len,
            Tear::FirstSectors => at / SECTOR < sectors / 2,
            Tear::LastSectors => at / SECTOR >= sectors / 2,
            Tear::OddSectors => (at / SECTOR) % 2 == 1,
            Tear::Zeros => false,
        }
    }

    fn kept_bytes(self, len: usize) -> usize {
        match self {
            Tear::Half => len / 2,
            Tear::AllButOne => len.saturating_sub(1),
            _ => len,
        }
    }
}

impl PowerCut {
    /// The disk of a machine that has just started with these files, all durable.
    pub fn of(vfs: &MemoryVfs) -> PowerCut {
        let mut disk = PowerCut::default();
        for (path, file) in vfs.entries() {
            let entry = match file {
                None => Entry::Dir,
                Some((inode, bytes)) => {
                    disk.contents.insert(inode, bytes);
                    Entry::File(inode)
                }
            };
            disk.entries.insert(path, entry);
        }
        disk.live = disk.entries.clone();
        disk
    }

    /// Lets one more operation happen.
    pub fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::CreateDir(path) => self.add(path, Entry::Dir),
            Operation::Create(path, inode) => self.add(path, Entry::File(*inode)),
            Operation::Write(inode, offset, bytes) => {
                self.unsynced.push(Unsynced::Write { inode: *inode, offset: *offset, bytes: bytes.clone() });
            }
            Operation::Sync(inode) => {
                for done in self.take(|write| matches!(write, Unsynced::Write { inode: of, .. } if of == inode)) {
                    perform(&mut self.entries, &mut self.contents, &done, None);
                }
            }
            Operation::SyncLost(inode) => {
                self.take(|write| matches!(write, Unsynced::Write { inode: of, .. } if of == inode));
            }
            Operation::Rename(from, to) => {
                if let Some(entry) = self.live.remove(from) {
                    self.live.insert(to.clone(), entry);
                    self.unsynced.push(Unsynced::Rename(from.clone(), to.clone(), entry));
                }
            }
            Operation::Remove(path) => {
                self.live.remove(path);
                self.unsynced.push(Unsynced::Remove(path.clone()));
            }
            Operation::SyncDir(dir) => {
                let inside = |change: &Unsynced| match change {
                    Unsynced::Write { .. } => false,
                    Unsynced::Add(path, _) | Unsynced::Remove(path) | Unsynced::Rename(path, ..) => {
                        parent(path) == *dir
                    }
                };
                for done in self.take(inside) {
                    perform(&mut self.entries, &mut self.contents, &done, None);
                }
            }
        }
    }

    fn add(&mut self, path: &Path, entry: Entry) {
        self.live.insert(path.to_path_buf(), entry);
        self.unsynced.push(Unsynced::Add(path.to_path_buf(), entry));
    }

    fn take(&mut self, which: impl Fn(&Unsynced) -> bool) -> Vec<Unsynced> {
        let (taken, left) = std::mem::take(&mut self.unsynced).into_iter().partition(which);
        self.unsynced = left;
        taken
    }

    /// File systems that a power cut at this moment can leave, each with a word on how: every subset of up to six
    /// unsynced operations; of more, none, all, each alone, each missing and 32 drawn by `seed`; and every unsynced
    /// write torn in six ways while all else arrived.
    pub fn images(&self, seed: u64) -> Vec<(String, MemoryVfs)> {
        let count = self.unsynced.len();
        let mut subsets: Vec<Vec<bool>> = Vec::new();
        if count <= EVERY_SUBSET {
            subsets.extend((0..1_u32 << count).map(|mask| (0..count).map(|bit| mask >> bit & 1 == 1).collect()));
        } else {
            subsets.extend([vec![false; count], vec![true; count]]);
            for one in 0..count {
                subsets.push((0..count).map(|bit| bit == one).collect());
                subsets.push((0..count).map(|bit| bit != one).collect());
            }
            let mut state = seed | 1;
            subsets.extend((0..32).map(|_| {
                (0..count)
                    .map(|_| {
                        // xorshift: any stream will do here, as long as a seed repeats it.
                        state ^= state << 13;
                        state ^= state >> 7;
                        state ^= state << 17;
                        state & 1 == 1
                    })
                    .collect()
            }));
        }
        let mut images: Vec<_> = subsets
            .iter()
            .map(|kept| (format!("kept {kept:?} of {}", self.describe()), self.image(kept, None)))
            .collect();
        for (at, _) in self.unsynced.iter().enumerate().filter(|(_, change)| matches!(change, Unsynced::Write { .. })) {
            for tear in Tear::ALL {
                let what = format!("write {at} torn: {tear:?}, all else kept of {}", self.describe());
                images.push((what, self.image(&vec![true; count], Some((at, tear)))));
            }
        }
        images
    }

    fn describe(&self) -> String {
        let words: Vec<String> = self
            .unsynced
            .iter()
            .map(|change| match change {
                Unsynced::Write { inode, offset, bytes } => format!("write {} at {offset} of {inode}", bytes.len()),
                Unsynced::Add(path, _) => format!("add {}", path.display()),
                Unsynced::Remove(path) => format!("remove {}", path.display()),
                Unsynced::Rename(from, to, _) => format!("rename {} to {}", from.display(), to.display()),
            })
            .collect();
        format!("[{}]", words.join(", "))
    }

    fn image(&self, kept: &[bool], torn: Option<(usize, Tear)>) -> MemoryVfs {
        let (mut entries, mut contents) = (self.entries.clone(), self.contents.clone());
        for (at, change) in self.unsynced.iter().enumerate().filter(|(at, _)| kept[*at]) {
            let tear = torn.filter(|(which, _)| *which == at).map(|(_, tear)| tear);
            perform(&mut entries, &mut contents, change, tear);
        }
        let vfs = MemoryVfs::default();
        let reachable = |path: &PathBuf| {
            let above = parent(path);
            above.as_os_str().is_empty() || entries.get(&above) == Some(&Entry::Dir)
        };
        for (path, entry) in entries.iter().filter(|(path, _)| reachable(path)) {
            match entry {
                Entry::Dir => vfs.make_dirs(path),
                Entry::File(inode) => {
                    let empty = Vec::new();
                    // Memory for an image that does not fit is memory the test itself lacks.
                    let _ = vfs.write(path, contents.get(inode).unwrap_or(&empty));
                }
            }
        }
        vfs
    }
}

/// Carries out one operation on durable state.
fn perform(
    entries: &mut BTreeMap<PathBuf, Entry>,
    contents: &mut HashMap<u64, Vec<u8>>,
    change: &Unsynced,
    tear: Option<Tear>,
) {
    match change {
        Unsynced::Add(path, entry) => {
            entries.insert(path.clone(), *entry);
        }
        Unsynced::Remove(path) => {
            entries.remove(path);
        }
        Unsynced::Rename(from, to, entry) => {
            entries.remove(from);
            entries.insert(to.clone(), *entry);
        }
        Unsynced::Write { inode, offset, bytes } => {
            let content = contents.entry(*inode).or_default();
            let from = *offset as usize;
            let len = tear.map_or(bytes.len(), |tear| tear.kept_bytes(bytes.len()));
            if content.len() < from + len {
                content.resize(from + len, 0);
            }
            for (at, byte) in bytes.iter().enumerate().take(len) {
                if tear.is_none_or(|tear| tear.keeps(at, bytes.len())) {
                    content[from + at] = *byte;
                }
            }
        }
    }
}
