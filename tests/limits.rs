//! There is no cap that a user would meet: tiny, long, wide and empty records store and search.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use otolith::View;
use otolith::limits;
use otolith::pipeline::Step;
use otolith::testing::store::vfs::{FaultyVfs, MemoryVfs};
use otolith::testing::store::{Depth, Options, Tuning, repair_to};
use otolith::{Collection, Database, Error, Matrix, Metric, Record, Schema};
use std::path::Path;
use std::sync::Arc;

fn values(seed: u32, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn matrix(seed: u32, rows: usize, dim: usize) -> Matrix {
    Matrix::from_rows(rows, dim, values(seed, rows * dim)).unwrap()
}

/// Stores three records of that shape on disk, reopens, and finds each by a part of itself.
fn stores_and_searches(rows: usize, dim: usize) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let db = Database::open(&path).unwrap();
    let clips = db.create_collection("c", Schema::new(dim)).unwrap();
    for seed in 0..3 {
        clips.upsert([Record::new(format!("r{seed}"), matrix(seed, rows, dim))]).unwrap();
    }
    drop((clips, db));
    let clips = Database::open_read_only(&path).unwrap().collection("c").unwrap();
    for seed in 0..3 {
        let record = matrix(seed, rows, dim);
        assert_eq!(clips.get(&format!("r{seed}")).unwrap().unwrap().matrix, record);
        let part = Matrix::from_rows(rows.min(3), dim, record.values()[..rows.min(3) * dim].to_vec()).unwrap();
        let hits = clips.query(&part).run().unwrap();
        assert_eq!(hits.len(), 3);
        if dim > 1 {
            assert_eq!(hits[0].id, format!("r{seed}"));
            assert!((hits[0].score_per_row - 1.0).abs() < 1e-6, "{}", hits[0].score_per_row);
        }
    }
    println!("figure stored_and_searched_{rows}x{dim} = 3 records");
}

#[test]
fn one_number_is_a_record() {
    stores_and_searches(1, 1);
}

#[test]
fn five_seconds_of_wav2vec2_are_a_record() {
    stores_and_searches(249, 512);
}

#[test]
fn dimensions_beyond_the_caps_of_others_are_a_record() {
    stores_and_searches(1, 32_769);
    stores_and_searches(1, 128_000);
}

#[test]
fn a_million_numbers_in_a_row_are_a_record() {
    stores_and_searches(1, 1_000_000);
}

#[test]
fn a_hundred_thousand_rows_of_512_are_a_record() {
    stores_and_searches(100_000, 512);
}

fn in_memory(dim: usize) -> Collection {
    let db = Database::options().vfs(Arc::new(MemoryVfs::default())).open("/db").unwrap();
    db.create_collection("c", Schema::new(dim).metric(Metric::Dot)).unwrap()
}

#[test]
fn an_empty_collection_answers_with_no_hits() {
    let hits = in_memory(2).query(&matrix(0, 3, 2)).run().unwrap();
    assert!(hits.is_empty() && hits.certificate.is_exact());
}

#[test]
fn a_record_of_no_rows_is_kept_and_never_a_hit() {
    let clips = in_memory(2);
    clips.upsert([Record::new("empty", matrix(0, 0, 2)), Record::new("full", matrix(1, 2, 2))]).unwrap();
    assert_eq!(clips.len().unwrap(), 2);
    assert_eq!(clips.get("empty").unwrap().unwrap().matrix.rows(), 0);
    let hits = clips.query(&matrix(2, 1, 2)).k(5).run().unwrap();
    assert_eq!(hits.iter().map(|hit| hit.id.as_str()).collect::<Vec<_>>(), ["full"]);
    assert!(matches!(clips.query(&matrix(0, 0, 2)).run(), Err(Error::Invalid { .. })));
}

#[test]
fn more_hits_than_records_are_all_records_and_none_is_none() {
    let clips = in_memory(2);
    clips.upsert((0..5).map(|seed| Record::auto(matrix(seed, 2, 2)))).unwrap();
    let query = matrix(9, 2, 2);
    assert_eq!(clips.query(&query).k(100).run().unwrap().len(), 5);
    assert_eq!(clips.query(&query).k(0).run().unwrap().len(), 0);
    assert_eq!(clips.query(&query).min_score(f64::NEG_INFINITY).run().unwrap().len(), 5);
    assert_eq!(clips.query(&query).min_score(f64::INFINITY).run().unwrap().len(), 0);
}

#[test]
fn numbered_ids_are_in_order_of_arrival() {
    let clips = in_memory(2);
    let first = clips.upsert((0..3).map(|seed| Record::auto(matrix(seed, 1, 2)))).unwrap();
    let second = clips.upsert([Record::auto(matrix(4, 1, 2))]).unwrap();
    assert!(first.is_sorted() && first[2] < second[0]);
    assert!(first.iter().all(|id| id.len() == 20 && id.bytes().all(|byte| byte.is_ascii_digit())));
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_of_its_batch_is_written() {
    let clips = in_memory(2);
    let good = || Record::new("good", matrix(0, 1, 2));
    let too_long = "x".repeat(1_025);
    let bad = [
        Record::new("wide", matrix(0, 1, 3)),
        Record::new("", matrix(0, 1, 2)),
        Record::new(too_long, matrix(0, 1, 2)),
        Record::new("nested", matrix(0, 1, 2)).field("list", vec![1, 2]),
    ];
    for record in bad {
        let error = clips.upsert([good(), record]).unwrap_err();
        assert!(matches!(error, Error::Mismatch { .. } | Error::Invalid { .. }), "{error}");
        assert_eq!(clips.len().unwrap(), 0, "{error}");
    }
    clips.upsert([Record::new("x".repeat(1_024), matrix(0, 1, 2))]).unwrap();
    assert!(matches!(clips.query(&matrix(0, 1, 3)).run(), Err(Error::Mismatch { .. })));
}

/// On a file system in memory that counts; nothing goes on in the background.
fn counted(vfs: &MemoryVfs, tuning: Tuning) -> Database {
    let tuning = Tuning { background: false, reserve_bytes: 0, ..tuning };
    Database::options().vfs(Arc::new(vfs.clone())).tuning(tuning).open("db").unwrap()
}

fn one(value: usize) -> Record {
    Record::new("r", Matrix::from_vector(vec![1.0, value as f32]).unwrap())
}

fn name(n: usize) -> String {
    format!("user{n:05}")
}

/// Everything that is done to a database of many collections, at whatever size.
fn tenants(vfs: &MemoryVfs, count: usize) {
    let db = counted(vfs, Tuning::default());
    for n in 0..count {
        db.create_collection(&name(n), Schema::new(2)).unwrap();
    }
    for n in 0..count {
        db.collection(&name(n)).unwrap().upsert([one(n)]).unwrap();
    }
    let read_only = || Database::options().vfs(Arc::new(vfs.clone())).read_only().open("db").unwrap();
    let check = |db: &Database, count: usize| {
        let names = db.collections();
        assert_eq!(names.len(), count);
        for name in names.iter().step_by(97) {
            assert_eq!(db.collection(name).unwrap().len().unwrap(), 1, "{name}");
        }
    };
    check(&read_only(), count);
    let killed = vfs.copy().unwrap();
    check(&counted(&killed, Tuning::default()), count);
    drop(db);
    check(&read_only(), count);
    let db = counted(vfs, Tuning::default());
    check(&db, count);
    db.drop_collection(&name(0)).unwrap();
    db.collection(&name(1)).unwrap().upsert([one(7)]).unwrap();
    db.flush().unwrap();
    db.compact().unwrap();
    db.purge().unwrap();
    assert!(db.verify(Depth::Deep).unwrap().is_clean());
    db.backup_to("copy").unwrap();
    check(&db, count - 1);
    db.close().unwrap();
    check(&Database::options().vfs(Arc::new(vfs.clone())).open("copy").unwrap(), count - 1);
    let options = Options { vfs: Arc::new(vfs.clone()), ..Options::default() };
    let report = repair_to(Path::new("db"), options, Path::new("saved")).unwrap();
    assert_eq!(report.collections.iter().map(|collection| collection.records).sum::<u64>(), count as u64 - 1);
    check(&counted(vfs, Tuning::default()), count - 1);
}

#[test]
fn more_collections_than_there_could_once_be_segments_work_like_few() {
    tenants(&MemoryVfs::default(), 4_200);
}

#[test]
fn a_collection_more_costs_the_same_whether_there_are_ten_or_thousands() {
    let vfs = MemoryVfs::recording();
    let db = counted(&vfs, Tuning::default());
    let mut made = 0;
    let mut cost = |until: usize| {
        while made + 1 < until {
            db.create_collection(&name(made), Schema::new(2)).unwrap();
            made += 1;
        }
        let before = vfs.operation_count();
        let collection = db.create_collection(&name(made), Schema::new(2)).unwrap();
        let create = vfs.operation_count() - before;
        made += 1;
        collection.create_view("v", &View::new([Step::Normalise])).unwrap();
        let view = vfs.operation_count() - before - create;
        collection.upsert([one(1)]).unwrap();
        (create, view, vfs.operation_count() - before - create - view, made)
    };
    let (few, many) = (cost(10), cost(2_000));
    println!("figure operations_of_a_creation = {} operations", many.0);
    assert_eq!((few.0, few.1, few.2), (many.0, many.1, many.2));
    assert!(many.0 <= 4, "a frame, a sync and a mark: {many:?}");
    assert_eq!(db.stat().unwrap().generation, 1, "no manifest was written for any of it");
}

#[test]
fn a_commit_that_no_manifest_could_hold_is_refused_and_everything_else_goes_on() {
    let vfs = MemoryVfs::default();
    let tuning = Tuning { manifest_bytes: 20_000, ..Tuning::default() };
    let db = counted(&vfs, tuning);
    let mut created = Vec::new();
    let error = loop {
        let name = format!("{:05}{}", created.len(), "\"".repeat(100));
        match db.create_collection(&name, Schema::new(2)) {
            Ok(collection) => created.push(collection),
            Err(error) => break error,
        }
    };
    assert!(created.len() > 20 && error.to_string().contains("20000 bytes of a manifest"), "{error}");
    // Records need segments, and these a place in the manifest.
    assert!(created[0].upsert([one(1)]).is_err());
    let mut load = created[0].bulk_load().unwrap();
    load.push(one(1)).unwrap();
    assert!(load.finish().is_err());
    let full = created.len();
    for collection in created.drain(full - 10..) {
        db.drop_collection(collection.name()).unwrap();
    }
    let mut with_record = 0;
    while created[with_record].upsert([one(with_record)]).is_ok() {
        with_record += 1;
    }
    assert!(with_record > 0);
    created[0].upsert([one(7)]).unwrap();
    db.flush().unwrap();
    let manifest = vfs.files().into_iter().rfind(|path| path.to_str().unwrap().contains("manifest")).unwrap();
    assert!(vfs.read(&manifest).unwrap().len() <= 20_000, "what was acknowledged fits");
    created[0].delete(["r"]).unwrap();
    db.compact().unwrap();
    drop((created, db));
    let db = counted(&vfs, tuning);
    assert_eq!(db.collections().len(), full - 10);
    for name in db.collections() {
        db.drop_collection(&name).unwrap();
    }
    db.close().unwrap();
    let db = counted(&vfs, tuning);
    db.create_collection("again", Schema::new(2)).unwrap().upsert([one(1)]).unwrap();
    db.flush().unwrap();
}

#[test]
fn names_ids_fields_and_dimensions_are_kept_at_their_limits_and_refused_beyond() {
    let vfs = MemoryVfs::default();
    let db = counted(&vfs, Tuning::default());
    let longest = "ö".repeat(limits::NAME_BYTES / 2) + "x";
    assert!(db.create_collection(&(longest.clone() + "x"), Schema::new(2)).is_err());
    let clips = db.create_collection(&longest, Schema::new(2)).unwrap();
    clips.create_view(&longest, &View::new([Step::Normalise])).unwrap();
    assert!(clips.create_view(&(longest.clone() + "x"), &View::new([Step::Normalise])).is_err());
    let text = |bytes: usize| one(1).field("f", "x".repeat(bytes - r#"{"f":""}"#.len()));
    let id = "i".repeat(limits::ID_BYTES);
    let large = named(Some(&id), text(limits::FIELDS_BYTES)).field(longest.clone(), 1);
    assert!(clips.upsert([large.clone()]).is_err(), "a field more");
    let large = named(Some(&id), text(limits::FIELDS_BYTES));
    clips.upsert([large.clone(), one(1).field(longest.clone(), 1)]).unwrap();
    assert!(clips.upsert([one(1).field(longest.clone() + "x", 1)]).is_err());
    assert!(clips.upsert([text(limits::FIELDS_BYTES + 1)]).is_err());
    assert!(clips.upsert([named(Some(&(id.clone() + "i")), one(1))]).is_err());
    assert!(db.create_collection("wide", Schema::new(limits::DIM + 1)).is_err());
    let wide = db.create_collection("wide", Schema::new(limits::DIM)).unwrap();
    wide.upsert([Record::new("empty", Matrix::from_rows(0, limits::DIM, Vec::new()).unwrap())]).unwrap();
    drop((clips, wide));
    for _ in 0..2 {
        let reader = Database::options().vfs(Arc::new(vfs.clone())).read_only().open("db").unwrap();
        let clips = reader.collection(&longest).unwrap();
        assert_eq!(clips.get(&id).unwrap().as_ref(), Some(&large));
        assert_eq!(clips.get("r").unwrap().unwrap().fields[&longest], 1);
        assert_eq!(clips.view(&longest).unwrap().name, longest);
        assert_eq!(reader.collection("wide").unwrap().get("empty").unwrap().unwrap().matrix.dim(), limits::DIM);
        db.flush().unwrap();
    }
}

#[test]
fn large_matrices_of_more_collections_than_there_may_be_open_files_are_kept() {
    let vfs = MemoryVfs::default();
    let db = counted(&vfs, Tuning { direct_bytes: 8, ..Tuning::default() });
    let count = 200;
    for n in 0..count {
        db.create_collection(&name(n), Schema::new(2)).unwrap().upsert([one(n)]).unwrap();
    }
    let growing = vfs.files().iter().filter(|path| path.extension().is_some_and(|end| end == "oseg")).count();
    assert!(growing <= 64, "{growing} segments are open");
    let mut all = db.transaction();
    for n in 0..count {
        all.upsert(&name(n), [Record::new("s", one(n).matrix)]);
    }
    all.commit().unwrap();
    drop(db);
    let db = counted(&vfs, Tuning::default());
    for n in 0..count {
        let collection = db.collection(&name(n)).unwrap();
        assert_eq!(collection.get("s").unwrap().unwrap().matrix, one(n).matrix);
        assert_eq!(collection.len().unwrap(), 2);
    }
}

#[test]
fn a_transaction_over_thousands_of_collections_is_one_commit() {
    let vfs = MemoryVfs::default();
    // Frames of at most 128 bytes, then of any length.
    for log_bytes in [1_024, 64 << 20] {
        let vfs = vfs.copy().unwrap();
        let db = counted(&vfs, Tuning { log_bytes, ..Tuning::default() });
        (0..300).for_each(|n| drop(db.create_collection(&name(n), Schema::new(2)).unwrap()));
        let mut all = db.transaction();
        for n in 0..300 {
            all.upsert(&name(n), [one(n)]);
        }
        all.upsert("nowhere", [one(0)]);
        assert!(all.commit().is_err());
        assert!((0..300).all(|n| db.collection(&name(n)).unwrap().is_empty().unwrap()), "nothing of it");
        let mut all = db.transaction();
        for n in 0..300 {
            all.upsert(&name(n), [one(n)]);
        }
        all.commit().unwrap();
        drop(db);
        let db = counted(&vfs, Tuning::default());
        assert!((0..300).all(|n| db.collection(&name(n)).unwrap().len().unwrap() == 1));
    }
}

#[test]
fn what_is_wrong_with_a_batch_says_in_which_record() {
    let clips = in_memory(2);
    let batch = |bad: Record| {
        let good = (0..5).map(|n| Record::new(format!("good{n}"), matrix(n, 1, 2)));
        clips.upsert(good.chain([bad])).unwrap_err().to_string()
    };
    let unfit = Record::new("unfit", matrix(0, 1, 3));
    for (bad, words) in [
        (unfit.clone(), "record `unfit` (number 5 of the batch, from 0): "),
        (Record::auto(matrix(0, 1, 3)), "record number 5 of the batch, from 0: "),
        (
            Record::new("nested", matrix(0, 1, 2)).field("tags", vec!["x"]),
            "record `nested` (number 5 of the batch, from 0): field `tags`",
        ),
        (Record::new("x".repeat(2_000), matrix(0, 1, 2)), "record `xxx"),
        (Record::new("a\nb", matrix(0, 1, 3)), "record `a\\nb` (number 5 "),
    ] {
        let error = batch(bad);
        assert!(error.starts_with(words) && error.len() < 300 && !error.contains('\n'), "{error}");
    }
    let mut load = clips.bulk_load().unwrap();
    load.push(Record::new("good", matrix(0, 1, 2))).unwrap();
    assert!(load.push(unfit).unwrap_err().to_string().starts_with("record `unfit` (number 1 "));
}

fn numbered(records: &[Option<&str>]) -> Vec<Record> {
    records.iter().map(|id| named(*id, Record::auto(matrix(0, 1, 2)))).collect()
}

fn named(id: Option<&str>, mut record: Record) -> Record {
    record.id = id.map(str::to_owned);
    record
}

#[test]
fn no_number_is_given_that_is_a_name_before_or_after_it() {
    let number = |n: u64| format!("{n:020}");
    let vfs = MemoryVfs::default();
    let mut db = counted(&vfs, Tuning::default());
    let clips = db.create_collection("c", Schema::new(2)).unwrap();
    // The name comes after the number, in the same batch.
    let ids = clips.upsert(numbered(&[None, Some(&number(1)), None])).unwrap();
    assert_eq!(ids, [number(2), number(1), number(3)]);
    // A transaction names ids in another change, also to delete them.
    let mut all = db.transaction();
    all.upsert("c", numbered(&[None]));
    all.upsert("c", numbered(&[Some(&number(4))]));
    all.delete("c", [number(5)]);
    all.commit().unwrap();
    assert!(clips.get(&number(6)).unwrap().is_some() && clips.len().unwrap() == 5);
    // Numbers of 20 digits that no count reaches, or that would use all up.
    let huge = [u64::MAX, (1 << 63) + 1, limits::COUNTER, limits::COUNTER - 1, limits::NUMBERED];
    for n in huge {
        clips.upsert(numbered(&[None, Some(&number(n)), None])).unwrap();
    }
    assert_eq!(clips.upsert(numbered(&[None])).unwrap(), [number(17)]);
    clips.upsert(numbered(&[Some("99999999999999999999"), Some("0000000000000000001x"), Some("18")])).unwrap();
    assert_eq!(clips.upsert(numbered(&[None])).unwrap(), [number(18)]);
    // One that is gone is not given again, whoever named it.
    clips.upsert(numbered(&[Some(&number(30))])).unwrap();
    clips.delete([number(30), number(18)]).unwrap();
    drop((clips, db));
    db = counted(&vfs, Tuning::default());
    let clips = db.collection("c").unwrap();
    assert_eq!(clips.upsert(numbered(&[None])).unwrap(), [number(31)]);
    // A load names ids that are not there yet while it goes on.
    let mut load = clips.bulk_load().unwrap();
    load.push(numbered(&[Some(&number(32))]).remove(0)).unwrap();
    assert_eq!(clips.upsert(numbered(&[None])).unwrap(), [number(33)]);
    load.finish().unwrap();
    let before = clips.len().unwrap();
    drop((clips, db));
    db = counted(&vfs, Tuning::default());
    let clips = db.collection("c").unwrap();
    assert_eq!(clips.upsert(numbered(&[None])).unwrap(), [number(34)]);
    assert_eq!(clips.len().unwrap(), before + 1);
    // The last number of all.
    let last = number(limits::NUMBERED - 1);
    let ids = clips.upsert(numbered(&[Some(&last), None, None])).unwrap();
    assert_eq!(ids[1..], [number(limits::NUMBERED + 1), number(limits::NUMBERED + 2)], "one more was named above");
    // Named twice in a batch, the last stays.
    let twice = [Record::new("two", matrix(1, 1, 2)), Record::new("two", matrix(2, 1, 2))];
    clips.upsert(twice).unwrap();
    assert_eq!(clips.get("two").unwrap().unwrap().matrix, matrix(2, 1, 2));
}

/// A system grants a process only so many mappings, and no more address space than it was told to: what cannot be
/// mapped is read.
#[test]
fn more_segments_than_mappings_are_written_searched_and_opened_again() {
    const DIM: usize = 64;
    let open = |memory: &MemoryVfs, granted: u64| {
        let vfs = FaultyVfs::with_mappings(memory.clone(), granted);
        let tuning = Tuning { background: false, reserve_bytes: 0, ..Tuning::default() };
        Database::options().vfs(Arc::new(vfs)).tuning(tuning)
    };
    let check = |db: &Database, count: u32, what: &str| {
        for at in 0..count {
            let c = db.collection(&format!("c{at}")).unwrap();
            // Of more than 64 KiB, so past the log and worth a mapping.
            let expected = matrix(at, 300, DIM);
            assert_eq!(c.get("r").unwrap().unwrap().matrix, expected, "{what}, {at}");
            let hits = c.query(&matrix(at, 3, DIM)).run().unwrap();
            assert_eq!((hits.len(), hits[0].id.as_str()), (1, "r"), "{what}, {at}");
        }
        assert!(db.verify(Depth::Deep).unwrap().is_clean(), "{what}");
    };
    for granted in [0, 1, 5, u64::MAX] {
        let memory = MemoryVfs::default();
        let db = open(&memory, granted).open("db").unwrap();
        for at in 0..8 {
            let c = db.create_collection(&format!("c{at}"), Schema::new(DIM)).unwrap();
            c.upsert([Record::new("gone", matrix(99, 300, DIM))]).unwrap();
            c.upsert([Record::new("r", matrix(at, 300, DIM))]).unwrap();
            c.delete(["gone"]).unwrap();
        }
        check(&db, 8, &format!("{granted} mappings, in the log"));
        drop(db);
        let db = open(&memory, granted).open("db").unwrap();
        check(&db, 8, &format!("{granted} mappings, opened again"));
        db.flush().unwrap();
        assert!(db.purge().unwrap().finished);
        check(&db, 8, &format!("{granted} mappings, compacted"));
        drop(db);
        check(&open(&memory, granted).read_only().open("db").unwrap(), 8, &format!("{granted} mappings, for reading"));
    }
}
