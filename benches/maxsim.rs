//! MaxSim of one query against one record, on one thread: `cargo bench -p otolith --bench maxsim`.
//!
//! Throughput counts the inner products alone (2 operations a multiplication and addition), so `Gelem/s` reads as
//! GFLOP/s. `drop`: the record is below the threshold, the common case of a search. `exact`: it is scored to the last
//! bit as well. `gemm`: the inner products alone, without norms and maxima, by the `gemm` crate: what `kernel::tile`
//! has to beat.
#![allow(clippy::unwrap_used, missing_docs)]

mod frames;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use frames::frames;
use otolith::Metric;
use otolith::testing::kernel::{Strided, product};
use otolith::testing::score::{Outcome, PreparedQuery, Scratch, reference};
use std::hint::black_box;

fn maxsim(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("maxsim");
    for (rows, dim) in [(249, 64), (125, 96), (249, 512)] {
        let (query, record) = (frames(1, rows, dim), frames(2, rows, dim));
        let mut scratch = Scratch::default();
        let size = format!("{rows}x{rows}x{dim}");
        group.throughput(Throughput::Elements((2 * rows * rows * dim) as u64));
        let mut out = vec![0.0; rows * rows];
        group.bench_function(BenchmarkId::new("gemm", &size), |bencher| {
            bencher.iter(|| {
                let left = Strided::new(black_box(record.values()), rows, dim);
                product(&mut out, left, Strided::new(query.values(), rows, dim).transposed(), false);
                black_box(&mut out);
            });
        });
        let prepared = PreparedQuery::new(Metric::Cosine, query.view()).unwrap();
        let score = reference(Metric::Cosine, query.view(), record.view()).unwrap();
        for (name, threshold) in [("drop", f64::INFINITY), ("exact", f64::NEG_INFINITY)] {
            match prepared.score(record.view(), threshold, &mut scratch) {
                Outcome::Below { upper } => assert!(name == "drop" && score <= upper),
                Outcome::Exact { score: found } => assert!(name == "exact" && score == found),
            }
            group.bench_function(BenchmarkId::new(name, &size), |bencher| {
                bencher.iter(|| prepared.score(black_box(record.view()), threshold, &mut scratch));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, maxsim);
criterion_main!(benches);
