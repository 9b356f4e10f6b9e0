//! Softmax of rows, vectorised.
//!
//! `e^x` for `x <= 0`: with `n` the nearest whole number to `x / ln 2`, `e^x = 2^n * e^r`, `|r| <= ln 2 / 2`, where the
//! power series of `e^r` up to `r^7` is within 6e-9. `n ln 2` is subtracted in two parts, the first with zeros at its
//! end, so that `r` is exact (Cody and Waite).
#![allow(unsafe_code)]

use super::level::{Floats, Level};

/// Turns each row of `width` values into weights that sum to 1, `e^x / sum e^x`, within 1e-6 of the exact ones.
/// Minus infinity becomes exactly 0; a row of nothing else has no weights and becomes NaN.
///
/// # Panics
/// When the length is not a multiple of `width`.
pub fn softmax(values: &mut [f32], width: usize) {
    if values.is_empty() {
        return;
    }
    assert!(width > 0 && values.len().is_multiple_of(width), "values do not divide into rows");
    softmax_at(Level::current(), values, width);
}

/// [`softmax`] with the instructions of a level that is not above the machine's.
fn softmax_at(level: Level, values: &mut [f32], width: usize) {
    match level.floats() {
        Floats::Scalar => softmax_portable(values, width),
        // SAFETY: `Level` names only what the machine has.
        #[cfg(target_arch = "x86_64")]
        Floats::Avx2 => unsafe { softmax_avx2(values, width) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Floats::Avx512 => unsafe { softmax_avx512(values, width) },
        // What the compiler may always use there is NEON.
        #[cfg(target_arch = "aarch64")]
        Floats::Neon => softmax_portable(values, width),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn softmax_avx512(values: &mut [f32], width: usize) {
    values.chunks_exact_mut(width).for_each(row);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn softmax_avx2(values: &mut [f32], width: usize) {
    values.chunks_exact_mut(width).for_each(row);
}

fn softmax_portable(values: &mut [f32], width: usize) {
    values.chunks_exact_mut(width).for_each(row);
}

const LANES: usize = 16;

#[inline(always)]
fn row(values: &mut [f32]) {
    let (chunks, rest) = values.as_chunks_mut::<LANES>();
    let mut tops = [f32::NEG_INFINITY; LANES];
    for chunk in chunks.iter() {
        tops.iter_mut().zip(chunk).for_each(|(top, value)| *top = top.max(*value));
    }
    let top = tops.iter().chain(rest.iter()).fold(f32::NEG_INFINITY, |top, value| top.max(*value));
    // Sixteen running sums: independent of each other, so they vectorise, and more accurate than one.
    let mut sums = [0.0; LANES];
    for chunk in chunks.iter_mut() {
        for (value, sum) in chunk.iter_mut().zip(&mut sums) {
            *value = exp(*value - top);
            *sum += *value;
        }
    }
    let mut sum: f32 = sums.iter().sum();
    for value in rest {
        *value = exp(*value - top);
        sum += *value;
    }
    values.iter_mut().for_each(|value| *value /= sum);
}

/// `e^x` for `x <= 0`, NaN for NaN; 0 below -87, where the result would leave the normal range.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const LN_2_HIGH: f32 = 0.693_359_4; // 355 / 512
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    /// Adding and subtracting 1.5 * 2^23 rounds to a whole number, and leaves it in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    const SERIES: [f32; 8] = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 1.0 / 2.0, 1.0, 1.0];
    let e_r = SERIES.iter().fold(0.0, |sum, c| sum * r + c);
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    if x < -87.0 { 0.0 } else { e_r * power }
}

#[cfg(test)]
#[allow(clippy::print_stdout)]
mod tests {
    use super::*;

    #[test]
    fn every_level_and_length_is_within_a_millionth_of_the_exact_weights() {
        for level in Level::available() {
            let mut worst = 0.0_f64;
            for width in 1..140 {
                let inputs: Vec<f32> = (0..3 * width).map(|i| (i * i % 97) as f32 * 0.83 - 40.0).collect();
                let mut got = inputs.clone();
                softmax_at(level, &mut got, width);
                for (inputs, got) in inputs.chunks(width).zip(got.chunks(width)) {
                    let top = inputs.iter().fold(f64::MIN, |top, x| top.max(f64::from(*x)));
                    let exact: Vec<f64> = inputs.iter().map(|x| (f64::from(*x) - top).exp()).collect();
                    let sum: f64 = exact.iter().sum();
                    for (exact, got) in exact.iter().zip(got) {
                        worst = worst.max((exact / sum - f64::from(*got)).abs());
                    }
                }
            }
            println!("figure softmax_worst_error_{} = {worst:.2e}", level.name());
            assert!(worst <= 1e-6, "{level:?}: {worst:e}");
        }
    }

    #[test]
    fn the_exponential_is_accurate_over_its_whole_range() {
        for step in 0..=870_000 {
            let x = step as f32 * -1e-4;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 5e-7, "e^{x}: {} for {exact}", exp(x));
        }
    }

    #[test]
    fn what_is_masked_out_weighs_nothing_and_nan_is_not_hidden() {
        for level in Level::available() {
            let mut values = vec![f32::NEG_INFINITY; 40];
            values[3] = -5.0;
            values[38] = -5.0;
            softmax_at(level, &mut values, 40);
            let exact: Vec<f32> = (0..40).map(|at| if at == 3 || at == 38 { 0.5 } else { 0.0 }).collect();
            assert_eq!(values, exact);
            let mut values = vec![0.0, f32::NAN, 1.0];
            softmax_at(level, &mut values, 3);
            assert!(values.iter().all(|value| value.is_nan()), "{values:?}");
        }
    }
}
