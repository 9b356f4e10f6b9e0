//! The rows of a view: raw ones come from the segments, others are derived and kept beside them.

use super::one_row::Rows;
use super::planes::{self, Planes};
use super::table::Sq8Table;
use crate::error::{Error, Result};
use crate::matrix::{MatrixView, StoredMatrix};
use crate::score::Metric;
use crate::store::{DerivedRows, RAW, SectionsWriter, Snapshot, ViewFile};
use rayon::prelude::*;
use std::borrow::Cow;
use std::sync::Arc;

/// Fewest numbers in a segment for which codes are worth making: scanning fewer takes no longer than opening a few
/// files.
const WORTH: u64 = 1 << 16;
/// Bytes of planes from which on making them is worth it, and searches before that.
const WORTH_PLANES: u64 = 1 << 18;
const PATIENCE: u32 = 3;
/// Bytes of planes that are made where they cannot be kept in a file.
const MOST_IN_MEMORY: u64 = 1 << 30;

/// The rows of one view in one snapshot, ready to be scanned.
pub(crate) struct ViewRows<'a> {
    snapshot: &'a Snapshot,
    view: Option<Arc<ViewFile>>,
    /// By segment, `None` for one that cannot be read at all; empty for raw rows.
    derived: Vec<Option<Arc<DerivedRows>>>,
}

/// Where a record lies: number of the segment in its snapshot, number of the record in its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) record: u32,
}

impl<'a> ViewRows<'a> {
    /// Opens the rows of view `name`, deriving those that are missing. Segments that cannot be read get none.
    pub(crate) fn open(snapshot: &'a Snapshot, name: &str) -> Result<ViewRows<'a>> {
        if name == RAW {
            return Ok(ViewRows { snapshot, view: None, derived: Vec::new() });
        }
        let view = Arc::clone(snapshot.view(name)?);
        let pipeline = view.pipeline()?;
        let derived = snapshot
            .segments()
            .iter()
            .map(|part| {
                if part.segment.damage().is_some() {
                    return Ok(None);
                }
                let build = |number| view.derive(part.segment.matrix(number)?.view());
                let rows = snapshot.rows(&part.segment, &view, &build)?;
                // Only a forged file has another dimension, but scoring relies on it.
                if rows.dim() != pipeline.dim() && rows.all()?.rows() > 0 {
                    let what =
                        format!("rows of {} numbers derived for the view `{name}` of {}", rows.dim(), pipeline.dim());
                    return Err(Error::corrupt(part.segment.path(), None, what));
                }
                Ok(Some(rows))
            })
            .collect::<Result<_>>()?;
        Ok(ViewRows { snapshot, view: Some(view), derived })
    }

    /// Returns the view; `None` for raw rows.
    pub(crate) fn view(&self) -> Option<&ViewFile> {
        self.view.as_deref()
    }

    /// Returns the codes of a segment's plain vectors, made first if there are none and there is enough to code.
    pub(crate) fn codes(&self, number: u32) -> Result<Option<Arc<Sq8Table>>> {
        let segment = &self.snapshot.segments()[number as usize].segment;
        if let Some(table) = self.snapshot.artefact::<Sq8Table>(segment, self.view()) {
            return Ok(Some(table));
        }
        let first = self.matrix(Place { segment: number, record: 0 });
        let worth = |matrix: StoredMatrix<'_>| {
            matrix.view().rows() == 1 && matrix.view().dim() as u64 * u64::from(segment.records()) >= WORTH
        };
        if !segment.is_sealed() || !first.is_ok_and(worth) {
            return Ok(None);
        }
        let metric = self.metric()?;
        let build = |out: &mut SectionsWriter<'_>| Sq8Table::build(&self.plain(number)?, metric, out);
        self.snapshot.build_artefact(segment, self.view(), &build).map(Some)
    }

    /// Returns the planes of a segment's matrices. They are made when there are none and the segment has been searched
    /// a few times without them: making them takes about as long as that.
    pub(crate) fn planes(&self, number: u32) -> Result<Option<Arc<Planes>>> {
        let segment = &self.snapshot.segments()[number as usize].segment;
        if let Some(planes) = self.snapshot.artefact::<Planes>(segment, self.view()) {
            return Ok(Some(planes));
        }
        let is_due = segment.count_scan() >= PATIENCE || planes::are_always_used();
        if is_due { self.make_planes(number) } else { Ok(None) }
    }

    /// Makes the planes of a segment's matrices where they are worth it.
    pub(crate) fn make_planes(&self, number: u32) -> Result<Option<Arc<Planes>>> {
        let segment = &self.snapshot.segments()[number as usize].segment;
        let (dim, metric, records) = (self.dim()?, self.metric()?, segment.records());
        if !segment.is_sealed() || !planes::serves(dim, records) {
            return Ok(None);
        }
        // Not of the matrix itself where there is a choice: it may be long and have to be decoded.
        let rows = |record: u32| match self.view() {
            None => segment.rows(record),
            Some(_) => self.matrix(Place { segment: number, record }).map(|matrix| matrix.view().rows()),
        };
        // What most records have: one of them alone, the first one say, may be empty or a plain vector.
        let mut some: Vec<usize> =
            (0..5).map(|part| rows((u64::from(records.saturating_sub(1)) * part / 4) as u32).unwrap_or(0)).collect();
        some.sort_unstable();
        let usual = some[2];
        let bytes = (usual * planes::bytes(dim)) as u64 * u64::from(records);
        let is_worth = bytes >= WORTH_PLANES || planes::are_always_used();
        let has_room = self.snapshot.keeps_artefacts() || bytes <= MOST_IN_MEMORY;
        if usual < 2 || !is_worth || !has_room {
            return Ok(None);
        }
        let matrix = |record| self.matrix(Place { segment: number, record });
        let build = |out: &mut SectionsWriter<'_>| Planes::build(records, dim, metric, &matrix, out);
        self.snapshot.build_artefact(segment, self.view(), &build).map(Some)
    }

    /// Returns the plain vectors of a segment, without those that cannot be read.
    pub(crate) fn plain(&self, segment: u32) -> Result<Rows<'_>> {
        let all = self.snapshot.segments()[segment as usize].segment.records();
        let is_plain =
            |&record: &u32| self.matrix(Place { segment, record }).is_ok_and(|matrix| matrix.view().rows() == 1);
        let records = (0..all).into_par_iter().filter(is_plain).collect();
        Ok(Rows::new(Box::new(move |record| self.matrix(Place { segment, record })), all, records, self.dim()?))
    }

    /// Returns the dimension of this view's rows.
    pub(crate) fn dim(&self) -> Result<usize> {
        match &self.view {
            None => Ok(self.snapshot.schema().dim),
            Some(view) => Ok(view.pipeline()?.dim()),
        }
    }

    /// Returns how rows of this view are compared.
    pub(crate) fn metric(&self) -> Result<Metric> {
        match &self.view {
            None => Ok(self.snapshot.schema().metric),
            Some(view) => view.metric(),
        }
    }

    /// Turns a query, given as raw rows, into rows of this view.
    pub(crate) fn apply<'q>(&self, query: MatrixView<'q>) -> Result<StoredMatrix<'q>> {
        match &self.view {
            None => Ok(StoredMatrix::trusted(query.rows(), query.dim(), Cow::Borrowed(query.values()))),
            Some(view) => {
                let matrix = view.pipeline()?.apply(query)?;
                Ok(StoredMatrix::trusted(matrix.rows(), matrix.dim(), Cow::Owned(matrix.into_values())))
            }
        }
    }

    /// Returns the distance in raw rows from a row of this view to the next; `None` where a row stands for the whole
    /// record.
    pub(crate) fn row_step(&self) -> Result<Option<usize>> {
        match &self.view {
            None => Ok(Some(1)),
            Some(view) => Ok(view.pipeline()?.row_step()),
        }
    }

    /// Returns the rows of one record.
    ///
    /// # Errors
    /// The damage that keeps it from being read.
    pub(crate) fn matrix(&self, place: Place) -> Result<StoredMatrix<'_>> {
        let segment = place.segment as usize;
        match self.derived.get(segment) {
            Some(Some(rows)) => {
                let matrix = rows.matrix(place.record)?;
                Ok(StoredMatrix::trusted(matrix.rows(), matrix.dim(), Cow::Borrowed(matrix.values())))
            }
            _ => self.snapshot.segments()[segment].segment.matrix(place.record),
        }
    }
}
