//! Two pairs to a vector. Four numbers of each row are loaded at once and laid side by side, so that terms are added in
//! the order of their indices.

use super::{LANES, Pairs};
use std::arch::aarch64::*;

/// Numbers of a row that are loaded at once.
const WIDTH: usize = 4;

/// Pairs side by side in a vector.
const SIDE: usize = 2;

/// Adds the terms of all whole blocks; returns how many numbers of each row that were.
///
/// # Safety
/// The machine must have NEON; the rows must be of one length.
#[target_feature(enable = "neon")]
pub(super) unsafe fn add<const DISTANCE: bool>(sums: &mut [f64; LANES], pairs: &Pairs<'_>) -> usize {
    let whole = pairs[0].0.len() / WIDTH * WIDTH;
    let mut running = [vdupq_n_f64(0.0); LANES / SIDE];
    for start in (0..whole).step_by(WIDTH) {
        for (sum, [(a, b), (c, d)]) in running.iter_mut().zip(pairs.as_chunks::<SIDE>().0) {
            // SAFETY: `start + WIDTH <= whole`, which is within every row.
            let [a, b, c, d] = unsafe { [load(a, start), load(b, start), load(c, start), load(d, start)] };
            for (a, b) in columns(a, c).into_iter().zip(columns(b, d)) {
                *sum = if DISTANCE {
                    let difference = vsubq_f64(a, b);
                    vaddq_f64(*sum, vmulq_f64(difference, difference))
                } else {
                    // One rounding as in the plain sum, because a product is exact.
                    vfmaq_f64(*sum, a, b)
                };
            }
        }
    }
    for (sums, running) in sums.as_chunks_mut::<SIDE>().0.iter_mut().zip(running) {
        // SAFETY: the chunk holds as many numbers as are stored.
        unsafe { vst1q_f64(sums.as_mut_ptr(), running) };
    }
    whole
}

/// # Safety
/// The row has [`WIDTH`] numbers from `start` on.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn load(row: &[f32], start: usize) -> float32x4_t {
    // SAFETY: as promised by the caller.
    unsafe { vld1q_f32(row.as_ptr().add(start)) }
}

/// Numbers of two rows side by side, by rising index.
#[target_feature(enable = "neon")]
#[inline]
fn columns(one: float32x4_t, other: float32x4_t) -> [float64x2_t; WIDTH] {
    let (low, high) = (vzip1q_f32(one, other), vzip2q_f32(one, other));
    [vcvt_f64_f32(vget_low_f32(low)), vcvt_high_f64_f32(low), vcvt_f64_f32(vget_low_f32(high)), vcvt_high_f64_f32(high)]
}
