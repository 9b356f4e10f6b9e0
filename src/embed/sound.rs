//! A sound file that has been read and not yet embedded.

use super::loudness::Meter;
use super::moments::RowMeter;
use super::windows::{Windows, wanted};
use super::{Embedder, embed_samples};
use crate::audio::{Mix, Reader, Summary};
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::threads;
use std::path::{Path, PathBuf};

/// Samples of a file that are kept in memory between measuring and embedding: 16 MiB. Longer files are decoded again.
const KEPT: usize = 4 << 20;

/// The rows of a sound file, and what the file is.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// The rows.
    pub matrix: Matrix,
    /// Length of the file in seconds.
    pub seconds: f64,
    /// Sample rate of the file itself, in Hz.
    pub sample_rate: u32,
    /// Hash of its decoded samples, see [`Summary::hash`]; shown as `{:032x}`.
    pub hash: u128,
    /// Rows in a second: row `i` lies at `i / rows_per_second` seconds.
    pub rows_per_second: f64,
    /// Sentences that its user should read, see [`Summary::remarks`].
    pub remarks: Vec<String>,
}

/// A sound file that has been read once: its hash is known before anything is embedded, so that a file which is in
/// the collection already can be passed over. Samples of up to 4 minutes (at 16 kHz) are kept in memory.
pub struct Sound {
    path: PathBuf,
    rate: u32,
    mix: Mix,
    meter: Meter,
    summary: Summary,
    kept: Option<Vec<f32>>,
}

impl Sound {
    /// Reads a file as mono samples at `rate` Hz, the mean of its channels.
    ///
    /// # Errors
    /// As [`Reader::open`] and [`Reader::next_block`].
    pub fn read(path: impl AsRef<Path>, rate: u32) -> Result<Sound> {
        Sound::read_mixed(path, rate, Mix::Mean)
    }

    /// Reads a file as mono samples at `rate` Hz, with its channels mixed as `mix` says.
    ///
    /// # Errors
    /// As [`Reader::open_mixed`] and [`Reader::next_block`].
    pub fn read_mixed(path: impl AsRef<Path>, rate: u32, mix: Mix) -> Result<Sound> {
        let path = path.as_ref().to_path_buf();
        let (mut meter, mut kept) = (Meter::default(), Some(Vec::new()));
        let summary = read(&path, rate, mix, |block| {
            meter.push(block);
            match &mut kept {
                Some(samples) if samples.len() + block.len() <= KEPT => samples.extend_from_slice(block),
                _ => kept = None,
            }
            Ok(())
        })?;
        Ok(Sound { path, rate, mix, meter, summary, kept })
    }

    /// Returns the hash of the decoded samples, see [`Summary::hash`].
    pub fn hash(&self) -> u128 {
        self.summary.hash
    }

    /// Computes the rows of the file. A file that was too long to be kept in memory is read again.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when it was read at another rate than the embedder takes; [`Error::Unusable`] when a long
    /// file has changed since; what [`Embedder::embed`] returns.
    pub fn embed(&self, embedder: &dyn Embedder) -> Result<Embedded> {
        threads::ready();
        if self.rate != embedder.sample_rate() {
            let (expected, found) = (format!("{} Hz", embedder.sample_rate()), format!("{} Hz", self.rate));
            return Err(Error::mismatch("sample rate of the sound", expected, found));
        }
        let matrix = match &self.kept {
            Some(samples) => embed_samples(embedder, samples, self.meter.loudness())?,
            None => self.embed_again(embedder)?,
        };
        let Summary { seconds, rate, hash, ref remarks, .. } = self.summary;
        let (rows_per_second, remarks) = (embedder.rows_per_second(), remarks.clone());
        Ok(Embedded { matrix, seconds, sample_rate: rate, hash, rows_per_second, remarks })
    }

    /// Embeds a file that was too long to be kept, by reading it again.
    fn embed_again(&self, embedder: &dyn Embedder) -> Result<Matrix> {
        let moments = match wanted(embedder, self.meter.samples()) {
            Some(taps) => {
                let mut meter = RowMeter::new(taps);
                self.pass(|block| {
                    meter.push(block);
                    Ok(())
                })?;
                Some(meter.moments())
            }
            None => None,
        };
        let mut windows = Windows::new(embedder, self.meter.samples(), self.meter.loudness(), moments)?;
        let mut waiting: Vec<f32> = Vec::new();
        self.pass(|block| {
            waiting.extend_from_slice(block);
            let rest = windows.embed_full(&waiting)?.len();
            waiting.drain(..waiting.len() - rest);
            Ok(())
        })?;
        windows.finish(&waiting)
    }

    /// Reads the file once more and makes sure that it is the same.
    fn pass(&self, take: impl FnMut(&[f32]) -> Result<()>) -> Result<()> {
        match read(&self.path, self.rate, self.mix, take)? == self.summary {
            true => Ok(()),
            false => Err(Error::unusable(&self.path, "changed while it was read: try again")),
        }
    }
}

fn read(path: &Path, rate: u32, mix: Mix, mut take: impl FnMut(&[f32]) -> Result<()>) -> Result<Summary> {
    let mut reader = Reader::open_mixed(path, rate, mix)?;
    while let Some(block) = reader.next_block()? {
        take(block)?;
    }
    reader.finish()
}
