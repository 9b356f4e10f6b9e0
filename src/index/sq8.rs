//! SQ8 codes: rows in one byte a number, and the bounds on their scores that follow.
//!
//! A row `x` is kept as `scale * c`, with whole numbers `c` from -127 to 127 and `scale` the largest magnitude in `x`
//! over 127. By cosine it is scaled to length one first. Written in the terms of [`crate::score`]'s fast values, with
//! `d^ = scale * c`, `E = |d - d^|` and `M = |d^|`, both measured in `f64` and rounded up, and likewise `q^` and
//! `e = |q - q^|` of the query:
//!
//! ```text
//! <q,d> = <q^,d^> + <q,d - d^> + <q - q^,d^>      so      |<q,d> - <q^,d^>| <= |q| E + e M      (Cauchy-Schwarz)
//! ```
//! `E` and `e` hold whatever the rounding did: the bound is rigorous by measurement, not by a model of the data. The
//! integer product is exact. A query is kept in two bytes a number (the first as for a row, the second what that leaves
//! over), so `e` is some hundred times smaller than `E`.
//!
//! The proof needs `f32` entries that were rounded by at most 2^-24 of themselves. A row with an entry outside the
//! normal range (`scale` of rows that are tiny or huge, `|d|^2 / 2` by L2 of lengths below some 1.5e-19 or above
//! 2.6e19) has no bound, and is always scored. Products of the query's numbers are taken in `f64`, whose range has room
//! for the squares of any two numbers of `f32`.
//!
//! So a scan reads a quarter of the bytes that the rows take, and leaves the few rows whose interval reaches the k-th
//! best lower end to be scored exactly: the answer is the reference's.

use super::top::Score;
use crate::kernel::{STRIDE, SignedCodes, ordered, prefetch};
use crate::score::Metric;
use rayon::prelude::*;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

/// Bytes of codes that one thread scans at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// Bytes of a row that are prefetched.
const PREFETCHED: usize = 4_096;

/// The numbers that are kept beside the codes of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct CodeEntry {
    /// The value of one unit of the codes.
    pub(crate) scale: f32,
    /// Added to the product: `-|d|^2 / 2` by L2, else 0.
    pub(crate) offset: f32,
    /// `E` above; infinite where the row has no bound.
    pub(crate) error: f32,
    /// `M` above.
    pub(crate) size: f32,
}

impl CodeEntry {
    /// Returns the entry of the same row times `unit`, a power of two above or below 1.
    pub(crate) fn times(&self, unit: f64) -> CodeEntry {
        let times = |value: f32, unit: f64| (f64::from(value) * unit) as f32;
        CodeEntry {
            scale: times(self.scale, unit),
            offset: times(self.offset, unit * unit),
            error: times(self.error, unit),
            size: times(self.size, unit),
        }
    }
}

/// Returns entries as they lie in a file: all scales, then all offsets, errors, sizes. So the scales alone, which a
/// walk through a graph needs of scattered rows, stay in the caches.
pub(crate) fn planes(entries: &[CodeEntry]) -> Vec<f32> {
    let plane = |of: fn(&CodeEntry) -> f32| entries.iter().map(of);
    plane(|entry| entry.scale)
        .chain(plane(|entry| entry.offset))
        .chain(plane(|entry| entry.error))
        .chain(plane(|entry| entry.size))
        .collect()
}

/// Returns how many bytes the codes of a row of `dim` numbers take.
pub(crate) fn stride(dim: usize) -> usize {
    dim.next_multiple_of(STRIDE)
}

/// Writes the codes of a row into `codes`, which has the length [`stride`], and returns its entry.
pub(crate) fn encode(metric: Metric, row: &[f32], codes: &mut [u8]) -> CodeEntry {
    codes.fill(128);
    let square = ordered::dot(row, row);
    let norm = square.sqrt();
    let largest = row.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    if largest == 0.0 {
        return CodeEntry::default();
    }
    let length = if metric == Metric::Cosine { norm } else { 1.0 };
    let scale = (f64::from(largest) / 127.0 / length) as f32;
    let steps = 127.0 / f64::from(largest);
    let (mut error, mut size) = (0.0f64, 0.0f64);
    for (code, &value) in codes.iter_mut().zip(row) {
        let whole = nearest(f64::from(value) * steps).clamp(-127.0, 127.0);
        *code = (whole as i32 + 128) as u8;
        let kept = f64::from(scale) * whole;
        error += (f64::from(value) / length - kept).powi(2);
        size += kept * kept;
    }
    let offset = if metric == Metric::L2 { (-0.5 * square) as f32 } else { 0.0 };
    let entry = CodeEntry { scale, offset, error: rounded_up(error.sqrt()), size: rounded_up(size.sqrt()) };
    // A number outside the normal range was rounded by more than any bound allows for.
    let is_normal = entry.scale.is_normal() && (metric != Metric::L2 || entry.offset.is_normal());
    if is_normal && entry.error.is_finite() && entry.size.is_finite() {
        return entry;
    }
    codes.fill(128);
    CodeEntry { error: f32::INFINITY, ..CodeEntry::default() }
}

/// Rounds a number that is not large to the nearest whole one: adding 1.5 * 2^52 leaves no room for a fraction. (A call
/// of the library's rounding for each number would take longer than all else.)
pub(super) fn nearest(value: f64) -> f64 {
    (value + ROOM) - ROOM
}

/// Turns a whole number from -128 to 127 into a byte; a cast would also check the range.
fn byte(whole: f64) -> i8 {
    (whole + ROOM).to_bits() as i8
}

const ROOM: f64 = 1.5 * (1u64 << 52) as f64;

/// Returns the largest power of two not above `value`, kept within the normal range of `f32`.
pub(crate) fn power_of_two(value: f64) -> f64 {
    value.log2().floor().clamp(-126.0, 126.0).exp2()
}

/// Rounds a number up, by more than sums of squares in `f64` can lose.
pub(super) fn rounded_up(value: f64) -> f32 {
    ((value * 1.000_01) as f32).next_up()
}

/// The codes of some rows of one segment, wherever their bytes lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sq8<'a> {
    bytes: &'a [u8],
    scales: &'a [f32],
    offsets: &'a [f32],
    errors: &'a [f32],
    sizes: &'a [f32],
    stride: usize,
}

impl<'a> Sq8<'a> {
    /// Takes codes and the [`planes`] of their entries.
    ///
    /// # Errors
    /// What contradicts itself in them, in words.
    pub(crate) fn new(bytes: &'a [u8], planes: &'a [f32], dim: usize) -> Result<Sq8<'a>, &'static str> {
        let stride = stride(dim);
        let rows = planes.len() / 4;
        if rows.checked_mul(stride) != Some(bytes.len()) || !planes.len().is_multiple_of(4) {
            return Err("codes that are not as many as their entries");
        }
        let plane = |number: usize| &planes[number * rows..][..rows];
        Ok(Sq8 { bytes, scales: plane(0), offsets: plane(1), errors: plane(2), sizes: plane(3), stride })
    }

    /// Returns whether all entries could come from [`encode`]. Forged ones would make bounds that prove nothing.
    pub(crate) fn are_sound(&self) -> bool {
        let sound = |row: usize| {
            let entry = self.entry(row);
            entry.scale.is_finite()
                && entry.scale >= 0.0
                && entry.offset.is_finite()
                && entry.offset <= 0.0
                && entry.error >= 0.0
                && entry.size.is_finite()
                && entry.size >= 0.0
        };
        (0..self.len()).into_par_iter().with_min_len(1 << 14).all(sound)
    }

    pub(crate) fn len(&self) -> usize {
        self.scales.len()
    }

    /// Returns the rows without a bound: they have to be scored.
    pub(crate) fn without_bound(&self) -> impl Iterator<Item = u32> {
        (0..).zip(self.errors).filter(|(_, error)| **error == f32::INFINITY).map(|(row, _)| row)
    }

    /// Returns the smallest offset; 0 where there are no rows.
    pub(crate) fn least_offset(&self) -> f32 {
        self.offsets.iter().fold(0.0, |least, offset| least.min(*offset))
    }

    /// Returns a range of the rows.
    pub(crate) fn part(&self, rows: Range<usize>) -> Sq8<'a> {
        Sq8 {
            bytes: &self.bytes[rows.start * self.stride..rows.end * self.stride],
            scales: &self.scales[rows.clone()],
            offsets: &self.offsets[rows.clone()],
            errors: &self.errors[rows.clone()],
            sizes: &self.sizes[rows],
            stride: self.stride,
        }
    }

    pub(crate) fn row(&self, row: usize) -> &'a [u8] {
        &self.bytes[row * self.stride..][..self.stride]
    }

    pub(crate) fn entry(&self, row: usize) -> CodeEntry {
        CodeEntry { scale: self.scales[row], offset: self.offsets[row], error: self.errors[row], size: self.sizes[row] }
    }

    /// Turns the product of a query's codes with a row into a value near the row's score times `unit`, larger for a
    /// better one. `step` is the value of one unit of the query's codes.
    #[inline]
    pub(crate) fn value(&self, row: usize, product: i64, step: f32, unit: f32) -> f32 {
        product as f32 * (step * self.scales[row]) + self.offsets[row] * unit
    }

    /// Prefetches a row, of a long one the beginning: the processor fetches the rest by itself.
    pub(crate) fn prefetch(&self, row: usize) {
        prefetch(&self.row(row)[..self.stride.min(PREFETCHED)]);
    }

    /// Returns those of `rows` (positions, fastest in rising runs; all when `None`) that may be among the `k` best of
    /// at least `floor`, each with the most that it can score, best first; and the most that any other can score.
    pub(crate) fn candidates(
        &self,
        query: &Sq8Query,
        rows: Option<&[u32]>,
        k: Option<usize>,
        floor: f64,
    ) -> (Vec<(f64, u32)>, f64) {
        let count = rows.map_or(self.len(), <[u32]>::len);
        let chunk = (CHUNK_BYTES / self.stride).max(1).next_multiple_of(8);
        if count <= chunk {
            let mut kept = Kept::new(k, floor);
            self.look_at(query, rows, 0..count, &mut kept);
            return kept.finish();
        }
        let parts = (0..count.div_ceil(chunk)).into_par_iter().with_min_len(4);
        let shared = parts.fold(
            || Kept::new(k, floor),
            |mut kept, part| {
                self.look_at(query, rows, part * chunk..count.min((part + 1) * chunk), &mut kept);
                kept
            },
        );
        shared.reduce(|| Kept::new(k, floor), Kept::join).finish()
    }

    fn look_at(&self, query: &Sq8Query, rows: Option<&[u32]>, part: Range<usize>, kept: &mut Kept) {
        let row_at = |at: usize| rows.map_or(at, |rows| rows[at] as usize);
        let end = part.end;
        let mut at = part.start;
        while at + 8 <= end {
            let eight: [usize; 8] = std::array::from_fn(|next| row_at(at + next));
            if rows.is_some() {
                (at + 8..end.min(at + 16)).for_each(|next| self.prefetch(row_at(next)));
            }
            let [high, low] = query.high.dot8_both(&query.low, eight.map(|row| self.row(row)));
            for next in 0..8 {
                kept.consider(query.interval(self.entry(eight[next]), high[next], low[next]), eight[next] as u32);
            }
            at += 8;
        }
        for row in (at..end).map(row_at) {
            let (high, low) = (query.high.dot(self.row(row)), query.low.dot(self.row(row)));
            kept.consider(query.interval(self.entry(row), high, low), row as u32);
        }
    }
}

/// Rows that may be among the best, as far as one thread has seen.
struct Kept {
    k: Option<usize>,
    /// A row whose upper bound is below this is not among the best.
    tau: f64,
    /// The best lower bounds, `k` of them.
    lowest: BinaryHeap<Reverse<Score>>,
    candidates: Vec<(f64, u32)>,
    excluded: f64,
}

impl Kept {
    fn new(k: Option<usize>, floor: f64) -> Kept {
        let tau = if k == Some(0) { f64::INFINITY } else { floor };
        Kept { k, tau, lowest: BinaryHeap::new(), candidates: Vec::new(), excluded: f64::NEG_INFINITY }
    }

    fn consider(&mut self, (lower, upper): (f64, f64), row: u32) {
        if upper < self.tau {
            self.excluded = self.excluded.max(upper);
            return;
        }
        self.candidates.push((upper, row));
        self.raise(lower);
    }

    fn raise(&mut self, lower: f64) {
        let Some(k) = self.k else { return };
        if lower <= self.tau && self.lowest.len() >= k {
            return;
        }
        self.lowest.push(Reverse(Score(lower)));
        if self.lowest.len() > k {
            self.lowest.pop();
        }
        if self.lowest.len() == k
            && let Some(Reverse(Score(kth))) = self.lowest.peek()
        {
            self.tau = self.tau.max(*kth);
        }
    }

    fn join(mut self, other: Kept) -> Kept {
        self.excluded = self.excluded.max(other.excluded);
        other.lowest.into_iter().for_each(|Reverse(Score(lower))| self.raise(lower));
        self.tau = self.tau.max(other.tau);
        self.candidates.extend(other.candidates);
        self
    }

    /// Drops the candidates that `tau` has risen above since, and puts the others in order.
    fn finish(mut self) -> (Vec<(f64, u32)>, f64) {
        let (tau, excluded) = (self.tau, &mut self.excluded);
        self.candidates.retain(|&(upper, _)| {
            let stays = upper >= tau;
            if !stays {
                *excluded = excluded.max(upper);
            }
            stays
        });
        self.candidates.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        (self.candidates, self.excluded)
    }
}

/// One row of a query, as codes of two bytes a number.
#[derive(Clone, Debug)]
pub(crate) struct Sq8Query {
    metric: Metric,
    high: SignedCodes,
    low: SignedCodes,
    /// The value of one unit of `high` and of `low`.
    steps: [f64; 2],
    norm: f64,
    /// `|q - q^|`, rounded up.
    error: f64,
    dim: usize,
}

impl Sq8Query {
    /// Makes the codes of a query's row.
    pub(crate) fn new(metric: Metric, row: &[f32]) -> Sq8Query {
        let norm = ordered::dot(row, row).sqrt();
        let largest = row.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let step = if largest == 0.0 { 1.0 } else { f64::from(largest) / 127.0 };
        let fine = step / 254.0;
        // The error is measured from the codes, so it does no harm that a product rounds otherwise than a quotient.
        let (per_step, per_fine) = (1.0 / step, 1.0 / fine);
        let code = |value: f32, error: &mut f64| {
            let value = f64::from(value);
            let whole = nearest((value * per_step).clamp(-127.0, 127.0));
            let part = nearest(((value - whole * step) * per_fine).clamp(-127.0, 127.0));
            *error += (value - whole * step - part * fine).powi(2);
            (byte(whole), byte(part))
        };
        let (mut high, mut low) = (vec![0; row.len()], vec![0; row.len()]);
        let mut errors = [0.0f64; 8];
        let ((values, rest), (highs, high_rest), (lows, low_rest)) =
            (row.as_chunks::<8>(), high.as_chunks_mut::<8>(), low.as_chunks_mut::<8>());
        for ((values, high), low) in values.iter().zip(highs).zip(lows) {
            for (lane, error) in errors.iter_mut().enumerate() {
                (high[lane], low[lane]) = code(values[lane], error);
            }
        }
        for ((value, high), low) in rest.iter().zip(high_rest).zip(low_rest) {
            (*high, *low) = code(*value, &mut errors[0]);
        }
        let error: f64 = errors.iter().sum();
        let (high, low) = (SignedCodes::new(high), SignedCodes::new(low));
        let norm = norm * (1.0 + (row.len() as f64 + 8.0) * f64::EPSILON);
        Sq8Query { metric, high, low, steps: [step, fine], norm, error: error.sqrt() * 1.000_01, dim: row.len() }
    }

    /// Returns what [`Sq8Query::coarse`] does, without the unit, for records that are scaled by `unit` so that no
    /// offset is far from 1.
    pub(crate) fn coarse_in(&self, unit: f64) -> (&SignedCodes, f32) {
        (&self.high, if self.metric == Metric::L2 { (self.steps[0] * unit) as f32 } else { 1.0 })
    }

    /// Returns the coarser byte of each number, enough to walk through a graph by; the value of one unit of it; and the
    /// unit of the values. That unit is a power of two that keeps values within the range of `f32`, whatever the size
    /// of the row and of the records (no offset is below `offset`).
    pub(crate) fn coarse(&self, offset: f32) -> (&SignedCodes, f32, f32) {
        if self.metric != Metric::L2 {
            return (&self.high, 1.0, 1.0);
        }
        let largest = self.norm.max((-2.0 * f64::from(offset)).sqrt());
        let unit = if largest > 0.0 { power_of_two(1.0 / (largest * largest)) } else { 1.0 };
        (&self.high, (self.steps[0] * unit) as f32, unit as f32)
    }

    /// Returns the interval in which a row's score lies, given its products with both bytes.
    fn interval(&self, entry: CodeEntry, high: i64, low: i64) -> (f64, f64) {
        if entry.error == f32::INFINITY {
            return (f64::NEG_INFINITY, f64::INFINITY);
        }
        let (scale, offset, size) = (f64::from(entry.scale), f64::from(entry.offset), f64::from(entry.size));
        let value = (self.steps[0] * high as f64 + self.steps[1] * low as f64) * scale + offset;
        // Beyond the bound of the module's text: the offset was rounded to `f32`; the few roundings here and the many
        // of the reference are far below 2^-22 of the largest that its terms can be, but for squared differences of
        // very long rows.
        let reach = self.norm * (size + f64::from(entry.error));
        let mut error = self.norm * f64::from(entry.error) + self.error * size + (reach - offset) / f64::from(1 << 22);
        if self.metric == Metric::L2 {
            error += 2.0 * (self.dim as f64 + 8.0) * f64::EPSILON * (self.norm * self.norm - 2.0 * offset);
        }
        match self.metric {
            Metric::Dot => (value - error, value + error),
            Metric::Cosine if self.norm == 0.0 => (0.0, 0.0),
            Metric::Cosine => ((value - error) / self.norm, (value + error) / self.norm),
            Metric::L2 => {
                let square = self.norm * self.norm;
                let slack = (self.dim as f64 + 8.0) * 4.0 * f64::EPSILON * square;
                (2.0 * (value - error) - square - slack, 2.0 * (value + error) - square + slack)
            }
        }
    }

    /// Returns the interval of one row's score.
    #[cfg(test)]
    fn interval_of(&self, codes: &Sq8<'_>, row: usize) -> (f64, f64) {
        self.interval(codes.entry(row), self.high.dot(codes.row(row)), self.low.dot(codes.row(row)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Matrix;
    use crate::score::reference;
    use proptest::prelude::*;

    const METRICS: [Metric; 3] = [Metric::Dot, Metric::Cosine, Metric::L2];

    /// Numbers of very different sizes, zeros among them.
    fn row(dim: usize) -> impl Strategy<Value = Vec<f32>> {
        let number = prop_oneof![4 => -1f32..1.0, 1 => Just(0.0), 1 => -1e4f32..1e4, 1 => -1e-6f32..1e-6];
        // Any size that a number can have, subnormal ones included.
        let size = prop_oneof![4 => Just(0), 1 => -149i32..127];
        (prop::collection::vec(number, dim), size).prop_map(|(row, size)| {
            row.into_iter().map(|value| (f64::from(value) * 2f64.powi(size)).clamp(-3e38, 3e38) as f32).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn every_score_lies_in_its_interval(
            (query, rows) in (1usize..200).prop_flat_map(|dim| (row(dim), prop::collection::vec(row(dim), 1..9))),
            scale in prop_oneof![Just(1.0f32), Just(1e-20), Just(1e-40), Just(1e15), Just(0.0)],
            k in 1usize..4,
        ) {
            let query: Vec<f32> = query.iter().map(|value| (value * scale).clamp(-3e38, 3e38)).collect();
            let dim = query.len();
            for metric in METRICS {
                let mut bytes = vec![0; rows.len() * stride(dim)];
                let coded = bytes.chunks_exact_mut(stride(dim)).zip(&rows);
                let entries: Vec<CodeEntry> = coded.map(|(codes, row)| encode(metric, row, codes)).collect();
                let planes = planes(&entries);
                let codes = Sq8::new(&bytes, &planes, dim).unwrap();
                prop_assert!(codes.are_sound());
                let coded = Sq8Query::new(metric, &query);
                let query = Matrix::from_vector(query.clone()).unwrap();
                let score = |row: &Vec<f32>| {
                    reference(metric, query.view(), Matrix::from_vector(row.clone()).unwrap().view()).unwrap()
                };
                let scores: Vec<f64> = rows.iter().map(score).collect();
                for (row, &score) in scores.iter().enumerate() {
                    let (lower, upper) = coded.interval_of(&codes, row);
                    prop_assert!(lower <= score && score <= upper, "{metric:?} {lower} {score} {upper}");
                }
                let (candidates, excluded) = codes.candidates(&coded, None, Some(k), f64::NEG_INFINITY);
                let mut ranked = scores.clone();
                ranked.sort_by(|a, b| b.total_cmp(a));
                let kth = ranked[k.min(ranked.len()) - 1];
                for (row, &score) in scores.iter().enumerate() {
                    let is_candidate = candidates.iter().any(|&(_, candidate)| candidate as usize == row);
                    prop_assert!(is_candidate || (score <= excluded && score < kth), "{metric:?}: row {row} is lost");
                }
            }
        }
    }
}
