//! Questions and changes where something is damaged.

use crate::world::{self, RECORDS, clips, damaged, database, files, flip, id, matrix, options, record, section};
use otolith::View;
use otolith::pipeline::Step;
use otolith::testing::store::layout::section::{FIELDS, ID_TABLE, IDS, MATRICES, RECORDS as ENTRIES};
use otolith::testing::store::vfs::{Fault, FaultyVfs, MemoryVfs};
use otolith::testing::store::{Access, Depth};
use otolith::{Collection, Database, Error, Hits};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Live records of the whole database.
const LIVE: usize = 2 * RECORDS - RECORDS / 10;

/// Every record with its score.
fn all(clips: &Collection, view: &str, filter: Option<&str>) -> Hits {
    let rows = matrix(4_321);
    let query = clips.query(&rows).view(view).min_score(f64::NEG_INFINITY);
    filter.into_iter().fold(query, |query, filter| query.filter(filter)).run().unwrap()
}

fn scores(hits: &Hits) -> BTreeMap<String, f64> {
    hits.iter().map(|hit| (hit.id.clone(), hit.score)).collect()
}

/// Ids whose records cannot be read in full; of those whose id is hidden, their number alone.
fn hidden(vfs: &MemoryVfs, access: Access) -> (BTreeSet<String>, usize) {
    let (mut named, mut unnamed) = (BTreeSet::new(), 0);
    for entry in clips(vfs, access).snapshot().unwrap().iter() {
        match (entry.id(), entry.to_record()) {
            (Ok(_), Ok(_)) => {}
            (Ok(id), Err(_)) => drop(named.insert(id.to_owned())),
            (Err(_), _) => unnamed += 1,
        }
    }
    (named, unnamed)
}

#[test]
fn a_search_answers_with_every_record_that_can_be_read_and_names_the_others() {
    let whole = database();
    let full = scores(&all(&clips(&whole, Access::Map), "raw", None));
    assert_eq!(full.len(), LIVE);
    for kind in [MATRICES, FIELDS, IDS, ENTRIES] {
        for access in [Access::Map, Access::Read] {
            let vfs = damaged(&whole, kind);
            let (named, unnamed) = hidden(&vfs, access);
            let lost = named.len() + unnamed;
            assert!(lost > 100 && lost < RECORDS / 2, "{lost} records lost in section {kind}");
            let clips = clips(&vfs, access);
            let answer = all(&clips, "raw", None);
            let found = scores(&answer);
            assert_eq!(found.len(), LIVE - lost, "section {kind}");
            assert!(found.iter().all(|(id, score)| full[id] == *score && !named.contains(id)), "section {kind}");
            let told: BTreeSet<String> = answer.unreadable.iter().filter_map(|lost| lost.id.clone()).collect();
            assert!(told == named, "section {kind}");
            assert_eq!(answer.unreadable.iter().map(|lost| lost.records).sum::<u64>(), lost as u64);
            let path = files(&vfs, ".oseg").remove(0);
            assert!(answer.unreadable.iter().all(|lost| lost.path == path && lost.offset.is_some()));
            assert!(!answer.certificate.is_exact());
            // The best few are the first of all, and if damage is met on the way, it is told.
            let rows = matrix(4_321);
            let few = clips.query(&rows).k(7).explain().run().unwrap();
            assert!(few.iter().map(|hit| &hit.id).eq(answer.iter().take(7).map(|hit| &hit.id)));
        }
    }
}

#[test]
fn hits_that_cannot_be_told_make_room_for_others() {
    let whole = database();
    for kind in [FIELDS, IDS] {
        let vfs = damaged(&whole, kind);
        let clips = clips(&vfs, Access::Map);
        let every = all(&clips, "raw", None);
        let lost = every.unreadable.len();
        // Ask for a record whose matrix is whole and whose id or fields are not.
        let readable: BTreeSet<String> = every.iter().map(|hit| hit.id.clone()).collect();
        let n = (0..RECORDS).filter(|n| n % 10 != 0).find(|n| !readable.contains(&id(*n))).unwrap();
        let rows = matrix(n);
        let hits = clips.query(&rows).k(20).run().unwrap();
        assert_eq!((hits.len(), hits.unreadable.len()), (20, lost), "section {kind}");
        assert!(!hits.certificate.is_exact() && hits.certificate.unread == lost as u64);
    }
}

#[test]
fn damage_in_the_table_of_ids_costs_a_search_nothing() {
    let vfs = damaged(&database(), ID_TABLE);
    let answer = all(&clips(&vfs, Access::Map), "raw", None);
    assert!(answer.len() == LIVE && answer.unreadable.is_empty() && answer.certificate.is_exact());
}

#[test]
fn a_filter_leaves_out_what_it_cannot_ask_and_says_so_each_time() {
    let vfs = damaged(&database(), FIELDS);
    let clips = clips(&vfs, Access::Map);
    let lost = hidden(&vfs, Access::Map).0;
    for _ in 0..2 {
        let answer = all(&clips, "raw", Some("fold = 3"));
        let told: BTreeSet<String> = answer.unreadable.iter().filter_map(|lost| lost.id.clone()).collect();
        assert!(told == lost);
        let expected = (0..2 * RECORDS).filter(|n| n % 5 == 3 && !lost.contains(&id(*n))).count();
        assert_eq!(answer.len(), expected);
        assert!(!answer.certificate.is_exact());
    }
}

#[test]
fn a_view_goes_on_without_damaged_records_and_keeps_no_file_that_lacks_them() {
    let whole = database();
    let full = scores(&all(&clips(&whole, Access::Map), "odd", None));
    let vfs = damaged(&whole, MATRICES);
    // The rows were derived when the record was whole.
    let kept = all(&clips(&vfs, Access::Map), "odd", None);
    assert!(scores(&kept) == full && kept.certificate.is_exact());
    let derived = files(&vfs, ".odrv");
    assert_eq!(derived.len(), 2);
    derived.iter().for_each(|path| vfs.remove(path).unwrap());
    let lost = hidden(&vfs, Access::Map).0;
    for _ in 0..2 {
        let db = options(&vfs, Access::Map).open(world::DB).unwrap();
        let answer = all(&db.collection("clips").unwrap(), "odd", None);
        let told: BTreeSet<String> = answer.unreadable.iter().filter_map(|lost| lost.id.clone()).collect();
        assert!(told == lost);
        let found = scores(&answer);
        assert!(found.len() == LIVE - lost.len() && found.iter().all(|(id, score)| full[id] == *score));
        db.close().unwrap();
        assert_eq!(files(&vfs, ".odrv").len(), 1, "the rows of the whole segment alone are kept");
        assert!(files(&vfs, ".tmp").is_empty());
    }
}

#[test]
fn a_segment_without_its_frame_or_its_delete_set_is_left_out_whole() {
    let whole = database();
    for part in [".oseg", ".odel"] {
        let vfs = whole.copy().unwrap();
        let path = files(&vfs, part).remove(0);
        let length = vfs.read(&path).unwrap().len();
        flip(&vfs, &path, length - 100);
        for view in ["raw", "odd"] {
            let answer = all(&clips(&vfs, Access::Map), view, Some("exists(fold)"));
            assert_eq!(answer.len(), RECORDS);
            let [lost] = &answer.unreadable[..] else { panic!("{:?}", answer.unreadable) };
            assert_eq!((lost.records, &lost.path, &lost.id), ((LIVE - RECORDS) as u64, &path, &None));
            assert_eq!(answer.certificate.unread, lost.records);
        }
    }
}

#[test]
fn a_damaged_table_of_ids_finds_replaces_and_deletes_every_record() {
    let vfs = damaged(&database(), ID_TABLE);
    let db = options(&vfs, Access::Map).open(world::DB).unwrap();
    assert!(!db.verify(Depth::Deep).unwrap().is_clean());
    let clips = db.collection("clips").unwrap();
    for n in (1..2 * RECORDS).step_by(97).filter(|n| n % 10 != 0) {
        assert_eq!(clips.get(&id(n)).unwrap(), Some(record(n)));
    }
    assert_eq!(clips.get(&id(10)).unwrap(), None, "deleted stays deleted");
    assert_eq!(clips.get("never there").unwrap(), None);
    clips.upsert([record(1).field("new", true)]).unwrap();
    assert_eq!(clips.delete([id(2), "never there".to_owned()]).unwrap(), 1);
    assert_eq!(clips.len().unwrap(), LIVE - 1);
    assert_eq!(clips.get(&id(1)).unwrap().unwrap().fields["new"], true);
    assert_eq!(clips.get(&id(2)).unwrap(), None);
}

#[test]
fn an_upsert_is_never_refused_for_damage_and_a_delete_only_where_nobody_can_tell() {
    let whole = database();
    for kind in [IDS, ENTRIES] {
        let vfs = damaged(&whole, kind);
        let unnamed = hidden(&vfs, Access::Map).1;
        let readable = scores(&all(&clips(&vfs, Access::Map), "raw", None));
        let hidden = (0..RECORDS).filter(|n| n % 10 != 0).find(|n| !readable.contains_key(&id(*n))).unwrap();
        let db = options(&vfs, Access::Map).open(world::DB).unwrap();
        let clips = db.collection("clips").unwrap();
        let corrupt = |result: Error| matches!(result, Error::Corrupt { offset: Some(_), .. });
        assert!(corrupt(clips.get(&id(hidden)).unwrap_err()), "section {kind}");
        assert!(corrupt(clips.delete([id(hidden)]).unwrap_err()), "section {kind}");
        clips.upsert([record(hidden).field("new", true)]).unwrap();
        assert_eq!(clips.get(&id(hidden)).unwrap().unwrap().fields["new"], true);
        assert_eq!(clips.delete([id(hidden)]).unwrap(), 1);
        assert_eq!(all(&clips, "raw", None).unreadable.len(), unnamed, "what is lost stays told");
        // What can be read goes on as ever.
        let other = readable.keys().next().unwrap();
        assert_eq!(clips.delete([other.clone()]).unwrap(), 1);
        clips.upsert([record(3 * RECORDS)]).unwrap();
        assert_eq!(clips.get(&id(3 * RECORDS)).unwrap(), Some(record(3 * RECORDS)));
    }
}

#[test]
fn a_view_is_not_fitted_on_fewer_records_than_asked_for() {
    let vfs = damaged(&database(), MATRICES);
    let lost = hidden(&vfs, Access::Map).0;
    let db = options(&vfs, Access::Map).open(world::DB).unwrap();
    let clips = db.collection("clips").unwrap();
    let view = View::new([Step::Centre, Step::Normalise]);
    match clips.create_view("centred", &view) {
        Err(Error::Corrupt { what, offset: Some(_), .. }) => {
            assert!(lost.iter().any(|id| what.contains(id.as_str())), "{what}");
        }
        other => panic!("{other:?}"),
    }
    clips.delete(lost).unwrap();
    clips.create_view("centred", &view).unwrap();
    let answer = all(&clips, "centred", None);
    assert!(answer.unreadable.is_empty() && answer.certificate.is_exact(), "what is deleted is missed by nobody");
    // Fields that cannot be read may or may not ask for a record.
    let vfs = damaged(&database(), FIELDS);
    let clips = options(&vfs, Access::Map).open(world::DB).unwrap().collection("clips").unwrap();
    assert!(matches!(clips.create_view("some", &view.fitted_on("fold = 1")), Err(Error::Corrupt { .. })));
    assert!(section(&vfs, &files(&vfs, ".oseg")[0], FIELDS).len() > 65_536);
}

#[test]
fn a_sector_that_cannot_be_read_costs_its_records_and_no_others() {
    let whole = database();
    let mut met = 0;
    for lasting in [false, true] {
        for after in [0, 1, 2, 40, 3_000] {
            let faulty = FaultyVfs::new(whole.clone(), u64::MAX, Fault::Io, lasting);
            let open = |vfs: &FaultyVfs| {
                let options = Database::options().vfs(Arc::new(vfs.clone())).access(Access::Read).read_only();
                options.open(world::DB).unwrap().collection("clips").unwrap()
            };
            drop(open(&faulty));
            let faulty = FaultyVfs::new(whole.clone(), faulty.operation_count() + after, Fault::Io, lasting);
            let answer = all(&open(&faulty), "raw", None);
            let unread: u64 = answer.unreadable.iter().map(|lost| lost.records).sum();
            assert_eq!((answer.len() as u64 + unread, answer.certificate.unread), (LIVE as u64, unread));
            met += usize::from(unread > 0 && faulty.fired().is_some());
        }
    }
    assert!(met >= 6, "only {met} of the faults were met by a search");
}
