//! NEON with `sdot`: sixteen products an instruction.

use super::neon::{Products, run};
use std::arch::aarch64::{int8x16_t, int32x4_t};
use std::arch::asm;

/// [`dots`](super::neon::dots) with `sdot`.
///
/// # Safety
/// As there, and the machine has `sdot`.
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn dots<const Q: usize, const R: usize, const S: usize>(
    queries: [&[i8]; Q],
    rows: [&[u8]; R],
) -> [[i64; R]; Q] {
    // SAFETY: as promised by the caller.
    unsafe { run::<Dotprod, Q, R, S>(queries, rows) }
}

struct Dotprod;

impl Products for Dotprod {
    #[inline(always)]
    unsafe fn add(sum: int32x4_t, query: int8x16_t, row: int8x16_t) -> int32x4_t {
        // SAFETY: as promised by the caller.
        unsafe { sdot(sum, query, row) }
    }
}

/// Adds to each number four products. In assembly, because the standard library's function for it is not stable.
///
/// # Safety
/// The machine must have NEON and `sdot`.
#[target_feature(enable = "neon,dotprod")]
#[inline]
unsafe fn sdot(mut sum: int32x4_t, query: int8x16_t, row: int8x16_t) -> int32x4_t {
    // SAFETY: computes with registers alone.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {query:v}.16b, {row:v}.16b",
            sum = inout(vreg) sum,
            query = in(vreg) query,
            row = in(vreg) row,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}
