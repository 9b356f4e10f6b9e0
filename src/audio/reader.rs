//! A sound file, read block by block as mono samples at the rate asked for.

use super::RATES;
use super::mix::{Loss, Mix};
use super::resample::Resampler;
use super::source::{self, Format, Source};
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::Xxh3;

/// Largest magnitude of a sample: far above integers stored unscaled in a float file, far below what overflows later.
const LOUDEST: f32 = 1e12;

/// Reads a sound file once, from front to back, in memory that does not grow with its length.
///
/// # Examples
///
/// ```
/// use otolith::audio::{Clip, Reader};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("tone.wav");
/// # Clip { samples: vec![0.25; 44_100], rate: 44_100 }.write_wav(&path)?;
///
/// let mut reader = Reader::open(&path, 16_000)?; // mono, at 16 kHz whatever the file has
/// let mut samples = 0;
/// while let Some(block) = reader.next_block()? {
///     samples += block.len();
/// }
/// let file = reader.finish()?;
/// println!("{} s, {} channels at {} Hz", file.seconds, file.channels, file.rate);
/// assert_eq!((samples, file.frames), (16_000, 44_100));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Reader {
    path: PathBuf,
    format: Format,
    source: Box<dyn Source>,
    resampler: Option<Resampler>,
    mix: Mix,
    loss: Loss,
    /// Interleaved samples as decoded.
    native: Vec<f32>,
    /// The same, mixed to one channel.
    mono: Vec<f32>,
    /// The block that was handed out last.
    block: Vec<f32>,
    frames: u64,
    hash: Xxh3,
    ended: bool,
}

/// What is known of a file once it has been read to its end; returned by [`Reader::finish`].
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Frames of the file, at its native rate.
    pub frames: u64,
    /// Length in seconds: frames divided by the native rate.
    pub seconds: f64,
    /// Native sample rate, in Hz.
    pub rate: u32,
    /// Channels of the file.
    pub channels: usize,
    /// XXH3-128 of all decoded samples (interleaved, `f32`, little-endian), then rate and channels (`u32`,
    /// little-endian). The same sound has the same hash, whatever the tags around it or the lossless format.
    pub hash: u128,
    /// Sentences that the file's user should read: that its channels cancel each other, say.
    pub remarks: Vec<String>,
}

impl Reader {
    /// Opens a file to be read as mono samples at `rate` Hz, the mean of its channels.
    ///
    /// # Errors
    /// [`Error::Unusable`] when it is not a sound file, or a damaged one; [`Error::Io`] when it cannot be opened;
    /// [`Error::Invalid`] for a rate outside [`RATES`].
    pub fn open(path: impl AsRef<Path>, rate: u32) -> Result<Reader> {
        Reader::open_mixed(path, rate, Mix::Mean)
    }

    /// Opens a file to be read as mono samples at `rate` Hz, with its channels mixed as `mix` says.
    ///
    /// # Errors
    /// Those of [`Reader::open`]; [`Error::Unusable`] when the file has no such channel.
    pub fn open_mixed(path: impl AsRef<Path>, rate: u32, mix: Mix) -> Result<Reader> {
        let path = path.as_ref();
        if !RATES.contains(&rate) {
            return Err(Error::invalid("sample rate", format!("{rate} Hz is not {}", rates())));
        }
        let (format, source) = source::open(path)?;
        let native = source.rate();
        if !RATES.contains(&native) {
            return Err(Error::unusable(path, format!("a sample rate of {native} Hz, which is not {}", rates())));
        }
        if let Mix::Channel(channel) = mix
            && !(1..=source.channels()).contains(&channel)
        {
            let why = format!("has {} channels and no channel {channel}", source.channels());
            return Err(Error::unusable(path, why));
        }
        let resampler = if native == rate { None } else { Some(Resampler::new(native, rate)?) };
        Ok(Reader {
            path: path.to_path_buf(),
            format,
            source,
            resampler,
            mix,
            loss: Loss::default(),
            native: Vec::new(),
            mono: Vec::new(),
            block: Vec::new(),
            frames: 0,
            hash: Xxh3::new(),
            ended: false,
        })
    }

    /// Returns the kind of the file, which its bytes tell.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns the next samples, or `None` at the end. Blocks have any length above 0.
    ///
    /// # Errors
    /// [`Error::Unusable`] when the file is damaged, cut short, or holds no samples or one that is not a number;
    /// [`Error::Io`] when it cannot be read. Nothing can be read after an error.
    pub fn next_block(&mut self) -> Result<Option<&[f32]>> {
        self.block.clear();
        while self.block.is_empty() && !self.ended {
            self.native.clear();
            if self.source.read(&mut self.native)? {
                self.take()?;
            } else {
                self.end()?;
            }
        }
        Ok(Some(self.block.as_slice()).filter(|block| !block.is_empty()))
    }

    /// Reads what is left of the file and says what it was.
    ///
    /// # Errors
    /// As [`Reader::next_block`].
    pub fn finish(mut self) -> Result<Summary> {
        while self.next_block()?.is_some() {}
        let (rate, channels) = (self.source.rate(), self.source.channels());
        self.hash.update(&rate.to_le_bytes());
        self.hash.update(&(channels as u32).to_le_bytes());
        let seconds = self.frames as f64 / f64::from(rate);
        let mut remarks = self.source.remarks();
        if self.mix == Mix::Mean {
            remarks.extend(self.loss.remark(channels));
        }
        Ok(Summary { frames: self.frames, seconds, rate, channels, hash: self.hash.digest128(), remarks })
    }

    /// Checks and hashes the decoded samples, mixes them to mono and passes them on.
    fn take(&mut self) -> Result<()> {
        let channels = self.source.channels();
        // The comparison is written so that NaN fails it too.
        let sound = |sample: &f32| sample.abs() <= LOUDEST;
        if let Some(at) = self.native.iter().position(|sample| !sound(sample)) {
            let (value, frame) = (self.native[at], self.frames + (at / channels) as u64);
            return Err(Error::unusable(&self.path, format!("sample {frame} is {value}, which is no sound")));
        }
        self.hash.update(bytemuck::cast_slice(&self.native));
        self.frames += (self.native.len() / channels) as u64;
        let mono = if channels == 1 {
            &self.native
        } else {
            self.mono.clear();
            self.mix.apply(&self.native, channels, &mut self.mono);
            self.loss.push(&self.native, &self.mono);
            &self.mono
        };
        match &mut self.resampler {
            Some(resampler) => resampler.push(mono, &mut self.block),
            None => {
                self.block.extend_from_slice(mono);
                Ok(())
            }
        }
    }

    fn end(&mut self) -> Result<()> {
        if self.frames == 0 {
            return Err(Error::unusable(&self.path, "holds no samples"));
        }
        self.ended = true;
        match &mut self.resampler {
            Some(resampler) => resampler.finish(&mut self.block),
            None => Ok(()),
        }
    }
}

fn rates() -> String {
    format!("between {} and {} Hz", RATES.start(), RATES.end())
}
