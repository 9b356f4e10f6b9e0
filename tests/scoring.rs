//! Promise: the fast score is the reference's, bit for bit, and nothing that could be a hit is ever dropped.

#![allow(clippy::unwrap_used, clippy::print_stdout)]
use otolith::IndexKind;
use otolith::testing::index::{Ranked, Top};
use otolith::testing::kernel::Level;
use otolith::testing::score::{Outcome, PreparedQuery, Scratch, reference};
use otolith::testing::store::vfs::MemoryVfs;
use otolith::{Collection, Database, Error, Hits, Matrix, Metric, Precision, Record, Schema};
use proptest::prelude::*;
use std::cell::Cell;
use std::convert::Infallible;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

const METRICS: [Metric; 3] = [Metric::Dot, Metric::Cosine, Metric::L2];

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

/// How the values of a matrix come about: the hard cases of comparing in `f32`.
#[derive(Clone, Copy, Debug)]
enum Values {
    /// Anything between -1 and 1.
    Plain,
    /// A few small integers, so that rows and scores tie.
    Ties,
    /// All rows nearly the same.
    Near,
    /// Rows of norms between 2^-60 and 2^60, and up to the ends of `f32`.
    Wild,
}

fn values() -> impl Strategy<Value = Values> {
    prop_oneof![Just(Values::Plain), Just(Values::Ties), Just(Values::Near), Just(Values::Wild)]
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
    let common: Vec<f32> = (0..dim).map(|_| next()).collect();
    let mut values = Vec::with_capacity(rows * dim);
    for row in 0..rows {
        let choice = (next() + 1.0) * 50.0;
        if choice < 10.0 {
            values.extend(std::iter::repeat_n(0.0, dim));
        } else if choice < 25.0 && row > 0 {
            values.extend_from_within((row - 1) * dim..); // the row before once more
        } else {
            let exponent = (next() * 60.0) as i32 * if next() > 0.8 { 2 } else { 1 };
            let scale = 2.0f64.powi(exponent) as f32;
            values.extend(common.iter().map(|&common| match kind {
                Values::Plain => next(),
                Values::Ties => (next() * 2.0).round(),
                Values::Near => common + next() * 1e-7,
                Values::Wild => next() * scale,
            }));
        }
    }
    Matrix::from_rows(rows, dim, values).unwrap()
}

fn exact(query: &PreparedQuery, record: &Matrix, scratch: &mut Scratch) -> f64 {
    match query.score(record.view(), f64::NEG_INFINITY, scratch) {
        Outcome::Exact { score } => score,
        Outcome::Below { .. } => panic!("nothing is below minus infinity"),
    }
}

/// Everything promised for one query and one record.
fn check(metric: Metric, query: &Matrix, record: &Matrix, scratch: &mut Scratch) {
    let prepared = PreparedQuery::new(metric, query.view()).unwrap();
    let expected = reference(metric, query.view(), record.view()).unwrap();
    let score = exact(&prepared, record, scratch);
    assert_eq!(score.to_bits(), expected.to_bits(), "{metric:?}: {score} is not {expected}");
    for threshold in [expected, expected.next_up(), expected + expected.abs() * 1e-3, f64::INFINITY] {
        match prepared.score(record.view(), threshold, scratch) {
            Outcome::Exact { score } => assert_eq!(score.to_bits(), expected.to_bits()),
            Outcome::Below { upper } => {
                assert!(expected <= upper && upper < threshold, "{metric:?}: {expected} <= {upper} < {threshold}");
            }
        }
    }
    let matches = prepared.matches(record.view(), scratch);
    assert_eq!(matches.len(), query.rows());
    assert_eq!(matches.iter().fold(0.0, |sum, found| sum + found.similarity).to_bits(), expected.to_bits());
    for (index, found) in matches.iter().enumerate() {
        let (row, _) = (0..record.rows())
            .map(|row| (row, one_to_one(metric, query.view().row(index), record.view().row(row))))
            .fold((0, f64::NEG_INFINITY), |best, now| if now.1 > best.1 { now } else { best });
        assert_eq!(found.record_row, row, "{metric:?}: query row {index}");
    }
}

fn one_to_one(metric: Metric, q: &[f32], d: &[f32]) -> f64 {
    let row = |values: &[f32]| Matrix::from_vector(values.to_vec()).unwrap();
    reference(metric, row(q).view(), row(d).view()).unwrap()
}

#[test]
fn fast_scores_are_the_reference_bit_for_bit() {
    let cases = Cell::new(0);
    let mut runner = proptest::test_runner::TestRunner::new(config(1700));
    // Long ones take a second each, so they are few unless time is no matter.
    let large = if std::env::var_os("OTOLITH_NIGHTLY").is_some() { 500 } else { 1 };
    let rows = || prop_oneof![99 => 1usize..40, large => 40usize..300];
    let dims = prop_oneof![50 => 1usize..8, 49 => 8usize..200, large => 200usize..2_048];
    let shapes = (rows(), rows(), dims, values(), any::<u64>());
    let result = runner.run(&shapes, |(queries, rows, dim, kind, seed)| {
        let mut scratch = Scratch::default();
        let query = matrix(queries, dim, kind, seed);
        let record = matrix(rows, dim, kind, if seed % 5 == 0 { seed } else { !seed });
        for metric in METRICS {
            check(metric, &query, &record, &mut scratch);
        }
        cases.set(cases.get() + METRICS.len());
        Ok(())
    });
    println!("kernel level {}", Level::current().name());
    println!("figure scoring_cases = {} cases", cases.get());
    result.unwrap();
}

#[test]
fn every_kernel_level_gives_the_same_bits() {
    for level in Level::available() {
        let run = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "fast_scores_are_the_reference_bit_for_bit", "vectors_side_by_side_score_as_each_alone"])
            .arg("--nocapture")
            .env("OTOLITH_KERNEL", level.name())
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success() && output.contains("2 passed"), "{level:?}: {output}");
        assert!(output.contains(&format!("kernel level {}\n", level.name())), "{level:?}: {output}");
    }
}

#[test]
fn vectors_side_by_side_score_as_each_alone() {
    let mut next = noise(3);
    for (seed, count) in (0..20).zip([0usize, 1, 7, 8, 9, 30].into_iter().cycle()) {
        for kind in [Values::Plain, Values::Ties, Values::Near, Values::Wild] {
            let dim = 1 + ((next() + 1.0) * 60.0) as usize;
            let query = matrix(1, dim, kind, seed);
            let records: Vec<Matrix> = (0..count as u64).map(|n| matrix(1, dim, kind, seed * 50 + n / 2)).collect();
            for metric in METRICS {
                let prepared = PreparedQuery::new(metric, query.view()).unwrap();
                let expected: Vec<f64> =
                    records.iter().map(|record| reference(metric, query.view(), record.view()).unwrap()).collect();
                for threshold in [f64::NEG_INFINITY, expected.first().copied().unwrap_or(0.0), f64::INFINITY] {
                    let mut met = vec![false; count];
                    let views: Vec<_> = records.iter().map(Matrix::view).collect();
                    prepared.score_rows(&views, threshold, |index, outcome| {
                        assert!(!std::mem::replace(&mut met[index], true), "told twice");
                        match outcome {
                            Outcome::Exact { score } => assert_eq!(score.to_bits(), expected[index].to_bits()),
                            Outcome::Below { upper } => assert!(expected[index] <= upper && upper < threshold),
                        }
                    });
                    assert!(met.iter().all(|&met| met), "{metric:?}: {met:?}");
                }
            }
        }
    }
}

#[test]
fn any_shape_scores_exactly() {
    let mut scratch = Scratch::default();
    let shapes = [
        (1, 1, 1),
        (1, 1, 100_000),
        (3, 2, 70_001),
        (2, 5_000, 3),
        (5_000, 2, 3),
        (1, 100_000, 3),
        (600, 1_000, 3),
        (249, 249, 64),
        (1, 300_000, 1),
    ];
    for (queries, rows, dim) in shapes {
        let (query, record) = (matrix(queries, dim, Values::Plain, 7), matrix(rows, dim, Values::Plain, 8));
        for metric in METRICS {
            let prepared = PreparedQuery::new(metric, query.view()).unwrap();
            let expected = reference(metric, query.view(), record.view()).unwrap();
            let score = exact(&prepared, &record, &mut scratch);
            assert_eq!(score.to_bits(), expected.to_bits(), "{metric:?} {queries} x {rows} x {dim}");
            // A thousandth of the largest score that rows of this kind could have.
            let largest = queries as f64 * if metric == Metric::Cosine { 1.0 } else { dim as f64 };
            let far = prepared.score(record.view(), expected + 1e-3 * largest, &mut scratch);
            assert!(matches!(far, Outcome::Below { .. }), "the bound drops nothing: {metric:?} {rows} x {dim}");
        }
    }
}

#[test]
fn silence_against_silence_is_quick_and_exact() {
    let mut scratch = Scratch::default();
    let silence = Matrix::from_rows(500, 512, vec![0.25; 500 * 512]).unwrap();
    let zeros = Matrix::from_rows(500, 512, vec![0.0; 500 * 512]).unwrap();
    let start = Instant::now();
    for metric in METRICS {
        for (query, record) in [(&silence, &silence), (&zeros, &zeros), (&silence, &zeros), (&zeros, &silence)] {
            let prepared = PreparedQuery::new(metric, query.view()).unwrap();
            let row = one_to_one(metric, query.view().row(0), record.view().row(0));
            let expected = (0..500).fold(0.0, |sum, _| sum + row);
            assert_eq!(exact(&prepared, record, &mut scratch).to_bits(), expected.to_bits(), "{metric:?}");
        }
    }
    // 250,000 pairs a comparison take seconds each when repeated rows are not passed over.
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

#[test]
fn rows_that_are_missing_are_told() {
    let none = Matrix::from_rows(0, 3, vec![]).unwrap();
    let some = Matrix::from_rows(1, 3, vec![1.0; 3]).unwrap();
    assert!(matches!(PreparedQuery::new(Metric::Dot, none.view()), Err(Error::Invalid { .. })));
    let prepared = PreparedQuery::new(Metric::Dot, some.view()).unwrap();
    let mut scratch = Scratch::default();
    let outcome = prepared.score(none.view(), f64::NEG_INFINITY, &mut scratch);
    assert_eq!(outcome, Outcome::Below { upper: f64::NEG_INFINITY });
    assert_eq!(prepared.matches(none.view(), &mut scratch), []);
    assert_eq!(reference(Metric::Dot, some.view(), none.view()), None);
}

/// What a scan on some threads keeps.
fn scan(
    query: &PreparedQuery,
    records: &[Matrix],
    k: Option<usize>,
    min_score: Option<f64>,
    threads: usize,
) -> Ranked<usize> {
    let top = Top::new(k, min_score);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let top = &top;
            scope.spawn(move || {
                let mut scratch = Scratch::default();
                for (index, record) in records.iter().enumerate().skip(thread).step_by(threads) {
                    match query.score(record.view(), top.threshold(), &mut scratch) {
                        Outcome::Exact { score } => top.push(score, index),
                        Outcome::Below { upper } => top.exclude(upper),
                    }
                }
            });
        }
    });
    // Ids run against the order of arrival.
    top.finish(|&index| Ok::<_, Infallible>(usize::MAX - index)).unwrap()
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn dropping_never_loses_one_of_the_best(
        count in 1usize..40, k in 0usize..20, dim in 1usize..12, kind in values(), seed: u64, at in 0.0f64..1.0,
    ) {
        let query = matrix(1 + seed as usize % 6, dim, kind, seed);
        let records: Vec<Matrix> =
            (0..count).map(|n| matrix(1 + n * 7 % 11, dim, kind, seed.wrapping_add(n as u64 / 2))).collect();
        for metric in METRICS {
            let prepared = PreparedQuery::new(metric, query.view()).unwrap();
            let mut all: Vec<(f64, usize)> =
                records.iter().map(|record| reference(metric, query.view(), record.view()).unwrap()).zip(0..).collect();
            all.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
            let min_score = all[(at * count as f64) as usize].0;
            for (k, min_score) in [(Some(k), None), (None, None), (Some(k), Some(min_score)), (None, Some(min_score))] {
                let mut expected = all.clone();
                expected.retain(|hit| min_score.is_none_or(|least| hit.0 >= least));
                expected.truncate(k.unwrap_or(usize::MAX));
                for threads in [1, 3] {
                    let ranked = scan(&prepared, &records, k, min_score, threads);
                    prop_assert_eq!(&ranked.hits, &expected);
                    let best_left = all.get(expected.len()).map_or(f64::NEG_INFINITY, |hit| hit.0);
                    prop_assert!(ranked.best_excluded >= best_left);
                    if expected.len() == count {
                        prop_assert_eq!(ranked.best_excluded, f64::NEG_INFINITY);
                    }
                }
            }
        }
    }
}

/// Sizes of numbers from one end of `f32` to the other, the smallest and the largest that there are among them.
const SIZES: [f32; 12] = [1e-45, 1e-42, 1e-38, 1e-30, 1e-24, 1e-19, 1e-10, 1.0, 1e10, 1e19, 1e30, 3e38];

/// How large the numbers of a record are.
#[derive(Clone, Copy, Debug)]
enum Sizes {
    /// All records and queries alike.
    All(usize),
    /// Each record has one of its own.
    ByRecord,
    /// Each row has.
    ByRow,
    /// Each number has.
    ByNumber,
}

/// Rows of numbers of these sizes, as far as a precision has them; some are zeros, some repeat.
fn sized(sizes: Sizes, precision: Precision, (rows, dim): (usize, usize), next: &mut impl FnMut() -> f32) -> Matrix {
    let (least, most) = if precision == Precision::F16 { (6e-8, 6e4) } else { (1e-45, 3e38) };
    let pick = |next: &mut dyn FnMut() -> f32| SIZES[((next() + 1.0) * 6.0) as usize % SIZES.len()];
    let of_record = pick(next);
    let mut values: Vec<f32> = Vec::new();
    for _ in 0..rows {
        let (of_row, zero) = (pick(next), next() > 0.95);
        for _ in 0..dim {
            let size = match sizes {
                Sizes::All(at) => SIZES[at],
                Sizes::ByRecord => of_record,
                Sizes::ByRow => of_row,
                Sizes::ByNumber => pick(next),
            };
            values.push(if zero { 0.0 } else { next() * size.clamp(least, most) });
        }
    }
    Matrix::from_rows(rows, dim, values).unwrap()
}

/// The scores of all records, by the definition and nothing else.
fn by_hand(metric: Metric, query: &Matrix, records: &[(String, Matrix)], k: usize) -> Vec<(String, u64)> {
    let sum = |terms: &mut dyn Iterator<Item = f64>| terms.fold(0.0f64, |sum, term| sum + term);
    let pairs = |a: &[f32], b: &[f32]| {
        a.iter().copied().map(f64::from).zip(b.iter().copied().map(f64::from)).collect::<Vec<_>>()
    };
    let dot = |a: &[f32], b: &[f32]| sum(&mut pairs(a, b).into_iter().map(|(a, b)| a * b));
    let similarity = |q: &[f32], d: &[f32]| match metric {
        Metric::Dot => dot(q, d),
        Metric::Cosine => {
            let (q_norm, d_norm) = (dot(q, q).sqrt(), dot(d, d).sqrt());
            if q_norm == 0.0 || d_norm == 0.0 { 0.0 } else { dot(q, d) / (q_norm * d_norm) }
        }
        Metric::L2 => 0.0 - sum(&mut pairs(q, d).into_iter().map(|(a, b)| (a - b) * (a - b))),
        other => unreachable!("{other}"),
    };
    let best =
        |q: &[f32], record: &Matrix| record.view().iter().map(|d| similarity(q, d)).fold(f64::NEG_INFINITY, f64::max);
    let score = |record: &Matrix| sum(&mut query.view().iter().map(|q| best(q, record))) + 0.0;
    let mut all: Vec<(f64, &str)> = records.iter().map(|(id, record)| (score(record), id.as_str())).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    all.into_iter().take(k).map(|(score, id)| (id.to_owned(), score.to_bits())).collect()
}

fn told(hits: &Hits) -> Vec<(String, u64)> {
    hits.iter().map(|hit| (hit.id.clone(), hit.score.to_bits())).collect()
}

/// Every way of searching a collection: exact ones give the answer, others right scores and an answer as long; with all
/// effort all of it.
fn check_ways(collection: &Collection, metric: Metric, query: &Matrix, records: &[(String, Matrix)], what: &str) {
    let all = by_hand(metric, query, records, records.len());
    let scores: std::collections::HashMap<&str, u64> = all.iter().map(|(id, score)| (id.as_str(), *score)).collect();
    for k in [1, 10] {
        let ask = || collection.query(query).k(k);
        for exact in [ask(), ask().recall(1.0), ask().min_score(f64::MIN)] {
            let hits = exact.run().unwrap();
            assert_eq!(told(&hits), all[..k], "{what}, {}", hits.plan);
            assert!(hits.certificate.is_exact(), "{what}: {:?}", hits.certificate);
        }
        for some in [ask().ef(5).nprobe(5).candidates(5), ask().ef(60).nprobe(60).candidates(60), ask().recall(0.8)] {
            let hits = some.run().unwrap();
            assert_eq!(hits.len(), k, "{what}, {}", hits.plan);
            assert!(hits.iter().all(|hit| scores[hit.id.as_str()] == hit.score.to_bits()), "{what}, {}", hits.plan);
        }
        let hits = ask().ef(usize::MAX).nprobe(usize::MAX).candidates(usize::MAX).run().unwrap();
        assert_eq!(told(&hits), all[..k], "{what}, {}", hits.plan);
    }
}

/// Puts records into a collection, asks it in the log, flushed, and with each kind of index.
fn check_collection(metric: Metric, precision: Precision, sizes: Sizes, rows: usize, count: usize) {
    let what = format!("{} {precision:?} {sizes:?} {rows} rows", metric.name());
    let db = Database::options().vfs(Arc::new(MemoryVfs::default())).open("/sizes.otolith").unwrap();
    let schema = Schema::new(DIM).metric(metric).precision(precision);
    let collection = db.create_collection("c", schema).unwrap();
    let mut next = noise(rows as u64 * 31 + count as u64);
    let records: Vec<Record> =
        (0..count).map(|n| Record::new(format!("{n:04}"), sized(sizes, precision, (rows, DIM), &mut next))).collect();
    collection.upsert(records).unwrap();
    // As they are stored, which is what counts.
    let stored: Vec<(String, Matrix)> = (0..count)
        .map(|n| format!("{n:04}"))
        .map(|id| (id.clone(), collection.get(&id).unwrap().unwrap().matrix))
        .collect();
    let mut queries: Vec<Matrix> = (0..2).map(|_| sized(sizes, precision, (rows, DIM), &mut next)).collect();
    // Of another size than any record, a record itself, and nothing at all.
    queries.push(sized(Sizes::All(count % SIZES.len()), precision, (rows, DIM), &mut next));
    queries.push(stored[count / 2].1.clone());
    queries.push(Matrix::from_rows(rows, DIM, vec![0.0; rows * DIM]).unwrap());
    let check = |part: &str| {
        queries.iter().for_each(|query| check_ways(&collection, metric, query, &stored, &format!("{what}, {part}")));
    };
    check("in the log");
    db.flush().unwrap();
    check("flushed");
    let kinds: &[IndexKind] = if rows == 1 { &[IndexKind::Ivf, IndexKind::Hnsw] } else { &[IndexKind::Candidates] };
    for &kind in kinds {
        assert_eq!(collection.build_index("raw", kind).unwrap().len(), 1);
        check(kind.name());
    }
}

const DIM: usize = 24;

#[test]
fn numbers_of_any_size_are_searched_exactly_in_every_way() {
    let mixed = [Sizes::ByRecord, Sizes::ByRow, Sizes::ByNumber];
    for metric in METRICS {
        for sizes in (0..SIZES.len()).map(Sizes::All).chain(mixed) {
            // Enough plain vectors for codes and indexes.
            check_collection(metric, Precision::F32, sizes, 1, 2_800);
            check_collection(metric, Precision::F32, sizes, 4, 220);
        }
        for precision in [Precision::F16, Precision::BF16] {
            check_collection(metric, precision, Sizes::ByRow, 1, 2_800);
            check_collection(metric, precision, Sizes::ByNumber, 3, 220);
        }
    }
}

#[test]
fn the_nearest_of_tiny_vectors_are_found() {
    // Squares of such lengths are too small for `f32`, and were once taken for zero.
    let db = Database::options().vfs(Arc::new(MemoryVfs::default())).open("/tiny.otolith").unwrap();
    let collection = db.create_collection("c", Schema::new(64).metric(Metric::L2)).unwrap();
    let mut next = noise(11);
    let mut tiny = || Matrix::from_vector((0..64).map(|_| next() * 1e-24).collect()).unwrap();
    let records: Vec<(String, Matrix)> = (0..1_200).map(|n| (format!("{n:05}"), tiny())).collect();
    collection.upsert(records.iter().map(|(id, matrix)| Record::new(id.clone(), matrix.clone()))).unwrap();
    db.flush().unwrap();
    for (_, query) in records.iter().step_by(40) {
        let hits = collection.query(query).k(5).run().unwrap();
        assert_eq!(told(&hits), by_hand(Metric::L2, query, &records, 5));
        assert!(hits.certificate.is_exact());
    }
}
