//! A bit is wrong.

use crate::damaged::{self, Answers, Damaged};
use crate::oracle;
use otolith::testing::store::Access;
use otolith::testing::store::vfs::MemoryVfs;
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts of cases.
#[derive(Default)]
struct Cases {
    all: AtomicUsize,
    /// In bytes of the last commit, which nothing later vouches for.
    last_frame: AtomicUsize,
    /// Of these, taken for a commit that was cut off.
    taken_for_torn: AtomicUsize,
    /// In bytes that nothing needs, see [`Damaged::is_idle`].
    idle: AtomicUsize,
    answered: AtomicUsize,
    refused: AtomicUsize,
}

fn one_more(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Bits of byte `at` that are flipped, one at a time.
fn bits(at: usize) -> std::ops::Range<usize> {
    if crate::is_nightly() { 0..8 } else { at % 8..at % 8 + 1 }
}

impl Cases {
    fn flip(&self, database: &Damaged, vfs: &MemoryVfs, path: &Path, at: usize, bit: usize) {
        let whole = database.vfs.read(path).unwrap();
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << bit;
        vfs.write(path, &bytes).unwrap();
        let wrong = |why: String| -> Answers { panic!("{} byte {at} bit {bit}: {why}", path.display()) };
        let report = damaged::verify(vfs);
        let named = report.findings.iter().find(|finding| finding.path == path);
        let mut allowed = &database.states[database.states.len() - 1..];
        one_more(&self.all);
        if database.is_last(path, at) {
            one_more(&self.last_frame);
            allowed = &database.states[database.states.len() - 2..];
        }
        let access = if at.is_multiple_of(2) { Access::Map } else { Access::Read };
        let answers = damaged::ask(oracle::reader(vfs, access), allowed).unwrap_or_else(wrong);
        match named {
            Some(finding) => assert!(finding.offset.is_some(), "{} byte {at}: {finding:?}", path.display()),
            None if allowed.len() == 2 && report.findings.is_empty() => one_more(&self.taken_for_torn),
            None if answers == Answers::Right && database.is_idle(path) => one_more(&self.idle),
            None => panic!("{} byte {at} bit {bit}: not found, but {:?}", path.display(), report.findings),
        }
        assert!(!damaged::is_derived(path) || answers == Answers::Right, "{} byte {at} costs answers", path.display());
        // A writer answers as well, and it neither hides damage of the truth nor makes it worse.
        let copy = vfs.copy().unwrap();
        damaged::ask(oracle::writer(&copy, damaged::tuning()), allowed).unwrap_or_else(wrong);
        if named.is_some_and(|finding| !finding.derived) && answers == Answers::Refused {
            assert!(!damaged::verify(&copy).is_clean(), "{} byte {at}: a writer hid the damage", path.display());
        }
        one_more(if answers == Answers::Refused { &self.refused } else { &self.answered });
        vfs.write(path, &whole).unwrap();
    }
}

#[test]
fn every_flipped_bit_is_found_and_no_answer_is_ever_wrong() {
    let database = Damaged::new();
    assert!(damaged::verify(&database.vfs).findings.is_empty());
    let whole = damaged::ask(oracle::reader(&database.vfs, Access::Read), std::slice::from_ref(database.newest()));
    assert_eq!(whole, Ok(Answers::Right));
    let mut places: Vec<(PathBuf, usize)> = Vec::new();
    for path in database.files() {
        places.extend((0..database.vfs.read(&path).unwrap().len()).map(|at| (path.clone(), at)));
    }
    let bytes = places.len();
    let places: Vec<_> = places.into_iter().step_by(bytes.div_ceil(crate::count(bytes, bytes))).collect();
    let cases = Cases::default();
    places.par_chunks(256).for_each(|places| {
        let vfs = database.vfs.copy().unwrap();
        for (path, at) in places {
            bits(*at).for_each(|bit| cases.flip(&database, &vfs, path, *at, bit));
        }
    });
    let read = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    println!("figure bit_flip_bytes = {bytes} bytes");
    println!("figure bit_flip_cases = {} cases", read(&cases.all));
    println!("figure bit_flip_answered = {} cases", read(&cases.answered));
    println!("figure bit_flip_refused = {} cases", read(&cases.refused));
    println!("figure bit_flip_in_idle_bytes = {} cases", read(&cases.idle));
    println!("figure bit_flip_last_frame = {} cases", read(&cases.last_frame));
    println!("figure bit_flip_last_frame_taken_for_torn = {} cases", read(&cases.taken_for_torn));
    assert!(read(&cases.all) >= crate::count(20_000, 300_000));
    // The exception is for one commit, not for a database.
    assert!(read(&cases.last_frame) * 20 < read(&cases.all));
}

#[test]
fn verification_names_every_damaged_file_and_goes_on() {
    let flip = |vfs: &MemoryVfs, path: &Path, back: usize| {
        let mut bytes = vfs.read(path).unwrap();
        let at = bytes.len() - back.min(bytes.len());
        bytes[at] ^= 1;
        vfs.write(path, &bytes).unwrap();
    };
    let is_manifest = |path: &PathBuf| path.to_string_lossy().contains("manifest-");
    // With all manifests gone nobody knows what the other files are; with them left, their files are looked at.
    let all = Damaged::new();
    all.files().iter().for_each(|path| flip(&all.vfs, path, 10));
    let report = damaged::verify(&all.vfs);
    for path in all.files().iter().filter(|path| is_manifest(path)) {
        assert!(report.findings.iter().any(|finding| finding.path == *path), "{}", path.display());
    }
    let database = Damaged::new();
    let mut files = database.files();
    files.retain(|path| !is_manifest(path) && !damaged::is_derived(path));
    // Logs are hit in their headers: what is wrong with the last bytes of one looks torn.
    files.iter().for_each(|path| {
        flip(&database.vfs, path, if path.to_string_lossy().contains("wal-") { usize::MAX } else { 10 })
    });
    let mut found: Vec<_> = damaged::verify(&database.vfs).findings.into_iter().map(|finding| finding.path).collect();
    found.sort();
    found.dedup();
    // An open segment has no end yet that could be damaged.
    files.retain(|path| !database.is_idle(path));
    assert!(files.iter().all(|path| found.contains(path)), "{files:?} instead of {found:?}");
}
