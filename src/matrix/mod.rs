//! Rows of numbers: what a record is made of.
//!
//! A [`Matrix`] owns `rows x dim` values, row after row; a [`MatrixView`] borrows them. Both are checked once, when
//! they are made: the length fits the shape and every value is finite, so that no kernel or index has to check again. A
//! matrix of one row is a plain vector; a matrix of no rows is legal and never a hit. [`Precision`] says how values are
//! stored.

mod precision;

pub use precision::Precision;

use crate::error::{Error, Result};
use crate::limits;
use std::borrow::Cow;

/// A matrix that owns its values: `rows x dim` finite `f32` numbers, row after row.
///
/// A matrix of one row is a plain vector. A matrix of no rows is legal; a record with one is stored but never a hit.
///
/// # Examples
///
/// ```
/// use otolith::Matrix;
///
/// let matrix = Matrix::from_rows(2, 3, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
/// assert_eq!((matrix.rows(), matrix.dim()), (2, 3));
/// assert_eq!(matrix.view().row(1), [4.0, 5.0, 6.0]);
///
/// assert!(Matrix::from_rows(2, 3, vec![0.0; 5]).is_err()); // a value is missing
/// assert!(Matrix::from_vector(vec![f32::NAN]).is_err());
/// # Ok::<(), otolith::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    rows: usize,
    dim: usize,
    values: Vec<f32>,
}

impl Matrix {
    /// Makes a matrix of `rows * dim` values, given row after row.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when the number of values does not fit the shape, [`Error::Invalid`] when a value is not
    /// finite or the dimension is 0 or above [`limits::DIM`].
    pub fn from_rows(rows: usize, dim: usize, values: Vec<f32>) -> Result<Matrix> {
        MatrixView::new(rows, dim, &values)?;
        Ok(Matrix { rows, dim, values })
    }

    /// Makes a matrix of one row.
    ///
    /// # Errors
    /// As [`Matrix::from_rows`].
    pub fn from_vector(values: Vec<f32>) -> Result<Matrix> {
        Matrix::from_rows(1, values.len(), values)
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the dimension: how many numbers a row has.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Returns all values, row after row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Returns all values, row after row, without copying them.
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }

    /// Borrows the whole matrix.
    pub fn view(&self) -> MatrixView<'_> {
        MatrixView { rows: self.rows, dim: self.dim, values: &self.values }
    }
}

/// A matrix that borrows its values: `rows x dim` finite `f32` numbers, row after row. Queries are given as one; a
/// `&Matrix` converts into one.
///
/// # Examples
///
/// ```
/// use otolith::MatrixView;
///
/// let frames = [0.5_f32; 12]; // say, from another library
/// let view = MatrixView::new(4, 3, &frames)?;
/// let sums: Vec<f32> = view.iter().map(|row| row.iter().sum()).collect();
/// assert_eq!(sums, [1.5; 4]);
/// # Ok::<(), otolith::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MatrixView<'a> {
    rows: usize,
    dim: usize,
    values: &'a [f32],
}

impl<'a> MatrixView<'a> {
    /// Checks and borrows `rows * dim` values, given row after row. Copies nothing.
    ///
    /// # Errors
    /// As [`Matrix::from_rows`].
    pub fn new(rows: usize, dim: usize, values: &'a [f32]) -> Result<MatrixView<'a>> {
        if dim == 0 || dim > limits::DIM {
            return Err(Error::invalid("dimension", format!("{dim} is not between 1 and {}", limits::DIM)));
        }
        if rows.checked_mul(dim) != Some(values.len()) {
            return Err(Error::mismatch(
                "matrix",
                format!("{rows} x {dim} values"),
                format!("{} values", values.len()),
            ));
        }
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(Error::invalid(
                "matrix",
                format!("row {}, column {} is {}: every value must be finite", at / dim, at % dim, values[at]),
            )),
            None => Ok(MatrixView { rows, dim, values }),
        }
    }

    /// Makes a view without checking: for values that were checked before, as those of a store are when they are first
    /// read.
    pub(crate) fn trusted(rows: usize, dim: usize, values: &'a [f32]) -> MatrixView<'a> {
        debug_assert!(MatrixView::new(rows, dim, values).is_ok());
        MatrixView { rows, dim, values }
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the dimension: how many numbers a row has.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Returns all values, row after row.
    pub fn values(&self) -> &'a [f32] {
        self.values
    }

    /// Returns the row with this index, counted from 0.
    ///
    /// # Panics
    /// When `index >= rows`.
    pub fn row(&self, index: usize) -> &'a [f32] {
        &self.values[index * self.dim..][..self.dim]
    }

    /// Iterates over the rows in order.
    pub fn iter(&self) -> std::slice::ChunksExact<'a, f32> {
        self.values.chunks_exact(self.dim)
    }

    /// Copies the values into a matrix that owns them.
    pub fn to_matrix(&self) -> Matrix {
        Matrix { rows: self.rows, dim: self.dim, values: self.values.to_vec() }
    }
}

impl<'a> From<&'a Matrix> for MatrixView<'a> {
    fn from(matrix: &'a Matrix) -> MatrixView<'a> {
        matrix.view()
    }
}

/// A matrix as a database hands it out: borrowed from the file where the values are stored as `f32`, otherwise
/// widened into memory of its own. Returned by [`Entry::matrix`](crate::Entry::matrix), and by a
/// [`Source`](crate::pipeline::Source) of training rows.
#[derive(Clone, Debug)]
pub struct StoredMatrix<'a> {
    rows: usize,
    dim: usize,
    values: Cow<'a, [f32]>,
}

impl<'a> StoredMatrix<'a> {
    /// Makes one of `rows * dim` values, borrowed or owned, and checks them as [`MatrixView::new`] does.
    ///
    /// # Errors
    /// As [`Matrix::from_rows`].
    pub fn new(rows: usize, dim: usize, values: Cow<'a, [f32]>) -> Result<StoredMatrix<'a>> {
        MatrixView::new(rows, dim, &values)?;
        Ok(StoredMatrix { rows, dim, values })
    }

    /// Makes one without checking: for values that were checked before, as those of a store are when they are first
    /// read.
    pub(crate) fn trusted(rows: usize, dim: usize, values: Cow<'a, [f32]>) -> StoredMatrix<'a> {
        debug_assert!(MatrixView::new(rows, dim, &values).is_ok());
        StoredMatrix { rows, dim, values }
    }

    /// Borrows the whole matrix.
    pub fn view(&self) -> MatrixView<'_> {
        MatrixView { rows: self.rows, dim: self.dim, values: &self.values }
    }

    /// Returns a matrix that owns the values, copied unless they were owned already.
    pub fn into_matrix(self) -> Matrix {
        Matrix { rows: self.rows, dim: self.dim, values: self.values.into_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape_and_finiteness_are_checked_once() {
        assert!(Matrix::from_rows(2, 3, vec![0.0; 6]).is_ok());
        assert!(Matrix::from_rows(0, 3, vec![]).is_ok());
        assert!(matches!(Matrix::from_rows(2, 3, vec![0.0; 5]), Err(Error::Mismatch { .. })));
        assert!(matches!(Matrix::from_rows(1, 0, vec![]), Err(Error::Invalid { .. })));
        assert!(matches!(Matrix::from_rows(usize::MAX, 2, vec![0.0; 2]), Err(Error::Mismatch { .. })));
        let error = Matrix::from_rows(2, 2, vec![0.0, 1.0, f32::NAN, 0.0]).unwrap_err();
        assert!(error.to_string().contains("row 1, column 0"), "{error}");
    }
}
