//! A bulk load is one commit: nothing of it before `finish`, all of it after, each byte written once.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use otolith::testing::store::vfs::MemoryVfs;
use otolith::testing::store::{Depth, Tuning};
use otolith::{Collection, Database, Error, Matrix, Precision, Record, Schema};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

fn open(vfs: &MemoryVfs) -> Database {
    let tuning = Tuning { background: false, reserve_bytes: 0, ..Tuning::default() };
    Database::options().vfs(Arc::new(vfs.clone())).tuning(tuning).open("db").unwrap()
}

fn record(id: u8, version: u8) -> Record {
    let rows = usize::from(id % 3);
    let values = (0..rows * 2).map(|n| f32::from(version) + n as f32 / 2.0).collect();
    Record::new(format!("r{id}"), Matrix::from_rows(rows, 2, values).unwrap()).field("version", version)
}

fn contents(collection: &Collection) -> BTreeMap<String, Record> {
    let snapshot = collection.snapshot().unwrap();
    let read = |record: Record| (record.id.clone().unwrap(), record);
    let found: BTreeMap<_, _> = snapshot.iter().map(|entry| read(entry.to_record().unwrap())).collect();
    assert_eq!(found.len(), snapshot.len());
    for (id, record) in &found {
        assert_eq!(snapshot.get(id).unwrap().as_ref(), Some(record));
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_load_leaves_what_as_many_upserts_would(
        before in prop::collection::vec((0..12u8, 0..100u8), 0..12),
        loaded in prop::collection::vec((0..12u8, 0..100u8), 0..20),
        meanwhile in prop::collection::vec((0..12u8, 0..100u8), 0..6),
        flush in any::<bool>(),
        precision in prop_oneof![Just(Precision::F32), Just(Precision::F16)],
    ) {
        let vfs = MemoryVfs::default();
        let db = open(&vfs);
        let schema = Schema::new(2).precision(precision);
        let (one, other) = (db.create_collection("one", schema.clone()).unwrap(), db.create_collection("other", schema).unwrap());
        let records = |list: &[(u8, u8)]| list.iter().map(|(id, version)| record(*id, *version)).collect::<Vec<_>>();
        for collection in [&one, &other] {
            collection.upsert(records(&before)).unwrap();
        }
        if flush {
            db.flush().unwrap();
        }
        let mut load = one.bulk_load().unwrap();
        for record in records(&loaded) {
            load.push(record).unwrap();
        }
        let unseen = contents(&one);
        one.upsert(records(&meanwhile)).unwrap();
        other.upsert(records(&meanwhile)).unwrap();
        prop_assert!(unseen.len() <= before.len() && db.verify(Depth::Deep).unwrap().orphans.is_empty());
        prop_assert_eq!(load.finish().unwrap(), loaded.len() as u64);
        other.upsert(records(&loaded)).unwrap();
        prop_assert_eq!(contents(&one), contents(&other));
        db.compact().unwrap();
        prop_assert_eq!(contents(&one), contents(&other));
        drop((one, other, db));
        let db = open(&vfs);
        prop_assert_eq!(contents(&db.collection("one").unwrap()), contents(&db.collection("other").unwrap()));
        let report = db.verify(Depth::Deep).unwrap();
        prop_assert!(report.findings.is_empty() && report.orphans.is_empty(), "{:?}", report);
    }
}

#[test]
fn a_load_that_is_dropped_or_whose_collection_is_leaves_nothing() {
    let vfs = MemoryVfs::default();
    let db = open(&vfs);
    let collection = db.create_collection("c", Schema::new(2)).unwrap();
    let segments = || vfs.files().iter().filter(|path| path.extension().is_some_and(|end| end == "oseg")).count();
    let mut load = collection.bulk_load().unwrap();
    load.push(record(1, 1)).unwrap();
    assert_eq!(segments(), 1);
    drop(load);
    assert_eq!(segments(), 0);
    let mut load = collection.bulk_load().unwrap();
    load.push(record(1, 1)).unwrap();
    db.drop_collection("c").unwrap();
    let again = db.create_collection("c", Schema::new(2)).unwrap();
    assert!(matches!(load.finish(), Err(Error::NotFound { .. })));
    assert!(again.is_empty().unwrap() && segments() == 0);
}

#[test]
fn a_load_refuses_what_an_upsert_refuses_and_records_without_an_id() {
    let vfs = MemoryVfs::default();
    let db = open(&vfs);
    let collection = db.create_collection("c", Schema::new(2)).unwrap();
    let mut load = collection.bulk_load().unwrap();
    assert!(matches!(
        load.push(Record::auto(Matrix::from_rows(1, 2, vec![0.0; 2]).unwrap())),
        Err(Error::Invalid { .. })
    ));
    assert!(matches!(
        load.push(Record::new("a", Matrix::from_rows(1, 3, vec![0.0; 3]).unwrap())),
        Err(Error::Mismatch { .. })
    ));
    // What was refused is no part of it.
    load.push(record(2, 7)).unwrap();
    assert_eq!(load.finish().unwrap(), 1);
    assert_eq!(contents(&collection).into_keys().collect::<Vec<_>>(), ["r2"]);
    let reader = Database::options().vfs(Arc::new(vfs)).read_only().open("db").unwrap();
    assert!(matches!(reader.collection("c").unwrap().bulk_load(), Err(Error::ReadOnly { .. })));
}
