//! The exact (erf) GELU over a slice, vectorised.
//!
//! `gelu(x) = x * (1 + erf(x / sqrt 2)) / 2 = (x + |x|) / 2 - g(|x|)`, where `g(t) = t * erfc(t / sqrt 2) / 2` is a
//! bump: 0 at 0, at most 0.17, and below 1.1e-7 from 5.5 on. Approximating `g` instead of `erf` keeps the error
//! absolute: it does not grow with `x`. `g` is a quotient of two polynomials on [0, 5.5], fitted by iteratively
//! reweighted least squares (6.7e-9 before rounding; 2.5e-7 after, on [-6, 6]). One division and 14 multiply-adds a
//! value, no branch, no table.
#![allow(unsafe_code)]

use super::level::{Floats, Level};
use super::softmax::exp;

const END: f32 = 5.5;
const UPPER: [f32; 7] =
    [0.499_999_52, -0.554_937_7, 0.258_745_88, -0.064_844_86, 0.009_208_112, -0.000_702_136_2, 0.000_022_449_034];
const LOWER: [f32; 9] = [
    1.0,
    -0.312_011_54,
    0.268_703_22,
    -0.048_898_935,
    0.022_283_921,
    -0.001_329_481_3,
    0.000_920_609_34,
    -0.000_087_887_09,
    0.000_053_718_66,
];

/// Replaces every value by its GELU, `x * (1 + erf(x / sqrt 2)) / 2`, within 1e-6. NaN stays NaN.
pub fn gelu(values: &mut [f32]) {
    gelu_at(Level::current(), values);
}

/// [`gelu`] with the instructions of a level that is not above the machine's.
fn gelu_at(level: Level, values: &mut [f32]) {
    match level.floats() {
        Floats::Scalar => gelu_portable(values),
        // SAFETY: `Level` names only what the machine has.
        #[cfg(target_arch = "x86_64")]
        Floats::Avx2 => unsafe { gelu_avx2(values) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Floats::Avx512 => unsafe { gelu_avx512(values) },
        // What the compiler may always use there is NEON.
        #[cfg(target_arch = "aarch64")]
        Floats::Neon => gelu_portable(values),
    }
}

/// 16 values an instruction; `avx512f` implies fused multiply-add.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn gelu_avx512(values: &mut [f32]) {
    values.iter_mut().for_each(|value| *value = one::<true>(*value));
}

/// 8 values an instruction.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn gelu_avx2(values: &mut [f32]) {
    values.iter_mut().for_each(|value| *value = one::<true>(*value));
}

/// What the target's baseline offers. `mul_add` without such an instruction is a slow library call, so it is avoided
/// there.
fn gelu_portable(values: &mut [f32]) {
    const FUSED: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));
    values.iter_mut().for_each(|value| *value = one::<FUSED>(*value));
}

#[inline(always)]
fn one<const FUSED: bool>(x: f32) -> f32 {
    let magnitude = x.abs();
    let t = magnitude.min(END);
    0.5 * (x + magnitude) - t * polynomial::<FUSED, 7>(&UPPER, t) / polynomial::<FUSED, 9>(&LOWER, t)
}

/// Multiplies every gradient by the slope of the GELU at its value: `Phi(x) + x phi(x)`, with the distribution and
/// density of the standard normal, within 2e-6.
///
/// # Panics
/// When there are not as many gradients as values.
pub fn gelu_backward(values: &[f32], gradients: &mut [f32]) {
    assert_eq!(values.len(), gradients.len(), "a gradient for each value");
    backward_at(Level::current(), values, gradients);
}

/// [`gelu_backward`] with the instructions of a level that is not above the machine's.
fn backward_at(level: Level, values: &[f32], gradients: &mut [f32]) {
    match level.floats() {
        Floats::Scalar => backward_portable(values, gradients),
        // SAFETY: `Level` names only what the machine has.
        #[cfg(target_arch = "x86_64")]
        Floats::Avx2 => unsafe { backward_avx2(values, gradients) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Floats::Avx512 => unsafe { backward_avx512(values, gradients) },
        // What the compiler may always use there is NEON.
        #[cfg(target_arch = "aarch64")]
        Floats::Neon => backward_portable(values, gradients),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn backward_avx512(values: &[f32], gradients: &mut [f32]) {
    values.iter().zip(gradients).for_each(|(value, gradient)| *gradient *= slope::<true>(*value));
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn backward_avx2(values: &[f32], gradients: &mut [f32]) {
    values.iter().zip(gradients).for_each(|(value, gradient)| *gradient *= slope::<true>(*value));
}

fn backward_portable(values: &[f32], gradients: &mut [f32]) {
    const FUSED: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));
    values.iter().zip(gradients).for_each(|(value, gradient)| *gradient *= slope::<FUSED>(*value));
}

/// The quotient that makes `g` is `erfc(t / sqrt 2) / 2`, the normal distribution's upper tail.
#[inline(always)]
fn slope<const FUSED: bool>(x: f32) -> f32 {
    const DENSITY_AT_0: f32 = 0.398_942_3;
    let t = x.abs().min(END);
    let tail = polynomial::<FUSED, 7>(&UPPER, t) / polynomial::<FUSED, 9>(&LOWER, t);
    let below = if x < 0.0 { tail } else { 1.0 - tail };
    below + x * DENSITY_AT_0 * exp(-0.5 * x * x)
}

/// Horner's rule, constant term first.
#[inline(always)]
fn polynomial<const FUSED: bool, const N: usize>(coefficients: &[f32; N], t: f32) -> f32 {
    coefficients.iter().rev().fold(0.0, |sum, &c| if FUSED { sum.mul_add(t, c) } else { sum * t + c })
}

#[cfg(test)]
#[allow(clippy::print_stdout)]
mod tests {
    use super::*;

    /// erf in f64: its power series near 0, the continued fraction of erfc (Abramowitz and Stegun 7.1.14) far out.
    fn erf(x: f64) -> f64 {
        if x.abs() < 2.5 {
            let (mut term, mut sum) = (x, x);
            for n in 1..80 {
                term *= -x * x / n as f64;
                sum += term / (2 * n + 1) as f64;
            }
            return sum * 2.0 / std::f64::consts::PI.sqrt();
        }
        let tail = (1..120).rev().fold(0.0, |tail, n| n as f64 / 2.0 / (x.abs() + tail));
        let erfc = (-x * x).exp() / std::f64::consts::PI.sqrt() / (x.abs() + tail);
        x.signum() * (1.0 - erfc)
    }

    #[test]
    fn every_level_is_within_a_millionth_of_the_exact_form() {
        let inputs: Vec<f32> = (-120_000..=120_000).map(|i| i as f32 * 1e-4).collect();
        for level in Level::available() {
            let mut got = inputs.clone();
            gelu_at(level, &mut got);
            let worst = inputs.iter().zip(&got).map(|(&x, &y)| {
                let x = f64::from(x);
                (f64::from(y) - 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2))).abs()
            });
            let worst = worst.fold(0.0, f64::max);
            println!("figure gelu_worst_error_{} = {worst:.2e}", level.name());
            assert!(worst <= 1e-6, "{level:?}: {worst:e}");
        }
    }

    #[test]
    fn the_slope_is_that_of_the_exact_form_at_every_level() {
        let inputs: Vec<f32> = (-120_000..=120_000).map(|i| i as f32 * 1e-4).collect();
        for level in Level::available() {
            let mut got = vec![1.0; inputs.len()];
            backward_at(level, &inputs, &mut got);
            let worst = inputs.iter().zip(&got).map(|(&x, &slope)| {
                let x = f64::from(x);
                let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
                (f64::from(slope) - 0.5 * (1.0 + erf(x / std::f64::consts::SQRT_2)) - x * density).abs()
            });
            let worst = worst.fold(0.0, f64::max);
            println!("figure gelu_slope_worst_error_{} = {worst:.2e}", level.name());
            assert!(worst <= 2e-6, "{level:?}: {worst:e}");
        }
    }

    #[test]
    fn extremes_keep_their_meaning_at_every_length() {
        for level in Level::available() {
            let mut values = vec![0.0, -0.0, 1e30, -1e30, 1e-30, f32::NAN];
            gelu_at(level, &mut values);
            assert_eq!(values[..3], [0.0, 0.0, 1e30]);
            assert!(values[3].abs() < 2e-7 && values[4] > 0.0 && values[5].is_nan(), "{values:?}");
            for length in 0..70 {
                let mut values = vec![1.0; length];
                gelu_at(level, &mut values);
                assert!(values.iter().all(|value| (value - 0.841_344_7).abs() < 1e-6));
            }
        }
    }
}
