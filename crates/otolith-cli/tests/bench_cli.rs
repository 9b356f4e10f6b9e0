//! `bench` and `index`, run as a user runs them: recall and speed of every way on files of one's own, indexes made and
//! listed.
#![allow(clippy::unwrap_used)]

mod common;

use common::{error, json, run, text};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

const DIM: usize = 24;

/// Vectors around a hundred centres, the centres in no order.
fn vectors(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed;
    let mut noise = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let value = |centre: usize, at: usize| ((centre * DIM + at) as f32 * 0.7).sin();
    (0..count * DIM).map(|n| value(n / DIM * 37 % 100, n % DIM) + 0.4 * noise()).collect()
}

fn write_fvecs(path: &Path, values: &[f32]) -> PathBuf {
    let vector = |values: &[f32]| {
        [(DIM as i32).to_le_bytes().to_vec(), values.iter().flat_map(|value| value.to_le_bytes()).collect()].concat()
    };
    fs::write(path, values.chunks(DIM).flat_map(vector).collect::<Vec<u8>>()).unwrap();
    path.to_owned()
}

fn write_npy(path: &Path, shape: &str, values: &[f32]) -> PathBuf {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    header.push_str(&" ".repeat(63 - (header.len() + 10) % 64));
    header.push('\n');
    let head = [&b"\x93NUMPY\x01\x00"[..], &(header.len() as u16).to_le_bytes(), header.as_bytes()].concat();
    fs::write(path, [head, values.iter().flat_map(|value| value.to_le_bytes()).collect()].concat()).unwrap();
    path.to_owned()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// What holds for every way that was measured.
fn check_way(way: &Value) {
    let recalls: Vec<f64> = way["settings"].as_array().unwrap().iter().map(|of| number(&of["recall"])).collect();
    assert!(!recalls.is_empty() && recalls.iter().all(|recall| (0.0..=1.0).contains(recall)), "{way}");
    assert!(recalls.last() >= recalls.first(), "a larger setting finds no less: {way}");
    for asked in way["asked"].as_array().unwrap() {
        let (target, recall) = (number(&asked["target"]), number(&asked["recall"]));
        // 0.03: what some hundred queries can be off by chance.
        assert!(recall >= target - 0.03, "{asked}");
        match &asked["low"] {
            Value::Null => assert_eq!(recall, 1.0, "without an interval the answer is exact: {asked}"),
            low => assert!(number(low) >= target && number(low) <= number(&asked["high"]), "{asked}"),
        }
        assert!(number(&asked["p50_ms"]) <= number(&asked["p99_ms"]) && !asked["chosen"].as_str().unwrap().is_empty());
    }
}

#[test]
fn vectors_are_measured_by_every_way_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let file = write_fvecs(&folder.path().join("base.fvecs"), &vectors(1, 3_000));
    let plot = folder.path().join("plot.svg");
    let report = json(&["bench", text(&file), "--metric", "l2", "--count", "100", "--plot", text(&plot)]);
    assert_eq!((&report["records"], &report["queries"], &report["k"]), (&2_900.into(), &100.into(), &10.into()));
    assert_eq!((&report["dim"], &report["metric"], &report["record_bytes"]), (&DIM.into(), &"l2".into(), &96.0.into()));
    assert!(number(&report["exact"]["queries_per_second"]) > 0.0);
    let ways = report["ways"].as_array().unwrap();
    assert_eq!(ways.iter().map(|way| &way["way"]).collect::<Vec<_>>(), ["hnsw", "ivf"]);
    for way in ways {
        check_way(way);
        assert!(number(&way["build_seconds"]) > 0.0 && number(&way["bytes_per_record"]) >= DIM as f64, "{way}");
    }
    let svg = fs::read_to_string(&plot).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("recall@10") && svg.contains("hnsw"));
}

#[test]
fn queries_of_their_own_are_asked_and_only_the_ways_named_are_tried() {
    let folder = tempfile::tempdir().unwrap();
    let base = write_fvecs(&folder.path().join("base.fvecs"), &vectors(1, 1_500));
    let queries = write_fvecs(&folder.path().join("queries.fvecs"), &vectors(2, 30));
    let args = ["bench", text(&base), "--queries", text(&queries), "-k", "5", "--ways", "hnsw", "--count", "20"];
    let report = json(&args);
    assert_eq!((&report["records"], &report["queries"], &report["k"]), (&1_500.into(), &20.into(), &5.into()));
    assert_eq!(report["ways"].as_array().unwrap().len(), 1);
    check_way(&report["ways"][0]);

    let table = String::from_utf8(run(&args).stdout).unwrap();
    for word in ["1500 records of 24 numbers", "recall@5", "exact", "hnsw", "promised", "0.95"] {
        assert!(table.contains(word), "{word} is not in\n{table}");
    }
}

#[test]
fn too_few_records_for_an_index_are_measured_exactly_and_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = write_fvecs(&folder.path().join("base.fvecs"), &vectors(1, 50));
    let report = json(&["bench", text(&file), "--ways", "hnsw"]);
    assert_eq!(
        (&report["records"], &report["queries"], &report["ways"]),
        (&45.into(), &5.into(), &Value::Array(vec![]))
    );
    assert_eq!(report["skipped"][0]["way"], "hnsw");
}

#[test]
fn indexes_are_built_listed_and_measured_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let base = write_fvecs(&folder.path().join("base.fvecs"), &vectors(1, 2_000));
    let db = folder.path().join("vectors.otolith");
    let (base, db) = (text(&base), text(&db));
    json(&["import", db, base]);
    assert_eq!(json(&["index", "list", db])["indexes"], Value::Array(vec![]));
    let before = json(&["bench", "--db", db, "--count", "20"]);
    assert_eq!((&before["records"], &before["skipped"][0]["way"]), (&2_000.into(), &"index".into()));

    let built = json(&["index", "build", db]);
    let index = &built["indexes"][0];
    assert_eq!((&index["view"], &index["kind"], &index["records"]), (&"raw".into(), &"hnsw".into(), &2_000.into()));
    assert!(number(&index["seconds"]) > 0.0 && number(&index["bytes"]) > (2_000 * DIM) as f64);
    let again = json(&["index", "build", db]);
    assert_eq!(again["indexes"][0]["seconds"], Value::Null, "it was there already");
    let listed = json(&["index", "list", db, "--view", "raw"]);
    assert_eq!((&listed["indexes"][0]["bytes"], &listed["indexes"][0]["curve"]), (&index["bytes"], &index["curve"]));
    for entry in index["curve"].as_array().unwrap() {
        assert!((0.0..=1.0).contains(&number(&entry["recall"])) && number(&entry["queries"]) > 0.0, "{entry}");
    }

    let after = json(&["bench", "--db", db, "--count", "50"]);
    assert_eq!(
        (&after["records"], &after["queries"]),
        (&2_000.into(), &50.into()),
        "queries are records, none is held out"
    );
    assert_eq!((&after["ways"][0]["way"], &after["ways"][0]["build_seconds"]), (&"hnsw".into(), &Value::Null));
    check_way(&after["ways"][0]);
    assert!(error(&["bench", "--db", db, "-k", "1"], 1).contains("--queries"), "each would find itself only");
}

#[test]
fn what_cannot_be_measured_is_an_error_that_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let base = write_fvecs(&folder.path().join("base.fvecs"), &vectors(1, 100));
    let single = write_fvecs(&folder.path().join("single.fvecs"), &vectors(1, 1));
    let other = write_npy(&folder.path().join("other.npy"), "(4, 6)", &vectors(1, 1));
    let (base, missing) = (text(&base), folder.path().join("missing"));
    assert!(error(&["bench", text(&missing)], 1).contains("missing"));
    assert!(error(&["bench", text(&single)], 1).contains("--queries"));
    assert!(error(&["bench", base, "--queries", text(&other)], 1).contains("rows of 24 numbers"));
    assert!(error(&["bench", base, "--metric", "taxi"], 1).contains("taxi"));
    assert!(
        error(&["bench", base, "--ways", "hnsw", "--plot", text(&missing.join("plot.svg"))], 1).contains("plot.svg")
    );
    assert!(error(&["bench", "--db", text(&missing)], 1).contains("missing"));
    assert!(error(&["index", "list", text(&missing)], 1).contains("missing"));
    for args in [
        &["bench"][..],
        &["bench", base, "--db", base],
        &["bench", base, "-k", "0"],
        &["bench", base, "--ways", "guess"],
        &["bench", base, "--view", "mean"],
        &["index"],
        &["index", "build", base, "--kind", "tree"],
    ] {
        assert_eq!(run(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn a_file_without_records_is_told_from_one_with_a_single_one() {
    let folder = tempfile::tempdir().unwrap();
    let write = |shape: &str, count| write_npy(&folder.path().join("v.npy"), shape, &vec![1.0; count]);
    assert!(error(&["bench", text(&write("(0, 4)", 0))], 1).contains("no record in it"));
    assert!(error(&["bench", text(&write("(1, 4)", 4))], 1).contains("a single record"));
}
