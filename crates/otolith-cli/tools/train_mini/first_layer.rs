//! How the first convolution begins: as band-pass filters, four phases a band.
//!
//! GELU lets through the upper half of a wave, so the four phases (0, 90, 180, 270 degrees) of a band together follow
//! its envelope, and the layers above can be anything that a spectrogram's reader can be. Random filters of this length
//! find no bands in an hour.

use otolith::Result;
use otolith::testing::embed::wav2vec2::Trainable;
use std::f64::consts::TAU;

/// Lowest and highest centre, in Hz.
const RANGE: (f64, f64) = (60.0, 7_600.0);
const RATE: f64 = 16_000.0;
/// What a wave of the loudness of the whole clip comes out as, so that GELU is straight for all but the softest.
const GAIN: f64 = 4.0;

/// Sets the first convolution's weights.
pub(crate) fn set(network: &Trainable) -> Result<()> {
    let name = "feature_extractor.conv_layers.0.conv.weight";
    for parameter in network.parameters().iter().filter(|parameter| parameter.name() == name) {
        let [outputs, _, taps] = parameter.shape() else { continue };
        parameter.set(filters(*outputs / 4, *taps))?;
    }
    Ok(())
}

/// `bands * 4` filters of `taps` numbers: Hann windows, as long as ten periods but no longer than the filter, around
/// its middle; centres evenly spaced on the mel scale.
fn filters(bands: usize, taps: usize) -> Vec<f32> {
    let mel = |f: f64| 2595.0 * (1.0 + f / 700.0).log10();
    let (low, high) = (mel(RANGE.0), mel(RANGE.1));
    let mut all = Vec::with_capacity(bands * 4 * taps);
    for band in 0..bands {
        let centre = 700.0 * (10_f64.powf((low + (high - low) * band as f64 / (bands - 1) as f64) / 2595.0) - 1.0);
        let length = (12.0 * RATE / centre).clamp(80.0, taps as f64);
        for phase in 0..4 {
            let wave: Vec<f64> = (0..taps)
                .map(|tap| {
                    let t = tap as f64 - (taps as f64 - 1.0) / 2.0;
                    let window = if t.abs() < length / 2.0 { 0.5 + 0.5 * (TAU * t / length).cos() } else { 0.0 };
                    window * (TAU * centre / RATE * t + TAU / 4.0 * f64::from(phase)).cos()
                })
                .collect();
            // Higher bands are softer in nature: lift them as the ear does.
            let lift = GAIN * (centre / 1_000.0).max(0.1).sqrt();
            let size = wave.iter().map(|value| value * value).sum::<f64>().sqrt();
            all.extend(wave.iter().map(|value| (value / size * lift) as f32));
        }
    }
    all
}
