//! Builds lists: centroids of a sample, the list of each row, codes in order of the lists.
//!
//! By cosine k-means is spherical; else it is by distance, for inner products too: long rows, which answer most
//! queries, come into lists of their own, and the many short ones, which answer few, into large ones. Measured with
//! 20,000 vectors whose lengths were multiplied by `exp(s x normal)`, the share of the codes to be looked at for
//! recall@10 of 0.95, and of the largest list:
//!
//! | lists by | sentences, s = 0 | s = 0.3 | s = 1 | clumps, s = 0 | s = 2 |
//! |---|---|---|---|---|---|
//! | distance | .22, .02 | .24, .03 | .007, .14 | .012, .01 | .005, .26 |
//! | direction, the best of four ways to weigh lengths | .19, .01 | .30, .01 | .28, .01 | .015, .01 | .13, .01 |
//! | distance with a coordinate that makes all equally long | .22, .01 | .11, .03 | .019, .13 | .008, .01 | .99, .26 |

use super::measure::Asking;
use super::{Places, Rows};
use crate::error::{Error, Result};
use crate::index::sq8::{CodeEntry, Sq8, planes, power_of_two};
use crate::index::table::chunk_rows;
use crate::index::truth;
use crate::kernel::ordered;
use crate::matrix::StoredMatrix;
use crate::pipeline::kmeans::{BLOCK, Centroids, Similarity, choose, half_squares, normalise};
use crate::score::Metric;
use crate::store::layout::section;
use crate::store::{Counts, SectionsWriter};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;

/// Seed of everything that is drawn at random.
const SEED: u64 = 7;
/// Rounds of k-means; more change little.
const ROUNDS: usize = 6;
/// Most bytes of the sample.
const SAMPLE_BYTES: usize = 64 << 20;
/// Rows of the sample for each list: at most, and at least.
const MOST_PER_LIST: usize = 256;
const LEAST_PER_LIST: usize = 4;
/// Bytes of rows that one thread finds the lists of at a time.
const BLOCK_BYTES: usize = 4 << 20;

/// Writes the sections of lists over all records that have exactly one row.
pub(super) fn build(
    rows: &Rows<'_>,
    metric: Metric,
    queries: &[StoredMatrix<'_>],
    out: &mut SectionsWriter<'_>,
) -> Result<Counts> {
    let mut draws = ChaCha8Rng::seed_from_u64(SEED);
    let count = rows.records().len();
    let asking: Vec<u32> =
        choose(count, truth::queries(count), &mut draws).map(|number| rows.records()[number]).collect();
    let (centroids, unit) = fit(rows, metric, &asking, &mut draws)?;
    let (starts, order) = in_lists(&lists_of(rows, metric, &centroids, unit)?, centroids.len());
    let order: Vec<u32> = order.into_iter().map(|number| rows.records()[number as usize]).collect();
    let centroids = centroids.into_values();

    // Codes are made for some rows at a time; the true answers to the questions are collected as they go by.
    let questions = Asking::new(metric, rows, &asking, queries)?;
    let (chunk, mut entries) = (chunk_rows(rows.dim()), Vec::<CodeEntry>::with_capacity(count));
    out.begin(section::CODES)?;
    for records in order.chunks(chunk) {
        let (bytes, some) = rows.encode(metric, records)?;
        let in_planes = planes(&some);
        let codes = Sq8::new(&bytes, &in_planes, rows.dim()).map_err(|what| Error::invalid("lists", what))?;
        questions.look_at(codes, rows, records, entries.len() as u32)?;
        out.append(&bytes)?;
        entries.extend(some);
    }
    out.end();
    let places = Places { metric, centroids: &centroids, halves: &half_squares(&centroids, rows.dim()) };
    let curve = questions.curve(places, &starts)?;
    out.section(section::CODE_ENTRIES, bytemuck::cast_slice(&planes(&entries)))?;
    out.section(section::ORDER, bytemuck::cast_slice(&order))?;
    out.section(section::LIST_STARTS, bytemuck::cast_slice(&starts))?;
    out.section(section::CENTROIDS, bytemuck::cast_slice(&centroids))?;
    out.section(section::CURVE, &curve.to_bytes())?;
    out.section(section::QUESTIONS, &curve.questions_to_bytes())?;
    Ok(rows.counts())
}

/// Returns centroids of the rows that are not questions, and the unit in which rows are compared with them: a power of
/// two, so that products of rows of any length are within the range of `f32`.
fn fit(rows: &Rows<'_>, metric: Metric, asking: &[u32], draws: &mut ChaCha8Rng) -> Result<(Centroids, f64)> {
    let similarity = if metric == Metric::Cosine { Similarity::Direction } else { Similarity::Distance };
    let (count, dim) = (rows.records().len(), rows.dim());
    let lists = ((2.0 * (count as f64).sqrt()) as usize).max(1);
    let wanted = (lists * MOST_PER_LIST).min(SAMPLE_BYTES / size_of::<f32>() / dim).max(1);
    let asks = |record: &&u32| asking.binary_search(record).is_ok();
    let others: Vec<u32> = rows.records().iter().filter(|record| !asks(record)).copied().collect();
    let drawn: Vec<u32> = choose(others.len(), wanted, draws).map(|number| others[number]).collect();
    let mut sample = vec![0.0f32; drawn.len() * dim];
    let places = sample.par_chunks_exact_mut(dim).zip(&drawn);
    places.try_for_each(|(place, &record)| {
        place.copy_from_slice(rows.matrix(record)?.view().row(0));
        if similarity == Similarity::Direction {
            normalise(place);
        }
        Result::Ok(())
    })?;
    let lists = lists.min(drawn.len().div_ceil(LEAST_PER_LIST));
    let unit = if metric == Metric::Dot { unit(&sample, dim) } else { 1.0 };
    if unit != 1.0 {
        sample.iter_mut().for_each(|value| *value = times(*value, unit));
    }
    Ok((Centroids::fit(similarity, &sample, dim, lists, ROUNDS, draws), unit))
}

/// Returns the number in another unit, or the nearest finite one: what is beyond `f32` in a unit that suits the other
/// rows ranks as the largest.
fn times(value: f32, unit: f64) -> f32 {
    (f64::from(value) * unit).clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
}

/// Returns the power of two that brings the median length of the rows to between 1/2 and 1.
fn unit(sample: &[f32], dim: usize) -> f64 {
    let mut norms: Vec<f64> = sample.chunks_exact(dim).map(|row| ordered::dot(row, row).sqrt()).collect();
    let middle = norms.len() / 2;
    let usual = if norms.is_empty() { 0.0 } else { *norms.select_nth_unstable_by(middle, f64::total_cmp).1 };
    if usual > 0.0 { power_of_two(1.0 / usual) } else { 1.0 }
}

/// Returns the list of each row, in the order of the rows.
fn lists_of(rows: &Rows<'_>, metric: Metric, centroids: &Centroids, unit: f64) -> Result<Vec<u32>> {
    let dim = rows.dim();
    let block = (BLOCK_BYTES / size_of::<f32>() / dim).clamp(1, BLOCK);
    let mut lists = vec![0; rows.records().len()];
    let blocks = lists.par_chunks_mut(block).zip(rows.records().par_chunks(block));
    blocks.try_for_each_init(Default::default, |(places, scores): &mut (Vec<f32>, Vec<f32>), (lists, records)| {
        places.resize(records.len() * dim, 0.0);
        for (place, &record) in places.chunks_exact_mut(dim).zip(records) {
            let matrix = rows.matrix(record)?;
            let scaled = matrix.view().row(0).iter().map(|value| times(*value, unit));
            place.iter_mut().zip(scaled).for_each(|(place, value)| *place = value);
            if metric == Metric::Cosine {
                normalise(place);
            }
        }
        lists.iter_mut().zip(centroids.nearest(places, scores)).for_each(|(list, nearest)| *list = nearest as u32);
        Result::Ok(())
    })?;
    Ok(lists)
}

/// Returns where each list begins, and the end; and the numbers of the rows, list after list, in rising order within
/// each.
fn in_lists(lists: &[u32], count: usize) -> (Vec<u64>, Vec<u32>) {
    let mut starts = vec![0u64; count + 1];
    lists.iter().for_each(|&list| starts[list as usize + 1] += 1);
    (0..count).for_each(|list| starts[list + 1] += starts[list]);
    let (mut next, mut order) = (starts.clone(), vec![0; lists.len()]);
    for (number, &list) in (0..).zip(lists) {
        let place = &mut next[list as usize];
        order[*place as usize] = number;
        *place += 1;
    }
    (starts, order)
}
