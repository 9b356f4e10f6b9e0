//! Checks a proof by comparing every record with the query in `f64`, as the definition of a score says. It shares
//! neither kernels nor planner nor indexes with the search: one loop over numbers, one over rows, one over records.

use super::proof::{Proof, parameters, sum};
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::index::{Place, ViewRows};
use crate::matrix::MatrixView;
use crate::score::Metric;
use crate::store::Snapshot;
use crate::store::layout::hex;
use rayon::prelude::*;
use std::collections::HashMap;
use std::fmt;

/// What checking a [`Proof`] found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// The answer is the exact one.
    Holds {
        /// Records that were compared with the query.
        records: u64,
    },
    /// It is not.
    Refuted {
        /// A record that shows it, where one does.
        record: Option<String>,
        /// What is wrong.
        why: String,
    },
}

impl Verdict {
    /// Returns whether the proof holds.
    pub fn holds(&self) -> bool {
        matches!(self, Verdict::Holds { .. })
    }

    fn of_record(record: &str, why: impl Into<String>) -> Verdict {
        Verdict::Refuted { record: Some(record.to_owned()), why: why.into() }
    }

    fn of_all(why: impl Into<String>) -> Verdict {
        Verdict::Refuted { record: None, why: why.into() }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Holds { records } => write!(f, "holds: compared with {records} records"),
            Verdict::Refuted { record: Some(record), why } => write!(f, "refuted by `{record}`: {why}"),
            Verdict::Refuted { record: None, why } => write!(f, "refuted: {why}"),
        }
    }
}

impl Snapshot {
    /// Checks a proof against these records: compares each that passes its filter with the query in `f64`, and says
    /// whether the proven answer is the exact one, or which record refutes it. It takes one multiplication after the
    /// other, so some hundred times as long as a search.
    ///
    /// A proof made of another state holds if the answer is the same here; otherwise the verdict says that the states
    /// differ.
    ///
    /// # Errors
    /// [`Error::Mismatch`] and [`Error::Invalid`] when the query is not the one of the proof, or the proof contradicts
    /// itself; [`Error::NotFound`] for a view that does not exist; [`Error::Corrupt`] when a record cannot be read,
    /// because then nothing can be said.
    pub fn check<'q>(&self, query: impl Into<MatrixView<'q>>, proof: &Proof) -> Result<Verdict> {
        let verdict = check(self, query.into(), proof)?;
        let (database, collection, generation, commit) = self.identity();
        let own = (hex(&database), collection, generation, commit);
        let proven = &proof.state;
        let is_same = own == (proven.database.clone(), &proven.collection, proven.generation, proven.commit);
        Ok(match verdict {
            Verdict::Holds { records } if is_same && records != proven.records => {
                Verdict::of_all(format!("the proof is of {} records, {records} pass the filter", proven.records))
            }
            Verdict::Refuted { record, why } if !is_same => {
                let why = format!("{why} (the proof is of another state: commit {}, this is {commit})", proven.commit);
                Verdict::Refuted { record, why }
            }
            verdict => verdict,
        })
    }
}

fn check(snapshot: &Snapshot, query: MatrixView<'_>, proof: &Proof) -> Result<Verdict> {
    let question = &proof.question;
    if (query.rows(), query.dim()) != (question.rows, question.dim) {
        let shape = |rows, dim| format!("{rows} rows of {dim} numbers");
        return Err(Error::mismatch("query", shape(question.rows, question.dim), shape(query.rows(), query.dim())));
    }
    if sum(query) != question.crc32 {
        return Err(Error::invalid("query", "its numbers are not those of the proof"));
    }
    if snapshot.schema().dim != query.dim() {
        return Err(Error::mismatch("query", format!("rows of {} numbers", snapshot.schema().dim), query.dim()));
    }
    let filter = question.filter.as_deref().map(Filter::parse).transpose()?;
    let rows = ViewRows::open(snapshot, &question.view)?;
    if parameters(snapshot, &question.view).as_ref().map(hex) != question.parameters {
        return Ok(Verdict::of_all(format!("the view `{}` has other parameters now", question.view)));
    }
    let metric = rows.metric()?;
    if metric.name() != question.metric {
        return Ok(Verdict::of_all(format!("rows are compared by {}, not by {}", metric.name(), question.metric)));
    }
    if let Some(refuted) = contradiction(proof) {
        return Ok(refuted);
    }
    let query = rows.apply(query)?;
    let norms: Vec<f64> = query.view().iter().map(norm).collect();
    let claimed: HashMap<&str, f64> = proof.hits.iter().map(|hit| (hit.id.as_str(), hit.score)).collect();
    let is_full = question.k.is_some_and(|k| proof.hits.len() == k);

    let mut places: Vec<Place> = Vec::new();
    for (segment, part) in (0u32..).zip(snapshot.segments()) {
        places.extend(part.numbers()?.map(|record| Place { segment, record }));
    }
    // Whether a record was claimed, and what it refutes; nothing of one that does not pass the filter.
    let look = |place: &Place| -> Result<Option<(bool, Option<Verdict>)>> {
        let segment = &snapshot.segments()[place.segment as usize].segment;
        let id = segment.id(place.record)?;
        if let Some(filter) = &filter
            && !filter.matches(id, &segment.fields(place.record)?)
        {
            return Ok(None);
        }
        let matrix = rows.matrix(*place)?;
        let score = score(metric, query.view(), &norms, matrix.view());
        let claim = claimed.get(id);
        let refuted = match (claim, score) {
            (Some(_), None) => Some("it is a hit, but has no rows".to_owned()),
            (Some(claim), Some(score)) if claim.to_bits() != score.to_bits() => {
                Some(format!("it scores {score:?}, not {claim:?}"))
            }
            (None, Some(score)) => refutes(id, score, proof, is_full),
            _ => None,
        };
        Ok(Some((claim.is_some(), refuted.map(|why| Verdict::of_record(id, why)))))
    };
    let looked: Vec<(bool, Option<Verdict>)> =
        places.par_iter().filter_map(|place| look(place).transpose()).collect::<Result<_>>()?;
    if let Some(refuted) = looked.iter().find_map(|(_, refuted)| refuted.clone()) {
        return Ok(refuted);
    }
    if looked.iter().filter(|(claimed, _)| *claimed).count() != proof.hits.len() {
        let is_missing = |id: &str| snapshot.entry(id).is_ok_and(|found| found.is_none());
        let missing = proof.hits.iter().find(|hit| is_missing(&hit.id)).or(proof.hits.first());
        let id = missing.map(|hit| hit.id.as_str()).unwrap_or_default();
        return Ok(Verdict::of_record(id, "a hit is no record that passes the filter"));
    }
    Ok(Verdict::Holds { records: looked.len() as u64 })
}

/// What in the proof contradicts itself, whatever the records are.
fn contradiction(proof: &Proof) -> Option<Verdict> {
    let question = &proof.question;
    if question.k.is_some_and(|k| proof.hits.len() > k) {
        return Some(Verdict::of_all("there are more hits than were asked for"));
    }
    let is_in_order = |pair: &[super::proof::ProvenHit]| {
        pair[0].score > pair[1].score || (pair[0].score == pair[1].score && pair[0].id < pair[1].id)
    };
    if let Some(pair) = proof.hits.windows(2).find(|pair| !is_in_order(pair)) {
        return Some(Verdict::of_record(&pair[1].id, "it does not come after the hit before it"));
    }
    if proof.excluded.iter().map(|excluded| excluded.records as u128).sum::<u128>() != proof.bounded as u128 {
        return Some(Verdict::of_all("the records left out by each kind of bound do not add up"));
    }
    // A bound that is no number is above everything.
    let is_above = |most: f64| !proof.best_excluded.is_some_and(|best| most <= best);
    if let Some(excluded) = proof.excluded.iter().find(|excluded| is_above(excluded.most)) {
        let why = format!("what is left out by {} may score {:?}, above its bound", excluded.by, excluded.most);
        return Some(Verdict::of_all(why));
    }
    let low = proof.hits.iter().find(|hit| question.min_score.is_some_and(|least| hit.score < least));
    low.map(|hit| Verdict::of_record(&hit.id, "it scores less than was asked for"))
}

/// Why a record that is no hit refutes the proof, if it does.
fn refutes(id: &str, score: f64, proof: &Proof, is_full: bool) -> Option<String> {
    let question = &proof.question;
    let is_hit = match proof.hits.last() {
        _ if question.min_score.is_some_and(|least| score < least) => false,
        Some(last) if is_full => score > last.score || (score == last.score && id < last.id.as_str()),
        None if is_full => false,
        _ => true,
    };
    if is_hit {
        return Some(format!("it scores {score:?} and is not among the hits"));
    }
    match proof.best_excluded {
        Some(bound) if score > bound => {
            Some(format!("it scores {score:?}, above the bound {bound:?} of what is left out"))
        }
        // A search for nothing bounds nothing.
        None if question.k != Some(0) => Some("the proof says that no record is left out".to_owned()),
        _ => None,
    }
}

/// Returns the score of a record by its definition: products and sums in `f64`, by rising index. `None` without rows.
fn score(metric: Metric, query: MatrixView<'_>, norms: &[f64], record: MatrixView<'_>) -> Option<f64> {
    if record.rows() == 0 {
        return None;
    }
    let record_norms: Vec<f64> = record.iter().map(norm).collect();
    let mut total = 0.0;
    for (q, q_norm) in query.iter().zip(norms) {
        let mut best = f64::NEG_INFINITY;
        for (d, d_norm) in record.iter().zip(&record_norms) {
            let similarity = match metric {
                Metric::Dot => inner_product(q, d),
                Metric::Cosine if *q_norm == 0.0 || *d_norm == 0.0 => 0.0,
                Metric::Cosine => inner_product(q, d) / (q_norm * d_norm),
                Metric::L2 => 0.0 - squared_distance(q, d),
            };
            if similarity > best {
                best = similarity;
            }
        }
        total += best;
    }
    Some(total + 0.0) // turns -0 into 0
}

fn norm(row: &[f32]) -> f64 {
    inner_product(row, row).sqrt()
}

fn inner_product(a: &[f32], b: &[f32]) -> f64 {
    let mut sum = 0.0;
    for (a, b) in a.iter().zip(b) {
        sum += f64::from(*a) * f64::from(*b);
    }
    sum
}

fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    let mut sum = 0.0;
    for (a, b) in a.iter().zip(b) {
        let difference = f64::from(*a) - f64::from(*b);
        sum += difference * difference;
    }
    sum
}
