//! Rows of a query as the kernels like them.

#[cfg(target_arch = "x86_64")]
use super::amx;
use super::bytes::{self, Part};
use super::{LANES, Lanes, Words, short};
use crate::kernel::level::Level;
use crate::matrix::MatrixView;
use std::ops::Range;

/// How a query's numbers lie in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// One in `f32`.
    Single,
    /// Two whole ones of 16 bits.
    Pairs,
    /// Four whole ones, some of them in two pieces (see [`bytes`]).
    Bytes,
    /// Four whole ones, some of them in two pieces, as [matrix registers](super::amx) take them.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    Tiles,
    /// Whole ones of 16 bits, in two pieces, for matrix registers.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    ShortTiles,
}

/// Rows of a query, sixteen side by side: lane `i % 16` of `words[i / 16 * len + k]` is word `k` of the `len` of row
/// `i`. Rows of zeros fill the last group.
#[derive(Clone, Debug)]
pub struct PackedRows {
    pub(super) dim: usize,
    /// Words in a row of a record.
    pub(super) width: usize,
    /// Which of these are multiplied by which of a query's row.
    pub(super) parts: Vec<Part>,
    words: Vec<Words>,
    /// Words of a group.
    group: usize,
    /// Of rows of whole numbers: what one of each row stands for, a group at a time.
    pub(super) units: Vec<Lanes>,
    pub(super) layout: Layout,
}

impl PackedRows {
    /// Packs the rows in `f32`.
    pub fn new(matrix: MatrixView<'_>) -> PackedRows {
        let (dim, words) = (matrix.dim(), pack(matrix.iter(), f32::to_bits));
        PackedRows {
            dim,
            width: dim,
            parts: whole_rows(dim),
            words,
            group: dim,
            units: Vec::new(),
            layout: Layout::Single,
        }
    }

    /// Packs the rows in whole numbers of 16 bits, each times its row's factor. The factors must keep every row's norm
    /// at [`SHORT_SIZE`](super::SHORT_SIZE) or less.
    pub fn short(matrix: MatrixView<'_>, factors: &[f32]) -> PackedRows {
        PackedRows::short_at(Level::current(), matrix, factors)
    }

    /// [`PackedRows::short`] for the instructions of a level.
    pub(super) fn short_at(level: Level, matrix: MatrixView<'_>, factors: &[f32]) -> PackedRows {
        let width = matrix.dim().div_ceil(2);
        let mut pairs = vec![0; width * matrix.rows()];
        for ((row, pairs), &factor) in matrix.iter().zip(pairs.chunks_mut(width)).zip(factors) {
            short::convert(row, factor, pairs);
        }
        let unit = |&factor: &f32| if factor == 0.0 { 0.0 } else { (1.0 / f64::from(factor)) as f32 };
        let mut units = vec![Lanes([0.0; LANES]); matrix.rows().div_ceil(LANES)];
        for (units, factors) in units.iter_mut().zip(factors.chunks(LANES)) {
            units.0.iter_mut().zip(factors).for_each(|(lane, factor)| *lane = unit(factor));
        }
        let layout = short_layout(level);
        let words = |pairs: &[u32]| match layout {
            #[cfg(target_arch = "x86_64")]
            Layout::ShortTiles => amx::short::pack(bytemuck::cast_slice(pairs)),
            _ => pairs.to_vec(),
        };
        let rows: Vec<Vec<u32>> = pairs.chunks(width).map(words).collect();
        let (parts, group) = (whole_rows(width), rows.first().map_or(0, Vec::len));
        let words = pack(rows.iter().map(Vec::as_slice), |word| word);
        PackedRows { dim: matrix.dim(), width, parts, words, group, units, layout }
    }

    /// Rounds the numbers of a row, of at most [`SHORT_SIZE`](super::SHORT_SIZE), to whole ones that
    /// [`PackedRows::whole`] keeps, the first `up` of them, at most 16, upwards.
    pub fn round(numbers: &mut [f64], up: usize) {
        PackedRows::round_in(whole_layout(Level::current()), numbers, up);
    }

    /// [`PackedRows::round`] for one of the layouts of whole numbers.
    pub(super) fn round_in(layout: Layout, numbers: &mut [f64], up: usize) {
        match layout {
            Layout::Bytes => bytes::round(numbers, up),
            #[cfg(target_arch = "x86_64")]
            Layout::Tiles => amx::bytes::round(numbers, up),
            _ => bytes::round_to(1.0, numbers, up),
        }
    }

    /// A factor of at most 1 by which it is best to multiply the numbers of a row, of at most
    /// [`SHORT_SIZE`](super::SHORT_SIZE), before [`PackedRows::round`].
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))]
    pub fn fit(numbers: impl ExactSizeIterator<Item = f64>) -> f64 {
        match whole_layout(Level::current()) {
            #[cfg(target_arch = "x86_64")]
            Layout::Tiles => amx::bytes::fit(numbers),
            _ => 1.0,
        }
    }

    /// Packs rows of whole numbers that were rounded by [`PackedRows::round`], for [`largest`](super::largest); all of
    /// one length, which is not 0.
    pub fn whole(rows: impl ExactSizeIterator<Item = Vec<i16>>) -> PackedRows {
        PackedRows::whole_in(whole_layout(Level::current()), rows)
    }

    /// [`PackedRows::whole`] in one of the layouts of whole numbers.
    pub(super) fn whole_in(layout: Layout, rows: impl ExactSizeIterator<Item = Vec<i16>>) -> PackedRows {
        let mut dim = 0;
        let words = |row: Vec<i16>| {
            dim = row.len();
            match layout {
                Layout::Bytes => bytes::pack(&row),
                #[cfg(target_arch = "x86_64")]
                Layout::Tiles => amx::bytes::pack(&row),
                _ => short::pairs(&row),
            }
        };
        let rows: Vec<Vec<u32>> = rows.map(words).collect();
        let words = pack(rows.iter().map(Vec::as_slice), |word| word);
        let width = dim.div_ceil(if matches!(layout, Layout::Bytes | Layout::Tiles) { 4 } else { 2 });
        let parts = match layout {
            Layout::Bytes => bytes::parts(width),
            #[cfg(target_arch = "x86_64")]
            Layout::Tiles => amx::bytes::parts(width),
            _ => whole_rows(width),
        };
        let group = rows.first().map_or(0, Vec::len);
        PackedRows { dim, width, parts, words, group, units: Vec::new(), layout }
    }

    /// Groups of rows, the last one perhaps not full.
    pub fn groups(&self) -> usize {
        self.words.len() / self.group
    }

    /// The words of some groups.
    pub(super) fn words(&self, groups: &Range<usize>) -> &[Words] {
        &self.words[groups.start * self.group..groups.end * self.group]
    }

    /// Whether the rows are in whole numbers of 16 bits.
    pub fn is_short(&self) -> bool {
        self.layout != Layout::Single
    }
}

/// How rows of whole numbers are packed for [`largest`](super::largest) with the instructions of a level.
pub(super) fn whole_layout(level: Level) -> Layout {
    match level {
        #[cfg(target_arch = "aarch64")]
        Level::Dotprod => Layout::Bytes,
        #[cfg(target_arch = "x86_64")]
        Level::AvxVnni | Level::Vnni => Layout::Bytes,
        #[cfg(target_arch = "x86_64")]
        Level::Amx => Layout::Tiles,
        _ => Layout::Pairs,
    }
}

/// How rows of whole numbers of 16 bits are packed for [`tile`](super::tile) with the instructions of a level.
pub(super) fn short_layout(level: Level) -> Layout {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Amx => Layout::ShortTiles,
        _ => Layout::Pairs,
    }
}

/// The one part of rows of so many words that are multiplied as they lie.
fn whole_rows(width: usize) -> Vec<Part> {
    vec![Part { row: 0, query: 0, len: width }]
}

/// Lays rows side by side.
fn pack<'a, T: Copy + 'a>(rows: impl ExactSizeIterator<Item = &'a [T]>, word: impl Fn(T) -> u32) -> Vec<Words> {
    let groups = rows.len().div_ceil(LANES);
    let mut words = Vec::new();
    for (index, row) in rows.enumerate() {
        if index == 0 {
            words.resize(groups * row.len(), Words([0; LANES]));
        }
        let group = &mut words[index / LANES * row.len()..][..row.len()];
        group.iter_mut().zip(row).for_each(|(words, &value)| words.0[index % LANES] = word(value));
    }
    words
}
