//! Fours of 128-bit vectors: 24 sums, 4 of query rows and one number of a record row fill 29 of 32 registers. A number
//! takes 35 instructions, 24 of them products with a sum (`fmla`) and 8 loads.
//!
//! NEON does not add up pairs of products. So of whole numbers of 16 bits there are two sums for each row, which are
//! added at the end, and half as many rows in a step: 24 of 36 instructions are products (`smlal`), as many for two
//! numbers of 3 rows as in `f32` for one of 6.

use super::product::{F32, I16, Product};
use super::vector::Vector;
use super::{Block, Lanes, Reaching, Words};
use std::arch::aarch64::*;
use std::arch::asm;

/// Runs the block.
///
/// # Safety
/// The machine must have NEON.
#[target_feature(enable = "neon")]
pub(super) unsafe fn run(block: Block<'_>) {
    block.run::<F32<Quad>, 6>();
}

/// Runs a block of whole numbers.
///
/// # Safety
/// The machine must have NEON.
#[target_feature(enable = "neon")]
pub(super) unsafe fn run_short(block: Block<'_>) {
    block.run::<I16<Whole>, 3>();
}

/// Looks for values that reach their cut.
///
/// # Safety
/// The machine must have NEON.
#[target_feature(enable = "neon")]
pub(super) unsafe fn reaching(values: &[Lanes], cuts: &[Lanes], found: &mut Vec<Reaching>) {
    super::reaching::find::<Quad>(values, cuts, found);
}

/// Sixteen numbers.
#[derive(Clone, Copy)]
pub(super) struct Quad(float32x4_t, float32x4_t, float32x4_t, float32x4_t);

// Why every block here is safe: a `Quad` is made only below the functions above and those of `dotprod`, and pointers
// come from references to 64 aligned bytes.
impl Vector for Quad {
    const GROUPS: usize = 1;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: see above.
        let quarter = unsafe { vdupq_n_f32(value) };
        Quad(quarter, quarter, quarter, quarter)
    }

    #[inline(always)]
    fn load(lanes: &Lanes) -> Self {
        let at = lanes.0.as_ptr();
        // SAFETY: see above.
        unsafe { Quad(vld1q_f32(at), vld1q_f32(at.add(4)), vld1q_f32(at.add(8)), vld1q_f32(at.add(12))) }
    }

    #[inline(always)]
    fn store(self, lanes: &mut Lanes) {
        let at = lanes.0.as_mut_ptr();
        // SAFETY: see above.
        unsafe {
            vst1q_f32(at, self.0);
            vst1q_f32(at.add(4), self.1);
            vst1q_f32(at.add(8), self.2);
            vst1q_f32(at.add(12), self.3);
        }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe {
            Quad(
                vaddq_f32(self.0, other.0),
                vaddq_f32(self.1, other.1),
                vaddq_f32(self.2, other.2),
                vaddq_f32(self.3, other.3),
            )
        }
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, summand: Self) -> Self {
        // SAFETY: see above.
        unsafe {
            Quad(
                vfmaq_f32(summand.0, self.0, factor.0),
                vfmaq_f32(summand.1, self.1, factor.1),
                vfmaq_f32(summand.2, self.2, factor.2),
                vfmaq_f32(summand.3, self.3, factor.3),
            )
        }
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe {
            Quad(
                vmaxq_f32(self.0, other.0),
                vmaxq_f32(self.1, other.1),
                vmaxq_f32(self.2, other.2),
                vmaxq_f32(self.3, other.3),
            )
        }
    }

    #[inline(always)]
    fn reaches(self, other: Self) -> u16 {
        const BITS: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
        // SAFETY: see above, and for the bits: 16 bytes of 16.
        unsafe {
            let low = vuzp1q_u16(
                vreinterpretq_u16_u32(vcgeq_f32(self.0, other.0)),
                vreinterpretq_u16_u32(vcgeq_f32(self.1, other.1)),
            );
            let high = vuzp1q_u16(
                vreinterpretq_u16_u32(vcgeq_f32(self.2, other.2)),
                vreinterpretq_u16_u32(vcgeq_f32(self.3, other.3)),
            );
            let all = vuzp1q_u8(vreinterpretq_u8_u16(low), vreinterpretq_u8_u16(high));
            let bits = vandq_u8(all, vld1q_u8(BITS.as_ptr()));
            u16::from(vaddv_u8(vget_low_u8(bits))) | u16::from(vaddv_u8(vget_high_u8(bits))) << 8
        }
    }
}

/// Sixteen words, or whole numbers of 32 bits.
#[derive(Clone, Copy)]
pub(super) struct Whole(pub(super) [int32x4_t; 4]);

impl Whole {
    #[inline(always)]
    pub(super) fn zero() -> Whole {
        // SAFETY: see above.
        Whole([unsafe { vdupq_n_s32(0) }; 4])
    }

    #[inline(always)]
    pub(super) fn load(words: &Words) -> Whole {
        let at = words.0.as_ptr().cast::<i32>();
        // SAFETY: see above.
        unsafe { Whole([vld1q_s32(at), vld1q_s32(at.add(4)), vld1q_s32(at.add(8)), vld1q_s32(at.add(12))]) }
    }

    /// The numbers in `f32`, rounded to the nearest.
    #[inline(always)]
    pub(super) fn value(self) -> Quad {
        let [a, b, c, d] = self.0;
        // SAFETY: see above.
        unsafe { Quad(vcvtq_f32_s32(a), vcvtq_f32_s32(b), vcvtq_f32_s32(c), vcvtq_f32_s32(d)) }
    }
}

// As above.
impl Product for I16<Whole> {
    type Vector = Quad;
    type Word = Whole;
    type Row = int16x8_t;
    /// Of each four query rows, the sums of two and of the other two, those of first and of second numbers apart.
    type Sum = [[int32x4_t; 2]; 4];

    const GROUPS: usize = 1;
    const CHUNK: usize = usize::MAX;

    #[inline(always)]
    fn zero() -> Self::Sum {
        // SAFETY: see above.
        [[unsafe { vdupq_n_s32(0) }; 2]; 4]
    }

    #[inline(always)]
    fn row(word: u32) -> int16x8_t {
        // SAFETY: see above; the assembly does nothing. From a compiler that knows that both halves are alike come
        // other instructions, which take more registers than there are.
        unsafe {
            let mut row = vdupq_n_u32(word);
            asm!("/* {0:v} */", inout(vreg) row, options(pure, nomem, nostack, preserves_flags));
            vreinterpretq_s16_u32(row)
        }
    }

    #[inline(always)]
    fn load(words: &Words) -> Whole {
        Whole::load(words)
    }

    #[inline(always)]
    fn add(mut sum: Self::Sum, query: Whole, row: int16x8_t) -> Self::Sum {
        for (sum, query) in sum.iter_mut().zip(query.0) {
            // SAFETY: see above.
            unsafe {
                let query = vreinterpretq_s16_s32(query);
                sum[0] = vmlal_s16(sum[0], vget_low_s16(query), vget_low_s16(row));
                sum[1] = vmlal_high_s16(sum[1], query, row);
            }
        }
        sum
    }

    #[inline(always)]
    fn value(sum: Self::Sum, _: Whole) -> Quad {
        let [a, b, c, d] = sum;
        // SAFETY: see above.
        let whole =
            unsafe { [vpaddq_s32(a[0], a[1]), vpaddq_s32(b[0], b[1]), vpaddq_s32(c[0], c[1]), vpaddq_s32(d[0], d[1])] };
        Whole(whole).value()
    }
}
