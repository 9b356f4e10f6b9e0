//! Clouds of grains: crackle, drops, applause, gravel, and drops that ring as bubbles.

use super::Class;
use super::blocks::{Biquad, Random, Range, add, level, pluck, samples, sine, swell};
use super::place::{Rhythm, place, times};

/// A cloud of short noise grains, each through a band of its own.
struct Cloud {
    rate: Range,
    band: Range,
    width: Range,
    length: Range,
    /// Background noise: share, cut-off.
    bed: Range,
    bed_cut: Range,
    /// Slow swell of the density: rate.
    gusts: Range,
}

const CLOUD: Cloud = Cloud {
    rate: (10.0, 60.0),
    band: (500.0, 5_000.0),
    width: (0.6, 4.0),
    length: (0.002, 0.02),
    bed: (0.02, 0.3),
    bed_cut: (200.0, 2_000.0),
    gusts: (0.3, 2.0),
};

fn cloud(random: &mut Random, length: usize, cloud: &Cloud) -> Vec<f32> {
    let (band, width, long) = (random.octaves(cloud.band), random.octaves(cloud.width), random.octaves(cloud.length));
    let (spread, steep) = (random.between((1.0, 2.5)), random.between((1.0, 4.0)));
    let (gusts, rate) = (random.octaves(cloud.gusts), random.octaves(cloud.rate));
    let density = random.curve(length, gusts, (0.1, 1.0));
    let mut sound = vec![0.0; length];
    for (at, _) in times(random, length, Rhythm::Poisson((rate, rate * 1.01))) {
        if at >= length || !random.chance(density[at]) {
            continue;
        }
        let long = random.octaves((long * 0.5, long * 2.0));
        let mut grain = random.noise(samples(2.0 * long).max(8));
        Biquad::band(band * random.octaves((1.0 / spread, spread)), width).run(&mut grain);
        pluck(&mut grain, 0.0003, 2.0 * long);
        add(&mut sound, at, &grain, random.unit().powf(steep));
    }
    level(&mut sound, 0.1);
    let (share, cut) = (random.between(cloud.bed), random.octaves(cloud.bed_cut));
    let bed = random.dark_noise(length, cut);
    add(&mut sound, 0, &bed, 0.25 * share);
    sound
}

/// Bubbles after M. van den Doel: a sine whose pitch rises as it decays.
fn bubbles(random: &mut Random, length: usize, pitch: Range, long: Range, rise: Range, rhythm: Rhythm) -> Vec<f32> {
    let (middle, spread) = (random.octaves(pitch), random.between((0.02, 0.5)));
    let (long, rise) = (random.octaves(long), random.between(rise));
    let (slap, echo) = (random.between((0.0, 0.5)), random.between((0.0, 0.5)));
    place(random, length, rhythm, |random| {
        let hz = random.octaves((middle / (1.0 + spread), middle * (1.0 + spread)));
        let long = random.near(long, 0.4);
        let mut sound = vec![0.0; samples(1.2 * long)];
        let (mut phase, step) = (0f32, hz / super::RATE as f32);
        for (at, x) in sound.iter_mut().enumerate() {
            let part = at as f32 / (long * super::RATE as f32);
            phase += step * (1.0 + rise * part);
            if phase >= 1.0 {
                phase -= 1.0;
            }
            *x = sine(phase);
        }
        let mut hit = random.noise(samples(0.004));
        swell(&mut hit, 0.1, 0.8);
        pluck(&mut sound, 0.002, long);
        add(&mut sound, 0, &hit, slap);
        let late = samples(random.between((0.02, 0.06)));
        let again = sound.clone();
        add(&mut sound, late, &again, echo);
        sound
    })
}

/// Steps of many grains each: gravel, snow, leaves, chewing.
fn crunch(random: &mut Random, length: usize, band: Range, long: Range, rhythm: Rhythm) -> Vec<f32> {
    let (band, density) = (random.octaves(band), random.octaves((100.0, 800.0)));
    let width = random.octaves((0.5, 2.0));
    place(random, length, rhythm, |random| {
        let long = random.octaves(long);
        let mut sound: Vec<f32> = (0..samples(long))
            .map(|_| {
                if random.chance(density / super::RATE as f32) {
                    4.0 * (random.unit() - 0.5)
                } else {
                    0.2 * (random.unit() - 0.5)
                }
            })
            .collect();
        Biquad::band(band, width).run(&mut sound);
        swell(&mut sound, random.between((0.05, 0.4)), 0.6);
        sound
    })
}

/// Hands: short resonant bursts, in many places at once.
fn claps(random: &mut Random, length: usize, hands: usize, rate: Range) -> Vec<f32> {
    let mut sound = vec![0.0; length];
    for _ in 0..hands.div_ceil(2) + random.below(hands) {
        let (band, width) = (random.octaves((700.0, 2_600.0)), random.octaves((0.8, 3.0)));
        let (near, rate, long) = (random.octaves((0.15, 1.0)), random.octaves(rate), random.octaves((0.01, 0.06)));
        let own = place(random, length, Rhythm::Regular((rate, rate * 1.01), 0.12), |random| {
            let mut clap = random.noise(samples(2.0 * long));
            Biquad::band(random.near(band, 0.1), width).run(&mut clap);
            pluck(&mut clap, 0.001, 2.0 * long);
            clap
        });
        add(&mut sound, 0, &own, near);
    }
    sound
}

pub(super) const CLASSES: &[Class] = &[
    ("crackling fire", |r, n| cloud(r, n, &Cloud { bed: (0.1, 0.8), bed_cut: (100.0, 800.0), ..CLOUD })),
    ("snapping embers", |r, n| {
        cloud(r, n, &Cloud { rate: (3.0, 12.0), band: (1_500.0, 6_000.0), length: (0.001, 0.006), ..CLOUD })
    }),
    ("hail", |r, n| {
        cloud(
            r,
            n,
            &Cloud {
                rate: (60.0, 250.0),
                band: (1_000.0, 6_000.0),
                width: (1.0, 8.0),
                length: (0.003, 0.015),
                ..CLOUD
            },
        )
    }),
    ("rain on a roof", |r, n| {
        cloud(
            r,
            n,
            &Cloud {
                rate: (150.0, 500.0),
                band: (600.0, 4_000.0),
                length: (0.002, 0.008),
                bed: (0.3, 1.5),
                bed_cut: (2_000.0, 7_000.0),
                gusts: (0.2, 0.8),
                ..CLOUD
            },
        )
    }),
    ("frying", |r, n| {
        cloud(
            r,
            n,
            &Cloud {
                rate: (200.0, 600.0),
                band: (3_000.0, 7_000.0),
                length: (0.0008, 0.003),
                bed: (0.3, 1.2),
                bed_cut: (4_000.0, 8_000.0),
                ..CLOUD
            },
        )
    }),
    ("rustle", |r, n| {
        cloud(
            r,
            n,
            &Cloud {
                rate: (80.0, 300.0),
                band: (2_500.0, 6_500.0),
                length: (0.004, 0.03),
                gusts: (1.0, 5.0),
                bed: (0.0, 0.1),
                ..CLOUD
            },
        )
    }),
    ("water drops", |r, n| {
        bubbles(r, n, (400.0, 2_200.0), (0.02, 0.12), (0.05, 1.0), Rhythm::Regular((0.8, 5.0), 0.2))
    }),
    ("dripping cave", |r, n| bubbles(r, n, (700.0, 3_500.0), (0.05, 0.3), (0.0, 0.4), Rhythm::Poisson((1.0, 4.0)))),
    ("boiling", |r, n| bubbles(r, n, (200.0, 900.0), (0.02, 0.08), (0.3, 2.0), Rhythm::Poisson((25.0, 90.0)))),
    ("brook", |r, n| {
        let mut sound = bubbles(r, n, (500.0, 1_600.0), (0.01, 0.05), (0.1, 1.0), Rhythm::Poisson((70.0, 200.0)));
        let cut = r.octaves((1_000.0, 5_000.0));
        let bed = r.dark_noise(n, cut);
        level(&mut sound, 0.2);
        add(&mut sound, 0, &bed, r.between((0.02, 0.3)));
        sound
    }),
    ("gulps", |r, n| bubbles(r, n, (180.0, 650.0), (0.05, 0.2), (0.5, 2.5), Rhythm::Regular((1.0, 3.5), 0.15))),
    ("gravel", |r, n| crunch(r, n, (1_200.0, 5_000.0), (0.12, 0.35), Rhythm::Regular((1.2, 2.8), 0.08))),
    ("chewing", |r, n| crunch(r, n, (600.0, 3_500.0), (0.05, 0.16), Rhythm::Groups(6, (0.2, 0.5), (0.2, 0.7)))),
    ("a pair of hands", |r, n| claps(r, n, 1, (2.0, 5.0))),
    ("applause", |r, n| claps(r, n, 22, (2.5, 5.5))),
];
