//! The power is cut.

use crate::calls::{Call, Session, buffered, sync};
use crate::images::{Tried, survivors};
use crate::oracle::{self, create, create_view, delete, drop_collection, drop_view, upsert};
use otolith::testing::store::Tuning;
use otolith::testing::store::vfs::{Effort, Operation, PowerCut};
use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Matrices of two rows and more bypass the log.
const DIRECT: u64 = 24;
/// None does.
const INLINE: u64 = u64::MAX;

/// The ten calls of the small scope; `step` makes their contents differ.
fn calls(step: usize) -> Vec<Call> {
    vec![
        sync([create("c")]),
        sync([upsert("c", &["a", "b"], step + 1)]),
        buffered([upsert("c", &["a"], step + 10)]),
        sync([delete("c", &["a"])]),
        sync([create_view("c", "v", step)]),
        sync([drop_collection("c")]),
        Call::Flush,
        Call::Compact,
        if step == 1 { Call::Drop } else { Call::Close },
        Call::Die,
    ]
}

/// Every sequence of up to three calls, from an empty database and from one in use.
fn sequences() -> Vec<Vec<Call>> {
    let in_use = vec![
        sync([create("c"), upsert("c", &["a", "b", "z"], 7), create_view("c", "v", 7)]),
        sync([upsert("c", &["b", "y"], 8)]),
        buffered([upsert("c", &["y", "x"], 9), delete("c", &["z"])]),
    ];
    let mut sequences = Vec::new();
    for start in [Vec::new(), in_use] {
        for one in calls(0) {
            sequences.push([start.clone(), vec![one.clone()]].concat());
            for two in calls(1) {
                sequences.push([start.clone(), vec![one.clone(), two.clone()]].concat());
                for three in calls(2) {
                    sequences.push([start.clone(), vec![one.clone(), two.clone(), three]].concat());
                }
            }
        }
    }
    sequences
}

/// Everything there is, often enough that segments are folded and logs are full.
fn long() -> Vec<Call> {
    let mut calls = vec![
        sync([create("c"), create("d"), upsert("d", &["p", "q"], 1)]),
        sync([create_view("c", "v", 1), create_view("d", "v", 2)]),
    ];
    for step in 0..44 {
        let names: Vec<String> = (0..3).map(|n| format!("{}", (step * 5 + n * 7) % 17)).collect();
        let ids: Vec<&str> = names.iter().map(String::as_str).collect();
        let changes = match step % 11 {
            3 => vec![delete("c", &ids), upsert("d", &ids[..1], step), upsert("c", &ids[1..2], step)],
            6 => vec![delete("c", &ids[..2]), delete("d", &["p", "5"])],
            8 => vec![drop_view("c", "v"), create_view("c", "v", step), upsert("c", &ids, step)],
            _ => vec![upsert("c", &ids[..1 + step % 3], step)],
        };
        calls.push(if step % 3 == 1 { buffered(changes) } else { sync(changes) });
        match step {
            5 | 11 | 16 | 23 | 31 | 38 => calls.push(Call::Flush),
            7 => calls.push(Call::Compact),
            27 => calls.push(Call::Purge),
            9 | 36 => calls.push(Call::Close),
            19 => calls.push(Call::Drop),
            13 | 34 | 41 => calls.push(Call::Die),
            14 | 28 => calls.push(Call::Derive),
            21 => calls.push(Call::Sync),
            _ => {}
        }
    }
    calls.extend([
        sync([drop_collection("c")]),
        Call::Compact,
        sync([create("c"), upsert("c", &["0", "1"], 99)]),
        buffered([upsert("c", &["1", "2", "3"], 100)]),
        Call::Close,
    ]);
    calls
}

fn small(direct_bytes: u64) -> Tuning {
    Tuning { log_bytes: 900, segment_bytes: 6_000, reserve_bytes: 256, ..oracle::tuning(direct_bytes) }
}

#[test]
fn after_any_cut_the_database_holds_the_commits_up_to_one_not_older_than_the_last_durable() {
    let (mut images, mut nested, mut cuts) = (0, 0, 0);
    let mut add = |name: &str, tried: &Tried| {
        let read = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        println!("figure power_cut_{name}_images = {} images", read(&tried.images));
        images += read(&tried.images);
        nested += read(&tried.nested);
        cuts += read(&tried.cuts);
    };
    let mut sequences = sequences();
    let all = sequences.len();
    assert_eq!(all, 2 * 1_110);
    sequences = sequences.into_iter().step_by(all / crate::count(all, all)).collect();
    for (name, direct_bytes) in [("short_direct", DIRECT), ("short_inline", INLINE)] {
        // All of them, with the usual effort: the long run tries more on the long history.
        let tried = Tried { effort: Effort::Usual, ..Tried::new(oracle::tuning(direct_bytes)) };
        // A prefix is a sequence of its own, so only the last call of each is cut; the making of the database once.
        let cut = |calls: &Vec<Call>| tried.cut_everywhere(calls, calls.len());
        sequences.par_iter().try_for_each(cut).and_then(|()| tried.cut_everywhere(&[], 0)).unwrap();
        add(name, &tried);
    }
    let mut long = long();
    long.truncate(if cfg!(debug_assertions) { 12 } else { long.len() });
    for (name, direct_bytes) in [("long_direct", DIRECT), ("long_inline", INLINE)] {
        let tried = Tried::new(small(direct_bytes));
        tried.cut_everywhere(&long, 0).unwrap();
        add(name, &tried);
    }
    println!("figure api_sequences = {} sequences", 2 * sequences.len());
    println!("figure power_cut_points = {cuts} cuts");
    println!("figure power_cut_second_cut_images = {nested} images");
    println!("figure power_cut_images = {} images", images + nested);
    assert!(images + nested >= crate::count(100_000, 1_000_000));
}

/// A test that cannot fail proves nothing: so each sync is taken away, one at a time, and something must be lost.
#[test]
fn without_any_single_sync_something_is_lost() {
    let tried = Tried { effort: Effort::Usual, depth: 1, ..Tried::new(oracle::tuning(DIRECT)) };
    let mut session = Session::new(tried.tuning);
    for call in [
        sync([create("c"), upsert("c", &["a", "b", "z"], 1)]),
        sync([upsert("c", &["a", "b", "z"], 2)]),
        sync([upsert("c", &["d"], 3)]),
        buffered([upsert("c", &["a"], 1), delete("c", &["z"])]),
        Call::Sync,
        Call::Flush,
        sync([upsert("c", &["b"], 5), create_view("c", "v", 1)]),
        buffered([delete("c", &["b"])]),
        Call::Flush,
    ] {
        session.call(&call);
    }
    let (vfs, history, moments) = session.end();
    let operations = vfs.operations();
    let harm = |without: Option<usize>| {
        let mut disk = PowerCut::default();
        operations.iter().enumerate().find_map(|(at, operation)| {
            if Some(at) != without {
                disk.apply(operation);
            }
            if without.is_some_and(|without| at < without) {
                return None;
            }
            let call = moments.iter().position(|moment| at < moment.operations)?;
            let (from, to) = survivors(&moments, at + 1, call);
            let images = disk.aftermaths(Effort::Usual, 1);
            images.iter().find_map(|outcome| tried.survive(&disk.image(outcome), history.states(from, to)).err())
        })
    };
    assert_eq!(harm(None), None);
    // Those of the first call make the database; an empty one that is lost can be made again.
    let is_sync = |operation: &Operation| matches!(operation, Operation::Sync(_) | Operation::SyncDir(_));
    let syncs: Vec<usize> = (moments[0].operations..operations.len()).filter(|at| is_sync(&operations[*at])).collect();
    let idle: Vec<String> = syncs
        .par_iter()
        .filter(|at| harm(Some(**at)).is_none())
        .map(|at| {
            let before: Vec<_> = operations[at.saturating_sub(4)..=*at].iter().map(short).collect();
            format!("operation {at} is not needed: {before:?}")
        })
        .collect();
    assert!(idle.is_empty(), "{idle:#?}");
    println!("figure needed_syncs = {} syncs", syncs.len());
    assert!(syncs.len() >= 13);
}

fn short(operation: &Operation) -> String {
    match operation {
        Operation::Write(inode, offset, bytes) => format!("write {} at {offset} of {inode}", bytes.len()),
        other => format!("{other:?}"),
    }
}

/// Nor does an oracle prove anything that would believe whatever it is shown.
#[test]
fn a_wrong_history_is_noticed() {
    let tried = Tried { effort: Effort::Usual, depth: 1, ..Tried::new(oracle::tuning(DIRECT)) };
    let mut session = Session::new(tried.tuning);
    for call in [sync([create("c")]), sync([upsert("c", &["a"], 1)]), sync([upsert("c", &["a"], 2)])] {
        session.call(&call);
    }
    let (vfs, history, moments) = session.end();
    let operations = vfs.operations();
    let cut = |moments: &[_]| tried.cut_all(&operations, &history, moments, 0);
    cut(&moments).unwrap();
    // The last commit is told as if the one before it were still what is there.
    let mut late = moments.clone();
    late[3].survivors = late[2].survivors;
    assert!(cut(&late).unwrap_err().contains("found"));
    // A commit is told as durable before it was made so.
    let mut early = moments.clone();
    early[2].survivors = early[3].survivors;
    assert!(cut(&early).unwrap_err().contains("found"));
}
