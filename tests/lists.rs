//! Lists: all of them hold the exact answer, some of them what was promised, and a forged file is as if it were not
//! there.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use otolith::IndexKind;
use otolith::query::Way;
use otolith::{Collection, Database, Hits, Matrix, Metric, Record, Schema};
use proptest::prelude::*;
use std::fs;
use tempfile::TempDir;

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Dot, Metric::L2];

fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// A vector about one of fifty middles, of a length of its own where `skew` says so.
fn vector(number: u64, dim: usize, skew: f32) -> Matrix {
    let (mut middle, mut own) = (noise(number * 7 % 50), noise(1_000 + number));
    let length = (skew * own()).exp();
    let values = (0..dim).map(|_| length * (middle() + 0.5 * own())).collect();
    Matrix::from_vector(values).unwrap()
}

fn vectors(count: u64, dim: usize, metric: Metric, skew: f32) -> (TempDir, Database, Collection) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("db")).unwrap();
    let collection = database.create_collection("vectors", Schema::new(dim).metric(metric)).unwrap();
    let mut load = collection.bulk_load().unwrap();
    for number in 0..count {
        // Some records that are no plain vectors lie between.
        let matrix = match number % 40 {
            39 => Matrix::from_rows(2, dim, [number, number + 1].map(|n| vector(n, dim, skew).into_values()).concat()),
            _ => Ok(vector(number, dim, skew)),
        };
        load.push(Record::new(format!("r{number:05}"), matrix.unwrap()).field("tag", number % 100)).unwrap();
    }
    load.finish().unwrap();
    (folder, database, collection)
}

fn answer(hits: &Hits) -> Vec<(String, u64)> {
    hits.iter().map(|hit| (hit.id.clone(), hit.score.to_bits())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn all_lists_hold_the_exact_answer(
        dim in 1..40usize, metric in 0..3usize, skew in 0..3u8, k in 1..200usize, below in 1..101i64, delete in 0..30u64,
    ) {
        let (_folder, _database, collection) = vectors(1_200, dim, METRICS[metric], f32::from(skew));
        let built = collection.build_index("raw", IndexKind::Ivf).unwrap();
        prop_assert_eq!((built.len(), built[0].rows), (1, 1_170));
        collection.delete((0..delete).map(|number| format!("r{:05}", number * 3))).unwrap();
        for query in [vector(3, dim, 1.0), vector(5_000, dim, 0.0), Matrix::from_vector(vec![0.0; dim]).unwrap()] {
            let exact = collection.query(&query).k(k).run().unwrap();
            prop_assert!(exact.certificate.is_exact());
            for probes in [usize::MAX, 10_000] {
                let hits = collection.query(&query).k(k).nprobe(probes).run().unwrap();
                prop_assert_eq!(answer(&hits), answer(&exact));
            }
            let filter = format!("tag < {below}");
            let exact = collection.query(&query).k(k).filter(&filter).run().unwrap();
            let hits = collection.query(&query).k(k).filter(&filter).nprobe(usize::MAX).run().unwrap();
            prop_assert_eq!(answer(&hits), answer(&exact));
            let few = collection.query(&query).k(k).filter(&filter).nprobe(1).run().unwrap();
            prop_assert_eq!(few.len(), exact.len(), "k hits, always");
        }
    }
}

#[test]
fn a_recall_asked_for_is_found_in_some_of_the_lists() {
    for metric in METRICS {
        let (_folder, _database, collection) = vectors(8_000, 48, metric, 0.3);
        collection.build_index("raw", IndexKind::Ivf).unwrap();
        for target in [0.8, 0.95] {
            let (mut found, mut by_lists) = (0, 0);
            for number in 0..100 {
                let query = vector(20_000 + number, 48, 0.3);
                let exact = collection.query(&query).run().unwrap();
                let hits = collection.query(&query).recall(target).run().unwrap();
                by_lists += usize::from(matches!(hits.plan.segments[0].way, Way::Ivf { nprobe: 1.. }));
                found += hits.iter().filter(|hit| exact.iter().any(|other| other.id == hit.id)).count();
            }
            let recall = found as f64 / 1_000.0;
            println!("figure lists_{}_recall_{:.0} = {recall:.3}", metric.name(), 100.0 * target);
            assert!(recall >= target - 0.02 && by_lists > 90, "{metric:?} {target}: {recall}, {by_lists} by lists");
        }
    }
}

#[test]
fn beside_a_graph_whichever_is_cheaper_is_used_and_by_hand_the_graph() {
    let (_folder, _database, collection) = vectors(4_000, 24, Metric::L2, 0.0);
    for kind in [IndexKind::Ivf, IndexKind::Hnsw] {
        assert_eq!(collection.build_index("raw", kind).unwrap()[0].kind, kind);
    }
    let kinds: Vec<IndexKind> = collection.indexes("raw").unwrap().iter().map(|info| info.kind).collect();
    assert_eq!(kinds, [IndexKind::Hnsw, IndexKind::Ivf]);
    let query = vector(9_999, 24, 0.0);
    let way = |hits: Hits| hits.plan.segments[0].way;
    assert_eq!(way(collection.query(&query).ef(50).run().unwrap()), Way::Hnsw { ef: 50 });
    assert!(!way(collection.query(&query).recall(0.9).run().unwrap()).is_exact());
    assert_eq!(way(collection.query(&query).run().unwrap()), Way::Sq8);
}

#[test]
fn lists_that_rotted_are_as_if_they_were_not_there_and_made_again() {
    let (folder, database, collection) = vectors(1_500, 24, Metric::L2, 0.0);
    collection.build_index("raw", IndexKind::Ivf).unwrap();
    let query = vector(9_999, 24, 0.0);
    let exact = answer(&collection.query(&query).run().unwrap());
    drop(collection);
    database.close().unwrap();
    let mut files = fs::read_dir(folder.path().join("db/derived")).unwrap().map(|file| file.unwrap().path());
    let file = files.find(|path| path.to_str().unwrap().ends_with("-lists.odrv")).unwrap();
    let whole = fs::read(&file).unwrap();
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        let mut rotten = whole.clone();
        rotten[at] ^= 0x5a;
        fs::write(&file, &rotten).unwrap();
        let database = Database::open_read_only(folder.path().join("db")).unwrap();
        let collection = database.collection("vectors").unwrap();
        let hits = collection.query(&query).nprobe(usize::MAX).run().unwrap();
        assert_eq!(answer(&hits), exact, "byte {at}");
        assert!(collection.indexes("raw").unwrap().is_empty(), "byte {at}");
    }
    let database = Database::open(folder.path().join("db")).unwrap();
    let built = database.collection("vectors").unwrap().build_index("raw", IndexKind::Ivf).unwrap();
    assert!(built[0].built.is_some());
    assert_eq!(fs::read(&file).unwrap(), whole, "the same again");
}
