//! How much of the exact answer is among how many candidates.

use super::build::Source;
use super::search::Parts;
use crate::error::Result;
use crate::index::{Curve, CurveEntry, Top};
use crate::pipeline::kmeans::choose;
use crate::score::{Outcome, PreparedQuery, Scratch};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use roaring::RoaringBitmap;
use std::convert::Infallible;

/// Records that serve as queries at most; and at least, whatever it costs.
const QUERIES: usize = 100;
const FEWEST: usize = 10;
/// Multiplications that all their exact scans may take: 10 to 20 s of one core. Not seconds, or the bytes would depend on
/// the machine's load.
const WORK: f64 = 5e11;
/// Hits wanted.
const HITS: [usize; 3] = [1, 10, 100];
/// Candidates at least and at most; between them doubles of the least, and halfway from each to the next.
const LEAST: usize = 16;
const MOST: usize = 4_096;

/// How much of the rests may count.
const WEIGHTS: [f64; 3] = [0.0, 0.5, 1.0];

/// Asks for some of the records by themselves, and leaves them out of the answers. Gives the weight with which most was
/// found, and how much that was.
pub(super) fn measure(
    source: &Source<'_>,
    parts: Parts<'_>,
    rows: usize,
    draws: &mut ChaCha8Rng,
) -> Result<(f64, Curve)> {
    let records: Vec<u32> = (0..source.records).filter(|record| !parts.codes_of(*record).is_empty()).collect();
    let pairs = pairs(records.len());
    if pairs.is_empty() {
        return Ok((1.0, Curve::default()));
    }
    let scan = rows as f64 * rows as f64 / records.len() as f64 * source.dim as f64;
    let queries = ((WORK / scan) as usize).clamp(FEWEST, QUERIES);
    let mut recalls = WEIGHTS.map(|_| vec![Vec::new(); pairs.len()]);
    for number in choose(records.len(), queries, draws) {
        let query = records[number];
        let Some(matrix) = source.matrix(query)? else { continue };
        let truth = exact(source, &records, query, &PreparedQuery::new(parts.space.metric(), matrix.view())?)?;
        for (weight, recalls) in WEIGHTS.into_iter().zip(&mut recalls) {
            let found = Parts { weight, ..parts }.best(matrix.view(), MOST, None, &RoaringBitmap::from([query]));
            for (&(k, setting), recalls) in pairs.iter().zip(recalls) {
                let (truth, found) = (&truth[..k.min(truth.len())], &found[..setting.min(found.len())]);
                let both = truth.iter().filter(|record| found.contains(record)).count();
                recalls.push(both as f64 / truth.len() as f64);
            }
        }
    }
    let total = |recalls: &Vec<Vec<f64>>| recalls.iter().flatten().sum::<f64>();
    let totals = recalls.each_ref().map(total);
    let best = (1..WEIGHTS.len()).fold(0, |best, at| if totals[at] > totals[best] { at } else { best });
    let entries = pairs.iter().zip(&recalls[best]);
    let entries =
        entries.map(|(&(k, setting), recalls)| CurveEntry::new(k as u64, setting as u64, recalls, setting as f64));
    Ok((WEIGHTS[best], Curve::new(entries.collect())))
}

/// What is measured among so many records: hits wanted, and candidates.
fn pairs(records: usize) -> Vec<(usize, usize)> {
    let settings = std::iter::successors(Some(LEAST), |setting| Some(2 * setting)).flat_map(|c| [c, c + c / 2]);
    let settings = settings.take_while(|setting| *setting <= MOST && *setting < records);
    let pairs = settings.flat_map(|setting| HITS.map(|k| (k, setting)));
    pairs.filter(|(k, setting)| k <= setting).collect()
}

/// The records that score best, but for the query's own.
fn exact(source: &Source<'_>, records: &[u32], own: u32, query: &PreparedQuery) -> Result<Vec<u32>> {
    let top = Top::new(HITS.last().copied(), None);
    let others = records.par_iter().filter(|record| **record != own);
    others.try_for_each_init(Scratch::default, |scratch, &record| {
        if let Some(matrix) = source.matrix(record)? {
            match query.score(matrix.view(), top.threshold(), scratch) {
                Outcome::Below { upper } => top.exclude(upper),
                Outcome::Exact { score } => top.push(score, record),
            }
        }
        Ok(())
    })?;
    let Ok(ranked) = top.finish(|record| Ok::<u32, Infallible>(*record));
    Ok(ranked.hits.into_iter().map(|(_, record)| record).collect())
}
