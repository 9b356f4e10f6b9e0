//! Sums over rows in `f64`, by rising index: the same bits everywhere, whatever the instruction set.
//!
//! A product of two `f32` is exact in `f64`, so an inner product has one rounding a number, fused or not. One such
//! sum is a chain of additions that wait for each other; [`LANES`] of them side by side keep the machine busy.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod neon;

use super::level::{Floats, Level};

/// Sums that run side by side.
pub const LANES: usize = 8;

/// Pairs of rows.
type Pairs<'a> = [(&'a [f32], &'a [f32]); LANES];

/// Inner products of [`LANES`] pairs of rows.
///
/// # Panics
/// When two rows differ in length.
pub fn dots(pairs: [(&[f32], &[f32]); LANES]) -> [f64; LANES] {
    sums_at::<false>(Level::current(), pairs)
}

/// Squared distances of [`LANES`] pairs of rows.
///
/// # Panics
/// When two rows differ in length.
pub fn squared_distances(pairs: [(&[f32], &[f32]); LANES]) -> [f64; LANES] {
    sums_at::<true>(Level::current(), pairs)
}

/// Inner product of one pair of rows.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    sum::<false>(a, b)
}

/// Squared distance of one pair of rows.
#[cfg(any(test, feature = "testing"))]
pub fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    sum::<true>(a, b)
}

fn sum<const DISTANCE: bool>(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).fold(0.0, |sum, (&a, &b)| sum + term::<DISTANCE>(a, b))
}

/// What is summed: squared differences or products.
#[inline(always)]
fn term<const DISTANCE: bool>(a: f32, b: f32) -> f64 {
    let (a, b) = (f64::from(a), f64::from(b));
    if DISTANCE { (a - b) * (a - b) } else { a * b }
}

/// The sums with the instructions of a level that is not above the machine's.
fn sums_at<const DISTANCE: bool>(level: Level, pairs: Pairs<'_>) -> [f64; LANES] {
    let len = pairs[0].0.len();
    assert!(pairs.iter().all(|(a, b)| a.len() == len && b.len() == len), "rows of different lengths");
    let mut sums = [0.0; LANES];
    let done = match level.floats() {
        Floats::Scalar => 0,
        // SAFETY: `Level` names only what the machine has, and AVX-512 only where there is AVX2; the rows are of one
        // length.
        #[cfg(target_arch = "x86_64")]
        Floats::Avx2 | Floats::Avx512 => unsafe { avx2::add::<DISTANCE>(&mut sums, &pairs) },
        // SAFETY: as above; what has `sdot` has NEON.
        #[cfg(target_arch = "aarch64")]
        Floats::Neon => unsafe { neon::add::<DISTANCE>(&mut sums, &pairs) },
    };
    for k in done..len {
        for (sum, (a, b)) in sums.iter_mut().zip(&pairs) {
            *sum += term::<DISTANCE>(a[k], b[k]);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_give_the_bits_of_one_sum() {
        let plain = |row: usize, k: usize| ((row * 131 + k * 37) % 101) as f32 * 0.37 - 9.0;
        // Of every magnitude, so that each term may be the one that is rounded away.
        let wild = |row: usize, k: usize| plain(row, k) * 2.0f32.powi(((row * 89 + k * 53) % 250) as i32 - 130);
        for (len, is_wild) in (0..20).chain([64, 101, 1030]).flat_map(|len| [(len, false), (len, true)]) {
            let number = |row, k| if is_wild { wild(row, k) } else { plain(row, k) };
            let rows: Vec<Vec<f32>> = (0..LANES + 1).map(|row| (0..len).map(|k| number(row, k)).collect()).collect();
            let pairs: Pairs<'_> = std::array::from_fn(|lane| (&rows[lane][..], &rows[lane + 1][..]));
            for level in Level::available() {
                assert_eq!(sums_at::<false>(level, pairs), pairs.map(|(a, b)| dot(a, b)), "{level:?}");
                assert_eq!(sums_at::<true>(level, pairs), pairs.map(|(a, b)| squared_distance(a, b)), "{level:?}");
            }
        }
    }
}
