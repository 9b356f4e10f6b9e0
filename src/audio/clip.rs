//! A whole sound in memory.

use super::{Mix, Reader};
use crate::error::{Error, Result};
use std::path::Path;

/// Mono samples at one rate, nominally in -1..1.
#[derive(Clone, Debug, PartialEq)]
pub struct Clip {
    /// The samples in order of time.
    pub samples: Vec<f32>,
    /// Samples a second.
    pub rate: u32,
}

impl Clip {
    /// Reads a whole file at `rate`. A long file is better read block by block, see [`Reader`].
    ///
    /// # Errors
    /// As [`Reader::open`] and [`Reader::next_block`].
    pub fn read(path: impl AsRef<Path>, rate: u32) -> Result<Clip> {
        Clip::read_mixed(path, rate, Mix::Mean)
    }

    /// The same, mixed as `mix` says.
    ///
    /// # Errors
    /// As [`Reader::open_mixed`] and [`Reader::next_block`].
    pub fn read_mixed(path: impl AsRef<Path>, rate: u32, mix: Mix) -> Result<Clip> {
        let mut reader = Reader::open_mixed(path, rate, mix)?;
        let mut samples = Vec::new();
        while let Some(block) = reader.next_block()? {
            samples.extend_from_slice(block);
        }
        Ok(Clip { samples, rate })
    }

    /// The same sound with exactly `samples` samples: silence added at the end, or the end cut off.
    pub fn padded_or_cut(mut self, samples: usize) -> Clip {
        self.samples.resize(samples, 0.0);
        self
    }

    /// Writes a mono 16-bit WAV file; what lies outside -1..1 is clipped. Samples that came from 16 bits come back equal.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written, [`Error::Invalid`] when the clip is too long for the format (4 GiB).
    pub fn write_wav(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: self.rate,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let write = || -> hound::Result<()> {
            let mut writer = hound::WavWriter::create(path, spec)?;
            for sample in &self.samples {
                // A cast of a float saturates, so 1.0 becomes 32,767.
                writer.write_sample((sample * 32_768.0).round() as i16)?;
            }
            writer.finalize()
        };
        write().map_err(|error| match error {
            hound::Error::IoError(source) => Error::io(path, "write", source),
            other => Error::invalid("WAV file", format!("{}: {other}", path.display())),
        })
    }
}
