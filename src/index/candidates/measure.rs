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
/// So many that found everything prove a recall of 0.99.
const PROOF: usize = 52;
/// Records whose nearness is looked at, for each one that may serve as a query: most, and fewest; and multiplications
/// that this may take.
const SEEN: usize = 10;
const GLANCED: usize = 2;
const SIGHT: f64 = 2e10;
/// Multiplications that finding the true answers may take: 10 to 20 s of one core; and beyond so many queries as are a
/// proof. Not given in seconds, or the bytes would depend on the machine's load.
const WORK: f64 = 5e11;
const LITTLE: f64 = 2e11;
/// A recall@10 that, where not even half of the records as candidates reach it, is asked for in vain: scanning is as
/// fast. Then the fewest queries will do.
const USEFUL: f64 = 0.75;
/// Records that are scored first for a query, those estimated best: few of the others then need more than a bound.
const LIKELY: usize = 512;
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
    let asking = Asking { source, parts, records: &records, settings: &settings };
    let one_row = rows as f64 / records.len() as f64 * source.dim as f64;
    let table = one_row * (parts.centroids.len() / parts.space.width()) as f64;
    let seen = ((SIGHT / table) as usize).clamp(GLANCED * QUERIES, SEEN * QUERIES);
    let seen = choose(records.len(), seen, draws).map(|at| records[at]);
    let own = from_near_to_far(source, parts, seen, QUERIES)?;
    // Wherever this ends, the queries are evenly spread (van der Corput's sequence, 1935), the furthest one among them.
    let mut order: Vec<usize> = (0..own.len()).collect();
    order.sort_by_key(|&at| (at + 1 < own.len(), (at as u32).reverse_bits()));
    let (mut asked, mut pieces, mut spent) = (Vec::with_capacity(own.len()), Vec::with_capacity(own.len()), 0.0);
    for (number, at) in order.into_iter().enumerate() {
        let enough = asked.len() >= FEWEST && !asking.is_useful(&asked);
        let limit = if asked.len() < PROOF { WORK } else { LITTLE };
        if asked.len() >= FEWEST && (enough || spent > limit) {
            break;
        }
        let Some(matrix) = source.matrix(own[at])? else { continue };
        let piece = piece(matrix.view(), number);
        for (matrix, asked) in [(matrix.view(), &mut asked), (piece, &mut pieces)] {
            asked.push(asking.ask(Some(own[at]), matrix)?);
            spent += records.len() as f64 * matrix.rows() as f64 * one_row;
        }
    }
    let total = |weight: usize| asked.iter().flat_map(|asked| asked.found[weight].iter().flatten()).sum::<usize>();
    let best = (1..WEIGHTS.len()).fold(0, |best, at| if total(at) > total(best) { at } else { best });
    let given = queries.iter().map(|query| asking.ask(None, query.view()));
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

/// What is asked.
struct Asking<'a, 'r> {
    source: &'a records::Source<'r>,
    parts: Parts<'a>,
    /// Those that have rows.
    records: &'a [u32],
    settings: &'a [usize],
}

impl Asking<'_, '_> {
    fn ask(&self, own: Option<u32>, matrix: MatrixView<'_>) -> Result<Question> {
        let estimated = self.parts.ask(WEIGHTS, matrix, None, &own.into_iter().collect());
        let signs = estimated[0].signs();
        let found = estimated.map(|mut estimated| estimated.first(MOST));
        let mut likely: Vec<u32> = found.iter().flat_map(|found| found.iter().take(LIKELY)).copied().collect();
        likely.sort_unstable();
        likely.dedup();
        let query = PreparedQuery::new(self.parts.space.metric(), matrix)?;
        let truth = self.truth(own, &query, &likely)?;
        let found = found.map(|found| {
            let place = |record| found.iter().position(|other| other == record);
            let places: Vec<Option<usize>> = truth.iter().map(place).collect();
            HITS.map(|k| {
                let places = &places[..k.min(places.len())];
                // An answer that is shorter than `k` counts as if it were full.
                let both = |&setting: &usize| {
                    k - places.len() + places.iter().flatten().filter(|place| **place < setting).count()
                };
                self.settings.iter().map(both).collect()
            })
        });
        Ok(Question { signs, found })
    }

    /// Returns the records that score best, without the query's own. Those that are likely to come first.
    fn truth(&self, own: Option<u32>, query: &PreparedQuery, likely: &[u32]) -> Result<Vec<u32>> {
        let others = self.records.iter().filter(|other| Some(**other) != own && likely.binary_search(other).is_err());
        let others: Vec<u32> = others.copied().collect();
        let top = Top::new(HITS.last().copied(), None);
        for part in [likely, &others] {
            part.par_iter().try_for_each_init(Scratch::default, |scratch, &record| {
                if let Some(matrix) = self.source.matrix(record)? {
                    match query.score(matrix.view(), top.threshold(), scratch) {
                        Outcome::Below { upper } => top.exclude(upper),
                        Outcome::Exact { score } => top.push(score, record),
                    }
                }
                Result::Ok(())
            })?;
        }
        let Ok(ranked) = top.finish(|record| Ok::<u32, Infallible>(*record));
        Ok(ranked.hits.into_iter().map(|(_, record)| record).collect())
    }

    /// Returns whether candidates find something that are fewer than half of the records, the most that a search takes.
    fn is_useful(&self, asked: &[Question]) -> bool {
        let Some(at) = self.settings.partition_point(|&setting| 2 * setting < self.records.len()).checked_sub(1) else {
            return true;
        };
        let found = |weight: usize| asked.iter().map(|asked| asked.found[weight][1][at]).sum::<usize>();
        let most = (0..WEIGHTS.len()).map(found).max().unwrap_or_default();
        most as f64 >= USEFUL * (HITS[1] * asked.len()) as f64
    }
}

/// Returns the numbers of candidates that are measured for so many records.
fn settings(records: usize) -> Vec<usize> {
    let settings = std::iter::successors(Some(LEAST), |setting| Some(2 * setting)).flat_map(|c| [c, c + c / 2]);
    settings.take_while(|setting| *setting <= MOST && *setting < records).collect()
}
