//! Candidates and their exact scores against the exact scan, one thread: `cargo bench -p otolith --bench
//! candidates`.
//!
//! Of 2,000 records of 125 x 96 every hundredth is taken out to serve as a query. `OTOLITH_BENCH_RECORDS` names others:
//! `tokens` and `normal` are 4,874 records of 125 x 128, alike as tokens of texts are or independent normal numbers,
//! asked by 50 queries of 32 rows; `FILE.npy` those of a file (single precision, records x rows x dim), asked by every
//! hundredth. `scan`: all are scored; `estimate`: candidates alone; `candidates/T`: as many as the measured curve asks
//! for recall@10 of T, scored. Before that a table says what so many candidates find and take, by the median of the
//! queries.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod frames;
mod tokens;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use frames::frames;
use otolith::testing::index::{Candidates, Top};
use otolith::testing::score::{Outcome, PreparedQuery, Scratch};
use otolith::{Matrix, Metric};
use rayon::ThreadPoolBuilder;
use roaring::RoaringBitmap;
use std::convert::Infallible;
use std::time::Instant;
use tokens::Tokens;

const K: usize = 10;

/// Records and queries.
fn data() -> (Vec<Matrix>, Vec<Matrix>) {
    let (rows, dim, asked, count) = (125, 128, 32, 4_874);
    let mut tokens = Tokens::new(7, dim);
    let normal = |rows: usize, tokens: &mut Tokens| {
        Matrix::from_rows(rows, dim, (0..rows).flat_map(|_| tokens.gaussian(1.0)).collect()).unwrap()
    };
    match std::env::var("OTOLITH_BENCH_RECORDS").as_deref() {
        Ok("tokens") => {
            let records = (0..count).map(|_| tokens.record(rows)).collect();
            (records, (0..50).map(|_| tokens.record(asked)).collect())
        }
        Ok("normal") => {
            let records = (0..count).map(|_| normal(rows, &mut tokens)).collect();
            (records, (0..50).map(|_| normal(asked, &mut tokens)).collect())
        }
        _ => {
            let (mut records, mut queries) = (Vec::new(), Vec::new());
            for (number, record) in self::records().into_iter().enumerate() {
                if number % 100 == 50 { queries.push(record) } else { records.push(record) }
            }
            (records, queries)
        }
    }
}

/// Records of the file named by the environment, or made up: frames of four sounds out of a hundred, mixed with frames
/// of their own.
fn records() -> Vec<Matrix> {
    if let Some(path) = std::env::var_os("OTOLITH_BENCH_RECORDS") {
        let bytes = std::fs::read(path).unwrap();
        let body = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let header = String::from_utf8_lossy(&bytes[10..body]);
        assert!(header.contains("<f4") && header.contains("False"), "{header}");
        let shape = header.split(['(', ')']).nth(1).unwrap();
        let [count, rows, dim] = *shape.split(',').map(|n| n.trim().parse().unwrap()).collect::<Vec<usize>>() else {
            panic!("{header}")
        };
        let values: Vec<f32> = bytes[body..].as_chunks().0.iter().map(|number| f32::from_le_bytes(*number)).collect();
        assert_eq!(values.len(), count * rows * dim);
        return values.chunks(rows * dim).map(|rows_| Matrix::from_rows(rows, dim, rows_.to_vec()).unwrap()).collect();
    }
    let (rows, dim) = (125, 96);
    let sounds: Vec<Matrix> = (0..100).map(|sound| frames(1 + sound, rows, dim)).collect();
    (0..2_000u32)
        .map(|record| {
            let own = frames(1_000 + record, rows, dim);
            let values = (0..rows).flat_map(|row| {
                let draw = (4 * record + row as u32 / 32).wrapping_mul(2_654_435_761) >> 16;
                let sound = &sounds[draw as usize % 100];
                let (shared, own) = (sound.view().row(row), own.view().row(row));
                shared.iter().zip(own).map(|(shared, own)| shared + own).collect::<Vec<f32>>()
            });
            Matrix::from_rows(rows, dim, values.collect()).unwrap()
        })
        .collect()
}

/// The best `K` of these records.
fn score(query: &PreparedQuery, records: &[Matrix], numbers: impl Iterator<Item = u32>) -> Vec<u32> {
    let (top, mut scratch) = (Top::new(Some(K), None), Scratch::default());
    for number in numbers {
        match query.score(records[number as usize].view(), top.threshold(), &mut scratch) {
            Outcome::Below { upper } => top.exclude(upper),
            Outcome::Exact { score } => top.push(score, number),
        }
    }
    let Ok(ranked) = top.finish(|number| Ok::<u32, Infallible>(*number));
    ranked.hits.into_iter().map(|(_, number)| number).collect()
}

/// Prints what so many candidates find, and take, estimate and scores together; the last row is the exact scan.
fn table(truth: &[Vec<u32>], prepared: &[PreparedQuery], records: &[Matrix], best: &dyn Fn(usize, usize) -> Vec<u32>) {
    println!("| candidates | recall@{K} | ms a query |\n|---|---|---|");
    for count in [16, 32, 64, 128, 256, 512, 1_024, records.len()] {
        let mut found = 0;
        let mut times: Vec<f64> = (0..prepared.len())
            .map(|at| {
                let start = Instant::now();
                let hits = match count < records.len() {
                    true => score(&prepared[at], records, best(at, count).into_iter()),
                    false => score(&prepared[at], records, 0..count as u32),
                };
                found += truth[at].iter().filter(|number| hits.contains(number)).count();
                1e3 * start.elapsed().as_secs_f64()
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let recall = found as f64 / (K * prepared.len()) as f64;
        println!("| {count} | {recall:.3} | {:.1} |", times[times.len() / 2]);
    }
}

fn candidates(criterion: &mut Criterion) {
    ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global().unwrap();
    let (records, queries) = data();
    let start = Instant::now();
    let index = Candidates::in_memory(&records, Metric::Cosine).unwrap();
    println!("figure candidates_build = {:.2} s", start.elapsed().as_secs_f64());
    println!("figure candidates_bytes = {} bytes a record", index.size() / records.len() as u64);
    let prepared: Vec<PreparedQuery> =
        queries.iter().map(|query| PreparedQuery::new(Metric::Cosine, query.view()).unwrap()).collect();
    let all = || 0..records.len() as u32;
    let truth: Vec<Vec<u32>> = prepared.iter().map(|query| score(query, &records, all())).collect();
    let best = |query: &Matrix, count| index.best(query.view(), count, None, &RoaringBitmap::new()).unwrap();
    table(&truth, &prepared, &records, &|at, count| best(&queries[at], count));
    let mut group = criterion.benchmark_group("candidates");
    group.sample_size(20);
    let mut turn = (0..queries.len()).cycle();
    group.bench_function("scan", |bencher| {
        bencher.iter(|| {
            let at = turn.next().unwrap();
            assert_eq!(score(&prepared[at], &records, all()), truth[at]);
        });
    });
    group.bench_function("estimate", |bencher| bencher.iter(|| best(&queries[turn.next().unwrap()], 100)));
    for target in [0.9, 0.95, 0.99] {
        let Some(setting) = index.curve().setting(K as u64, target) else {
            println!("figure candidates_for_{target} = none");
            continue;
        };
        let search = |at: usize| score(&prepared[at], &records, best(&queries[at], setting as usize).into_iter());
        let found: usize = (0..queries.len())
            .map(|at| {
                let found = search(at);
                truth[at].iter().filter(|number| found.contains(number)).count()
            })
            .sum();
        let recall = found as f64 / (K * queries.len()) as f64;
        println!("figure candidates_for_{target} = {setting} records");
        println!("figure candidates_recall_for_{target} = {recall:.4}");
        assert!(recall > target - 0.1, "far from what was measured");
        group.bench_function(BenchmarkId::new("candidates", target), |bencher| {
            bencher.iter(|| search(turn.next().unwrap()));
        });
    }
    group.finish();
}

criterion_group!(benches, candidates);
criterion_main!(benches);
