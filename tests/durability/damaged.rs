//! A small database to be damaged, and what may be said of it then.

use crate::calls::{Call, Session, buffered, sync};
use crate::oracle::{self, DB, State, create, create_view, delete, upsert};
use otolith::testing::store::vfs::MemoryVfs;
use otolith::testing::store::{Access, Change, Depth, Store, Tuning, Verification, verify_path};
use otolith::{Error, ErrorKind, Matrix, Precision, Record, Schema};
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A database with every kind of file, whose process was killed: segments with and without delete sets, views, derived
/// files, and a log with records of its own and others in an open segment.
pub(crate) struct Damaged {
    pub(crate) vfs: MemoryVfs,
    /// What it holds, and before that what it held after each commit.
    pub(crate) states: Vec<State>,
    /// Where the last commit went in files that were there before it. No later byte vouches for these, so damage in
    /// them looks as if that commit had been cut off.
    last: HashMap<PathBuf, Range<usize>>,
    /// The same for all commits since the last publish: what is cut off a log was never there.
    pub(crate) logged: HashMap<PathBuf, Range<usize>>,
}

pub(crate) fn tuning() -> Tuning {
    Tuning { reserve_bytes: 256, ..oracle::tuning(24) }
}

/// Lengths of the files that only grow.
fn lengths(vfs: &MemoryVfs) -> HashMap<PathBuf, usize> {
    let grows = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("wal-") || name.ends_with(".oseg")
    };
    vfs.files().into_iter().filter(grows).map(|path| (path.clone(), vfs.read(&path).unwrap().len())).collect()
}

/// What was appended since.
fn appended(before: &HashMap<PathBuf, usize>, vfs: &MemoryVfs) -> HashMap<PathBuf, Range<usize>> {
    let grown = lengths(vfs).into_iter().filter_map(|(path, len)| {
        let from = *before.get(&path)?;
        (from < len).then_some((path, from..len))
    });
    grown.collect()
}

impl Damaged {
    pub(crate) fn new() -> Damaged {
        let narrow = Schema::new(3).precision(Precision::F16);
        let half = |id: &str| {
            let matrix = Matrix::from_rows(1, 3, vec![0.5, -1.0, 8.0]).unwrap();
            Change::Upsert { collection: "half".into(), records: vec![Record::new(id, matrix)] }
        };
        let mut session = Session::new(tuning());
        for call in [
            sync([create("c"), Change::CreateCollection { name: "half".into(), schema: narrow }]),
            sync([upsert("c", &["a", "b", "c", "d"], 1), create_view("c", "v", 1)]),
            sync([upsert("c", &["b"], 2), delete("c", &["c"]), create_view("c", "w", 2)]),
            sync([half("h")]),
            Call::Flush,
            Call::Derive,
            sync([upsert("c", &["d", "e"], 2)]),
        ] {
            session.call(&call);
        }
        let published = lengths(&session.vfs);
        for call in [
            buffered([upsert("c", &["f"], 3), delete("c", &["a"])]),
            sync([half("k"), half("h")]),
            sync([upsert("c", &["g", "f"], 5)]),
        ] {
            session.call(&call);
        }
        let before = lengths(&session.vfs);
        session.call(&sync([upsert("c", &["i", "b"], 6)]));
        let vfs = session.vfs.copy().unwrap();
        let (last, logged) = (appended(&before, &vfs), appended(&published, &vfs));
        let (_, history, _) = session.end();
        let (_, to) = history.range();
        Damaged { vfs, states: history.states(0, to).to_vec(), last, logged }
    }

    /// Files that count: the lock and the reserve hold nothing.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let counts = |path: &PathBuf| !path.ends_with("LOCK") && !path.ends_with("RESERVE");
        self.vfs.files().into_iter().filter(counts).collect()
    }

    /// Whether a byte belongs to the last commit alone.
    pub(crate) fn is_last(&self, path: &Path, at: usize) -> bool {
        self.last.get(path).is_some_and(|range| range.contains(&at))
    }

    /// Whether nothing may need what stands in a file: what only the version before the newest has in its log, and what
    /// no commit names in an open segment. Damage there is not looked for; no answer may suffer.
    pub(crate) fn is_idle(&self, path: &Path) -> bool {
        let log = path.file_name().unwrap().to_string_lossy().starts_with("wal-");
        let grew = self.logged.contains_key(path);
        is_derived(path) || if log { !grew } else { grew }
    }

    pub(crate) fn newest(&self) -> &State {
        self.states.last().unwrap()
    }
}

/// Whether a file can be rebuilt, so that damage in it costs no answer.
pub(crate) fn is_derived(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "odrv")
}

/// Deep verification.
pub(crate) fn verify(vfs: &MemoryVfs) -> Verification {
    verify_path(Path::new(DB), oracle::options(vfs, Access::Read, tuning()), Depth::Deep).unwrap()
}

/// What questions to a damaged database gave, wrong answers aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    /// Everything, and all of it right.
    Right,
    /// Right ones and errors that name the damage.
    Partial,
    /// It does not open, and the error names the damage.
    Refused,
}

/// Opens a database and asks for everything. Whatever is not an error must be as in one of the `allowed` states.
pub(crate) fn ask(opened: Result<Store, Error>, allowed: &[State]) -> Result<Answers, String> {
    ask_amid(ErrorKind::Damage, opened, allowed)
}

/// The same where errors may also be of another kind.
pub(crate) fn ask_amid(kind: ErrorKind, opened: Result<Store, Error>, allowed: &[State]) -> Result<Answers, String> {
    let typed = |error: &Error| typed(error, kind);
    let store = match opened {
        Ok(store) => store,
        Err(error) => return typed(&error).map(|()| Answers::Refused),
    };
    let answers = allowed.iter().rev().map(|state| compare(&store, state, &typed));
    let mut wrong = Vec::new();
    for answer in answers {
        match answer {
            Ok(answer) => return Ok(answer),
            Err(why) => wrong.push(why),
        }
    }
    Err(wrong.join("; or "))
}

/// Damage is named with its file, and so is what the system refuses.
fn typed(error: &Error, kind: ErrorKind) -> Result<(), String> {
    match error {
        Error::Io { path, .. } if path.starts_with(DB) && kind == ErrorKind::Environment => Ok(()),
        Error::Corrupt { path, .. } | Error::Version { path, .. } if path.starts_with(DB) => Ok(()),
        other => Err(format!("no error of damage: {other:?}")),
    }
}

fn compare(store: &Store, state: &State, typed: &dyn Fn(&Error) -> Result<(), String>) -> Result<Answers, String> {
    let version = store.version();
    let mut counts = Vec::new();
    let mut whole = true;
    let mut failed = |error: &Error| {
        whole = false;
        typed(error)
    };
    if !version.collections.keys().eq(state.keys()) {
        return Err(format!("collections {:?}", version.collections.keys().collect::<Vec<_>>()));
    }
    for (name, collection) in &version.collections {
        let expected = &state[name];
        // In what cannot be read nobody knows which records others have replaced since.
        counts.push((collection.records, expected.records.len() as u64));
        for (id, content) in oracle::records(collection) {
            let id = id.map_err(|error| failed(&error)).ok();
            match (id, content) {
                (Some(id), Ok(content)) if expected.records.get(&id) != Some(&content) => {
                    return Err(format!("{id} is {content:?}"));
                }
                (Some(id), Err(_)) if !expected.records.contains_key(&id) => return Err(format!("{id} exists")),
                (_, Ok(_)) => {}
                (_, Err(error)) => failed(&error)?,
            }
        }
        for id in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "k", "absent"] {
            match collection.find(id) {
                Ok(found) if found.is_some() != expected.records.contains_key(id) => {
                    return Err(format!("{id}: found at {found:?}"));
                }
                Ok(_) => {}
                Err(error) => failed(&error)?,
            }
        }
        if collection.view_names().count() != expected.views.len() {
            return Err(format!("{} views", collection.view_names().count()));
        }
        for (name, (settings, sections)) in &expected.views {
            match collection.view(name) {
                Ok(view) if view.settings != *settings || view.sections != *sections => {
                    return Err(format!("view {name} is {view:?}"));
                }
                Ok(_) => {}
                Err(error) => failed(&error)?,
            }
        }
    }
    // Rows of views are right whatever is wrong with their files, unless the records themselves cannot be read.
    let derived = oracle::derive(store).map_err(|error| failed(&error));
    if derived.is_err() && whole {
        return Err("rows of a view cannot be derived from whole records".into());
    }
    if whole && counts.iter().any(|(found, expected)| found != expected) {
        return Err(format!("records found and expected: {counts:?}"));
    }
    Ok(if whole { Answers::Right } else { Answers::Partial })
}
