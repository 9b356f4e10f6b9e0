//! Numbers in `f32` to whole ones of 16 bits, and these and bytes to words.

use crate::kernel::level::{Floats, Level};

/// The most that the norm of a row of whole numbers may be. Two such rows have a product of at most 2^31 - 2^26, also
/// when each of up to 4,096 numbers was rounded by half of one.
pub const SHORT_SIZE: f32 = 32_000.0;

/// Whether products of whole numbers are faster than those in `f32` where many rows are compared. With AVX-512 but no
/// VNNI there is no kernel of whole numbers that uses its registers. NEON multiplies no more numbers of 16 bits at a
/// time than of 32.
pub fn short_is_faster() -> bool {
    #[cfg(target_arch = "x86_64")]
    return !matches!(Level::current(), Level::Scalar | Level::Avx512);
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Rounds each number of a row, times the factor, to the nearest whole one, ties to even. Two of them fill a word, the
/// first one its lower half; a half that is left over is 0. Numbers beyond 16 bits are wrong then.
///
/// # Panics
/// When `pairs` is not half as long as the row, rounded up.
pub(super) fn convert(row: &[f32], factor: f32, pairs: &mut [u32]) {
    match Level::current().floats() {
        Floats::Scalar => round(row, factor, pairs),
        // SAFETY: `Level` names only what the machine has.
        #[cfg(target_arch = "x86_64")]
        Floats::Avx2 | Floats::Avx512 => unsafe { super::avx2::round(row, factor, pairs) },
        // What the compiler may always use there is NEON.
        #[cfg(target_arch = "aarch64")]
        Floats::Neon => round(row, factor, pairs),
    }
}

/// [`convert`] with the instructions of whoever it is inlined into.
#[inline(always)]
pub(super) fn round(row: &[f32], factor: f32, pairs: &mut [u32]) {
    // There is no room for a fraction beyond this, and the whole number is in the lower half.
    const ROOM: f32 = 1.5 * (1 << 23) as f32;
    let whole = |value: f32| (value * factor + ROOM).to_bits() as u16;
    assert_eq!(pairs.len(), row.len().div_ceil(2), "another number of words");
    let shorts: &mut [u16] = bytemuck::cast_slice_mut(pairs);
    let (shorts, rest) = shorts.split_at_mut(row.len());
    shorts.iter_mut().zip(row).for_each(|(short, &value)| *short = whole(value));
    rest.fill(0);
}

/// Puts two whole numbers into a word.
pub(super) fn pairs(row: &[i16]) -> Vec<u32> {
    let pair = |pair: &[i16]| u32::from(pair[0] as u16) | u32::from(pair.get(1).map_or(0, |&n| n as u16)) << 16;
    row.chunks(2).map(pair).collect()
}

/// Takes 128 from each byte, and puts two of them into a word.
#[inline(always)]
pub(super) fn widen(bytes: &[u8], pairs: &mut [u32]) {
    let shorts: &mut [i16] = bytemuck::cast_slice_mut(pairs);
    shorts.iter_mut().zip(bytes).for_each(|(short, &byte)| *short = i16::from(byte) - 128);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_the_nearest() {
        let row: Vec<f32> = (-3_000..3_001).map(|n| n as f32 * 0.73).collect();
        for len in [0, 1, 2, 7, 16, 33, row.len()] {
            for factor in [0.0, 1e-3, 1.0, 14.6] {
                let (mut some, mut plain) = (vec![9; len.div_ceil(2)], vec![9; len.div_ceil(2)]);
                convert(&row[..len], factor, &mut some);
                round(&row[..len], factor, &mut plain);
                assert_eq!(some, plain);
                let shorts: &[i16] = bytemuck::cast_slice(&some);
                assert!(shorts[len..].iter().all(|&rest| rest == 0));
                for (&short, value) in shorts.iter().zip(&row[..len]) {
                    assert!((f32::from(short) - value * factor).abs() <= 0.502, "{value} x {factor} is {short}");
                }
            }
        }
    }
}
