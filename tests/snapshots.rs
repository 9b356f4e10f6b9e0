//! A snapshot is one moment: what is written, deleted, dropped or closed afterwards changes nothing in it.
#![allow(clippy::unwrap_used)]

use otolith::{Database, Matrix, Record, Schema, Snapshot};

fn record(number: u32, class: &str) -> Record {
    let values = (0..6).map(|x| ((number * 7 + x) % 11) as f32 - 5.0).collect();
    Record::new(format!("r{number}"), Matrix::from_rows(2, 3, values).unwrap()).field("class", class)
}

fn found(snapshot: &Snapshot, filter: &str) -> Vec<String> {
    let query = Matrix::from_rows(1, 3, vec![1.0, -2.0, 0.5]).unwrap();
    let mut ids: Vec<String> =
        snapshot.query(&query).k(100).filter(filter).run().unwrap().iter().map(|hit| hit.id.clone()).collect();
    ids.sort();
    ids
}

#[test]
fn a_filter_answers_each_snapshot_by_its_own_records() {
    let folder = tempfile::tempdir().unwrap();
    let db = Database::open(folder.path().join("db")).unwrap();
    let clips = db.create_collection("c", Schema::new(3)).unwrap();
    clips.upsert((0..6).map(|n| record(n, if n % 2 == 0 { "dog" } else { "cat" }))).unwrap();
    let before = clips.snapshot().unwrap();
    clips.delete(["r0", "r1"]).unwrap();
    let between = clips.snapshot().unwrap();
    clips.upsert([record(2, "cat")]).unwrap();
    let after = clips.snapshot().unwrap();
    // In every order, since each answer is remembered: the youngest first, then back, then forth.
    for _ in 0..2 {
        for (snapshot, expected) in [
            (&after, &["r4"][..]),
            (&between, &["r2", "r4"]),
            (&before, &["r0", "r2", "r4"]),
            (&between, &["r2", "r4"]),
            (&after, &["r4"]),
        ] {
            assert_eq!(found(snapshot, "class = 'dog'"), expected);
        }
        // More filters than are remembered.
        for n in 0..40 {
            assert_eq!(found(&after, &format!("class = 'dog' or class = '{n}'")), ["r4"]);
        }
    }
}

#[test]
fn a_snapshot_outlives_records_collection_and_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let db = Database::open(&path).unwrap();
    let clips = db.create_collection("c", Schema::new(3)).unwrap();
    clips.upsert((0..6).map(|n| record(n, "dog"))).unwrap();
    let snapshot = clips.snapshot().unwrap();
    clips.delete((0..6).map(|n| format!("r{n}"))).unwrap();
    db.drop_collection("c").unwrap();
    db.create_collection("c", Schema::new(5)).unwrap();
    drop((clips, db));
    assert_eq!((snapshot.len(), found(&snapshot, "exists(class)").len()), (6, 6));
    assert_eq!(snapshot.get("r3").unwrap().unwrap().matrix, record(3, "dog").matrix);
    // The writer's lock went with the last handle, not with the snapshot.
    let again = Database::open(&path).unwrap();
    assert!(again.collection("c").unwrap().is_empty().unwrap());
    assert_eq!(found(&snapshot, "exists(class)").len(), 6);
}
