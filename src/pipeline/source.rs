//! Where training rows come from, and how they are streamed through the steps fitted so far.

use super::Pipeline;
use super::kmeans::choose;
use crate::error::{Error, Result};
use crate::matrix::{Matrix, StoredMatrix};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::borrow::Cow;

/// Records to fit a pipeline on. They may be read several times, in parallel, and must be the same every time.
pub trait Source: Sync {
    /// Number of records.
    fn len(&self) -> usize;

    /// The raw rows of a record.
    ///
    /// # Errors
    /// Whatever kept the record from being read.
    fn matrix(&self, index: usize) -> Result<StoredMatrix<'_>>;

    /// Number of raw rows of a record; a store knows it without reading them.
    ///
    /// # Errors
    /// As [`Source::matrix`].
    fn rows(&self, index: usize) -> Result<usize> {
        Ok(self.matrix(index)?.view().rows())
    }

    /// What a field of a record says it is, for steps that learn from labels; `None` where it does not say.
    ///
    /// # Errors
    /// As [`Source::matrix`].
    fn label(&self, _index: usize, _field: &str) -> Result<Option<String>> {
        Ok(None)
    }

    /// Whether there are no records.
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

/// Numbers of a batch of derived rows: 16 MB, large enough to keep all threads busy.
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

    /// Rows of each record as they come out of `steps`.
    pub(super) fn rows(&self, steps: &Pipeline) -> impl Iterator<Item = usize> {
        self.raw_rows.iter().map(|rows| steps.rows(*rows))
    }

    /// The label of each record, where it has one.
    pub(super) fn labels(&self, field: &str) -> Result<Vec<Option<String>>> {
        (0..self.raw_rows.len()).into_par_iter().map(|index| self.source.label(index, field)).collect()
    }

    /// All derived rows: batches of records, in order, those without rows left out. `wanted` chooses records.
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

    /// `count` derived rows of the records that are `wanted`, drawn without repetition, in their order, each with its record; all
    /// of them if there are no more.
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
