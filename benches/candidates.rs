//! Candidates and their exact scores against the exact scan, one thread: `cargo bench -p otolith --bench
//! candidates`.
//!
//! Of 2,000 records of 125 x 96 every hundredth is taken out to serve as a query. With `OTOLITH_BENCH_RECORDS=FILE.npy`
//! (single precision, records x rows x dim) the records are those of the file. `scan`: all are scored; `estimate`:
//! candidates alone; `candidates/T`: as many as the measured curve asks for recall@10 of T, scored.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod frames;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use frames::frames;
use otolith::testing::index::{Candidates, Top};
use otolith::testing::score::{Outcome, PreparedQuery, Scratch};
use otolith::{Matrix, Metric};
use rayon::ThreadPoolBuilder;
use roaring::RoaringBitmap;
use std::convert::Infallible;
use std::time::Instant;

const K: usize = 10;

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

fn candidates(criterion: &mut Criterion) {
    ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global().unwrap();
    let (mut records, mut queries) = (Vec::new(), Vec::new());
    for (number, record) in self::records().into_iter().enumerate() {
        if number % 100 == 50 { queries.push(record) } else { records.push(record) }
    }
    let start = Instant::now();
    let index = Candidates::in_memory(&records, Metric::Cosine).unwrap();
    println!("figure candidates_build = {:.2} s", start.elapsed().as_secs_f64());
    println!("figure candidates_bytes = {} bytes a record", index.size() / records.len() as u64);
    let prepared: Vec<PreparedQuery> =
        queries.iter().map(|query| PreparedQuery::new(Metric::Cosine, query.view()).unwrap()).collect();
    let all = || 0..records.len() as u32;
    let truth: Vec<Vec<u32>> = prepared.iter().map(|query| score(query, &records, all())).collect();
    let best = |query: &Matrix, count| index.best(query.view(), count, None, &RoaringBitmap::new()).unwrap();
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
