//! Breath: noise through a throat, in bursts and strokes.

use super::Class;
use super::blocks::{Biquad, Phase, Random, Range, pluck, samples, swell};
use super::place::{Rhythm, place};

/// Noise, with some voice, through two throat resonances.
struct Breath {
    length: Range,
    rise: Range,
    fall: Range,
    throat: Range,
    /// Voice beside the noise and its pitch.
    voice: Range,
    pitch: Range,
    /// Flutter of the airway: depth and rate.
    flutter: Range,
    rate: Range,
    /// Octaves that the resonances move.
    sweep: Range,
    /// A hard onset: the air breaks through.
    burst: f32,
    rhythm: Rhythm,
}

const BREATH: Breath = Breath {
    length: (0.5, 1.3),
    rise: (0.2, 0.5),
    fall: (0.3, 0.6),
    throat: (500.0, 2_000.0),
    voice: (0.0, 0.05),
    pitch: (80.0, 200.0),
    flutter: (0.0, 0.1),
    rate: (15.0, 40.0),
    sweep: (-0.6, 0.6),
    burst: 0.0,
    rhythm: Rhythm::Regular((0.5, 1.3), 0.1),
};

fn breath(random: &mut Random, length: usize, breath: &Breath) -> Vec<f32> {
    let (throat, voice, pitch) =
        (random.octaves(breath.throat), random.between(breath.voice), random.octaves(breath.pitch));
    let (flutter, rate, long) =
        (random.between(breath.flutter), random.octaves(breath.rate), random.octaves(breath.length));
    let (sweep, open) = (random.between(breath.sweep), random.octaves((1.8, 4.0)));
    let (q, air) = (random.octaves((1.0, 5.0)), random.between((0.02, 0.4)));
    let mut inwards = false;
    place(random, length, breath.rhythm, |random| {
        inwards = !inwards;
        let (long, tone) = (samples(random.near(long, 0.2)), if inwards { 1.0 } else { random.octaves((0.8, 1.4)) });
        let (mut first, mut second) = (Biquad::default(), Biquad::default());
        let (mut glottis, mut shake) = (Phase(0.0), Phase(random.unit()));
        let mut jolt = 1.0;
        let mut sound: Vec<f32> = (0..long)
            .map(|at| {
                let part = at as f32 / long as f32;
                if at % 64 == 0 {
                    let hz = tone * throat * (sweep * (part - 0.5)).exp2();
                    first.tune(hz, q);
                    second.tune(open * hz, q);
                    jolt = random.near(1.0, 0.1);
                }
                let wave = shake.step(rate * jolt);
                let noise = 2.0 * random.unit() - 1.0;
                let x = ((1.0 - voice) * noise + 1.5 * voice * glottis.saw(pitch * (1.1 - 0.3 * part) * jolt))
                    * (1.0 - flutter * wave);
                first.step(x) + 0.6 * second.step(x) + 0.3 * air * x
            })
            .collect();
        if breath.burst > 0.0 {
            pluck(&mut sound, random.octaves((0.002, 0.02)), breath.burst * long as f32 / super::RATE as f32);
            swell(&mut sound, 0.01, 0.3);
        } else {
            swell(&mut sound, random.between(breath.rise), random.between(breath.fall));
        }
        sound
    })
}

/// A sneeze: air drawn in, then a burst.
fn sneeze(random: &mut Random, length: usize) -> Vec<f32> {
    let inhale = Breath {
        length: (0.25, 0.6),
        rise: (0.5, 0.8),
        fall: (0.05, 0.15),
        voice: (0.05, 0.3),
        pitch: (200.0, 500.0),
        rhythm: Rhythm::Once,
        ..BREATH
    };
    let burst = Breath {
        length: (0.25, 0.6),
        throat: (900.0, 3_000.0),
        voice: (0.05, 0.5),
        pitch: (150.0, 450.0),
        burst: 1.2,
        rhythm: Rhythm::Once,
        ..BREATH
    };
    let first = samples(random.between((0.3, 0.7))).min(length / 2);
    let mut sound = breath(random, 2 * first, &inhale);
    sound.truncate(first);
    sound.iter_mut().for_each(|x| *x *= 0.3);
    sound.extend(breath(random, length - first, &burst));
    sound
}

pub(super) const CLASSES: &[Class] = &[
    ("breathing", |r, n| breath(r, n, &BREATH)),
    ("panting", |r, n| {
        breath(
            r,
            n,
            &Breath {
                length: (0.1, 0.22),
                throat: (700.0, 2_500.0),
                rhythm: Rhythm::Regular((2.5, 6.0), 0.05),
                ..BREATH
            },
        )
    }),
    ("snoring", |r, n| {
        breath(
            r,
            n,
            &Breath {
                length: (0.6, 1.5),
                throat: (180.0, 700.0),
                voice: (0.1, 0.6),
                pitch: (35.0, 90.0),
                flutter: (0.6, 1.0),
                rate: (20.0, 60.0),
                rhythm: Rhythm::Regular((0.4, 0.9), 0.05),
                ..BREATH
            },
        )
    }),
    ("coughing", |r, n| {
        breath(
            r,
            n,
            &Breath {
                length: (0.15, 0.4),
                throat: (450.0, 1_300.0),
                voice: (0.1, 0.6),
                pitch: (90.0, 330.0),
                flutter: (0.0, 0.6),
                burst: 1.0,
                rhythm: Rhythm::Groups(4, (0.25, 0.5), (0.4, 1.2)),
                ..BREATH
            },
        )
    }),
    ("sneezing", sneeze),
    ("clearing a throat", |r, n| {
        breath(
            r,
            n,
            &Breath {
                length: (0.2, 0.6),
                throat: (350.0, 900.0),
                voice: (0.2, 0.5),
                pitch: (70.0, 180.0),
                flutter: (0.5, 1.0),
                rate: (25.0, 70.0),
                rhythm: Rhythm::Groups(2, (0.4, 0.8), (0.5, 1.2)),
                ..BREATH
            },
        )
    }),
    ("hissing animal", |r, n| {
        breath(
            r,
            n,
            &Breath {
                length: (0.4, 1.5),
                throat: (2_500.0, 4_500.0),
                rise: (0.05, 0.3),
                rhythm: Rhythm::Groups(2, (0.6, 1.2), (0.4, 1.0)),
                ..BREATH
            },
        )
    }),
    ("sniffing", |r, n| {
        breath(
            r,
            n,
            &Breath {
                length: (0.06, 0.25),
                throat: (1_500.0, 4_000.0),
                sweep: (0.3, 1.5),
                rhythm: Rhythm::Groups(5, (0.2, 0.5), (0.3, 1.0)),
                ..BREATH
            },
        )
    }),
    ("snort", |r, n| {
        breath(
            r,
            n,
            &Breath {
                length: (0.3, 0.9),
                throat: (400.0, 1_500.0),
                flutter: (0.7, 1.0),
                rate: (18.0, 45.0),
                burst: 1.6,
                rhythm: Rhythm::Groups(2, (0.4, 0.9), (0.4, 1.0)),
                ..BREATH
            },
        )
    }),
    ("slurping", |r, n| {
        breath(
            r,
            n,
            &Breath {
                length: (0.2, 0.7),
                throat: (900.0, 2_500.0),
                flutter: (0.5, 1.0),
                rate: (40.0, 130.0),
                sweep: (0.5, 2.0),
                rhythm: Rhythm::Groups(2, (0.5, 1.0), (0.3, 1.0)),
                ..BREATH
            },
        )
    }),
];
