//! Promises of the store that need its insides; those that can be seen from outside are in `tests/durability.rs`.

use super::*;
use crate::matrix::{Matrix, Precision};
use crate::pipeline::{Array, Section};
use crate::record::{Record, Schema};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;
use vfs::MemoryVfs;

fn options(vfs: &MemoryVfs, access: Access) -> Options {
    Options { vfs: Arc::new(vfs.clone()), access }
}

fn writer(vfs: &MemoryVfs) -> Store {
    Store::open(Path::new("db"), Mode::Write { create: true }, options(vfs, Access::Map)).unwrap()
}

fn reader(vfs: &MemoryVfs, access: Access) -> Store {
    Store::open(Path::new("db"), Mode::Read, options(vfs, access)).unwrap()
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

fn view(collection: &str, name: &str) -> Change {
    let sections = vec![Section {
        kind: 3,
        version: 2,
        settings: json!({"n": 4}),
        arrays: vec![Array::F32(vec![0.5, -1.0, 3.0]), Array::F64(vec![1e-300]), Array::F32(vec![])],
    }];
    Change::CreateView {
        collection: collection.into(),
        name: name.into(),
        settings: json!({"metric": "dot"}),
        sections,
    }
}

/// Live records of a collection in order: id, fields, values.
fn contents(store: &Store, collection: &str) -> Vec<(String, String, Vec<f32>)> {
    let version = store.version();
    let mut found = Vec::new();
    for part in &version.collections[collection].segments {
        for n in (0..part.segment.records()).filter(|n| !part.deleted.contains(*n)) {
            let segment = &part.segment;
            let values = segment.matrix(n).unwrap().view().values().to_vec();
            assert_eq!(segment.find(segment.id(n).unwrap()).unwrap(), Some(n));
            found.push((segment.id(n).unwrap().to_owned(), segment.fields(n).unwrap().to_json(), values));
        }
    }
    assert_eq!(found.len() as u64, version.collections[collection].records);
    found
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
    let published = store.publish(vec![create("clips", Schema::new(4)), upsert("clips", records), view("clips", "v")]);
    assert_eq!(published.unwrap().ids, [["a", "b", "00000000000000000001", "a"]]);
    let expected = contents(&store, "clips");
    assert_eq!(expected.iter().map(|record| record.0.as_str()).collect::<Vec<_>>(), ["b", "00000000000000000001", "a"]);
    assert_eq!(expected[2].1, r#"{"class":"cat"}"#);
    assert_eq!(expected[2].2, matrix(2, 4, 7.0).values());
    for access in [Access::Map, Access::Read] {
        let again = reader(&vfs, access);
        assert_eq!(contents(&again, "clips"), expected);
        let version = again.version();
        let stored = version.collections["clips"].view("v").unwrap();
        assert_eq!(stored.settings, json!({"metric": "dot"}));
        let Change::CreateView { sections, .. } = view("clips", "v") else { unreachable!() };
        assert_eq!(stored.sections, sections);
    }
}
