//! Files of the wrong length, in the wrong place, of the wrong kind, with absurd numbers.

use crate::damaged::{self, Answers, Damaged};
use crate::oracle::{self, DB, State};
use otolith::ErrorKind;
use otolith::testing::store::Access;
use otolith::testing::store::vfs::{FileId, Found, MemoryVfs, Vfs, VfsDir, VfsFile};
use rayon::prelude::*;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whether a name begins or ends so.
fn is(path: &Path, kind: &str) -> bool {
    let name = path.file_name().unwrap().to_string_lossy();
    name.starts_with(kind) || name.ends_with(kind)
}

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
        true => &database.states[newest - 5..],
        false => &database.states[newest..],
    }
}

/// Puts bytes in the place of a file; damage must be named, or what is there must be right.
fn replace(database: &Damaged, path: &Path, bytes: &[u8], what: &dyn Fn() -> String) {
    let vfs = database.vfs.copy().unwrap();
    vfs.write(path, bytes).unwrap();
    judge(database, &vfs, path, path, what);
}

/// The damage may be named in `path` or in `other`.
fn judge(database: &Damaged, vfs: &MemoryVfs, path: &Path, other: &Path, what: &dyn Fn() -> String) {
    let idle = [path, other].iter().any(|path| database.is_idle(path));
    let allowed =
        [path, other].map(|path| allowed(database, path)).into_iter().max_by_key(|allowed| allowed.len()).unwrap();
    let wrong = |wrong: String| -> Answers { panic!("{}: {}: {wrong}", path.display(), what()) };
    let report = damaged::verify(vfs);
    let named = report.findings.iter().any(|finding| finding.path == path || finding.path == other);
    let answers = damaged::ask(oracle::reader(vfs, Access::Read), allowed).unwrap_or_else(wrong);
    let fine = idle || allowed.len() > 1;
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

#[test]
fn a_file_that_is_not_there_is_missed_or_was_never_needed() {
    let database = Damaged::new();
    let newest = database.files().into_iter().rfind(|path| is(path, "manifest-")).unwrap();
    for path in database.files() {
        let vfs = database.vfs.copy().unwrap();
        vfs.remove(&path).unwrap();
        // Without its newest manifest a database is what it was before.
        let allowed = if path == newest { &database.states[..] } else { allowed(&database, &path) };
        let wrong = |why: String| -> Answers { panic!("without {}: {why}", path.display()) };
        let answers = damaged::ask(oracle::reader(&vfs, Access::Read), allowed).unwrap_or_else(wrong);
        let named = damaged::verify(&vfs).findings.iter().any(|finding| finding.path == path);
        assert!(named || answers != Answers::Partial, "without {}: not missed", path.display());
        let needed = !database.is_idle(&path) && !is(&path, "manifest-") && allowed.len() == 1;
        assert!(named || !needed, "without {}: not missed", path.display());
        damaged::ask(oracle::writer(&vfs, damaged::tuning()), allowed).unwrap_or_else(wrong);
    }
}

#[test]
fn files_that_changed_places_are_found() {
    let database = Damaged::new();
    let kinds = ["manifest-", "wal-", ".oseg", ".odel", ".oview", ".odrv"];
    let (mut swapped, mut copied) = (0, 0);
    for kind in kinds {
        let files: Vec<_> = database.files().into_iter().filter(|path| is(path, kind)).collect();
        for one in &files {
            for other in files.iter().filter(|other| *other != one) {
                let bytes = [one, other].map(|path| database.vfs.read(path).unwrap());
                replace(&database, one, &bytes[1], &|| format!("a copy of {}", other.display()));
                copied += 1;
                let vfs = database.vfs.copy().unwrap();
                vfs.write(one, &bytes[1]).unwrap();
                vfs.write(other, &bytes[0]).unwrap();
                judge(&database, &vfs, one, other, &|| format!("exchanged with {}", other.display()));
                swapped += 1;
            }
        }
    }
    println!("figure truncate_exchanged_files = {} files", swapped + copied);
    assert!(swapped >= 6);
}

/// A file system of which one file cannot be opened, and asked about nothing else.
#[derive(Clone, Debug)]
struct Refusing {
    inner: MemoryVfs,
    path: Arc<PathBuf>,
}

#[derive(Debug)]
struct RefusingDir {
    inner: Box<dyn VfsDir>,
    at: PathBuf,
    refused: Arc<PathBuf>,
}

impl RefusingDir {
    fn check(&self, name: &str) -> io::Result<()> {
        if self.at.join(name) == *self.refused { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
    }
}

impl Vfs for Refusing {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir(path)
    }

    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn VfsDir>> {
        let dir = RefusingDir { inner: self.inner.open_dir(path)?, at: path.to_path_buf(), refused: self.path.clone() };
        dir.check("").map(|()| Box::new(dir) as Box<dyn VfsDir>)
    }
}

impl VfsDir for RefusingDir {
    fn create_dir(&self, name: &str) -> io::Result<()> {
        self.inner.create_dir(name)
    }

    fn open_dir(&self, name: &str) -> io::Result<Box<dyn VfsDir>> {
        self.check(name)?;
        let (inner, at, refused) = (self.inner.open_dir(name)?, self.at.join(name), self.refused.clone());
        Ok(Box::new(RefusingDir { inner, at, refused }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn VfsFile>> {
        self.inner.create(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn VfsFile>> {
        self.check(name)?;
        self.inner.open(name)
    }

    fn open_or_create(&self, name: &str) -> io::Result<Box<dyn VfsFile>> {
        self.check(name)?;
        self.inner.open_or_create(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }

    fn sync_parent(&self) -> io::Result<()> {
        self.inner.sync_parent()
    }

    fn find(&self, name: &str) -> io::Result<Option<Found>> {
        self.inner.find(name)
    }

    fn identity(&self) -> io::Result<FileId> {
        self.inner.identity()
    }

    fn lineage(&self) -> io::Result<Vec<FileId>> {
        self.inner.lineage()
    }
}

#[test]
fn a_file_that_must_not_be_read_or_is_a_directory_costs_what_lies_in_it() {
    let database = Damaged::new();
    let newest = std::slice::from_ref(database.newest());
    let manifest = database.files().into_iter().rfind(|path| is(path, "manifest-")).unwrap();
    let dirs = ["", "seg", "view", "derived"].map(|name| Path::new(DB).join(name));
    let mut refused = 0;
    for path in database.vfs.files().into_iter().chain(dirs) {
        let wrong = |why: String| -> Answers { panic!("{}: {why}", path.display()) };
        let path = Arc::new(path.clone());
        let vfs = Refusing { inner: database.vfs.copy().unwrap(), path: path.clone() };
        let answers = damaged::ask_amid(ErrorKind::Environment, oracle::reader(&vfs, Access::Map), newest);
        let answers = answers.unwrap_or_else(wrong);
        assert!(answers != Answers::Right || *path != manifest, "{} was read", path.display());
        refused += usize::from(answers != Answers::Right);
        let opened = oracle::writer(&vfs, damaged::tuning());
        damaged::ask_amid(ErrorKind::Environment, opened, newest).unwrap_or_else(wrong);
        let after = damaged::ask(oracle::reader(&vfs.inner, Access::Map), newest).unwrap_or_else(wrong);
        assert_eq!(after, Answers::Right, "{}: readable again, and not whole", path.display());

        if database.vfs.read(&path).is_ok() {
            let vfs = database.vfs.copy().unwrap();
            vfs.remove(&path).unwrap();
            vfs.make_dirs(&path).unwrap();
            damaged::ask_amid(ErrorKind::Environment, oracle::reader(&vfs, Access::Read), newest).unwrap_or_else(wrong);
            let opened = oracle::writer(&vfs, damaged::tuning());
            damaged::ask_amid(ErrorKind::Environment, opened, newest).unwrap_or_else(wrong);
        }
    }
    println!("figure truncate_unreadable_files = {refused} files");
    assert!(refused >= 5);
}

/// A frame of a log with another length, sealed again as a hostile writer would.
fn resealed(log: &[u8], at: usize, field: usize, value: u64) -> Vec<u8> {
    let mut bytes = log.to_vec();
    let payload = number(log, at + 8) as usize;
    bytes[at + field..][..8].copy_from_slice(&value.to_le_bytes());
    let salt = xxhash_rust::xxh3::xxh3_64(&log[16..40]);
    let summed = [&bytes[at..at + 40], &bytes[at + 48..][..payload]].concat();
    let sum = xxhash_rust::xxh3::xxh3_64_with_seed(&summed, salt);
    bytes[at + 40..][..8].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

#[test]
fn absurd_numbers_in_a_log_are_refused_also_when_their_sums_fit() {
    let database = Damaged::new();
    let mut cases = 0;
    for path in database.files().into_iter().filter(|path| is(path, "wal-")) {
        let log = database.vfs.read(&path).unwrap();
        let mut at = 64;
        while at + 48 <= log.len() {
            let payload = number(&log, at + 8) as usize;
            assert_eq!(resealed(&log, at, 8, payload as u64), log, "the test seals as the store does");
            for field in (8..40).chain(48..48 + payload).step_by(8) {
                for value in [0, 1, 7, 1 << 31, u64::MAX / 2, u64::MAX - 7, u64::MAX] {
                    let vfs = database.vfs.copy().unwrap();
                    vfs.write(&path, &resealed(&log, at, field, value)).unwrap();
                    // Well-summed nonsense may mean something else; it must not panic, nor ask for all memory there is.
                    for opened in [oracle::reader(&vfs, Access::Read), oracle::writer(&vfs, damaged::tuning())] {
                        let _ = opened.and_then(|store| oracle::read(&store.version()));
                    }
                    let _ = damaged::verify(&vfs);
                    cases += 1;
                }
            }
            at += 48 + payload;
        }
    }
    println!("figure truncate_absurd_numbers = {cases} cases");
}
