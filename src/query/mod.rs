//! From a question to an answer: which records are most like these rows, how sure that is, and which rows matched.
//!
//! A [`Query`] is given as raw rows; it passes through the pipeline of the view it is asked in, and is compared with the
//! rows of that view. With `k` (10 unless said otherwise) an answer has `min(k, matching records)` hits, always; with
//! `min_score` alone it has every record at or above the score. Ties are broken by id, so that answers are reproducible and
//! the best k are the first of the best k + 1. Each answer carries a [`Certificate`], and on request each hit an
//! [`Explanation`].
//!
//! Damage costs the records that it hit: an answer is made of all others, names those ([`Hits::unreadable`]), and does not
//! claim to be exact.
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
mod batch;
mod candidates;
mod explain;
mod fusion;
mod plan;
mod recheck;

pub use align::Alignment;
pub use answer::{Approximation, Certificate, Hit, Hits, Standing};
pub use batch::run_all;
pub use explain::{Explanation, RowMatch, Run};
pub use fusion::{Arm, Fused, FusedHit, Fusion, InArm, fuse, fuse_by, standard_scores};
pub use plan::{Plan, SegmentPlan, Way};

use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::index::exact::Gathered;
use crate::index::{Place, Selection, ViewRows, select};
use crate::matrix::MatrixView;
use crate::score::{Metric, PreparedQuery, Scratch};
pub use crate::store::Unreadable;
use crate::store::{RAW, Segment, Snapshot};
use crate::threads;
use std::collections::{BTreeMap, BTreeSet};

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
    filter: Option<Result<Filter>>,
    explain: bool,
    effort: Effort,
    recheck: Option<f64>,
}

/// How much of the exact answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Effort {
    Exact,
    Recall(f64),
    Budget(usize),
}

impl Effort {
    /// Whether nothing but the exact answer will do.
    fn is_exact(self) -> bool {
        self == Effort::Exact || self == Effort::Recall(1.0)
    }
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
        Query {
            snapshot,
            rows,
            view: RAW.to_owned(),
            k: None,
            min_score: None,
            filter: None,
            explain: false,
            effort: Effort::Exact,
            recheck: None,
        }
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

    /// Only records that meet this expression (see [`crate::filter`]).
    pub fn filter(mut self, expression: impl Into<String>) -> Self {
        self.filter = Some(Filter::parse(&expression.into()));
        self
    }

    /// Only records that meet this filter, say one with values from outside ([`Filter::parse_with`]).
    pub fn matching(mut self, filter: Filter) -> Self {
        self.filter = Some(Ok(filter));
        self
    }

    /// The exact answer: the default. Takes back [`Query::recall`] and [`Query::budget`].
    pub fn exact(mut self) -> Self {
        self.effort = Effort::Exact;
        self
    }

    /// An approximate answer will do, if the expected share of the exact one in it is at least this (from 0 to 1; at 1 the answer is exact). Indexes
    /// ([`build_index`](crate::Collection::build_index)) have measured what each of their settings finds; the cheapest one of which
    /// it is certain enough is used, and the exact scan where none is or where that is faster.
    ///
    /// What was measured is true of queries like those that it was measured with. One that is unlike them, or like some of which less was found, is
    /// recognised by how near it is to what the index holds: more effort is made, or the exact scan answers ([`Hits::plan`] says why). If your
    /// queries come from elsewhere than your records, give some to [`build_index_with`](crate::Collection::build_index_with).
    pub fn recall(mut self, target: f64) -> Self {
        self.effort = Effort::Recall(target);
        self
    }

    /// Of the queries that ask so, answers this share (from 0 to 1; 0.01 is one in a hundred) exactly, and notes what the index would have found.
    /// Once there are twenty for a number of hits, the recall promised to all later queries goes by these too: queries that find less than the records
    /// did get more effort, and such as are unlike the records are no longer unlike all ([`CurveSource::Asked`](crate::index::Source)). It lasts as
    /// long as the database is open and the index loaded. Says nothing where [`Query::recall`] is not asked for.
    pub fn recheck(mut self, share: f64) -> Self {
        self.recheck = Some(share);
        self
    }

    /// Fixes by hand how much an index looks at: the width of a graph's search (`ef`), the lists looked into (`nprobe`); of a segment that
    /// has both, the graph is used. For measuring; [`Query::recall`] chooses it.
    pub fn budget(mut self, setting: usize) -> Self {
        self.effort = Effort::Budget(setting);
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
    /// unknown collection or view, [`Error::Invalid`] for a query of no rows, [`Error::Corrupt`] when the view is damaged.
    /// Damaged records are no error: they are in [`Hits::unreadable`].
    pub fn run(self) -> Result<Hits> {
        threads::ready();
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
        if let Effort::Recall(target) = self.effort
            && !(0.0..=1.0).contains(&target)
        {
            return Err(Error::invalid("recall", format!("{target}: give a share from 0 to 1, say 0.95")));
        }
        if self.recheck.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            return Err(Error::invalid("recheck", "give a share of the queries from 0 to 1, say 0.01"));
        }
        let filter = self.filter.transpose()?;
        let rows = ViewRows::open(&snapshot, &self.view)?;
        let query = rows.apply(self.rows)?;
        let metric = rows.metric()?;
        let prepared = PreparedQuery::new(metric, query.view())?;
        let k = if self.min_score.is_some() { self.k } else { Some(self.k.unwrap_or(DEFAULT_K)) };
        let search = Search {
            snapshot: &snapshot,
            rows: &rows,
            query: query.view(),
            prepared: &prepared,
            metric,
            raw_rows: self.explain.then_some(self.rows.rows()),
            k,
            min_score: self.min_score,
            effort: self.effort,
            recheck: self.recheck,
        };
        search.run(select(&snapshot, filter.as_ref())?)
    }
}

/// A query that was checked and brought into its view.
struct Search<'a> {
    snapshot: &'a Snapshot,
    rows: &'a ViewRows<'a>,
    query: MatrixView<'a>,
    prepared: &'a PreparedQuery,
    metric: Metric,
    /// How many raw rows the query has, where it is to be explained.
    raw_rows: Option<usize>,
    k: Option<usize>,
    min_score: Option<f64>,
    effort: Effort,
    /// The share of queries that are answered exactly as well.
    recheck: Option<f64>,
}

impl Search<'_> {
    fn segment(&self, place: Place) -> &Segment {
        &self.snapshot.segments()[place.segment as usize].segment
    }

    /// Searches until every record found can also be told: damage may have spared the rows of one and not its id or fields.
    fn run(&self, mut selection: Selection) -> Result<Hits> {
        loop {
            let gathered = Gathered::new(self.k, self.min_score);
            let (plan, approximation) = self.look(&selection, &gathered)?;
            let found = self.finish(gathered);
            // Where codes or an index led to records that cannot be read, they have to lead to others.
            if !found.failed.is_empty() && plan.segments.iter().any(|segment| segment.way != Way::Rows) {
                self.leave_out(found.failed.into_iter().collect(), &mut selection)?;
                continue;
            }
            let (mut hits, mut untold) = (Vec::with_capacity(found.hits.len()), BTreeMap::new());
            for &(score, place) in &found.hits {
                match self.hit(score, place) {
                    Ok(hit) => hits.push(hit),
                    Err(error) => drop(untold.insert(place, error)),
                }
            }
            if untold.is_empty() {
                let mut unreadable = selection.unreadable;
                let certificate = Certificate::new(&found, &unreadable, approximation);
                for (place, error) in found.failed {
                    unreadable.push(self.segment(place).unreadable(place.record, error)?);
                }
                return Ok(Hits { hits, certificate, plan, unreadable });
            }
            self.leave_out(untold, &mut selection)?;
        }
    }

    /// Leaves out hits that cannot be told, and at once whatever else of their segments cannot, so that it does not take
    /// a search for each.
    fn leave_out(&self, mut untold: BTreeMap<Place, Error>, selection: &mut Selection) -> Result<()> {
        let damaged: BTreeSet<u32> = untold.keys().map(|place| place.segment).collect();
        let mut failed = Ok(());
        for selected in selection.segments.iter_mut().filter(|selected| damaged.contains(&selected.segment)) {
            let number = selected.segment;
            selected.retain(|record| {
                let place = Place { segment: number, record };
                let segment = self.segment(place);
                let told = match untold.remove(&place) {
                    Some(error) => Err(error),
                    None => segment.id(record).and_then(|_| segment.fields(record)).map(drop),
                };
                let Err(error) = told else { return true };
                match segment.unreadable(record, error) {
                    Ok(unreadable) => selection.unreadable.push(unreadable),
                    Err(error) => failed = Err(error),
                }
                false
            });
        }
        failed
    }

    fn hit(&self, score: f64, place: Place) -> Result<Hit> {
        let segment = self.segment(place);
        Ok(Hit {
            id: segment.id(place.record)?.to_owned(),
            score,
            score_per_row: score / self.query.rows() as f64,
            fields: segment.fields(place.record)?,
            explanation: self.raw_rows.map(|rows| self.explain(rows, place)).transpose()?,
        })
    }

    fn explain(&self, query_rows: usize, place: Place) -> Result<Explanation> {
        let record = self.rows.matrix(place)?;
        let matches = self.prepared.matches(record.view(), &mut Scratch::default());
        let shift = align::best_shift(self.metric, self.query, record.view());
        let raw_rows = (query_rows, self.segment(place).rows(place.record)?);
        let rows_per_second = self.snapshot.schema().rows_per_second;
        Ok(Explanation::new(matches, shift, self.rows.row_step()?, raw_rows, rows_per_second))
    }
}
