//! The records that a pipeline is fitted on, and how they are streamed through the steps that are fitted already.

use super::Pipeline;
use super::kmeans::choose;
use crate::error::{Error, Result};
use crate::matrix::{Matrix, StoredMatrix};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::borrow::Cow;

/// The records that a [`Pipeline`](super::Pipeline) is fitted on. They may be read several times and from several
/// threads, and must be the same every time. `Vec<Matrix>` is one; implement it to read records from elsewhere, or to
/// give labels.
///
/// # Examples
///
/// ```
/// use otolith::pipeline::{Pipeline, Source, Step};
/// use otolith::{Matrix, Result, StoredMatrix};
/// use std::borrow::Cow;
///
/// /// Points of a plane, each with a class.
/// struct Points(Vec<([f32; 2], &'static str)>);
///
/// impl Source for Points {
///     fn len(&self) -> usize {
///         self.0.len()
///     }
///
///     fn matrix(&self, index: usize) -> Result<StoredMatrix<'_>> {
///         StoredMatrix::new(1, 2, Cow::Borrowed(&self.0[index].0))
///     }
///
///     fn label(&self, index: usize, _field: &str) -> Result<Option<String>> {
///         Ok(Some(self.0[index].1.to_owned()))
///     }
/// }
///
/// let points = Points(vec![([0.0, 1.0], "up"), ([0.1, 0.9], "up"), ([1.0, 0.1], "right"), ([0.9, 0.0], "right")]);
/// let told_apart = Pipeline::fit(&["contrast:class,2".parse::<Step>()?], 2, &points)?;
/// assert_eq!(told_apart.dim(), 2);
/// # Ok::<(), otolith::Error>(())
/// ```
pub trait Source: Sync {
    /// Returns the number of records.
    fn len(&self) -> usize;

    /// Returns the raw rows of the record at `index`, counted from 0.
    ///
    /// # Errors
    /// Whatever kept the record from being read; fitting then ends with it.
    fn matrix(&self, index: usize) -> Result<StoredMatrix<'_>>;

    /// Returns how many raw rows the record has. The default reads them; a store knows the number without reading.
    ///
    /// # Errors
    /// As [`Source::matrix`].
    fn rows(&self, index: usize) -> Result<usize> {
        Ok(self.matrix(index)?.view().rows())
    }

    /// Returns the class that the given field of a record names, for steps that learn from labels, or `None` where
    /// the record has no such field. The default has no labels.
    ///
    /// # Errors
    /// As [`Source::matrix`].
    fn label(&self, _index: usize, _field: &str) -> Result<Option<String>> {
        Ok(None)
    }

    /// Returns whether there are no records.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Source for Vec<Matrix> {
    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn matrix(&self, index: usize) -> Result<StoredMatrix<'_>> {
        let matrix = &self[index];
        StoredMatrix::new(matrix.rows(), matrix.dim(), Cow::Borrowed(matrix.values()))
    }
}

/// Values in a batch of derived rows: 16 MB, enough to keep all threads busy.
const BATCH: usize = 4 << 20;

/// The training records, with what is known of them before any is read.
pub(super) struct Training<'a> {
    source: &'a dyn Source,
    /// Raw rows of each record.
    raw_rows: Vec<usize>,
}

impl<'a> Training<'a> {
    pub(super) fn new(source: &'a dyn Source) -> Result<Training<'a>> {
        let raw_rows = (0..source.len()).into_par_iter().map(|index| source.rows(index)).collect::<Result<_>>()?;
        Ok(Training { source, raw_rows })
    }

    /// Returns how many rows of each record come out of `steps`.
    pub(super) fn rows(&self, steps: &Pipeline) -> impl Iterator<Item = usize> {
        self.raw_rows.iter().map(|rows| steps.rows(*rows))
    }

    /// Returns the label of each record, where it has one.
    pub(super) fn labels(&self, field: &str) -> Result<Vec<Option<String>>> {
        (0..self.raw_rows.len()).into_par_iter().map(|index| self.source.label(index, field)).collect()
    }

    /// Visits all derived rows in batches of records, in order, without records that have no rows or that `wanted`
    /// refuses.
    ///
    /// Where a batch ends depends on shapes alone, so sums taken batch by batch do not depend on the number of threads.
    pub(super) fn for_each_batch(
        &self,
        steps: &Pipeline,
        wanted: impl Fn(usize) -> bool,
        mut visit: impl FnMut(Vec<(usize, Matrix)>) -> Result<()>,
    ) -> Result<()> {
        let (mut batch, mut size) = (Vec::new(), 0);
        for (index, rows) in self.rows(steps).enumerate().filter(|(index, rows)| *rows > 0 && wanted(*index)) {
            batch.push(index);
            size += rows.saturating_mul(steps.dim());
            if size >= BATCH {
                visit(self.derive(steps, &batch)?)?;
                (batch, size) = (Vec::new(), 0);
            }
        }
        if batch.is_empty() { Ok(()) } else { visit(self.derive(steps, &batch)?) }
    }

    /// Draws `count` derived rows of the records that are `wanted`, without repetition, and returns them in their
    /// order, each with the number of its record; all of them if there are no more.
    pub(super) fn sample(
        &self,
        steps: &Pipeline,
        wanted: impl Fn(usize) -> bool,
        count: usize,
        draws: &mut ChaCha8Rng,
    ) -> Result<(Vec<usize>, Vec<f32>)> {
        // Row numbers drawn from each record.
        let mut starts = Vec::new();
        let total = self.rows(steps).enumerate().fold(0, |start, (record, rows)| {
            starts.push(start);
            start + if wanted(record) { rows } else { 0 }
        });
        let mut drawn = vec![Vec::new(); starts.len()];
        let mut record = 0;
        for row in choose(total, count, draws) {
            while starts.get(record + 1).is_some_and(|next| *next <= row) {
                record += 1;
            }
            drawn[record].push(row - starts[record]);
        }
        let mut records = Vec::with_capacity(count.min(total));
        let mut rows = Vec::with_capacity(count.min(total) * steps.dim());
        self.for_each_batch(
            steps,
            |record| !drawn[record].is_empty(),
            |batch| {
                for (record, matrix) in &batch {
                    records.extend(std::iter::repeat_n(*record, drawn[*record].len()));
                    drawn[*record].iter().for_each(|row| rows.extend_from_slice(matrix.view().row(*row)));
                }
                Ok(())
            },
        )?;
        Ok((records, rows))
    }

    fn derive(&self, steps: &Pipeline, batch: &[usize]) -> Result<Vec<(usize, Matrix)>> {
        batch
            .par_iter()
            .map(|index| {
                let raw = self.source.matrix(*index)?;
                let (expected, found) = (self.raw_rows[*index], raw.view().rows());
                if found != expected {
                    return Err(Error::mismatch(format!("rows of training record {index}"), expected, found));
                }
                Ok((*index, steps.apply(raw.view())?))
            })
            .collect()
    }
}
