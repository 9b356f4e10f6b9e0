//! Tests that a compaction ends, whatever segments it finds, and that the next one finds nothing left to do.

use super::compact::{Reason, is_due};
use super::*;
use std::time::Duration;

const TUNING: fn() -> Tuning =
    || Tuning { table_bytes: 4_096, reserve_bytes: 0, background: false, ..Tuning::default() };

fn tuned(vfs: &MemoryVfs, tuning: Tuning) -> Store {
    let options = Options { vfs: Arc::new(vfs.clone()), tuning, ..Options::default() };
    let store = Store::open(Path::new(DB), Mode::Write { create: true }, options).unwrap();
    store.commit(vec![create("c", Schema::new(2))]).unwrap();
    store
}

/// Makes records of `rows` rows, with a field of `text` bytes.
fn records(from: usize, to: usize, rows: usize, text: usize) -> Vec<Record> {
    let record = |n| Record::new(format!("r{n}"), matrix(rows, 2, n as f32)).field("text", "x".repeat(text));
    (from..to).map(record).collect()
}

fn load(store: &Store, records: Vec<Record>) {
    let mut load = store.bulk_load("c").unwrap();
    records.into_iter().for_each(|record| load.push(record).unwrap());
    load.finish().unwrap();
}

/// Compacts, and stops only after far more steps than are needed.
fn compacted(store: &Store, reason: Reason, case: &str) -> Compacted {
    let asked = AtomicUsize::new(0);
    let done = store.shared.compact(&|| asked.fetch_add(1, Ordering::Relaxed) < 2_000, reason).unwrap();
    assert!(done.finished, "{case}: no end: {done:?}");
    done
}

fn sorted(store: &Store) -> Vec<(String, String, Vec<f32>)> {
    let mut found = contents(store, "c");
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// Number of records, rows of each, bytes of fields: tables that outweigh the matrices, the other way round, and a
/// record that fills a segment.
const SHAPES: [(usize, usize, usize); 5] = [(300, 1, 100), (300, 1, 0), (80, 0, 1_500), (20, 1, 5_000), (40, 60, 0)];

#[test]
fn a_compaction_of_any_shape_ends_and_the_next_writes_nothing() {
    let mut written = 0;
    for (count, rows, text) in SHAPES {
        for (step, bulk) in [(count, true), (count / 20, true), (count / 20, false)] {
            for gone_of in [0, 10, 3] {
                for reason in [Reason::Due, Reason::Asked, Reason::Forced] {
                    let case = format!(
                        "{count} of {rows} rows and {text} bytes, {step} at a time, bulk {bulk}, 1 of {gone_of} gone, {reason:?}"
                    );
                    let store = tuned(&MemoryVfs::default(), TUNING());
                    for from in (0..count).step_by(step) {
                        let records = records(from, from + step, rows, text);
                        if bulk {
                            load(&store, records);
                        } else {
                            publish(&store, vec![upsert("c", records)]);
                        }
                    }
                    let gone = (0..count).filter(|n| gone_of > 0 && n % gone_of == 0);
                    let ids = gone.map(|n| format!("r{n}")).collect();
                    publish(&store, vec![Change::Delete { collection: "c".into(), ids }]);
                    let before = store
                        .version()
                        .segments()
                        .filter_map(|part| Some(part.segment.entry()?.file.bytes))
                        .sum::<u64>();
                    let expected = sorted(&store);
                    let done = compacted(&store, reason, &case);
                    written += done.written_bytes;
                    // Once, and what each file takes beside its records.
                    let most = before + 2_000 * store.version().segments().count() as u64;
                    assert!(done.written_bytes <= most, "{case}: {before} bytes: {done:?}");
                    assert_eq!(sorted(&store), expected, "{case}");
                    let deleted = store.version().segments().map(|part| part.deleted.len()).sum::<u64>();
                    assert!(reason != Reason::Forced || deleted == 0, "{case}: {deleted} left");
                    assert!(!is_due(&store.version(), &store.shared.tuning), "{case}");
                    let again = compacted(&store, reason, &case);
                    assert_eq!((again.segments, again.written_bytes, again.removed), (0, 0, 0), "{case}");
                }
            }
        }
    }
    assert!(written > 100_000, "only {written} bytes were rewritten");
}

#[test]
fn a_compaction_ends_while_others_commit() {
    for reason in [Reason::Asked, Reason::Forced] {
        let store = tuned(&MemoryVfs::default(), TUNING());
        (0..4).for_each(|n| load(&store, records(n * 10, n * 10 + 10, 1, 10)));
        let asked = AtomicUsize::new(0);
        let keep_going = || {
            let n = asked.fetch_add(1, Ordering::Relaxed);
            for n in [100 + 2 * n, 101 + 2 * n] {
                publish(&store, vec![upsert("c", records(n, n + 1, 1, 10))]);
            }
            n < 200
        };
        let done = store.shared.compact(&keep_going, reason).unwrap();
        assert!(done.finished, "{done:?}");
        let more = 2 * asked.load(Ordering::Relaxed);
        assert_eq!(contents(&store, "c").len(), 40 + more);
    }
}

#[test]
fn the_stores_own_compaction_comes_to_rest() {
    let store = tuned(&MemoryVfs::default(), Tuning { background: true, ..TUNING() });
    load(&store, records(0, 600, 1, 100));
    (0..7).for_each(|n| load(&store, records(1_000 + n * 3, 1_003 + n * 3, 1, 10)));
    let before = store.version().segments().count();
    assert!(before > 20);
    publish(&store, vec![upsert("c", records(2_000, 2_001, 1, 10))]);
    let rest = (0..100).any(|_| {
        let generation = store.version().generation;
        std::thread::sleep(Duration::from_millis(200));
        store.version().generation == generation
    });
    assert!(rest, "it writes for ever");
    assert!(!is_due(&store.version(), &store.shared.tuning) && store.version().segments().count() < before);
    assert_eq!(contents(&store, "c").len(), 622);
}

#[test]
fn segments_that_went_whole_are_counted() {
    let store = tuned(&MemoryVfs::default(), TUNING());
    load(&store, records(0, 10, 1, 10));
    load(&store, records(10, 20, 1, 10));
    publish(&store, vec![Change::Delete { collection: "c".into(), ids: (0..10).map(|n| format!("r{n}")).collect() }]);
    let done = compacted(&store, Reason::Asked, "one of two");
    assert_eq!((done.segments, done.removed), (0, 1));
    let done = compacted(&store, Reason::Asked, "nothing");
    assert_eq!((done.segments, done.removed), (0, 0));
}

/// A segment that replaces others or is bulk-loaded is read back like any other new file. A failed read means that it
/// is not published: it would be taken for damage, which hides which ids are there.
#[test]
fn what_a_compaction_wrote_is_not_published_when_it_cannot_be_read() {
    let refused = AtomicUsize::new(0);
    for at in 0.. {
        let vfs = FaultyVfs::new(MemoryVfs::default(), at, Fault::Io, false);
        let options = || Options { vfs: Arc::new(vfs.clone()), tuning: TUNING(), ..Options::default() };
        let Ok(store) = Store::open(Path::new(DB), Mode::Write { create: true }, options()) else { continue };
        let made = store.commit(vec![create("c", Schema::new(2)), upsert("c", records(0, 5, 1, 10))]);
        let made =
            made.and_then(|_| store.flush()).and_then(|()| store.commit(vec![upsert("c", records(5, 9, 1, 10))]));
        if made.is_err() || store.flush().is_err() {
            continue;
        }
        refused.fetch_add(usize::from(store.compact(&|| true).is_err()), Ordering::Relaxed);
        assert!(
            store.version().segments().all(|part| part.segment.damage().is_none()),
            "operation {at}: {:?}",
            vfs.fired()
        );
        if vfs.fired().is_none() {
            break;
        }
    }
    assert!(refused.into_inner() > 10);
}
