//! Fast inner products of a block of record rows with a block of query rows.

use super::dot::{CHUNK, dot};
use super::product::{Strided, product};
use crate::matrix::MatrixView;
use std::ops::Range;

/// `out[j * queries.len() + i]` = inner product of record row `rows.start + j` and query row `queries.start + i`.
///
/// Query rows lie side by side, so that a running maximum over record rows is one vector operation for many query rows.
///
/// # Panics
/// When the dimensions differ, a range reaches outside its matrix or `out` has another size than the ranges ask for.
pub fn tile(out: &mut [f32], query: MatrixView<'_>, queries: Range<usize>, record: MatrixView<'_>, rows: Range<usize>) {
    let dim = query.dim();
    assert_eq!(dim, record.dim(), "rows of different lengths");
    assert_eq!(out.len(), queries.len() * rows.len(), "the tile has another size");
    match out {
        [] => return,
        [one] => {
            *one = dot(query.row(queries.start), record.row(rows.start)) as f32;
            return;
        }
        _ => {}
    }
    for start in (0..dim).step_by(CHUNK) {
        let cols = CHUNK.min(dim - start);
        let left = chunk(record, &rows, start, cols);
        let right = chunk(query, &queries, start, cols).transposed();
        product(out, left, right, start > 0);
    }
}

/// Columns `start..start + cols` of some rows.
fn chunk<'a>(matrix: MatrixView<'a>, rows: &Range<usize>, start: usize, cols: usize) -> Strided<'a> {
    let dim = matrix.dim();
    let values = &matrix.values()[rows.start * dim + start..rows.end * dim];
    Strided { values, rows: rows.len(), cols, row_stride: dim, col_stride: 1 }
}
