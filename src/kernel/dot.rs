//! Fast inner product of one pair of rows, by `simsimd`.

use simsimd::SpatialSimilarity;

/// Numbers summed in `f32` before the sum moves on: longer rows are cut, so that their rounding stays that of a short
/// row.
pub(super) const CHUNK: usize = 1024;

/// Most `f32` roundings that one product of a row of `dim` numbers passes through, in [`dot`] and in
/// [`tile`](super::tile()): its own, the additions within its chunk, and one addition for each chunk.
pub fn roundings(dim: usize) -> usize {
    1 + dim.min(CHUNK) + dim.div_ceil(CHUNK)
}

/// Inner product of two rows: `f32` within chunks, `f64` across them.
///
/// # Panics
/// When the lengths differ.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "rows of different lengths");
    // `simsimd` refuses nothing but different lengths.
    a.chunks(CHUNK).zip(b.chunks(CHUNK)).map(|(a, b)| f32::dot(a, b).unwrap_or_default()).sum()
}
