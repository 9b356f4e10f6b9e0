//! Candidates over records in memory, without a database: for tests and benches.

use super::Candidates;
use crate::error::{Error, Result};
use crate::matrix::{Matrix, MatrixView, StoredMatrix};
use crate::score::Metric;
use crate::store;
use roaring::RoaringBitmap;
use std::borrow::Cow;

impl Candidates {
    /// Builds candidates over records in memory, numbered from 0.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when their rows differ in dimension, [`Error::Invalid`] when there are more than can be
    /// numbered.
    pub fn in_memory(matrices: &[Matrix], metric: Metric) -> Result<Candidates> {
        let records = u32::try_from(matrices.len()).map_err(|_| Error::invalid("records", "more than 2^32"))?;
        let dim = matrices.first().map_or(1, Matrix::dim);
        let rows = |record: u32| {
            let matrix = &matrices[record as usize];
            Ok(StoredMatrix::trusted(matrix.rows(), matrix.dim(), Cow::Borrowed(matrix.values())))
        };
        store::in_memory(records, &|out| Candidates::build(&rows, records, dim, metric, &[], out))
    }

    /// Returns the numbers of the `count` records that are most likely to score best, most likely first, equally likely
    /// ones by number: of those in `allowed`, when given, less those in `deleted` and those without rows.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when the query's rows have another dimension than the records'.
    pub fn best(
        &self,
        query: MatrixView<'_>,
        count: usize,
        allowed: Option<&RoaringBitmap>,
        deleted: &RoaringBitmap,
    ) -> Result<Vec<u32>> {
        Ok(self.ask(query, allowed, deleted)?.first(count))
    }
}
