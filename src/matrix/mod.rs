//! Rows of numbers: what a record is made of.
//!
//! A [`Matrix`] owns `rows x dim` values, row after row; a [`MatrixView`] borrows them. Both are checked once when they
//! are made: the length fits the shape and every value is finite, so that no kernel or index has to ask again. A matrix
//! of one row is a plain vector; a matrix of no rows is legal and never a hit. [`Precision`] says how values are stored.

mod precision;

pub use precision::Precision;

use crate::error::{Error, Result};
use crate::limits;
use std::borrow::Cow;

/// An owned matrix of `rows x dim` finite values, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    rows: usize,
    dim: usize,
    values: Vec<f32>,
}

impl Matrix {
    /// Takes `rows * dim` values, row after row.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when the length does not fit the shape, [`Error::Invalid`] when a value is not finite or
    /// the dimension is 0 or above [`limits::DIM`].
    pub fn from_rows(rows: usize, dim: usize, values: Vec<f32>) -> Result<Matrix> {
        MatrixView::new(rows, dim, &values)?;
        Ok(Matrix { rows, dim, values })
    }

    /// A matrix of one row.
    ///
    /// # Errors
    /// As [`Matrix::from_rows`].
    pub fn from_vector(values: Vec<f32>) -> Result<Matrix> {
        Matrix::from_rows(1, values.len(), values)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers in a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// All values, row after row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The values, given away.
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }

    /// Borrows the whole matrix.
    pub fn view(&self) -> MatrixView<'_> {
        MatrixView { rows: self.rows, dim: self.dim, values: &self.values }
    }
}

/// A borrowed matrix of `rows x dim` finite values, row-major.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MatrixView<'a> {
    rows: usize,
    dim: usize,
    values: &'a [f32],
}

impl<'a> MatrixView<'a> {
    /// Checks and borrows `rows * dim` values, row after row.
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

    /// For values that were checked before, as a store's are after the first look at them.
    pub(crate) fn trusted(rows: usize, dim: usize, values: &'a [f32]) -> MatrixView<'a> {
        debug_assert!(MatrixView::new(rows, dim, values).is_ok());
        MatrixView { rows, dim, values }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers in a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// All values, row after row.
    pub fn values(&self) -> &'a [f32] {
        self.values
    }

    /// Row `index`.
    ///
    /// # Panics
    /// When `index >= rows`.
    pub fn row(&self, index: usize) -> &'a [f32] {
        &self.values[index * self.dim..][..self.dim]
    }

    /// The rows in order.
    pub fn iter(&self) -> std::slice::ChunksExact<'a, f32> {
        self.values.chunks_exact(self.dim)
    }

    /// An owned copy.
    pub fn to_matrix(&self) -> Matrix {
        Matrix { rows: self.rows, dim: self.dim, values: self.values.to_vec() }
    }
}

impl<'a> From<&'a Matrix> for MatrixView<'a> {
    fn from(matrix: &'a Matrix) -> MatrixView<'a> {
        matrix.view()
    }
}

/// A matrix as a store hands it out: borrowed from a mapping where the bytes are plain `f32`, else widened.
#[derive(Clone, Debug)]
pub struct StoredMatrix<'a> {
    rows: usize,
    dim: usize,
    values: Cow<'a, [f32]>,
}

impl<'a> StoredMatrix<'a> {
    /// Checks the shape and that every value is finite, as [`MatrixView::new`] does.
    ///
    /// # Errors
    /// As [`Matrix::from_rows`].
    pub fn new(rows: usize, dim: usize, values: Cow<'a, [f32]>) -> Result<StoredMatrix<'a>> {
        MatrixView::new(rows, dim, &values)?;
        Ok(StoredMatrix { rows, dim, values })
    }

    /// For values that were checked before, as a store's are after the first look at them.
    pub(crate) fn trusted(rows: usize, dim: usize, values: Cow<'a, [f32]>) -> StoredMatrix<'a> {
        debug_assert!(MatrixView::new(rows, dim, &values).is_ok());
        StoredMatrix { rows, dim, values }
    }

    /// Borrows the whole matrix.
    pub fn view(&self) -> MatrixView<'_> {
        MatrixView { rows: self.rows, dim: self.dim, values: &self.values }
    }

    /// An owned matrix.
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
