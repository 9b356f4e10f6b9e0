//! Rows of a view over one segment.

use super::{Artefact, Sections, SectionsWriter};
use crate::error::{Error, Result};
use crate::matrix::{Matrix, MatrixView};
use crate::store::format::container::Counts;
use crate::store::format::damage::Damage;
use crate::store::layout::{Kind, section};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;

/// Bytes of rows that are built before they are written, about.
const CHUNK_BYTES: usize = 16 << 20;
/// Most records built before their rows are written.
const CHUNK_RECORDS: usize = 8_192;

/// Gives record `n`'s rows in the view.
pub type Build<'a> = dyn Fn(u32) -> Result<Matrix> + Sync + 'a;

/// Rows of every record of a segment in one view, in order of the records.
#[derive(Debug)]
pub struct DerivedRows {
    dim: usize,
    /// First row of each record, and the end of the last.
    starts: Vec<usize>,
    sections: Sections,
    /// Records that have no rows here because they cannot be read.
    damaged: BTreeMap<u32, Damage>,
}

impl DerivedRows {
    /// Returns the dimension.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Returns which of all rows are those of record `n`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such record.
    pub fn range(&self, n: u32) -> Result<Range<usize>> {
        match self.starts.get(n as usize..).and_then(|starts| starts.get(..2)) {
            Some(bounds) => Ok(bounds[0]..bounds[1]),
            None => Err(Error::invalid("record number", format!("{n}: the segment has {}", self.starts.len() - 1))),
        }
    }

    /// Returns all rows of all records.
    ///
    /// # Errors
    /// None in practice: the bytes were checked when the file was opened.
    pub fn all(&self) -> Result<MatrixView<'_>> {
        let rows = self.starts.last().copied().unwrap_or(0);
        Ok(MatrixView::trusted(rows, self.dim, self.values()?))
    }

    /// Returns the rows of record `n`.
    ///
    /// # Errors
    /// As [`DerivedRows::range`], and the damage that kept the record's rows from being made.
    pub fn matrix(&self, n: u32) -> Result<MatrixView<'_>> {
        if let Some(damage) = self.damaged.get(&n) {
            return Err(damage.error());
        }
        let rows = self.range(n)?;
        let values = &self.values()?[rows.start * self.dim..rows.end * self.dim];
        Ok(MatrixView::trusted(rows.len(), self.dim, values))
    }

    fn values(&self) -> Result<&[f32]> {
        self.sections.numbers(section::MATRICES)
    }

    /// Notes the records that have no rows because they cannot be read.
    pub(super) fn without(self, damaged: BTreeMap<u32, Damage>) -> DerivedRows {
        DerivedRows { damaged, ..self }
    }
}

impl Artefact for DerivedRows {
    const KIND: Kind = Kind::Rows;

    fn read(sections: Sections) -> Result<DerivedRows> {
        let wrong = |what: &str| sections.corrupt(section::ROW_OFFSETS, what);
        let starts: &[u64] = sections.numbers(section::ROW_OFFSETS)?;
        let values: &[f32] = sections.numbers(section::MATRICES)?;
        let dim = usize::try_from(sections.counts().dim).map_err(|_| wrong("impossible dimension"))?;
        let starts: Vec<usize> = starts.iter().map(|start| *start as usize).collect();
        if starts.len() as u64 != sections.counts().records + 1
            || starts.first() != Some(&0)
            || !starts.is_sorted()
            || starts.last().and_then(|rows| rows.checked_mul(dim)) != Some(values.len())
            || dim == 0
        {
            return Err(wrong("row offsets that contradict the rows"));
        }
        match values.par_chunks(1 << 16).all(|values| values.iter().all(|value| value.is_finite())) {
            true => Ok(DerivedRows { dim, starts, sections, damaged: BTreeMap::new() }),
            false => Err(sections.corrupt(section::MATRICES, "a row that is not finite")),
        }
    }
}

/// Writes the rows of all records, chunk after chunk, so that they are never in the heap all at once. A record that
/// cannot be read gets no rows and is noted in `damaged`; in a file that is to last this is an error.
pub(super) fn write(
    out: &mut SectionsWriter<'_>,
    records: u32,
    build: &Build<'_>,
    damaged: &mut BTreeMap<u32, Damage>,
) -> Result<Counts> {
    let (mut starts, mut rows) = (vec![0_u64], 0);
    out.begin(section::MATRICES)?;
    let dim = in_chunks(records, build, |n, matrix| {
        match matrix {
            Ok(matrix) => {
                rows += matrix.rows() as u64;
                out.append(bytemuck::cast_slice(matrix.values()))?;
            }
            Err(damage) if out.is_lasting() => return Err(damage.error()),
            Err(damage) => drop(damaged.insert(n, damage)),
        }
        starts.push(rows);
        Ok(())
    })?;
    out.end();
    out.section(section::ROW_OFFSETS, bytemuck::cast_slice(&starts))?;
    Ok(Counts { records: u64::from(records), rows, dim: dim as u64 })
}

/// Builds the rows of records in parallel and passes them to `take` in order, as rows or as the damage that keeps them
/// from being made. Returns the dimension that all have; 1 when there are no rows.
fn in_chunks(
    records: u32,
    build: &Build<'_>,
    mut take: impl FnMut(u32, Result<Matrix, Damage>) -> Result<()>,
) -> Result<usize> {
    if records == 0 {
        return Err(Error::invalid("segment", "no records to derive rows from"));
    }
    let threads = rayon::current_num_threads();
    let (mut chunk, mut at, mut dim) = (threads, 0, None);
    while at < records {
        let end = records.min(at.saturating_add(u32::try_from(chunk).unwrap_or(u32::MAX)));
        let attempt = |n| match build(n).map_err(Damage::try_from) {
            Ok(matrix) => Ok(Ok(matrix)),
            Err(Ok(damage)) => Ok(Err(damage)),
            Err(Err(error)) => Err(error),
        };
        let built: Vec<Result<Matrix, Damage>> = (at..end).into_par_iter().map(attempt).collect::<Result<_>>()?;
        let (count, mut bytes) = (built.len(), 0);
        for (n, matrix) in (at..).zip(built) {
            if let Ok(matrix) = &matrix {
                bytes += matrix.values().len() * 4;
                if *dim.get_or_insert(matrix.dim()) != matrix.dim() {
                    return Err(Error::mismatch("rows of a view", format!("{dim:?} numbers"), matrix.dim()));
                }
            }
            take(n, matrix)?;
        }
        chunk = (CHUNK_BYTES / (bytes / count).max(1)).clamp(threads, CHUNK_RECORDS.max(threads));
        at = end;
    }
    Ok(dim.unwrap_or(1))
}
