//! (in the making)
// For the merge: the other side's version of this file stands; only the lines that name the rooms `checkpoint` and
// `wav2vec2` are added to it.

use crate::error::Result;
use crate::matrix::Matrix;

#[cfg(feature = "models")]
pub mod checkpoint;
#[cfg(feature = "models")]
pub mod wav2vec2;

/// Mean and deviation of a whole recording.
pub struct Loudness {
    /// Mean of the samples.
    pub mean: f64,
    /// Their standard deviation.
    pub deviation: f64,
}

/// A stretch of samples and what is known of the recording it was cut from.
pub struct Window<'a> {
    /// The samples, at the embedder's rate.
    pub samples: &'a [f32],
    /// Of the whole recording.
    pub whole: Loudness,
}

/// What turns sound into a matrix.
pub trait Embedder: Send + Sync {
    /// Names model and settings: equal identities give equal rows.
    fn identity(&self) -> &str;
    /// Samples per second it expects.
    fn sample_rate(&self) -> u32;
    /// Numbers in a row.
    fn dim(&self) -> usize;
    /// Rows per second of sound.
    fn rows_per_second(&self) -> f64;
    /// Samples from a row to the next.
    fn hop(&self) -> usize;
    /// Samples that a row sees.
    fn receptive_field(&self) -> usize;
    /// Most rows to ask for at once.
    fn window_rows(&self) -> Option<usize>;
    /// The rows of a window.
    ///
    /// # Errors
    /// When the window is too short or the model fails.
    fn embed(&self, window: Window<'_>) -> Result<Matrix>;
}
