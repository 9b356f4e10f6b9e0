//! Samples as they are: whole numbers and floats of any width, in either order of bytes, and G.711.

use super::part::{Part, read_up_to};
use super::source::Source;
use crate::error::{Error, Result};
use std::path::PathBuf;

/// Samples read at a time, over all channels.
const BLOCK: usize = 16_384;

/// What the numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// From -1 by two's complement.
    Signed,
    /// The same with half the range added.
    Unsigned,
    /// IEEE, of 4 or 8 bytes.
    Float,
    /// G.711's A-law and mu-law, of one byte: a sign, the place of the highest bit, the four bits below it.
    ALaw,
    MuLaw,
}

/// How samples are stored. Whole numbers fill their bytes from the top: of 24 valid bits in four bytes the last is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Linear {
    pub(super) number: Number,
    /// Bytes of a sample, 1 to 8.
    pub(super) bytes: usize,
    pub(super) big_endian: bool,
}

impl Linear {
    /// Appends the samples of `bytes`, of which there are whole ones, scaled to -1..1; floats as they are.
    pub(super) fn decode(self, bytes: &[u8], into: &mut Vec<f32>) {
        let sample = |sample: &[u8]| {
            // The bytes at the top of eight, the lowest first.
            let mut top = [0_u8; 8];
            let place = &mut top[8 - self.bytes..];
            place.copy_from_slice(sample);
            if self.big_endian {
                place.reverse();
            }
            let whole = u64::from_le_bytes(top);
            match (self.number, self.bytes) {
                // A power of two, so that every sample of up to 24 bits is exact.
                (Number::Signed, _) => whole as i64 as f32 / 2_f32.powi(63),
                (Number::Unsigned, _) => (whole ^ 1 << 63) as i64 as f32 / 2_f32.powi(63),
                (Number::ALaw, _) => a_law(sample[0]),
                (Number::MuLaw, _) => mu_law(sample[0]),
                (Number::Float, 8) => f64::from_bits(whole) as f32,
                (Number::Float, _) => f32::from_bits((whole >> 32) as u32),
            }
        };
        into.extend(bytes.chunks_exact(self.bytes).map(sample));
    }
}

fn a_law(byte: u8) -> f32 {
    let byte = byte ^ 0x55;
    let (place, bits) = (byte >> 4 & 7, i32::from(byte & 15) << 4);
    let size = if place == 0 { bits + 8 } else { (bits + 0x108) << (place - 1) };
    (if byte & 0x80 == 0 { -size } else { size }) as f32 / 32_768.0
}

fn mu_law(byte: u8) -> f32 {
    let byte = !byte;
    let size = ((i32::from(byte & 15) << 3) + 0x84) << (byte >> 4 & 7);
    (if byte & 0x80 == 0 { size - 0x84 } else { 0x84 - size }) as f32 / 32_768.0
}

/// Linear samples of one file.
pub(super) struct Samples {
    pub(super) path: PathBuf,
    pub(super) part: Part,
    pub(super) linear: Linear,
    pub(super) rate: u32,
    pub(super) channels: u16,
    /// Frames that the header promises, where it states them.
    pub(super) promised: Option<u64>,
    /// Frames handed out so far.
    pub(super) frames: u64,
    /// The bytes of a block.
    pub(super) buffer: Vec<u8>,
}

impl Source for Samples {
    fn rate(&self) -> u32 {
        self.rate
    }

    fn channels(&self) -> usize {
        usize::from(self.channels)
    }

    fn read(&mut self, into: &mut Vec<f32>) -> Result<bool> {
        let frame = self.channels() * self.linear.bytes;
        self.buffer.resize((BLOCK / self.channels()).max(1) * frame, 0);
        let held =
            read_up_to(&mut self.part, &mut self.buffer).map_err(|source| Error::io(&self.path, "read", source))?;
        // A part of a frame at the end of the data is no sound.
        let whole = held / frame;
        self.linear.decode(&self.buffer[..whole * frame], into);
        self.frames += whole as u64;
        match self.promised {
            Some(promised) if whole == 0 && promised > self.frames => {
                let holds = format!("the file holds {} samples a channel, its header promises {promised}", self.frames);
                Err(Error::unusable(&self.path, format!("cut short: {holds}")))
            }
            _ => Ok(whole > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_laws_of_g711_have_their_known_values() {
        let whole = |value: f32| (value * 32_768.0) as i32;
        let a_laws = [0xd5, 0x55, 0xaa, 0x2a, 0x80, 0x00].map(|byte| whole(a_law(byte)));
        assert_eq!(a_laws, [8, -8, 32_256, -32_256, 5_504, -5_504]);
        let mu_laws = [0xff, 0x7f, 0x80, 0x00, 0xf0, 0x70].map(|byte| whole(mu_law(byte)));
        assert_eq!(mu_laws, [0, 0, 32_124, -32_124, 120, -120]);
    }

    #[test]
    fn samples_of_every_width_and_order_are_scaled_to_one() {
        for bytes in 1..=8 {
            let full = 2_f64.powi(8 * bytes as i32 - 1);
            let values: Vec<i64> = vec![0, 1, -1, 100, -100, -(full as i128) as i64, (full as i128 - 1) as i64];
            let expected: Vec<f32> = values.iter().map(|value| *value as f32 / full as f32).collect();
            for (number, big_endian) in
                [(Number::Signed, false), (Number::Signed, true), (Number::Unsigned, false), (Number::Unsigned, true)]
            {
                let stored: Vec<u8> = values
                    .iter()
                    .flat_map(|value| {
                        let half = if number == Number::Unsigned { 1_i64 << (8 * bytes - 1).min(63) } else { 0 };
                        let mut sample = value.wrapping_add(half).to_le_bytes()[..bytes].to_vec();
                        if big_endian {
                            sample.reverse();
                        }
                        sample
                    })
                    .collect();
                let mut samples = Vec::new();
                Linear { number, bytes, big_endian }.decode(&stored, &mut samples);
                assert_eq!(samples, expected, "{bytes} bytes, {number:?}, {big_endian}");
            }
        }
    }
}
