//! What comes back: hits in order, and how far they can be trusted.

use super::{Explanation, Plan};
use crate::index::exact::Found;
use crate::record::Fields;
use crate::store::Unreadable;
use std::fmt;
use std::ops::Deref;

/// A record found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Hit {
    /// Its id.
    pub id: String,
    /// Its score; larger is better.
    pub score: f64,
    /// The score divided by the rows of the query (in the view): comparable between queries of different length.
    pub score_per_row: f64,
    /// Its fields.
    pub fields: Fields,
    /// Which rows matched, where asked for.
    pub explanation: Option<Explanation>,
}

/// The answer to a query: hits, best first, and a certificate.
#[derive(Clone, Debug)]
pub struct Hits {
    pub(super) hits: Vec<Hit>,
    /// How far the answer can be trusted.
    pub certificate: Certificate,
    /// How it was found, segment by segment, and why so.
    pub plan: Plan,
    /// Records that might belong in the answer, but could not be read. [`repair_to`](crate::DatabaseOptions::repair_to) saves the others for good.
    pub unreadable: Vec<Unreadable>,
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

/// Evidence for an answer. Of an exact one: no record outside it can belong in it, because each was scored or bounded, but for
/// those that could not be read. An approximate one says how much of the exact answer it has.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Certificate {
    /// Score of the last hit: everything at or above it is in the answer, up to ties.
    pub kth_score: Option<f64>,
    /// The most that any record outside the answer can score, of those that were looked at.
    pub best_excluded: Option<f64>,
    /// How many records could not be read, so that nothing is known of their scores.
    pub unread: u64,
    /// How many records an upper bound of their scores was enough to leave out.
    pub bounded: usize,
    /// How many records were scored in `f64`.
    pub scored: usize,
    /// Where not every record was looked at.
    pub approximation: Option<Approximation>,
}

/// How much of the exact answer an approximate one has.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Approximation {
    /// The recall asked for; none where the effort was given by hand.
    pub target: Option<f64>,
    /// The mean recall at this effort lies between these nine times of ten, as the indexes measured of themselves.
    pub low: f64,
    /// The other end.
    pub high: f64,
    /// Whether the query is like those that this was measured by. If not (which happens where the effort was given by hand; else the exact
    /// scan answers), nothing is promised: `low` is 0 and `high` 1.
    pub like: bool,
}

impl Certificate {
    /// Of a search, and what was left out before it.
    pub(super) fn new(found: &Found, unreadable: &[Unreadable], approximation: Option<Approximation>) -> Certificate {
        Certificate {
            unread: unreadable.iter().map(|left| left.records).sum::<u64>() + found.failed.len() as u64,
            kth_score: found.hits.last().map(|&(score, _)| score),
            best_excluded: Some(found.best_excluded).filter(|bound| bound.is_finite()),
            bounded: found.bounded,
            scored: found.scored,
            approximation,
        }
    }

    /// What the answer is worth.
    pub fn standing(&self) -> Standing {
        match (self.approximation, self.kth_score, self.best_excluded) {
            (Some(Approximation { like: false, .. }), ..) => Standing::Unknown,
            (Some(Approximation { low, high, .. }), ..) => Standing::Recall { low, high },
            _ if self.unread > 0 => Standing::OfTheReadable,
            (None, Some(last), Some(excluded)) if excluded > last => Standing::Unproven,
            _ => Standing::Exact,
        }
    }

    /// Whether the answer is the one that comparing with every record in `f64` would give.
    pub fn is_exact(&self) -> bool {
        self.standing() == Standing::Exact
    }
}

/// What an answer is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Standing {
    /// It is the one that comparing with every record in `f64` would give.
    Exact,
    /// It has a share of the exact one, in the mean between these, as indexes measured with queries like this one; of the records that could be read.
    Recall {
        /// The lower end.
        low: f64,
        /// The higher end.
        high: f64,
    },
    /// Not every record was looked at, and the query is unlike those that indexes were measured with: nothing is promised.
    Unknown,
    /// It is exact for the records that could be read; others could not.
    OfTheReadable,
    /// A record outside it may score more than its last one. No search gives this.
    Unproven,
}

impl Standing {
    /// Its name: `exact`, `recall`, `unknown`, `readable`, `unproven`.
    pub fn name(self) -> &'static str {
        match self {
            Standing::Exact => "exact",
            Standing::Recall { .. } => "recall",
            Standing::Unknown => "unknown",
            Standing::OfTheReadable => "readable",
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
            approximation: None,
        };
        let some = |like| Some(Approximation { target: None, low: 0.9, high: 0.95, like });
        let others = [
            (Certificate { best_excluded: Some(1.5), ..exact.clone() }, "unproven", "not proven"),
            (Certificate { unread: 1, ..exact.clone() }, "readable", "can be read"),
            (Certificate { unread: 1, approximation: some(true), ..exact.clone() }, "recall", "0.900 to 0.950"),
            (Certificate { approximation: some(false), ..exact.clone() }, "unknown", "unlike"),
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
