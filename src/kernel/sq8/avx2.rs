//! AVX2: bytes widened to sixteen bits, because the products of bytes would saturate in pairs.

use std::arch::x86_64::{
    __m128i, _mm_loadu_si128, _mm256_add_epi32, _mm256_cvtepi8_epi16, _mm256_cvtepu8_epi16, _mm256_madd_epi16,
    _mm256_setzero_si256, _mm256_storeu_si256,
};

/// # Safety
/// The feature is there; both lengths are the same multiple of 16, at most [`super::BLOCK`].
#[target_feature(enable = "avx2")]
pub(super) unsafe fn dot(query: &[i8], row: &[u8]) -> i64 {
    let mut sums = _mm256_setzero_si256();
    for at in (0..query.len()).step_by(16) {
        // SAFETY: 16 bytes from `at` on lie within both.
        let (query, row) = unsafe { (load(query.as_ptr().add(at)), load(row.as_ptr().add(at))) };
        sums = _mm256_add_epi32(sums, _mm256_madd_epi16(_mm256_cvtepi8_epi16(query), _mm256_cvtepu8_epi16(row)));
    }
    let mut lanes = [0i32; 8];
    // SAFETY: 32 bytes of 32.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sums) };
    lanes.iter().map(|&lane| i64::from(lane)).sum()
}

/// # Safety
/// 16 bytes can be read.
#[target_feature(enable = "avx2")]
unsafe fn load<T>(at: *const T) -> __m128i {
    // SAFETY: as promised by the caller.
    unsafe { _mm_loadu_si128(at.cast()) }
}
