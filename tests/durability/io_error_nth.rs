//! The n-th operation fails.

use crate::calls::{Call, buffered, sync};
use crate::images::{Seen, Tried};
use crate::oracle::{self, History, State, create, create_view, delete, drop_view, upsert};
use otolith::testing::store::vfs::{Effort, Fault, FaultyVfs, MemoryVfs, PowerCut};
use otolith::testing::store::{Durability, Store, Tuning};
use otolith::{Error, ErrorKind};
use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is done while an operation fails.
struct Script {
    calls: Vec<Call>,
    tuning: Tuning,
    /// Whether a call that was refused is made once more, or left at that: then others follow, and the power fails.
    again: bool,
}

fn everything() -> Script {
    let mut calls = vec![
        sync([create("c"), upsert("c", &["a", "b"], 1)]),
        sync([create_view("c", "v", 1)]),
        buffered([upsert("c", &["a"], 2), delete("c", &["b"])]),
        sync([upsert("c", &["d"], 3)]),
        buffered([upsert("c", &["a", "e"], 4)]),
        Call::Sync,
        Call::Flush,
        sync([drop_view("c", "v"), upsert("c", &["d", "e"], 3)]),
        buffered([upsert("c", &["g"], 5)]),
        Call::Close,
    ];
    // Enough small commits that logs are full and segments are folded.
    calls.extend((4..11).map(|n| sync([upsert("c", &["f", "h"], n)])));
    calls.extend([sync([delete("c", &["f", "a"])]), Call::Compact, buffered([upsert("c", &["f"], 12)]), Call::Purge]);
    calls.push(Call::Flush);
    Script { calls, tuning: tuning(1_000), again: true }
}

/// Large matrices that wait for a sync, before everything that writes out. No commit but the one that is meant to is
/// too long for the log.
fn waiting() -> Script {
    let large = |id: &str, version| buffered([upsert("c", &[id], version)]);
    let names: Vec<String> = (0..40).map(|n| format!("{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let calls = vec![
        sync([create("c"), create("d")]),
        large("a", 2),
        Call::Flush,
        large("b", 3),
        sync([upsert("d", &names, 4)]),
        large("a", 6),
        Call::Compact,
        large("b", 7),
        Call::Purge,
        large("e", 2),
        Call::Close,
    ];
    Script { calls, tuning: tuning(8_000), again: false }
}

fn tuning(log_bytes: u64) -> Tuning {
    Tuning { log_bytes, segment_bytes: 6_000, reserve_bytes: 256, ..oracle::tuning(24) }
}

/// A run of the calls during which an operation fails.
struct Run {
    memory: MemoryVfs,
    vfs: FaultyVfs,
    tuning: Tuning,
    store: Option<Store>,
    /// What must survive a power cut, ..
    history: History,
    /// .. and whether the newest state is one of which the caller was told that nobody knows.
    unknown: bool,
    poisoned: bool,
    /// Whether a call was refused, and others followed it.
    left: bool,
    /// Whether the handle that failed is gone, because it was being closed or opened.
    gone: bool,
}

impl Run {
    /// Makes a call and gives its error, if it is one of the fault's.
    fn call(&mut self, call: &Call) -> Result<(), Error> {
        let (store, state) = (self.store.as_ref().unwrap(), self.history.newest());
        match call {
            Call::Commit(changes, durability) => {
                let next = oracle::apply_all(state, changes).unwrap();
                match store.commit_with(changes.clone(), *durability) {
                    Ok(_) => {
                        self.history.commit(next);
                        if *durability == Durability::Sync {
                            self.history.sync();
                        }
                    }
                    Err(error) => {
                        if matches!(error, Error::OutcomeUnknown { .. }) {
                            self.history.commit(next);
                            self.unknown = true;
                        }
                        return Err(error);
                    }
                }
            }
            Call::Sync => {
                store.sync()?;
                self.history.sync();
            }
            Call::Flush => {
                store.flush()?;
                self.history.sync();
            }
            Call::Compact => drop(store.compact(&|| true)?),
            Call::Purge => drop(store.purge(&|| true)?),
            _ => {
                let closed = self.store.take().unwrap().close();
                let opened = oracle::writer(&self.vfs, self.tuning);
                self.gone |= closed.is_err() || opened.is_err();
                self.store = Some(opened?);
                self.history.sync();
                closed?;
            }
        }
        Ok(())
    }

    fn is_poisoned(&self) -> bool {
        let nothing = |store: &Store| store.commit_with(Vec::new(), Durability::Buffered);
        self.store.as_ref().is_some_and(|store| matches!(nothing(store), Err(Error::Poisoned { .. })))
    }

    /// The states that a process finds that starts now, without a power cut.
    fn remembered(&self) -> &[State] {
        let states = self.history.survivors();
        &states[states.len() - 1 - usize::from(self.unknown)..]
    }
}

/// Makes all calls while operation `at` fails. However it goes, the caller is told the truth about each commit.
fn run(script: &Script, fault: Fault, at: u64, for_good: bool, tried: &Tried) -> Run {
    let tuning = script.tuning;
    let memory = MemoryVfs::recording();
    let vfs = FaultyVfs::new(memory.clone(), at, fault, for_good);
    let what = || format!("{fault:?} at operation {at}{}", if for_good { " and for good" } else { "" });
    let opened = oracle::writer(&vfs, tuning);
    if let Err(error) = &opened {
        assert!(vfs.fired().is_some() && error.kind() == ErrorKind::Environment, "{}: {error:?}", what());
    }
    let history = History::new(State::new());
    let store = opened.ok();
    let mut run =
        Run { memory, vfs, tuning, store, history, unknown: false, poisoned: false, left: false, gone: false };
    for call in script.calls.clone() {
        if run.store.is_none() {
            break;
        }
        let Err(error) = run.call(&call) else { continue };
        assert!(run.vfs.fired().is_some(), "{}, {call:?}: {error:?}", what());
        // A file that could not be read is taken for damaged until the database is opened again.
        let unread = matches!(run.vfs.fired(), Some("read_at" | "map" | "open" | "bytes"));
        let unread = unread && error.kind() == ErrorKind::Damage;
        assert!(unread || error.kind() == ErrorKind::Environment, "{}, {call:?}: {error:?}", what());
        run.poisoned |= run.is_poisoned();
        let Some(store) = &run.store else { break };
        // What the handle knows can be read.
        let seen = oracle::read(&store.version());
        if let Ok(seen) = seen {
            assert!(run.remembered().contains(&seen), "{}, {call:?}: {seen:?}", what());
        } else {
            assert!(for_good || unread, "{}, {call:?}: {seen:?}", what());
        }
        assert!(!run.unknown || run.poisoned, "{}, {call:?}: an unknown outcome must poison", what());
        if run.poisoned || for_good || unread {
            break;
        }
        // Nothing happened; the surroundings are well again, and so is the handle.
        let next = if script.again { vec![call.clone()] } else { vec![Call::Sync, sync([create("later")])] };
        for next in next {
            run.call(&next).unwrap_or_else(|error| panic!("{}, {next:?} after {call:?}: {error:?}", what()));
        }
        if !script.again {
            run.left = true;
            break;
        }
    }
    // The reserve holds nothing that a failed sync could lose.
    let failed_sync = matches!(run.vfs.fired(), Some("sync" | "sync_dir")) && fault != Fault::Interrupted;
    let failed_sync = failed_sync && !run.vfs.fired_on().is_some_and(|path| path.ends_with("RESERVE"));
    assert!(
        !failed_sync || run.poisoned || run.gone || run.store.is_none(),
        "{}: a failed sync of {:?} must poison",
        what(),
        run.vfs.fired_on()
    );
    assert!(fault != Fault::Interrupted || !run.poisoned, "{}: an interruption is no failure", what());
    let settled = |store: &Store| store.commit(vec![create("more")]).is_err();
    assert!(
        !for_good || run.vfs.fired().is_none() || run.store.as_ref().is_none_or(settled),
        "{}: a commit is acknowledged",
        what()
    );
    // A failure to read leaves nothing on the disk that other runs do not, if all is well after it: so only some of
    // these are cut. Where nothing was refused the other test has looked.
    let reading = matches!(
        run.vfs.fired(),
        Some("read_at" | "map" | "open" | "open_dir" | "bytes" | "list" | "find" | "identity" | "try_lock")
    );
    let cutting = if script.again { !reading || at.is_multiple_of(8) } else { run.left };
    let hit = format!("{}, {:?} of {:?}", what(), run.vfs.fired(), run.vfs.fired_on());
    check(&mut run, tried, cutting, &|| hit.clone());
    run
}

/// What the run left is right for a process that starts anew, after a power cut, and after both.
fn check(run: &mut Run, tried: &Tried, cutting: bool, what: &dyn Fn() -> String) {
    // The process dies with its faults; another finds what the system still shows ..
    let memory = run.memory.kill();
    run.store = None;
    let cut = |memory: &MemoryVfs| {
        let mut disk = PowerCut::default();
        memory.operations().iter().for_each(|operation| disk.apply(operation));
        disk
    };
    // .. unless the power fails too.
    let allowed = run.history.survivors();
    let seen = Seen::default();
    if cutting {
        tried.check(&cut(&memory), allowed, &seen).unwrap_or_else(|wrong| panic!("{}: {wrong}", what()));
    }
    let again = oracle::writer(&memory, run.tuning).unwrap_or_else(|error| panic!("{}: opening: {error}", what()));
    let found = oracle::read(&again.version()).unwrap();
    assert!(run.remembered().contains(&found), "{}: {found:?} instead of {:?}", what(), run.remembered());
    // What an opening has shown stays, also where bytes that a sync had lost were still in memory.
    if cutting {
        let again = tried.check(&cut(&memory), &[found], &Seen::default());
        again.unwrap_or_else(|wrong| panic!("{}, opened again: {wrong}", what()));
    }
}

#[test]
fn whichever_operation_fails_each_batch_is_there_exactly_if_the_caller_was_told_so() {
    // The long run is elsewhere: here every operation fails in every way already.
    let tried = Tried { effort: Effort::Usual, ..Tried::new(tuning(1_000)) };
    let (runs, poisonings) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut ways: Vec<(Fault, bool)> = Fault::ALL.into_iter().map(|fault| (fault, false)).collect();
    ways.extend([(Fault::Io, true), (Fault::NoSpace, true), (Fault::Quota, true)]);
    let step = if cfg!(debug_assertions) { 20 } else { 1 };
    ways.into_par_iter().for_each(|(fault, for_good)| {
        let script = everything();
        for at in (0..).step_by(step) {
            let run = run(&script, fault, at, for_good, &tried);
            runs.fetch_add(1, Ordering::Relaxed);
            poisonings.fetch_add(usize::from(run.poisoned), Ordering::Relaxed);
            if run.vfs.fired().is_none() {
                assert!(at > 150, "the fault no longer hits after {at} operations");
                break;
            }
        }
    });
    println!("figure io_error_nth_runs = {} runs", runs.load(Ordering::Relaxed));
    println!("figure io_error_nth_poisonings = {} runs", poisonings.load(Ordering::Relaxed));
    println!("figure io_error_nth_power_cut_images = {} images", tried.images.load(Ordering::Relaxed));
    assert!(poisonings.load(Ordering::Relaxed) > 0);
}

/// A refused publish leaves the commits where they are: what is synced after it is safe, large matrices too.
#[test]
fn what_is_synced_after_a_refused_call_survives_a_power_cut() {
    let tried = Tried { effort: Effort::Usual, ..Tried::new(tuning(8_000)) };
    let runs = AtomicUsize::new(0);
    [Fault::Io, Fault::NoSpace, Fault::ShortWrite].into_par_iter().for_each(|fault| {
        let script = waiting();
        for at in (0..).step_by(if cfg!(debug_assertions) { 20 } else { 1 }) {
            runs.fetch_add(1, Ordering::Relaxed);
            if run(&script, fault, at, false, &tried).vfs.fired().is_none() {
                assert!(at > 150, "the fault no longer hits after {at} operations");
                break;
            }
        }
    });
    println!("figure io_error_nth_refused_runs = {} runs", runs.load(Ordering::Relaxed));
    println!("figure io_error_nth_refused_power_cut_images = {} images", tried.images.load(Ordering::Relaxed));
}
