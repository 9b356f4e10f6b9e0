//! Building blocks of all sounds: chance, noise colours, oscillators, biquads, envelopes, ringing modes.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::f32::consts::{PI, TAU};

/// Samples a second.
pub(super) const RATE: f32 = super::RATE as f32;

/// A box of a parameter: from, to.
pub(super) type Range = (f32, f32);

/// The chance that parameters and noise are drawn from.
pub(super) struct Random(ChaCha8Rng);

impl Random {
    pub(super) fn new(seed: u64, stream: u64) -> Random {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(stream);
        Random(generator)
    }

    /// Uniform in 0..1.
    pub(super) fn unit(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / (1 << 24) as f32
    }

    /// Uniform in a range.
    pub(super) fn between(&mut self, (from, to): Range) -> f32 {
        from + (to - from) * self.unit()
    }

    /// Uniform in the logarithm: for frequencies, rates and times.
    pub(super) fn octaves(&mut self, (from, to): Range) -> f32 {
        from * (to / from).powf(self.unit())
    }

    /// A value near another: at most the share `spread` away.
    pub(super) fn near(&mut self, value: f32, spread: f32) -> f32 {
        value * (1.0 + self.between((-spread, spread)))
    }

    /// A whole number below `n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        ((self.unit() * n as f32) as usize).min(n.saturating_sub(1))
    }

    pub(super) fn chance(&mut self, share: f32) -> bool {
        self.unit() < share
    }

    /// White noise in -1..1.
    pub(super) fn noise(&mut self, samples: usize) -> Vec<f32> {
        (0..samples).map(|_| 2.0 * self.unit() - 1.0).collect()
    }

    /// Noise that a low-pass of first order at `hz` darkens; white at 8 kHz.
    pub(super) fn dark_noise(&mut self, samples: usize, hz: f32) -> Vec<f32> {
        let mut sound = self.noise(samples);
        darken(&mut sound, hz);
        level(&mut sound, 0.4);
        sound
    }

    /// A smooth curve between random heights within `range`, about `hz` of them a second.
    pub(super) fn curve(&mut self, samples: usize, hz: f32, range: Range) -> Vec<f32> {
        let step = (RATE / hz).max(2.0);
        let (mut left, mut right) = (self.between(range), self.between(range));
        let mut at = self.unit();
        (0..samples)
            .map(|_| {
                at += 1.0 / step;
                if at >= 1.0 {
                    at -= 1.0;
                    (left, right) = (right, self.between(range));
                }
                left + (right - left) * at * at * (3.0 - 2.0 * at)
            })
            .collect()
    }
}

/// Seconds as samples.
pub(super) fn samples(seconds: f32) -> usize {
    (seconds * RATE) as usize
}

/// A sine of a phase in turns within 0..1; a parabola with one correction, wrong by at most 0.001.
pub(super) fn sine(phase: f32) -> f32 {
    let y = 1.0 - 2.0 * phase;
    let z = 4.0 * y * (1.0 - y.abs());
    0.225 * (z * z.abs() - z) + z
}

/// A phase in turns that moves on.
#[derive(Default)]
pub(super) struct Phase(pub(super) f32);

impl Phase {
    /// The phase after one sample at `hz`, which is below the sampling rate.
    pub(super) fn step(&mut self, hz: f32) -> f32 {
        self.0 += hz / RATE;
        if self.0 >= 1.0 {
            self.0 -= 1.0;
        }
        self.0
    }

    pub(super) fn sine(&mut self, hz: f32) -> f32 {
        sine(self.step(hz))
    }

    /// A saw whose step is rounded over two samples (PolyBLEP: Välimäki and Huovilainen 2007).
    pub(super) fn saw(&mut self, hz: f32) -> f32 {
        let (phase, step) = (self.step(hz), (hz / RATE).clamp(1e-6, 0.5));
        let naive = 2.0 * phase - 1.0;
        if phase < step {
            let t = phase / step;
            naive - (2.0 * t - t * t - 1.0)
        } else if phase > 1.0 - step {
            let t = (phase - 1.0) / step;
            naive - (t * t + 2.0 * t + 1.0)
        } else {
            naive
        }
    }
}

/// A second-order filter, coefficients after R. Bristow-Johnson's cookbook.
#[derive(Clone, Default)]
pub(super) struct Biquad {
    b: [f32; 3],
    a: [f32; 2],
    s: [f32; 2],
}

impl Biquad {
    fn set(&mut self, hz: f32, q: f32, shape: impl Fn(f32, f32) -> ([f32; 3], [f32; 3])) {
        let (sin, cos) = (TAU * hz.clamp(15.0, 0.47 * RATE) / RATE).sin_cos();
        let (b, a) = shape(cos, sin / (2.0 * q));
        self.b = b.map(|x| x / a[0]);
        self.a = [a[1] / a[0], a[2] / a[0]];
    }

    pub(super) fn low(hz: f32, q: f32) -> Biquad {
        let mut filter = Biquad::default();
        filter.set(hz, q, |c, k| ([(1.0 - c) / 2.0, 1.0 - c, (1.0 - c) / 2.0], [1.0 + k, -2.0 * c, 1.0 - k]));
        filter
    }

    pub(super) fn high(hz: f32, q: f32) -> Biquad {
        let mut filter = Biquad::default();
        filter.set(hz, q, |c, k| ([(1.0 + c) / 2.0, -1.0 - c, (1.0 + c) / 2.0], [1.0 + k, -2.0 * c, 1.0 - k]));
        filter
    }

    /// A band-pass with unit gain at `hz`.
    pub(super) fn band(hz: f32, q: f32) -> Biquad {
        let mut filter = Biquad::default();
        filter.tune(hz, q);
        filter
    }

    /// Makes this a band-pass at `hz` and keeps its state.
    pub(super) fn tune(&mut self, hz: f32, q: f32) {
        self.set(hz, q, |c, k| ([k, 0.0, -k], [1.0 + k, -2.0 * c, 1.0 - k]));
    }

    /// A bell of `decibels` at `hz`.
    pub(super) fn peak(hz: f32, q: f32, decibels: f32) -> Biquad {
        let gain = 10f32.powf(decibels / 40.0);
        let mut filter = Biquad::default();
        filter.set(hz, q, |c, k| {
            ([1.0 + k * gain, -2.0 * c, 1.0 - k * gain], [1.0 + k / gain, -2.0 * c, 1.0 - k / gain])
        });
        filter
    }

    pub(super) fn step(&mut self, x: f32) -> f32 {
        let y = self.b[0] * x + self.s[0];
        self.s = [self.b[1] * x - self.a[0] * y + self.s[1], self.b[2] * x - self.a[1] * y];
        y
    }

    pub(super) fn run(mut self, sound: &mut [f32]) {
        sound.iter_mut().for_each(|x| *x = self.step(*x));
    }
}

/// A low-pass of first order.
pub(super) fn darken(sound: &mut [f32], hz: f32) {
    let (keep, mut y) = ((-TAU * hz / RATE).exp(), 0.0);
    for x in sound {
        y = keep * y + (1.0 - keep) * *x;
        *x = y;
    }
}

/// Multiplies by a rise of `attack` and a fall by 60 dB in `decay` seconds.
pub(super) fn pluck(sound: &mut [f32], attack: f32, decay: f32) {
    let (rise, keep) = (1.0 / (attack * RATE).max(1.0), (-6.9 / (decay * RATE).max(1.0)).exp());
    let (mut up, mut gain) = (0f32, 1f32);
    for x in sound {
        up = (up + rise).min(1.0);
        *x *= up * gain;
        gain *= keep;
    }
}

/// Multiplies by a rise and a fall, given as shares of the length.
pub(super) fn swell(sound: &mut [f32], rise: f32, fall: f32) {
    let length = sound.len() as f32;
    for (at, x) in sound.iter_mut().enumerate() {
        let part = at as f32 / length;
        let gain = (part / rise.max(1e-3)).min((1.0 - part) / fall.max(1e-3)).min(1.0);
        *x *= gain * gain * (3.0 - 2.0 * gain);
    }
}

/// Adds a mode struck at `at`: a sine of `hz` that falls by 60 dB in `decay` seconds, by a recurrence.
pub(super) fn mode(sound: &mut [f32], at: usize, hz: f32, decay: f32, gain: f32) {
    if hz > 0.47 * RATE || at >= sound.len() {
        return;
    }
    let (keep, turn) = ((-6.9 / (decay * RATE)).exp(), TAU * hz / RATE);
    let (first, second) = (2.0 * keep * turn.cos(), keep * keep);
    let (mut y, mut z) = (0.0, -gain * turn.sin() / keep);
    for x in sound[at..].iter_mut().take(samples(1.2 * decay) + 8) {
        let next = first * y - second * z;
        (y, z) = (next, y);
        *x += next;
    }
}

/// Adds a sound to another from `at` on.
pub(super) fn add(sound: &mut [f32], at: usize, other: &[f32], gain: f32) {
    if at < sound.len() {
        std::iter::zip(&mut sound[at..], other).for_each(|(x, y)| *x += gain * y);
    }
}

/// Multiplies one sound by another.
pub(super) fn modulate(sound: &mut [f32], by: &[f32]) {
    std::iter::zip(sound, by).for_each(|(x, y)| *x *= y);
}

pub(super) fn rms(sound: &[f32]) -> f32 {
    (sound.iter().map(|x| x * x).sum::<f32>() / sound.len().max(1) as f32).sqrt()
}

/// Scales to this root mean square.
pub(super) fn level(sound: &mut [f32], to: f32) {
    let gain = to / rms(sound).max(1e-6);
    sound.iter_mut().for_each(|x| *x *= gain);
}

/// A hill from 0 to 1 to 0 over a part in 0..1.
pub(super) fn hill(part: f32) -> f32 {
    (PI * part.clamp(0.0, 1.0)).sin()
}
