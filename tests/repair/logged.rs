//! Databases whose process died: part of their records stand in the log.

use crate::world::{DB, DIM, clips, files, id, matrix, options, record};
use otolith::testing::store::vfs::MemoryVfs;
use otolith::testing::store::{Access, Options, RepairReport, Tuning, repair_to};
use otolith::{Error, Schema};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Numbers of the records that the database holds: 0 to 9 in a segment, 10 to 19 in the log, of which 3 replaces one in
/// the segment; 5 and 12 were deleted.
fn numbers() -> Vec<usize> {
    (0..20).filter(|n| ![5, 12].contains(n)).collect()
}

/// What a process leaves that dies. Matrices of `direct_bytes` and more lie beside the log.
fn dead(direct_bytes: u64) -> MemoryVfs {
    let vfs = MemoryVfs::default();
    let tuning = Tuning { direct_bytes, background: false, reserve_bytes: 0, ..Tuning::default() };
    let db = options(&vfs, Access::Map).tuning(tuning).open(DB).unwrap();
    let clips = db.create_collection("clips", Schema::new(DIM)).unwrap();
    clips.upsert((0..10).map(record)).unwrap();
    db.flush().unwrap();
    for n in 10..20 {
        clips.upsert([record(n)]).unwrap();
    }
    clips.upsert([record(3)]).unwrap();
    clips.delete([id(5), id(12)]).unwrap();
    let left = vfs.copy().unwrap();
    drop((clips, db));
    left
}

fn repair(vfs: &MemoryVfs) -> (RepairReport, BTreeMap<String, Vec<f32>>) {
    let from = Options { vfs: Arc::new(vfs.clone()), ..Options::default() };
    let report = repair_to(Path::new(DB), from, Path::new("out")).unwrap();
    let out = options(vfs, Access::Read).read_only().open("out").unwrap();
    let snapshot = out.collection("clips").unwrap().snapshot().unwrap();
    let found = snapshot.iter().map(|entry| {
        let record = entry.to_record().unwrap();
        (record.id.unwrap(), record.matrix.into_values())
    });
    (report, found.collect())
}

fn expected(numbers: impl IntoIterator<Item = usize>) -> BTreeMap<String, Vec<f32>> {
    numbers.into_iter().map(|n| (id(n), matrix(n).into_values())).collect()
}

#[test]
fn a_log_that_is_whole_is_saved_whole() {
    for direct_bytes in [16, u64::MAX] {
        let vfs = dead(direct_bytes);
        let (report, found) = repair(&vfs);
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(found, expected(numbers()));
        assert_eq!(clips(&vfs, Access::Map).len().unwrap(), 18, "nothing was written to the old one");
    }
}

#[test]
fn of_a_damaged_log_every_other_commit_is_saved() {
    let vfs = dead(u64::MAX);
    let log = files(&vfs, "wal-").pop().unwrap();
    let mut bytes = vfs.read(&log).unwrap();
    let place = bytes.windows(5).position(|bytes| bytes == &id(14).as_bytes()[..5]).unwrap();
    bytes[place + 80] ^= 1;
    vfs.write(&log, &bytes).unwrap();
    let refused = options(&vfs, Access::Map).read_only().open(DB).err().unwrap();
    assert!(matches!(refused, Error::Corrupt { ref path, .. } if *path == log), "{refused}");
    let (report, found) = repair(&vfs);
    assert!(!report.is_complete() && report.logs.len() == 1 && report.logs[0].path == log, "{report:?}");
    assert_eq!(found, expected(numbers().into_iter().filter(|n| *n != 14)));
}

#[test]
fn a_matrix_beside_the_log_that_is_damaged_is_lost_alone() {
    let vfs = dead(16);
    let growing = files(&vfs, ".oseg").pop().unwrap();
    let mut bytes = vfs.read(&growing).unwrap();
    let values: Vec<u8> = matrix(15).values().iter().flat_map(|value| value.to_le_bytes()).collect();
    let place = bytes.windows(values.len()).position(|bytes| bytes == values).unwrap();
    bytes[place + 5] ^= 1;
    vfs.write(&growing, &bytes).unwrap();
    // Searching goes on with the others ..
    let query = matrix(16);
    let hits = clips(&vfs, Access::Map).query(&query).k(100).run().unwrap();
    assert_eq!((hits.len(), hits.unreadable.len()), (17, 1));
    assert_eq!(hits.unreadable[0].id.as_deref(), Some(&id(15)[..]));
    // .. and so does repairing.
    let (report, found) = repair(&vfs);
    assert_eq!(report.records.len(), 1, "{report:?}");
    assert_eq!(report.records[0].id.as_deref(), Some(&id(15)[..]));
    assert_eq!(found, expected(numbers().into_iter().filter(|n| *n != 15)));
}

#[test]
fn without_any_manifest_segments_and_log_speak_for_themselves() {
    for direct_bytes in [16, u64::MAX] {
        let vfs = dead(direct_bytes);
        for path in files(&vfs, "manifest-") {
            vfs.remove(&path).unwrap();
        }
        let (report, found) = repair(&vfs);
        assert!(report.generation.is_none() && report.segments.is_empty(), "{report:?}");
        assert_eq!(found, expected(numbers()));
    }
}
