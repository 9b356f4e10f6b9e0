//! There is no cap that a user would meet: tiny, long, wide and empty records store and search.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use otolith::store::vfs::MemoryVfs;
use otolith::{Collection, Database, Error, Matrix, Metric, Record, Schema};
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
