//! 256-bit vectors with sums of products (AVX-VNNI), on machines that have no vectors of 512 bits: blocks as with AVX2.

use super::avx2::{Pair, Whole};
use super::product::{I8, I16, Product};
use super::{Block, Words};
use std::arch::asm;
use std::arch::x86_64::*;

/// Runs a block of whole numbers, those of the query in bytes.
///
/// # Safety
/// The machine must have AVX2, FMA and AVX-VNNI.
#[target_feature(enable = "avx2,fma,avxvnni")]
pub(super) unsafe fn run(block: Block<'_>) {
    block.run::<I8<Whole>, 6>();
}

/// Runs a block of whole numbers of 16 bits.
///
/// # Safety
/// The machine must have AVX2, FMA and AVX-VNNI.
#[target_feature(enable = "avx2,fma,avxvnni")]
pub(super) unsafe fn run_short(block: Block<'_>) {
    block.run::<I16<Fused>, 6>();
}

/// Stands for sums of products of 16 bits in one instruction, where AVX2 takes two.
pub(super) struct Fused;

// Why every block here is safe: these methods are called only below the functions above.
impl Product for I16<Fused> {
    type Vector = Pair;
    type Word = Whole;
    type Row = Whole;
    type Sum = Whole;

    const GROUPS: usize = 1;
    const CHUNK: usize = usize::MAX;

    #[inline(always)]
    fn zero() -> Whole {
        Whole::splat(0)
    }

    #[inline(always)]
    fn row(word: u32) -> Whole {
        Whole::splat(word)
    }

    #[inline(always)]
    fn load(words: &Words) -> Whole {
        Whole::load(words)
    }

    #[inline(always)]
    fn add(sum: Whole, query: Whole, row: Whole) -> Whole {
        // SAFETY: see above.
        unsafe { Whole(dpwssd(sum.0, query.0, row.0), dpwssd(sum.1, query.1, row.1)) }
    }

    #[inline(always)]
    fn value(sum: Whole, _: Whole) -> Pair {
        sum.value()
    }
}

/// Record rows in bytes of which 128 is not taken, because these are multiplied as unsigned ones: it is taken from the
/// sum, times the sum of the query's row.
impl Product for I8<Whole> {
    type Vector = Pair;
    type Word = Whole;
    type Row = Whole;
    type Sum = Whole;

    const GROUPS: usize = 1;
    const CHUNK: usize = usize::MAX;

    #[inline(always)]
    fn zero() -> Whole {
        Whole::splat(0)
    }

    #[inline(always)]
    fn row(word: u32) -> Whole {
        Whole::splat(word)
    }

    #[inline(always)]
    fn load(words: &Words) -> Whole {
        Whole::load(words)
    }

    #[inline(always)]
    fn add(sum: Whole, query: Whole, row: Whole) -> Whole {
        // SAFETY: see above.
        unsafe { Whole(_mm256_dpbusd_avx_epi32(sum.0, row.0, query.0), _mm256_dpbusd_avx_epi32(sum.1, row.1, query.1)) }
    }

    #[inline(always)]
    fn shift(sum: Whole, bits: Whole) -> Whole {
        // SAFETY: see above.
        unsafe { Whole(_mm256_sllv_epi32(sum.0, bits.0), _mm256_sllv_epi32(sum.1, bits.1)) }
    }

    #[inline(always)]
    fn value(sum: Whole, surplus: Whole) -> Pair {
        // SAFETY: see above.
        let sum = unsafe { Whole(_mm256_sub_epi32(sum.0, surplus.0), _mm256_sub_epi32(sum.1, surplus.1)) };
        sum.value()
    }
}

/// Adds to each number the products of two of 16 bits. In assembly, because the compiler makes two instructions of the
/// standard library's function for it.
///
/// # Safety
/// The machine must have AVX-VNNI.
#[target_feature(enable = "avx2,avxvnni")]
#[inline]
unsafe fn dpwssd(mut sum: __m256i, query: __m256i, row: __m256i) -> __m256i {
    // SAFETY: computes with registers alone.
    unsafe {
        asm!(
            "{{vex}} vpdpwssd {sum}, {query}, {row}",
            sum = inout(ymm_reg) sum,
            query = in(ymm_reg) query,
            row = in(ymm_reg) row,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}
