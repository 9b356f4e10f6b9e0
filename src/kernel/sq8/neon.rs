//! NEON: the record's bytes are made signed, products of bytes fit sixteen bits, and pairs of them are added up in 32.
//! The driver serves [`dotprod`](super::dotprod) too.

use std::arch::aarch64::*;

/// Inner products of queries with a record's rows, without any surplus.
///
/// # Safety
/// The machine has NEON; all lengths are the same multiple of [`super::STRIDE`], at most [`super::BLOCK`].
#[target_feature(enable = "neon")]
pub(super) unsafe fn dots<const Q: usize, const R: usize, const S: usize>(
    queries: [&[i8]; Q],
    rows: [&[u8]; R],
) -> [[i64; R]; Q] {
    // SAFETY: as promised by the caller.
    unsafe { run::<Widened, Q, R, S>(queries, rows) }
}

/// How sixteen products of bytes are added to sums.
pub(super) trait Products {
    /// # Safety
    /// The machine has the instructions.
    unsafe fn add(sum: int32x4_t, query: int8x16_t, row: int8x16_t) -> int32x4_t;
}

/// Products of sixteen bits, added in pairs: each is at most 2^14.
struct Widened;

impl Products for Widened {
    #[inline(always)]
    unsafe fn add(sum: int32x4_t, query: int8x16_t, row: int8x16_t) -> int32x4_t {
        // SAFETY: as promised by the caller.
        unsafe {
            let low = vmull_s8(vget_low_s8(query), vget_low_s8(row));
            vpadalq_s16(vpadalq_s16(sum, low), vmull_high_s8(query, row))
        }
    }
}

/// [`dots`] by some kind of products, with `S` sums of each query and row: so many that they need not wait for each
/// other. A sum of a block stays within 2^30.
///
/// # Safety
/// As [`dots`], and the machine has the instructions of `P`; this is inlined into what enables them.
#[inline(always)]
pub(super) unsafe fn run<P: Products, const Q: usize, const R: usize, const S: usize>(
    queries: [&[i8]; Q],
    rows: [&[u8]; R],
) -> [[i64; R]; Q] {
    const { assert!(super::STRIDE.is_multiple_of(16 * S)) };
    let mut totals = [[0; R]; Q];
    // SAFETY: `at` stays below the lengths, which are multiples of `16 * S`; the instructions are there.
    unsafe {
        let mut sums = [[[vdupq_n_s32(0); S]; R]; Q];
        for at in (0..queries[0].len()).step_by(16 * S) {
            for s in 0..S {
                let at = at + 16 * s;
                let mut own = [vdupq_n_s8(0); Q];
                for (own, query) in own.iter_mut().zip(&queries) {
                    *own = vld1q_s8(query.as_ptr().add(at));
                }
                for (r, row) in rows.iter().enumerate() {
                    let row = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(row.as_ptr().add(at)), vdupq_n_u8(128)));
                    for (sums, own) in sums.iter_mut().zip(own) {
                        sums[r][s] = P::add(sums[r][s], own, row);
                    }
                }
            }
        }
        for (totals, sums) in totals.iter_mut().zip(sums) {
            for (total, sums) in totals.iter_mut().zip(sums) {
                for sum in sums {
                    *total += vaddlvq_s32(sum);
                }
            }
        }
    }
    totals
}
