//! What comes back: hits in order, and how far they can be trusted.

use super::{Explanation, Plan};
use crate::index::exact::Found;
use crate::record::Fields;
use crate::store::Unreadable;
use std::ops::Deref;

/// A record found.
#[derive(Clone, Debug)]
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
    /// Records that might belong in the answer, but could not be read. `otolith repair` saves the others for good.
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
pub struct Certificate {
    /// Score of the last hit: everything at or above it is in the answer, up to ties.
    pub kth_score: Option<f64>,
    /// The most that any record outside the answer can score, of those that were looked at.
    pub best_excluded: Option<f64>,
    /// How many records could not be read, so that nothing is known of their scores.
    pub unread: u64,
    /// How many records were settled at which step, cheapest first.
    pub tiers: Vec<Tier>,
    /// Where not every record was looked at.
    pub approximation: Option<Approximation>,
}

/// How much of the exact answer an approximate one has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Approximation {
    /// The recall asked for; none where the effort was given by hand.
    pub target: Option<f64>,
    /// The mean recall at this effort lies between these nine times of ten, as the indexes measured of themselves.
    pub low: f64,
    /// The other end.
    pub high: f64,
}

/// A step of the search.
#[derive(Clone, Debug, PartialEq)]
pub struct Tier {
    /// `bound`: an upper bound was enough; `exact`: the score was computed in `f64`.
    pub name: &'static str,
    /// Records settled there.
    pub records: usize,
}

impl Certificate {
    /// Of a search, and what was left out before it.
    pub(super) fn new(found: &Found, unreadable: &[Unreadable], approximation: Option<Approximation>) -> Certificate {
        Certificate {
            unread: unreadable.iter().map(|left| left.records).sum::<u64>() + found.failed.len() as u64,
            kth_score: found.hits.last().map(|&(score, _)| score),
            best_excluded: Some(found.best_excluded).filter(|bound| bound.is_finite()),
            tiers: vec![Tier { name: "bound", records: found.bounded }, Tier { name: "exact", records: found.scored }],
            approximation,
        }
    }

    /// Whether the answer is the one that comparing with every record in `f64` would give.
    pub fn is_exact(&self) -> bool {
        self.unread == 0
            && self.approximation.is_none()
            && match (self.kth_score, self.best_excluded) {
                (Some(last), Some(excluded)) => excluded <= last,
                _ => true,
            }
    }
}
