//! A whole sound in memory.

use super::{Mix, Reader};
use crate::error::{Error, Result};
use std::path::Path;

/// A whole sound in memory: mono samples at one rate, nominally in -1..1.
///
/// # Examples
///
/// ```
/// use otolith::audio::Clip;
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("tone.wav");
///
/// let samples = (0..8_000).map(|n| (n as f32 * 0.3).sin() * 0.5).collect();
/// Clip { samples, rate: 8_000 }.write_wav(&path)?; // a second of a tone
///
/// let clip = Clip::read(&path, 16_000)?; // resampled
/// assert_eq!((clip.samples.len(), clip.rate), (16_000, 16_000));
/// assert_eq!(clip.padded_or_cut(80_000).samples.len(), 80_000); // five seconds
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Clip {
    /// The samples, in order of time.
    pub samples: Vec<f32>,
    /// Samples in a second.
    pub rate: u32,
}

impl Clip {
    /// Reads a whole file as mono samples at `rate` Hz, the mean of its channels. Read a long file block by block
    /// instead, with a [`Reader`].
    ///
    /// # Errors
    /// As [`Reader::open`] and [`Reader::next_block`].
    pub fn read(path: impl AsRef<Path>, rate: u32) -> Result<Clip> {
        Clip::read_mixed(path, rate, Mix::Mean)
    }

    /// Reads a whole file as mono samples at `rate` Hz, with its channels mixed as `mix` says.
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

    /// Returns the sound with exactly `samples` samples: silence is added at the end, or the end is cut off.
    pub fn padded_or_cut(mut self, samples: usize) -> Clip {
        self.samples.resize(samples, 0.0);
        self
    }

    /// Writes the sound as a mono WAV file of 16 bits; what lies outside -1..1 is clipped. Samples that came from 16
    /// bits come back equal.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written, [`Error::Invalid`] when the clip is too long for the format (4
    /// GiB).
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
