//! NEON with `sdot`, which adds up four products of bytes: 24 sums, 4 of query rows and one word of a record row fill
//! 29 of 32 registers. A word takes 35 instructions, 24 of them `sdot` and 8 loads. Everything else is done by
//! [`neon`](super::neon).

use super::neon::{Quad, Whole};
use super::product::{I8, Product};
use super::{Block, Words};
use std::arch::aarch64::*;
use std::arch::asm;

/// Runs a block of whole numbers, those of the query in bytes.
///
/// # Safety
/// The machine must have NEON and `sdot`.
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn run(block: Block<'_>) {
    block.run::<I8<Whole>, 6>();
}

// Why every block here is safe: these methods are called only below the function above.
impl Product for I8<Whole> {
    type Vector = Quad;
    type Word = Whole;
    /// Four bytes. Nothing is computed of them as an `f32`: this is what is loaded into the right kind of register.
    type Row = f32;
    type Sum = Whole;

    const GROUPS: usize = 1;
    const CHUNK: usize = usize::MAX;

    #[inline(always)]
    fn zero() -> Whole {
        Whole::zero()
    }

    #[inline(always)]
    fn row(word: u32) -> f32 {
        f32::from_bits(word)
    }

    #[inline(always)]
    fn load(words: &Words) -> Whole {
        Whole::load(words)
    }

    #[inline(always)]
    fn add(sum: Whole, query: Whole, row: f32) -> Whole {
        let (sum, query) = (sum.0, query.0);
        // SAFETY: see above.
        unsafe {
            Whole([
                sdot(sum[0], query[0], row),
                sdot(sum[1], query[1], row),
                sdot(sum[2], query[2], row),
                sdot(sum[3], query[3], row),
            ])
        }
    }

    #[inline(always)]
    fn shift(sum: Whole, bits: Whole) -> Whole {
        let ([a, b, c, d], [e, f, g, h]) = (sum.0, bits.0);
        // SAFETY: see above.
        unsafe { Whole([vshlq_s32(a, e), vshlq_s32(b, f), vshlq_s32(c, g), vshlq_s32(d, h)]) }
    }

    #[inline(always)]
    fn value(sum: Whole, _: Whole) -> Quad {
        sum.value()
    }
}

/// Adds to each number the products of the four bytes of a word and those of the row. In assembly, because the standard
/// library's function for it is not stable.
///
/// # Safety
/// The machine must have NEON and `sdot`.
#[target_feature(enable = "neon,dotprod")]
#[inline]
unsafe fn sdot(mut sum: int32x4_t, query: int32x4_t, row: f32) -> int32x4_t {
    // SAFETY: computes with registers alone.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {query:v}.16b, {row:v}.4b[0]",
            sum = inout(vreg) sum,
            query = in(vreg) query,
            row = in(vreg) row,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}
