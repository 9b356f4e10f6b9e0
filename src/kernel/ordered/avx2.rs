//! Four pairs to a vector. Terms are computed along the rows, four numbers of a pair at once; each block of four by
//! four is transposed, so that its columns are added in the order of their indices.

use super::{LANES, Pairs};
use std::arch::x86_64::*;

/// Numbers in a vector, and pairs side by side in one.
const WIDTH: usize = 4;

/// Adds the terms of all whole blocks; returns how many numbers of each row that were.
///
/// # Safety
/// The machine must have AVX2; the rows must be of one length.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn add<const DISTANCE: bool>(sums: &mut [f64; LANES], pairs: &Pairs<'_>) -> usize {
    let whole = pairs[0].0.len() / WIDTH * WIDTH;
    let mut running = [_mm256_setzero_pd(); LANES / WIDTH];
    for start in (0..whole).step_by(WIDTH) {
        for (sum, pairs) in running.iter_mut().zip(pairs.as_chunks::<WIDTH>().0) {
            let mut terms = [_mm256_setzero_pd(); WIDTH];
            for (term, (a, b)) in terms.iter_mut().zip(pairs) {
                // SAFETY: `start + WIDTH <= whole`, which is within both rows.
                let (a, b) = unsafe { (_mm_loadu_ps(a.as_ptr().add(start)), _mm_loadu_ps(b.as_ptr().add(start))) };
                let (a, b) = (_mm256_cvtps_pd(a), _mm256_cvtps_pd(b));
                *term = if DISTANCE {
                    let difference = _mm256_sub_pd(a, b);
                    _mm256_mul_pd(difference, difference)
                } else {
                    _mm256_mul_pd(a, b)
                };
            }
            for column in transposed(terms) {
                *sum = _mm256_add_pd(*sum, column);
            }
        }
    }
    for (sums, running) in sums.as_chunks_mut::<WIDTH>().0.iter_mut().zip(running) {
        // SAFETY: the chunk holds as many numbers as are stored.
        unsafe { _mm256_storeu_pd(sums.as_mut_ptr(), running) };
    }
    whole
}

#[target_feature(enable = "avx2")]
#[inline]
fn transposed([a, b, c, d]: [__m256d; WIDTH]) -> [__m256d; WIDTH] {
    let (even_ab, odd_ab) = (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
    let (even_cd, odd_cd) = (_mm256_unpacklo_pd(c, d), _mm256_unpackhi_pd(c, d));
    [
        _mm256_permute2f128_pd::<0x20>(even_ab, even_cd),
        _mm256_permute2f128_pd::<0x20>(odd_ab, odd_cd),
        _mm256_permute2f128_pd::<0x31>(even_ab, even_cd),
        _mm256_permute2f128_pd::<0x31>(odd_ab, odd_cd),
    ]
}
