//! MaxSim of one query against one record, on one thread: `cargo bench --no-default-features --bench maxsim`.
//!
//! Throughput counts the inner products alone (2 operations a multiplication and addition), so `Gelem/s` reads as
//! GFLOP/s. `drop`: the record is below the threshold, the common case of a search. `exact`: it is scored to the last
//! bit as well. `gemm`: the inner products alone, without norms and maxima, by the `gemm` crate: what `kernel::tile`
//! has to beat.
#![allow(clippy::unwrap_used, missing_docs)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use otolith::kernel::{Strided, product};
use otolith::score::{Outcome, PreparedQuery, Scratch, reference};
use otolith::{Matrix, Metric};
use std::hint::black_box;

/// Rows that wander, as frames of a sound do: each is near the one before.
fn frames(rows: usize, dim: usize, seed: u32) -> Matrix {
    let mut state = seed;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut row = vec![0.0f32; dim];
    let mut values = Vec::with_capacity(rows * dim);
    for _ in 0..rows {
        row.iter_mut().for_each(|value| *value = 0.9 * *value + noise());
        values.extend_from_slice(&row);
    }
    Matrix::from_rows(rows, dim, values).unwrap()
}

fn maxsim(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("maxsim");
    for (rows, dim) in [(249, 64), (125, 96), (249, 512)] {
        let (query, record) = (frames(rows, dim, 1), frames(rows, dim, 2));
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
