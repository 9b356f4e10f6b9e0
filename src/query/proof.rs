//! Proofs: what an answer claims, written down so that others can check it.
//!
//! A proof names the state that was searched, the question, the hits with their scores, and an upper bound of every
//! other record's score. Whoever has the database can check it without trusting the search that made it:
//! [`Snapshot::check`](crate::Snapshot::check) does so by a path of its own, `tests/check_with_numpy.py` from the
//! specification of the files alone.

use super::{Hits, Plan};
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::matrix::MatrixView;
use crate::score::Metric;
use crate::store::Snapshot;
use crate::store::layout::{Sixteen, hex};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Version of the document.
const VERSION: u32 = 1;

/// What an exact answer claims; [`Hits::proof`] makes one. As text it is a JSON document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Proof {
    /// Version of this document: 1.
    pub otolith_proof: u32,
    /// The state that was searched.
    pub state: ProvenState,
    /// What was asked.
    pub question: ProvenQuestion,
    /// The hits, best first, equal scores by id.
    pub hits: Vec<ProvenHit>,
    /// No record outside the hits scores more than this; `None` when there is none outside.
    pub best_excluded: Option<f64>,
    /// Records that were left out because an upper bound of their score was low enough.
    pub bounded: usize,
    /// The same, by what their bounds were computed from.
    pub excluded: Vec<ProvenExclusion>,
    /// Records that were scored in `f64`.
    pub scored: usize,
    /// How each segment was searched. For people: a check does not rely on it.
    pub segments: Vec<ProvenSegment>,
}

/// The state of a collection that a proof is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProvenState {
    /// Identity of the database, in hexadecimal digits.
    pub database: String,
    /// Name of the collection.
    pub collection: String,
    /// Number of the manifest that the state is based on.
    pub generation: u64,
    /// Number of the last commit in it.
    pub commit: u64,
    /// Records that pass the filter.
    pub records: u64,
}

/// The question that a proof is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProvenQuestion {
    /// Rows of the query, as they were given.
    pub rows: usize,
    /// Numbers in a row.
    pub dim: usize,
    /// CRC-32 of the numbers in order, each as four bytes of `f32`, the lowest first.
    pub crc32: u32,
    /// Name of the view that was searched.
    pub view: String,
    /// Identity of the view's parameters, in hexadecimal digits; `None` for the raw rows.
    pub parameters: Option<String>,
    /// How rows are compared: the name of a [`Metric`].
    pub metric: String,
    /// The filter, as an expression.
    pub filter: Option<String>,
    /// Hits that were wanted at most; `None` means all.
    pub k: Option<usize>,
    /// Least score of a hit.
    pub min_score: Option<f64>,
}

/// A hit of a proven answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProvenHit {
    /// The record's id.
    pub id: String,
    /// Its score, to the last bit.
    pub score: f64,
}

/// Records that were left out by bounds of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProvenExclusion {
    /// What the bounds were computed from: a [`BoundBy`](super::BoundBy).
    pub by: String,
    /// How many.
    pub records: usize,
    /// None of them scores more.
    pub most: f64,
}

/// How a segment was searched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProvenSegment {
    /// Number of the segment in its snapshot.
    pub segment: u32,
    /// Records in it that pass the filter.
    pub records: u64,
    /// How it was searched: a [`Way`](super::Way).
    pub way: String,
    /// Why in that way.
    pub why: String,
}

/// What a search keeps of itself for a proof.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    database: Sixteen,
    collection: String,
    generation: u64,
    commit: u64,
    records: u64,
    rows: usize,
    dim: usize,
    crc32: u32,
    view: String,
    parameters: Option<Sixteen>,
    metric: Metric,
    filter: Option<Filter>,
    k: Option<usize>,
    min_score: Option<f64>,
}

/// The question of a [`Claim`].
pub(super) struct Question<'a> {
    pub(super) query: MatrixView<'a>,
    pub(super) view: &'a str,
    pub(super) metric: Metric,
    pub(super) filter: Option<&'a Filter>,
    pub(super) k: Option<usize>,
    pub(super) min_score: Option<f64>,
}

impl Claim {
    /// Notes what is asked of which state; `records` pass the filter.
    pub(super) fn new(snapshot: &Snapshot, question: &Question<'_>, records: u64) -> Claim {
        let (database, collection, generation, commit) = snapshot.identity();
        Claim {
            database,
            collection: collection.to_owned(),
            generation,
            commit,
            records,
            rows: question.query.rows(),
            dim: question.query.dim(),
            crc32: sum(question.query),
            view: question.view.to_owned(),
            parameters: parameters(snapshot, question.view),
            metric: question.metric,
            filter: question.filter.cloned(),
            k: question.k,
            min_score: question.min_score,
        }
    }
}

/// Returns the CRC-32 of a query's numbers.
pub(super) fn sum(query: MatrixView<'_>) -> u32 {
    crc32fast::hash(bytemuck::cast_slice(query.values()))
}

/// Returns the identity of a view's parameters; none of raw rows, or of a view that there is not.
pub(super) fn parameters(snapshot: &Snapshot, view: &str) -> Option<Sixteen> {
    snapshot.view(view).ok().map(|view| view.root)
}

impl Hits {
    /// Writes down what the answer claims, for others to check.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the answer is not exact: then it claims nothing that a record could refute.
    ///
    /// # Examples
    ///
    /// ```
    /// # use otolith::{Database, Matrix, Record, Schema};
    /// # let folder = tempfile::tempdir()?;
    /// # let db = Database::open(folder.path().join("sounds.otolith"))?;
    /// # let clips = db.create_collection("clips", Schema::new(2))?;
    /// # let query = Matrix::from_vector(vec![0.6, 0.8])?;
    /// # let rain = Matrix::from_vector(vec![0.8, -0.6])?;
    /// # clips.upsert([Record::new("dog-1", query.clone()), Record::new("rain", rain)])?;
    /// use otolith::query::Proof;
    ///
    /// let text = clips.query(&query).k(1).run()?.proof()?.to_string();
    /// // elsewhere, with a copy of the database
    /// let mut proof: Proof = text.parse()?;
    /// assert!(clips.check(&query, &proof)?.holds());
    /// proof.hits[0].id = "rain".into();
    /// println!("{}", clips.check(&query, &proof)?); // which record refutes it, and why
    /// # assert!(!clips.check(&query, &proof)?.holds());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn proof(&self) -> Result<Proof> {
        if !self.certificate.is_exact() {
            return Err(Error::invalid("proof", format!("the answer is not exact: {}", self.certificate.standing())));
        }
        let claim = (*self.claim).clone();
        let Claim { rows, dim, crc32, view, metric, filter, k, min_score, .. } = claim;
        let (database, parameters) = (hex(&claim.database), claim.parameters.as_ref().map(hex));
        let Claim { collection, generation, commit, records, .. } = claim;
        let state = ProvenState { database, collection, generation, commit, records };
        let (metric, filter) = (metric.name().to_owned(), filter.map(|filter| filter.to_string()));
        let question = ProvenQuestion { rows, dim, crc32, view, parameters, metric, filter, k, min_score };
        let excluded = self.certificate.excluded.iter().map(|(by, left)| ProvenExclusion {
            by: by.to_string(),
            records: left.records,
            most: left.most,
        });
        let hit = |hit: &super::Hit| ProvenHit { id: hit.id.clone(), score: hit.score };
        Ok(Proof {
            otolith_proof: VERSION,
            state,
            question,
            hits: self.iter().map(hit).collect(),
            best_excluded: self.certificate.best_excluded,
            bounded: self.certificate.bounded,
            excluded: excluded.collect(),
            scored: self.certificate.scored,
            segments: segments(&self.plan),
        })
    }
}

fn segments(plan: &Plan) -> Vec<ProvenSegment> {
    let segment = |part: &super::SegmentPlan| ProvenSegment {
        segment: part.segment,
        records: part.records,
        way: part.way.to_string(),
        why: part.why.clone().into_owned(),
    };
    plan.segments.iter().map(segment).collect()
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string_pretty(self).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

impl FromStr for Proof {
    type Err = Error;

    /// Reads a JSON document.
    fn from_str(text: &str) -> Result<Proof> {
        let proof: Proof = serde_json::from_str(text)
            .map_err(|error| Error::invalid("proof", format!("this is not the text of a proof: {error}")))?;
        match proof.otolith_proof {
            VERSION => Ok(proof),
            other => Err(Error::invalid("proof", format!("it has version {other}; this release knows {VERSION}"))),
        }
    }
}
