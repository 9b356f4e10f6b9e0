//! One answer out of several, by reciprocal ranks (Cormack, Clarke and Büttcher, *Reciprocal rank fusion outperforms Condorcet and
//! individual rank learning methods*, 2009).
//!
//! Scores of different views, metrics or collections cannot be added; ranks can. A record at rank `r` of an arm (the best has rank 1) gets
//! `weight / (60 + r)` from it, and nothing from an arm that does not list it. So records that several arms find rise above
//! those that one arm alone ranks first, and an arm's list should be longer than the answer wanted: some 100 hits for 10.

use super::{Certificate, Explanation, Hits, Unreadable};
use crate::error::{Error, Result};
use crate::record::Fields;
use std::collections::HashMap;
use std::ops::Deref;

/// The paper's constant: how little the first ranks stand out.
const DAMPING: f64 = 60.0;

/// One of the answers to be fused, and how much it counts.
#[derive(Clone, Debug)]
pub struct Arm {
    hits: Hits,
    weight: f64,
}

impl Arm {
    /// An answer that counts so much: a finite number, not below 0.
    pub fn new(hits: Hits, weight: f64) -> Arm {
        Arm { hits, weight }
    }
}

impl From<Hits> for Arm {
    fn from(hits: Hits) -> Arm {
        Arm::new(hits, 1.0)
    }
}

/// A record found by one arm or several.
#[derive(Clone, Debug)]
pub struct FusedHit {
    /// Its id.
    pub id: String,
    /// The sum of what the arms gave it; larger is better. It says nothing but the order.
    pub score: f64,
    /// Its fields, as the first arm that found it has them.
    pub fields: Fields,
    /// What each arm says of it, in order of the arms; nothing where it does not list it.
    pub arms: Vec<Option<InArm>>,
}

/// Where a record stands in one arm.
#[derive(Clone, Debug)]
pub struct InArm {
    /// From 1.
    pub rank: usize,
    /// The arm's own score.
    pub score: f64,
    /// Which rows matched, where the arm was asked for it.
    pub explanation: Option<Explanation>,
}

/// Records in the order that several arms together give them, best first.
#[derive(Clone, Debug)]
pub struct Fused {
    hits: Vec<FusedHit>,
    /// What each arm is worth, in order.
    pub certificates: Vec<Certificate>,
    /// Records that might belong in one of the arms, but could not be read; each once.
    pub unreadable: Vec<Unreadable>,
}

impl Fused {
    /// Whether every arm is exact: then this is what fusing the arms' exact lists of these lengths gives. What longer lists would give is
    /// not known; a record below the end of a list counts as if that arm had not found it.
    pub fn is_exact(&self) -> bool {
        self.certificates.iter().all(Certificate::is_exact)
    }
}

impl Deref for Fused {
    type Target = [FusedHit];

    fn deref(&self) -> &[FusedHit] {
        &self.hits
    }
}

impl<'a> IntoIterator for &'a Fused {
    type Item = &'a FusedHit;
    type IntoIter = std::slice::Iter<'a, FusedHit>;

    fn into_iter(self) -> Self::IntoIter {
        self.hits.iter()
    }
}

impl IntoIterator for Fused {
    type Item = FusedHit;
    type IntoIter = std::vec::IntoIter<FusedHit>;

    fn into_iter(self) -> Self::IntoIter {
        self.hits.into_iter()
    }
}

/// The best `k` records of several answers together; ties are broken by id. Records are the same when their ids are. With weights of 1:
/// `fuse([first, second], 10)`; with others: `fuse([Arm::new(first, 1.0), Arm::new(second, 0.5)], 10)`.
///
/// # Errors
/// [`Error::Invalid`] for a weight that is negative or not finite.
pub fn fuse<A: Into<Arm>>(arms: impl IntoIterator<Item = A>, k: usize) -> Result<Fused> {
    let arms: Vec<Arm> = arms.into_iter().map(Into::into).collect();
    if let Some(arm) = arms.iter().find(|arm| !(arm.weight.is_finite() && arm.weight >= 0.0)) {
        return Err(Error::invalid("weight", format!("{}: give a number that is not below 0", arm.weight)));
    }
    let count = arms.len();
    let mut by_id: HashMap<String, FusedHit> = HashMap::new();
    let (mut certificates, mut unreadable) = (Vec::with_capacity(count), Vec::new());
    for (at, Arm { hits, weight }) in arms.into_iter().enumerate() {
        certificates.push(hits.certificate.clone());
        for left in &hits.unreadable {
            if !unreadable.contains(left) {
                unreadable.push(left.clone());
            }
        }
        for (rank, hit) in (1..).zip(hits) {
            let begin = || FusedHit { id: hit.id.clone(), score: 0.0, fields: hit.fields, arms: vec![None; count] };
            let fused = by_id.entry(hit.id.clone()).or_insert_with(begin);
            fused.score += weight / (DAMPING + rank as f64);
            fused.arms[at] = Some(InArm { rank, score: hit.score, explanation: hit.explanation });
        }
    }
    let mut hits: Vec<FusedHit> = by_id.into_values().collect();
    hits.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
    hits.truncate(k);
    Ok(Fused { hits, certificates, unreadable })
}
