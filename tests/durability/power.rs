//! The power is cut.

use crate::model::{self, State, create, create_view, delete, drop_collection, drop_view, upsert};
use otolith::Error;
use otolith::store::vfs::{MemoryVfs, Operation, PowerCut};
use otolith::store::{Access, Change, Depth, Mode, Store, verify_path};
use rayon::prelude::*;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A call of the API.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Publish(Vec<Change>),
    Derive,
    Reopen,
}

/// The eight calls of the small scope; `step` makes their contents differ.
fn calls(step: usize) -> Vec<Call> {
    let publish = |change| Call::Publish(vec![change]);
    vec![
        publish(create("c")),
        publish(upsert("c", &["a", "b"], step + 1)),
        publish(upsert("c", &["a"], step + 11)),
        publish(delete("c", &["a"])),
        publish(create_view("c", "v", step)),
        publish(drop_view("c", "v")),
        publish(drop_collection("c")),
        Call::Reopen,
    ]
}

/// A database in use on a recording file system, with what it must hold.
pub(crate) struct Session {
    pub(crate) vfs: MemoryVfs,
    pub(crate) store: Option<Store>,
    pub(crate) state: State,
}

impl Session {
    pub(crate) fn new() -> Session {
        let vfs = MemoryVfs::recording();
        Session { store: Some(model::writer(&vfs).unwrap()), vfs, state: State::new() }
    }

    /// Makes a call; it must do what the model does.
    pub(crate) fn call(&mut self, call: &Call) {
        let store = self.store.take().unwrap();
        match call {
            Call::Publish(changes) => {
                let published = store.commit(changes.clone());
                match model::apply_all(&self.state, changes) {
                    Some(next) => {
                        published.unwrap();
                        self.state = next;
                    }
                    None => assert!(matches!(published, Err(Error::NotFound { .. } | Error::Exists { .. }))),
                }
            }
            Call::Derive => model::derive(&store).unwrap(),
            Call::Reopen => {
                drop(store);
                self.store = Some(model::writer(&self.vfs).unwrap());
                return;
            }
        }
        self.store = Some(store);
    }
}

fn hash(vfs: &MemoryVfs) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in vfs.files() {
        (&path, vfs.read(&path).unwrap()).hash(&mut hasher);
    }
    hasher.finish()
}

/// Counts of what was tried.
#[derive(Default)]
pub(crate) struct Tried {
    pub(crate) cuts: AtomicUsize,
    pub(crate) images: AtomicUsize,
    nested: AtomicUsize,
}

impl Tried {
    /// Checks every image of a disk: it opens, for reading and for writing, verifies and holds one of the `allowed`
    /// states. Images seen before (with the same allowed states) are skipped.
    pub(crate) fn check(
        &self,
        disk: &PowerCut,
        allowed: &[&State],
        seen: &mut HashSet<u64>,
        what: &dyn Fn() -> String,
    ) {
        self.cuts.fetch_add(1, Ordering::Relaxed);
        for (how, image) in disk.images(self.cuts.load(Ordering::Relaxed) as u64) {
            if !seen.insert(hash(&image)) {
                continue;
            }
            let number = self.images.fetch_add(1, Ordering::Relaxed);
            let why = || format!("{}, {how}", what());
            let untouched = image.copy().unwrap();
            let found = survive(&image, allowed).unwrap_or_else(|wrong| panic!("{}: {wrong}", why()));
            if number.is_multiple_of(512) {
                self.cut_recovery(&untouched, &found, &why);
            }
            if number.is_multiple_of(16) {
                go_on(&image, &found, &why);
            }
        }
    }

    /// Cuts the power again while the image is opened for writing and written to.
    fn cut_recovery(&self, image: &MemoryVfs, state: &State, why: &dyn Fn() -> String) {
        let mut disk = PowerCut::of(image);
        image.record();
        let store = model::writer(image).unwrap();
        let opened = image.operation_count();
        let changes = vec![create("nested"), upsert("nested", &["x", "y"], 5)];
        let next = model::apply_all(state, &changes).unwrap();
        store.commit(changes).unwrap();
        drop(store);
        let mut seen = HashSet::new();
        let operations = image.operations();
        for (at, operation) in operations.iter().enumerate() {
            disk.apply(operation);
            for (how, image) in disk.images(at as u64) {
                if seen.insert(hash(&image)) {
                    self.nested.fetch_add(1, Ordering::Relaxed);
                    let why = || format!("{}, then a second cut after operation {at}, {how}", why());
                    let allowed: &[&State] = match at {
                        at if at + 1 == operations.len() => &[&next],
                        at if at < opened => &[state],
                        _ => &[state, &next],
                    };
                    survive(&image, allowed).unwrap_or_else(|wrong| panic!("{}: {wrong}", why()));
                }
            }
        }
    }
}

/// Opens what a cut left and gives the state that it holds, or says what is wrong with it.
fn survive(image: &MemoryVfs, allowed: &[&State]) -> Result<State, String> {
    match verify_path(Path::new(model::DB), options(image), Depth::Deep) {
        Ok(report) if report.is_clean() => {}
        Ok(report) => return Err(format!("damage: {:?}", report.findings)),
        Err(Error::NotFound { .. }) if allowed.iter().any(|state| state.is_empty()) => {}
        Err(error) => return Err(error.to_string()),
    }
    let read = |store: Store| model::read(&store.version());
    let before = match model::open(image, Mode::Read, Access::Read).and_then(read) {
        Ok(state) => Some(state),
        Err(Error::NotFound { .. }) => None,
        Err(error) => return Err(error.to_string()),
    };
    let found = model::writer(image).and_then(read).map_err(|error| error.to_string())?;
    if !allowed.contains(&&found) {
        return Err(format!("found {found:?} instead of {allowed:?}"));
    }
    match before {
        Some(before) if before != found => Err("opening for writing changed the content".into()),
        _ => Ok(found),
    }
}

/// A database that survived must be as good as new.
fn go_on(image: &MemoryVfs, state: &State, why: &dyn Fn() -> String) {
    let store = model::writer(image).unwrap();
    model::derive(&store).unwrap_or_else(|error| panic!("{}: {error}", why()));
    let changes = vec![create("after"), upsert("after", &["x"], 3)];
    store.commit(changes.clone()).unwrap_or_else(|error| panic!("{}: {error}", why()));
    assert!(store.stat().unwrap().trouble.is_none());
    let report = store.verify(Depth::Deep).unwrap();
    assert!(report.findings.is_empty() && report.orphans.is_empty(), "{}: {report:?}", why());
    drop(store);
    let again = model::writer(image).unwrap();
    assert_eq!(model::read(&again.version()).unwrap(), model::apply_all(state, &changes).unwrap(), "{}", why());
}

fn options(vfs: &MemoryVfs) -> otolith::store::Options {
    otolith::store::Options { vfs: Arc::new(vfs.clone()), access: Access::Map, ..otolith::store::Options::default() }
}

/// Runs calls and cuts the power after every operation of those behind the first `skip`.
fn cut_everywhere(calls: &[Call], skip: usize, tried: &Tried) {
    let mut session = Session::new();
    // Operations done and state held after each call; making the database is the first.
    let mut ends = vec![(session.vfs.operation_count(), State::new())];
    for call in calls {
        session.call(call);
        ends.push((session.vfs.operation_count(), session.state.clone()));
    }
    drop(session.store);
    let mut disk = PowerCut::default();
    let mut seen = HashSet::new();
    let operations: Vec<Operation> = session.vfs.operations();
    for (at, operation) in operations.iter().enumerate() {
        disk.apply(operation);
        let done = at + 1;
        // The call that this operation belongs to, and the state before it.
        let call = ends.iter().position(|(end, _)| done <= *end).unwrap_or(ends.len() - 1);
        if call < skip {
            continue;
        }
        let (end, after) = &ends[call];
        let before = if call == 0 { after } else { &ends[call - 1].1 };
        let acknowledged = done == *end;
        if acknowledged {
            seen.clear(); // fewer states are allowed now
        }
        let allowed: &[&State] = if acknowledged { &[after] } else { &[before, after] };
        let what = || format!("{:?}, cut after operation {done} of {} in call {call}", calls, operations.len());
        tried.check(&disk, allowed, &mut seen, &what);
        if acknowledged {
            seen.clear();
        }
    }
}

fn report(tried: &Tried, name: &str) {
    println!("figure {name}_cut_points = {} cuts", tried.cuts.load(Ordering::Relaxed));
    println!("figure {name}_power_cut_images = {} images", tried.images.load(Ordering::Relaxed));
    println!("figure {name}_second_cut_images = {} images", tried.nested.load(Ordering::Relaxed));
}

#[test]
fn after_any_power_cut_in_any_three_calls_the_database_holds_the_committed_prefix() {
    let tried = Tried::default();
    let full = vec![Call::Publish(vec![create("c"), upsert("c", &["a", "b", "z"], 7), create_view("c", "v", 7)])];
    let mut sequences = Vec::new();
    for start in [Vec::new(), full] {
        let first = calls(0);
        for one in &first {
            sequences.push([start.clone(), vec![one.clone()]].concat());
            for two in calls(1) {
                sequences.push([start.clone(), vec![one.clone(), two.clone()]].concat());
                for three in calls(2) {
                    sequences.push([start.clone(), vec![one.clone(), two.clone(), three]].concat());
                }
            }
        }
    }
    // A prefix is a sequence of its own, so only the last call of each is cut; the making of the database once.
    sequences.par_iter().for_each(|calls| cut_everywhere(calls, calls.len(), &tried));
    cut_everywhere(&[], 0, &tried);
    println!("figure api_sequences = {} sequences", sequences.len());
    report(&tried, "short");
    assert_eq!(sequences.len(), 2 * 584);
    assert!(tried.images.load(Ordering::Relaxed) >= 15_000);
}

/// A test that cannot fail proves nothing: so each sync is taken away, one at a time, and something must be lost.
#[test]
fn without_any_single_sync_something_is_lost() {
    let mut session = Session::new();
    let steps = [
        vec![create("c"), upsert("c", &["a", "b", "z"], 1)],
        vec![upsert("c", &["a", "b", "z"], 2), create_view("c", "v", 1)],
        vec![delete("c", &["b"])],
    ];
    let mut states = vec![State::new()];
    let mut ends = vec![session.vfs.operation_count()];
    for changes in steps {
        session.call(&Call::Publish(changes));
        states.push(session.state.clone());
        ends.push(session.vfs.operation_count());
    }
    drop(session.store);
    let operations = session.vfs.operations();
    let is_sync = |operation: &Operation| matches!(operation, Operation::Sync(_) | Operation::SyncDir(_));
    let call_of = |at: usize| ends.iter().position(|end| at < *end).unwrap();
    let harmful = |without: Option<usize>| {
        let mut disk = PowerCut::default();
        operations.iter().enumerate().any(|(at, operation)| {
            if Some(at) != without {
                disk.apply(operation);
            }
            let allowed: &[&State] = match call_of(at) {
                0 => &[&states[0]],
                call if at + 1 == ends[call] => &[&states[call]],
                call => &[&states[call - 1], &states[call]],
            };
            disk.images(1).iter().any(|(_, image)| survive(image, allowed).is_err())
        })
    };
    assert!(!harmful(None));
    // Those of the first call make the database; an empty one that is lost can be made again.
    let syncs: Vec<usize> = (ends[0]..operations.len()).filter(|at| is_sync(&operations[*at])).collect();
    for at in &syncs {
        assert!(harmful(Some(*at)), "operation {at}, {:?}, is not needed", operations[*at]);
    }
    println!("figure needed_syncs = {} syncs", syncs.len());
    assert!(syncs.len() >= 13);
}

#[test]
fn after_any_power_cut_in_a_long_history_the_database_holds_the_committed_prefix() {
    let publish = Call::Publish;
    let mut calls = vec![
        publish(vec![create("c"), create("d"), upsert("d", &["p", "q"], 1)]),
        publish(vec![create_view("c", "v", 1), create_view("d", "v", 2)]),
    ];
    for step in 0..30 {
        let names: Vec<String> = (0..3).map(|n| format!("{}", (step * 5 + n * 7) % 17)).collect();
        let ids: Vec<&str> = names.iter().map(String::as_str).collect();
        calls.push(match step % 10 {
            3 => publish(vec![delete("c", &ids), upsert("d", &ids[..1], step), upsert("c", &ids[1..2], step)]),
            6 => publish(vec![delete("c", &ids[..2]), delete("d", &["p", "5"])]),
            8 => publish(vec![drop_view("c", "v"), create_view("c", "v", step), upsert("c", &ids, step)]),
            _ => publish(vec![upsert("c", &ids[..1 + step % 3], step)]),
        });
        match step {
            7 | 19 => calls.push(Call::Reopen),
            12 | 25 => calls.push(Call::Derive),
            _ => {}
        }
    }
    calls.extend([publish(vec![drop_collection("c")]), publish(vec![create("c"), upsert("c", &["0", "1"], 99)])]);
    let tried = Tried::default();
    cut_everywhere(&calls, 0, &tried);
    report(&tried, "long");
    assert!(calls.len() >= 36 && tried.cuts.load(Ordering::Relaxed) >= 500);
}
