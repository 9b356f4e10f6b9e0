//! Creatures without a throat of formants: stridulation, whistles and trills.

use super::Class;
use super::blocks::{Biquad, Phase, Random, Range, hill, samples, swell};
use super::place::{Rhythm, place};

/// Pulses of a near-pure tone in chirps: a file drawn over teeth.
fn stridulation(
    random: &mut Random,
    length: usize,
    pitch: Range,
    teeth: Range,
    pulses: Range,
    rhythm: Rhythm,
) -> Vec<f32> {
    let (pitch, teeth) = (random.octaves(pitch), random.octaves(teeth));
    let (duty, count) = (random.between((0.3, 0.9)), random.octaves(pulses));
    let hiss = random.between((0.0, 0.5));
    let width = random.octaves((3.0, 15.0));
    place(random, length, rhythm, |random| {
        let count = random.near(count, 0.15).max(1.0).round();
        let (mut tone, mut pulse) = (Phase(0.0), Phase(0.0));
        let mut filter = Biquad::band(pitch, width);
        let mut sound: Vec<f32> = (0..samples(count / teeth))
            .map(|_| {
                let part = pulse.step(teeth) / duty;
                let open = if part < 1.0 { hill(part) } else { 0.0 };
                let noise = filter.step(2.0 * random.unit() - 1.0);
                open * ((1.0 - hiss) * tone.sine(pitch) + 3.0 * hiss * noise)
            })
            .collect();
        swell(&mut sound, 0.15, 0.1);
        sound
    })
}

/// A whistle of notes; a note glides by `bend` octaves up and down, trembles, and bears a few harmonics.
struct Song {
    pitch: Range,
    note: Range,
    glide: Range,
    arch: Range,
    tremble: Range,
    tremor: Range,
    harmonics: Range,
    /// How far notes of a phrase lie from each other in octaves.
    spread: f32,
    rhythm: Rhythm,
}

const SONG: Song = Song {
    pitch: (2_000.0, 5_000.0),
    note: (0.05, 0.2),
    glide: (-0.6, 0.6),
    arch: (-0.5, 0.5),
    tremble: (0.0, 0.05),
    tremor: (10.0, 60.0),
    harmonics: (0.0, 0.2),
    spread: 0.3,
    rhythm: Rhythm::Groups(5, (0.1, 0.3), (0.3, 1.2)),
};

fn song(random: &mut Random, length: usize, song: &Song) -> Vec<f32> {
    let (pitch, note) = (random.octaves(song.pitch), random.octaves(song.note));
    let (glide, arch) = (random.between(song.glide), random.between(song.arch));
    let (tremble, tremor) = (random.between(song.tremble), random.octaves(song.tremor));
    let (harmonics, breath) = (random.between(song.harmonics), random.between((0.0, 0.1)));
    place(random, length, song.rhythm, |random| {
        let long = samples(random.near(note, 0.2)).max(32);
        let pitch = pitch * 2f32.powf(random.between((-song.spread, song.spread)));
        let (mut phase, mut slow) = (Phase(0.0), Phase(random.unit()));
        let (glide, arch) = (random.near(glide, 0.3), random.near(arch, 0.3));
        let mut hz = pitch;
        let mut sound: Vec<f32> = (0..long)
            .map(|at| {
                let part = at as f32 / long as f32;
                let wave = slow.sine(tremor);
                if at % 8 == 0 {
                    hz = (pitch * (glide * (part - 0.5) + arch * hill(part) + tremble * wave).exp2()).min(7_600.0);
                }
                let tone = phase.sine(hz);
                // Chebyshev polynomials make the second and third harmonic
                let rich = harmonics * ((2.0 * tone * tone - 1.0) + 0.6 * (4.0 * tone * tone * tone - 3.0 * tone));
                tone + if hz < 2_600.0 { rich } else { 0.0 } + breath * (random.unit() - 0.5)
            })
            .collect();
        swell(&mut sound, random.between((0.1, 0.4)), random.between((0.2, 0.5)));
        sound
    })
}

pub(super) const CLASSES: &[Class] = &[
    ("cricket", |r, n| {
        stridulation(r, n, (3_200.0, 5_500.0), (25.0, 80.0), (2.0, 6.0), Rhythm::Regular((1.5, 5.0), 0.03))
    }),
    ("cicada", |r, n| {
        stridulation(r, n, (2_800.0, 7_000.0), (80.0, 400.0), (200.0, 2_000.0), Rhythm::Regular((0.3, 0.8), 0.02))
    }),
    ("tree cricket", |r, n| {
        stridulation(r, n, (2_000.0, 3_800.0), (30.0, 70.0), (80.0, 300.0), Rhythm::Regular((0.4, 1.0), 0.02))
    }),
    ("katydid", |r, n| {
        stridulation(r, n, (4_500.0, 7_200.0), (60.0, 200.0), (8.0, 25.0), Rhythm::Groups(4, (0.15, 0.35), (0.3, 1.0)))
    }),
    ("peeper", |r, n| {
        song(
            r,
            n,
            &Song {
                pitch: (1_400.0, 3_200.0),
                note: (0.06, 0.25),
                glide: (0.02, 0.3),
                arch: (0.0, 0.1),
                spread: 0.03,
                rhythm: Rhythm::Regular((0.8, 3.0), 0.08),
                ..SONG
            },
        )
    }),
    ("fly", |r, n| buzz(r, n, (110.0, 260.0))),
    ("mosquito", |r, n| buzz(r, n, (350.0, 800.0))),
    ("warble", |r, n| song(r, n, &SONG)),
    ("trill", |r, n| {
        song(
            r,
            n,
            &Song { note: (0.02, 0.05), spread: 0.03, rhythm: Rhythm::Groups(24, (0.03, 0.08), (0.3, 1.0)), ..SONG },
        )
    }),
    ("twitter", |r, n| {
        song(
            r,
            n,
            &Song {
                pitch: (3_500.0, 6_500.0),
                note: (0.015, 0.06),
                glide: (-1.2, 1.2),
                rhythm: Rhythm::Poisson((4.0, 14.0)),
                ..SONG
            },
        )
    }),
    ("whistle down", |r, n| {
        song(
            r,
            n,
            &Song {
                note: (0.25, 0.7),
                glide: (-1.2, -0.3),
                spread: 0.1,
                rhythm: Rhythm::Groups(2, (0.5, 0.9), (0.4, 1.2)),
                ..SONG
            },
        )
    }),
    ("whistle up", |r, n| {
        song(
            r,
            n,
            &Song {
                note: (0.2, 0.6),
                glide: (0.3, 1.2),
                spread: 0.1,
                rhythm: Rhythm::Groups(2, (0.4, 0.9), (0.4, 1.2)),
                ..SONG
            },
        )
    }),
    ("hoot", |r, n| {
        song(
            r,
            n,
            &Song {
                pitch: (220.0, 700.0),
                note: (0.15, 0.5),
                glide: (-0.2, 0.1),
                arch: (0.0, 0.15),
                spread: 0.05,
                harmonics: (0.0, 0.3),
                rhythm: Rhythm::Groups(4, (0.3, 0.6), (0.5, 1.5)),
                ..SONG
            },
        )
    }),
    ("rattle call", |r, n| {
        song(
            r,
            n,
            &Song {
                pitch: (1_500.0, 4_000.0),
                note: (0.1, 0.5),
                tremble: (0.2, 0.5),
                tremor: (30.0, 120.0),
                spread: 0.1,
                harmonics: (0.2, 0.6),
                ..SONG
            },
        )
    }),
];

/// Wings: a harmonic tone whose pitch and nearness wander.
fn buzz(random: &mut Random, length: usize, pitch: Range) -> Vec<f32> {
    let pitch = random.octaves(pitch);
    let bends = {
        let rate = random.octaves((0.5, 5.0));
        random.curve(length, rate, (0.88, 1.12))
    };
    let near = {
        let rate = random.octaves((0.5, 3.0));
        random.curve(length, rate, (0.03, 1.0))
    };
    let (mut phase, mut filter) = (Phase(0.0), Biquad::band(random.octaves((500.0, 3_000.0)), 0.8));
    let dull = random.between((0.1, 0.5));
    (0..length)
        .map(|at| {
            let saw = phase.saw(pitch * bends[at]);
            let air = 0.3 * (random.unit() - 0.5);
            near[at] * (filter.step(saw + air) + dull * (saw + air))
        })
        .collect()
}
