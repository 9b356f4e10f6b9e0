//! The few tools all sounds are made with: noise, filters, ringing modes, wandering curves, a room.

use super::dice::Dice;
use std::f32::consts::TAU;

/// Samples a second.
pub(super) const RATE: f32 = 16_000.0;
/// Samples of a clip: five seconds.
pub(super) const SAMPLES: usize = 80_000;

/// White noise of unit power.
pub(super) fn noise(dice: &mut Dice, samples: usize) -> Vec<f32> {
    let peak = 3f32.sqrt();
    (0..samples).map(|_| dice.between(-peak, peak)).collect()
}

/// A filter of second order; coefficients after R. Bristow-Johnson, "Cookbook formulae for audio equalizer biquad
/// filter coefficients".
#[derive(Clone, Copy)]
pub(super) struct Filter {
    ahead: [f32; 3],
    back: [f32; 2],
    state: [f32; 2],
}

impl Filter {
    /// Passes what is below `hz`.
    pub(super) fn low(hz: f32, q: f32) -> Filter {
        Filter::new(hz, q, |cosine, _| [(1.0 - cosine) / 2.0, 1.0 - cosine, (1.0 - cosine) / 2.0])
    }

    /// Passes what is above `hz`.
    pub(super) fn high(hz: f32, q: f32) -> Filter {
        Filter::new(hz, q, |cosine, _| [(1.0 + cosine) / 2.0, -1.0 - cosine, (1.0 + cosine) / 2.0])
    }

    /// Passes what is near `hz`, with unit gain there.
    pub(super) fn band(hz: f32, q: f32) -> Filter {
        Filter::new(hz, q, |_, alpha| [alpha, 0.0, -alpha])
    }

    fn new(hz: f32, q: f32, ahead: impl Fn(f32, f32) -> [f32; 3]) -> Filter {
        let (sine, cosine) = (TAU * hz.clamp(10.0, 0.48 * RATE) / RATE).sin_cos();
        let alpha = sine / (2.0 * q);
        let scale = 1.0 / (1.0 + alpha);
        Filter {
            ahead: ahead(cosine, alpha).map(|value| value * scale),
            back: [-2.0 * cosine * scale, (1.0 - alpha) * scale],
            state: [0.0; 2],
        }
    }

    /// Another frequency from here on, without a click.
    pub(super) fn retune(&mut self, to: Filter) {
        *self = Filter { state: self.state, ..to };
    }

    /// Filters one sample.
    pub(super) fn step(&mut self, x: f32) -> f32 {
        let y = self.ahead[0] * x + self.state[0];
        self.state = [self.ahead[1] * x - self.back[0] * y + self.state[1], self.ahead[2] * x - self.back[1] * y];
        y
    }

    /// Filters a sound in place.
    pub(super) fn run(mut self, sound: &mut [f32]) {
        sound.iter_mut().for_each(|x| *x = self.step(*x));
    }
}

/// Noise whose power falls by about `slope` decibels an octave: white noise (0), pink (3) to brown (6), from a sum of
/// first-order low-passes an octave apart.
pub(super) fn tilted(dice: &mut Dice, samples: usize, slope: f32) -> Vec<f32> {
    const STAGES: usize = 8;
    // stage k passes up to 8 kHz / 2^k
    let pole: [f32; STAGES] = std::array::from_fn(|k| (-TAU * 8_000.0 / (RATE * (1u32 << k) as f32)).exp());
    let gain: [f32; STAGES] = std::array::from_fn(|k| 10f32.powf(slope * k as f32 / 20.0));
    let mut low = [0f32; STAGES];
    let mut sound = noise(dice, samples);
    for x in &mut sound {
        let input = *x;
        *x = (0..STAGES)
            .map(|k| {
                low[k] = pole[k] * low[k] + (1.0 - pole[k]) * input;
                gain[k] * low[k]
            })
            .sum();
    }
    level(&mut sound, 1.0);
    sound
}

/// A smooth curve that wanders between 0 and 1, with about `hz` turns a second.
pub(super) fn wander(dice: &mut Dice, samples: usize, hz: f32) -> Vec<f32> {
    let step = (RATE / hz).max(1.0);
    let points: Vec<f32> = (0..(samples as f32 / step) as usize + 3).map(|_| dice.unit()).collect();
    let shift = dice.unit();
    (0..samples)
        .map(|at| {
            let place = at as f32 / step + shift;
            let (left, part) = (place as usize, place.fract());
            let ease = part * part * (3.0 - 2.0 * part);
            points[left] + (points[left + 1] - points[left]) * ease
        })
        .collect()
}

/// Adds a mode that rings off: a sine of `hz` that falls by 60 dB in `decay` seconds.
pub(super) fn ring(sound: &mut [f32], at: usize, hz: f32, decay: f32, gain: f32) {
    if hz >= 0.48 * RATE || at >= sound.len() {
        return;
    }
    let (turn, fall) = (TAU * hz / RATE, (-6.908 / (decay * RATE)).exp());
    let samples = (decay * RATE) as usize + 1;
    let mut loudness = gain;
    for (k, x) in sound[at..].iter_mut().take(samples).enumerate() {
        *x += loudness * (turn * k as f32).sin();
        loudness *= fall;
    }
}

/// Adds a sound to another from `at` on.
pub(super) fn mix(sound: &mut [f32], at: usize, other: &[f32], gain: f32) {
    for (x, y) in std::iter::zip(sound.iter_mut().skip(at), other) {
        *x += gain * y;
    }
}

/// Multiplies by an envelope that rises in `attack` and falls by 60 dB in `decay` seconds.
pub(super) fn pluck(sound: &mut [f32], attack: f32, decay: f32) {
    for (k, x) in sound.iter_mut().enumerate() {
        let time = k as f32 / RATE;
        *x *= (time / attack).min(1.0) * (-6.908 * time / decay).exp();
    }
}

/// Root of the mean square.
pub(super) fn rms(sound: &[f32]) -> f32 {
    (sound.iter().map(|x| x * x).sum::<f32>() / sound.len().max(1) as f32).sqrt()
}

/// Scales to this root mean square; silence stays silent.
pub(super) fn level(sound: &mut [f32], to: f32) {
    let gain = to / rms(sound).max(1e-9);
    sound.iter_mut().for_each(|x| *x *= gain);
}

/// A room after M. R. Schroeder, "Natural sounding artificial reverberation", 1962: four combs side by side and two
/// all-passes in a row; falls by 60 dB in `decay` seconds. `wet` is the room's share of the amplitude.
pub(super) fn room(dice: &mut Dice, sound: &mut [f32], decay: f32, wet: f32) {
    let mut echoes = vec![0f32; sound.len()];
    for _ in 0..4 {
        let delay = dice.between(0.025, 0.055);
        let (mut line, gain) = (vec![0f32; (delay * RATE) as usize], (-6.908 * delay / decay).exp());
        let mut damp = 0.0;
        for (k, (echo, x)) in std::iter::zip(&mut echoes, &*sound).enumerate() {
            let place = k % line.len();
            // walls swallow high frequencies first
            damp += 0.6 * (line[place] - damp);
            *echo += line[place];
            line[place] = x + gain * damp;
        }
    }
    for _ in 0..2 {
        let mut line = vec![0f32; (dice.between(0.002, 0.008) * RATE) as usize];
        for (k, echo) in echoes.iter_mut().enumerate() {
            let place = k % line.len();
            let late = line[place];
            line[place] = *echo + 0.7 * late;
            *echo = late - 0.7 * line[place];
        }
    }
    level(&mut echoes, rms(sound));
    for (x, echo) in std::iter::zip(sound, echoes) {
        *x = (1.0 - wet) * *x + wet * echo;
    }
}

/// The sample at `seconds`.
pub(super) fn sample(seconds: f32) -> usize {
    (seconds * RATE) as usize
}
