//! Verification and repair, one kind of file after the other.

use crate::world::{
    self, DB, DIM, RECORDS, damaged, database, files, flip, id, matrix, options, record, reseal, section,
};
use otolith::testing::store::layout::section::{ABOUT, FIELDS, ID_TABLE, IDS, MATRICES, RECORDS as ENTRIES};
use otolith::testing::store::vfs::{MemoryVfs, Vfs};
use otolith::testing::store::{Access, Depth, Options, RepairReport, repair_in_place, repair_to, verify_path};
use otolith::{Collection, Error, Matrix, Record, Schema};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SAVED: &str = "saved";
/// Live records of the whole database.
const LIVE: usize = 2 * RECORDS - RECORDS / 10;

pub(crate) fn plain(vfs: &MemoryVfs) -> Options {
    Options { vfs: Arc::new(vfs.clone()), ..Options::default() }
}

/// Repairs into [`SAVED`]; nothing of the damaged database may change by it, and what comes out is sound.
fn repair(vfs: &MemoryVfs) -> RepairReport {
    let content =
        |vfs: &MemoryVfs| files(vfs, "").into_iter().map(|path| (vfs.read(&path).unwrap(), path)).collect::<Vec<_>>();
    let before = content(vfs);
    let report = repair_to(Path::new(DB), plain(vfs), Path::new(SAVED)).unwrap();
    assert!(content(vfs) == before, "the damaged database was written to");
    let saved = verify_path(Path::new(SAVED), plain(vfs), Depth::Deep).unwrap();
    assert!(saved.findings.is_empty() && saved.orphans.is_empty(), "{saved:?}");
    let records: u64 = report.collections.iter().map(|collection| collection.records).sum();
    assert_eq!(saved.records, records);
    report
}

fn saved(vfs: &MemoryVfs) -> Collection {
    options(vfs, Access::Map).read_only().open(SAVED).unwrap().collection("clips").unwrap()
}

fn ids(clips: &Collection) -> BTreeSet<String> {
    clips.snapshot().unwrap().iter().map(|entry| entry.id().unwrap().to_owned()).collect()
}

/// Whether every record is the one that was written.
fn all_right(clips: &Collection) -> bool {
    clips.snapshot().unwrap().iter().all(|entry| {
        let found = entry.to_record().unwrap();
        let n: usize = found.id.as_ref().unwrap()[..5].parse().unwrap();
        found == record(n)
    })
}

fn live() -> BTreeSet<String> {
    (0..2 * RECORDS).filter(|n| *n >= RECORDS || n % 10 != 0).map(id).collect()
}

fn newest(vfs: &MemoryVfs, part: &str) -> PathBuf {
    files(vfs, part).pop().unwrap()
}

#[test]
fn a_whole_database_is_repaired_into_an_equal_one() {
    let vfs = database();
    let report = repair(&vfs);
    assert!(report.is_complete(), "{report:?}");
    assert!(ids(&saved(&vfs)) == live() && all_right(&saved(&vfs)));
    let (old, new) = (world::clips(&vfs, Access::Map), saved(&vfs));
    assert_eq!(old.schema().unwrap(), new.schema().unwrap());
    assert_eq!(old.views().unwrap(), new.views().unwrap());
    let rows = matrix(7);
    let ask = |clips: &Collection| {
        let hits = clips.query(&rows).view("odd").k(50).run().unwrap();
        hits.iter().map(|hit| (hit.id.clone(), hit.score.to_bits())).collect::<Vec<_>>()
    };
    assert_eq!(ask(&old), ask(&new));
}

#[test]
fn a_damaged_block_loses_the_records_in_it_each_by_name() {
    let whole = database();
    for kind in [MATRICES, FIELDS, IDS, ENTRIES] {
        let vfs = damaged(&whole, kind);
        let path = files(&vfs, ".oseg").remove(0);
        let report = repair(&vfs);
        let kept = ids(&saved(&vfs));
        assert!(all_right(&saved(&vfs)));
        assert!(kept.is_subset(&live()) && kept.len() + report.records.len() == LIVE, "section {kind}");
        assert!(report.segments.is_empty() && report.views.is_empty() && report.revived.is_empty());
        for lost in &report.records {
            assert!(lost.damage.path == path && lost.damage.offset.is_some() && lost.collection == "clips");
            match &lost.id {
                Some(id) => assert!(!kept.contains(id) && id.starts_with(&format!("{:05}", lost.number.unwrap()))),
                None => assert!(kind == IDS || kind == ENTRIES),
            }
        }
    }
    let vfs = damaged(&whole, ID_TABLE);
    let report = repair(&vfs);
    assert!(report.is_complete() && ids(&saved(&vfs)) == live(), "a table of ids is no loss");
}

#[test]
fn a_segment_without_its_frame_is_listed_with_what_it_held() {
    let vfs = database();
    let path = files(&vfs, ".oseg").remove(0);
    let length = vfs.read(&path).unwrap().len();
    for harm in 0..3 {
        let vfs = vfs.copy().unwrap();
        match harm {
            0 => flip(&vfs, &path, length - 100),
            1 => vfs.write(&path, &vfs.read(&path).unwrap()[..length - 1]).unwrap(),
            _ => vfs.remove(&path).unwrap(),
        }
        let report = repair(&vfs);
        let [lost] = &report.segments[..] else { panic!("{report:?}") };
        assert_eq!((lost.records, lost.collection.as_deref()), (Some((LIVE - RECORDS) as u64), Some("clips")));
        assert_eq!(lost.damage.path, path);
        assert!(ids(&saved(&vfs)) == (RECORDS..2 * RECORDS).map(id).collect());
        // Verification names the same file and says what it should be.
        let found = verify_path(Path::new(DB), plain(&vfs), Depth::Metadata).unwrap().findings;
        let finding = found.iter().find(|finding| finding.path == path).unwrap();
        if harm > 0 {
            assert!(finding.what.contains(&length.to_string()), "{}", finding.what);
        }
    }
}

#[test]
fn without_its_delete_set_a_segment_keeps_all_that_is_not_known_to_be_deleted() {
    let vfs = database();
    let set = newest(&vfs, ".odel");
    flip(&vfs, &set, 4_100);
    let report = repair(&vfs);
    let [revived] = &report.revived[..] else { panic!("{report:?}") };
    assert_eq!((revived.deleted, revived.known, &revived.damage.path), (Some((RECORDS / 10) as u64), 0, &set));
    assert!(ids(&saved(&vfs)) == (0..2 * RECORDS).map(id).collect() && all_right(&saved(&vfs)));
    assert!(!report.is_complete() && report.records.is_empty());

    // An older set knows of most; a record written again later is not brought back as it was.
    let vfs = database();
    let db = options(&vfs, Access::Map).open(DB).unwrap();
    let clips = db.collection("clips").unwrap();
    clips.upsert([record(7).field("new", true)]).unwrap();
    clips.delete([id(11)]).unwrap();
    db.close().unwrap();
    let sets = files(&vfs, ".odel");
    assert!(sets.len() > 1, "the set before is still there");
    flip(&vfs, sets.last().unwrap(), 4_100);
    let report = repair(&vfs);
    assert!(report.revived[0].known >= (RECORDS / 10) as u64);
    let expected: BTreeSet<String> = live().into_iter().collect();
    assert!(ids(&saved(&vfs)) == expected, "11 is back, 10 is not");
    assert_eq!(saved(&vfs).get(&id(7)).unwrap().unwrap().fields["new"], true);
}

#[test]
fn an_older_record_never_stands_in_for_a_newer_one() {
    let vfs = MemoryVfs::default();
    let db = options(&vfs, Access::Map).open(DB).unwrap();
    let clips = db.create_collection("clips", Schema::new(DIM)).unwrap();
    clips.upsert((0..RECORDS).map(record)).unwrap();
    db.flush().unwrap();
    let newer = |n: usize| record(n).field("new", true);
    clips.upsert((0..2_000).map(newer)).unwrap();
    db.flush().unwrap();
    clips.delete([id(8)]).unwrap();
    drop(clips);
    db.close().unwrap();
    let sets = files(&vfs, ".odel");
    assert_eq!(sets.len(), 2, "one of each segment");
    // The older segment does not know any more that its first records were replaced.
    flip(&vfs, &sets[0], 4_100);
    let newest = newest(&vfs, ".oseg");
    let place = section(&vfs, &newest, MATRICES);
    flip(&vfs, &newest, place.start.next_multiple_of(65_536));
    let report = repair(&vfs);
    assert_eq!(report.revived.len(), 1);
    let lost: BTreeSet<String> = report.records.iter().map(|lost| lost.id.clone().unwrap()).collect();
    assert!(lost.len() > 500);
    let expected = (0..RECORDS).filter(|n| *n != 8).map(id).filter(|id| !lost.contains(id)).collect();
    assert!(ids(&saved(&vfs)) == expected, "8 was deleted when it was new");
    assert!((0..2_000).all(|n| saved(&vfs).get(&id(n)).unwrap().is_none_or(|found| found == newer(n))));
}

#[test]
fn of_two_copies_of_a_record_the_whole_one_counts_unless_one_is_deleted() {
    let vfs = MemoryVfs::default();
    let db = options(&vfs, Access::Map).open(DB).unwrap();
    let clips = db.create_collection("clips", Schema::new(64)).unwrap();
    let long = |n: usize| {
        let values = (0..64 * 64).map(|at| ((n + at) % 97) as f32).collect();
        Record::new(format!("r{n:02}"), Matrix::from_rows(64, 64, values).unwrap())
    };
    let mut before = Vec::new();
    for batch in 0..8 {
        before = files(&vfs, ".oseg").into_iter().map(|path| (vfs.read(&path).unwrap(), path)).collect();
        clips.upsert((batch * 8..batch * 8 + 8).map(long)).unwrap();
        db.flush().unwrap();
    }
    db.compact().unwrap();
    clips.delete(["r03"]).unwrap();
    drop(clips);
    db.close().unwrap();
    // What was rewritten into one segment comes back beside it, and nothing says which of them counts.
    assert!(files(&vfs, ".oseg").len() < 8, "small segments were joined");
    before.iter().for_each(|(bytes, path)| vfs.write(path, bytes).unwrap());
    flip(&vfs, &before[1].1, 100_000);
    files(&vfs, "manifest-").iter().for_each(|path| flip(&vfs, path, 100));
    let report = repair(&vfs);
    assert!(report.records.is_empty() && report.segments.is_empty(), "{report:?}");
    let expected = (0..64).filter(|n| *n != 3).map(|n| format!("r{n:02}")).collect();
    assert!(ids(&saved(&vfs)) == expected);
    assert!((0..64).filter(|n| *n != 3).all(|n| saved(&vfs).get(&format!("r{n:02}")).unwrap() == Some(long(n))));
}

#[test]
fn a_damaged_view_is_named_and_the_records_are_all_there() {
    let vfs = database();
    let path = newest(&vfs, ".oview");
    flip(&vfs, &path, 4_200);
    let report = repair(&vfs);
    let [lost] = &report.views[..] else { panic!("{report:?}") };
    assert_eq!((lost.name.as_deref(), lost.collection.as_deref()), (Some("odd"), Some("clips")));
    assert_eq!(lost.damage.path, path);
    assert!(ids(&saved(&vfs)) == live() && saved(&vfs).views().unwrap().is_empty());
}

#[test]
fn a_damaged_newest_manifest_costs_nothing_that_lies_in_files() {
    let vfs = database();
    let db = options(&vfs, Access::Map).open(DB).unwrap();
    let clips = db.collection("clips").unwrap();
    clips.upsert([record(2 * RECORDS)]).unwrap();
    db.close().unwrap();
    drop(clips);
    let path = newest(&vfs, "manifest-");
    flip(&vfs, &path, 200);
    assert!(matches!(options(&vfs, Access::Map).read_only().open(DB), Err(Error::Corrupt { .. })));
    assert!(matches!(repair_in_place(Path::new(DB), plain(&vfs)), Err(Error::Corrupt { .. })));
    let report = repair(&vfs);
    assert!(report.generation.is_some() && report.manifests[0].path == path && !report.is_complete());
    let mut expected = live();
    expected.insert(id(2 * RECORDS));
    assert!(ids(&saved(&vfs)) == expected && all_right(&saved(&vfs)));
    assert_eq!(saved(&vfs).views().unwrap().len(), 1);
}

#[test]
fn without_any_manifest_the_files_speak_for_themselves() {
    let vfs = database();
    let db = options(&vfs, Access::Map).open(DB).unwrap();
    assert_eq!(db.collection("clips").unwrap().delete([id(11)]).unwrap(), 1);
    db.close().unwrap();
    assert_eq!(files(&vfs, ".odel").len(), 2, "the younger set counts");
    let mut live = live();
    live.remove(&id(11));
    files(&vfs, "manifest-").iter().for_each(|path| flip(&vfs, path, 100));
    let gone = vfs.copy().unwrap();
    files(&gone, "manifest-").iter().for_each(|path| gone.remove(path).unwrap());
    for vfs in [&vfs, &gone] {
        let report = repair(vfs);
        assert_eq!(report.generation, None);
        assert!(ids(&saved(vfs)) == live && all_right(&saved(vfs)));
        assert_eq!(saved(vfs).schema().unwrap().dim, DIM);
        assert_eq!(saved(vfs).views().unwrap().len(), 1, "its rows fit this collection only");
    }
    // A segment that does not know any more where it belongs.
    let segment = files(&vfs, ".oseg").remove(0);
    flip(&vfs, &segment, section(&vfs, &segment, ABOUT).start);
    let fresh = MemoryVfs::default();
    for path in files(&vfs, "") {
        fresh.create_dir(Path::new(DB)).ok();
        fresh.create_dir(path.parent().unwrap()).ok();
        fresh.write(&path, &vfs.read(&path).unwrap()).unwrap();
    }
    let report = repair(&fresh);
    assert_eq!((report.segments[0].records, &report.segments[0].damage.path), (None, &segment));
    assert!(ids(&saved(&fresh)) == (RECORDS..2 * RECORDS).map(id).collect());
}

#[test]
fn of_two_collections_of_one_name_the_younger_keeps_it() {
    let vfs = MemoryVfs::default();
    let db = options(&vfs, Access::Map).open(DB).unwrap();
    let old = db.create_collection("clips", Schema::new(DIM)).unwrap();
    old.upsert([record(1), record(2)]).unwrap();
    db.flush().unwrap();
    let _pin = old.snapshot().unwrap(); // keeps the files of the collection that is about to be dropped
    db.drop_collection("clips").unwrap();
    db.create_collection("clips", Schema::new(3))
        .unwrap()
        .upsert([Record::auto(Matrix::from_rows(1, 3, vec![0.5; 3]).unwrap())])
        .unwrap();
    db.close().unwrap();
    files(&vfs, "manifest-").iter().for_each(|path| flip(&vfs, path, 100));
    let report = repair(&vfs.copy().unwrap());
    assert_eq!(report.collections.len(), 1, "the log says that the older one was dropped");
    files(&vfs, "wal-").iter().for_each(|path| vfs.remove(path).unwrap());
    let report = repair(&vfs);
    let clips = report.collections.iter().find(|collection| collection.name == "clips").unwrap();
    assert_eq!((clips.records, &clips.was), (1, &None));
    let other = report.collections.iter().find(|collection| collection.name != "clips").unwrap();
    assert_eq!((other.records, other.was.as_deref()), (2, Some("clips")));
}

#[test]
fn a_repair_goes_only_where_there_is_nothing() {
    let vfs = database();
    let to = |out: &str| repair_to(Path::new(DB), plain(&vfs), Path::new(out));
    vfs.create_dir(Path::new("full")).unwrap();
    vfs.write(Path::new("full/diary.txt"), b"mine").unwrap();
    assert!(matches!(to("full"), Err(Error::Unusable { .. })));
    assert!(matches!(to(DB), Err(Error::Unusable { .. })));
    assert!(matches!(to("db/saved"), Err(Error::Unusable { .. })));
    assert!(matches!(repair_to(Path::new("nowhere"), plain(&vfs), Path::new(SAVED)), Err(Error::NotFound { .. })));
    vfs.create_dir(Path::new("empty")).unwrap();
    assert!(to("empty").unwrap().is_complete());
}

#[test]
fn wrong_derived_rows_are_found_by_making_them_again_and_dropped_in_place() {
    let vfs = database();
    assert!(verify_path(Path::new(DB), plain(&vfs), Depth::Derived).unwrap().findings.is_empty());
    let derived = files(&vfs, ".odrv");
    let [forged, torn] = &derived[..] else { panic!("{derived:?}") };
    let mut bytes = vfs.read(forged).unwrap();
    bytes[section(&vfs, forged, MATRICES).start + 800] ^= 1;
    reseal(&mut bytes);
    vfs.write(forged, &bytes).unwrap();
    flip(&vfs, torn, 5_000);
    let deep = verify_path(Path::new(DB), plain(&vfs), Depth::Deep).unwrap();
    assert!(deep.is_clean() && deep.findings.len() == 1 && deep.findings[0].path == *torn);
    let found = verify_path(Path::new(DB), plain(&vfs), Depth::Derived).unwrap();
    assert!(!found.is_clean(), "an answer may have been wrong");
    assert!(found.findings.iter().any(|finding| finding.path == *forged && finding.what.contains("record")));

    let leftovers =
        ["db/manifest-00000000000000ff.tmp", "db/seg/00000000000000f0-0000000000000001.oseg"].map(PathBuf::from);
    leftovers.iter().for_each(|path| vfs.write(path, b"?").unwrap());
    let removed: BTreeSet<PathBuf> = repair_in_place(Path::new(DB), plain(&vfs)).unwrap().into_iter().collect();
    assert!(removed.is_superset(&leftovers.into_iter().chain(derived.clone()).collect()), "{removed:?}");
    let after = verify_path(Path::new(DB), plain(&vfs), Depth::Derived).unwrap();
    assert!(after.findings.is_empty() && after.orphans.is_empty());
    assert!(ids(&world::clips(&vfs, Access::Map)) == live());
    assert!(repair_in_place(Path::new(DB), plain(&vfs)).unwrap().iter().all(|path| !path.ends_with(".oseg")));
    let _busy = options(&vfs, Access::Map).open(DB).unwrap();
    assert!(matches!(repair_in_place(Path::new(DB), plain(&vfs)), Err(Error::Locked { .. })));
}

#[test]
fn a_database_of_a_newer_format_is_not_taken_for_a_damaged_one() {
    use otolith::testing::store::layout::manifest_header as head;
    let vfs = database();
    let path = newest(&vfs, "manifest-");
    let mut bytes = vfs.read(&path).unwrap();
    bytes[head::MAJOR.offset] = 99;
    let crc = crc32fast::hash(&bytes[..head::CRC.offset]);
    bytes[head::CRC.offset..][..4].copy_from_slice(&crc.to_le_bytes());
    vfs.write(&path, &bytes).unwrap();
    assert!(matches!(repair_to(Path::new(DB), plain(&vfs), Path::new(SAVED)), Err(Error::Version { .. })));
    assert!(files(&vfs, SAVED).is_empty());
}

#[test]
fn a_damaged_block_is_named_once_however_many_records_lie_in_it() {
    let vfs = database();
    let path = files(&vfs, ".oseg").remove(0);
    let place = section(&vfs, &path, MATRICES);
    flip(&vfs, &path, (place.start + place.end) / 2);
    let report = verify_path(Path::new(DB), plain(&vfs), Depth::Deep).unwrap();
    assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
    assert_eq!(report.findings[0].path, path);
}
