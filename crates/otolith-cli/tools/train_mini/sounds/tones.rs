//! Machines that call: horns, sirens, alarms, hums, sweeps.

use super::Class;
use super::blocks::{Biquad, Phase, RATE, Random, Range, add, samples, sine, swell};
use super::place::{Rhythm, place};

/// Several detuned reeds through a bell.
fn horn(random: &mut Random, length: usize, pitch: Range, reeds: usize, long: Range, rhythm: Rhythm) -> Vec<f32> {
    const CHORD: [f32; 6] = [1.0, 1.19, 1.26, 1.335, 1.5, 1.68];
    let pitch = random.octaves(pitch);
    let chord: Vec<f32> =
        (0..1 + random.below(reeds)).map(|k| if k == 0 { 1.0 } else { CHORD[random.below(6)] }).collect();
    let (centre, width) = (random.octaves((600.0, 2_500.0)), random.between((0.5, 2.0)));
    let (dull, long) = (random.between((0.05, 0.6)), random.octaves(long));
    let bend = random.between((-0.08, 0.02));
    place(random, length, rhythm, |random| {
        let long = samples(random.near(long, 0.3));
        let mut bell = Biquad::band(centre, width);
        let mut phases: Vec<Phase> = chord.iter().map(|_| Phase(random.unit())).collect();
        let mut low = 0.0;
        let mut sound: Vec<f32> = (0..long)
            .map(|at| {
                // blown in and let go: the pitch sags at both ends
                let edge = (at.min(long - at) as f32 / (0.05 * RATE)).min(1.0);
                let hz = pitch * (1.0 + bend * (1.0 - edge));
                let reed: f32 = std::iter::zip(&mut phases, &chord).map(|(phase, ratio)| phase.saw(hz * ratio)).sum();
                low += dull * (reed - low);
                low + 2.0 * bell.step(reed)
            })
            .collect();
        swell(&mut sound, 0.06, 0.08);
        sound
    })
}

/// A tone whose pitch follows a course: (turns, octaves) to a bend in octaves.
fn siren(
    random: &mut Random,
    length: usize,
    pitch: Range,
    rate: Range,
    depth: Range,
    shape: fn(f32) -> f32,
) -> Vec<f32> {
    let (pitch, rate, depth) = (random.octaves(pitch), random.octaves(rate), random.between(depth));
    let (edge, distort) = (random.between((0.0, 0.9)), random.octaves((0.5, 6.0)));
    let (mut turn, mut phase, mut hz) = (Phase(random.unit()), Phase(0.0), pitch);
    (0..length)
        .map(|at| {
            let part = turn.step(rate);
            if at % 16 == 0 {
                hz = (pitch * (depth * shape(part)).exp2()).min(7_000.0);
            }
            let saw = phase.saw(hz);
            let tone = distort * sine(phase.0);
            edge * saw + (1.0 - edge) * tone / (1.0 + tone.abs())
        })
        .collect()
}

/// Beeps in a pattern of notes.
fn beeps(random: &mut Random, length: usize, pitch: Range, long: Range, notes: usize, rhythm: Rhythm) -> Vec<f32> {
    let pitch = random.octaves(pitch);
    let notes: Vec<f32> =
        (0..1 + random.below(notes)).map(|k| if k == 0 { 1.0 } else { random.octaves((0.6, 1.7)) }).collect();
    let (long, square) = (random.octaves(long), random.between((0.0, 0.9)));
    let ring = random.between((0.0, 0.6));
    let mut turn = 0;
    place(random, length, rhythm, |_| {
        let hz = (pitch * notes[turn % notes.len()]).min(6_500.0);
        turn += 1;
        let mut phase = Phase(0.0);
        let mut sound: Vec<f32> = (0..samples(long))
            .map(|_| {
                let tone = phase.sine(hz);
                (1.0 - square) * tone + square * (4.0 * tone).clamp(-1.0, 1.0)
            })
            .collect();
        swell(&mut sound, 0.04, 0.04 + ring);
        sound
    })
}

/// A bell hammered by a motor: struck partials that never fade between strokes.
fn ringer(random: &mut Random, length: usize) -> Vec<f32> {
    let (base, rate) = (random.octaves((700.0, 2_200.0)), random.octaves((10.0, 28.0)));
    let partials: Vec<(f32, f32)> =
        [1.0, 1.52, 2.3, 2.74, 3.6].iter().map(|ratio| (base * random.near(*ratio, 0.1), random.unit())).collect();
    let on = random.octaves((0.3, 2.0));
    let rhythm = Rhythm::Groups(1, (0.5, 0.6), (0.8 * on + 0.2, 1.2 * on + 0.9));
    place(random, length, rhythm, |random| {
        let mut sound = vec![0.0; samples(on + 0.5)];
        let mut time = 0.0;
        while time < on {
            for (hz, gain) in &partials {
                super::blocks::mode(&mut sound, samples(time), *hz, 0.35, gain * random.between((0.6, 1.0)));
            }
            time += random.near(1.0 / rate, 0.05);
        }
        sound
    })
}

/// Harmonics of the mains, or of a transformer: steady.
fn hum(random: &mut Random, length: usize, pitch: Range, harmonics: usize, wander: f32) -> Vec<f32> {
    let pitch = random.octaves(pitch);
    let bends = random.curve(length, 1.0, (1.0 - wander, 1.0 + wander));
    let mut sound = random.dark_noise(length, 600.0);
    let noise = random.between((0.02, 0.3));
    sound.iter_mut().for_each(|x| *x *= noise);
    for number in 1..=harmonics {
        let hz = pitch * number as f32;
        let gain = random.unit().powi(2) / (number as f32).powf(0.3);
        if hz < 7_500.0 && gain > 0.02 {
            let (mut phase, beat) = (Phase(random.unit()), random.near(1.0, 0.002));
            std::iter::zip(&mut sound, &bends).for_each(|(x, bend)| *x += gain * phase.sine(hz * beat * bend));
        }
    }
    sound
}

/// Squeaks of stick and slip: a harmonic tone whose pitch jumps and wanders.
fn creak(random: &mut Random, length: usize, pitch: Range, long: Range, rhythm: Rhythm) -> Vec<f32> {
    let bodies: Vec<Biquad> =
        (0..4).map(|_| Biquad::band(random.octaves((300.0, 5_000.0)), random.octaves((4.0, 25.0)))).collect();
    place(random, length, rhythm, |random| {
        let long = samples(random.octaves(long));
        let course = random.curve(long, 5.0, (pitch.0.ln(), pitch.1.ln()));
        let mut bodies = bodies.clone();
        let (mut phase, mut before, mut jolt) = (Phase(0.0), 0.0, 1.0);
        let mut hz = pitch.0;
        let mut sound: Vec<f32> = (0..long)
            .map(|at| {
                if at % 16 == 0 {
                    hz = course[at].exp();
                }
                phase.step(hz * jolt);
                let slip = phase.0 < before;
                before = phase.0;
                if slip {
                    jolt = random.between((0.75, 1.25));
                }
                let push = if slip { random.between((0.4, 1.0)) } else { 0.02 * (random.unit() - 0.5) };
                push * 0.3 + bodies.iter_mut().map(|body| body.step(push)).sum::<f32>() * 8.0
            })
            .collect();
        swell(&mut sound, 0.2, 0.2);
        sound
    })
}

/// A chord of steady notes, as an organ or a distant orchestra holds.
fn chord(random: &mut Random, length: usize) -> Vec<f32> {
    let base = random.octaves((80.0, 320.0));
    let mut sound = vec![0.0; length];
    for _ in 0..2 + random.below(3) {
        let hz = base * [1.0, 1.25, 1.5, 2.0, 2.5, 3.0][random.below(6)];
        let mut other = horn(random, length, (hz, hz * 1.01), 1, (0.6, 1.6), Rhythm::Regular((0.6, 1.2), 0.02));
        swell(&mut other, 0.1, 0.1);
        add(&mut sound, 0, &other, random.unit());
    }
    sound
}

pub(super) const CLASSES: &[Class] = &[
    ("car horn", |r, n| horn(r, n, (280.0, 520.0), 3, (0.15, 1.2), Rhythm::Groups(3, (0.4, 0.9), (0.4, 1.5)))),
    ("ship horn", |r, n| horn(r, n, (60.0, 180.0), 2, (0.8, 2.0), Rhythm::Once)),
    ("train whistle", |r, n| horn(r, n, (500.0, 1_000.0), 5, (0.4, 1.5), Rhythm::Groups(2, (0.6, 1.4), (0.3, 0.8)))),
    ("wailing siren", |r, n| siren(r, n, (450.0, 900.0), (0.15, 0.6), (0.6, 1.4), |t| (2.0 * t - 1.0).abs())),
    ("yelping siren", |r, n| siren(r, n, (500.0, 1_000.0), (2.0, 6.0), (0.4, 1.3), |t| t)),
    ("two-tone siren", |r, n| siren(r, n, (350.0, 800.0), (0.5, 2.0), (0.3, 0.6), |t| if t < 0.5 { 0.0 } else { 1.0 })),
    ("laser sweep", |r, n| siren(r, n, (200.0, 800.0), (3.0, 12.0), (1.5, 3.5), |t| (1.0 - t) * (1.0 - t))),
    ("alarm clock", |r, n| beeps(r, n, (1_500.0, 4_200.0), (0.04, 0.12), 1, Rhythm::Groups(5, (0.1, 0.2), (0.3, 0.8)))),
    ("steady beeps", |r, n| beeps(r, n, (600.0, 3_000.0), (0.1, 0.5), 1, Rhythm::Regular((0.7, 2.5), 0.0))),
    ("ringtone", |r, n| beeps(r, n, (500.0, 2_000.0), (0.05, 0.25), 6, Rhythm::Regular((4.0, 12.0), 0.0))),
    ("hammered bell", ringer),
    ("mains hum", |r, n| hum(r, n, (48.0, 62.0), 16, 0.001)),
    ("turbine whine", |r, n| hum(r, n, (400.0, 1_500.0), 6, 0.03)),
    ("door creak", |r, n| creak(r, n, (30.0, 500.0), (0.4, 1.6), Rhythm::Groups(2, (0.7, 1.3), (0.3, 1.0)))),
    ("squeak", |r, n| creak(r, n, (600.0, 2_500.0), (0.08, 0.4), Rhythm::Groups(3, (0.25, 0.6), (0.3, 1.0)))),
    ("organ", chord),
];
