//! Bounds beside the scores that they bound.

use super::query::Query;
use super::*;
use crate::score::reference;
use crate::store::in_memory;
use crate::{Matrix, MatrixView};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::borrow::Cow;
use std::cell::Cell;

#[test]
fn tiers_end_with_all_coordinates_of_short_rows() {
    assert_eq!(tiers(1), [1]);
    assert_eq!(tiers(96), [32, 56, 96]);
    assert_eq!(tiers(128), [32, 56, 128]);
    assert_eq!(tiers(256), [32, 56, 120, 184, 256]);
    assert_eq!(tiers(448), [32, 56, 120, 184, 248, 376, 448]);
    assert_eq!(tiers(512), [32, 56, 120, 184, 248, 376, 512]);
    assert_eq!(tiers(768), [32, 56, 120, 184, 248, 376, 504]);
    assert_eq!([1, 64, 96, 128, 448, 512, 768].map(bytes), [8, 68, 100, 132, 512, 576, 512]);
}

/// Planes of these matrices.
fn planes(matrices: &[Matrix], metric: Metric) -> Planes {
    let dim = matrices[0].dim();
    let matrix = |record: u32| {
        let matrix = &matrices[record as usize];
        Ok(StoredMatrix::trusted(matrix.rows(), dim, Cow::Borrowed(matrix.values())))
    };
    in_memory(matrices.len() as u32, &|out| Planes::build(matrices.len() as u32, dim, metric, &matrix, out)).unwrap()
}

/// How the numbers of a row come about.
#[derive(Clone, Copy, Debug)]
enum Values {
    Plain,
    /// Most of a row's length lies in a few directions.
    Decaying,
    /// All rows nearly alike, and some the same.
    Near,
    /// Of any length, and with numbers that stand out.
    Wild,
}

fn matrix(rows: usize, dim: usize, kind: Values, seed: u64) -> Matrix {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((z ^ (z >> 27)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let mut values = Vec::with_capacity(rows * dim);
    for row in 0..rows {
        if row > 0 && next() > 0.6 {
            values.extend_from_within((row - 1) * dim..);
            continue;
        }
        let scale = 2.0f32.powi((next() * 42.0) as i32);
        let zeros = next() > 0.9;
        values.extend((0..dim).map(|k| match kind {
            _ if zeros => 0.0,
            Values::Plain => next(),
            Values::Decaying => next() / (1 + k * k) as f32 + 0.3 * ((k * 7) as f32).sin(),
            Values::Near => ((k * 13) as f32).cos() + next() * 1e-6,
            Values::Wild => scale * if next() > 0.95 { 1e3 * next() } else { next() },
        }));
    }
    Matrix::from_rows(rows, dim, values).unwrap()
}

#[test]
fn bounds_are_bounds() {
    let pairs = Cell::new(0u64);
    let dims = prop_oneof![1usize..8, 8usize..80, Just(128usize), Just(300)];
    let kinds = prop_oneof![Just(Values::Plain), Just(Values::Decaying), Just(Values::Near), Just(Values::Wild)];
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(120) };
    let cases = (dims, kinds, 1usize..30, 1usize..40, any::<u64>());
    let result = TestRunner::new(config).run(&cases, |(dim, kind, rows, queries, seed)| {
        let records: Vec<Matrix> = (0..12).map(|n| matrix(rows + n as usize % 3, dim, kind, seed ^ n)).collect();
        for metric in [Metric::Dot, Metric::Cosine, Metric::L2] {
            let planes = planes(&records, metric);
            let entries = planes.records().unwrap();
            // Of another kind, and one of the records itself: the nearest there is.
            for query in [matrix(queries, dim, Values::Plain, !seed), records[3].clone()] {
                let norm = |row: &[f32]| row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
                let norms: Vec<f64> = query.view().iter().map(norm).collect();
                if norms.iter().any(|&norm| norm != 0.0 && !(1e-12..1e12).contains(&norm)) {
                    continue;
                }
                let own = Query::new(&planes, metric, query.view(), &norms).unwrap();
                let mut work = own.work();
                for (number, record) in (0..).zip(&records) {
                    let score = reference(metric, query.view(), record.view()).unwrap();
                    let of_row =
                        |row: &[f32]| reference(metric, MatrixView::new(1, dim, row).unwrap(), record.view()).unwrap();
                    let of_rows: Vec<f64> = query.view().iter().map(of_row).collect();
                    for tier in 0..planes.tiers.len() {
                        let upper = own.upper(&entries, number, tier, &mut work);
                        prop_assert!(score <= upper, "{metric:?} {kind:?} tier {tier}: {score} is above {upper}");
                        // A sum might hide a row whose bound is none.
                        for (&most, &best) in work.uppers.iter().zip(&of_rows).filter(|_| upper < f64::INFINITY) {
                            prop_assert!(best <= most, "{metric:?} {kind:?} tier {tier}: {best} is above {most}");
                        }
                        pairs.set(pairs.get() + (query.rows() * record.rows()) as u64);
                    }
                }
            }
        }
        Ok(())
    });
    println!("figure bounds_of_planes = {} pairs of rows", pairs.get());
    result.unwrap();
    assert!(pairs.get() > 1_000_000);
}

#[test]
fn bounds_are_near() {
    let records: Vec<Matrix> = (0..40).map(|n| matrix(40, 64, Values::Decaying, n)).collect();
    let planes = planes(&records, Metric::Cosine);
    let query = matrix(30, 64, Values::Decaying, 77);
    let norms: Vec<f64> = query.view().iter().map(|row| crate::kernel::ordered::dot(row, row).sqrt()).collect();
    let own = Query::new(&planes, Metric::Cosine, query.view(), &norms).unwrap();
    for (number, record) in (0..).zip(&records) {
        let score = reference(Metric::Cosine, query.view(), record.view()).unwrap();
        let upper = own.upper(&planes.records().unwrap(), number, planes.tiers.len() - 1, &mut own.work());
        assert!(upper - score < 0.03 * 30.0, "{upper} is far from {score}");
    }
}

#[test]
fn a_bound_is_lowered_part_by_part() {
    let records: Vec<Matrix> = (0..40).map(|n| matrix(9, 300, Values::Plain, n)).collect();
    let planes = planes(&records, Metric::Dot);
    let query = matrix(210, 300, Values::Plain, 77);
    let norms: Vec<f64> = query.view().iter().map(|row| crate::kernel::ordered::dot(row, row).sqrt()).collect();
    let (entries, last) = (planes.records().unwrap(), planes.tiers.len() - 1);
    // Parts are longer where records are many.
    for (count, parts) in [(40, 4), (3 << 20, 2), (usize::MAX >> 8, 1)] {
        let mut own = Query::new(&planes, Metric::Dot, query.view(), &norms).unwrap();
        own.divide(count);
        let mut work = own.work();
        assert_eq!(own.parts(), parts);
        for number in 0..40 {
            let fine = own.upper(&entries, number, last, &mut work);
            let coarse = own.upper(&entries, number, 0, &mut work);
            assert!(fine < coarse);
            let same = own.lower(&entries, number, last, f64::INFINITY, &mut work);
            assert!((same - coarse).abs() < 1e-9, "it was below the threshold");
            let half = own.lower(&entries, number, last, (fine + coarse) / 2.0, &mut work);
            assert!(half < (fine + coarse) / 2.0 && half >= fine - 1e-9);
            let whole = own.lower(&entries, number, last, f64::NEG_INFINITY, &mut work);
            assert!((whole - fine).abs() < 1e-9, "{whole} is not {fine}");
        }
    }
}
