//! Log-mel frames: a rough picture of a sound, as the ear has it, with no weights to load.
//!
//! Each row is the energy of 64 bands, narrow at the bottom and wide at the top as on the mel scale (2595 log10(1 + f
//! / 700)), of 32 ms of sound, on a log scale. Sounds are brought to mean 0 and deviation 1 first, so loudness does
//! not count. All arithmetic is in `f64` and rounded once: the rows hardly depend on the machine.

use super::{Embedder, Window};
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};
use std::f64::consts::TAU;
use std::sync::Arc;

const RATE: u32 = 16_000;
/// Samples under a row, all of them transformed.
const FIELD: usize = 512;
const HOP: usize = 320;
const BANDS: usize = 64;
const LOWEST_HZ: f64 = 50.0;
const HIGHEST_HZ: f64 = 8_000.0;
/// Added to the deviation (silence stays silence) and to the power (its logarithm stays finite).
const TINY: f64 = 1e-8;
const FLOOR: f64 = 1e-3;
/// Rows computed at once: 82 s, 5 MB of samples. Any other number gives the same rows.
const WINDOW_ROWS: usize = 4_096;

/// Embeds sound at 16 kHz as 64 log-mel bands, 50 rows a second: five seconds give 249 rows. Needs no model and no
/// training.
///
/// Each row is made of 512 samples, 320 after the row before: periodic Hann window, 257 power bins, 64 triangular mel
/// bands from 50 to 8,000 Hz, ln(power + 0.001). Loudness is taken out beforehand.
///
/// # Examples
///
/// ```
/// use otolith::audio::Clip;
/// use otolith::embed::{Embedder, LogMel, embed_clip};
///
/// let mel = LogMel::new(); // make one and share it
/// let sweep: Vec<f32> = (0..80_000).map(|n| (n as f32 * n as f32 * 1e-6).sin()).collect();
/// let rows = embed_clip(&mel, &Clip { samples: sweep, rate: 16_000 })?;
/// assert_eq!((rows.rows(), rows.dim(), mel.rows_per_second()), (249, 64, 50.0));
/// # Ok::<(), otolith::Error>(())
/// ```
pub struct LogMel {
    fft: Arc<dyn RealToComplex<f64>>,
    hann: Vec<f64>,
    bands: Vec<Band>,
}

/// A triangle over power bins: `weights` begin at bin `first`.
pub(super) struct Band {
    first: usize,
    weights: Vec<f64>,
}

impl LogMel {
    /// The identity by which collections remember this embedder.
    pub const IDENTITY: &str = "logmel-64";

    /// Plans the transform and the bands. Cheap, but best made once: one embedder serves any number of threads.
    pub fn new() -> LogMel {
        let hann = (0..FIELD).map(|n| single(0.5 - 0.5 * (TAU * n as f64 / FIELD as f64).cos())).collect();
        LogMel { fft: RealFftPlanner::new().plan_fft_forward(FIELD), hann, bands: bands() }
    }
}

impl Default for LogMel {
    fn default() -> LogMel {
        LogMel::new()
    }
}

impl Embedder for LogMel {
    fn identity(&self) -> &str {
        LogMel::IDENTITY
    }

    fn sample_rate(&self) -> u32 {
        RATE
    }

    fn dim(&self) -> usize {
        BANDS
    }

    fn hop(&self) -> usize {
        HOP
    }

    fn receptive_field(&self) -> usize {
        FIELD
    }

    fn window_rows(&self) -> Option<usize> {
        Some(WINDOW_ROWS)
    }

    fn embed(&self, window: Window<'_>) -> Result<Matrix> {
        let samples = window.samples;
        if samples.len() < FIELD {
            let expected = format!("at least {FIELD} samples");
            return Err(Error::mismatch("window of `logmel-64`", expected, samples.len()));
        }
        let rows = (samples.len() - FIELD) / HOP + 1;
        let (mean, scale) = (window.whole.mean, 1.0 / (window.whole.deviation + TINY));
        let mut frame = vec![0.0; FIELD];
        let mut spectrum = self.fft.make_output_vec();
        let mut scratch = self.fft.make_scratch_vec();
        let mut power = vec![0.0; spectrum.len()];
        let mut values = Vec::with_capacity(rows * BANDS);
        for row in 0..rows {
            let under = &samples[row * HOP..][..FIELD];
            for ((out, sample), hann) in frame.iter_mut().zip(under).zip(&self.hann) {
                *out = (f64::from(*sample) - mean) * scale * hann;
            }
            self.fft
                .process_with_scratch(&mut frame, &mut spectrum, &mut scratch)
                .map_err(|error| Error::invalid("log-mel transform", error.to_string()))?;
            for (out, bin) in power.iter_mut().zip(&spectrum) {
                *out = Complex::norm_sqr(bin);
            }
            values.extend(self.bands.iter().map(|band| (band.energy(&power) + FLOOR).ln() as f32));
        }
        Matrix::from_rows(rows, BANDS, values)
    }
}

impl Band {
    /// Makes a triangle that rises from `left` to 1 at `peak` and falls to `right`, all in Hz, over bins 0 to `last`,
    /// `bin_hz` apart.
    pub(super) fn triangle([left, peak, right]: [f64; 3], bin_hz: f64, last: usize) -> Band {
        let weight = |bin: usize| {
            let hz = bin as f64 * bin_hz;
            ((hz - left) / (peak - left)).min((right - hz) / (right - peak)).max(0.0)
        };
        let first = (0..=last).find(|bin| weight(*bin) > 0.0).unwrap_or(0);
        Band { first, weights: (first..=last).map(weight).take_while(|weight| *weight > 0.0).map(single).collect() }
    }

    /// Returns the power under the triangle.
    pub(super) fn energy(&self, power: &[f64]) -> f64 {
        self.weights.iter().zip(&power[self.first..]).map(|(weight, power)| weight * power).sum()
    }
}

/// Makes the triangles: band b rises from edge b to edge b + 1 and falls to edge b + 2; the edges are evenly spaced
/// in mel.
fn bands() -> Vec<Band> {
    let mel = |hz: f64| 2_595.0 * (1.0 + hz / 700.0).log10();
    let (low, high) = (mel(LOWEST_HZ), mel(HIGHEST_HZ));
    let edge = |at: usize| {
        let mel = low + (high - low) * at as f64 / (BANDS + 1) as f64;
        700.0 * (10_f64.powf(mel / 2_595.0) - 1.0)
    };
    let bin_hz = f64::from(RATE) / FIELD as f64;
    (0..BANDS).map(|b| Band::triangle([edge(b), edge(b + 1), edge(b + 2)], bin_hz, FIELD / 2)).collect()
}

/// Rounds to `f32`, as window and bands are in the definition of these frames.
fn single(value: f64) -> f64 {
    f64::from(value as f32)
}
