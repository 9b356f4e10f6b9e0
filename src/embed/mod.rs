//! Embedders: sound in, one matrix of rows out.
//!
//! - An [`Embedder`] turns samples into rows: [`LogMel`] by arithmetic alone, a network by its weights. [`open()`]
//!   finds one by name; [`embed_clip`] and [`embed_file`] use it; the module [`ingest`](crate::ingest) takes folders
//!   of sounds into a collection.
//! - A row is computed from `receptive_field` samples and begins `hop` samples after the row before, so row `i` of a
//!   sound lies at `i * hop` samples, or `i / rows_per_second` seconds. `n` samples give at least one row, and
//!   otherwise as many as there are positions: `(n - receptive_field) / hop + 1`.
//! - A [`Window`] is a stretch of a sound that is computed at once. Windows begin at multiples of `hop` and overlap
//!   by `receptive_field - hop` samples, so that their rows, laid end to end, are the rows of the whole.
//! - [`Loudness`], and [`Moments`] for an embedder that asks for them, are measured over the whole sound before any
//!   window is computed, so scaling does not depend on how the sound is cut. [`LogMel`] and the convolutions of
//!   wav2vec2 (`features`, `projected`) therefore make the same rows in windows as at once. The transformer of
//!   wav2vec2 compares each row with all others of its window and with none beyond it, so the rows of its layers
//!   depend a little on where the windows of a sound of more than 30 seconds begin. Those of Whisper depend on it
//!   more: its rows see the whole window, which is scaled by its loudest part.
//!
//! ```text
//! file --(audio::Reader, first pass)--> loudness, length --(second pass, or memory)--> windows -> embed -> Matrix
//! ```
//!
//! **Cost.** [`embed_file`] holds up to 16 MiB of samples (4 minutes at 16 kHz) and decodes once. A longer file is
//! decoded twice, three times where moments are asked for; a window and the rows made so far are then all that it
//! holds. Callers run files in parallel.

#[cfg(feature = "models")]
pub(crate) mod checkpoint;
mod logmel;
mod loudness;
mod moments;
mod open;
mod sound;
#[cfg(feature = "models")]
pub(crate) mod wav2vec2;
#[cfg(feature = "whisper")]
pub(crate) mod whisper;
mod windows;

pub use logmel::LogMel;
pub use loudness::Loudness;
pub use moments::{Moments, Taps};
pub use open::{DEFAULT, LOG_MEL, Located, MINI, has_short_rows, locate, open};
pub use sound::{Embedded, Sound};
#[cfg(feature = "models")]
pub use wav2vec2::{Layer, Wav2Vec2};
#[cfg(feature = "whisper")]
pub use whisper::Whisper;

use crate::audio::Clip;
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::threads;
use std::path::Path;
use windows::Windows;

/// Samples that are embedded at once, and what is known of the sound that they belong to.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// Mono samples at [`Embedder::sample_rate`], at least [`Embedder::receptive_field`] of them.
    pub samples: &'a [f32],
    /// The loudness of the whole sound, by which the samples are to be scaled.
    pub whole: Loudness,
    /// Whether the sound has other samples than these.
    pub is_part: bool,
    /// The moments of the whole sound, where this is a part and the embedder asks for them ([`Embedder::taps`]).
    pub moments: Option<&'a Moments>,
}

impl<'a> Window<'a> {
    /// Makes a window of a whole sound.
    pub fn whole(samples: &'a [f32]) -> Window<'a> {
        Window { samples, whole: Loudness::of(samples), is_part: false, moments: None }
    }
}

/// A model that makes rows of sound. Implement it to search by features or a network of your own: all functions here,
/// and [`ingest`](crate::ingest), take any embedder.
///
/// # Examples
///
/// ```
/// use otolith::audio::Clip;
/// use otolith::embed::{Embedder, Window, embed_clip};
/// use otolith::{Matrix, Result};
///
/// /// One number for every 10 ms: how loud it is.
/// struct Level;
///
/// impl Embedder for Level {
///     fn identity(&self) -> &str { "level-1" } // change it whenever the rows change
///     fn sample_rate(&self) -> u32 { 8_000 }
///     fn dim(&self) -> usize { 1 }
///     fn hop(&self) -> usize { 80 }
///     fn receptive_field(&self) -> usize { 80 }
///     fn window_rows(&self) -> Option<usize> { None } // any number of rows at once
///
///     fn embed(&self, window: Window<'_>) -> Result<Matrix> {
///         let level = |frame: &[f32]| frame.iter().map(|sample| sample * sample).sum::<f32>().sqrt();
///         let rows: Vec<f32> = window.samples.chunks_exact(80).map(level).collect();
///         Matrix::from_rows(rows.len(), 1, rows)
///     }
/// }
///
/// let second = Clip { samples: vec![0.1; 8_000], rate: 8_000 };
/// assert_eq!(embed_clip(&Level, &second)?.rows(), 100);
/// # Ok::<(), otolith::Error>(())
/// ```
pub trait Embedder: Send + Sync {
    /// Returns a name that tells these rows from all others: equal identities must give equal rows. Networks return
    /// `name/layer/hash`, with the hash of their weights. Collections keep it
    /// ([`Schema::embedder`](crate::Schema::embedder)).
    fn identity(&self) -> &str;

    /// Returns the sample rate that it takes, in Hz.
    fn sample_rate(&self) -> u32;

    /// Returns the dimension of its rows.
    fn dim(&self) -> usize;

    /// Returns how many rows a second of sound gives.
    fn rows_per_second(&self) -> f64 {
        f64::from(self.sample_rate()) / self.hop() as f64
    }

    /// Returns how many samples lie between the beginning of a row and that of the next.
    fn hop(&self) -> usize;

    /// Returns how many samples a row is computed from.
    fn receptive_field(&self) -> usize;

    /// Returns the most rows that are to be computed at once, or `None` for any number. Longer sounds are cut into
    /// windows of equal size.
    fn window_rows(&self) -> Option<usize>;

    /// Returns over which rows of samples it wants to know the moments of a whole sound that is cut into several
    /// windows. `None`, the default, is right unless a norm inside the network looks at the whole sound.
    fn taps(&self) -> Option<Taps> {
        None
    }

    /// Computes the rows of a window: `(samples - receptive_field) / hop + 1` of them.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when the window is shorter than the receptive field, and whatever else the model may fail
    /// with.
    fn embed(&self, window: Window<'_>) -> Result<Matrix>;
}

/// Computes the rows of a clip, in windows where the embedder asks for it. A clip shorter than the receptive field is
/// filled up with its own mean, which is silence once it is scaled, and gives one row.
///
/// # Errors
/// [`Error::Mismatch`] when the clip has another sample rate than the embedder takes; [`Error::Invalid`] when it
/// holds no samples or one that is not finite; what [`Embedder::embed`] returns.
///
/// # Examples
///
/// ```
/// use otolith::audio::Clip;
/// use otolith::embed::{LogMel, embed_clip};
///
/// let hum: Vec<f32> = (0..16_000).map(|n| (n as f32 * 0.05).sin()).collect();
/// let rows = embed_clip(&LogMel::new(), &Clip { samples: hum, rate: 16_000 })?;
/// assert_eq!((rows.rows(), rows.dim()), (49, 64)); // a second of sound
/// # Ok::<(), otolith::Error>(())
/// ```
pub fn embed_clip(embedder: &dyn Embedder, clip: &Clip) -> Result<Matrix> {
    threads::ready();
    if clip.rate != embedder.sample_rate() {
        let (expected, found) = (format!("{} Hz", embedder.sample_rate()), format!("{} Hz", clip.rate));
        return Err(Error::mismatch("sample rate of the clip", expected, found));
    }
    if clip.samples.is_empty() {
        return Err(Error::invalid("clip", "it holds no samples"));
    }
    if let Some(at) = clip.samples.iter().position(|sample| !sample.is_finite()) {
        return Err(Error::invalid("clip", format!("sample {at} is {}", clip.samples[at])));
    }
    embed_samples(embedder, &clip.samples, Loudness::of(&clip.samples))
}

/// Computes the rows of a sound file of any length, and says what the file is.
///
/// # Errors
/// Those of [`Sound::read`] and [`Sound::embed`].
pub fn embed_file(embedder: &dyn Embedder, path: impl AsRef<Path>) -> Result<Embedded> {
    Sound::read(path, embedder.sample_rate())?.embed(embedder)
}

fn embed_samples(embedder: &dyn Embedder, samples: &[f32], whole: Loudness) -> Result<Matrix> {
    let moments = windows::wanted(embedder, samples.len() as u64).map(|taps| Moments::of(samples, taps));
    let mut windows = Windows::new(embedder, samples.len() as u64, whole, moments)?;
    let rest = windows.embed_full(samples)?;
    windows.finish(rest)
}
