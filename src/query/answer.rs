//! Answers: hits in order, and how far they can be trusted.

use super::proof::Claim;
use super::{Explanation, Plan};
use crate::index::exact::{BoundBy, Found, LeftOut};
use crate::record::Fields;
use crate::store::Unreadable;
use std::fmt;
use std::ops::Deref;

/// A record in an answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Hit {
    /// The record's id.
    pub id: String,
    /// The score: the sum, over the query's rows in the view, of the best similarity to a row of the record. Larger
    /// is better.
    pub score: f64,
    /// The score divided by the number of query rows in the view: comparable between queries of different length.
    pub score_per_row: f64,
    /// The record's fields.
    pub fields: Fields,
    /// Which rows matched, where [`Query::explain`](super::Query::explain) asked for it.
    pub explanation: Option<Explanation>,
}

/// The answer to a query: hits, best first, with what they are worth and how they were found. Behaves as a slice of
/// [`Hit`]s.
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
/// let hits = clips.query(&query).run()?;
/// for (rank, hit) in hits.iter().enumerate() {
///     println!("{}. {} {:.3}", rank + 1, hit.id, hit.score);
/// }
/// if !hits.unreadable.is_empty() {
///     eprintln!("{} records could not be read", hits.certificate.unread);
/// }
/// let ids: Vec<String> = hits.into_iter().map(|hit| hit.id).collect();
/// assert_eq!(ids, ["dog-1"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Hits {
    pub(super) hits: Vec<Hit>,
    /// How far the answer can be trusted.
    pub certificate: Certificate,
    /// How the answer was found, segment by segment, and why in that way.
    pub plan: Plan,
    /// Records that might belong in the answer but could not be read. Repairing the database
    /// ([`repair_to`](crate::DatabaseOptions::repair_to)) saves all others for good.
    pub unreadable: Vec<Unreadable>,
    /// What [`Hits::proof`] tells.
    pub(super) claim: Box<Claim>,
}

impl Deref for Hits {
    type Target = [Hit];

    fn deref(&self) -> &[Hit] {
        &self.hits
    }
}

impl<'a> IntoIterator for &'a Hits {
    type Item = &'a Hit;
    type IntoIter = std::slice::Iter<'a, Hit>;

    fn into_iter(self) -> Self::IntoIter {
        self.hits.iter()
    }
}

impl IntoIterator for Hits {
    type Item = Hit;
    type IntoIter = std::vec::IntoIter<Hit>;

    fn into_iter(self) -> Self::IntoIter {
        self.hits.into_iter()
    }
}

/// Evidence for an answer. For an exact one: no record outside it can belong in it, because each was scored or its
/// score was bounded from above, except those that could not be read. For an approximate one: how much of the exact
/// answer it has.
///
/// # Examples
///
/// ```
/// # use otolith::{Database, Matrix, Record, Schema};
/// # let folder = tempfile::tempdir()?;
/// # let db = Database::open(folder.path().join("sounds.otolith"))?;
/// # let clips = db.create_collection("clips", Schema::new(2))?;
/// # let query = Matrix::from_vector(vec![0.6, 0.8])?;
/// # clips.upsert([Record::new("near", query.clone()), Record::new("far", Matrix::from_vector(vec![0.8, -0.6])?)])?;
/// use otolith::query::Standing;
///
/// let hits = clips.query(&query).k(1).run()?;
/// match hits.certificate.standing() {
///     Standing::Exact => println!("the same as comparing every record in f64"),
///     Standing::Recall { low, high } => println!("between {low} and {high} of the exact answer, on average"),
///     other => println!("{other}"),
/// }
/// assert!(hits.certificate.best_excluded < hits.certificate.kth_score);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Certificate {
    /// Score of the last hit: every record that scores more is in the answer. `None` when there are no hits.
    pub kth_score: Option<f64>,
    /// The most that any record outside the answer can score, of those that were looked at; `None` when there is
    /// none.
    pub best_excluded: Option<f64>,
    /// Records that could not be read, so that nothing is known of their scores.
    pub unread: u64,
    /// Records that were left out because an upper bound of their score was low enough.
    pub bounded: usize,
    /// The same, by what the bound was computed from.
    pub excluded: Vec<(BoundBy, LeftOut)>,
    /// Records that there was no time for ([`Query::budget_time`](super::Query::budget_time)), and the most that any of
    /// them can score.
    pub unsearched: LeftOut,
    /// Records that were scored in `f64`.
    pub scored: usize,
    /// What is known of the recall, where not every record was looked at.
    pub approximation: Option<Approximation>,
}

/// How much of the exact answer an approximate one has.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Approximation {
    /// The recall that was asked for; `None` where the effort was set by hand.
    pub target: Option<f64>,
    /// Lower end of the interval in which the mean recall at this effort lies nine times of ten, as the indexes
    /// measured of themselves.
    pub low: f64,
    /// Upper end of that interval.
    pub high: f64,
    /// Whether the query is like those that the recall was measured with. If not, nothing is promised: `low` is 0 and
    /// `high` 1. This happens only where the effort was set by hand; otherwise the exact scan answers such a query.
    pub like: bool,
}

impl Certificate {
    /// Makes the certificate of a search, counting also the records that were left out before it.
    pub(super) fn new(found: &Found, unreadable: &[Unreadable], approximation: Option<Approximation>) -> Certificate {
        Certificate {
            unread: unreadable.iter().map(|left| left.records).sum::<u64>() + found.failed.len() as u64,
            kth_score: found.hits.last().map(|&(score, _)| score),
            best_excluded: Some(found.best_excluded).filter(|bound| bound.is_finite()),
            bounded: found.excluded.iter().map(|(_, left)| left.records).sum(),
            excluded: found.excluded.clone(),
            unsearched: found.unsearched,
            scored: found.scored,
            approximation,
        }
    }

    /// Sums up what the answer is worth.
    pub fn standing(&self) -> Standing {
        match (self.approximation, self.kth_score, self.best_excluded) {
            _ if self.unsearched.records > 0 => Standing::Stopped { unsearched: self.unsearched.records },
            (Some(Approximation { like: false, .. }), ..) => Standing::Unknown,
            (Some(Approximation { low, high, .. }), ..) => Standing::Recall { low, high },
            _ if self.unread > 0 => Standing::OfTheReadable,
            (None, Some(last), Some(excluded)) if excluded > last => Standing::Unproven,
            _ => Standing::Exact,
        }
    }

    /// Returns whether the answer is the one that comparing every record in `f64` would give.
    pub fn is_exact(&self) -> bool {
        self.standing() == Standing::Exact
    }
}

/// What an answer is worth; see [`Certificate::standing`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Standing {
    /// It is the answer that comparing every record in `f64` would give.
    Exact,
    /// It has a share of the exact answer; on average, for queries like this one, between `low` and `high`, as
    /// indexes measured. This is of the records that could be read.
    Recall {
        /// The lower end, from 0 to 1.
        low: f64,
        /// The upper end, from 0 to 1.
        high: f64,
    },
    /// Not every record was looked at, and the query is unlike those that indexes were measured with: nothing is
    /// promised.
    Unknown,
    /// It is exact for the records that could be read, but some could not.
    OfTheReadable,
    /// The time was up before every record was looked at: these are the best of the others. What the rest can score
    /// stands in [`Certificate::unsearched`].
    Stopped {
        /// Records that were not looked at.
        unsearched: usize,
    },
    /// A record outside it may score more than its last hit. No search of this library returns this.
    Unproven,
}

impl Standing {
    /// Returns a one-word name: `exact`, `recall`, `unknown`, `readable`, `stopped` or `unproven`.
    pub fn name(self) -> &'static str {
        match self {
            Standing::Exact => "exact",
            Standing::Recall { .. } => "recall",
            Standing::Unknown => "unknown",
            Standing::OfTheReadable => "readable",
            Standing::Stopped { .. } => "stopped",
            Standing::Unproven => "unproven",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Standing::Exact => f.write_str("exact"),
            Standing::Recall { low, high } => write!(f, "recall {low:.3} to {high:.3}"),
            Standing::Unknown => f.write_str("recall unknown: unlike the queries that it was measured with"),
            Standing::OfTheReadable => f.write_str("of the records that can be read"),
            Standing::Stopped { unsearched } => {
                write!(f, "stopped: the time was up before {unsearched} records were looked at")
            }
            Standing::Unproven => f.write_str("not proven to be exact"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_an_answer_is_what_its_certificate_holds() {
        let exact = Certificate {
            kth_score: Some(1.0),
            best_excluded: Some(1.0),
            unread: 0,
            bounded: 0,
            scored: 0,
            excluded: Vec::new(),
            unsearched: LeftOut::NONE,
            approximation: None,
        };
        let some = |like| Some(Approximation { target: None, low: 0.9, high: 0.95, like });
        let others = [
            (Certificate { best_excluded: Some(1.5), ..exact.clone() }, "unproven", "not proven"),
            (Certificate { unread: 1, ..exact.clone() }, "readable", "can be read"),
            (Certificate { unread: 1, approximation: some(true), ..exact.clone() }, "recall", "0.900 to 0.950"),
            (Certificate { approximation: some(false), ..exact.clone() }, "unknown", "unlike"),
            (
                Certificate { unsearched: LeftOut { records: 3, most: 2.0 }, unread: 1, ..exact.clone() },
                "stopped",
                "before 3 records",
            ),
        ];
        assert!(exact.is_exact() && exact.standing().to_string() == exact.standing().name());
        for (certificate, name, text) in others {
            let standing = certificate.standing();
            assert!(
                !certificate.is_exact() && standing.name() == name && standing.to_string().contains(text),
                "{standing}"
            );
        }
        let nothing = Certificate { kth_score: None, best_excluded: Some(1.5), ..exact };
        assert!(nothing.is_exact(), "no hit was wanted");
    }
}
