//! The n-th operation fails.

use crate::model::{self, State, create, create_view, delete, drop_view, upsert};
use crate::power::Tried;
use otolith::store::vfs::{Fault, FaultyVfs, MemoryVfs, PowerCut};
use otolith::store::{Change, Store};
use otolith::{Error, ErrorKind};
use rayon::prelude::*;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

fn history() -> Vec<Vec<Change>> {
    let mut history = vec![
        vec![create("c"), upsert("c", &["a", "b"], 1)],
        vec![create_view("c", "v", 1)],
        vec![upsert("c", &["a"], 2), delete("c", &["b"])],
        vec![drop_view("c", "v"), upsert("c", &["d", "e"], 3)],
    ];
    // Enough small commits that segments are folded.
    history.extend((4..11).map(|n| vec![upsert("c", &["f"], n)]));
    history
}

/// What one run met.
struct Run {
    fired: bool,
    poisoned: bool,
}

/// Runs the history while operation `at` fails. However it goes, the caller is told the truth about each batch.
fn run(fault: Fault, at: u64, for_good: bool, tried: &Tried) -> Run {
    let memory = MemoryVfs::recording();
    let vfs = FaultyVfs::new(memory.clone(), at, fault, for_good);
    let what = || format!("{fault:?} at operation {at}{}", if for_good { " and for good" } else { "" });
    let store = match model::writer(&vfs) {
        Ok(store) => Some(store),
        Err(error) => {
            assert!(vfs.fired().is_some() && error.kind() == ErrorKind::Environment, "{}: {error:?}", what());
            None
        }
    };
    let mut allowed = vec![State::new()];
    let mut poisoned = false;
    for changes in history() {
        let Some(open) = &store else { break };
        let before = allowed[0].clone();
        let after = model::apply_all(&before, &changes).unwrap();
        let failure = match open.commit(changes.clone()) {
            Ok(_) => {
                allowed = vec![after];
                continue;
            }
            Err(error) => error,
        };
        assert!(vfs.fired().is_some(), "{}: {failure:?}", what());
        // What the handle knows is still true, and can be read.
        assert_eq!(open.version().collections.is_empty(), before.is_empty(), "{}", what());
        poisoned = matches!(open.commit(vec![create("probe")]), Err(Error::Poisoned { .. }));
        match failure {
            Error::OutcomeUnknown { .. } => {
                assert!(poisoned, "{}", what());
                allowed = vec![before, after];
            }
            Error::Poisoned { .. } => {} // the batch before this one stands; tidying up after it failed
            Error::Io { .. } | Error::DiskFull { .. } if for_good || poisoned => {}
            Error::Io { .. } | Error::DiskFull { .. } => {
                // Nothing happened; the surroundings are well again, and so is the handle.
                open.commit(vec![model::drop_collection("probe")]).unwrap();
                open.commit(changes).unwrap_or_else(|error| panic!("{}: {error}", what()));
                allowed = vec![after];
                continue;
            }
            other => panic!("{}: {other:?}", what()),
        }
        break;
    }
    let fired = vfs.fired().is_some();
    let failed_sync = matches!(vfs.fired(), Some("sync" | "sync_dir")) && fault != Fault::Interrupted;
    assert!(!failed_sync || poisoned || store.is_none(), "{}: a failed sync must poison", what());
    assert!(!for_good || store.is_none() || !fired || settled(&store, &vfs), "{}", what());
    drop(store);
    // The process starts anew on what the system still shows ..
    let again = model::writer(&memory.copy().unwrap()).unwrap_or_else(|error| panic!("{}: {error}", what()));
    let found = model::read(&again.version()).unwrap();
    assert!(allowed.contains(&found), "{}: found {found:?} instead of {allowed:?}", what());
    drop(again);
    // .. or the power fails too.
    let mut disk = PowerCut::default();
    memory.operations().iter().for_each(|operation| disk.apply(operation));
    tried.check(&disk, &allowed.iter().collect::<Vec<_>>(), &mut HashSet::new(), &what);
    Run { fired, poisoned }
}

/// With a fault that stays, a writer that is not poisoned still refuses every batch in words.
fn settled(store: &Option<Store>, vfs: &FaultyVfs) -> bool {
    vfs.fired().is_some() && store.as_ref().is_none_or(|store| store.commit(vec![create("more")]).is_err())
}

#[test]
fn whichever_operation_fails_each_batch_is_there_exactly_if_the_caller_was_told_so() {
    let tried = Tried::default();
    let (runs, poisonings) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut ways: Vec<(Fault, bool)> = Fault::ALL.into_iter().map(|fault| (fault, false)).collect();
    ways.extend([(Fault::Io, true), (Fault::NoSpace, true), (Fault::Quota, true)]);
    ways.into_par_iter().for_each(|(fault, for_good)| {
        for at in 0.. {
            let run = run(fault, at, for_good, &tried);
            runs.fetch_add(1, Ordering::Relaxed);
            poisonings.fetch_add(usize::from(run.poisoned), Ordering::Relaxed);
            assert!(fault != Fault::Interrupted || !run.poisoned, "an interruption is no failure");
            if !run.fired {
                assert!(at > 150, "the fault no longer hits after {at} operations");
                break;
            }
        }
    });
    println!("figure fault_runs = {} runs", runs.load(Ordering::Relaxed));
    println!("figure fault_poisonings = {} runs", poisonings.load(Ordering::Relaxed));
    println!("figure fault_power_cut_images = {} images", tried.images.load(Ordering::Relaxed));
    assert!(poisonings.load(Ordering::Relaxed) > 0);
}
