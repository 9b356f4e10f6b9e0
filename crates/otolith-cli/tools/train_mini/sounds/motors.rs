//! Things that turn or go to and fro: engines, rotors, fans, saws, wheels, brushes.

use super::Class;
use super::blocks::{Biquad, Phase, Random, Range, add, hill, mode, samples};
use super::place::{Rhythm, place};

/// A rotor: harmonics of its turns through resonances, and noise that beats with it.
struct Motor {
    /// Turns or firings a second.
    turns: Range,
    /// Wander of the speed, and how fast.
    wander: Range,
    drift: Range,
    /// Each firing differs by this share, over a cycle of so many.
    uneven: Range,
    cycle: usize,
    resonance: Range,
    width: Range,
    /// Noise beside the harmonics, its band, and how deep the turns modulate it.
    noise: Range,
    band: Range,
    depth: Range,
    /// Sharpness of a firing.
    sharp: Range,
    /// Speed at the end over the start.
    glide: Range,
}

const MOTOR: Motor = Motor {
    turns: (20.0, 90.0),
    wander: (0.0, 0.05),
    drift: (0.5, 4.0),
    uneven: (0.0, 0.5),
    cycle: 4,
    resonance: (80.0, 500.0),
    width: (0.7, 3.0),
    noise: (0.05, 0.5),
    band: (500.0, 3_000.0),
    depth: (0.1, 0.9),
    sharp: (2.0, 12.0),
    glide: (0.9, 1.1),
};

fn motor(random: &mut Random, length: usize, motor: &Motor) -> Vec<f32> {
    let (turns, wander, sharp) =
        (random.octaves(motor.turns), random.between(motor.wander), random.octaves(motor.sharp));
    let (noise, depth, glide) = (random.between(motor.noise), random.between(motor.depth), random.octaves(motor.glide));
    let drift = random.octaves(motor.drift);
    let course = random.curve(length, drift, (1.0 - wander, 1.0 + wander));
    let uneven = random.between(motor.uneven);
    let firings: Vec<f32> = (0..motor.cycle).map(|_| 1.0 - uneven * random.unit()).collect();
    let mut bodies: Vec<(Biquad, f32)> = (0..3)
        .map(|k| {
            (
                Biquad::band(random.octaves(motor.resonance) * [1.0, 2.3, 5.5][k], random.octaves(motor.width)),
                random.unit(),
            )
        })
        .collect();
    let mut air = Biquad::band(random.octaves(motor.band), random.octaves((0.4, 1.5)));
    let (mut phase, mut before, mut firing) = (Phase(0.0), 0.0, 0);
    let (dull, mut low) = (random.octaves((0.1, 0.8)), 0.0);
    (0..length)
        .map(|at| {
            let hz = turns * course[at] * (1.0 + (glide - 1.0) * at as f32 / length as f32);
            let part = phase.step(hz);
            if part < before {
                firing = (firing + 1) % firings.len();
            }
            before = part;
            // a pressure pulse: (1 - part)^sharp, without its mean
            let pulse = firings[firing] * (hill((part * sharp).min(1.0)) - 0.64 / sharp);
            let puff =
                air.step(2.0 * random.unit() - 1.0) * (1.0 - depth + 2.0 * depth * (1.0 - part) * firings[firing]);
            let push = pulse * (1.0 - noise) * sharp.sqrt() * 0.5 + noise * puff;
            low += dull * (push - low);
            low + 2.0 * bodies.iter_mut().map(|(body, gain)| *gain * body.step(push)).sum::<f32>()
        })
        .collect()
}

/// To and fro: strokes of scraped noise, teeth heard within.
fn strokes(random: &mut Random, length: usize, rate: Range, band: Range, teeth: Range, sweep: Range) -> Vec<f32> {
    let (rate, band, teeth, sweep) =
        (random.octaves(rate), random.octaves(band), random.octaves(teeth), random.between(sweep));
    let (width, back, grip) = (random.octaves((0.6, 4.0)), random.between((0.2, 1.0)), random.between((0.0, 0.9)));
    let shape = random.between((0.4, 2.5));
    let ring = random.between((0.0, 0.6));
    let (mut phase, mut tooth, mut filter) = (Phase(random.unit()), Phase(0.0), Biquad::default());
    let mut blade = Biquad::band(band * random.octaves((0.5, 2.0)), 20.0);
    let speed = random.curve(length, 2.0, (0.85, 1.15));
    (0..length)
        .map(|at| {
            let turn = 2.0 * phase.step(0.5 * rate * speed[at]);
            let part = turn.fract();
            let push = hill(part).powf(shape) * if turn < 1.0 { 1.0 } else { back };
            if at % 32 == 0 {
                let way = if turn < 1.0 { part } else { 1.0 - part };
                filter.tune(band * (sweep * (way - 0.5)).exp2(), width);
            }
            let bite = 1.0 - grip * tooth.step(teeth * (0.3 + push));
            let x = push * bite * (2.0 * random.unit() - 1.0);
            filter.step(x) + ring * blade.step(x)
        })
        .collect()
}

/// Wheels over joints: a motor's rumble and pairs of knocks.
fn rails(random: &mut Random, length: usize) -> Vec<f32> {
    let mut sound = motor(
        random,
        length,
        &Motor { turns: (8.0, 30.0), noise: (0.5, 0.9), band: (150.0, 900.0), depth: (0.0, 0.4), ..MOTOR },
    );
    let (pitch, gap) = (random.octaves((90.0, 400.0)), random.between((0.08, 0.25)));
    let modes: Vec<f32> = (0..6).map(|_| pitch * random.octaves((1.0, 14.0))).collect();
    let knocks = place(random, length, Rhythm::Regular((1.0, 2.6), 0.03), |random| {
        let mut knock = vec![0.0; samples(gap + 0.2)];
        for at in [0, samples(gap)] {
            modes.iter().for_each(|hz| mode(&mut knock, at, *hz, random.octaves((0.03, 0.15)), random.unit()));
        }
        knock
    });
    add(&mut sound, 0, &knocks, random.between((0.1, 0.7)));
    sound
}

pub(super) const CLASSES: &[Class] = &[
    ("idling diesel", |r, n| {
        motor(r, n, &Motor { turns: (12.0, 35.0), uneven: (0.2, 0.8), sharp: (4.0, 16.0), ..MOTOR })
    }),
    ("motorcycle", |r, n| {
        motor(
            r,
            n,
            &Motor {
                turns: (40.0, 160.0),
                uneven: (0.1, 0.6),
                cycle: 2,
                resonance: (120.0, 700.0),
                glide: (0.6, 1.7),
                ..MOTOR
            },
        )
    }),
    ("chainsaw", |r, n| {
        motor(
            r,
            n,
            &Motor {
                turns: (90.0, 220.0),
                wander: (0.02, 0.2),
                resonance: (300.0, 1_500.0),
                noise: (0.2, 0.6),
                band: (2_000.0, 6_000.0),
                sharp: (1.5, 4.0),
                ..MOTOR
            },
        )
    }),
    ("model aeroplane", |r, n| {
        motor(
            r,
            n,
            &Motor {
                turns: (180.0, 400.0),
                wander: (0.0, 0.1),
                resonance: (400.0, 1_800.0),
                noise: (0.0, 0.3),
                glide: (0.6, 1.5),
                ..MOTOR
            },
        )
    }),
    ("propeller", |r, n| {
        motor(
            r,
            n,
            &Motor {
                turns: (60.0, 130.0),
                wander: (0.0, 0.02),
                uneven: (0.0, 0.1),
                resonance: (80.0, 300.0),
                noise: (0.1, 0.6),
                band: (300.0, 1_500.0),
                sharp: (1.5, 4.0),
                glide: (0.85, 1.15),
                ..MOTOR
            },
        )
    }),
    ("rotor blades", |r, n| {
        motor(
            r,
            n,
            &Motor {
                turns: (8.0, 24.0),
                wander: (0.0, 0.02),
                uneven: (0.0, 0.2),
                resonance: (40.0, 200.0),
                noise: (0.3, 0.9),
                band: (150.0, 1_500.0),
                depth: (0.7, 1.0),
                sharp: (1.5, 8.0),
                ..MOTOR
            },
        )
    }),
    ("jet", |r, n| {
        motor(
            r,
            n,
            &Motor {
                turns: (900.0, 2_500.0),
                wander: (0.0, 0.03),
                resonance: (700.0, 2_000.0),
                noise: (0.6, 0.97),
                band: (150.0, 1_200.0),
                depth: (0.0, 0.1),
                sharp: (1.0, 1.5),
                glide: (0.7, 1.2),
                ..MOTOR
            },
        )
    }),
    ("vacuum cleaner", |r, n| {
        motor(
            r,
            n,
            &Motor {
                turns: (150.0, 600.0),
                wander: (0.0, 0.02),
                noise: (0.6, 0.95),
                band: (600.0, 3_000.0),
                depth: (0.0, 0.3),
                resonance: (300.0, 2_000.0),
                sharp: (1.0, 3.0),
                ..MOTOR
            },
        )
    }),
    ("fan", |r, n| {
        motor(
            r,
            n,
            &Motor {
                turns: (40.0, 130.0),
                wander: (0.0, 0.01),
                noise: (0.8, 0.98),
                band: (150.0, 900.0),
                depth: (0.1, 0.5),
                ..MOTOR
            },
        )
    }),
    ("washing drum", |r, n| {
        motor(
            r,
            n,
            &Motor {
                turns: (1.5, 8.0),
                wander: (0.0, 0.1),
                noise: (0.4, 0.9),
                band: (200.0, 1_500.0),
                depth: (0.4, 1.0),
                resonance: (60.0, 300.0),
                sharp: (2.0, 6.0),
                ..MOTOR
            },
        )
    }),
    ("drill", |r, n| {
        motor(
            r,
            n,
            &Motor {
                turns: (250.0, 800.0),
                wander: (0.02, 0.15),
                uneven: (0.0, 0.3),
                resonance: (700.0, 3_000.0),
                noise: (0.1, 0.5),
                band: (2_000.0, 6_000.0),
                sharp: (1.0, 3.0),
                glide: (0.7, 1.4),
                ..MOTOR
            },
        )
    }),
    ("pneumatic hammer", |r, n| {
        motor(
            r,
            n,
            &Motor {
                turns: (12.0, 40.0),
                wander: (0.0, 0.05),
                uneven: (0.0, 0.3),
                resonance: (400.0, 2_000.0),
                noise: (0.3, 0.7),
                band: (1_500.0, 5_000.0),
                depth: (0.9, 1.0),
                sharp: (10.0, 40.0),
                ..MOTOR
            },
        )
    }),
    ("train on rails", rails),
    ("hand saw", |r, n| strokes(r, n, (2.0, 6.0), (900.0, 3_500.0), (60.0, 250.0), (-1.0, 1.0))),
    ("brush", |r, n| strokes(r, n, (4.0, 12.0), (2_500.0, 6_500.0), (200.0, 900.0), (-0.4, 0.4))),
    ("scraper", |r, n| strokes(r, n, (0.7, 2.0), (1_200.0, 5_000.0), (20.0, 90.0), (-1.5, 1.5))),
    ("file", |r, n| strokes(r, n, (1.5, 4.0), (3_000.0, 6_500.0), (400.0, 1_500.0), (0.2, 1.2))),
];
