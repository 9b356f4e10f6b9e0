//! Sounds in, one matrix of rows each out.
//!
//! - An [`Embedder`] turns samples into rows: [`LogMel`] by arithmetic alone, a network by its weights.
//! - A row looks at `receptive_field` samples and begins `hop` samples after the row before, so row i of a sound lies at
//!   i * hop samples, i / `rows_per_second` seconds: n samples give (n - field) / hop + 1 rows, and never none.
//! - A [`Window`] is a stretch of a sound that is computed at once. Windows begin at multiples of hop and overlap by
//!   field - hop samples, so that their rows, laid end to end, are the rows of the whole.
//! - [`Loudness`], and [`Moments`] for an embedder that asks for them, are measured over the whole sound before any window is
//!   computed: what is scaled is scaled by the whole sound, however it is cut. So [`LogMel`] and the convolutions of wav2vec2
//!   (`features`, `projected`) make the same rows in windows as at once. Its transformer looks from every row at all others of its
//!   window and not beyond, so that the rows of its layers depend a little on where the windows of a sound of more than 30
//!   seconds begin; those of Whisper, whose rows see the whole window and which scales by its loudest part, more.
//!
//! ```text
//! file --(audio::Reader, first pass)--> loudness, length --(second pass, or memory)--> windows -> embed -> Matrix
//! ```
//!
//! **Cost.** [`embed_file`] holds up to 16 MiB of samples (4 minutes at 16 kHz) and decodes once; a longer file is decoded
//! twice, three times where moments are asked for, and then a window and the rows made so far are all it holds. Callers run files in parallel.

#[cfg(feature = "models")]
pub(crate) mod checkpoint;
pub mod ingest;
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

pub use ingest::check_same;
pub use logmel::LogMel;
pub use loudness::Loudness;
pub use moments::{Moments, Taps};
pub use open::{DEFAULT, LOG_MEL, Located, MINI, locate, open};
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

/// Samples to be embedded at once, and the loudness of the sound they belong to.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// At least [`Embedder::receptive_field`] mono samples at [`Embedder::sample_rate`].
    pub samples: &'a [f32],
    /// The loudness of the whole sound, by which the samples are scaled.
    pub whole: Loudness,
    /// Whether the sound has other samples than these.
    pub is_part: bool,
    /// For a part, the moments of the whole sound where the embedder asks for them ([`Embedder::taps`]).
    pub moments: Option<&'a Moments>,
}

impl<'a> Window<'a> {
    /// A window that is all of a sound.
    pub fn whole(samples: &'a [f32]) -> Window<'a> {
        Window { samples, whole: Loudness::of(samples), is_part: false, moments: None }
    }
}

/// Something that makes rows of samples.
pub trait Embedder: Send + Sync {
    /// Name and, where there are weights, layer and hash (`name/layer/hash`): equal identities give equal rows.
    fn identity(&self) -> &str;

    /// Samples a second that it takes.
    fn sample_rate(&self) -> u32;

    /// Numbers in a row.
    fn dim(&self) -> usize;

    /// Rows a second that it makes.
    fn rows_per_second(&self) -> f64 {
        f64::from(self.sample_rate()) / self.hop() as f64
    }

    /// Samples from the beginning of a row to that of the next.
    fn hop(&self) -> usize;

    /// Samples under a row.
    fn receptive_field(&self) -> usize;

    /// The most rows to be computed at once, or `None` for any number. Longer sounds go through in windows of equal size.
    fn window_rows(&self) -> Option<usize>;

    /// Of which rows of samples it wants to know the moments over the whole sound, where that goes through in several windows:
    /// none unless a norm inside it looks at the whole sound.
    fn taps(&self) -> Option<Taps> {
        None
    }

    /// The rows of a window: (samples - [`Embedder::receptive_field`]) / [`Embedder::hop`] + 1 of them.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when the window is shorter than the receptive field; whatever else the model may fail in.
    fn embed(&self, window: Window<'_>) -> Result<Matrix>;
}

/// The rows of a clip, computed in windows where the embedder asks for it. A clip shorter than the receptive field is
/// filled up with its own mean, which is silence once it is scaled, and gives one row.
///
/// # Errors
/// [`Error::Mismatch`] when the clip has another sample rate than the embedder takes; [`Error::Invalid`] when it holds no
/// samples or one that is not a number; what [`Embedder::embed`] gives.
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

/// The rows of a sound file of any length, and what the file is.
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
