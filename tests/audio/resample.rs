//! Resampling reaches 60 dB against soxr VHQ without any delay, and does not depend on how a sound is cut up.

use crate::{data, noise, npy, snr, write_float_wav};
use otolith::audio::Clip;
use realfft::RealFftPlanner;
use tempfile::tempdir;

const RATES: [u32; 5] = [8_000, 11_025, 22_050, 44_100, 48_000];
const NAMES: [&str; 5] = ["sweep", "band", "chirp", "noise", "impulse"];

/// Sets every DFT bin above `cut` Hz of a signal at 16 kHz to 0.
fn passband(samples: &[f32], cut: f64) -> Vec<f64> {
    let n = samples.len();
    let mut planner = RealFftPlanner::new();
    let mut input: Vec<f64> = samples.iter().map(|x| f64::from(*x)).collect();
    let (forward, inverse) = (planner.plan_fft_forward(n), planner.plan_fft_inverse(n));
    let mut bins = forward.make_output_vec();
    forward.process(&mut input, &mut bins).unwrap();
    bins.iter_mut().enumerate().filter(|(k, _)| *k as f64 * 16_000.0 / n as f64 > cut).for_each(|(_, bin)| *bin *= 0.0);
    inverse.process(&mut bins, &mut input).unwrap();
    input.iter().map(|x| x / n as f64).collect()
}

#[test]
fn every_reference_signal_is_within_60_decibels() {
    let folder = tempdir().unwrap();
    for rate in RATES {
        let mut least = f64::INFINITY;
        for name in NAMES {
            let wav = folder.path().join("in.wav");
            write_float_wav(&wav, rate, 1, npy(&data(&format!("resample/{name}_{rate}.in.npy"))));
            let got = Clip::read(&wav, 16_000).unwrap().samples;
            let vhq = npy(&data(&format!("resample/{name}_{rate}.vhq.npy")));
            assert!(got.len().abs_diff(vhq.len()) <= 1, "{name} {rate}: {} samples", got.len());
            let common = got.len().min(vhq.len());
            let cut = 0.9 * f64::from(rate.min(16_000)) / 2.0;
            let [vhq, got] = [&vhq[..common], &got[..common]].map(|x| passband(x, cut)[400..common - 400].to_vec());
            let decibels = snr(&vhq, &got);
            assert!(decibels >= 60.0, "{name} at {rate} Hz: {decibels:.1} dB");
            least = least.min(decibels);
        }
        println!("figure resample_{rate}_snr = {least:.1} dB");
    }
}

#[test]
fn a_sound_in_pieces_gives_the_same_samples_as_in_one_go() {
    // The decoder's blocks cut the sound anywhere: a WAV of 7 channels is read in other pieces than one of a single
    // one.
    let folder = tempdir().unwrap();
    let [one, seven] = ["one.wav", "seven.wav"].map(|name| folder.path().join(name));
    for rate in [8_000, 44_100, 48_000, 44_101] {
        let samples: Vec<f32> = noise(5).take(60_000).collect();
        write_float_wav(&one, rate, 1, samples.iter().copied());
        write_float_wav(&seven, rate, 7, samples.iter().flat_map(|x| [*x; 7]));
        let [one, seven] = [&one, &seven].map(|path| Clip::read(path, 16_000).unwrap().samples);
        assert!(one == seven, "{rate} Hz");
        assert_eq!(one.len() as u64, (60_000 * 16_000_u64).div_ceil(u64::from(rate)), "{rate} Hz");
    }
}

#[test]
fn there_is_no_delay_at_any_rate_odd_ones_included() {
    let folder = tempdir().unwrap();
    let wav = folder.path().join("tone.wav");
    // A second of a tone that swells and fades, so that its ends are silent.
    let tone = |rate: u32| {
        let seconds = move |n: u32| f64::from(n) / f64::from(rate);
        let swell = |t: f64| (-0.5 * ((t - 0.5) / 0.08).powi(2)).exp();
        (0..rate).map(seconds).map(move |t| swell(t) * (t * std::f64::consts::TAU * 300.0).sin())
    };
    for rate in [1_000, 4_001, 11_025, 15_999, 22_051, 44_100, 96_000, 192_000, 383_999] {
        write_float_wav(&wav, rate, 1, tone(rate).map(|x| x as f32));
        let got: Vec<f64> = Clip::read(&wav, 16_000).unwrap().samples.iter().map(|x| f64::from(*x)).collect();
        let expected: Vec<f64> = tone(16_000).collect();
        assert_eq!(got.len(), expected.len(), "{rate} Hz");
        let decibels = snr(&expected, &got);
        assert!(decibels > 100.0, "{rate} Hz: {decibels:.1} dB");
    }
}

#[test]
fn a_single_sample_survives() {
    let folder = tempdir().unwrap();
    let wav = folder.path().join("one.wav");
    for (rate, expected) in [(44_100, 1), (16_000, 1), (8_000, 2)] {
        write_float_wav(&wav, rate, 1, [0.5]);
        assert_eq!(Clip::read(&wav, 16_000).unwrap().samples.len(), expected, "{rate} Hz");
    }
}
