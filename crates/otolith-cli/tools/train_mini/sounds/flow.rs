//! Flows: wind, waves, water, steam, surf, blasts that roll off.

use super::Class;
use super::blocks::{Biquad, Random, Range, add, darken, hill, level, mode, modulate, pluck, samples};
use super::place::{Rhythm, place};

/// Noise through bands whose centre and loudness wander.
struct Flow {
    centre: Range,
    width: Range,
    bands: usize,
    /// How fast and how far, in octaves, the centres wander.
    turns: Range,
    sweep: Range,
    /// Lowest loudness.
    calm: Range,
    /// Unfiltered share.
    air: Range,
}

const FLOW: Flow = Flow {
    centre: (150.0, 800.0),
    width: (0.5, 3.0),
    bands: 2,
    turns: (0.3, 2.0),
    sweep: (0.2, 1.5),
    calm: (0.05, 0.7),
    air: (0.0, 0.1),
};

fn flow(random: &mut Random, length: usize, flow: &Flow) -> Vec<f32> {
    let noise = random.noise(length);
    let (centre, air, turns) = (random.octaves(flow.centre), random.between(flow.air), random.octaves(flow.turns));
    let mut sound: Vec<f32> = noise.iter().map(|x| air * x).collect();
    for _ in 0..flow.bands {
        let (own, width) = (centre * random.octaves((1.0, 3.0)), random.octaves(flow.width));
        let sweep = random.between(flow.sweep);
        let course = random.curve(length, turns, (-sweep, sweep));
        let mut filter = Biquad::default();
        for (at, (x, y)) in std::iter::zip(&mut sound, &noise).enumerate() {
            if at % 64 == 0 {
                filter.tune(own * course[at].exp2(), width);
            }
            *x += filter.step(*y) * (1.0 + 0.8 * course[at]);
        }
    }
    let calm = random.between(flow.calm);
    let gusts = random.curve(length, turns, (calm, 1.0));
    modulate(&mut sound, &gusts);
    sound
}

/// Waves of noise that rise, break and run back.
fn surf(random: &mut Random, length: usize) -> Vec<f32> {
    let (period, cut) = (random.octaves((1.2, 5.0)), random.octaves((600.0, 4_000.0)));
    let (sharp, floor, start) = (random.between((1.0, 4.0)), random.between((0.02, 0.3)), random.unit());
    let mut low = 0.0;
    (0..length)
        .map(|at| {
            let part = (start + at as f32 / (period * super::RATE as f32)).fract();
            let wave = floor + hill(part.powf(0.6)).powf(sharp);
            low += (0.02 + cut / super::RATE as f32 * 3.0 * wave).min(0.9) * (2.0 * random.unit() - 1.0 - low);
            low * wave
        })
        .collect()
}

/// A jet whose vessel fills: a resonance climbs.
fn pour(random: &mut Random, length: usize, climb: Range) -> Vec<f32> {
    let (from, climb) = (random.octaves((250.0, 1_200.0)), random.between(climb));
    let (q, splash) = (random.octaves((2.0, 12.0)), random.between((0.1, 0.8)));
    let (gate, from_air) = (random.curve(length, 12.0, (0.2, 1.0)), random.octaves((1_500.0, 5_000.0)));
    let (mut first, mut second, mut air) = (Biquad::default(), Biquad::default(), Biquad::high(from_air, 0.7));
    (0..length)
        .map(|at| {
            if at % 64 == 0 {
                let hz = from * (climb * at as f32 / length as f32).exp2();
                first.tune(hz, q);
                second.tune(2.9 * hz, q);
            }
            let x = gate[at] * (2.0 * random.unit() - 1.0);
            first.step(x) + 0.6 * second.step(x) + 0.3 * splash * air.step(x)
        })
        .collect()
}

/// A rush of water that swells, gurgles and dies away.
fn flush(random: &mut Random, length: usize) -> Vec<f32> {
    let mut sound = flow(
        random,
        length,
        &Flow { centre: (300.0, 1_200.0), bands: 3, turns: (4.0, 15.0), calm: (0.3, 0.8), air: (0.05, 0.4), ..FLOW },
    );
    let (rise, fall) = (random.octaves((0.1, 0.7)), random.octaves((1.0, 5.0)));
    pluck(&mut sound, rise, fall);
    sound
}

/// An explosion: a shock, then dark noise that rolls off in several echoes.
fn blast(random: &mut Random, length: usize, cut: Range, decay: Range, echoes: usize, rhythm: Rhythm) -> Vec<f32> {
    let (cut, decay) = (random.octaves(cut), random.octaves(decay));
    let (shock, boom) = (random.between((0.0, 1.0)), random.octaves((35.0, 90.0)));
    place(random, length, rhythm, |random| {
        let mut sound = vec![0.0; samples(1.2 * decay).min(length)];
        for number in 0..1 + random.below(echoes + 1) {
            let mut roll = random.noise(samples(1.1 * decay).min(length));
            darken(&mut roll, cut / (1.0 + 0.5 * number as f32));
            level(&mut roll, 0.4);
            pluck(&mut roll, random.octaves((0.002, 0.05)) * (1.0 + number as f32), random.near(decay, 0.4));
            let late = if number == 0 { 0.0 } else { random.unit() * 0.5 * decay };
            add(&mut sound, samples(late), &roll, random.near(1.0 / (1.0 + 0.3 * number as f32), 0.5));
        }
        let mut crack = random.noise(samples(0.1));
        pluck(&mut crack, 0.0003, 0.08);
        add(&mut sound, 0, &crack, shock);
        mode(&mut sound, 0, boom, random.octaves((0.1, 0.5)), random.unit());
        sound
    })
}

/// Rockets: a hiss or whistle that climbs, a bang, and crackle.
fn rocket(random: &mut Random, length: usize) -> Vec<f32> {
    let mut sound = blast(random, length, (400.0, 3_000.0), (0.2, 0.9), 2, Rhythm::Poisson((1.0, 5.0)));
    if random.chance(0.6) {
        let (from, to) = (random.octaves((800.0, 2_500.0)), random.octaves((0.5, 2.0)));
        let long = samples(random.between((0.4, 1.2))).min(length);
        let mut filter = Biquad::default();
        let hiss: Vec<f32> = (0..long)
            .map(|at| {
                if at % 32 == 0 {
                    filter.tune(from * to.powf(at as f32 / long as f32), 15.0);
                }
                filter.step(2.0 * random.unit() - 1.0)
            })
            .collect();
        let at = random.below(length / 3);
        add(&mut sound, at, &hiss, random.between((0.3, 1.5)));
    }
    let crackle = blast(random, length, (2_000.0, 8_000.0), (0.01, 0.04), 0, Rhythm::Poisson((5.0, 40.0)));
    add(&mut sound, 0, &crackle, random.between((0.0, 0.8)));
    sound
}

/// A puff of noise, as of air let out.
fn puff(random: &mut Random, length: usize, centre: Range, attack: Range, decay: Range, rhythm: Rhythm) -> Vec<f32> {
    let (centre, decay, attack) = (random.octaves(centre), random.octaves(decay), random.octaves(attack));
    let (q, pop) = (random.octaves((0.4, 1.5)), random.between((0.0, 1.0)));
    place(random, length, rhythm, |random| {
        let mut sound = random.noise(samples(1.2 * decay).min(length));
        Biquad::band(random.near(centre, 0.1), q).run(&mut sound);
        pluck(&mut sound, attack, random.near(decay, 0.3));
        mode(&mut sound, 0, random.near(0.3 * centre, 0.3), 0.04, pop);
        sound
    })
}

pub(super) const CLASSES: &[Class] = &[
    ("gale", |r, n| flow(r, n, &FLOW)),
    ("whistling draught", |r, n| {
        flow(r, n, &Flow { centre: (400.0, 1_600.0), width: (8.0, 40.0), sweep: (0.1, 0.7), ..FLOW })
    }),
    ("microphone rumble", |r, n| {
        flow(
            r,
            n,
            &Flow {
                centre: (25.0, 90.0),
                width: (0.4, 1.0),
                turns: (3.0, 12.0),
                calm: (0.0, 0.3),
                air: (0.0, 0.02),
                ..FLOW
            },
        )
    }),
    ("downpour", |r, n| {
        flow(
            r,
            n,
            &Flow {
                centre: (1_000.0, 4_000.0),
                width: (0.3, 0.8),
                turns: (0.2, 0.6),
                sweep: (0.0, 0.3),
                calm: (0.7, 1.0),
                air: (0.2, 1.0),
                ..FLOW
            },
        )
    }),
    ("hiss of steam", |r, n| {
        flow(r, n, &Flow { centre: (3_000.0, 6_000.0), width: (0.5, 2.5), sweep: (0.0, 0.2), calm: (0.5, 1.0), ..FLOW })
    }),
    ("waterfall", |r, n| {
        flow(
            r,
            n,
            &Flow {
                centre: (200.0, 900.0),
                width: (0.2, 0.5),
                turns: (2.0, 8.0),
                sweep: (0.1, 0.4),
                calm: (0.6, 0.9),
                air: (0.1, 0.4),
                ..FLOW
            },
        )
    }),
    ("surf", surf),
    ("filling a bottle", |r, n| pour(r, n, (0.5, 2.0))),
    ("tap", |r, n| pour(r, n, (-0.1, 0.1))),
    ("flush", flush),
    ("distant thunder", |r, n| blast(r, n, (60.0, 250.0), (1.5, 5.0), 5, Rhythm::Once)),
    ("thunderclap", |r, n| blast(r, n, (400.0, 2_500.0), (1.0, 3.5), 4, Rhythm::Once)),
    ("gunshot", |r, n| blast(r, n, (1_500.0, 6_000.0), (0.1, 0.6), 1, Rhythm::Groups(4, (0.1, 0.5), (0.4, 1.5)))),
    ("firecrackers", rocket),
    ("opening a can", |r, n| {
        puff(r, n, (2_000.0, 5_500.0), (0.001, 0.03), (0.15, 0.9), Rhythm::Groups(1, (0.2, 0.5), (0.8, 2.0)))
    }),
    ("air brake", |r, n| puff(r, n, (1_500.0, 5_000.0), (0.02, 0.2), (0.6, 2.0), Rhythm::Once)),
];
