//! Computes what a power cut can leave of a file system.
//!
//! Synced bytes and names survive. Everything else may have reached the disk or not, independently and in any order:
//! each write in full, in part, or as zeros with the new length; each creation, removal and renaming in full or not at
//! all. No one real file system leaves that many outcomes; this is stricter on purpose.

use super::memory::Seen;
use super::tree::TOP;
use super::{MemoryVfs, Operation, Words};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

/// Bytes that a small disk writes as one unit, and bytes that a file system does.
const UNITS: [u64; 2] = [512, 4_096];

/// How many of the possible outcomes of a power cut are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Every subset of up to 6 unsynced operations; of more: none, all, each alone, all but each, and 32 random
    /// subsets. Writes are torn in the middle, before their last byte, and by 512-byte sectors in four ways.
    Usual,
    /// Every subset of up to 12 operations, with 256 random ones of more; writes are torn after more numbers of bytes,
    /// by every set of up to 8 sectors, and by pages of 4,096 bytes.
    Great,
}

/// The state of a disk while [`Operation`]s arrive: what is durable, and what is not yet.
#[derive(Clone, Debug, Default)]
pub struct PowerCut {
    durable: Disk,
    /// Names as the running system sees them, to know what a rename moves.
    live: BTreeMap<Name, Entry>,
    unsynced: Vec<Unsynced>,
}

/// One possible outcome of a power cut: which unsynced operations reached the disk, and one write that did so in part.
#[derive(Clone, Debug)]
pub struct Aftermath {
    kept: Vec<bool>,
    torn: Option<(usize, Tear)>,
}

/// A directory's number and a name in it.
type Name = (u64, String);

#[derive(Clone, Debug, Default)]
struct Disk {
    entries: BTreeMap<Name, Entry>,
    contents: HashMap<u64, Arc<Words>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Entry {
    Dir(u64),
    File(u64),
}

#[derive(Clone, Debug)]
enum Unsynced {
    Write { inode: u64, offset: u64, bytes: Arc<[u8]> },
    Add(Name, Entry),
    Remove(Name),
    Rename(Name, Name, Entry),
}

/// How much of a write reached the disk.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Tear {
    /// Only so many first bytes; the file ends there.
    First(usize),
    /// The new length, and the units of the file whose bits are set in `mask`; elsewhere zeros or the old bytes.
    Units { size: u64, mask: u64 },
}

impl Tear {
    /// Returns the ways in which a write of `len` bytes at `offset` may be torn.
    fn all(effort: Effort, offset: u64, len: usize) -> Vec<Tear> {
        let mut first = vec![len / 2, len.saturating_sub(1)];
        let mut units = &UNITS[..1];
        if effort == Effort::Great {
            first.extend([1, 8, 48]);
            units = &UNITS;
        }
        first.retain(|kept| (1..len).contains(kept));
        first.sort_unstable();
        first.dedup();
        let mut tears: Vec<Tear> = first.into_iter().map(Tear::First).collect();
        for &size in units {
            let bits = bits(size, offset, len);
            let all = u64::MAX >> (64 - bits);
            let mut masks = match effort {
                Effort::Great if bits <= 8 => (0..all).collect(),
                _ => vec![0, all >> bits.div_ceil(2), all << bits.div_ceil(2) & all, all & 0xAAAA_AAAA_AAAA_AAAA],
            };
            masks.sort_unstable();
            masks.dedup();
            tears.extend(masks.into_iter().map(|mask| Tear::Units { size, mask }));
        }
        tears
    }

    /// Returns how many bytes of the write the length of the file covers.
    fn covers(self, len: usize) -> usize {
        match self {
            Tear::First(kept) => kept,
            Tear::Units { .. } => len,
        }
    }

    /// Returns whether byte `at` of the write reached the disk.
    fn keeps(self, at: usize, offset: u64, len: usize) -> bool {
        match self {
            Tear::First(kept) => at < kept,
            Tear::Units { size, mask } => {
                let unit = (offset + at as u64) / size - offset / size;
                mask >> (unit * u64::from(bits(size, offset, len)) / units(size, offset, len)) & 1 == 1
            }
        }
    }
}

/// Returns how many units of the file a write touches.
fn units(size: u64, offset: u64, len: usize) -> u64 {
    (offset + len.max(1) as u64 - 1) / size - offset / size + 1
}

/// Returns how many bits stand for these units; more than 64 units share 64 bits.
fn bits(size: u64, offset: u64, len: usize) -> u32 {
    units(size, offset, len).min(64) as u32
}

impl PowerCut {
    /// Returns the disk of a machine that has just started with these files, all durable.
    pub fn of(vfs: &MemoryVfs) -> PowerCut {
        let mut disk = Disk::default();
        for (dir, name, seen) in vfs.entries() {
            let entry = match seen {
                Seen::Dir(number) => Entry::Dir(number),
                Seen::File(inode, content) => {
                    disk.contents.insert(inode, content);
                    Entry::File(inode)
                }
            };
            disk.entries.insert((dir, name), entry);
        }
        PowerCut { live: disk.entries.clone(), durable: disk, unsynced: Vec::new() }
    }

    /// Applies one more operation.
    pub fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::CreateDir(dir, name, number) => self.add((*dir, name.clone()), Entry::Dir(*number)),
            Operation::Create(dir, name, inode) => self.add((*dir, name.clone()), Entry::File(*inode)),
            Operation::Write(inode, offset, bytes) => {
                self.unsynced.push(Unsynced::Write { inode: *inode, offset: *offset, bytes: bytes.clone() });
            }
            Operation::Sync(inode) => {
                for done in self.take(|write| matches!(write, Unsynced::Write { inode: of, .. } if of == inode)) {
                    self.durable.perform(&done, None);
                }
            }
            Operation::SyncLost(inode) => {
                self.take(|write| matches!(write, Unsynced::Write { inode: of, .. } if of == inode));
            }
            Operation::Rename(dir, from, to) => {
                let (from, to) = ((*dir, from.clone()), (*dir, to.clone()));
                if let Some(entry) = self.live.remove(&from) {
                    self.live.insert(to.clone(), entry);
                    self.unsynced.push(Unsynced::Rename(from, to, entry));
                }
            }
            Operation::Remove(dir, name) => {
                let name = (*dir, name.clone());
                self.live.remove(&name);
                self.unsynced.push(Unsynced::Remove(name));
            }
            Operation::SyncDir(dir) => {
                let inside = |change: &Unsynced| match change {
                    Unsynced::Write { .. } => false,
                    Unsynced::Add(name, _) | Unsynced::Remove(name) | Unsynced::Rename(name, ..) => name.0 == *dir,
                };
                for done in self.take(inside) {
                    self.durable.perform(&done, None);
                }
            }
        }
    }

    fn add(&mut self, name: Name, entry: Entry) {
        self.live.insert(name.clone(), entry);
        self.unsynced.push(Unsynced::Add(name, entry));
    }

    fn take(&mut self, which: impl Fn(&Unsynced) -> bool) -> Vec<Unsynced> {
        let (taken, left) = std::mem::take(&mut self.unsynced).into_iter().partition(which);
        self.unsynced = left;
        taken
    }

    /// Returns the possible outcomes of a power cut at this moment, as many as `effort` says: subsets of the unsynced
    /// operations, and each unsynced write torn with all other operations on disk, with only the earlier ones, and with
    /// none. The seed draws the subsets when there are too many.
    pub fn aftermaths(&self, effort: Effort, seed: u64) -> Vec<Aftermath> {
        let count = self.unsynced.len();
        let mut aftermaths: Vec<Aftermath> = subsets(count, effort, seed).into_iter().map(Aftermath::whole).collect();
        for (at, change) in self.unsynced.iter().enumerate() {
            let Unsynced::Write { offset, bytes, .. } = change else { continue };
            let mut others = vec![vec![true; count]];
            if count > 1 {
                others.push((0..count).map(|other| other <= at).collect());
                others.push((0..count).map(|other| other == at).collect());
            }
            for tear in Tear::all(effort, *offset, bytes.len()) {
                aftermaths.extend(others.iter().map(|kept| Aftermath { kept: kept.clone(), torn: Some((at, tear)) }));
            }
        }
        aftermaths
    }

    /// Describes an outcome in words.
    pub fn describe(&self, aftermath: &Aftermath) -> String {
        let word = |(at, change): (usize, &Unsynced)| {
            let what = match change {
                Unsynced::Write { inode, offset, bytes } => format!("write {} at {offset} of {inode}", bytes.len()),
                Unsynced::Add((dir, name), _) => format!("add {name} to {dir}"),
                Unsynced::Remove((dir, name)) => format!("remove {name} from {dir}"),
                Unsynced::Rename((dir, from), (_, to), _) => format!("rename {from} to {to} in {dir}"),
            };
            match aftermath.torn {
                Some((torn, tear)) if torn == at => format!("{what}: {tear:?}"),
                _ if aftermath.kept[at] => what,
                _ => format!("LOST {what}"),
            }
        };
        let words: Vec<String> = self.unsynced.iter().enumerate().map(word).collect();
        format!("[{}]", words.join(", "))
    }

    /// Returns the file system that an outcome leaves.
    pub fn image(&self, aftermath: &Aftermath) -> MemoryVfs {
        let mut disk = self.durable.clone();
        for (at, change) in self.unsynced.iter().enumerate().filter(|(at, _)| aftermath.kept[*at]) {
            disk.perform(change, aftermath.torn.filter(|(torn, _)| *torn == at).map(|(_, tear)| tear));
        }
        disk.mount()
    }
}

/// Returns subsets of `count` operations; see [`Effort`].
fn subsets(count: usize, effort: Effort, seed: u64) -> Vec<Vec<bool>> {
    let (every, drawn) = match effort {
        Effort::Usual => (6, 32),
        Effort::Great => (12, 256),
    };
    if count <= every {
        return (0..1_u32 << count).map(|mask| (0..count).map(|bit| mask >> bit & 1 == 1).collect()).collect();
    }
    let mut subsets = vec![vec![false; count], vec![true; count]];
    for one in 0..count {
        subsets.push((0..count).map(|bit| bit == one).collect());
        subsets.push((0..count).map(|bit| bit != one).collect());
    }
    let mut state = seed | 1;
    let mut draw = || {
        // xorshift: any random numbers will do here, as long as a seed repeats them.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 32 & 1 == 1
    };
    subsets.extend((0..drawn).map(|_| (0..count).map(|_| draw()).collect()));
    subsets
}

impl Aftermath {
    fn whole(kept: Vec<bool>) -> Aftermath {
        Aftermath { kept, torn: None }
    }
}

impl Disk {
    /// Applies one operation, torn if `tear` says so.
    fn perform(&mut self, change: &Unsynced, tear: Option<Tear>) {
        match change {
            Unsynced::Add(name, entry) => {
                self.entries.insert(name.clone(), *entry);
            }
            Unsynced::Remove(name) => {
                self.entries.remove(name);
            }
            Unsynced::Rename(from, to, entry) => {
                self.entries.remove(from);
                self.entries.insert(to.clone(), *entry);
            }
            Unsynced::Write { inode, offset, bytes } => {
                let content = Arc::make_mut(self.contents.entry(*inode).or_default());
                let from = *offset as usize;
                let covered = tear.map_or(bytes.len(), |tear| tear.covers(bytes.len()));
                // This fails only when memory for the image runs out, which the test itself then lacks too.
                if content.grow(from + covered).is_err() {
                    return;
                }
                let target = &mut content.as_bytes_mut()[from..from + covered];
                match tear {
                    None => target.copy_from_slice(bytes),
                    Some(tear) => {
                        for (at, byte) in target.iter_mut().enumerate() {
                            if tear.keeps(at, *offset, bytes.len()) {
                                *byte = bytes[at];
                            }
                        }
                    }
                }
            }
        }
    }

    /// Returns the file system that a machine starting with this disk sees: only what can be reached by names.
    fn mount(&self) -> MemoryVfs {
        let vfs = MemoryVfs::default();
        self.mount_in(&vfs, TOP, Path::new(""));
        vfs
    }

    fn mount_in(&self, vfs: &MemoryVfs, dir: u64, path: &Path) {
        let inside = self.entries.range((dir, String::new())..).take_while(|((of, _), _)| *of == dir);
        for ((_, name), entry) in inside {
            let path = path.join(name);
            // This fails only when memory runs out or one name is two things: no test could go on then.
            let _ = match entry {
                Entry::Dir(number) => vfs.make_dirs(&path).map(|()| self.mount_in(vfs, *number, &path)),
                Entry::File(inode) => vfs.put(&path, self.contents.get(inode).cloned().unwrap_or_default()),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_torn_at_the_sectors_of_the_file_and_never_left_whole() {
        let tears = Tear::all(Effort::Great, 500, 100);
        let sectors: Vec<_> = tears.iter().filter(|tear| matches!(tear, Tear::Units { size: 512, .. })).collect();
        assert_eq!(sectors.len(), 3, "none, the first and the second of two sectors");
        let first = Tear::Units { size: 512, mask: 1 };
        assert!(first.keeps(11, 500, 100) && !first.keeps(12, 500, 100));
        for (offset, len) in [(0, 1), (0, 512), (511, 2), (4_000, 40_000), (0, 100_000)] {
            for effort in [Effort::Usual, Effort::Great] {
                for tear in Tear::all(effort, offset, len) {
                    let whole = tear.covers(len) == len && (0..len).all(|at| tear.keeps(at, offset, len));
                    assert!(!whole, "{tear:?} of {len} bytes at {offset} tears nothing");
                }
            }
        }
    }
}
