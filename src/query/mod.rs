//! From a question to an answer: which records are most like these rows, how sure that is, and which rows matched.
//!
//! A [`Query`] is given as raw rows; it passes through the pipeline of the view it is asked in, and is compared with the
//! rows of that view. With `k` (10 unless said otherwise) an answer has `min(k, matching records)` hits, always; with
//! `min_score` alone it has every record at or above the score. Ties are broken by id, so that answers are reproducible and
//! the best k are the first of the best k + 1. Each answer carries a [`Certificate`], and on request each hit an
//! [`Explanation`].
//!
//! ```
//! use otolith::{Database, Matrix, Record, Schema};
//!
//! # let folder = tempfile::tempdir().unwrap();
//! let db = Database::open(folder.path().join("sounds.otolith"))?;
//! let clips = db.create_collection("clips", Schema::new(2))?;
//! clips.upsert([
//!     Record::new("up", Matrix::from_rows(2, 2, vec![0.0, 1.0, 0.1, 1.0])?).field("class", "bird"),
//!     Record::new("right", Matrix::from_rows(1, 2, vec![1.0, 0.0])?).field("class", "dog"),
//! ])?;
//! let query = Matrix::from_rows(1, 2, vec![0.1, 2.0])?;
//! let hits = clips.query(&query).k(1).filter("class in ('bird', 'dog')").explain().run()?;
//! assert_eq!(hits[0].id, "up");
//! assert!(hits.certificate.is_exact());
//! # Ok::<(), otolith::Error>(())
//! ```

mod align;
mod answer;
mod explain;

pub use align::Alignment;
pub use answer::{Certificate, Hit, Hits, Tier};
pub use explain::{Explanation, RowMatch, Run};

use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::index::{self, Place, ViewRows};
use crate::matrix::MatrixView;
use crate::score::{PreparedQuery, Scratch};
use crate::store::{RAW, Snapshot};

/// Hits of a query that names neither `k` nor `min_score`.
const DEFAULT_K: usize = 10;

/// A question to a collection, put together step by step and asked by [`Query::run`].
#[must_use = "a query does nothing until it is run"]
pub struct Query<'q> {
    snapshot: Result<Snapshot>,
    rows: MatrixView<'q>,
    view: String,
    k: Option<usize>,
    min_score: Option<f64>,
    filter: Option<String>,
    explain: bool,
}

impl Snapshot {
    /// Asks which records are most like `rows`.
    pub fn query<'q>(&self, rows: impl Into<MatrixView<'q>>) -> Query<'q> {
        Query::new(Ok(self.clone()), rows.into())
    }
}

impl<'q> Query<'q> {
    /// A query to a snapshot; an error in taking it comes out of [`Query::run`].
    pub(crate) fn new(snapshot: Result<Snapshot>, rows: MatrixView<'q>) -> Query<'q> {
        Query { snapshot, rows, view: RAW.to_owned(), k: None, min_score: None, filter: None, explain: false }
    }

    /// Searches in this view instead of the raw rows.
    pub fn view(mut self, name: impl Into<String>) -> Self {
        self.view = name.into();
        self
    }

    /// The number of hits wanted.
    pub fn k(mut self, k: usize) -> Self {
        self.k = Some(k);
        self
    }

    /// The least score of a hit. Without [`Query::k`]: all records that reach it.
    pub fn min_score(mut self, score: f64) -> Self {
        self.min_score = Some(score);
        self
    }

    /// Only records whose fields meet this expression (see [`crate::filter`]).
    pub fn filter(mut self, expression: impl Into<String>) -> Self {
        self.filter = Some(expression.into());
        self
    }

    /// Tells for each hit which rows matched.
    pub fn explain(mut self) -> Self {
        self.explain = true;
        self
    }

    /// Asks.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when the rows do not fit the collection, [`Error::FilterSyntax`], [`Error::NotFound`] for an
    /// unknown collection or view, [`Error::Invalid`] for a query of no rows, [`Error::Corrupt`] when a block that must be
    /// read is damaged.
    pub fn run(self) -> Result<Hits> {
        let snapshot = self.snapshot?;
        let dim = snapshot.schema().dim;
        if self.rows.dim() != dim {
            return Err(Error::mismatch(
                "query",
                format!("rows of {dim} numbers"),
                format!("rows of {}", self.rows.dim()),
            ));
        }
        if self.min_score.is_some_and(f64::is_nan) {
            return Err(Error::invalid("min_score", "not a number"));
        }
        let filter = self.filter.as_deref().map(Filter::parse).transpose()?;
        let rows = ViewRows::open(&snapshot, &self.view)?;
        let query = rows.apply(self.rows)?;
        let prepared = PreparedQuery::new(rows.metric()?, query.view())?;
        let places = index::places(&snapshot, filter.as_ref())?;
        let k = if self.min_score.is_some() { self.k } else { Some(self.k.unwrap_or(DEFAULT_K)) };

        let segment = |place: Place| &snapshot.segments()[place.segment as usize].segment;
        let scan = index::exact::search(&rows, &places, &prepared, k, self.min_score, |place| {
            segment(place).id(place.record)
        })?;
        let certificate = Certificate::exact(&scan);
        let mut scratch = Scratch::default();
        let hits = scan.found.iter().map(|&(score, place)| -> Result<Hit> {
            let explanation = if self.explain {
                let record = rows.matrix(place)?;
                let matches = prepared.matches(record.view(), &mut scratch);
                let shift = align::best_shift(rows.metric()?, query.view(), record.view());
                let raw_rows = (self.rows.rows(), segment(place).rows(place.record)?);
                Some(Explanation::new(matches, shift, rows.row_step()?, raw_rows, snapshot.schema().rows_per_second))
            } else {
                None
            };
            Ok(Hit {
                id: segment(place).id(place.record)?.to_owned(),
                score,
                score_per_row: score / query.view().rows() as f64,
                fields: segment(place).fields(place.record)?,
                explanation,
            })
        });
        Ok(Hits { hits: hits.collect::<Result<_>>()?, certificate })
    }
}
