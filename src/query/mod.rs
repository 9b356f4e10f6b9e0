//! Queries and answers: which records are most like these rows, how sure that is, and which rows matched.
//!
//! A [`Query`] is given as raw rows. It passes through the pipeline of the view that it searches and is compared with
//! the rows of that view. With `k` (10 unless said otherwise) an answer has `min(k, matching records)` hits, always;
//! with `min_score` alone it has every record at or above the score. Ties are broken by id, so that answers are
//! reproducible and the best k are the first of the best k + 1. Each answer carries a [`Certificate`], and on request
//! each hit an [`Explanation`].
//!
//! Damage costs only the records that it hit: an answer is made of all others, names the damaged ones
//! ([`Hits::unreadable`]), and does not claim to be exact.
//!
//! Several answers are combined by [`fuse`]; many queries are run at once by [`run_all`].

mod align;
mod answer;
mod batch;
mod candidates;
mod check;
mod effort;
mod execute;
mod explain;
mod fusion;
mod plan;
mod proof;
mod recheck;

pub use crate::index::exact::{BoundBy, LeftOut};
pub use align::Alignment;
pub use answer::{Approximation, Certificate, Hit, Hits, Standing};
pub use batch::run_all;
pub use check::Verdict;
pub use explain::{Explanation, RowMatch, Run};
pub use fusion::{Arm, Fused, FusedHit, Fusion, InArm, fuse, fuse_by, standard_scores};
pub use plan::{Plan, SegmentPlan, Way};
pub use proof::{Proof, ProvenExclusion, ProvenHit, ProvenQuestion, ProvenSegment, ProvenState};

use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::index::exact::Gathered;
use crate::index::planes::Together;
use crate::index::{Place, Selected, Selection, ViewRows, select};
use crate::matrix::{MatrixView, StoredMatrix};
use crate::score::{Metric, PreparedQuery, Scratch};
pub use crate::store::Unreadable;
use crate::store::{RAW, Segment, Snapshot};
use crate::threads;
use effort::{ByHand, Effort};
use proof::{Claim, Question};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Number of hits of a query that sets neither `k` nor `min_score`.
const DEFAULT_K: usize = 10;

/// A query, put together call by call and run by [`Query::run`]. Made by
/// [`Collection::query`](crate::Collection::query) or [`Snapshot::query`].
///
/// # Examples
///
/// ```
/// use otolith::{Database, Matrix, Record, Schema};
/// # let folder = tempfile::tempdir()?;
/// # let db = Database::open(folder.path().join("sounds.otolith"))?;
/// # let clips = db.create_collection("clips", Schema::new(2).rows_per_second(50.0))?;
/// clips.upsert([
///     Record::new("up", Matrix::from_rows(2, 2, vec![0.0, 1.0, 0.1, 1.0])?).field("class", "bird"),
///     Record::new("right", Matrix::from_vector(vec![1.0, 0.0])?).field("class", "dog"),
/// ])?;
///
/// let query = Matrix::from_vector(vec![0.1, 2.0])?;
/// let hits = clips.query(&query).k(5).filter("class in ('bird', 'dog')").explain().run()?;
/// assert_eq!((hits.len(), hits[0].id.as_str()), (2, "up"));
///
/// // Less than the exact answer will do: here there is no index, so it is exact all the same.
/// let hits = clips.query(&query).recall(0.9).run()?;
/// assert!(hits.certificate.is_exact());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    budget: Option<Duration>,
    /// The queries that this one is run together with, and which one of them it is.
    together: Option<(Arc<Together<'q>>, usize)>,
}

impl Snapshot {
    /// Begins a query to this snapshot, as [`Collection::query`](crate::Collection::query) does to the newest
    /// version.
    pub fn query<'q>(&self, rows: impl Into<MatrixView<'q>>) -> Query<'q> {
        Query::new(Ok(self.clone()), rows.into())
    }
}

impl<'q> Query<'q> {
    /// Makes a query to a snapshot; an error in taking the snapshot is returned by [`Query::run`].
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
            budget: None,
            together: None,
        }
    }

    /// Searches the rows of the view called `name` instead of the raw rows.
    pub fn view(mut self, name: impl Into<String>) -> Self {
        self.view = name.into();
        self
    }

    /// Asks for `k` hits; the default is 10. An answer has fewer only when fewer records pass the filter or reach the
    /// minimum score.
    pub fn k(mut self, k: usize) -> Self {
        self.k = Some(k);
        self
    }

    /// Asks only for records with at least this score. Without [`Query::k`] the answer has all of them.
    ///
    /// # Examples
    ///
    /// ```
    /// # use otolith::{Database, Matrix, Record, Schema};
    /// # let folder = tempfile::tempdir()?;
    /// # let db = Database::open(folder.path().join("sounds.otolith"))?;
    /// # let clips = db.create_collection("clips", Schema::new(2))?;
    /// # for n in 0..20 {
    /// #     clips.upsert([Record::auto(Matrix::from_vector(vec![n as f32, 1.0])?)])?;
    /// # }
    /// # let query = Matrix::from_vector(vec![5.0, 1.0])?;
    /// let hits = clips.query(&query).min_score(0.9).run()?; // cosines of 0.9 and more
    /// assert!(hits.len() > 10 && hits.iter().all(|hit| hit.score >= 0.9));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn min_score(mut self, score: f64) -> Self {
        self.min_score = Some(score);
        self
    }

    /// Searches only records that pass this expression over ids and fields, such as `class = 'dog' and seconds > 2`.
    /// The language is described in the module [`filter`](crate::filter). A mistake in it is returned by
    /// [`Query::run`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use otolith::{Database, Error, Matrix, Record, Schema};
    /// # let folder = tempfile::tempdir()?;
    /// # let db = Database::open(folder.path().join("sounds.otolith"))?;
    /// # let clips = db.create_collection("clips", Schema::new(2))?;
    /// # let vector = Matrix::from_vector(vec![0.6, 0.8])?;
    /// # clips.upsert([Record::new("dog-1", vector.clone()).field("class", "dog").field("seconds", 5)])?;
    /// let hits = clips.query(&vector).filter("class = 'dog' and seconds > 2").run()?;
    /// assert_eq!(hits.len(), 1);
    /// assert!(matches!(clips.query(&vector).filter("class =").run(), Err(Error::FilterSyntax { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn filter(mut self, expression: impl Into<String>) -> Self {
        self.filter = Some(Filter::parse(&expression.into()));
        self
    }

    /// Searches only records that pass this parsed filter: for values that come from outside, see
    /// [`Filter::parse_with`].
    pub fn matching(mut self, filter: Filter) -> Self {
        self.filter = Some(Ok(filter));
        self
    }

    /// Asks for the exact answer, which is the default: undoes [`Query::recall`] and settings made by hand.
    pub fn exact(mut self) -> Self {
        self.effort = Effort::Exact;
        self
    }

    /// Allows an approximate answer that is expected to have at least this share of the exact one (from 0 to 1; at 1
    /// the answer is exact). Indexes ([`build_index`](crate::Collection::build_index)) have measured what each of
    /// their settings finds. The cheapest setting that is certain enough is used, and the exact scan where there is
    /// none or where it is faster. [`Hits::plan`] says what was done and [`Hits::certificate`] what that is worth.
    ///
    /// What was measured holds for queries like those that it was measured with. A query that is unlike them, or like
    /// those among them that found less, is recognised by how near it is to what the index holds; then more effort is
    /// made, or the exact scan answers. Where queries come from elsewhere than the records do, give some of them to
    /// [`build_index_with`](crate::Collection::build_index_with).
    ///
    /// # Examples
    ///
    /// ```
    /// # use otolith::{Database, IndexKind, Matrix, Record, Schema};
    /// # let folder = tempfile::tempdir()?;
    /// # let db = Database::open(folder.path().join("vectors.otolith"))?;
    /// # let vectors = db.create_collection("vectors", Schema::new(4))?;
    /// # let row = |n: usize| (1..5).map(|d| ((n * d) as f32 * 0.7).sin()).collect();
    /// # let records = (0..1_200).map(|n| Ok(Record::new(format!("{n}"), Matrix::from_vector(row(n))?)));
    /// # vectors.upsert(records.collect::<otolith::Result<Vec<_>>>()?)?;
    /// # let query = Matrix::from_vector(row(7))?;
    /// vectors.build_index("raw", IndexKind::Ivf)?;
    /// let hits = vectors.query(&query).k(10).recall(0.95).run()?;
    /// println!("{}", hits.certificate.standing()); // `exact`, or an interval of recall
    /// for part in &hits.plan.segments {
    ///     println!("segment {}: {}, because {}", part.segment, part.way, part.why);
    /// }
    /// # assert_eq!(hits.len(), 10);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recall(mut self, target: f64) -> Self {
        self.effort = Effort::Recall(target);
        self
    }

    /// Measures recall while searching: this share of such queries (from 0 to 1; 0.01 is one in a hundred) is also
    /// answered exactly, and what the index would have found is noted beside it. Has an effect only together with
    /// [`Query::recall`].
    ///
    /// Once there are twenty such queries for a number of hits, the recall promised to all later queries takes them
    /// into account: queries that find less than the records did get more effort, and queries that are unlike the
    /// records may now be like these ([`CurveSource::Asked`](crate::CurveSource::Asked)). It lasts as long as the
    /// database is open and the index is loaded.
    pub fn recheck(mut self, share: f64) -> Self {
        self.recheck = Some(share);
        self
    }

    /// Sets by hand how widely an HNSW index is searched: it keeps this many rows on its way (`ef`). Only the kinds
    /// of index for which a setting is given are used; [`Query::nprobe`] and [`Query::candidates`] set those of the
    /// others. This is for measuring; [`Query::recall`] chooses the setting by itself.
    pub fn ef(mut self, rows: usize) -> Self {
        self.effort = Effort::ByHand(ByHand { ef: Some(rows), ..self.effort.by_hand() });
        self
    }

    /// Sets by hand how many lists of an IVF index are searched, nearest first (`nprobe`); see [`Query::ef`].
    pub fn nprobe(mut self, lists: usize) -> Self {
        self.effort = Effort::ByHand(ByHand { nprobe: Some(lists), ..self.effort.by_hand() });
        self
    }

    /// Sets by hand how many records an index of candidates names, which are then scored exactly; see [`Query::ef`].
    pub fn candidates(mut self, records: usize) -> Self {
        self.effort = Effort::ByHand(ByHand { candidates: Some(records), ..self.effort.by_hand() });
        self
    }

    /// Limits the time of the search. When it is up, the best of the records looked at so far are the answer, and its
    /// certificate says how many there was no time for, and the most that any of these can score
    /// ([`Certificate::unsearched`]). An answer that was ready in time is what it is without a budget.
    ///
    /// The clock is looked at between records: it is overrun by what one record takes, a pass over the SQ8 codes of one
    /// segment, or the walk through one index; reading the hits and explaining them come on top. Nothing is made that
    /// would only help later searches, but the rows of a view that nobody has searched yet are. Of the queries of
    /// [`run_all`] each has its own budget.
    ///
    /// # Examples
    ///
    /// ```
    /// # use otolith::{Database, Matrix, Record, Schema};
    /// # let folder = tempfile::tempdir()?;
    /// # let db = Database::open(folder.path().join("sounds.otolith"))?;
    /// # let clips = db.create_collection("clips", Schema::new(2))?;
    /// # let query = Matrix::from_vector(vec![0.6, 0.8])?;
    /// # clips.upsert([Record::new("dog-1", query.clone())])?;
    /// use otolith::query::Standing;
    /// use std::time::Duration;
    ///
    /// let hits = clips.query(&query).budget_time(Duration::from_millis(50)).run()?;
    /// if let Standing::Stopped { unsearched } = hits.certificate.standing() {
    ///     println!("{unsearched} not looked at; the most that one can score: {}", hits.certificate.unsearched.most);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn budget_time(mut self, budget: Duration) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Adds an [`Explanation`] to each hit: which rows of the query matched which rows of the record.
    ///
    /// # Examples
    ///
    /// ```
    /// # use otolith::{Database, Matrix, Record, Schema};
    /// # let folder = tempfile::tempdir()?;
    /// # let db = Database::open(folder.path().join("sounds.otolith"))?;
    /// # let clips = db.create_collection("clips", Schema::new(2).rows_per_second(50.0))?;
    /// # let wave = |rows: std::ops::Range<i32>| rows.flat_map(|t| [(t as f32).sin(), (t as f32).cos()]).collect();
    /// # clips.upsert([Record::new("long", Matrix::from_rows(100, 2, wave(0..100))?)])?;
    /// let query = Matrix::from_rows(10, 2, wave(40..50))?; // ten rows of the long record
    /// let hits = clips.query(&query).explain().run()?;
    /// let why = hits[0].explanation.as_ref().ok_or("asked for")?;
    /// assert_eq!(why.runs[0].record_rows, 40..50);
    /// assert_eq!(why.runs[0].record_seconds, Some(0.8..1.0)); // at 50 rows a second
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn explain(mut self) -> Self {
        self.explain = true;
        self
    }

    /// Runs the query.
    ///
    /// # Errors
    /// - [`Error::Mismatch`] when the rows do not have the collection's dimension.
    /// - [`Error::FilterSyntax`] when the filter cannot be read.
    /// - [`Error::NotFound`] for an unknown view, or a collection that has been dropped.
    /// - [`Error::Invalid`] for a query without rows, a minimum score that is not a number, or a share outside 0 to 1.
    /// - [`Error::Corrupt`] when the view is damaged. Damaged records are not an error: they are in
    ///   [`Hits::unreadable`].
    pub fn run(self) -> Result<Hits> {
        let deadline = self.budget.and_then(|budget| Instant::now().checked_add(budget));
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
        let together = self.together.as_ref().map(|(together, member)| (&**together, *member));
        if let Some((together, 0)) = together {
            together.join(|query| rows.apply(query).map(StoredMatrix::into_matrix));
        }
        let query = match together.and_then(|(together, member)| together.applied(member)) {
            Some(query) => query,
            None => rows.apply(self.rows)?,
        };
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
            deadline,
            together,
        };
        let selection = select(&snapshot, filter.as_ref())?;
        let records = selection.segments.iter().map(Selected::count).sum();
        let question = Question {
            query: self.rows,
            view: &self.view,
            metric,
            filter: filter.as_ref(),
            k,
            min_score: self.min_score,
        };
        search.run(selection, Claim::new(&snapshot, &question, records))
    }
}

/// A query that has been checked, with its rows passed through the pipeline of its view.
struct Search<'a> {
    snapshot: &'a Snapshot,
    rows: &'a ViewRows<'a>,
    query: MatrixView<'a>,
    prepared: &'a PreparedQuery,
    metric: Metric,
    /// How many raw rows the query has; `None` unless hits are to be explained.
    raw_rows: Option<usize>,
    k: Option<usize>,
    min_score: Option<f64>,
    effort: Effort,
    /// The share of queries that are also answered exactly, to measure recall.
    recheck: Option<f64>,
    /// When to stop.
    deadline: Option<Instant>,
    together: Option<(&'a Together<'a>, usize)>,
}

impl Search<'_> {
    fn segment(&self, place: Place) -> &Segment {
        &self.snapshot.segments()[place.segment as usize].segment
    }

    /// Searches until every hit can be read in full: damage may have spared the rows of a record but not its id or
    /// fields.
    fn run(&self, mut selection: Selection, claim: Claim) -> Result<Hits> {
        loop {
            let gathered = Gathered::new(self.k, self.min_score, self.deadline);
            let (plan, approximation) = self.look(&selection, &gathered)?;
            let found = self.finish(gathered);
            // Codes or an index led to records that cannot be read: search again without these, so that others take
            // their place.
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
                return Ok(Hits { hits, certificate, plan, unreadable, claim: Box::new(claim) });
            }
            self.leave_out(untold, &mut selection)?;
        }
    }

    /// Takes records whose id or fields cannot be read out of the selection, and at once all other such records of
    /// their segments, so that not each of them costs another search.
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
