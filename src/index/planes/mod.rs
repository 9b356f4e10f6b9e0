//! Matrices of one segment in a byte a number, turned so that the first few numbers of a row say most of it, and what
//! that proves about their scores.
//!
//! # What is kept
//! An orthonormal *basis* of a few leading directions of the segment's rows (those in which they are longest), and of
//! each row `d` (by cosine of `d / |d|`) its coordinates `y` there. Coordinate `k` is kept as a whole number `c` from
//! -127 to 127 that stands for `scale * weight(k) * c`: the weights go with how large a coordinate usually is, and so
//! are the same for all records; the scale is the record's. A *tier* is a number of leading coordinates, with an upper
//! bound of the *rest* of each row, the length of what they leave out.
//!
//! # The bound
//! With `z` the query row's coordinates, `p` leading ones and `|q'|`, `|d'|` the rests,
//!
//! ```text
//! <q,d> = <z,y> + <what is left of q, what is left of d> <= <z,y> + |q'||d'|                     (Cauchy-Schwarz)
//! <z,y> = <z,y^> + <z,y - y^>       <= <z,y^> + |z| E        y^ = what the whole numbers stand for
//! <z,y^> = scale * sum of t c       <= scale / S * sum of g c + |t - g / S| N    t = z * weight, g = t * S rounded
//! ```
//! where `E` is the largest `|y - y^|` of a record's rows and `N` the largest `scale * |c|`, both measured in `f64` and
//! rounded up; `|z|`, `|t - g / S|` and the rests are measured in the same way. The sum of `g c` is exact, and
//! `|q'||d'|` is one more product in it: both rests are rounded up to whole numbers. So whatever rounding did is in the
//! bound.
//!
//! The coordinates themselves are products in `f32` with a basis that is orthonormal but for `defect`, the Frobenius
//! norm of `B B' - I`. Orthonormal vectors lie within `defect` of it (the factor of its polar decomposition). A sum of
//! `dim` products is off by `g(dim + 16)` of the sum of their absolute values (see [`crate::score`]). So `p`
//! coordinates are off by [`drift`] `* |d|` at most, and the product of two rows by twice that and its square.
//! Pythagoras gives the rest from `|d|` and the length of `y`, less that error.
//!
//! By `l2` a pair scores `2 <q,d> - |d|^2 - |q|^2`: at most what this says of the record's best `<q,d>`, less the
//! square of the norm of its shortest row. That is near where its rows are about as long as each other, as embeddings
//! are.
//!
//! A record has no bound, and is always scored, when a row's norm is neither 0 nor between 2^-40 and 2^40, or when it
//! has more than 2^24 numbers.
//!
//! # Costs
//! A search reads 36 to 576 bytes of each row in place of the whole row, and multiplies as many numbers. Making planes
//! takes some 3 to 5 times as long as a search by rows with 249 of them.

mod build;
mod plan;
mod query;
#[cfg(test)]
mod tests;
mod together;

pub(crate) use plan::Scores;
pub(crate) use query::Search;
pub(crate) use together::{FEW_ROWS, MEMBERS, Together};

use crate::error::Result;
use crate::kernel::ByteRows;
use crate::matrix::StoredMatrix;
use crate::score::Metric;
use crate::store::layout::{Kind, section};
use crate::store::{Artefact, Counts, Sections, SectionsWriter};

/// Longest rows of which all coordinates are kept.
const WIDTH: usize = 512;
/// Leading coordinates of the tiers, as far as rows are longer. With the rests of long rows before them all but the
/// first fill lines of [`LINE`] bytes.
const TIERS: [usize; 7] = [32, 56, 120, 184, 248, 376, 504];
/// Bytes of a line of the processor's caches, and of what its matrix registers take of a row.
const LINE: usize = 64;
/// Largest dimension that has planes: a longer row would drift too far.
const LONGEST: usize = 4_096;
/// Fewest records that are searched by planes.
const FEWEST: u32 = 128;
/// Numbers that go with a record: its scale, its longest and shortest row, and two for each tier.
const ENTRY: usize = 3;
const OF_TIER: usize = 2;

/// Whole numbers of a segment's records.
#[derive(Debug)]
pub(crate) struct Planes {
    sections: Sections,
    dim: usize,
    /// Leading coordinates of each tier, rising.
    tiers: Vec<usize>,
    /// Bytes of a row.
    stride: usize,
    defect: f64,
    far: plan::Far,
    memory: plan::Memory,
}

/// What goes with the whole numbers of a record.
#[derive(Clone, Copy, Debug)]
struct Entry<'a> {
    numbers: &'a [f32],
}

impl Entry<'_> {
    /// What a weighted whole number stands for; infinite when the record has no bound.
    fn scale(&self) -> f64 {
        f64::from(self.numbers[0])
    }

    /// At least the norm of its longest row.
    fn longest(&self) -> f64 {
        f64::from(self.numbers[1])
    }

    /// At most the norm of its shortest row.
    fn shortest(&self) -> f64 {
        f64::from(self.numbers[2])
    }

    /// `E` and `N` of a tier.
    fn errors(&self, tier: usize) -> (f64, f64) {
        let at = ENTRY + OF_TIER * tier;
        (f64::from(self.numbers[at]), f64::from(self.numbers[at + 1]))
    }
}

/// Whether such a segment can be searched by planes.
pub(crate) fn serves(dim: usize, records: u32) -> bool {
    dim <= LONGEST && (records >= FEWEST || are_always_used())
}

/// Bytes that a row of this dimension takes: whole lines if that makes it longer by an eighth at most, because a line
/// that lies in two is slow to read.
pub(crate) fn bytes(dim: usize) -> usize {
    let tiers = tiers(dim);
    let bytes = (lead(&tiers) + tiers.last().copied().unwrap_or_default()).next_multiple_of(4);
    let lines = bytes.next_multiple_of(LINE);
    if lines - bytes <= bytes / 8 { lines } else { bytes }
}

/// Lets every search that this thread begins use planes, however few records there are and whether it pays. For tests.
#[cfg(any(test, feature = "testing"))]
pub fn always_use_planes() {
    ALWAYS.set(true);
}

#[cfg(any(test, feature = "testing"))]
thread_local! {
    static ALWAYS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether planes are used at any price.
pub(crate) fn are_always_used() -> bool {
    #[cfg(any(test, feature = "testing"))]
    return ALWAYS.get();
    #[cfg(not(any(test, feature = "testing")))]
    false
}

/// The tiers of rows of this dimension.
fn tiers(dim: usize) -> Vec<usize> {
    let shorter = TIERS.iter().copied().filter(|&tier| tier < dim - dim / 8);
    shorter.chain((dim <= WIDTH).then_some(dim)).collect()
}

/// Bytes that rests take at the beginning of a row: one for each tier, in whole words.
fn lead(tiers: &[usize]) -> usize {
    tiers.len().next_multiple_of(4)
}

/// Most that the first `count` computed coordinates are off from those in an orthonormal basis, together and for a row
/// of length one.
fn drift(dim: usize, count: usize, defect: f64) -> f64 {
    const UNIT: f64 = f64::EPSILON * (1u64 << 28) as f64; // 2^-24
    let roundings = (dim + 16) as f64 * UNIT;
    1.01 * roundings * (count as f64).sqrt() + 1.01 * defect
}

/// At least the length of what coordinates leave out of a row of this norm, given their length.
fn rest(norm: f64, length: f64, drift: f64) -> f64 {
    let length = (length - drift * norm).max(0.0);
    (norm * norm * (1.0 + 1e-12) - length * length).max(0.0).sqrt()
}

impl Artefact for Planes {
    const KIND: Kind = Kind::Planes;

    fn read(sections: Sections) -> Result<Planes> {
        let wrong = |what: &str| sections.corrupt(section::PLANES, what);
        let counts = sections.counts();
        let size = |count: u64| usize::try_from(count).map_err(|_| wrong("impossible counts"));
        let (records, rows, dim) = (size(counts.records)?, size(counts.rows)?, size(counts.dim)?);
        if dim == 0 || dim > LONGEST {
            return Err(wrong("rows of a dimension that has no planes"));
        }
        let tiers = tiers(dim);
        let (width, stride) = (tiers.last().copied().unwrap_or_default(), bytes(dim));
        let about: &[f64] = sections.numbers(section::PLANES)?;
        let [defect] = *about else { return Err(wrong("one number is wanted")) };
        let is_sound = |&number: &f32| !number.is_nan() && number >= 0.0;
        let basis: &[f32] = sections.numbers(section::BASIS)?;
        let weights: &[f32] = sections.numbers(section::WEIGHTS)?;
        let entries: &[f32] = sections.numbers(section::CODE_ENTRIES)?;
        let starts: &[u64] = sections.numbers(section::ROW_OFFSETS)?;
        let per_record = ENTRY + OF_TIER * tiers.len();
        if basis.len() != width * dim
            || weights.len() != width + tiers.len()
            || Some(entries.len()) != records.checked_mul(per_record)
            || Some(sections.bytes(section::CODES)?.len()) != rows.checked_mul(stride)
        {
            return Err(wrong("sections that do not fit each other"));
        }
        if !(0.0..0.01).contains(&defect)
            || basis.iter().any(|number| !number.is_finite())
            || !weights.iter().all(|weight| weight.is_normal() && *weight > 0.0)
            || !entries.iter().all(is_sound)
        {
            return Err(wrong("numbers that cannot be"));
        }
        let rises = starts.windows(2).all(|pair| pair[0] <= pair[1]);
        if starts.len() != records + 1 || starts.first() != Some(&0) || starts.last() != Some(&(rows as u64)) || !rises
        {
            return Err(sections.corrupt(section::ROW_OFFSETS, "rows that do not follow each other"));
        }
        Ok(Planes { dim, tiers, stride, defect, far: plan::Far::new(), memory: plan::Memory::default(), sections })
    }
}

impl Planes {
    /// Writes the planes of records `0..records`; those that cannot be read have no bound.
    ///
    /// # Errors
    /// Those of writing; and damage, where what is written is to last.
    pub(crate) fn build<'a>(
        records: u32,
        dim: usize,
        metric: Metric,
        matrix: &(dyn Fn(u32) -> Result<StoredMatrix<'a>> + Sync),
        out: &mut SectionsWriter<'_>,
    ) -> Result<Counts> {
        build::write(records, dim, metric, matrix, out)
    }

    /// Records that have a bound.
    pub(crate) fn bounded(&self) -> usize {
        let records = self.records().map_or(0, |records| records.starts.len() as u32 - 1);
        let is_bounded = |record: &u32| {
            self.records().is_ok_and(|records| {
                let (entry, rows) = records.get(*record);
                entry.scale() < f64::INFINITY && rows.count > 0
            })
        };
        (0..records).filter(is_bounded).count()
    }

    /// Bytes of its sections.
    pub(crate) fn size(&self) -> u64 {
        self.sections.size()
    }

    /// Dimension of the rows.
    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    fn width(&self) -> usize {
        self.tiers.last().copied().unwrap_or_default()
    }

    fn basis(&self) -> Result<&[f32]> {
        self.sections.numbers(section::BASIS)
    }

    fn weights(&self) -> Result<&[f32]> {
        self.sections.numbers(section::WEIGHTS)
    }

    fn records(&self) -> Result<Records<'_>> {
        Ok(Records {
            per_record: ENTRY + OF_TIER * self.tiers.len(),
            stride: self.stride,
            entries: self.sections.numbers(section::CODE_ENTRIES)?,
            starts: self.sections.numbers(section::ROW_OFFSETS)?,
            bytes: self.sections.bytes(section::CODES)?,
        })
    }
}

/// The records of planes, by number.
#[derive(Clone, Copy, Debug)]
struct Records<'a> {
    per_record: usize,
    stride: usize,
    entries: &'a [f32],
    starts: &'a [u64],
    bytes: &'a [u8],
}

impl<'a> Records<'a> {
    /// A record's entry, and its rows.
    fn get(&self, record: u32) -> (Entry<'a>, ByteRows<'a>) {
        let record = record as usize;
        let (start, end) = (self.starts[record] as usize, self.starts[record + 1] as usize);
        let numbers = &self.entries[record * self.per_record..][..self.per_record];
        let rows = ByteRows { bytes: &self.bytes[start * self.stride..], stride: self.stride, count: end - start };
        (Entry { numbers }, rows)
    }
}
