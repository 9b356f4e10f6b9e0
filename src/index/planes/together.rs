//! Queries that are asked together: the records of a segment are read once, and bounded for all of them.
//!
//! A query of a few rows leaves lanes of a group idle, and bounding by it waits for memory. Rows of several queries,
//! one behind the other, fill the groups, and every record's bytes come from memory once. 64 queries of 12 rows to
//! 4,874 records of 125 x 128 took 11 ms each instead of 17 (one thread, AVX-512 VNNI), of 16 rows to 2,000 records of
//! 249 x 512 26 instead of 54.

use super::query::{BOUNDED, PART, Query};
use super::{Planes, Records};
use crate::error::Result;
use crate::kernel::ordered;
use crate::matrix::{Matrix, MatrixView, StoredMatrix};
use crate::score::{Metric, is_ordinary};
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Most rows of a query for which this pays: more fill the groups by themselves and wait for the processor.
pub(crate) const FEW_ROWS: usize = 48;
/// Most queries that are asked together, so that bounds of all of them do not fill the memory.
pub(crate) const MEMBERS: usize = 16;
/// Most bounds of a segment that are kept for that.
const MOST_BOUNDS: usize = 1 << 24;

/// Some queries of the same view of the same snapshot, without filters.
#[derive(Debug)]
pub(crate) struct Together<'q> {
    queries: Vec<MatrixView<'q>>,
    joined: OnceLock<Joined>,
    bounds: Mutex<HashMap<u32, Arc<Bounds>>>,
}

/// Their rows as they are searched, one query's behind the other's.
#[derive(Debug)]
struct Joined {
    matrix: Matrix,
    norms: Vec<f64>,
    rows: Vec<Range<usize>>,
}

/// What records of a segment can score at most, by the coordinates of one tier.
#[derive(Debug)]
pub(super) struct Bounds {
    pub(super) tier: usize,
    /// Their numbers, rising.
    records: Vec<u32>,
    /// Of each record, a bound for each query.
    uppers: Vec<f64>,
    members: usize,
}

impl Bounds {
    /// Returns the most that a record can score for one of the queries, if it was bounded.
    pub(super) fn of(&self, record: u32, member: usize) -> Option<f64> {
        let at = self.records.binary_search(&record).ok()?;
        Some(self.uppers[at * self.members + member])
    }
}

impl<'q> Together<'q> {
    /// Takes the queries as they were asked.
    pub(crate) fn new(queries: Vec<MatrixView<'q>>) -> Together<'q> {
        Together { queries, joined: OnceLock::new(), bounds: Mutex::default() }
    }

    /// Passes all queries through their view, as the first one of them does when it is run; after that they may be
    /// bounded. If one of them cannot be, none is: each will say why when it is run itself.
    pub(crate) fn join(&self, apply: impl Fn(MatrixView<'q>) -> Result<Matrix>) {
        let Ok(matrices) = self.queries.iter().map(|&query| apply(query)).collect::<Result<Vec<Matrix>>>() else {
            return;
        };
        let (mut values, mut norms, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        for matrix in &matrices {
            rows.push(norms.len()..norms.len() + matrix.rows());
            norms.extend(matrix.view().iter().map(|row| ordered::dot(row, row).sqrt()));
            values.extend_from_slice(matrix.values());
        }
        // Bounds of parts are those of whole queries only while a query has one part.
        let are_short = matrices.iter().all(|matrix| (1..=PART).contains(&matrix.rows()));
        if let Some(first) = matrices.first()
            && are_short
            && norms.iter().copied().all(is_ordinary)
            && let Ok(matrix) = Matrix::from_rows(norms.len(), first.dim(), values)
        {
            // Only the first one comes here.
            let _ = self.joined.set(Joined { matrix, norms, rows });
        }
    }

    /// Returns what the view made of a query.
    pub(crate) fn applied(&self, member: usize) -> Option<StoredMatrix<'_>> {
        let Joined { matrix, rows, .. } = self.joined.get()?;
        let (rows, dim) = (rows[member].clone(), matrix.dim());
        let values = &matrix.values()[rows.start * dim..rows.end * dim];
        Some(StoredMatrix::trusted(rows.len(), dim, Cow::Borrowed(values)))
    }

    /// Returns the bounds of a segment's records, if there are any.
    pub(super) fn bounds(&self, segment: u32) -> Option<Arc<Bounds>> {
        self.bounds.lock().unwrap_or_else(PoisonError::into_inner).get(&segment).cloned()
    }

    /// Bounds records for all queries.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) when the planes cannot be read.
    pub(super) fn bound(
        &self,
        (planes, metric, segment): (&Planes, Metric, u32),
        records: &Records<'_>,
        selected: &[u32],
        tier: usize,
    ) -> Result<()> {
        let Some(Joined { matrix, norms, rows }) = self.joined.get() else { return Ok(()) };
        if rows.len() * selected.len() > MOST_BOUNDS {
            return Ok(());
        }
        let query = Query::new(planes, metric, matrix.view(), norms)?;
        let uppers: Vec<f64> = selected
            .par_chunks(BOUNDED)
            .flat_map_iter(|some| {
                let mut work = query.work();
                let mut uppers = Vec::with_capacity(some.len() * rows.len());
                for &record in some {
                    let upper = query.upper(records, record, tier, &mut work);
                    // A record without rows or without a bound is that for all of them.
                    let own = |rows: &Range<usize>| match upper.is_finite() {
                        true => work.uppers[rows.clone()].iter().sum(),
                        false => upper,
                    };
                    uppers.extend(rows.iter().map(own));
                }
                uppers
            })
            .collect();
        let bounds = Bounds { tier, records: selected.to_vec(), uppers, members: rows.len() };
        self.bounds.lock().unwrap_or_else(PoisonError::into_inner).insert(segment, Arc::new(bounds));
        Ok(())
    }
}
