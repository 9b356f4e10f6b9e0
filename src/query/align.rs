//! Where the query as a whole lies in a record: the one shift at which its rows, in order, are most like the record's.
//!
//! MaxSim matches every query row by itself, which is what makes it find records; but a silent row matches any silence,
//! and a steady tone any of its moments. Where all rows must match at one shift, the distinct ones decide for the
//! others.

use crate::index::sq8::power_of_two;
use crate::kernel::{Strided, product};
use crate::matrix::MatrixView;
use crate::score::Metric;
use std::ops::Range;

/// Record rows compared at once: 512 of them and a query of 249 rows are half a megabyte of similarities.
const BLOCK: usize = 512;

/// The stretch of a record that the query fits best when its rows stay in order, one record row to a query row. It is
/// the whole record where that is shorter than the query.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Alignment {
    /// The raw rows of the record, counted from 0.
    pub record_rows: Range<usize>,
    /// The same in seconds, where [`Schema::rows_per_second`](crate::Schema::rows_per_second) is set.
    pub record_seconds: Option<Range<f64>>,
    /// Mean similarity of the paired rows, computed in `f32`.
    pub similarity: f64,
}

/// Finds the shift (record row minus query row) with the largest mean similarity, and returns both; of equally good
/// shifts the smallest. The shorter of query and record lies wholly within the longer. `None` when either has no
/// rows.
///
/// Cost: as MaxSim of the pair in `f32`.
pub(super) fn best_shift(metric: Metric, query: MatrixView<'_>, record: MatrixView<'_>) -> Option<(isize, f64)> {
    let (n, m, dim) = (query.rows(), record.rows(), query.dim());
    if n == 0 || m == 0 {
        return None;
    }
    // The sums begin at shift `first`; the diagonal of shift s holds the pairs (i, i + s).
    let first = (m as isize - n as isize).min(0);
    let mut sums = vec![0.0f64; m.abs_diff(n) + 1];
    let query_rows = prepared(metric, query.values(), dim);
    let mut similarities = Vec::new();
    for (block, rows) in record.values().chunks(BLOCK * dim).enumerate() {
        let (start, count) = (block * BLOCK, rows.len() / dim);
        let rows = prepared(metric, rows, dim);
        similarities.resize(n * count, 0.0);
        let right = Strided::new(&rows.values, count, dim).transposed();
        product(&mut similarities, Strided::new(&query_rows.values, n, dim), right, false);
        for (i, line) in similarities.chunks_exact(count).enumerate() {
            // Column j of this line has shift start + j - i; add those columns whose shift has a sum.
            let shift = |j: usize| (start + j) as isize - i as isize - first;
            let from = (-shift(0)).max(0) as usize;
            let until = (sums.len() as isize - shift(0)).clamp(0, count as isize) as usize;
            for j in from..until {
                let product = f64::from(line[j]) * query_rows.unit * rows.unit;
                let similarity = match metric {
                    Metric::Dot | Metric::Cosine => product,
                    Metric::L2 => 2.0 * product - query_rows.squares[i] - rows.squares[j],
                };
                sums[shift(j) as usize] += similarity;
            }
        }
    }
    let best = (0..sums.len()).reduce(|best, other| if sums[other] > sums[best] { other } else { best })?;
    Some((first + best as isize, sums[best] / n.min(m) as f64))
}

/// Rows scaled so that the similarity follows from their inner products.
struct Prepared {
    values: Vec<f32>,
    squares: Vec<f64>,
    /// The values were divided by this number, which leaves the largest near 1: so no product overflows or vanishes in
    /// `f32`.
    unit: f64,
}

fn prepared(metric: Metric, values: &[f32], dim: usize) -> Prepared {
    let mut values = values.to_vec();
    let square = |row: &[f32]| row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>();
    let squares: Vec<f64> = values.chunks_exact(dim).map(square).collect();
    if metric == Metric::Cosine {
        for (row, square) in values.chunks_exact_mut(dim).zip(&squares) {
            let scale = if *square > 0.0 { square.sqrt().recip() } else { 0.0 };
            row.iter_mut().for_each(|x| *x = (f64::from(*x) * scale) as f32);
        }
    }
    let largest = values.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    let unit = if largest > 0.0 { power_of_two(f64::from(largest)) } else { 1.0 };
    values.iter_mut().for_each(|x| *x = (f64::from(*x) / unit) as f32);
    Prepared { values, squares, unit }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Matrix;

    fn matrix(seed: u32, rows: usize) -> Matrix {
        let mut state = seed;
        let values = (0..rows * 3).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        });
        Matrix::from_rows(rows, 3, values.collect()).unwrap()
    }

    #[test]
    fn rows_of_any_size_have_a_place() {
        for metric in [Metric::Dot, Metric::Cosine, Metric::L2] {
            for (of_query, of_record) in [(1e30, 1e30), (1e-30, 1e-30), (1e25, 1e-20), (3e38, 3e38), (1e-44, 1e-44)] {
                let sized = |matrix: Matrix, size: f32| {
                    let values = matrix.values().iter().map(|value| value * size).collect();
                    Matrix::from_rows(matrix.rows(), 3, values).unwrap()
                };
                let (query, record) = (sized(matrix(1, 4), of_query), sized(matrix(9, 30), of_record));
                let (shift, mean) = best_shift(metric, query.view(), record.view()).unwrap();
                let expected = naive(metric, &query, &record);
                let near = (mean - expected.1).abs() <= 1e-5 * expected.1.abs();
                assert!(shift == expected.0 && near, "{metric:?} {of_query} {of_record}: {mean} for {expected:?}");
            }
        }
    }

    fn naive(metric: Metric, query: &Matrix, record: &Matrix) -> (isize, f64) {
        let (n, m) = (query.rows() as isize, record.rows() as isize);
        let pair = |i: isize, j: isize| {
            let row = |matrix: &Matrix, at: isize| matrix.view().row(at as usize).to_vec();
            let one = |q: Vec<f32>, d: Vec<f32>| {
                let q = Matrix::from_vector(q).unwrap();
                let d = Matrix::from_vector(d).unwrap();
                crate::score::reference(metric, q.view(), d.view()).unwrap()
            };
            one(row(query, i), row(record, j))
        };
        let mean = |shift: isize| {
            let rows = (0..n).filter(|i| (0..m).contains(&(i + shift)));
            rows.map(|i| pair(i, i + shift)).sum::<f64>() / n.min(m) as f64
        };
        let shifts = (m - n).min(0)..=(m - n).max(0);
        shifts.map(|shift| (shift, mean(shift))).reduce(|a, b| if b.1 > a.1 { b } else { a }).unwrap()
    }

    #[test]
    fn the_best_shift_is_that_of_trying_all() {
        for metric in [Metric::Dot, Metric::Cosine, Metric::L2] {
            for (seed, n, m) in
                [(1, 1, 1), (2, 4, 9), (3, 9, 4), (4, 5, 5), (5, 30, 1_100), (6, 700, 20), (7, 513, 1_025)]
            {
                let (query, record) = (matrix(seed, n), matrix(seed + 100, m));
                let (shift, mean) = best_shift(metric, query.view(), record.view()).unwrap();
                let expected = naive(metric, &query, &record);
                assert_eq!(shift, expected.0, "{metric:?} {n} {m}");
                assert!((mean - expected.1).abs() < 1e-5 * (1.0 + expected.1.abs()), "{metric:?} {n} {m}");
            }
        }
        assert_eq!(best_shift(Metric::Dot, matrix(1, 0).view(), matrix(1, 2).view()), None);
    }
}
