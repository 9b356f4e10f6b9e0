//! What is deleted or replaced takes no space after a compaction, and is in no file after a forced one.
#![allow(clippy::unwrap_used)]

use otolith::pipeline::Step;
use otolith::testing::store::vfs::MemoryVfs;
use otolith::testing::store::{Depth, Tuning};
use otolith::{Collection, Database, Matrix, Record, Schema};
use otolith::{IndexKind, View};
use std::path::PathBuf;
use std::sync::Arc;

const DIM: usize = 4;

/// Matrices of two rows and more go past the log.
fn open(vfs: &MemoryVfs) -> Database {
    let tuning = Tuning { background: false, reserve_bytes: 0, direct_bytes: 32, ..Tuning::default() };
    Database::options().vfs(Arc::new(vfs.clone())).tuning(tuning).open("db").unwrap()
}

fn record(n: usize, rows: usize, what: &str) -> Record {
    let seed = if what == "secret" { 0.123_456_7 } else { 100.0 };
    let values = (0..rows * DIM).map(|at| seed + n as f32 * 1.000_3 + at as f32 * 0.000_7).collect();
    Record::new(format!("{what}-id-{n}"), Matrix::from_rows(rows, DIM, values).unwrap())
        .field("text", format!("{what}-field-{n}"))
}

/// The bytes by which a record would be known.
fn traces(record: &Record) -> Vec<Vec<u8>> {
    let bytes = |row: &[f32]| row.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let text = |text: &str| text.as_bytes().to_vec();
    let mut traces: Vec<_> = record.matrix.view().iter().map(bytes).collect();
    traces.push(text(record.fields["text"].as_str().unwrap()));
    traces
}

fn ids(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| record.id.clone().unwrap()).collect()
}

/// The files that hold any of the traces.
fn found(vfs: &MemoryVfs, traces: &[Vec<u8>]) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| {
        let bytes = vfs.read(path).unwrap();
        traces.iter().any(|trace| bytes.windows(trace.len()).any(|window| window == trace))
    };
    vfs.files().into_iter().filter(holds).collect()
}

fn load(collection: &Collection, records: &[Record]) {
    let mut load = collection.bulk_load().unwrap();
    records.iter().for_each(|record| load.push(record.clone()).unwrap());
    load.finish().unwrap();
}

#[test]
fn after_a_forced_compaction_nothing_of_what_went_is_in_any_file() {
    for (rows, bulk, sealed, replaced, closed) in (0..32).map(|n| {
        let bit = |at: u32| n >> at & 1 == 1;
        (if bit(0) { 3 } else { 1 }, bit(1), bit(2), bit(3), bit(4))
    }) {
        let case = format!("{rows} rows, bulk {bulk}, sealed {sealed}, replaced {replaced}, closed {closed}");
        let vfs = MemoryVfs::default();
        let mut db = open(&vfs);
        let mut clips = db.create_collection("c", Schema::new(DIM)).unwrap();
        // Few of many, so that a compaction that was not forced would leave them.
        let keep: Vec<Record> = (0..40).map(|n| record(n, rows, "other")).collect();
        let secret: Vec<Record> = (0..3).map(|n| record(n, rows, "secret")).collect();
        let all = [&keep[..20], &secret, &keep[20..]].concat();
        if bulk {
            load(&clips, &all);
        } else {
            all.iter().for_each(|record| drop(clips.upsert([record.clone()]).unwrap()));
        }
        if sealed {
            db.flush().unwrap();
        }
        let mut gone: Vec<Vec<u8>> = secret.iter().flat_map(traces).collect();
        assert!(!found(&vfs, &gone).is_empty(), "{case}");
        if replaced {
            let new = (0..3).map(|n| Record::new(format!("secret-id-{n}"), record(n, rows, "new").matrix));
            clips.upsert(new).unwrap();
        } else {
            clips.delete(ids(&secret)).unwrap();
            gone.push(b"secret-id-".to_vec());
        }
        if closed {
            drop((clips, db));
            db = open(&vfs);
            clips = db.collection("c").unwrap();
        }
        let done = db.purge().unwrap();
        assert!(done.finished && done.pinned == 0 && done.damaged == 0, "{case}: {done:?}");
        assert_eq!(found(&vfs, &gone), Vec::<PathBuf>::new(), "{case}");
        assert_eq!(clips.len().unwrap(), if replaced { 43 } else { 40 }, "{case}");
        for record in &keep {
            assert_eq!(clips.get(record.id.as_ref().unwrap()).unwrap().as_ref(), Some(record), "{case}");
        }
        let report = db.verify(Depth::Derived).unwrap();
        assert!(report.findings.is_empty() && report.orphans.is_empty(), "{case}: {report:?}");
        // With nothing to erase nothing is rewritten.
        assert_eq!(db.purge().unwrap().segments, 0, "{case}");
    }
}

#[test]
fn what_views_and_indexes_made_of_it_goes_too_and_a_dropped_collection_as_a_whole() {
    let vfs = MemoryVfs::default();
    let db = open(&vfs);
    let clips = db.create_collection("c", Schema::new(DIM)).unwrap();
    clips.create_view("v", &View::new([Step::Normalise])).unwrap();
    let secret = record(7, 1, "secret");
    let mut all: Vec<Record> = (0..1_500).map(|n| record(n, 1, "other")).collect();
    all.push(secret.clone());
    load(&clips, &all);
    clips.build_index("v", IndexKind::Hnsw).unwrap();
    clips.build_index("raw", IndexKind::Ivf).unwrap();
    clips.query(&secret.matrix).view("v").filter("text = 'secret-field-7'").run().unwrap();
    let normalised = clips.apply_view("v", &secret.matrix).unwrap();
    let mut gone = traces(&secret);
    gone.extend([normalised.values().iter().flat_map(|value| value.to_le_bytes()).collect(), b"secret-id-7".to_vec()]);
    let before = found(&vfs, &gone);
    assert!(before.iter().any(|path| path.to_str().unwrap().contains("derived")), "{before:?}");
    clips.delete(["secret-id-7"]).unwrap();
    db.purge().unwrap();
    assert_eq!(found(&vfs, &gone), Vec::<PathBuf>::new());
    assert!(clips.indexes("v").unwrap().len() == 1 && clips.indexes("raw").unwrap().len() == 1, "built again");

    let gone: Vec<_> = all[..20].iter().flat_map(traces).collect();
    db.drop_collection("c").unwrap();
    assert!(!found(&vfs, &gone).is_empty());
    db.purge().unwrap();
    assert_eq!(found(&vfs, &gone), Vec::<PathBuf>::new());
}

#[test]
fn what_a_reader_still_uses_is_counted_and_goes_when_it_has_ended() {
    let vfs = MemoryVfs::default();
    let db = open(&vfs);
    let clips = db.create_collection("c", Schema::new(DIM)).unwrap();
    clips.upsert([record(1, 3, "secret"), record(2, 1, "other")]).unwrap();
    db.flush().unwrap();
    let reader = Database::options().vfs(Arc::new(vfs.clone())).read_only().open("db").unwrap();
    clips.delete(["secret-id-1"]).unwrap();
    assert_eq!(db.purge().unwrap().pinned, 1);
    let gone = traces(&record(1, 3, "secret"));
    assert!(!found(&vfs, &gone).is_empty());
    assert_eq!(reader.collection("c").unwrap().get("secret-id-1").unwrap(), Some(record(1, 3, "secret")));
    drop(reader);
    assert_eq!(db.purge().unwrap().pinned, 0);
    assert_eq!(found(&vfs, &gone), Vec::<PathBuf>::new());
}

#[test]
fn a_compaction_gives_the_space_back_at_once() {
    let vfs = MemoryVfs::default();
    let db = open(&vfs);
    let collections: Vec<_> =
        (0..30).map(|n| db.create_collection(&format!("c{n}"), Schema::new(DIM)).unwrap()).collect();
    let all: Vec<Record> = (0..40).map(|n| record(n, 3, "other")).collect();
    collections.iter().for_each(|collection| drop(collection.upsert(all.clone()).unwrap()));
    db.flush().unwrap();
    assert!(collections.iter().all(|collection| collection.delete(ids(&all)).unwrap() == 40));
    db.compact().unwrap();
    let left = |ending: &str| vfs.files().iter().filter(|path| path.to_str().unwrap().contains(ending)).count();
    assert_eq!((left(".oseg"), left(".odel"), left("wal-"), left("manifest-")), (0, 0, 0, 1), "{:?}", vfs.files());
}

#[test]
fn segments_of_many_collections_are_exchanged_by_few_publishes() {
    let vfs = MemoryVfs::default();
    let db = open(&vfs);
    let collections: Vec<_> =
        (0..300).map(|n| db.create_collection(&format!("c{n}"), Schema::new(DIM)).unwrap()).collect();
    for n in 0..2 {
        collections.iter().for_each(|collection| drop(collection.upsert([record(n, 1, "other")]).unwrap()));
        db.flush().unwrap();
    }
    let before = db.stat().unwrap();
    let done = db.compact().unwrap();
    let after = db.stat().unwrap();
    assert_eq!((before.segments, done.segments, after.segments), (600, 600, 300));
    assert_eq!(after.generation, before.generation + 1);
    assert!(collections.iter().all(|collection| collection.len().unwrap() == 2));
    assert!(db.verify(Depth::Deep).unwrap().is_clean());
}
