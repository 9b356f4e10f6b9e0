//! 512-bit vectors: 24 sums, 4 groups of query rows and one number of a record row fill 29 of 32 registers. Whole
//! numbers are multiplied by [`vnni`](super::vnni), or else by [`avx2`](super::avx2).

use super::product::F32;
use super::vector::Vector;
use super::{Block, Lanes, Reaching};
use std::arch::x86_64::*;

/// Runs the block.
///
/// # Safety
/// The machine must have AVX-512F.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn run(block: Block<'_>) {
    // Of few groups, enough sums for additions not to wait for each other.
    match block.best.len() {
        1 | 2 => block.run::<F32<__m512>, 12>(),
        _ => block.run::<F32<__m512>, 6>(),
    }
}

/// Looks for values that reach their cut.
///
/// # Safety
/// The machine must have AVX-512F.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn reaching(values: &[Lanes], cuts: &[Lanes], found: &mut Vec<Reaching>) {
    super::reaching::find::<__m512>(values, cuts, found);
}

// Why every block here is safe: a `__m512` is made only below the functions above, and pointers come from references to
// 64 aligned bytes.
impl Vector for __m512 {
    const GROUPS: usize = 4;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: see above.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn load(lanes: &Lanes) -> Self {
        // SAFETY: see above.
        unsafe { _mm512_load_ps(lanes.0.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, lanes: &mut Lanes) {
        // SAFETY: see above.
        unsafe { _mm512_store_ps(lanes.0.as_mut_ptr(), self) }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { _mm512_add_ps(self, other) }
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, summand: Self) -> Self {
        // SAFETY: see above.
        unsafe { _mm512_fmadd_ps(self, factor, summand) }
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { _mm512_max_ps(self, other) }
    }

    #[inline(always)]
    fn reaches(self, other: Self) -> u16 {
        // SAFETY: see above.
        unsafe { _mm512_cmp_ps_mask::<_CMP_GE_OQ>(self, other) }
    }
}
