//! AVX-512 with VNNI: sixty-four products an instruction.

use std::arch::x86_64::{
    __m512i, _mm_add_epi32, _mm_storeu_si128, _mm256_add_epi32, _mm256_castsi256_si128, _mm256_extracti128_si256,
    _mm256_hadd_epi32, _mm512_castsi512_si256, _mm512_dpbusd_epi32, _mm512_extracti64x4_epi64, _mm512_loadu_si512,
    _mm512_setzero_si512, _mm512_storeu_si512,
};

/// # Safety
/// The features are there; both lengths are the same multiple of 64, at most [`super::BLOCK`].
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) unsafe fn dot(query: &[i8], row: &[u8]) -> i64 {
    let (mut even, mut odd) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    let (queries, rows) = (query.as_ptr(), row.as_ptr());
    let mut at = 0;
    // SAFETY: `at` stays below the lengths, which are multiples of 64.
    unsafe {
        while at + 128 <= query.len() {
            even = _mm512_dpbusd_epi32(even, load(rows.add(at)), load(queries.add(at)));
            odd = _mm512_dpbusd_epi32(odd, load(rows.add(at + 64)), load(queries.add(at + 64)));
            at += 128;
        }
        if at < query.len() {
            even = _mm512_dpbusd_epi32(even, load(rows.add(at)), load(queries.add(at)));
        }
    }
    sum(even) + sum(odd)
}

/// # Safety
/// As [`dot`].
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2")]
pub(super) unsafe fn dot4(query: &[i8], rows: [&[u8]; 4]) -> [i64; 4] {
    let mut sums = [_mm512_setzero_si512(); 4];
    for at in (0..query.len()).step_by(64) {
        // SAFETY: `at` stays below the lengths, which are multiples of 64.
        unsafe {
            let query = load(query.as_ptr().add(at));
            for (sum, row) in sums.iter_mut().zip(rows) {
                *sum = _mm512_dpbusd_epi32(*sum, load(row.as_ptr().add(at)), query);
            }
        }
    }
    totals(sums, query.len())
}

/// # Safety
/// As [`dot`], for both queries.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2")]
pub(super) unsafe fn dot8_both(queries: [&[i8]; 2], rows: [&[u8]; 8]) -> [[i64; 8]; 2] {
    let mut sums = [[_mm512_setzero_si512(); 8]; 2];
    let len = queries[0].len();
    for at in (0..len).step_by(64) {
        // SAFETY: `at` stays below the lengths, which are multiples of 64.
        unsafe {
            let both = queries.map(|query| load(query.as_ptr().add(at)));
            for (which, row) in rows.iter().enumerate() {
                let row = load(row.as_ptr().add(at));
                sums[0][which] = _mm512_dpbusd_epi32(sums[0][which], row, both[0]);
                sums[1][which] = _mm512_dpbusd_epi32(sums[1][which], row, both[1]);
            }
        }
    }
    let eight = |[a, b, c, d, e, f, g, h]: [__m512i; 8]| {
        let ([a, b, c, d], [e, f, g, h]) = (totals([a, b, c, d], len), totals([e, f, g, h], len));
        [a, b, c, d, e, f, g, h]
    };
    sums.map(eight)
}

/// The sums of lanes that took products of rows of this length.
#[target_feature(enable = "avx512f,avx2")]
fn totals(sums: [__m512i; 4], len: usize) -> [i64; 4] {
    if len > super::SHORT {
        return sums.map(|one| sum(one));
    }
    let halves = sums.map(|sum| _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64::<1>(sum)));
    let pairs = _mm256_hadd_epi32(_mm256_hadd_epi32(halves[0], halves[1]), _mm256_hadd_epi32(halves[2], halves[3]));
    let four = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256::<1>(pairs));
    let mut out = [0i32; 4];
    // SAFETY: 16 bytes of 16.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), four) };
    out.map(i64::from)
}

/// # Safety
/// 64 bytes can be read.
#[target_feature(enable = "avx512f")]
unsafe fn load<T>(at: *const T) -> __m512i {
    // SAFETY: as promised by the caller.
    unsafe { _mm512_loadu_si512(at.cast()) }
}

/// Lanes of at most 2^31 each, so that their sum takes 64 bits.
#[target_feature(enable = "avx512f")]
fn sum(lanes: __m512i) -> i64 {
    let mut out = [0i32; 16];
    // SAFETY: 64 bytes of 64.
    unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), lanes) };
    out.iter().map(|&lane| i64::from(lane)).sum()
}
