//! 512-bit vectors with VNNI, which adds up two products of 16 bits, or four of bytes: 24 sums, 4 groups of query rows
//! and one word of a record row fill 29 of 32 registers.

use super::product::{I8, I16, Product};
use super::vector::Vector;
use super::{Block, Words};
use std::arch::asm;
use std::arch::x86_64::*;

/// Runs a block of whole numbers, those of the query in bytes.
///
/// # Safety
/// The machine must have AVX-512 with BW and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) unsafe fn run(block: Block<'_>) {
    match block.best.len() {
        1 | 2 => block.run::<I8<__m512i>, 12>(),
        _ => block.run::<I8<__m512i>, 6>(),
    }
}

/// Runs a block of whole numbers of 16 bits.
///
/// # Safety
/// The machine must have AVX-512 with BW and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) unsafe fn run_short(block: Block<'_>) {
    match block.best.len() {
        1 | 2 => block.run::<I16<__m512i>, 12>(),
        _ => block.run::<I16<__m512i>, 6>(),
    }
}

// Why every block here is safe: these methods are called only below the functions above, and pointers come from
// references to 64 aligned bytes.
impl Product for I16<__m512i> {
    type Vector = __m512;
    type Word = __m512i;
    type Row = __m512i;
    type Sum = __m512i;

    const GROUPS: usize = 4;
    const CHUNK: usize = usize::MAX;

    #[inline(always)]
    fn zero() -> __m512i {
        Self::row(0)
    }

    #[inline(always)]
    fn row(word: u32) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_set1_epi32(word as i32) }
    }

    #[inline(always)]
    fn load(words: &Words) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_load_si512(words.0.as_ptr().cast()) }
    }

    #[inline(always)]
    fn add(sum: __m512i, query: __m512i, row: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { dpwssd(sum, query, row) }
    }

    #[inline(always)]
    fn value(sum: __m512i, _: __m512i) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_cvtepi32_ps(sum) }
    }
}

/// Record rows in bytes of which 128 is not taken, because these are multiplied as unsigned ones: it is taken from the
/// sum, times the sum of the query's row.
impl Product for I8<__m512i> {
    type Vector = __m512;
    type Word = __m512i;
    type Row = __m512i;
    type Sum = __m512i;

    const GROUPS: usize = 4;
    const CHUNK: usize = usize::MAX;

    #[inline(always)]
    fn zero() -> __m512i {
        Self::row(0)
    }

    #[inline(always)]
    fn row(word: u32) -> __m512i {
        <I16<__m512i>>::row(word)
    }

    #[inline(always)]
    fn load(words: &Words) -> __m512i {
        <I16<__m512i>>::load(words)
    }

    #[inline(always)]
    fn add(sum: __m512i, query: __m512i, row: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_dpbusd_epi32(sum, row, query) }
    }

    #[inline(always)]
    fn shift(sum: __m512i, bits: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_sllv_epi32(sum, bits) }
    }

    #[inline(always)]
    fn value(sum: __m512i, surplus: __m512i) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_cvtepi32_ps(_mm512_sub_epi32(sum, surplus)) }
    }

    /// Compares whole numbers, and converts the largest ones alone.
    #[inline(always)]
    fn raise<const R: usize, const G: usize>(best: &mut [__m512; G], sums: [[__m512i; G]; R], surplus: [__m512i; G]) {
        let mut largest = sums[0];
        for sums in &sums[1..] {
            for (largest, &sum) in largest.iter_mut().zip(sums) {
                // SAFETY: see above.
                *largest = unsafe { _mm512_max_epi32(*largest, sum) };
            }
        }
        for ((best, largest), surplus) in best.iter_mut().zip(largest).zip(surplus) {
            *best = Vector::max(*best, Self::value(largest, surplus));
        }
    }
}

/// Adds to each number the products of two of 16 bits. In assembly, because the compiler makes two instructions of the
/// standard library's function for it.
///
/// # Safety
/// The machine must have AVX-512 with VNNI.
#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
unsafe fn dpwssd(mut sum: __m512i, query: __m512i, row: __m512i) -> __m512i {
    // SAFETY: computes with registers alone.
    unsafe {
        asm!(
            "vpdpwssd {sum}, {query}, {row}",
            sum = inout(zmm_reg) sum,
            query = in(zmm_reg) query,
            row = in(zmm_reg) row,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}
