//! The rows of a view: raw ones from the segments, others derived and kept beside them.

use super::one_row::Rows;
use super::table::Sq8Table;
use crate::error::{Error, Result};
use crate::matrix::{MatrixView, StoredMatrix};
use crate::score::Metric;
use crate::store::{DerivedRows, RAW, SectionsWriter, Snapshot, ViewFile};
use rayon::prelude::*;
use std::borrow::Cow;
use std::sync::Arc;

/// Numbers in a segment from which on coding them is worth it: scanning fewer takes no longer than a few files do to
/// open.
const WORTH: u64 = 1 << 16;

/// The rows of one view in one snapshot, ready to be scanned.
pub(crate) struct ViewRows<'a> {
    snapshot: &'a Snapshot,
    view: Option<Arc<ViewFile>>,
    /// By segment; none of one that cannot be read at all.
    derived: Vec<Option<Arc<DerivedRows>>>,
}

/// Where a record lies: number of the segment in its snapshot, number of the record in its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) record: u32,
}

impl<'a> ViewRows<'a> {
    /// Opens the rows of view `name`, deriving those that are missing. What cannot be read has none.
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
                // Only a forged file says otherwise, but scoring relies on it.
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

    /// The view; none of raw rows.
    pub(crate) fn view(&self) -> Option<&ViewFile> {
        self.view.as_deref()
    }

    /// Codes of a segment's plain vectors, made when there are none and there is enough to code.
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

    /// The plain vectors of a segment. Those that cannot be read are not among them.
    pub(crate) fn plain(&self, segment: u32) -> Result<Rows<'_>> {
        let all = self.snapshot.segments()[segment as usize].segment.records();
        let is_plain =
            |&record: &u32| self.matrix(Place { segment, record }).is_ok_and(|matrix| matrix.view().rows() == 1);
        let records = (0..all).into_par_iter().filter(is_plain).collect();
        Ok(Rows::new(Box::new(move |record| self.matrix(Place { segment, record })), all, records, self.dim()?))
    }

    /// Dimension of this view.
    pub(crate) fn dim(&self) -> Result<usize> {
        match &self.view {
            None => Ok(self.snapshot.schema().dim),
            Some(view) => Ok(view.pipeline()?.dim()),
        }
    }

    /// How rows of this view are compared.
    pub(crate) fn metric(&self) -> Result<Metric> {
        match &self.view {
            None => Ok(self.snapshot.schema().metric),
            Some(view) => view.metric(),
        }
    }

    /// A query, given as raw rows, as rows of this view.
    pub(crate) fn apply<'q>(&self, query: MatrixView<'q>) -> Result<StoredMatrix<'q>> {
        match &self.view {
            None => Ok(StoredMatrix::trusted(query.rows(), query.dim(), Cow::Borrowed(query.values()))),
            Some(view) => {
                let matrix = view.pipeline()?.apply(query)?;
                Ok(StoredMatrix::trusted(matrix.rows(), matrix.dim(), Cow::Owned(matrix.into_values())))
            }
        }
    }

    /// Distance in raw rows from a row of this view to the next; `None` where a row stands for the whole record.
    pub(crate) fn row_step(&self) -> Result<Option<usize>> {
        match &self.view {
            None => Ok(Some(1)),
            Some(view) => Ok(view.pipeline()?.row_step()),
        }
    }

    /// The rows of one record.
    ///
    /// # Errors
    /// The damage in it.
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
