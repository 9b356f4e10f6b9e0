//! Files of the wrong length, in the wrong place, of the wrong kind; and a disk that is full.

use crate::damaged::{self, Answers, Damaged};
use crate::oracle::{self, State};
use otolith::store::Access;
use otolith::store::vfs::MemoryVfs;
use rayon::prelude::*;
use std::path::Path;

/// Lengths at which something ends or begins: all of small files, multiples of what things are aligned to in others.
fn boundaries(len: usize) -> Vec<usize> {
    if crate::is_nightly() || len <= 4_096 {
        return (0..len).collect();
    }
    let mut lengths: Vec<usize> =
        (0..len).step_by(64).flat_map(|at| [at.saturating_sub(1), at, at + 1]).chain([127, len - 1]).collect();
    lengths.retain(|at| *at < len);
    lengths.dedup();
    lengths
}

/// What may be found when a file is not as it was written. What is cut off a log was never there, for all one knows;
/// everything else is missed.
fn allowed<'a>(database: &'a Damaged, path: &Path) -> &'a [State] {
    let newest = database.states.len() - 1;
    match database.logged.contains_key(path) {
        true => &database.states[newest - 4..],
        false => &database.states[newest..],
    }
}

/// Puts bytes in the place of a file; damage must be named, or what is there must be right.
fn replace(database: &Damaged, path: &Path, bytes: &[u8], what: &dyn Fn() -> String) {
    let vfs = database.vfs.copy().unwrap();
    vfs.write(path, bytes).unwrap();
    judge(&vfs, path, allowed(database, path), what);
}

fn judge(vfs: &MemoryVfs, path: &Path, allowed: &[State], what: &dyn Fn() -> String) {
    let wrong = |wrong: String| -> Answers { panic!("{}: {}: {wrong}", path.display(), what()) };
    let report = damaged::verify(vfs);
    let named = report.findings.iter().any(|finding| finding.path == path);
    let answers = damaged::ask(oracle::reader(vfs, Access::Read), allowed).unwrap_or_else(wrong);
    let fine = damaged::is_derived(path) || allowed.len() > 1;
    assert!(named || (fine && answers == Answers::Right), "{}: {}: not found", path.display(), what());
    damaged::ask(oracle::writer(vfs, damaged::tuning()), allowed).unwrap_or_else(wrong);
}

#[test]
fn a_file_cut_short_or_grown_is_found_and_no_answer_is_wrong() {
    let database = Damaged::new();
    let mut cases = Vec::new();
    for path in database.files() {
        let len = database.vfs.read(&path).unwrap().len();
        cases.extend(boundaries(len).into_iter().map(|length| (path.clone(), length)));
        // What a crash may leave behind the end of a file that only grows is no damage.
        let grows = database.logged.contains_key(&path);
        cases.extend([1, 256, 4_096].into_iter().filter(|_| !grows).map(|more| (path.clone(), len + more)));
    }
    cases.par_iter().for_each(|(path, length)| {
        let whole = database.vfs.read(path).unwrap();
        let mut bytes = whole.clone();
        bytes.resize(*length, 0);
        replace(&database, path, &bytes, &|| format!("{length} of {} bytes", whole.len()));
        if *length < whole.len() {
            // The length is there, the end is zeros.
            bytes.resize(whole.len(), 0);
            if bytes != whole {
                replace(&database, path, &bytes, &|| format!("zeros from {length} of {}", whole.len()));
            }
        }
    });
    println!("figure truncate_cases = {} cases", cases.len());
    assert!(cases.len() >= 1_000);
}
