//! Whisper's input: log-mel frames of a window, as its feature extractor makes them.
//!
//! Every 160 samples the power of 400 samples (periodic Hann window, centred, the window of sound mirrored at its ends)
//! in triangular bands from 0 to 8,000 Hz on Slaney's mel scale, each of the same area; log10, at least 1e-10 and at
//! most 8 below the largest of the window; (x + 4) / 4. Computed in f64 and rounded once. (candle-transformers'
//! `whisper::audio` adds the mirrored half of the spectrum and mirrors no ends: other frames.)

use crate::embed::logmel::Band;
use crate::error::{Error, Result};
use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};
use std::f64::consts::TAU;
use std::fmt;
use std::sync::Arc;

pub(super) const RATE: u32 = 16_000;
pub(super) const HOP: usize = 160;
/// Samples under a frame.
pub(super) const FIELD: usize = 400;
const HIGHEST_HZ: f64 = 8_000.0;
/// Least power.
const FLOOR: f64 = 1e-10;
/// How far below the largest log10 of power the others may lie.
const RANGE: f64 = 8.0;

/// The transform and the bands for windows of a number of frames.
pub(super) struct LogMel {
    fft: Arc<dyn RealToComplex<f64>>,
    hann: Vec<f64>,
    /// Each with the factor that gives its triangle an area of 1 over Hz.
    bands: Vec<(Band, f64)>,
    frames: usize,
}

impl fmt::Debug for LogMel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogMel({} x {})", self.bands.len(), self.frames)
    }
}

impl LogMel {
    pub(super) fn new(bands: usize, frames: usize) -> LogMel {
        let edge = |at: usize| hertz(mel(HIGHEST_HZ) * at as f64 / (bands + 1) as f64);
        let band = |b: usize| {
            let [left, peak, right] = [edge(b), edge(b + 1), edge(b + 2)];
            (Band::triangle([left, peak, right], f64::from(RATE) / FIELD as f64, FIELD / 2), 2.0 / (right - left))
        };
        LogMel {
            fft: RealFftPlanner::new().plan_fft_forward(FIELD),
            hann: (0..FIELD).map(|n| 0.5 - 0.5 * (TAU * n as f64 / FIELD as f64).cos()).collect(),
            bands: (0..bands).map(band).collect(),
            frames,
        }
    }

    /// `[bands, frames]` of at most frames * 160 samples, followed by silence.
    pub(super) fn window(&self, samples: &[f32]) -> Result<Vec<f32>> {
        let (length, margin) = (self.frames * HOP, FIELD / 2);
        let samples = &samples[..samples.len().min(length)];
        let mut padded = vec![0.0; length + FIELD];
        for (to, sample) in padded[margin..].iter_mut().zip(samples) {
            *to = f64::from(*sample);
        }
        for at in 1..=margin {
            padded[margin - at] = padded[margin + at];
            padded[margin + length - 1 + at] = padded[margin + length - 1 - at];
        }
        let (mut frame, mut spectrum) = (vec![0.0; FIELD], self.fft.make_output_vec());
        let (mut scratch, mut power) = (self.fft.make_scratch_vec(), vec![0.0; spectrum.len()]);
        let mut logs = vec![FLOOR.log10(); self.bands.len() * self.frames];
        for at in 0..self.frames {
            let under = &padded[at * HOP..][..FIELD];
            if under.iter().all(|sample| *sample == 0.0) {
                continue;
            }
            for ((out, sample), hann) in frame.iter_mut().zip(under).zip(&self.hann) {
                *out = sample * hann;
            }
            self.fft
                .process_with_scratch(&mut frame, &mut spectrum, &mut scratch)
                .map_err(|error| Error::invalid("log-mel transform", error.to_string()))?;
            for (out, bin) in power.iter_mut().zip(&spectrum) {
                *out = Complex::norm_sqr(bin);
            }
            for (row, (band, factor)) in logs.chunks_exact_mut(self.frames).zip(&self.bands) {
                row[at] = (factor * band.energy(&power)).max(FLOOR).log10();
            }
        }
        let least = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max) - RANGE;
        Ok(logs.into_iter().map(|log| ((log.max(least) + 4.0) / 4.0) as f32).collect())
    }
}

/// Slaney's scale: linear up to 1,000 Hz, which is 15; from there on a factor of 6.4 every 27.
fn mel(hz: f64) -> f64 {
    if hz < 1_000.0 { 3.0 * hz / 200.0 } else { 15.0 + 27.0 * (hz / 1_000.0).ln() / 6.4_f64.ln() }
}

fn hertz(mel: f64) -> f64 {
    if mel < 15.0 { 200.0 * mel / 3.0 } else { 1_000.0 * (6.4_f64.ln() * (mel - 15.0) / 27.0).exp() }
}
