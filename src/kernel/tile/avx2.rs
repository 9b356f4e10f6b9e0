//! Pairs of 256-bit vectors: 12 sums, 2 of query rows and one number of a record row fill 15 of 16 registers.

use super::product::{F32, I16, Product};
use super::vector::Vector;
use super::{Block, Lanes, Reaching, Words, short};
use std::arch::x86_64::*;

/// Runs the block.
///
/// # Safety
/// The machine must have AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run(block: Block<'_>) {
    block.run::<F32<Pair>, 6>();
}

/// Runs a block of whole numbers.
///
/// # Safety
/// The machine must have AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run_short(block: Block<'_>) {
    block.run::<I16<Whole>, 6>();
}

/// Rounds numbers to whole ones.
///
/// # Safety
/// The machine must have AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn round(row: &[f32], factor: f32, pairs: &mut [u32]) {
    short::round(row, factor, pairs);
}

/// Looks for values that reach their cut.
///
/// # Safety
/// The machine must have AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn reaching(values: &[Lanes], cuts: &[Lanes], found: &mut Vec<Reaching>) {
    super::reaching::find::<Pair>(values, cuts, found);
}

/// Sixteen numbers.
#[derive(Clone, Copy)]
pub(super) struct Pair(pub(super) __m256, pub(super) __m256);

// Why every block here is safe: a `Pair` is made only below the functions above, and pointers come from references to
// 64 aligned bytes.
impl Vector for Pair {
    const GROUPS: usize = 1;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: see above.
        let half = unsafe { _mm256_set1_ps(value) };
        Pair(half, half)
    }

    #[inline(always)]
    fn load(lanes: &Lanes) -> Self {
        let half = lanes.0.as_ptr();
        // SAFETY: see above.
        unsafe { Pair(_mm256_load_ps(half), _mm256_load_ps(half.add(8))) }
    }

    #[inline(always)]
    fn store(self, lanes: &mut Lanes) {
        let half = lanes.0.as_mut_ptr();
        // SAFETY: see above.
        unsafe {
            _mm256_store_ps(half, self.0);
            _mm256_store_ps(half.add(8), self.1);
        }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { Pair(_mm256_add_ps(self.0, other.0), _mm256_add_ps(self.1, other.1)) }
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, summand: Self) -> Self {
        // SAFETY: see above.
        unsafe { Pair(_mm256_fmadd_ps(self.0, factor.0, summand.0), _mm256_fmadd_ps(self.1, factor.1, summand.1)) }
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { Pair(_mm256_max_ps(self.0, other.0), _mm256_max_ps(self.1, other.1)) }
    }

    #[inline(always)]
    fn reaches(self, other: Self) -> u16 {
        // SAFETY: see above.
        let halves = unsafe {
            let low = _mm256_cmp_ps::<_CMP_GE_OQ>(self.0, other.0);
            let high = _mm256_cmp_ps::<_CMP_GE_OQ>(self.1, other.1);
            (_mm256_movemask_ps(low), _mm256_movemask_ps(high))
        };
        (halves.0 | halves.1 << 8) as u16 // eight bits each
    }
}

/// Sixteen words or whole numbers of 32 bits.
#[derive(Clone, Copy)]
pub(super) struct Whole(pub(super) __m256i, pub(super) __m256i);

// As above: a `Whole` is made only below the functions above, and those of [`super::avx_vnni`].
impl Whole {
    #[inline(always)]
    pub(super) fn splat(word: u32) -> Whole {
        // SAFETY: see above.
        let half = unsafe { _mm256_set1_epi32(word as i32) };
        Whole(half, half)
    }

    #[inline(always)]
    pub(super) fn load(words: &Words) -> Whole {
        let half = words.0.as_ptr().cast::<__m256i>();
        // SAFETY: see above.
        unsafe { Whole(_mm256_load_si256(half), _mm256_load_si256(half.add(1))) }
    }

    #[inline(always)]
    pub(super) fn value(self) -> Pair {
        // SAFETY: see above.
        unsafe { Pair(_mm256_cvtepi32_ps(self.0), _mm256_cvtepi32_ps(self.1)) }
    }
}

impl Product for I16<Whole> {
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
        unsafe {
            Whole(
                _mm256_add_epi32(sum.0, _mm256_madd_epi16(query.0, row.0)),
                _mm256_add_epi32(sum.1, _mm256_madd_epi16(query.1, row.1)),
            )
        }
    }

    #[inline(always)]
    fn value(sum: Whole, _: Whole) -> Pair {
        sum.value()
    }
}
