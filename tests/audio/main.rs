//! Sound files become samples and rows: every promise of `audio` and of `embed` without a network.
#![cfg(feature = "audio")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[cfg(feature = "formats")]
mod agree;
mod chunks;
mod decode;
#[cfg(feature = "formats")]
mod fuzz;
#[cfg(feature = "formats")]
mod joined;
mod logmel;
mod refuse;
mod resample;
#[cfg(feature = "formats")]
mod unfinished;
mod windows;

use std::path::{Path, PathBuf};

/// A file of ours, by its path under `tests/data`.
fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// Real recordings that may not be copied here; `None`, and a line that says so, where they are missing.
#[cfg(feature = "formats")]
fn originals() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/audio-originals");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: {} is missing", folder.display());
    None
}

/// The values of a `.npy` file of little-endian `f32`.
fn npy(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    let header = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    assert!(String::from_utf8_lossy(&bytes[10..10 + header]).contains("'<f4'"), "{}", path.display());
    bytes[10 + header..].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Decibels by which `reference` is above its difference from `got`, over the samples that both have.
fn snr(reference: &[f64], got: &[f64]) -> f64 {
    let signal: f64 = reference.iter().map(|x| x * x).sum();
    let noise: f64 = reference.iter().zip(got).map(|(x, y)| (x - y) * (x - y)).sum();
    10.0 * (signal / noise.max(1e-300)).log10()
}

/// Writes a float WAV file, which holds any samples exactly.
fn write_float_wav(path: &Path, rate: u32, channels: u16, samples: impl IntoIterator<Item = f32>) {
    let sample_format = hound::SampleFormat::Float;
    let spec = hound::WavSpec { channels, sample_rate: rate, bits_per_sample: 32, sample_format };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    samples.into_iter().for_each(|sample| writer.write_sample(sample).unwrap());
    writer.finalize().unwrap();
}

/// Noise in -1..1 with a promised stream (splitmix64).
fn noise(seed: u64) -> impl Iterator<Item = f32> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        (z >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    })
}
