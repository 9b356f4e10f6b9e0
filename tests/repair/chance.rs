//! Repair after any damage at all: it never panics, and what it brings back is what was stored.

use crate::rescue::plain;
use crate::world::{DB, files, options};
use otolith::View;
use otolith::pipeline::Step;
use otolith::testing::store::vfs::MemoryVfs;
use otolith::testing::store::{Access, Depth, repair_to, verify_path};
use otolith::{Database, Matrix, Precision, Record, Schema};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

type Content = BTreeMap<(String, String), Record>;

/// A small database, what it holds, and every record that it ever held.
struct World {
    vfs: MemoryVfs,
    now: Content,
    ever: Vec<(String, Record)>,
}

/// 16 KiB a record, so that segments have several blocks.
fn record(id: usize, version: usize) -> Record {
    let values = (0..64 * 64).map(|at| ((id * 7 + version * 13 + at) % 256) as f32).collect();
    Record::new(format!("r{id}"), Matrix::from_rows(64, 64, values).unwrap()).field("version", version)
}

fn world() -> World {
    let mut world = World { vfs: MemoryVfs::default(), now: Content::new(), ever: Vec::new() };
    let db = options(&world.vfs, Access::Map).open(DB).unwrap();
    for (name, precision) in [("wide", Precision::F32), ("half", Precision::F16)] {
        db.create_collection(name, Schema::new(64).precision(precision)).unwrap();
    }
    let view = View::new([Step::Every { n: 3 }, Step::Normalise]);
    db.collection("wide").unwrap().create_view("third", &view).unwrap();
    let steps: [(&str, &[usize], &[usize]); 6] = [
        ("wide", &[1, 2, 3, 4, 5, 6, 7, 8], &[]),
        ("half", &[1, 2, 3, 4, 5, 6, 7, 8], &[]),
        ("wide", &[2, 3, 9, 10, 11, 12], &[4]),
        ("half", &[], &[1, 2]),
        ("wide", &[], &[5, 9]),
        ("half", &[2, 8, 9], &[3]),
    ];
    for (version, (name, upserts, deletes)) in steps.into_iter().enumerate() {
        let collection = db.collection(name).unwrap();
        let records: Vec<Record> = upserts.iter().map(|id| record(*id, version)).collect();
        for record in &records {
            world.now.insert((name.to_owned(), record.id.clone().unwrap()), record.clone());
            world.ever.push((name.to_owned(), record.clone()));
        }
        collection.upsert(records).unwrap();
        for id in deletes {
            assert!(world.now.remove(&(name.to_owned(), format!("r{id}"))).is_some());
        }
        collection.delete(deletes.iter().map(|id| format!("r{id}"))).unwrap();
        db.flush().unwrap();
    }
    db.close().unwrap();
    world
}

fn content(db: &Database) -> Content {
    let mut content = Content::new();
    for name in db.collections() {
        for entry in db.collection(&name).unwrap().snapshot().unwrap().iter() {
            let record = entry.to_record().unwrap();
            content.insert((name.clone(), record.id.clone().unwrap()), record);
        }
    }
    content
}

#[derive(Clone, Debug)]
enum Harm {
    Flip(prop::sample::Index, prop::sample::Index, u8),
    Cut(prop::sample::Index, prop::sample::Index),
    Zeros(prop::sample::Index, prop::sample::Index, usize),
    Remove(prop::sample::Index),
}

fn harm() -> impl Strategy<Value = Harm> {
    let any_index = any::<prop::sample::Index>;
    prop_oneof![
        6 => (any_index(), any_index(), 1..=255_u8).prop_map(|(file, at, bits)| Harm::Flip(file, at, bits)),
        1 => (any_index(), any_index()).prop_map(|(file, at)| Harm::Cut(file, at)),
        1 => (any_index(), any_index(), 1..100_000_usize).prop_map(|(file, at, count)| Harm::Zeros(file, at, count)),
        1 => any_index().prop_map(Harm::Remove),
    ]
}

fn hurt(vfs: &MemoryVfs, harm: &Harm) {
    let paths: Vec<_> = files(vfs, "").into_iter().filter(|path| !path.ends_with("LOCK")).collect();
    let (Harm::Flip(file, ..) | Harm::Cut(file, _) | Harm::Zeros(file, ..) | Harm::Remove(file)) = harm;
    let path = file.get(&paths);
    let mut bytes = vfs.read(path).unwrap();
    if bytes.is_empty() {
        return;
    }
    match harm {
        Harm::Flip(_, at, bits) => *at.get_mut(&mut bytes) ^= bits,
        Harm::Cut(_, at) => bytes.truncate(at.index(bytes.len())),
        Harm::Zeros(_, at, count) => {
            let start = at.index(bytes.len());
            bytes[start..].iter_mut().take(*count).for_each(|byte| *byte = 0);
        }
        Harm::Remove(_) => return vfs.remove(path).unwrap(),
    }
    vfs.write(path, &bytes).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn whatever_is_damaged_repair_brings_back_nothing_but_what_was_stored(harms in prop::collection::vec(harm(), 1..6)) {
        thread_local!(static WORLD: World = world());
        WORLD.with(|world| {
            let vfs = world.vfs.copy().unwrap();
            let manifests = |vfs: &MemoryVfs| files(vfs, "manifest-").into_iter().map(|path| vfs.read(&path).unwrap()).collect::<Vec<_>>();
            harms.iter().for_each(|harm| hurt(&vfs, harm));
            for depth in [Depth::Metadata, Depth::Derived] {
                let _ = verify_path(Path::new(DB), plain(&vfs), depth);
            }
            let report = repair_to(Path::new(DB), plain(&vfs), Path::new("saved")).unwrap();
            let db = options(&vfs, Access::Map).read_only().open("saved").unwrap();
            let saved = content(&db);
            for ((name, id), record) in &saved {
                let was = |(collection, other): &&(String, Record)| collection == name && other == record;
                prop_assert!(world.ever.iter().any(|stored| was(&stored)), "{name} {id}");
            }
            // With the state known, nothing stale and nothing deleted, and each loss is told.
            if manifests(&vfs) == manifests(&world.vfs) && report.revived.is_empty() {
                prop_assert!(saved.iter().all(|(key, record)| world.now.get(key) == Some(record)));
                let lost: BTreeSet<_> = report.records.iter().filter_map(|lost| Some((lost.collection.clone(), lost.id.clone()?))).collect();
                prop_assert!(lost.iter().all(|key| world.now.contains_key(key) && !saved.contains_key(key)));
                let nameless = report.records.iter().filter(|lost| lost.id.is_none()).count() as u64;
                let whole: u64 = report.segments.iter().map(|lost| lost.records.unwrap()).sum();
                prop_assert_eq!(saved.len() as u64 + lost.len() as u64 + nameless + whole, world.now.len() as u64);
            }
            if report.is_complete() && report.generation.is_some() && manifests(&vfs).len() == manifests(&world.vfs).len() {
                prop_assert!(saved == world.now);
            }
            Ok(())
        })?;
    }
}
