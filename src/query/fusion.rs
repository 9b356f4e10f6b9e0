//! One answer out of several.
//!
//! Scores of different views, metrics or collections cannot be added as they are. [`Fusion::ReciprocalRank`] adds ranks
//! (Cormack, Clarke and Büttcher, *Reciprocal rank fusion outperforms Condorcet and individual rank learning methods*, 2009): a record
//! at rank `r` of an arm (the best has rank 1) gets `weight / (60 + r)` from it, and nothing from an arm that does not list it.
//! [`Fusion::StandardScore`] adds what each score is in standard deviations from the mean of its list (Montague and Aslam, *Relevance
//! score normalization for metasearch*, 2001): it keeps how far apart the hits of an arm lie, which ranks forget. A
//! record that an arm does not list gets from it what the last of its list gets; without `k` in the arms' queries each lists all.
//!
//! Either way records that several arms find rise above those that one arm alone ranks first, and an arm's list should be
//! longer than the answer wanted: some 100 hits for 10.

use super::{Certificate, Explanation, Hits, Unreadable};
use crate::error::{Error, Result};
use crate::record::Fields;
use std::collections::HashMap;
use std::ops::{Deref, RangeInclusive};

/// The paper's constant: how little the first ranks stand out.
const DAMPING: f64 = 60.0;

/// Numbers whose squares, and sums of these, are neither lost nor infinite.
const TAME: RangeInclusive<f64> = 1e-100..=1e100;

/// What an arm gives to the records that it lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fusion {
    /// By their ranks.
    #[default]
    ReciprocalRank,
    /// By their scores, in standard deviations from the mean of the list.
    StandardScore,
}

impl Fusion {
    /// What the hits of an arm get, best first, and what a record gets that is not among them.
    fn points(self, Arm { hits, weight }: &Arm) -> (Vec<f64>, f64) {
        match self {
            Fusion::ReciprocalRank => ((1..=hits.len()).map(|rank| weight / (DAMPING + rank as f64)).collect(), 0.0),
            Fusion::StandardScore => {
                let scores: Vec<f64> = hits.iter().map(|hit| hit.score).collect();
                let points: Vec<f64> = standard_scores(&scores).iter().map(|score| weight * score).collect();
                let last = points.last().copied().unwrap_or_default();
                (points, last)
            }
        }
    }
}

/// Each score in standard deviations (those of all of them) from the mean; zeros when all are the same.
pub fn standard_scores(scores: &[f64]) -> Vec<f64> {
    let (least, most) =
        scores.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), &x| (x.min(least), x.max(most)));
    if least >= most {
        return vec![0.0; scores.len()];
    }
    if !TAME.contains(&(most - least)) || least.abs().max(most.abs()) > *TAME.end() {
        // Where they lie between the least and the most says the same, and neither overflows nor vanishes. Halves, because all of it may.
        let span = most / 2.0 - least / 2.0;
        let shares: Vec<f64> = scores.iter().map(|score| (score / 2.0 - least / 2.0) / span).collect();
        return standardised(&shares);
    }
    standardised(scores)
}

fn standardised(scores: &[f64]) -> Vec<f64> {
    let count = scores.len() as f64;
    let mean = scores.iter().sum::<f64>() / count;
    let deviation = (scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / count).sqrt();
    let factor = if deviation > 0.0 { 1.0 / deviation } else { 0.0 };
    scores.iter().map(|score| (score - mean) * factor).collect()
}

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
#[non_exhaustive]
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
#[non_exhaustive]
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

/// The best `k` records of several answers together by their ranks; ties are broken by id. Records are the same when their ids are. With weights of 1:
/// `fuse([first, second], 10)`; with others: `fuse([Arm::new(first, 1.0), Arm::new(second, 0.5)], 10)`.
///
/// # Errors
/// [`Error::Invalid`] for a weight that is negative or not finite.
pub fn fuse<A: Into<Arm>>(arms: impl IntoIterator<Item = A>, k: usize) -> Result<Fused> {
    fuse_by(Fusion::ReciprocalRank, arms, k)
}

/// As [`fuse`], by ranks or by scores.
///
/// # Errors
/// As [`fuse`].
pub fn fuse_by<A: Into<Arm>>(fusion: Fusion, arms: impl IntoIterator<Item = A>, k: usize) -> Result<Fused> {
    let arms: Vec<Arm> = arms.into_iter().map(Into::into).collect();
    if let Some(arm) = arms.iter().find(|arm| !(arm.weight.is_finite() && arm.weight >= 0.0)) {
        return Err(Error::invalid("weight", format!("{}: give a number that is not below 0", arm.weight)));
    }
    let count = arms.len();
    let points: Vec<(Vec<f64>, f64)> = arms.iter().map(|arm| fusion.points(arm)).collect();
    let unlisted: f64 = points.iter().map(|(_, unlisted)| unlisted).sum();
    let mut by_id: HashMap<String, FusedHit> = HashMap::new();
    let (mut certificates, mut unreadable) = (Vec::with_capacity(count), Vec::new());
    for (at, (Arm { hits, .. }, (points, unlisted_here))) in arms.into_iter().zip(points).enumerate() {
        certificates.push(hits.certificate.clone());
        for left in &hits.unreadable {
            if !unreadable.contains(left) {
                unreadable.push(left.clone());
            }
        }
        for (rank, (hit, points)) in (1..).zip(hits.into_iter().zip(points)) {
            let begin =
                || FusedHit { id: hit.id.clone(), score: unlisted, fields: hit.fields, arms: vec![None; count] };
            let fused = by_id.entry(hit.id.clone()).or_insert_with(begin);
            fused.score += points - unlisted_here;
            fused.arms[at] = Some(InArm { rank, score: hit.score, explanation: hit.explanation });
        }
    }
    let mut hits: Vec<FusedHit> = by_id.into_values().collect();
    hits.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
    hits.truncate(k);
    Ok(Fused { hits, certificates, unreadable })
}
