//! Plain vectors of one segment in one view: what codes, graphs and lists are built from.

use super::sq8::{self, CodeEntry};
use crate::error::{Error, Result};
use crate::matrix::StoredMatrix;
use crate::score::Metric;
use crate::store::Counts;
use rayon::prelude::*;

/// The records of a segment that have exactly one row; they can be read any number of times.
pub(crate) struct Rows<'a> {
    matrix: Box<Read<'a>>,
    /// How many records the segment has, of any number of rows.
    all: u32,
    dim: usize,
    records: Vec<u32>,
}

/// A function that returns the rows of the record with this number.
pub(crate) type Read<'a> = dyn Fn(u32) -> Result<StoredMatrix<'a>> + Sync + 'a;

impl<'a> Rows<'a> {
    /// Takes a reader of records, and the numbers of those of the segment's `all` records that have exactly one row, of
    /// `dim` numbers.
    pub(crate) fn new(matrix: Box<Read<'a>>, all: u32, records: Vec<u32>, dim: usize) -> Rows<'a> {
        Rows { matrix, all, dim, records }
    }

    /// Returns the counts for the footer of a file that is built from these records.
    pub(crate) fn counts(&self) -> Counts {
        Counts { records: u64::from(self.all), rows: self.records.len() as u64, dim: self.dim as u64 }
    }

    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    /// Returns the numbers of the records that have one row.
    pub(crate) fn records(&self) -> &[u32] {
        &self.records
    }

    /// Returns the row of a record, as a matrix of one row.
    ///
    /// # Errors
    /// Those of reading it.
    pub(crate) fn matrix(&self, record: u32) -> Result<StoredMatrix<'a>> {
        let matrix = (self.matrix)(record)?;
        match (matrix.view().rows(), matrix.view().dim() == self.dim) {
            (1, true) => Ok(matrix),
            _ => Err(Error::mismatch("rows of an index", format!("1 of {} numbers", self.dim), matrix.view().rows())),
        }
    }

    /// Returns the codes of these records' rows, one after the other, and the entry of each.
    ///
    /// # Errors
    /// Those of reading rows.
    pub(crate) fn encode(&self, metric: Metric, records: &[u32]) -> Result<(Vec<u8>, Vec<CodeEntry>)> {
        let stride = sq8::stride(self.dim);
        let mut bytes = vec![0; records.len() * stride];
        let encode =
            |(codes, &record): (&mut [u8], &u32)| Ok(sq8::encode(metric, self.matrix(record)?.view().row(0), codes));
        let work = bytes.par_chunks_mut(stride).zip(records).with_min_len(16);
        let entries = work.map(encode).collect::<Result<_>>()?;
        Ok((bytes, entries))
    }
}
