//! Tests of the store that need its internals; crashes, faults and damage are in `tests/durability`.

mod artefacts;
mod compaction;
mod damage;
mod derived;
mod guards;
mod log;

use super::*;
use crate::error::Error;
use crate::matrix::{Matrix, Precision};
use crate::pipeline::{Array, Section};
use crate::record::{Record, Schema};
use manifest::Manifest;
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use vfs::{Fault, FaultyVfs, MemoryVfs, Vfs};

const DB: &str = "db";

fn open(vfs: &MemoryVfs, mode: Mode, access: Access) -> Store {
    Store::open(Path::new(DB), mode, Options { vfs: Arc::new(vfs.clone()), access, ..Options::default() }).unwrap()
}

fn writer(vfs: &MemoryVfs) -> Store {
    open(vfs, Mode::Write { create: true }, Access::Map)
}

fn matrix(rows: usize, dim: usize, seed: f32) -> Matrix {
    Matrix::from_rows(rows, dim, (0..rows * dim).map(|at| seed + at as f32).collect()).unwrap()
}

fn create(name: &str, schema: Schema) -> Change {
    Change::CreateCollection { name: name.into(), schema }
}

fn upsert(collection: &str, records: impl IntoIterator<Item = Record>) -> Change {
    Change::Upsert { collection: collection.into(), records: records.into_iter().collect() }
}

fn delete(collection: &str, ids: &[&str]) -> Change {
    Change::Delete { collection: collection.into(), ids: ids.iter().map(|id| (*id).to_owned()).collect() }
}

fn sections() -> Vec<Section> {
    let arrays = vec![Array::F32(vec![0.5, -1.0, 3.0]), Array::F64(vec![1e-300]), Array::F32(vec![])];
    let plain = Section { kind: 9, version: 1, settings: json!(null), arrays: vec![] };
    vec![Section { kind: 3, version: 2, settings: json!({"n": 4}), arrays }, plain]
}

fn view(collection: &str, name: &str) -> Change {
    let settings = json!({"metric": "dot"});
    Change::CreateView { collection: collection.into(), name: name.into(), settings, sections: sections() }
}

/// Commits changes and publishes them.
fn publish(store: &Store, changes: Vec<Change>) {
    store.commit(changes).unwrap();
    store.flush().unwrap();
}

/// Returns the live records of a collection in order: id, fields, values.
fn contents(store: &Store, collection: &str) -> Vec<(String, String, Vec<f32>)> {
    let version = store.version();
    let mut found = Vec::new();
    for part in &version.collections[collection].segments {
        let segment = &part.segment;
        for n in (0..segment.records()).filter(|n| !part.deleted.contains(*n)) {
            let values = segment.matrix(n).unwrap().view().values().to_vec();
            assert_eq!(segment.find(segment.id(n).unwrap()).unwrap(), Some(n));
            found.push((segment.id(n).unwrap().to_owned(), segment.fields(n).unwrap().to_json(), values));
        }
    }
    assert_eq!(found.len() as u64, version.collections[collection].records);
    found
}

fn ids(store: &Store, collection: &str) -> Vec<String> {
    contents(store, collection).into_iter().map(|record| record.0).collect()
}

/// Returns the files of the database whose names end with `ending`.
fn files(vfs: &MemoryVfs, ending: &str) -> Vec<PathBuf> {
    vfs.files().into_iter().filter(|path| path.to_str().unwrap().ends_with(ending)).collect()
}

/// Flips a bit of the byte `at` of a file.
fn flip(vfs: &MemoryVfs, path: &Path, at: usize) {
    let mut bytes = vfs.read(path).unwrap();
    bytes[at] ^= 4;
    vfs.write(path, &bytes).unwrap();
}

#[test]
fn a_store_may_be_shared_and_sent() {
    fn shared<T: Send + Sync>() {}
    shared::<Store>();
    shared::<Version>();
    shared::<DerivedRows>();
}

#[test]
fn what_was_published_is_there_after_reopening_mapped_or_read() {
    let vfs = MemoryVfs::default();
    let store = writer(&vfs);
    let records = [
        Record::new("a", matrix(3, 4, 0.0)).field("class", "dog").field("n", 1.5),
        Record::new("b", matrix(0, 4, 0.0)),
        Record::auto(matrix(1, 4, 9.0)),
        Record::new("a", matrix(2, 4, 7.0)).field("class", "cat"),
    ];
    let published = store.commit(vec![create("clips", Schema::new(4)), upsert("clips", records), view("clips", "v")]);
    assert_eq!(published.unwrap().ids, [["a", "b", "00000000000000000001", "a"]]);
    let expected = contents(&store, "clips");
    assert_eq!(ids(&store, "clips"), ["b", "00000000000000000001", "a"], "of one id the last stays, in its place");
    assert_eq!(expected[2].1, r#"{"class":"cat"}"#);
    assert_eq!(expected[2].2, matrix(2, 4, 7.0).values());
    for access in [Access::Map, Access::Read] {
        let again = open(&vfs, Mode::Read, access);
        assert_eq!(contents(&again, "clips"), expected);
        let version = again.version();
        let stored = version.collections["clips"].view("v").unwrap();
        assert_eq!((&stored.settings, &stored.sections), (&json!({"metric": "dot"}), &sections()));
    }
}

#[test]
fn f32_matrices_are_borrowed_from_the_map_and_narrow_ones_widened() {
    let vfs = MemoryVfs::default();
    let store = writer(&vfs);
    let large = matrix(600, 128, 0.0); // 300 KiB: aligned to pages
    let narrow = Schema::new(128).precision(Precision::F16);
    publish(&store, vec![create("wide", Schema::new(128)), create("narrow", narrow)]);
    let small = || Record::new("small", matrix(1, 128, 5.0));
    publish(&store, vec![upsert("wide", [small(), Record::new("large", large.clone())]), upsert("narrow", [small()])]);
    let version = store.version();
    let wide = &version.collections["wide"];
    let (part, n) = wide.find("large").unwrap().unwrap();
    let segment = &wide.segments[part].segment;
    let (first, second) = (segment.matrix(n).unwrap(), segment.matrix(n).unwrap());
    assert_eq!(first.view().values().as_ptr(), second.view().values().as_ptr(), "the same memory, not a copy");
    assert_eq!(first.into_matrix(), large);
    let narrow = &version.collections["narrow"].segments[0].segment;
    assert_eq!(narrow.matrix(0).unwrap().into_matrix(), matrix(1, 128, 5.0));
    let too_large = Record::new("x", Matrix::from_vector(vec![1e6; 128]).unwrap());
    assert!(matches!(store.commit(vec![upsert("narrow", [too_large])]), Err(Error::Invalid { .. })));
    assert_eq!(files(&vfs, ".oseg").len(), 3, "a refused batch leaves no file");
}

#[test]
fn a_batch_is_refused_whole() {
    let vfs = MemoryVfs::default();
    let store = writer(&vfs);
    store.commit(vec![create("c", Schema::new(2)), upsert("c", [Record::new("a", matrix(1, 2, 0.0))])]).unwrap();
    let before = vfs.files();
    let good = || upsert("c", [Record::new("b", matrix(1, 2, 0.0))]);
    for bad in [
        upsert("c", [Record::new("x", matrix(1, 3, 0.0))]),
        upsert("c", [Record::new("", matrix(1, 2, 0.0))]),
        upsert("nowhere", [Record::new("x", matrix(1, 2, 0.0))]),
        create("c", Schema::new(2)),
        create("", Schema::new(2)),
        create("d", Schema::new(0)),
        Change::DropCollection { name: "d".into() },
        Change::DropView { collection: "c".into(), name: "v".into() },
    ] {
        assert!(store.commit(vec![good(), delete("c", &["a"]), bad]).is_err());
        assert_eq!((ids(&store, "c"), vfs.files()), (vec!["a".to_owned()], before.clone()));
    }
    store.commit(vec![good()]).unwrap();
}

#[test]
fn numbers_are_above_those_that_were_named_and_are_never_given_twice() {
    let vfs = MemoryVfs::default();
    let store = writer(&vfs);
    let auto = || Record::auto(matrix(1, 1, 0.0));
    let taken = Record::new("00000000000000000002", matrix(1, 1, 7.0));
    let first = store.commit(vec![create("c", Schema::new(1)), upsert("c", [taken, auto(), auto()])]).unwrap();
    assert_eq!(first.ids[0][1..], ["00000000000000000003", "00000000000000000004"]);
    store.commit(vec![delete("c", &["00000000000000000004"])]).unwrap();
    drop(store);
    let again = writer(&vfs).commit(vec![upsert("c", [auto()])]).unwrap();
    assert_eq!(again.ids, [["00000000000000000005"]]);
}

#[test]
fn deletes_count_what_existed_and_empty_segments_go() {
    let vfs = MemoryVfs::recording();
    let store = writer(&vfs);
    let three = ["a", "b", "c"].map(|id| Record::new(id, matrix(1, 1, 0.0)));
    store.commit(vec![create("c", Schema::new(1)), upsert("c", three)]).unwrap();
    let pending = upsert("c", [Record::new("d", matrix(1, 1, 0.0))]);
    let published = store.commit(vec![pending, delete("c", &["a", "a", "x", "d"]), delete("c", &["a", "b"])]).unwrap();
    assert_eq!(published.deleted, [2, 1]);
    drop(published);
    assert_eq!(ids(&store, "c"), ["c"]);
    assert_eq!(store.version().seq, 2);
    let operations = vfs.operation_count();
    assert_eq!(store.commit(vec![delete("c", &["a"])]).unwrap().deleted, [0]);
    assert_eq!((store.version().seq, vfs.operation_count()), (2, operations), "what changes nothing writes nothing");
    store.commit(vec![delete("c", &["c"])]).unwrap();
    store.flush().unwrap();
    assert!(store.version().collections["c"].segments.is_empty());
    publish(&store, vec![Change::DropCollection { name: "c".into() }]);
    publish(&store, vec![create("d", Schema::new(1))]);
    assert!(files(&vfs, ".oseg").is_empty() && files(&vfs, ".odel").is_empty(), "{:?}", vfs.files());
}

#[test]
fn a_reader_keeps_its_version_and_its_files_until_it_lets_go() {
    let vfs = MemoryVfs::default();
    let store = writer(&vfs);
    let put = |value: f32| {
        store.commit(vec![upsert("c", [Record::new("a", matrix(1, 1, value))])]).unwrap();
        store.flush().unwrap();
    };
    store.commit(vec![create("c", Schema::new(1))]).unwrap();
    put(1.0);
    let reader = open(&vfs, Mode::Read, Access::Read);
    let pinned = reader.version().generation;
    for value in 2..40 {
        put(value as f32);
    }
    assert_eq!(contents(&reader, "c")[0].2, [1.0]);
    let stat = store.stat().unwrap();
    assert_eq!(stat.older_generations, [pinned, stat.generation - 1]);
    assert_eq!(files(&vfs, ".oseg").len(), 3, "the pinned one's, the last one's, the current one's");
    assert_eq!(reader.refresh().unwrap().generation, stat.generation);
    assert_eq!(contents(&reader, "c")[0].2, [39.0]);
    put(40.0);
    put(41.0);
    assert!(!store.stat().unwrap().older_generations.contains(&pinned));
    let held = store.version();
    for value in 42..50 {
        put(value as f32);
    }
    let values = held.collections["c"].segments[0].segment.matrix(0).unwrap().into_matrix();
    assert_eq!(values.values(), [41.0], "a version held in the writer's own process is pinned as well");
    assert!(store.stat().unwrap().older_generations.contains(&held.generation));
}

#[test]
fn a_reader_changes_nothing() {
    let vfs = MemoryVfs::default();
    drop(with_view(&vfs));
    vfs.record();
    let reader = open(&vfs, Mode::Read, Access::Map);
    assert_eq!((ids(&reader, "c").len(), derive(&reader)), (50, 50));
    assert!(reader.verify(Depth::Deep).unwrap().is_clean() && reader.stat().unwrap().live_records == 50);
    assert!(matches!(reader.commit(vec![delete("c", &["1"])]), Err(Error::ReadOnly { .. })));
    reader.refresh().unwrap();
    drop(reader);
    assert_eq!(vfs.operation_count(), 0, "a read-only medium will do");
}

#[test]
fn a_second_writer_waits_and_is_told_who_holds_the_lock() {
    let vfs = MemoryVfs::default();
    let store = writer(&vfs);
    let start = std::time::Instant::now();
    let again = || {
        Store::open(
            Path::new(DB),
            Mode::Write { create: true },
            Options { vfs: Arc::new(vfs.clone()), access: Access::Map, ..Options::default() },
        )
    };
    match again() {
        Err(Error::Locked { holder, .. }) => {
            assert!(holder.starts_with(&format!("pid {}, host ", std::process::id())), "{holder}");
        }
        other => panic!("{other:?}"),
    }
    assert!(start.elapsed().as_millis() >= 1_000);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(again);
        std::thread::sleep(std::time::Duration::from_millis(200));
        drop(store);
        assert!(waiting.join().unwrap().is_ok(), "a lock released meanwhile is taken");
    });
}

#[test]
fn only_a_new_directory_or_a_database_is_opened() {
    let vfs = MemoryVfs::default();
    let open = |mode| {
        Store::open(
            Path::new(DB),
            mode,
            Options { vfs: Arc::new(vfs.clone()), access: Access::Map, ..Options::default() },
        )
    };
    for mode in [Mode::Read, Mode::Write { create: false }] {
        assert!(matches!(open(mode), Err(Error::NotFound { .. })));
        assert!(vfs.files().is_empty());
    }
    vfs.write(&Path::new(DB).join("letter.txt"), b"dear").unwrap();
    assert!(matches!(open(Mode::Write { create: true }), Err(Error::Unusable { .. })));
    assert_eq!(vfs.files(), [Path::new(DB).join("letter.txt")]);
    vfs.remove(&Path::new(DB).join("letter.txt")).unwrap();
    let store = open(Mode::Write { create: true }).unwrap();
    store.commit(vec![create("c", Schema::new(1)), upsert("c", [Record::new("a", matrix(1, 1, 0.0))])]).unwrap();
    drop(store);
    for path in vfs.files().iter().filter(|path| path.to_str().unwrap().contains("manifest")) {
        vfs.remove(path).unwrap();
    }
    let refused = open(Mode::Write { create: true });
    assert!(
        matches!(refused, Err(Error::Corrupt { .. })),
        "records without a manifest are not thrown away: {refused:?}"
    );
    assert_eq!(files(&vfs, ".oseg").len(), 1);
}

#[test]
fn opening_costs_the_same_few_operations_for_each_segment_however_large() {
    let vfs = MemoryVfs::default();
    let store = writer(&vfs);
    store.commit(vec![create("c", Schema::new(8))]).unwrap();
    let mut counts = Vec::new();
    for (batch, records) in [1, 400, 3_000].into_iter().enumerate() {
        let records = (0..records).map(|n| Record::new(format!("{batch} {n}"), matrix(4, 8, 0.0)));
        store.commit(vec![upsert("c", records)]).unwrap();
        let counting = FaultyVfs::new(vfs.clone(), u64::MAX, Fault::Io, false);
        let options = Options { vfs: Arc::new(counting.clone()), access: Access::Map, ..Options::default() };
        drop(Store::open(Path::new(DB), Mode::Read, options).unwrap());
        counts.push(counting.operation_count());
    }
    assert_eq!(store.version().collections["c"].segments.len(), 3);
    assert_eq!(counts[1] - counts[0], counts[2] - counts[1]);
    assert!(counts[1] - counts[0] <= 6, "{counts:?}");
}

#[test]
fn thousands_of_single_commits_leave_few_segments_in_order_of_arrival() {
    let vfs = MemoryVfs::default();
    let store = writer(&vfs);
    store.commit(vec![create("c", Schema::new(2))]).unwrap();
    for n in 0..2_000 {
        store.commit(vec![upsert("c", [Record::auto(matrix(1, 2, n as f32)).field("n", n)])]).unwrap();
        if n % 10 == 9 {
            store.commit(vec![delete("c", &[&format!("{:020}", n + 1)])]).unwrap();
        }
    }
    let segments = store.version().collections["c"].segments.len();
    println!("figure segments_after_2000_single_commits = {segments} segments");
    assert!(segments <= 35, "{segments}");
    let expected: Vec<_> = (1..=2_000).filter(|n| n % 10 != 0).map(|n| format!("{n:020}")).collect();
    assert_eq!(ids(&store, "c"), expected);
    assert_eq!(contents(&writer_again(store, &vfs), "c").len(), 1_800);
}

fn writer_again(store: Store, vfs: &MemoryVfs) -> Store {
    drop(store);
    writer(vfs)
}

/// Returns a build function that doubles every value and counts its calls.
fn doubling<'a>(segment: &'a Segment, built: &'a AtomicUsize) -> impl Fn(u32) -> Result<Matrix> + Sync + 'a {
    |n| {
        built.fetch_add(1, Ordering::SeqCst);
        let matrix = segment.matrix(n)?.into_matrix();
        Matrix::from_rows(matrix.rows(), matrix.dim(), matrix.values().iter().map(|value| value * 2.0).collect())
    }
}

/// Asks for the rows of view `v` of collection `c`; returns how many records were built.
fn derive(store: &Store) -> usize {
    let version = store.version();
    let collection = &version.collections["c"];
    let built = AtomicUsize::new(0);
    for part in &collection.segments {
        let segment = &part.segment;
        let rows = store.rows(segment, collection.view("v").unwrap(), &doubling(segment, &built)).unwrap();
        for n in 0..segment.records() {
            let expected: Vec<f32> =
                segment.matrix(n).unwrap().view().values().iter().map(|value| value * 2.0).collect();
            assert_eq!(rows.matrix(n).unwrap().values(), expected);
            assert_eq!(
                rows.all().unwrap().values()[rows.range(n).unwrap().start * rows.dim()..][..expected.len()],
                expected
            );
        }
        assert!(rows.matrix(segment.records()).is_err());
    }
    built.into_inner()
}

fn with_view(vfs: &MemoryVfs) -> Store {
    let store = writer(vfs);
    let records = (0..50).map(|n| Record::new(format!("{n}"), matrix(n % 4, 3, n as f32)));
    publish(&store, vec![create("c", Schema::new(3)), upsert("c", records), view("c", "v")]);
    store
}

#[derive(Clone, Debug)]
enum Step {
    Publish(Vec<Change>),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let id = prop::sample::select(vec!["a", "b", "c", "d", "e", "f"]);
    let record = (id.clone(), 0..4_usize, 0..100_u8)
        .prop_map(|(id, rows, seed)| Record::new(id, matrix(rows, 2, f32::from(seed))).field("seed", seed));
    let change = prop_oneof![
        3 => prop::collection::vec(record, 1..5).prop_map(|records| upsert("c", records)),
        1 => prop::collection::vec(id, 1..4).prop_map(|ids| delete("c", &ids)),
    ];
    prop_oneof![
        8 => prop::collection::vec(change, 1..4).prop_map(Step::Publish),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn any_history_reads_like_a_map(steps in prop::collection::vec(step(), 1..48)) {
        let vfs = MemoryVfs::default();
        let mut store = writer(&vfs);
        store.commit(vec![create("c", Schema::new(2))]).unwrap();
        let mut model: BTreeMap<String, (String, Vec<f32>)> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Reopen => store = writer_again(store, &vfs),
                Step::Publish(changes) => {
                    store.commit(changes.clone()).unwrap();
                    for change in changes {
                        match change {
                            Change::Upsert { records, .. } => model.extend(records.into_iter().map(|record| {
                                (record.id.unwrap(), (record.fields.to_json(), record.matrix.into_values()))
                            })),
                            Change::Delete { ids, .. } => model.retain(|id, _| !ids.contains(id)),
                            _ => unreachable!(),
                        }
                    }
                }
            }
            let found: BTreeMap<_, _> =
                contents(&store, "c").into_iter().map(|(id, fields, values)| (id, (fields, values))).collect();
            prop_assert_eq!(&found, &model);
        }
        prop_assert!(store.verify(Depth::Deep).unwrap().findings.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]
    #[test]
    fn numbers_in_fields_come_back_bit_for_bit(bits in any::<u64>()) {
        let number = f64::from_bits(bits);
        prop_assume!(number.is_finite());
        let fields = Record::new("a", matrix(1, 1, 0.0)).field("n", number).fields;
        let again = crate::record::Fields::from_json(fields.to_json().as_bytes()).unwrap();
        prop_assert_eq!(again["n"].as_f64().unwrap().to_bits(), bits);
    }
}

/// Makes a database with one file of each kind; returns its files and the manifest that names them.
fn one_of_each() -> (MemoryVfs, Manifest) {
    let vfs = MemoryVfs::default();
    let store = with_view(&vfs);
    store.commit(vec![delete("c", &["7", "9"])]).unwrap();
    store.flush().unwrap();
    derive(&store);
    let manifest = Manifest::clone(&store.version().manifest);
    (vfs, manifest)
}

/// Makes a database, opens it for writing and makes the attempt, again and again, each time with another operation
/// failing: the store must still be able to write afterwards.
fn with_each_failing_operation(make: impl Fn(&MemoryVfs), attempt: impl Fn(&Store)) {
    for fault in [Fault::Io, Fault::NoSpace] {
        for at in 0.. {
            let vfs = MemoryVfs::default();
            make(&vfs);
            let counting = FaultyVfs::new(vfs.clone(), u64::MAX, fault, false);
            let open = |vfs: &FaultyVfs| {
                let options = Options { vfs: Arc::new(vfs.clone()), access: Access::Map, ..Options::default() };
                Store::open(Path::new(DB), Mode::Write { create: false }, options).unwrap()
            };
            drop(open(&counting));
            let faulty = FaultyVfs::new(vfs.clone(), counting.operation_count() + at, fault, false);
            let store = open(&faulty);
            attempt(&store);
            if faulty.fired().is_none() {
                assert!(at > 8, "files were written");
                break;
            }
            store.commit(vec![delete("c", &["1"])]).unwrap();
        }
    }
}
