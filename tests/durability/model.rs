//! Random histories against maps in memory.

use crate::calls::{Call, Session, buffered, sync};
use crate::oracle::{self, State, create, create_view, delete, drop_collection, drop_view, upsert};
use otolith::testing::store::{Change, Tuning, Version};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rayon::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const COLLECTIONS: [&str; 3] = ["c", "d", "e"];
const VIEWS: [&str; 2] = ["v", "w"];
/// Calls of a sequence at most.
const LONGEST: usize = 60;
/// Runners side by side, each with a seed of its own.
const RUNNERS: usize = 16;

/// A step of a history.
#[derive(Clone, Debug)]
enum Step {
    Call(Call),
    /// A snapshot is taken, and held across what follows.
    Hold,
    /// All snapshots are looked at; they are as they were. Then they go.
    Release,
    /// The power is cut; the number picks what that leaves.
    Cut(Index),
}

/// Up to four ids out of twelve.
fn ids() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec((0..12_u8).prop_map(|id| id.to_string()), 1..4)
}

fn records() -> impl Strategy<Value = Change> {
    let collection = || prop::sample::select(&COLLECTIONS[..]);
    let refs = |ids: &[String]| ids.iter().map(String::clone).collect::<Vec<_>>();
    prop_oneof![
        4 => (collection(), ids(), 0..50_usize).prop_map(move |(name, ids, version)| {
            let ids = refs(&ids);
            upsert(name, &ids.iter().map(String::as_str).collect::<Vec<_>>(), version)
        }),
        2 => (collection(), ids()).prop_map(move |(name, ids)| {
            let ids = refs(&ids);
            delete(name, &ids.iter().map(String::as_str).collect::<Vec<_>>())
        }),
    ]
}

fn shape() -> impl Strategy<Value = Change> {
    let collection = || prop::sample::select(&COLLECTIONS[..]);
    let view = || prop::sample::select(&VIEWS[..]);
    prop_oneof![
        4 => collection().prop_map(create),
        1 => collection().prop_map(drop_collection),
        2 => (collection(), view(), 0..9_usize).prop_map(|(name, view, version)| create_view(name, view, version)),
        1 => (collection(), view()).prop_map(|(name, view)| drop_view(name, view)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let transaction = prop::collection::vec(prop_oneof![5 => records(), 1 => shape()], 1..4);
    let call = prop_oneof![
        10 => records().prop_map(|change| sync([change])),
        10 => records().prop_map(|change| buffered([change])),
        5 => shape().prop_map(|change| sync([change])),
        3 => transaction.clone().prop_map(sync),
        3 => transaction.prop_map(buffered),
        2 => Just(Call::Sync),
        3 => Just(Call::Flush),
        3 => Just(Call::Compact),
        1 => Just(Call::Purge),
        1 => Just(Call::Derive),
        2 => Just(Call::Close),
        1 => Just(Call::Drop),
        2 => Just(Call::Die),
    ];
    prop_oneof![
        20 => call.prop_map(Step::Call),
        1 => Just(Step::Hold),
        1 => Just(Step::Release),
        2 => any::<Index>().prop_map(Step::Cut),
    ]
}

/// Sizes at which the store does something: never, often, all the time.
fn tuning() -> impl Strategy<Value = Tuning> {
    let direct = prop_oneof![Just(0), Just(24), Just(u64::MAX)];
    let log = prop_oneof![Just(0), Just(300), Just(2_000), Just(u64::MAX)];
    let segment = prop_oneof![Just(4_200), Just(6_000), Just(u64::MAX)];
    let reserve = prop_oneof![3 => Just(0), 1 => Just(256)];
    (direct, log, segment, reserve).prop_map(|(direct, log_bytes, segment_bytes, reserve_bytes)| Tuning {
        log_bytes,
        segment_bytes,
        reserve_bytes,
        ..oracle::tuning(direct)
    })
}

/// Snapshots with what they showed when they were taken.
type Held = Vec<(Arc<Version>, State)>;

fn release(held: &mut Held) {
    for (version, state) in held.drain(..) {
        assert_eq!(oracle::read(&version).unwrap(), state, "a snapshot changed");
    }
}

fn run(tuning: Tuning, steps: Vec<Step>, cuts: &AtomicUsize) {
    let mut session = Session::new(tuning);
    let mut held = Held::new();
    for step in steps {
        match step {
            Step::Hold => {
                held.push((session.store.as_ref().unwrap().version(), session.history.newest().clone()));
            }
            Step::Release => release(&mut held),
            Step::Cut(number) => {
                release(&mut held);
                session.cut(number.index(1 << 20));
                cuts.fetch_add(1, Ordering::Relaxed);
            }
            Step::Call(call) => {
                // The snapshots of a process die with it.
                if matches!(call, Call::Die) {
                    release(&mut held);
                }
                session.call(&call);
            }
        }
    }
    release(&mut held);
    session.call(&Call::Close);
}

#[test]
fn the_store_does_what_maps_in_memory_do() {
    let sequences = crate::count(10_000, 100_000);
    let (steps, cuts) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let since = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let seed = if crate::is_nightly() { since } else { 1 };
    println!("figure model_seed = {seed} seed");
    (0..RUNNERS).into_par_iter().for_each(|number| {
        let mut bytes = [number as u8; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let config =
            Config { cases: sequences.div_ceil(RUNNERS) as u32, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        let history = (tuning(), prop::collection::vec(step(), 1..=LONGEST));
        let ran = runner.run(&history, |(tuning, history)| {
            steps.fetch_add(history.len(), Ordering::Relaxed);
            run(tuning, history, &cuts);
            Ok(())
        });
        ran.unwrap_or_else(|failed| panic!("seed {seed}, runner {number}: {failed}"));
    });
    println!("figure model_sequences = {sequences} sequences");
    println!("figure model_steps = {} steps", steps.load(Ordering::Relaxed));
    println!("figure model_power_cuts = {} cuts", cuts.load(Ordering::Relaxed));
}
