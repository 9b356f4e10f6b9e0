//! Finding the directions in which a segment's rows are longest, and coding its records by them.

use super::{ENTRY, OF_TIER, drift, lead, rest, tiers};
use crate::error::Result;
use crate::index::sq8::{nearest, rounded_up};
use crate::kernel::{self, LANES, Lanes, PackedRows, ScaledRows, Strided, ordered, product};
use crate::matrix::{MatrixView, StoredMatrix};
use crate::random::unit_f32;
use crate::score::{Metric, is_ordinary};
use crate::store::layout::section;
use crate::store::{Counts, SectionsWriter};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;

/// Rows that the basis is found by, from all over the segment.
const SAMPLE: usize = 4_096;
/// Rows of it that follow each other.
const NEIGHBOURS: usize = 16;
/// Rounds of turning the basis towards them.
const ROUNDS: usize = 8;
/// Power of how large a number gets that is its weight. By 1 small numbers of a record are as precise, in proportion,
/// as large ones, by 0 in absolute terms; between them both those of the record and of the query are off by little
/// (on frames of sounds bounds are 8 to 10 percent nearer than by 1, on even ones as near).
const EVENNESS: f64 = 0.75;
/// Bytes of records that are coded before they are written.
const CHUNK_BYTES: usize = 64 << 20;
/// Most numbers of a record that is coded: its coordinates are computed all at once.
const MOST: usize = 1 << 24;

/// What all records of a segment are coded by.
struct Coder {
    dim: usize,
    metric: Metric,
    tiers: Vec<usize>,
    basis: Vec<f32>,
    packed: PackedRows,
    defect: f64,
    weights: Vec<f32>,
}

/// A record in whole numbers.
struct Coded {
    entry: Vec<f32>,
    bytes: Vec<u8>,
    rows: usize,
}

pub(super) fn write<'a>(
    records: u32,
    dim: usize,
    metric: Metric,
    matrix: &(dyn Fn(u32) -> Result<StoredMatrix<'a>> + Sync),
    out: &mut SectionsWriter<'_>,
) -> Result<Counts> {
    let coder = Coder::new(metric, dim, &sample(records, dim, metric, matrix));
    let (mut entries, mut starts) = (Vec::new(), vec![0u64]);
    let lasting = out.is_lasting();
    out.begin(section::CODES)?;
    let some = (CHUNK_BYTES / (dim * 4 * 64).max(1)).max(1);
    let all: Vec<u32> = (0..records).collect();
    for part in all.chunks(some) {
        let code = |&record: &u32| match matrix(record) {
            Ok(matrix) => Ok(coder.code(matrix.view())),
            // A file must not say that a record has no bound because it could not be read this once.
            Err(error) if lasting => Err(error),
            Err(_) => Ok(coder.without_bound()),
        };
        for coded in part.par_iter().map(code).collect::<Result<Vec<Coded>>>()? {
            out.append(&coded.bytes)?;
            entries.extend(coded.entry);
            starts.push(starts.last().copied().unwrap_or_default() + coded.rows as u64);
        }
    }
    out.end();
    out.section(section::PLANES, bytemuck::bytes_of(&coder.defect))?;
    out.section(section::BASIS, bytemuck::cast_slice(&coder.basis))?;
    out.section(section::WEIGHTS, bytemuck::cast_slice(&coder.weights))?;
    out.section(section::CODE_ENTRIES, bytemuck::cast_slice(&entries))?;
    out.section(section::ROW_OFFSETS, bytemuck::cast_slice(&starts))?;
    let rows = starts.last().copied().unwrap_or_default();
    Ok(Counts { records: records.into(), rows, dim: dim as u64 })
}

/// Some rows of the records, evenly spaced; by cosine of length one.
fn sample<'a>(
    records: u32,
    dim: usize,
    metric: Metric,
    matrix: &(dyn Fn(u32) -> Result<StoredMatrix<'a>> + Sync),
) -> Vec<f32> {
    let most = SAMPLE.min(1 << 22 >> dim.ilog2());
    let each = most.div_ceil(256).max(most / records.max(1) as usize).max(1);
    let wanted = (most / each).clamp(1, records.max(1) as usize);
    let mut sample = Vec::new();
    for at in 0..wanted {
        let Ok(matrix) = matrix((at as u64 * u64::from(records) / wanted as u64) as u32) else { continue };
        let rows = matrix.view().rows();
        for row in (0..rows).step_by(rows.div_ceil(each).max(1)) {
            let row = matrix.view().row(row);
            let norm = ordered::dot(row, row).sqrt();
            if is_ordinary(norm) && norm > 0.0 {
                let length = if metric == Metric::Cosine { norm } else { 1.0 };
                sample.extend(row.iter().map(|&value| (f64::from(value) / length) as f32));
            }
        }
    }
    sample
}

impl Coder {
    fn new(metric: Metric, dim: usize, sample: &[f32]) -> Coder {
        let tiers = tiers(dim);
        let width = tiers.last().copied().unwrap_or_default();
        let basis = basis(dim, width, sample);
        let defect = defect(dim, &basis);
        let coordinates = coordinates(dim, &basis, sample);
        // What matters of a number is how large it gets in a record, because that sets the record's scale. Neighbours
        // of the sample stand for one.
        let neighbours = (sample.len() / dim).div_ceil(NEIGHBOURS).max(1) as f64;
        let mut squares = vec![0.0f64; width + tiers.len()];
        for (rows, coordinates) in sample.chunks(NEIGHBOURS * dim).zip(coordinates.chunks(NEIGHBOURS * width)) {
            let mut largest = vec![0.0f64; width + tiers.len()];
            for (row, y) in rows.chunks(dim).zip(coordinates.chunks(width)) {
                let square = ordered::dot(row, row);
                let rest = |&tier: &usize| (square - ordered::dot(&y[..tier], &y[..tier])).max(0.0).sqrt();
                let numbers = y.iter().map(|y| f64::from(y.abs())).chain(tiers.iter().map(rest));
                largest.iter_mut().zip(numbers).for_each(|(largest, number)| *largest = largest.max(number));
            }
            squares.iter_mut().zip(&largest).for_each(|(square, number)| *square += number * number / neighbours);
        }
        // A coordinate that is usually near zero is not always, and one large number of it sets the scale of all.
        let least = (squares[..width].iter().sum::<f64>() / width as f64 * 1e-3).max(1e-30);
        let weights = squares.into_iter().map(|square| (square + least).powf(EVENNESS / 2.0) as f32).collect();
        let packed = PackedRows::new(MatrixView::trusted(width, dim, &basis));
        Coder { dim, metric, tiers, basis, packed, defect, weights }
    }

    /// An entry of a record whose rows are not kept.
    fn without_bound(&self) -> Coded {
        let mut entry = vec![0.0; ENTRY + OF_TIER * self.tiers.len()];
        entry[0] = f32::INFINITY;
        Coded { entry, bytes: Vec::new(), rows: 0 }
    }

    fn code(&self, matrix: MatrixView<'_>) -> Coded {
        if matrix.values().len() > MOST {
            return self.without_bound();
        }
        let (width, lead) = (self.basis.len() / self.dim, lead(&self.tiers));
        // Of neighbours that are the same one will do: the maximum over rows stays what it is.
        let mut values: Vec<f32> = Vec::with_capacity(matrix.values().len());
        let mut norms: Vec<f64> = Vec::with_capacity(matrix.rows());
        for (number, row) in matrix.iter().enumerate() {
            if number == 0 || row != matrix.row(number - 1) {
                let norm = ordered::dot(row, row).sqrt();
                if !is_ordinary(norm) {
                    return self.without_bound();
                }
                values.extend_from_slice(row);
                norms.push(norm);
            }
        }
        let coordinates = self.coordinates(&values, &mut norms);
        let rows_of =
            || coordinates.chunks(self.packed.groups()).map(|y| &bytemuck::cast_slice::<Lanes, f32>(y)[..width]);
        let drifts: Vec<f64> = self.tiers.iter().map(|&tier| drift(self.dim, tier, self.defect)).collect();
        let mut rests = Vec::with_capacity(norms.len() * self.tiers.len());
        let (weights, rest_weights) = self.weights.split_at(width);
        let mut scale = 0.0f64;
        for (y, &norm) in rows_of().zip(&norms) {
            let (mut square, mut from) = (0.0, 0);
            for ((&tier, drift), weight) in self.tiers.iter().zip(&drifts).zip(rest_weights) {
                square += ordered::dot(&y[from..tier], &y[from..tier]);
                from = tier;
                // All coordinates leave nothing out.
                let rest = if tier == self.dim { 0.0 } else { rest(norm, square.sqrt(), *drift) };
                scale = scale.max(rest / f64::from(*weight));
                rests.push(rest);
            }
            let largest = y.iter().zip(weights).fold(0.0f32, |most, (y, weight)| most.max(y.abs() / weight));
            scale = scale.max(f64::from(largest));
        }
        let scale = rounded_up(scale / 127.0);
        let longest = norms.iter().fold(0.0f64, |longest, &norm| longest.max(norm));
        let shortest = norms.iter().fold(f64::INFINITY, |shortest, &norm| shortest.min(norm));
        let mut errors = vec![(0.0f64, 0.0f64); self.tiers.len()];
        let stride = super::bytes(self.dim);
        let mut bytes = vec![128u8; norms.len() * stride];
        let steps: Vec<f64> = weights.iter().map(|&weight| f64::from(scale) * f64::from(weight)).collect();
        let inverses: Vec<f64> = steps.iter().map(|step| 1.0 / step).collect();
        for ((bytes, y), rests) in bytes.chunks_mut(stride).zip(rows_of()).zip(rests.chunks(self.tiers.len())) {
            for ((byte, rest), weight) in bytes.iter_mut().zip(rests).zip(rest_weights) {
                *byte = 128 + (rest / (f64::from(scale) * f64::from(*weight))).ceil().min(127.0) as u8;
            }
            let (mut error, mut size, mut from) = (0.0f64, 0.0f64, 0);
            for (&tier, (errors, sizes)) in self.tiers.iter().zip(&mut errors) {
                let some = from..tier;
                let steps = (&steps[some.clone()], &inverses[some.clone()]);
                let sums = quantise(&y[some], steps, &mut bytes[lead + from..lead + tier]);
                (error, size) = (error + sums.0, size + sums.1);
                *errors = errors.max(error);
                *sizes = sizes.max(size);
                from = tier;
            }
        }
        // Less than a rounding to `f32`, and what sums of squares in `f64` can lose.
        let shortest = if norms.is_empty() { 0.0 } else { (shortest * (1.0 - 1e-6)) as f32 };
        let mut entry = vec![scale, rounded_up(longest), shortest];
        for (error, size) in errors {
            entry.extend([rounded_up(error.sqrt()), rounded_up(f64::from(scale) * size.sqrt())]);
        }
        match entry.iter().all(|number| number.is_finite()) && (scale.is_normal() || longest == 0.0) {
            true => Coded { entry, rows: norms.len(), bytes },
            false => self.without_bound(),
        }
    }

    /// The coordinates of rows, each in lanes of its own; by cosine those of rows scaled to length one, as which their
    /// norms then count.
    fn coordinates(&self, values: &[f32], norms: &mut [f64]) -> Vec<Lanes> {
        let cosine = self.metric == Metric::Cosine;
        let scale = |norm: &mut f64| match *norm {
            0.0 => 0.0,
            one if cosine => {
                *norm = 1.0;
                (1.0 / one) as f32
            }
            _ => 1.0,
        };
        let scales: Vec<f32> = norms.iter_mut().map(scale).collect();
        let (count, groups) = (norms.len(), self.packed.groups());
        let mut out = vec![Lanes([0.0; LANES]); count * groups];
        let mut best = vec![Lanes([f32::NEG_INFINITY; LANES]); groups];
        let rows = ScaledRows { values, scales: &scales, offsets: &vec![0.0; count], factors: &[] };
        kernel::tile(&self.packed, 0..groups, rows, &mut out, &mut best);
        out
    }
}

/// Rounds numbers to whole multiples of their steps, as bytes; returns the sums of the squares of what that changed and
/// of the whole numbers. Eight side by side, so that the compiler takes several at once.
fn quantise(numbers: &[f32], (steps, inverses): (&[f64], &[f64]), bytes: &mut [u8]) -> (f64, f64) {
    let (mut errors, mut squares) = ([0.0f64; 8], [0.0f64; 8]);
    let mut one = |lane: usize, number: f32, step: f64, inverse: f64, byte: &mut u8| {
        let whole = nearest(f64::from(number) * inverse).clamp(-127.0, 127.0);
        *byte = (whole as i32 + 128) as u8;
        let error = f64::from(number) - step * whole;
        errors[lane] += error * error;
        squares[lane] += whole * whole;
    };
    let (some, rest) = numbers.as_chunks::<8>();
    let (many, few) = bytes.as_chunks_mut::<8>();
    let split = some.len() * 8;
    for ((numbers, bytes), (steps, inverses)) in
        some.iter().zip(many).zip(steps.as_chunks::<8>().0.iter().zip(inverses.as_chunks::<8>().0))
    {
        for lane in 0..8 {
            one(lane, numbers[lane], steps[lane], inverses[lane], &mut bytes[lane]);
        }
    }
    for (lane, (number, byte)) in rest.iter().zip(few).enumerate() {
        one(lane, *number, steps[split + lane], inverses[split + lane], byte);
    }
    (errors.iter().sum(), squares.iter().sum())
}

/// Products of rows with the vectors of a basis.
pub(super) fn coordinates(dim: usize, basis: &[f32], rows: &[f32]) -> Vec<f32> {
    let (count, width) = (rows.len() / dim, basis.len() / dim);
    let mut out = vec![0.0; count * width];
    product(&mut out, Strided::new(rows, count, dim), Strided::new(basis, width, dim).transposed(), false);
    out
}

/// Orthonormal vectors that span the directions in which the rows are longest, the longest first: orthogonal iteration
/// (Golub and Van Loan, Matrix Computations, 4th ed., section 8.2.4) on the sum of their outer products.
fn basis(dim: usize, width: usize, rows: &[f32]) -> Vec<f32> {
    let mut draws = ChaCha8Rng::seed_from_u64(0x706c_616e_6573);
    let mut basis: Vec<f32> = (0..width * dim).map(|_| unit_f32(&mut draws) - 0.5).collect();
    orthonormalise(dim, &mut basis);
    let count = rows.len() / dim;
    for _ in 0..ROUNDS {
        // Rows times basis, then rows transposed times that: no matrix of dim times dim.
        let along = coordinates(dim, &basis, rows);
        let mut next = vec![0.0; width * dim];
        let left = Strided::new(&along, count, width).transposed();
        product(&mut next, left, Strided::new(rows, count, dim), false);
        // A direction in which no row points stays what it was.
        let usual = (next.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>() / next.len() as f64).sqrt();
        let little = (1e-6 * usual).max(1e-30) as f32;
        next.iter_mut().zip(&basis).for_each(|(next, old)| *next += little * old);
        basis = next;
        orthonormalise(dim, &mut basis);
    }
    basis
}

/// Gram-Schmidt, in `f64` and twice over ("twice is enough": Giraud, Langou and Rozloznik, The loss of orthogonality in
/// the Gram-Schmidt process, 2005).
fn orthonormalise(dim: usize, basis: &mut [f32]) {
    let mut done: Vec<f64> = Vec::with_capacity(basis.len());
    for row in basis.chunks_mut(dim) {
        let mut own: Vec<f64> = row.iter().map(|&value| f64::from(value)).collect();
        for _ in 0..2 {
            for other in done.chunks(dim) {
                let along = dot(&own, other);
                own.iter_mut().zip(other).for_each(|(own, other)| *own -= along * other);
            }
            let norm = dot(&own, &own).sqrt();
            if norm > 0.0 {
                own.iter_mut().for_each(|own| *own /= norm);
            }
        }
        row.iter_mut().zip(&own).for_each(|(value, &own)| *value = own as f32);
        done.extend(own);
    }
}

/// The Frobenius norm of `B B' - I`, and what computing it can have lost.
fn defect(dim: usize, basis: &[f32]) -> f64 {
    let rows: Vec<f64> = basis.iter().map(|&value| f64::from(value)).collect();
    let width = basis.len() / dim;
    let of_row = |row: usize| -> f64 {
        let of_pair = |other: usize| {
            let wanted = if row == other { 1.0 } else { 0.0 };
            (dot(&rows[row * dim..][..dim], &rows[other * dim..][..dim]) - wanted).powi(2)
        };
        (0..width).map(of_pair).sum()
    };
    (0..width).into_par_iter().map(of_row).collect::<Vec<f64>>().iter().sum::<f64>().sqrt() * 1.000_01 + 1e-11
}

/// Inner product, in eight sums side by side.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.iter().zip(b) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}
