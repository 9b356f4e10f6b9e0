//! Measures how much of the exact answer is among how many candidates.

use super::build as records;
use super::search::Parts;
use crate::error::Result;
use crate::index::questions::{Questions, Signs};
use crate::index::{Curve, CurveSource, Top};
use crate::matrix::{MatrixView, StoredMatrix};
use crate::pipeline::kmeans::choose;
use crate::score::{Outcome, PreparedQuery, Scratch};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::convert::Infallible;

/// Most records that serve as queries; and fewest, whatever it costs.
const QUERIES: usize = 100;
const FEWEST: usize = 10;
/// Records whose nearness is looked at, for each one that is to serve as a query.
const SEEN: usize = 10;
/// Multiplications that all their exact scans may take: 10 to 20 s of one core. Not given in seconds, or the bytes
/// would depend on the machine's load.
const WORK: f64 = 5e11;
/// Numbers of hits for which recall is measured.
const HITS: [usize; 3] = [1, 10, 100];
/// Fewest and most candidates that are measured; between them the doubles of the fewest, and what is halfway between
/// two.
const LEAST: usize = 16;
const MOST: usize = 4_096;

/// The weights of the rests that are tried.
const WEIGHTS: [f64; 3] = [0.0, 0.5, 1.0];

/// Measures recall with some of the records and a piece of each, which are left out of their own answers, and with
/// queries that the caller gave. Returns the weight with which the records found most, and how much was found with
/// that.
pub(super) fn measure(
    source: &records::Source<'_>,
    parts: Parts<'_>,
    rows: usize,
    queries: &[StoredMatrix<'_>],
    draws: &mut ChaCha8Rng,
) -> Result<(f64, Curve)> {
    let records: Vec<u32> = (0..source.records).filter(|record| !parts.codes_of(*record).is_empty()).collect();
    let settings = settings(records.len());
    if settings.is_empty() {
        return Ok((1.0, Curve::default()));
    }
    let scan = rows as f64 * rows as f64 / records.len() as f64 * source.dim as f64;
    let count = ((WORK / scan) as usize).clamp(FEWEST, QUERIES);
    let own = from_near_to_far(source, parts, choose(records.len(), SEEN * count, draws).map(|at| records[at]), count)?;
    let (mut asked, mut pieces) = (Vec::with_capacity(own.len()), Vec::with_capacity(own.len()));
    for (number, &record) in own.iter().enumerate() {
        let Some(matrix) = source.matrix(record)? else { continue };
        let matrix = matrix.view();
        asked.push(ask(source, parts, &records, Some(record), matrix, &settings)?);
        pieces.push(ask(source, parts, &records, Some(record), piece(matrix, number), &settings)?);
    }
    let total = |weight: usize| asked.iter().flat_map(|asked| asked.found[weight].iter().flatten()).sum::<usize>();
    let best = (1..WEIGHTS.len()).fold(0, |best, at| if total(at) > total(best) { at } else { best });
    let given = queries.iter().map(|query| ask(source, parts, &records, None, query.view(), &settings));
    let given = given.collect::<Result<Vec<_>>>()?;
    let mut measured = Vec::new();
    for (source, asked) in
        [(CurveSource::Records, &asked), (CurveSource::Queries, &given), (CurveSource::Pieces, &pieces)]
    {
        for (which, k) in HITS.into_iter().enumerate().filter(|&(_, k)| k <= records.len()) {
            let first = settings.partition_point(|&setting| setting < k);
            let one = |asked: &Question| (asked.signs, asked.found[best][which][first..].to_vec());
            let settings: Vec<u64> = settings[first..].iter().map(|&setting| setting as u64).collect();
            let compared = settings.iter().map(|&setting| setting as f64).collect();
            measured.push((Questions::new(source, k as u64, settings, asked.iter().map(one).collect()), compared));
        }
    }
    Ok((WEIGHTS[best], Curve::new(measured)))
}

/// Chooses `count` of these records, at even steps from the nearest to the least near: a few drawn blindly would leave
/// it open where the records end and others begin.
fn from_near_to_far(
    source: &records::Source<'_>,
    parts: Parts<'_>,
    seen: impl Iterator<Item = u32>,
    count: usize,
) -> Result<Vec<u32>> {
    let mut near = Vec::new();
    for record in seen {
        let matrix = source.matrix(record)?;
        near.extend(matrix.map(|matrix| (parts.signs(matrix.view())[0], record)));
    }
    near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let (last, gaps) = (near.len().saturating_sub(1), count.max(2) - 1);
    let mut chosen: Vec<u32> = (0..count.min(near.len())).map(|at| near[at * last / gaps].1).collect();
    chosen.dedup();
    Ok(chosen)
}

/// Returns successive rows from the middle of a record: half of them, a quarter and so on down to one row, by turns of
/// `number`.
fn piece(matrix: MatrixView<'_>, number: usize) -> MatrixView<'_> {
    let lengths = matrix.rows().max(2).ilog2() as usize;
    let rows = (matrix.rows() >> (1 + number % lengths)).max(1).min(matrix.rows());
    let first = (matrix.rows() - rows) / 2;
    MatrixView::trusted(rows, matrix.dim(), &matrix.values()[first * matrix.dim()..][..rows * matrix.dim()])
}

/// What one query found.
struct Question {
    signs: Signs,
    /// How many hits were found, by weight, number of hits and setting.
    found: [[Vec<usize>; HITS.len()]; WEIGHTS.len()],
}

fn ask(
    source: &records::Source<'_>,
    parts: Parts<'_>,
    records: &[u32],
    own: Option<u32>,
    matrix: MatrixView<'_>,
    settings: &[usize],
) -> Result<Question> {
    let truth = exact(source, records, own, &PreparedQuery::new(parts.space.metric(), matrix)?)?;
    let mut signs = [f64::NAN; 2];
    let found = WEIGHTS.map(|weight| {
        let mut estimated = Parts { weight, ..parts }.ask(matrix, None, &own.into_iter().collect());
        signs = estimated.signs();
        let found = estimated.first(MOST);
        HITS.map(|k| {
            let truth = &truth[..k.min(truth.len())];
            let both = |&setting: &usize| {
                let found = &found[..setting.min(found.len())];
                // An answer that is shorter than `k` counts as if it were full.
                k - truth.len() + truth.iter().filter(|record| found.contains(record)).count()
            };
            settings.iter().map(both).collect()
        })
    });
    Ok(Question { signs, found })
}

/// Returns the numbers of candidates that are measured for so many records.
fn settings(records: usize) -> Vec<usize> {
    let settings = std::iter::successors(Some(LEAST), |setting| Some(2 * setting)).flat_map(|c| [c, c + c / 2]);
    settings.take_while(|setting| *setting <= MOST && *setting < records).collect()
}

/// Returns the records that score best, without the query's own.
fn exact(source: &records::Source<'_>, records: &[u32], own: Option<u32>, query: &PreparedQuery) -> Result<Vec<u32>> {
    let top = Top::new(HITS.last().copied(), None);
    let others = records.par_iter().filter(|record| Some(**record) != own);
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
