//! Measures how much of the exact answer is among how many candidates.

use super::build as records;
use super::search::Parts;
use crate::error::Result;
use crate::index::questions::{Questions, Signs};
use crate::index::{Curve, CurveSource, Top};
use crate::matrix::{MatrixView, StoredMatrix};
use crate::pipeline::kmeans::choose;
use crate::random::mixed;
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
/// Fewest records that are scored for every query, those estimated best; else one in so many.
const LIKELY: usize = 512;
const SHARE: usize = 8;
/// One in so many of the others is scored as well.
const SAMPLED: u64 = 8;
/// Numbers of hits for which recall is measured.
const HITS: [usize; 3] = [1, 10, 100];
const MOST_HITS: usize = 100;
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
    for (number, at) in (0..).zip(order) {
        let enough = asked.len() >= FEWEST && !asking.is_useful(&asked);
        let limit = if asked.len() < PROOF { WORK } else { LITTLE };
        if asked.len() >= FEWEST && (enough || spent > limit) {
            break;
        }
        let Some(matrix) = source.matrix(own[at])? else { continue };
        let piece = piece(matrix.view(), number);
        for (matrix, asked) in [(matrix.view(), &mut asked), (piece, &mut pieces)] {
            let question = asking.ask(number, Some(own[at]), matrix)?;
            spent += question.scored as f64 * matrix.rows() as f64 * one_row;
            asked.push(question);
        }
    }
    let total = |weight: usize| asked.iter().flat_map(|asked| asked.found[weight].iter().flatten()).sum::<usize>();
    let best = (1..WEIGHTS.len()).fold(0, |best, at| if total(at) > total(best) { at } else { best });
    let given = (QUERIES..).zip(queries).map(|(number, query)| asking.ask(number, None, query.view()));
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
    /// How many records were scored to learn the true answer.
    scored: usize,
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
    fn ask(&self, number: usize, own: Option<u32>, matrix: MatrixView<'_>) -> Result<Question> {
        let likely = LIKELY.max(self.records.len() / SHARE);
        let estimated = self.parts.ask(WEIGHTS, matrix, None, &own.into_iter().collect());
        let signs = estimated[0].signs();
        let found = estimated.map(|mut estimated| estimated.first(MOST.max(likely)));
        let mut likely: Vec<u32> = found.iter().flat_map(|found| found.iter().take(likely)).copied().collect();
        likely.sort_unstable();
        likely.dedup();
        let query = PreparedQuery::new(self.parts.space.metric(), matrix)?;
        let (truth, scored) = self.truth(number, own, &query, &likely)?;
        let found = found.map(|found| {
            let place = |record| found.iter().take(MOST).position(|other| other == record);
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
        Ok(Question { signs, found, scored })
    }

    /// Returns the records that score best, without the query's own, and how many were scored: all, unless those that
    /// are likely and some of the others say that there is no need, because of these others none is among the best, nor
    /// among twice as many. If `m` of the best are neither, that goes unnoticed with a chance of `(1 - 1 / SAMPLED)^3m`
    /// or so (as there are more of them among the less good), so of 100 hits less than one is overlooked in the mean.
    fn truth(
        &self,
        number: usize,
        own: Option<u32>,
        query: &PreparedQuery,
        likely: &[u32],
    ) -> Result<(Vec<u32>, usize)> {
        let others =
            self.records.iter().copied().filter(|other| Some(*other) != own && likely.binary_search(other).is_err());
        let is_drawn = |record: &u32| mixed((number as u64) << 32 | u64::from(*record)).is_multiple_of(SAMPLED);
        let (drawn, rest): (Vec<u32>, Vec<u32>) = others.partition(is_drawn);
        let mut best = self.scan(query, &[likely, &drawn].concat(), Vec::new())?;
        let mut scored = likely.len() + drawn.len();
        if best.iter().any(|(_, record)| drawn.binary_search(record).is_ok()) {
            best = self.scan(query, &rest, best)?;
            scored += rest.len();
        }
        Ok((best.into_iter().map(|(_, record)| record).take(MOST_HITS).collect(), scored))
    }

    /// Adds these records to the best so far.
    fn scan(&self, query: &PreparedQuery, records: &[u32], best: Vec<(f64, u32)>) -> Result<Vec<(f64, u32)>> {
        let top = Top::new(Some(2 * MOST_HITS), None);
        best.into_iter().for_each(|(score, record)| top.push(score, record));
        records.par_iter().try_for_each_init(Scratch::default, |scratch, &record| {
            if let Some(matrix) = self.source.matrix(record)? {
                match query.score(matrix.view(), top.threshold(), scratch) {
                    Outcome::Below { upper } => top.exclude(upper),
                    Outcome::Exact { score } => top.push(score, record),
                }
            }
            Result::Ok(())
        })?;
        let Ok(ranked) = top.finish(|record| Ok::<u32, Infallible>(*record));
        Ok(ranked.hits)
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
