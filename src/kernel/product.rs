//! Matrix products over strided views, by the kernels of the `gemm` crate.
//!
//! A [`Strided`] names `rows x cols` values anywhere in a slice by two strides. Rows may overlap, so a convolution over
//! channels-last samples is one product without a copy: row `t` starts at `t * stride * channels`.
#![allow(unsafe_code)]

/// A read-only matrix inside a slice: element `(r, c)` is `values[r * row_stride + c * col_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct Strided<'a, T = f32> {
    /// Where the elements lie.
    pub values: &'a [T],
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Distance from a row to the next, in elements.
    pub row_stride: usize,
    /// Distance from a column to the next, in elements.
    pub col_stride: usize,
}

impl<'a, T> Strided<'a, T> {
    /// A row-major matrix that fills the slice.
    pub fn new(values: &'a [T], rows: usize, cols: usize) -> Strided<'a, T> {
        Strided { values, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// The same elements with rows and columns exchanged.
    pub fn transposed(self) -> Strided<'a, T> {
        Strided {
            values: self.values,
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
        }
    }

    /// The same with the stride of a single row or column 1: it says nothing, and may be any number.
    fn plain(self) -> Strided<'a, T> {
        let row_stride = if self.rows > 1 { self.row_stride } else { 1 };
        let col_stride = if self.cols > 1 { self.col_stride } else { 1 };
        Strided { row_stride, col_stride, ..self }
    }

    /// Whether every element lies inside the slice.
    fn fits(&self) -> bool {
        if self.rows == 0 || self.cols == 0 {
            return true;
        }
        let last = (self.rows - 1)
            .checked_mul(self.row_stride)
            .zip((self.cols - 1).checked_mul(self.col_stride))
            .and_then(|(row, col)| row.checked_add(col));
        last.is_some_and(|last| last < self.values.len() && isize::try_from(last).is_ok())
    }
}

macro_rules! define_product {
    ($name:ident, $t:ident, $kernel:ident) => {
        /// `out = left * right`, or `out += left * right` with `accumulate`; `out` is row-major `left.rows x
        /// right.cols`. One thread: callers share work out by rows or by items.
        ///
        /// # Panics
        /// When the shapes do not fit each other or their slices.
        pub fn $name(out: &mut [$t], left: Strided<'_, $t>, right: Strided<'_, $t>, accumulate: bool) {
            let (m, n, k) = (left.rows, right.cols, left.cols);
            assert_eq!(k, right.rows, "inner dimensions differ");
            assert_eq!(m.checked_mul(n), Some(out.len()), "the result has another size");
            assert!(left.fits() && right.fits(), "an operand reaches outside its slice");
            if m == 0 || n == 0 {
                return;
            }
            if k == 0 {
                if !accumulate {
                    out.fill(0.0);
                }
                return;
            }
            let (left, right) = (left.plain(), right.plain());
            // The kernels are fastest where columns of the result lie together, so they get it transposed: with its
            // operands in the other order, and rows for columns. A result of one column is both.
            let (m, n, column, first, second) = match n {
                1 => (m, n, 1, left, right),
                _ => (n, m, n, right.transposed(), left.transposed()),
            };
            // SAFETY: `out` holds m x n elements with strides (1, `column`); `fits` has checked that the largest index
            // of either operand is inside its slice, and its strides are at most that index or 1, and so below
            // `isize::MAX`.
            unsafe {
                $kernel::gemm::$t::get_gemm_fn()(
                    m,
                    n,
                    k,
                    out.as_mut_ptr(),
                    column as isize,
                    1,
                    accumulate,
                    first.values.as_ptr(),
                    first.col_stride as isize,
                    first.row_stride as isize,
                    second.values.as_ptr(),
                    second.col_stride as isize,
                    second.row_stride as isize,
                    1.0,
                    1.0,
                    false,
                    false,
                    false,
                    gemm_common::Parallelism::None,
                );
            }
        }
    };
}

define_product!(product, f32, gemm_f32);
#[cfg(any(feature = "testing", feature = "fit", feature = "audio"))]
define_product!(product_f64, f64, gemm_f64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_rows_make_a_convolution() {
        let samples: Vec<f32> = (0..7).map(|x| x as f32).collect();
        let left = Strided { values: &samples, rows: 3, cols: 3, row_stride: 2, col_stride: 1 };
        let mut out = [10.0; 3];
        product(&mut out, left, Strided::new(&[1.0, 2.0, 3.0], 3, 1), true);
        assert_eq!(out, [18.0, 30.0, 42.0]);
    }

    #[test]
    fn transposed_operands_give_the_textbook_product() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 0.0, 2.0, 0.0, 1.0, 3.0]);
        let mut out = [0.0; 4];
        product_f64(&mut out, Strided::new(&a, 2, 3), Strided::new(&b, 2, 3).transposed(), false);
        assert_eq!(out, [7.0, 11.0, 16.0, 23.0]);
    }

    #[test]
    fn the_stride_of_a_single_row_or_column_says_nothing() {
        for stride in [0, 1, 7, usize::MAX, isize::MAX as usize] {
            let row = Strided { values: &[1.0f32, 2.0, 3.0], rows: 1, cols: 3, row_stride: stride, col_stride: 1 };
            let column = Strided { values: &[4.0f32, 5.0, 6.0], rows: 3, cols: 1, row_stride: 1, col_stride: stride };
            let mut out = [0.0];
            product(&mut out, row, column, false);
            assert_eq!(out, [32.0], "{stride}");
        }
    }

    #[test]
    #[should_panic(expected = "outside")]
    fn an_operand_outside_its_slice_is_refused() {
        let left = Strided { values: &[0.0f32; 6], rows: 3, cols: 3, row_stride: 2, col_stride: 1 };
        product(&mut [0.0; 3], left, Strided::new(&[0.0; 3], 3, 1), false);
    }
}
