//! Inner products of a block of record rows with a block of query rows, and each query row's best so far, in one pass.
//!
//! Query rows are [packed](PackedRows) sixteen to a group, one to a lane, so that one word of a record row meets
//! sixteen query rows at once and a maximum over record rows is a maximum of vectors. A word has 32 bits: one number
//! in `f32`; or two whole numbers of 16 bits, which take half as many instructions and are less precise; or four of 8
//! bits, a quarter (see [`bytes`]). The driver here is generic over [`Product`]; the files beside it say what a product
//! is on each instruction set. A step holds the sums of some record rows times some groups in registers:
//!
//! | level | step | `f32`, 125 x 125 x 96 | 249 x 249 x 512 |
//! |---|---|---|---|
//! | `avx512` | 6 rows x 4 groups, or 12 x 2 | 104 | 110 |
//! | `avx2` | 6 rows x 1 group | 97 | 109 |
//! | `scalar` | 4 rows x 1 group | 32 | 32 |
//! | the `gemm` crate, without maxima | | 94 | 75 |
//!
//! | whole numbers | 12 x 125 x 128 | 125 x 125 x 96 | 249 x 249 x 64 | 249 x 249 x 256 | 249 x 249 x 512 |
//! |---|---|---|---|---|---|
//! | `vnni`, bytes | 252 to 311 | 334 to 373 | 328 to 353 | 408 to 423 | 429 to 439 |
//! | `vnni`, 16 bits, rounded on the way | 89 to 107 | 174 to 181 | 146 to 170 | 203 to 207 | 200 to 211 |
//! | `avx2`, bytes in 16 bits | 118 to 132 | 161 | 152 to 169 | 166 to 183 | 175 to 182 |
//! | `avx2`, 16 bits, rounded on the way | 116 | 135 | 117 to 136 | 159 to 165 | 168 to 173 |
//!
//! Billions of operations a second (of padded lanes too) of one thread of an AMD EPYC with AVX-512 and VNNI (Zen 4,
//! whose 512-bit operations take two turns: at most about 110 in `f32`, 220 of 16 bits and 440 of bytes), median of
//! nine runs of twenty by the thread's own clock, the least and the most of two or three such; `gemm` was measured on
//! an earlier day. `cargo bench -p otolith --bench maxsim` repeats the `f32` by the wall clock; there `drop` is a tile
//! with the norms and the bound, 4 to 7 % more.
//!
//! On a Xeon with AMX (Sapphire Rapids), whose clock and matrix unit others used too: the range of what runs of this
//! took while they hardly did. It did 129 to 131 in `f32` and, in a loop of nothing else, 4,000 to 5,200 of bytes.
//!
//! | whole numbers | 12 x 125 x 128 | 125 x 125 x 96 | 249 x 249 x 64 | 249 x 249 x 384 | 249 x 249 x 512 |
//! |---|---|---|---|---|---|
//! | `amx`, bytes | 360 to 405 | 590 to 670 | 640 to 680 | 1,920 to 2,060 | 1,380 to 1,500 |
//! | `amx`, 16 bits, rounded on the way | 86 to 97 | 147 to 203 | | | 370 to 566 |
//!
//! On an AMD EPYC without AVX-512 (Zen 3), whose peaks were 97 GFLOP/s in `f32` and 152 of whole numbers when this was
//! measured, 249 x 249 x 262 went at 68 to 86 in `f32`, and at 99 to 120 of whole numbers (four runs).
//!
//! Level `avx_vnni` (256-bit vectors, as `avx2`) was tested on that Xeon, not measured on what it is for.
//!
//! On ARM, levels `neon` and `dotprod` (6 rows x 1 group; of 16 bits 3 rows), nothing was measured: the tests ran under
//! emulation. See the heads of their files for what the inner loops are made of.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx_vnni;
mod bytes;
#[cfg(target_arch = "aarch64")]
mod dotprod;
#[cfg(target_arch = "aarch64")]
mod neon;
mod packed;
mod product;
mod reaching;
mod short;
#[cfg(test)]
mod tests;
mod vector;
#[cfg(target_arch = "x86_64")]
mod vnni;

use super::dot::CHUNK;
use super::level::{Floats, Level};
use bytes::Part;
use packed::Layout;
use product::{F32, I8, I16, Product};
use std::ops::Range;
use vector::Vector;

#[cfg(target_arch = "x86_64")]
pub(super) use amx::is_there as has_matrix_registers;
pub use packed::PackedRows;
pub use reaching::{Reaching, reaching};
pub use short::{SHORT_SIZE, short_is_faster};

/// Query rows in a group.
pub const LANES: usize = 16;

/// Most sums that a step holds in registers.
const SUMS: usize = 24;

/// One number for each query row of a group, aligned as the widest vectors like it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub struct Lanes(pub [f32; LANES]);

// SAFETY: 64 bytes of numbers without a gap, and any bits are a number.
unsafe impl bytemuck::Zeroable for Lanes {}
// SAFETY: as above.
unsafe impl bytemuck::Pod for Lanes {}

/// One word for each query row of a group.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Words([u32; LANES]);

/// Rows of a record, and what their inner products `p` become: `p * scale + offset`.
#[derive(Clone, Copy, Debug)]
pub struct ScaledRows<'a> {
    /// The numbers, row after row.
    pub values: &'a [f32],
    /// A factor for each row.
    pub scales: &'a [f32],
    /// A summand for each row.
    pub offsets: &'a [f32],
    /// For a query in whole numbers: what each row is multiplied by before its numbers are rounded to whole ones. Its
    /// norm must not exceed [`SHORT_SIZE`] then.
    pub factors: &'a [f32],
}

/// Fills `out[row * groups.len() + group]` with the scaled inner products of each record row and each query row of
/// those groups, and raises `best[group]` to the largest of them.
///
/// # Panics
/// When the slices' lengths do not fit each other.
pub fn tile(query: &PackedRows, groups: Range<usize>, rows: ScaledRows<'_>, out: &mut [Lanes], best: &mut [Lanes]) {
    tile_at(Level::current(), query, groups, rows, out, best);
}

/// [`tile`] with the instructions of a level that is not above the machine's.
fn tile_at(
    level: Level,
    query: &PackedRows,
    groups: Range<usize>,
    rows: ScaledRows<'_>,
    out: &mut [Lanes],
    best: &mut [Lanes],
) {
    let (dim, width, count) = (query.dim, query.width, rows.scales.len());
    let ScaledRows { values, scales, offsets, factors } = rows;
    assert!(values.len() == count * dim && offsets.len() == count, "rows of another length");
    assert!(!query.is_short() || factors.len() == count, "rows without factors");
    let is_of_level = match query.layout {
        Layout::Single => true,
        Layout::Bytes | Layout::Tiles => false,
        layout => layout == packed::short_layout(level),
    };
    assert!(is_of_level, "rows of another kind");
    assert!(out.len() == count * groups.len() && best.len() == groups.len(), "the tile has another size");
    let rows = match query.is_short() {
        false => Source::Single { values },
        true => Source::Rounded { values, dim, factors },
    };
    let units = if query.is_short() { &query.units[groups.clone()] } else { &[] };
    let scaling = Some(Scaling { units, scales, offsets });
    let (words, parts) = (query.words(&groups), &query.parts[..]);
    run(level, Block { query: words, width, parts, rows, count, scaling, out, best });
}

/// Rows of a record in bytes: whole numbers plus 128.
#[derive(Clone, Copy, Debug)]
pub struct ByteRows<'a> {
    /// The rows, and perhaps more: where there is something behind the last row it need not be copied.
    pub bytes: &'a [u8],
    /// Bytes from the beginning of a row to that of the next, a multiple of 4.
    pub stride: usize,
    /// How many rows there are.
    pub count: usize,
}

/// Raises `best` to the largest inner products, of whole numbers, of each query row of those groups with the rows. Of
/// each row as many numbers count as the query's rows have. Sums must stay below 2^31.
///
/// # Panics
/// When the query is not in whole numbers, its rows are longer than the stride, or the slices' lengths do not fit.
pub fn largest(query: &PackedRows, groups: Range<usize>, rows: ByteRows<'_>, best: &mut [Lanes]) {
    largest_at(Level::current(), query, groups, rows, best);
}

/// [`largest`] with the instructions of a level that is not above the machine's.
fn largest_at(level: Level, query: &PackedRows, groups: Range<usize>, rows: ByteRows<'_>, best: &mut [Lanes]) {
    let ByteRows { bytes, stride, count } = rows;
    assert!(query.is_short() && query.dim <= stride && stride.is_multiple_of(4), "rows of another kind");
    assert!(bytes.len() / stride >= count && best.len() == groups.len(), "the tile has another size");
    let rows = match query.layout {
        #[cfg(target_arch = "x86_64")]
        Layout::Bytes if matches!(level, Level::AvxVnni | Level::Vnni) => Source::Unsigned { bytes, stride },
        #[cfg(target_arch = "x86_64")]
        Layout::Tiles if level == Level::Amx => Source::Unsigned { bytes, stride },
        Layout::Bytes | Layout::Tiles => Source::Signed { bytes, stride },
        _ => Source::Bytes { bytes, stride },
    };
    let (query, width, parts) = (query.words(&groups), query.width, &query.parts[..]);
    run(level, Block { query, width, parts, rows, count, scaling: None, out: &mut [], best });
}

fn run(level: Level, block: Block<'_>) {
    match (level, block.rows) {
        (_, Source::Single { .. }) => match level.floats() {
            Floats::Scalar => block.run::<F32<[f32; LANES]>, 4>(),
            // SAFETY: `Level` names only what the machine has.
            #[cfg(target_arch = "x86_64")]
            Floats::Avx2 => unsafe { avx2::run(block) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Floats::Avx512 => unsafe { avx512::run(block) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Floats::Neon => unsafe { neon::run(block) },
        },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        (Level::Dotprod, Source::Signed { .. }) => unsafe { dotprod::run(block) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        (Level::AvxVnni, Source::Unsigned { .. }) => unsafe { avx_vnni::run(block) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        (Level::Vnni, Source::Unsigned { .. }) => unsafe { vnni::run(block) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        (Level::Amx, Source::Unsigned { .. }) => unsafe { amx::run(block) },
        // Elsewhere only tests pack rows so.
        (_, Source::Signed { .. } | Source::Unsigned { .. }) => block.run::<I8<[i32; LANES]>, 4>(),
        (Level::Scalar, _) => block.run::<I16<[i32; LANES]>, 4>(),
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        (Level::AvxVnni, _) => unsafe { avx_vnni::run_short(block) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        (Level::Amx, Source::Rounded { .. }) => unsafe { amx::short::run(block) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        (Level::Vnni | Level::Amx, _) => unsafe { vnni::run_short(block) },
        // SAFETY: as above; AVX-512 is named only where there is AVX2.
        #[cfg(target_arch = "x86_64")]
        (Level::Avx2 | Level::Avx512, _) => unsafe { avx2::run_short(block) },
        // SAFETY: as above; what has `sdot` has NEON.
        #[cfg(target_arch = "aarch64")]
        (Level::Neon | Level::Dotprod, _) => unsafe { neon::run_short(block) },
    }
}

/// What a tile is computed from and into. The lengths fit each other.
struct Block<'a> {
    query: &'a [Words],
    /// Words in a row of a record.
    width: usize,
    /// Which of these are multiplied by which of a query's row.
    parts: &'a [Part],
    rows: Source<'a>,
    count: usize,
    /// What becomes of products; nothing where only the largest ones are wanted, as they are.
    scaling: Option<Scaling<'a>>,
    /// All products, where they are wanted.
    out: &'a mut [Lanes],
    best: &'a mut [Lanes],
}

/// Where the rows of a record are.
#[derive(Clone, Copy)]
enum Source<'a> {
    Single {
        values: &'a [f32],
    },
    /// To be rounded to whole numbers.
    Rounded {
        values: &'a [f32],
        dim: usize,
        factors: &'a [f32],
    },
    /// Whole numbers in bytes, 128 added to each; to be widened to 16 bits.
    Bytes {
        bytes: &'a [u8],
        stride: usize,
    },
    /// The same, to be multiplied as bytes after 128 is taken from each.
    Signed {
        bytes: &'a [u8],
        stride: usize,
    },
    /// The same, to be multiplied as they are.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    Unsigned {
        bytes: &'a [u8],
        stride: usize,
    },
}

/// What becomes of products.
#[derive(Clone, Copy)]
struct Scaling<'a> {
    /// Of whole numbers, for each query row.
    units: &'a [Lanes],
    scales: &'a [f32],
    offsets: &'a [f32],
}

impl Block<'_> {
    /// Steps through the block, `R` record rows at a time and then one by one. The record is read once, the query
    /// (which stays in the second-level cache) once for every `R` rows.
    #[inline(always)]
    fn run<P: Product, const R: usize>(mut self) {
        let mut pairs = match self.rows {
            Source::Single { .. } | Source::Unsigned { .. } => Vec::new(),
            _ => vec![0; R * self.width],
        };
        let words = self.query.len() / self.best.len().max(1);
        let lies_within = |part: &Part| part.row + part.len <= self.width && part.query + part.len <= words;
        assert!(self.parts.iter().all(lies_within), "parts beyond a row");
        for start in (0..self.width).step_by(P::CHUNK) {
            let columns = start..self.width.min(start + P::CHUNK);
            let whole = self.count - self.count % R;
            for row in (0..whole).step_by(R) {
                self.strip::<P, R>(row, columns.clone(), &mut pairs);
            }
            if whole < self.count && whole > 0 && columns.len() == self.width {
                // The last rows, some of them once more: nothing is added up over columns, and a maximum stays.
                self.strip::<P, R>(self.count - R, columns.clone(), &mut pairs);
                continue;
            }
            for row in whole..self.count {
                self.strip::<P, 1>(row, columns.clone(), &mut pairs);
            }
        }
    }

    /// `R` record rows against all groups.
    #[inline(always)]
    fn strip<P: Product, const R: usize>(&mut self, row: usize, columns: Range<usize>, pairs: &mut [u32]) {
        let strip = self.rows.strip(row..row + R, self.width, pairs);
        let mut group = 0;
        while group < self.best.len() {
            let step = P::GROUPS.min(SUMS / R).min(self.best.len() - group);
            match step {
                4 if 4 * R <= SUMS => self.step::<P, R, 4>(row, group, columns.clone(), strip),
                3 if 3 * R <= SUMS => self.step::<P, R, 3>(row, group, columns.clone(), strip),
                2 if 2 * R <= SUMS => self.step::<P, R, 2>(row, group, columns.clone(), strip),
                _ => self.step::<P, R, 1>(row, group, columns.clone(), strip),
            }
            group += step;
        }
    }

    /// `R` record rows against `G` groups: their sums stay in registers over these columns.
    #[inline(always)]
    fn step<P: Product, const R: usize, const G: usize>(
        &mut self,
        row: usize,
        group: usize,
        columns: Range<usize>,
        strip: Strip<'_>,
    ) {
        let (width, of_group) = (self.width, self.query.len() / self.best.len());
        let rows: [&[u8]; R] = std::array::from_fn(|r| &strip.bytes[r * strip.stride..][..4 * width]);
        // A register for each row: the compiler would compute one from the other at every number.
        let rows = rows.map(|row| std::hint::black_box(row.as_ptr()));
        let query: [&[Words]; G] = std::array::from_fn(|g| &self.query[(group + g) * of_group..][..of_group]);
        let some = [Part { row: columns.start, query: columns.start, len: columns.len() }];
        let parts = if columns.len() == width { self.parts } else { &some };
        let mut sums = [[P::zero(); G]; R];
        let mut numbers = [P::load(&query[0][of_group - 1]); G];
        // Loops alone between here and the end of the parts: a call would put all sums into memory and back.
        for (number, part) in parts.iter().enumerate() {
            if number > 0 {
                for (bits, query) in numbers.iter_mut().zip(&query) {
                    *bits = P::load(&query[part.query - 1]);
                }
                for sums in &mut sums {
                    for (sum, &bits) in sums.iter_mut().zip(&numbers) {
                        *sum = P::shift(*sum, bits);
                    }
                }
            }
            for k in 0..part.len {
                for (numbers, query) in numbers.iter_mut().zip(&query) {
                    // SAFETY: parts lie within a group's words, which `run` asserts.
                    *numbers = P::load(unsafe { query.get_unchecked(part.query + k) });
                }
                for (sums, row) in sums.iter_mut().zip(&rows) {
                    // SAFETY: and within a row's.
                    let word = P::row(unsafe { row.add(4 * (part.row + k)).cast::<u32>().read_unaligned() });
                    for (sum, &numbers) in sums.iter_mut().zip(&numbers) {
                        *sum = P::add(*sum, numbers, word);
                    }
                }
            }
        }
        for (last, query) in numbers.iter_mut().zip(&query) {
            *last = P::load(&query[of_group - 1]);
        }
        let last = numbers;
        let mut best = numbers_of(&self.best[group..][..G]);
        match self.scaling {
            None => P::raise(&mut best, sums, last),
            Some(scaling) => self.take::<P, R, G>(row, group, &columns, (sums, last), &mut best, scaling),
        }
        for (lanes, best) in self.best[group..].iter_mut().zip(best) {
            best.store(lanes);
        }
    }

    /// Takes the products of `R` record rows with `G` groups of query rows over these columns.
    #[inline(always)]
    fn take<P: Product, const R: usize, const G: usize>(
        &mut self,
        row: usize,
        group: usize,
        columns: &Range<usize>,
        (sums, last): ([[P::Sum; G]; R], [P::Word; G]),
        best: &mut [P::Vector; G],
        Scaling { units, scales, offsets }: Scaling<'_>,
    ) {
        let groups = self.best.len();
        let units = if units.is_empty() { None } else { Some(numbers_of::<P::Vector, G>(&units[group..][..G])) };
        for (row, sums) in (row..).zip(sums) {
            let out = &mut self.out[row * groups + group..][..G];
            let (scale, offset) = (P::Vector::splat(scales[row]), P::Vector::splat(offsets[row]));
            for (g, (sum, out)) in sums.into_iter().zip(out).enumerate() {
                let mut number = P::value(sum, last[g]);
                if let Some(units) = &units {
                    number = number.mul_add(units[g], P::Vector::splat(0.0));
                }
                if columns.start > 0 {
                    number = number.add(P::Vector::load(out));
                }
                if columns.end == self.width {
                    number = number.mul_add(scale, offset);
                    best[g] = best[g].max(number);
                }
                number.store(out);
            }
        }
    }
}

/// Loads a number of each lane of some groups.
#[inline(always)]
fn numbers_of<V: Vector, const G: usize>(groups: &[Lanes]) -> [V; G] {
    let mut numbers = [V::splat(0.0); G];
    for (number, lanes) in numbers.iter_mut().zip(groups) {
        *number = V::load(lanes);
    }
    numbers
}

/// Where some rows of words are.
#[derive(Clone, Copy)]
struct Strip<'a> {
    bytes: &'a [u8],
    /// Bytes from one row to the next.
    stride: usize,
}

impl<'a> Source<'a> {
    /// Some rows, of `width` words each; `pairs` is memory for them.
    #[inline(always)]
    fn strip<'p>(self, rows: Range<usize>, width: usize, pairs: &'p mut [u32]) -> Strip<'p>
    where
        'a: 'p,
    {
        match self {
            Source::Single { values } => {
                let bytes = bytemuck::cast_slice(&values[rows.start * width..rows.end * width]);
                return Strip { bytes, stride: 4 * width };
            }
            Source::Unsigned { bytes, stride } => {
                return Strip { bytes: &bytes[rows.start * stride..rows.end * stride], stride };
            }
            Source::Rounded { values, dim, factors } => {
                let values = values[rows.start * dim..rows.end * dim].chunks_exact(dim);
                for ((values, pairs), &factor) in values.zip(pairs.chunks_exact_mut(width)).zip(&factors[rows]) {
                    short::round(values, factor, pairs);
                }
            }
            Source::Bytes { bytes, stride } => {
                for (row, pairs) in rows.zip(pairs.chunks_exact_mut(width)) {
                    short::widen(&bytes[row * stride..][..2 * width], pairs);
                }
            }
            Source::Signed { bytes, stride } => {
                for (row, quads) in rows.zip(pairs.chunks_exact_mut(width)) {
                    bytes::sign(&bytes[row * stride..][..4 * width], quads);
                }
            }
        }
        Strip { bytes: bytemuck::cast_slice(pairs), stride: 4 * width }
    }
}
