//! Pairs of 256-bit vectors: 12 sums, 2 of query rows and one number of a record row fill 15 of 16 registers.

use super::vector::Vector;
use super::{Block, Lanes, Reaching};
use std::arch::x86_64::*;

/// Runs the block.
///
/// # Safety
/// The machine must have AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run(block: Block<'_>) {
    block.run::<Pair, 6>();
}

/// Looks for values that reach their cut.
///
/// # Safety
/// The machine must have AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn reaching(values: &[Lanes], cuts: &[Lanes], found: &mut Vec<Reaching>) {
    super::find::<Pair>(values, cuts, found);
}

/// Sixteen numbers.
#[derive(Clone, Copy)]
struct Pair(__m256, __m256);

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
