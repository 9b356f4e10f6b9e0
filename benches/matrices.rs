//! Exact search of matrices, on one thread: `cargo bench -p otolith --bench matrices`.
//!
//! 2,000 records of 125 x 96, frames that wander about one of fifty sounds, top 10. `rows`: every record is compared by
//! its rows. `planes`: a database that has been searched a few times, so that most records are dropped by a few numbers
//! of each row. Both give the same answers, which is checked. Queries have 125 rows, and 12.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod frames;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use frames::frames;
use otolith::query::Way;
use otolith::testing::index::Top;
use otolith::testing::kernel::Level;
use otolith::testing::score::{Outcome, PreparedQuery, Scratch};
use otolith::{Collection, Database, Matrix, Metric, Record, Schema};
use rayon::ThreadPoolBuilder;
use std::convert::Infallible;
use std::time::Instant;

const RECORDS: u32 = 2_000;
const ROWS: usize = 125;
const DIM: usize = 96;
const K: usize = 10;

/// Frames of one of fifty sounds, mixed with frames of its own.
fn matrix(number: u32, rows: usize) -> Matrix {
    let (sound, own) = (frames(1 + number % 50, rows, DIM), frames(1_000 + number, rows, DIM));
    let values = sound.values().iter().zip(own.values()).map(|(sound, own)| sound + own).collect();
    Matrix::from_rows(rows, DIM, values).unwrap()
}

fn by_rows(query: &Matrix, records: &[Matrix]) -> Vec<u64> {
    let prepared = PreparedQuery::new(Metric::Cosine, query.view()).unwrap();
    let (top, mut scratch) = (Top::new(Some(K), None), Scratch::default());
    for (number, record) in (0u32..).zip(records) {
        match prepared.score(record.view(), top.threshold(), &mut scratch) {
            Outcome::Below { upper } => top.exclude(upper),
            Outcome::Exact { score } => top.push(score, number),
        }
    }
    let Ok(ranked) = top.finish(|number| Ok::<u32, Infallible>(*number));
    ranked.hits.into_iter().map(|(score, _)| score.to_bits()).collect()
}

fn by_planes(query: &Matrix, collection: &Collection) -> Vec<u64> {
    let hits = collection.query(query).k(K).run().unwrap();
    hits.iter().map(|hit| hit.score.to_bits()).collect()
}

fn matrices(criterion: &mut Criterion) {
    ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global().unwrap();
    println!("figure level = {}", Level::current().name());
    let records: Vec<Matrix> = (0..RECORDS).map(|number| matrix(number, ROWS)).collect();
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("db")).unwrap();
    let collection = database.create_collection("frames", Schema::new(DIM)).unwrap();
    let mut load = collection.bulk_load().unwrap();
    for (number, record) in records.iter().enumerate() {
        load.push(Record::new(format!("{number:04}"), record.clone())).unwrap();
    }
    load.finish().unwrap();
    for number in 0..5 {
        let begun = Instant::now();
        let hits = collection.query(&matrix(RECORDS + number, ROWS)).k(K).run().unwrap();
        println!("figure search_{number} = {:.0} ms", begun.elapsed().as_secs_f64() * 1e3);
        let way = &hits.plan.segments[0];
        println!("figure search_{number}_way = {}", if way.way == Way::Sq8 { &way.why } else { "rows" });
    }
    let mut group = criterion.benchmark_group("matrices");
    group.sample_size(20);
    for rows in [ROWS, 12] {
        let queries: Vec<Matrix> = (0..20).map(|number| matrix(3_000 + number, rows)).collect();
        for query in &queries {
            assert_eq!(by_planes(query, &collection), by_rows(query, &records));
        }
        let mut turn = queries.iter().cycle();
        group.bench_function(BenchmarkId::new("rows", rows), |bencher| {
            bencher.iter(|| by_rows(turn.next().unwrap(), &records));
        });
        group.bench_function(BenchmarkId::new("planes", rows), |bencher| {
            bencher.iter(|| by_planes(turn.next().unwrap(), &collection));
        });
    }
    group.finish();
}

criterion_group!(benches, matrices);
criterion_main!(benches);
