//! Promise: records of several rows that are bounded by a few numbers of each row are found as by their rows: the same
//! records, the same bits, whatever the numbers, and whatever becomes of the files.

#![allow(clippy::unwrap_used, clippy::print_stdout)]
use otolith::query::Way;
use otolith::testing::index::always_use_planes;
use otolith::testing::kernel::Level;
use otolith::testing::score::reference;
use otolith::{Database, Hits, IndexKind, Matrix, Metric, Precision, Record, Schema, View};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rayon::ThreadPoolBuilder;
use std::cell::Cell;
use std::process::Command;

/// How the numbers of a collection come about.
#[derive(Clone, Copy, Debug)]
enum Values {
    Plain,
    /// Most of a row's length lies in a few directions, and neighbours are near each other.
    Frames,
    /// A few whole numbers, so that rows and scores tie.
    Ties,
    /// Of any length, some beyond what is bounded.
    Wild,
}

/// Numbers between -1 and 1 from a seed, by splitmix64.
fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

fn matrix(rows: usize, dim: usize, kind: Values, seed: u64) -> Matrix {
    let mut next = noise(seed);
    let mut values: Vec<f32> = Vec::with_capacity(rows * dim);
    let scale = 2.0f32.powi((next() * 60.0) as i32);
    for row in 0..rows {
        for k in 0..dim {
            let before = if row > 0 { values[(row - 1) * dim + k] } else { 0.0 };
            values.push(match kind {
                Values::Plain => next(),
                Values::Frames => 0.9 * before + next() / (1 + k) as f32,
                Values::Ties => (next() * 1.6).round(),
                Values::Wild => next() * scale,
            });
        }
        if next() > 0.9 {
            let start = row * dim;
            values[start..].fill(0.0);
        }
    }
    Matrix::from_rows(rows, dim, values).unwrap()
}

/// Ids with the bits of their scores, as the reference has them.
fn truth(records: &[(String, Matrix)], query: &Matrix, metric: Metric, k: usize) -> Vec<(String, u64)> {
    let mut scores: Vec<(f64, &str)> = records
        .iter()
        .filter(|(_, matrix)| matrix.rows() > 0)
        .map(|(id, matrix)| (reference(metric, query.view(), matrix.view()).unwrap() + 0.0, id.as_str()))
        .collect();
    scores.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scores.truncate(k);
    scores.into_iter().map(|(score, id)| (id.to_owned(), score.to_bits())).collect()
}

fn found(hits: &Hits) -> Vec<(String, u64)> {
    assert!(hits.certificate.is_exact());
    hits.iter().map(|hit| (hit.id.clone(), hit.score.to_bits())).collect()
}

#[test]
fn records_are_found_as_by_their_rows() {
    let (cases, by_planes) = (Cell::new(0), Cell::new(0));
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) };
    let kinds = prop_oneof![Just(Values::Plain), Just(Values::Frames), Just(Values::Ties), Just(Values::Wild)];
    let dims = prop_oneof![1usize..40, Just(96usize), Just(128), Just(300), Just(520)];
    always_use_planes();
    let result = TestRunner::new(config).run(&(kinds, dims, 2usize..12, any::<u64>()), |(kind, dim, rows, seed)| {
        let metric = [Metric::Cosine, Metric::Dot, Metric::L2][(seed >> 7) as usize % 3];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let db = Database::open(&path).unwrap();
        let schema = Schema::new(dim).metric(metric);
        let half = seed % 3 == 0 && !matches!(kind, Values::Wild);
        let schema = if half { schema.precision(Precision::F16) } else { schema };
        let collection = db.create_collection("records", schema).unwrap();
        let make = |number: u64| {
            let matrix = matrix(2 + (number as usize * 7 + rows) % rows, dim, kind, seed ^ number);
            Record::new(format!("r{number}"), matrix).field("part", (number % 3) as i64)
        };
        collection.upsert((0..120).map(make)).unwrap();
        collection.delete((0..120).step_by(11).map(|number| format!("r{number}"))).unwrap();
        db.flush().unwrap();
        let stored: Vec<(String, Matrix)> = (0..120)
            .map(|number| format!("r{number}"))
            .filter_map(|id| collection.get(&id).unwrap().map(|record| (id, record.matrix)))
            .collect();
        let part = |number: &str| number[1..].parse::<u64>().unwrap() % 3;
        let reader = Database::open_read_only(&path).unwrap();
        let read = reader.collection("records").unwrap();
        for query in [matrix(1 + seed as usize % 40, dim, kind, !seed), stored[5].1.clone()] {
            for k in [1, 10, 200] {
                let expected = truth(&stored, &query, metric, k);
                for threads in [1, 2, 8] {
                    let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    let hits = pool.install(|| {
                        always_use_planes();
                        collection.query(&query).k(k).run().unwrap()
                    });
                    assert_eq!(found(&hits), expected, "{kind:?} {metric:?} {dim}");
                    let bounded = hits.plan.segments.iter().any(|part| part.way == Way::Sq8);
                    by_planes.set(by_planes.get() + usize::from(bounded));
                    cases.set(cases.get() + 1);
                }
                assert_eq!(found(&read.query(&query).k(k).run().unwrap()), expected);
                let some: Vec<_> = stored.iter().filter(|(id, _)| part(id) != 1).cloned().collect();
                let hits = collection.query(&query).k(k).filter("part != 1").run().unwrap();
                assert_eq!(found(&hits), truth(&some, &query, metric, k));
            }
            let all = truth(&stored, &query, metric, stored.len());
            let least = f64::from_bits(all[all.len() / 3].1);
            let above: Vec<_> = all.iter().filter(|(_, bits)| f64::from_bits(*bits) >= least).cloned().collect();
            assert_eq!(found(&collection.query(&query).min_score(least).run().unwrap()), above);
        }
        Ok(())
    });
    println!("kernel level {}", Level::current().name());
    println!("figure planes_cases = {} cases, {} by planes", cases.get(), by_planes.get());
    result.unwrap();
    assert!(by_planes.get() * 2 > cases.get(), "planes were hardly used");
}

#[test]
fn every_kernel_level_finds_the_same() {
    for level in Level::available() {
        let run = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "records_are_found_as_by_their_rows", "--nocapture"])
            .env("OTOLITH_KERNEL", level.name())
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success() && output.contains("1 passed"), "{level:?}: {output}");
        assert!(output.contains(&format!("kernel level {}\n", level.name())), "{level:?}: {output}");
    }
}

#[test]
fn a_view_has_planes_of_its_own() {
    always_use_planes();
    let folder = tempfile::tempdir().unwrap();
    let db = Database::open(folder.path().join("db")).unwrap();
    let clips = db.create_collection("clips", Schema::new(48)).unwrap();
    let records = (0..100).map(|number| (format!("r{number}"), matrix(20, 48, Values::Frames, number)));
    clips.upsert(records.map(|(id, matrix)| Record::new(id, matrix))).unwrap();
    db.flush().unwrap();
    let steps = ["every:2", "normalise"].map(|step| step.parse().unwrap());
    clips.create_view("half", &View::new(steps.to_vec()).metric(Metric::Dot)).unwrap();
    let query = matrix(9, 48, Values::Frames, 1_000);
    let by_planes = |hits: &Hits| hits.plan.segments.iter().all(|part| part.way == Way::Sq8);
    let (raw, half) = (clips.query(&query).run().unwrap(), clips.query(&query).view("half").run().unwrap());
    assert!(by_planes(&raw) && by_planes(&half), "{} {}", raw.plan, half.plan);
    let derived = std::fs::read_dir(folder.path().join("db/derived")).unwrap();
    let names = derived.map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.ends_with("-planes.odrv")).count(), 2);
    // By their definition: rows 0, 2, 4 .. of both, scaled to length one.
    let halved = |matrix: &Matrix| clips.apply_view("half", matrix).unwrap();
    let stored: Vec<(String, Matrix)> =
        (0..100).map(|number| (format!("r{number}"), halved(&matrix(20, 48, Values::Frames, number)))).collect();
    assert_eq!(found(&half), truth(&stored, &halved(&query), Metric::Dot, 10));
}

#[test]
fn planes_and_codes_are_made_ahead_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let db = Database::open(&path).unwrap();
    let clips = db.create_collection("clips", Schema::new(64)).unwrap();
    clips.upsert((0..520).map(|n| Record::new(format!("r{n}"), matrix(10, 64, Values::Frames, n)))).unwrap();
    assert!(clips.indexes("raw").unwrap().is_empty());
    let built = clips.build_index("raw", IndexKind::Sq8).unwrap();
    assert_eq!((built.len(), built[0].kind, built[0].rows), (1, IndexKind::Sq8, 520));
    assert!(built[0].built.is_some() && built[0].curve.entries().is_empty());
    let again = clips.build_index("raw", IndexKind::Sq8).unwrap();
    assert!(again[0].built.is_none());
    assert_eq!(clips.indexes("raw").unwrap().len(), 1);
    let query = matrix(9, 64, Values::Frames, 1_000);
    let refused = clips.build_index_with("raw", IndexKind::Sq8, std::slice::from_ref(&query)).unwrap_err();
    assert!(refused.to_string().contains("no recall to measure"), "{refused}");
    let stored: Vec<(String, Matrix)> =
        (0..520).map(|n| (format!("r{n}"), matrix(10, 64, Values::Frames, n))).collect();
    let reader = Database::open_read_only(&path).unwrap();
    let hits = reader.collection("clips").unwrap().query(&query).run().unwrap();
    assert_eq!(found(&hits), truth(&stored, &query, Metric::Cosine, 10));
    // Of plain vectors it is their codes.
    let vectors = db.create_collection("vectors", Schema::new(128)).unwrap();
    vectors.upsert((0..600).map(|n| Record::new(format!("v{n}"), matrix(1, 128, Values::Plain, n)))).unwrap();
    assert_eq!(vectors.build_index("raw", IndexKind::Sq8).unwrap()[0].rows, 600);
    let far = db.create_collection("far", Schema::new(64).metric(Metric::L2)).unwrap();
    far.upsert((0..520).map(|n| Record::new(format!("r{n}"), matrix(10, 64, Values::Frames, n)))).unwrap();
    assert_eq!(far.build_index("raw", IndexKind::Sq8).unwrap()[0].rows, 520);
}

#[test]
fn queries_run_together_get_the_answers_that_they_get_alone() {
    let folder = tempfile::tempdir().unwrap();
    let db = Database::open(folder.path().join("db")).unwrap();
    let (mut asked, mut together) = (0, 0);
    for (name, metric, kind) in [
        ("dot", Metric::Dot, Values::Frames),
        ("cosine", Metric::Cosine, Values::Ties),
        ("l2", Metric::L2, Values::Plain),
        ("wild", Metric::Dot, Values::Wild),
    ] {
        let clips = db.create_collection(name, Schema::new(40).metric(metric)).unwrap();
        let rows = |n: u64| (n % 7) as usize; // some have none
        clips.upsert((0..1_300).map(|n| Record::new(format!("r{n:04}"), matrix(rows(n), 40, kind, n)))).unwrap();
        db.flush().unwrap();
        let steps = ["every:2", "normalise"].map(|step| step.parse().unwrap());
        clips.create_view("half", &View::new(steps.to_vec()).metric(metric)).unwrap();
        clips.build_index("raw", IndexKind::Sq8).unwrap();
        clips.build_index("half", IndexKind::Sq8).unwrap();
        clips.delete((0..60).map(|n| format!("r{:04}", n * 9))).unwrap();
        // Of up to 70 rows: some are alone because they have too many, one has rows of another dimension.
        let queries: Vec<Matrix> = (0..45)
            .map(|n| matrix(1 + (n * n) as usize % 70, if n == 44 { 41 } else { 40 }, kind, 9_000 + n))
            .collect();
        let snapshot = clips.snapshot().unwrap();
        let ask = |(n, rows): (usize, &'static Matrix)| {
            let query = snapshot.query(rows).view(if n % 3 == 0 { "half" } else { "raw" });
            match n % 8 {
                1 => query.k(3).filter("`id` < 'r0700'"),
                2 => query.min_score(-1.0),
                3 => query.k(200),
                _ => query.k(1 + n % 20),
            }
        };
        let queries: &'static [Matrix] = queries.leak();
        for threads in [1, 3] {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.broadcast(|_| always_use_planes());
            let (alone, all) = pool.install(|| {
                let alone: Vec<_> = queries.iter().enumerate().map(|query| ask(query).run()).collect();
                (alone, otolith::run_all(queries.iter().enumerate().map(ask)))
            });
            assert_eq!(all.len(), queries.len());
            for (n, (alone, all)) in alone.iter().zip(&all).enumerate() {
                match (alone, all) {
                    (Ok(alone), Ok(all)) => {
                        assert_eq!(found(alone), found(all), "{name} {n}");
                        asked += 1;
                        together += usize::from(all.plan.to_string().contains("together"));
                        assert!(!alone.plan.to_string().contains("together"));
                    }
                    (Err(alone), Err(all)) => assert_eq!(alone.to_string(), all.to_string()),
                    _ => panic!("{name} {n}: one fails and the other does not"),
                }
            }
        }
    }
    println!("figure run_together = {together} of {asked} queries");
    assert!(together * 5 > asked, "hardly any were run together: {together} of {asked}");
}
