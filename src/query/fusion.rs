//! Fusion: one answer out of several.
//!
//! Scores of different views, metrics or collections cannot be added as they are. [`Fusion::ReciprocalRank`] adds
//! ranks (Cormack, Clarke and Büttcher, *Reciprocal rank fusion outperforms Condorcet and individual rank learning
//! methods*, 2009): a record at rank `r` of an arm (the best has rank 1) gets `weight / (60 + r)` from it, and
//! nothing from an arm that does not list it. [`Fusion::StandardScore`] adds what each score is in standard
//! deviations from the mean of its list (Montague and Aslam, *Relevance score normalization for metasearch*, 2001):
//! it keeps how far apart the hits of an arm lie, which ranks forget. A record that an arm does not list gets from it
//! what the last of its list gets.
//!
//! Either way, records that several arms find rise above those that one arm alone ranks first. An arm's list should
//! be longer than the answer that is wanted: some 100 hits for 10.

use super::{Certificate, Explanation, Hits, Unreadable};
use crate::error::{Error, Result};
use crate::record::Fields;
use std::collections::HashMap;
use std::ops::{Deref, RangeInclusive};

/// The constant of the paper; the larger it is, the less the first ranks stand out.
const DAMPING: f64 = 60.0;

/// Magnitudes whose squares, and sums of squares, neither vanish nor overflow.
const TAME: RangeInclusive<f64> = 1e-100..=1e100;

/// How the answers of several arms are added up; used by [`fuse_by`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fusion {
    /// By rank: `weight / (60 + rank)`, and nothing for a record that an arm does not list.
    #[default]
    ReciprocalRank,
    /// By score, in standard deviations from the mean of the arm's list, times the weight; a record that an arm does
    /// not list gets what its last hit gets.
    StandardScore,
}

impl Fusion {
    /// Returns what the hits of an arm get, best first, and what a record gets that the arm does not list.
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

/// Returns each score in standard deviations (of all of them) from their mean; zeros when all scores are the same.
/// Neither overflows nor loses small differences, whatever the size of the scores.
pub fn standard_scores(scores: &[f64]) -> Vec<f64> {
    let (least, most) =
        scores.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), &x| (x.min(least), x.max(most)));
    if least >= most {
        return vec![0.0; scores.len()];
    }
    if !TAME.contains(&(most - least)) || least.abs().max(most.abs()) > *TAME.end() {
        // Their places between the least and the most give the same result, and squares of those neither overflow nor
        // vanish. Halves are subtracted because the difference itself may overflow.
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

/// One of the answers to be fused, and its weight. [`Hits`] convert into an arm of weight 1.
#[derive(Clone, Debug)]
pub struct Arm {
    hits: Hits,
    weight: f64,
}

impl Arm {
    /// Makes an arm of this weight: a finite number, not below 0. It is checked by [`fuse`].
    pub fn new(hits: Hits, weight: f64) -> Arm {
        Arm { hits, weight }
    }
}

impl From<Hits> for Arm {
    fn from(hits: Hits) -> Arm {
        Arm::new(hits, 1.0)
    }
}

/// A record that at least one arm found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FusedHit {
    /// The record's id.
    pub id: String,
    /// The sum of what the arms gave the record; larger is better. It serves to order and has no other meaning.
    pub score: f64,
    /// The record's fields, as the first arm that found it has them.
    pub fields: Fields,
    /// Rank and score in each arm, in the order of the arms; `None` where the arm does not list the record.
    pub arms: Vec<Option<InArm>>,
}

/// The rank and score of a record in one arm.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InArm {
    /// The rank in the arm's answer, counted from 1.
    pub rank: usize,
    /// The score that the arm's own query gave.
    pub score: f64,
    /// Which rows matched, where the arm's query asked for an explanation.
    pub explanation: Option<Explanation>,
}

/// The answer of several arms together: records, best first. Behaves as a slice of [`FusedHit`]s.
#[derive(Clone, Debug)]
pub struct Fused {
    hits: Vec<FusedHit>,
    /// What the answer of each arm is worth, in the order of the arms.
    pub certificates: Vec<Certificate>,
    /// Records that might belong in one of the arms but could not be read; each is named once.
    pub unreadable: Vec<Unreadable>,
}

impl Fused {
    /// Returns whether every arm is exact: then this is what fusing the exact lists of these lengths gives. What
    /// longer lists would give is not known; a record below the end of a list counts as not found by that arm.
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

/// Combines several answers by their ranks and returns the best `k` records; ties are broken by id. Records are the
/// same when their ids are. The arms may be answers from different views, metrics or collections, to different
/// queries.
///
/// # Errors
/// [`Error::Invalid`] for a weight that is negative or not finite.
///
/// # Examples
///
/// ```
/// use otolith::query::Arm;
/// use otolith::{Metric, View, fuse};
/// # use otolith::{Database, Matrix, Record, Schema};
/// # let folder = tempfile::tempdir()?;
/// # let db = Database::open(folder.path().join("sounds.otolith"))?;
/// # let clips = db.create_collection("clips", Schema::new(2))?;
/// # for n in 0..9 {
/// #     clips.upsert([Record::new(format!("clip-{n}"), Matrix::from_vector(vec![n as f32, 1.0])?)])?;
/// # }
/// # let query = Matrix::from_vector(vec![3.1, 1.0])?;
/// clips.create_view("by-distance", &View::new([]).metric(Metric::L2))?;
///
/// let by_angle = clips.query(&query).k(100).run()?;
/// let by_distance = clips.query(&query).view("by-distance").k(100).run()?;
/// let both = fuse([Arm::new(by_angle, 1.0), Arm::new(by_distance, 0.5)], 10)?;
/// println!("{} is at the ranks {:?}", both[0].id, both[0].arms);
/// # assert_eq!(both[0].id, "clip-3");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn fuse<A: Into<Arm>>(arms: impl IntoIterator<Item = A>, k: usize) -> Result<Fused> {
    fuse_by(Fusion::ReciprocalRank, arms, k)
}

/// Combines several answers as [`fuse`] does, by ranks or by scores.
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
