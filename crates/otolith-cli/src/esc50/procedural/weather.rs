//! Sounds without events: rain, wind, sea waves, an engine.

use super::Take;
use super::dice::Dice;
use super::dsp::{Filter, RATE, SAMPLES, level, mix, noise, ring, sample, tilted, wander};
use std::f32::consts::TAU;

/// A hiss of far drops, and near ones as short rings, more or less of each.
pub(super) fn rain(source: &mut Dice) -> Take {
    let (slope, low, hiss) = (source.between(-1.0, 3.0), source.octaves(150.0, 1_200.0), source.between(0.2, 1.0));
    let (rate, pitch, drop) =
        (source.octaves(15.0, 400.0), source.octaves(500.0, 3_500.0), source.octaves(0.004, 0.03));
    let (unrest, turns) = (source.between(0.0, 0.6), source.octaves(0.2, 1.5));
    Box::new(move |dice| {
        let mut bed = tilted(dice, SAMPLES, slope);
        Filter::high(low, 0.7).run(&mut bed);
        let swell = wander(dice, SAMPLES, turns);
        level(&mut bed, hiss);
        let mut sound: Vec<f32> = std::iter::zip(bed, swell).map(|(x, swell)| x * (1.0 - unrest * swell)).collect();
        let mut time = dice.wait(rate);
        while time < 5.0 {
            let (hz, decay, gain) = (dice.about(pitch, 0.7), dice.about(drop, 0.5), dice.octaves(0.2, 4.0));
            ring(&mut sound, sample(time), hz, decay, gain);
            time += dice.wait(rate);
        }
        sound
    })
}

/// Noise through a resonance that wanders with the strength of the gusts.
pub(super) fn wind(source: &mut Dice) -> Take {
    let (base, reach, q) = (source.octaves(120.0, 500.0), source.octaves(1.3, 4.0), source.octaves(0.5, 4.0));
    let (gusts, turns, roar) = (source.between(0.3, 0.95), source.octaves(0.3, 1.6), source.between(0.1, 0.8));
    let whistle = if source.chance(0.3) { source.between(0.1, 0.5) } else { 0.0 };
    Box::new(move |dice| {
        let strength = wander(dice, SAMPLES, turns);
        let mut hollow = Filter::band(base, q);
        let mut reed = Filter::band(base, 30.0);
        let mut rumble = tilted(dice, SAMPLES, 6.0);
        Filter::low(300.0, 0.7).run(&mut rumble);
        let mut sound = noise(dice, SAMPLES);
        for (at, x) in sound.iter_mut().enumerate() {
            if at % 64 == 0 {
                let hz = base * reach.powf(strength[at]);
                hollow.retune(Filter::band(hz, q));
                reed.retune(Filter::band(3.1 * hz, 30.0));
            }
            let gust = 1.0 - gusts * (1.0 - strength[at]);
            *x = gust * gust * (hollow.step(*x) + whistle * 4.0 * reed.step(*x)) + roar * gust * 0.3 * rumble[at];
        }
        sound
    })
}

/// Swells of noise that brighten as they break, over a rumble.
pub(super) fn sea_waves(source: &mut Dice) -> Take {
    let (period, depth, tone) = (source.between(2.2, 7.0), source.between(0.6, 1.0), source.octaves(700.0, 5_000.0));
    let (slope, steep, rumble) = (source.between(0.0, 4.0), source.octaves(1.0, 4.0), source.between(0.05, 0.6));
    Box::new(move |dice| {
        let (phase, drift) = (dice.unit(), wander(dice, SAMPLES, 0.4));
        let deep = tilted(dice, SAMPLES, 6.0);
        let mut sound = tilted(dice, SAMPLES, slope);
        let mut surf = Filter::low(tone, 0.7);
        for (at, x) in sound.iter_mut().enumerate() {
            let turn = (at as f32 / RATE / period + phase + 0.3 * drift[at]).fract();
            // a wave rises faster than it runs out
            let swell = if turn < 0.35 { turn / 0.35 } else { (1.0 - turn) / 0.65 };
            let swell = 1.0 - depth * (1.0 - swell.powf(steep));
            if at % 64 == 0 {
                surf.retune(Filter::low(250.0 + tone * swell, 0.7));
            }
            *x = swell * surf.step(*x) + rumble * 0.4 * deep[at];
        }
        sound
    })
}

/// Combustion pulses through an exhaust, with the rattle of the block.
pub(super) fn engine(source: &mut Dice) -> Take {
    let (firing, jitter) = (source.octaves(14.0, 75.0), source.octaves(0.01, 0.12));
    let pipe = [source.octaves(60.0, 160.0), source.octaves(180.0, 500.0), source.octaves(600.0, 2_000.0)];
    let (rattle, tone, lope) = (source.between(0.05, 0.6), source.octaves(400.0, 3_500.0), source.between(0.0, 0.5));
    let cylinders = 1 + source.below(6);
    let uneven: Vec<f32> = (0..cylinders).map(|_| source.between(0.6, 1.4)).collect();
    Box::new(move |dice| {
        let (mut sound, hunting) = (vec![0f32; SAMPLES], wander(dice, SAMPLES, 0.5));
        let mut block = noise(dice, SAMPLES);
        Filter::band(tone, 0.6).run(&mut block);
        let (mut time, mut stroke) = (0.0, 0);
        while time < 5.0 {
            let at = sample(time);
            let force = dice.about(uneven[stroke % cylinders], 0.2);
            for (mode, hz) in pipe.iter().enumerate() {
                ring(&mut sound, at, *hz, 0.06 / (1 + mode) as f32, force / (1 + mode) as f32);
            }
            let knock = &block[at..(at + sample(0.015)).min(SAMPLES)];
            mix(&mut sound, at, knock, rattle * force);
            time += dice.about(1.0 / (firing * (1.0 + 0.15 * (hunting[at] - 0.5) + 0.1 * lope)), jitter);
            stroke += 1;
        }
        mix(&mut sound, 0, &block, 0.15 * rattle);
        sound
    })
}

/// A rising and falling tone (wail, yelp) or two tones in turn, with a horn's overtones.
pub(super) fn siren(source: &mut Dice) -> Take {
    let kind = source.below(3);
    let (low, span) = (source.octaves(350.0, 900.0), source.octaves(1.2, 2.4));
    let cycle = match kind {
        0 => source.octaves(0.15, 0.5),
        1 => source.octaves(1.5, 4.5),
        _ => source.octaves(0.5, 1.3),
    };
    let (overtones, passing, horn) =
        (source.between(0.1, 0.8), source.between(-0.06, 0.06), source.octaves(700.0, 2_500.0));
    Box::new(move |dice| {
        let (offset, flutter) = (dice.unit(), wander(dice, SAMPLES, 3.0));
        let (mut phase, mut body) = (0f32, Filter::band(horn, 0.8));
        (0..SAMPLES)
            .map(|at| {
                let time = at as f32 / RATE;
                let turn = (time * cycle + offset).fract();
                let height = match kind {
                    0 => 0.5 - 0.5 * (TAU * turn).cos(),
                    1 => 1.0 - (2.0 * turn - 1.0).abs(),
                    _ => f32::from(turn < 0.5),
                };
                let hz = low * span.powf(height) * (1.0 + passing * (time / 2.5 - 1.0)) * (0.99 + 0.02 * flutter[at]);
                phase = (phase + hz / RATE).fract();
                let tone: f32 = (1..=5).map(|k| overtones.powi(k - 1) * (TAU * phase * k as f32).sin()).sum();
                0.3 * tone + body.step(tone)
            })
            .collect()
    })
}
