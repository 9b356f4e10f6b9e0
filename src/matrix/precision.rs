//! How the values of a collection are stored: 32 or 16 bits, and the conversions between them.
//!
//! Narrowing rounds to nearest, ties to even; a value beyond the range of `F16` is refused, not turned into infinity.

use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// The type in which a collection stores the values of its matrices. Values are `f32` in memory; a narrower type
/// halves the files and rounds to the nearest value it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Precision {
    /// IEEE 754 single precision, 4 bytes a value: values come back bit for bit.
    #[default]
    F32,
    /// IEEE 754 half precision, 2 bytes a value: 11 significant bits, magnitudes up to 65,504.
    F16,
    /// bfloat16, the upper half of an `f32`, 2 bytes a value: 8 significant bits, the full range of `f32`.
    BF16,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = Error;

    /// Reads a name: `f32`, `f16` or `bf16`.
    fn from_str(name: &str) -> Result<Precision> {
        match name {
            "f32" => Ok(Precision::F32),
            "f16" => Ok(Precision::F16),
            "bf16" => Ok(Precision::BF16),
            _ => Err(Error::invalid("precision", format!("`{name}` is none of f32, f16, bf16"))),
        }
    }
}

impl Precision {
    /// Returns how many bytes a value takes.
    pub fn bytes(self) -> usize {
        match self {
            Precision::F32 => 4,
            Precision::F16 | Precision::BF16 => 2,
        }
    }

    /// Returns the name as it stands in schemas: `f32`, `f16`, `bf16`.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::F16 => "f16",
            Precision::BF16 => "bf16",
        }
    }

    /// Returns the number that stands for it on disk.
    pub(crate) fn code(self) -> u8 {
        match self {
            Precision::F32 => 0,
            Precision::F16 => 1,
            Precision::BF16 => 2,
        }
    }

    /// Returns the precision that a number on disk stands for.
    pub(crate) fn from_code(code: u8) -> Option<Precision> {
        match code {
            0 => Some(Precision::F32),
            1 => Some(Precision::F16),
            2 => Some(Precision::BF16),
            _ => None,
        }
    }

    /// Appends the values to `bytes`, little-endian, rounded to this type.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a value is too large for the type; `bytes` may then hold those before it.
    pub fn encode(self, values: &[f32], bytes: &mut Vec<u8>) -> Result<()> {
        bytes.reserve(values.len() * self.bytes());
        match self {
            Precision::F32 if cfg!(target_endian = "little") => bytes.extend_from_slice(bytemuck::cast_slice(values)),
            Precision::F32 => values.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes())),
            Precision::F16 => {
                for &value in values {
                    let half = f16_from_f32(value);
                    if half & 0x7fff == 0x7c00 {
                        return Err(Error::invalid(
                            "matrix",
                            format!("{value} is beyond the range of f16 (65,504): store the collection as f32 or bf16"),
                        ));
                    }
                    bytes.extend_from_slice(&half.to_le_bytes());
                }
            }
            Precision::BF16 => {
                for &value in values {
                    let half = bf16_from_f32(value);
                    if half & 0x7fff == 0x7f80 {
                        return Err(Error::invalid("matrix", format!("{value} rounds to infinity as bf16")));
                    }
                    bytes.extend_from_slice(&half.to_le_bytes());
                }
            }
        }
        Ok(())
    }

    /// Widens little-endian bytes; a remainder shorter than a value is ignored, so callers check lengths first.
    pub(crate) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Precision::F32 => bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect(),
            Precision::F16 => {
                bytes.as_chunks::<2>().0.iter().map(|value| f32_from_f16(u16::from_le_bytes(*value))).collect()
            }
            Precision::BF16 => {
                let widen = |value: &[u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(*value)) << 16);
                bytes.as_chunks::<2>().0.iter().map(widen).collect()
            }
        }
    }
}

/// Rounds to the nearest half-precision number, ties to even; NaN stays NaN, and what is too large becomes infinity.
fn f16_from_f32(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = ((bits >> 16) & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    if magnitude > 0x7f80_0000 {
        return sign | 0x7e00;
    }
    if magnitude >= 0x477f_f000 {
        return sign | 0x7c00; // 65,520 and above
    }
    if magnitude < 0x3880_0000 {
        // Below 2^-14: a subnormal half counts units of 2^-24. Adding 0.5 aligns that unit with the last bit of
        // the sum, so the addition itself rounds to nearest even.
        let aligned = f32::from_bits(magnitude) + 0.5;
        return sign | (aligned.to_bits() - 0.5f32.to_bits()) as u16;
    }
    let rounded = magnitude + 0x0fff + ((magnitude >> 13) & 1);
    sign | ((rounded >> 13) - (112 << 10)) as u16
}

fn f32_from_f16(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let magnitude = u32::from(half & 0x7fff);
    let widened = match magnitude {
        0..0x0400 => (magnitude as f32 * f32::from_bits(0x3380_0000)).to_bits(), // units of 2^-24
        0x0400..0x7c00 => (magnitude << 13) + (112 << 23),
        _ => (magnitude << 13) | 0x7f80_0000,
    };
    f32::from_bits(sign | widened)
}

/// Rounds to the nearest bfloat16, ties to even.
fn bf16_from_f32(value: f32) -> u16 {
    let bits = value.to_bits();
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_half_survives_widening_and_narrowing() {
        for half in 0..=u16::MAX {
            if half & 0x7c00 != 0x7c00 {
                assert_eq!(f16_from_f32(f32_from_f16(half)), half, "{half:#x}");
            }
        }
    }

    #[test]
    fn narrowing_rounds_to_nearest_even_between_every_two_halves() {
        for low in 0..0x7bff_u16 {
            let (a, b) = (f64::from(f32_from_f16(low)), f64::from(f32_from_f16(low + 1)));
            let middle = ((a + b) / 2.0) as f32;
            let even = if low & 1 == 0 { low } else { low + 1 };
            assert_eq!(f16_from_f32(middle), even);
            assert_eq!(f16_from_f32(middle.next_down()), low);
            assert_eq!(f16_from_f32(middle.next_up()), low + 1);
        }
    }

    #[test]
    fn out_of_range_is_refused_and_not_infinity() {
        let mut bytes = Vec::new();
        assert!(Precision::F16.encode(&[65_504.0, -65_519.0], &mut bytes).is_ok());
        assert!(Precision::F16.encode(&[65_520.0], &mut bytes).is_err());
        assert!(Precision::BF16.encode(&[f32::MAX], &mut bytes).is_err());
    }

    #[test]
    fn decode_undoes_encode() {
        let values = [0.0, -0.0, 1.0, -2.5, 0.15625, 1.0e-7, 3.0e-5];
        for precision in [Precision::F32, Precision::F16, Precision::BF16] {
            let mut bytes = Vec::new();
            precision.encode(&values, &mut bytes).unwrap();
            assert_eq!(bytes.len(), values.len() * precision.bytes());
            for (got, want) in precision.decode(&bytes).iter().zip(values) {
                assert!((got - want).abs() <= want.abs() / 128.0 + 6.0e-8, "{precision:?} {got} {want}");
            }
        }
    }
}
