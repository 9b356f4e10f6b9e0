//! Sounds that are rows of events: birds, a dog, a clock, footsteps, bells.

use super::Take;
use super::dice::Dice;
use super::dsp::{Filter, RATE, SAMPLES, mix, noise, pluck, ring, sample, wander};
use std::f32::consts::TAU;

/// Phrases of short whistles that glide up, down or tremble.
pub(super) fn chirping_birds(source: &mut Dice) -> Take {
    let (pitch, glide) = (source.octaves(1_500.0, 5_500.0), source.between(-0.5, 0.5));
    let (note, pause) = (source.octaves(0.03, 0.25), source.octaves(0.3, 2.0));
    let (notes, gap) = (1 + source.below(8), source.octaves(0.02, 0.15));
    let (tremble, tremor) = (source.between(0.0, 0.12), source.octaves(15.0, 60.0));
    Box::new(move |dice| {
        let mut sound = vec![0f32; SAMPLES];
        let mut time = dice.between(0.0, 0.6);
        while time < 5.0 {
            let strength = dice.between(0.4, 1.0);
            for _ in 0..1 + dice.below(notes) + notes / 2 {
                let length = dice.about(note, 0.3);
                let chirp = whistle(length, dice.about(pitch, 0.08), dice.about(glide, 0.3), tremble, tremor);
                mix(&mut sound, sample(time), &chirp, dice.about(strength, 0.3));
                time += length + dice.about(gap, 0.3);
            }
            time += dice.about(pause, 0.6);
        }
        sound
    })
}

fn whistle(length: f32, pitch: f32, glide: f32, tremble: f32, tremor: f32) -> Vec<f32> {
    let mut phase = 0f32;
    (0..sample(length))
        .map(|at| {
            let (time, part) = (at as f32 / RATE, at as f32 / (length * RATE));
            let hz = pitch * (1.0 + glide * (part - 0.5) + tremble * (TAU * tremor * time).sin());
            phase = (phase + hz.min(7_500.0) / RATE).fract();
            (TAU * phase).sin() * (std::f32::consts::PI * part).sin()
        })
        .collect()
}

/// Barks: a voice that drops in pitch, through two formants, with breath.
pub(super) fn dog(source: &mut Dice) -> Take {
    let (voice, fall) = (source.octaves(160.0, 650.0), source.between(0.15, 0.5));
    let formants = [source.octaves(450.0, 1_100.0), source.octaves(1_200.0, 2_800.0)];
    let (bark, breath) = (source.octaves(0.08, 0.3), source.between(0.1, 0.7));
    let (burst, pause, again) = (1 + source.below(4), source.between(0.4, 2.2), source.between(0.05, 0.25));
    Box::new(move |dice| {
        let mut sound = vec![0f32; SAMPLES];
        let mut time = dice.between(0.0, 0.8);
        while time < 5.0 {
            for _ in 0..1 + dice.below(burst) {
                let length = dice.about(bark, 0.25);
                let throat = throat(dice, length, voice, fall, breath);
                for (formant, gain) in std::iter::zip(formants, [1.0, 0.6]) {
                    let mut part = throat.clone();
                    Filter::band(dice.about(formant, 0.06), 3.0).run(&mut part);
                    mix(&mut sound, sample(time), &part, gain);
                }
                time += length + dice.about(again, 0.4);
            }
            time += dice.about(pause, 0.5);
        }
        sound
    })
}

/// A buzzing source with breath, louder and higher at the start.
fn throat(dice: &mut Dice, length: f32, voice: f32, fall: f32, breath: f32) -> Vec<f32> {
    let (pitch, mut phase, mut sound) = (dice.about(voice, 0.1), 0f32, noise(dice, sample(length)));
    for (at, x) in sound.iter_mut().enumerate() {
        let part = at as f32 / (length * RATE);
        phase = (phase + pitch * (1.0 - fall * part) / RATE).fract();
        let open = (std::f32::consts::PI * part).sin().max(0.0).sqrt();
        *x = open * ((1.0 - 2.0 * phase) + breath * 0.5 * *x);
    }
    sound
}

/// Clicks in strict time, every other one a little different.
pub(super) fn clock_tick(source: &mut Dice) -> Take {
    let (rate, uneven) = (source.octaves(1.0, 5.5), source.between(0.0, 0.12));
    let modes: [(f32, f32, f32); 4] = std::array::from_fn(|_| {
        (source.octaves(700.0, 6_500.0), source.octaves(0.006, 0.07), source.between(0.2, 1.0))
    });
    let (tock, body, thud) = (source.between(0.75, 1.25), source.octaves(150.0, 600.0), source.between(0.0, 0.8));
    Box::new(move |dice| {
        let mut sound = vec![0f32; SAMPLES];
        let (mut time, mut beat) = (dice.between(0.0, 1.0 / rate), 0u32);
        while time < 5.0 {
            let (at, odd) = (sample(time), beat % 2 == 1);
            for (hz, decay, gain) in modes {
                ring(&mut sound, at, if odd { hz * tock } else { hz }, decay, dice.about(gain, 0.15));
            }
            ring(&mut sound, at, body, 0.05, thud);
            time += (1.0 + if odd { uneven } else { -uneven }) / rate;
            beat += 1;
        }
        sound
    })
}

/// A heel and a toe on wood, gravel or snow, in the time of a walk.
pub(super) fn footsteps(source: &mut Dice) -> Take {
    let (pace, limp, toe) = (source.between(1.3, 3.0), source.between(0.0, 0.08), source.between(0.06, 0.16));
    let (ground, loose) = (source.octaves(150.0, 2_500.0), source.between(0.0, 1.0));
    let (hollow, ringing, shoe) = (source.octaves(70.0, 350.0), source.octaves(0.03, 0.15), source.octaves(0.03, 0.2));
    Box::new(move |dice| {
        let mut sound = vec![0f32; SAMPLES];
        let (mut time, mut left) = (dice.between(0.0, 0.7), false);
        while time < 5.0 {
            let weight = dice.between(0.6, 1.2);
            for (delay, force) in [(0.0, weight), (dice.about(toe, 0.2), 0.5 * weight)] {
                let at = sample(time + delay);
                ring(&mut sound, at, dice.about(hollow, 0.1), ringing, force * (1.0 - 0.7 * loose));
                let mut scrape = noise(dice, sample(shoe * (0.5 + loose)));
                Filter::band(dice.about(ground, 0.2), 0.8).run(&mut scrape);
                let crunch = wander(dice, scrape.len(), 20.0 + 150.0 * loose);
                scrape.iter_mut().zip(crunch).for_each(|(x, grain)| *x *= 1.0 - loose + 2.0 * loose * grain * grain);
                pluck(&mut scrape, 0.002 + 0.02 * loose, shoe * (0.5 + loose));
                mix(&mut sound, at, &scrape, force * (0.3 + loose));
            }
            time += dice.about(1.0 / pace, 0.04) * (1.0 + if left { limp } else { -limp });
            left = !left;
        }
        sound
    })
}

/// Strikes of one to three bells: partials near those of a tuned bell (hum, prime, tierce, quint, nominal and above).
pub(super) fn church_bells(source: &mut Dice) -> Take {
    const PARTIALS: [(f32, f32); 8] =
        [(0.5, 1.0), (1.0, 0.7), (1.19, 0.6), (1.5, 0.35), (2.0, 0.8), (2.51, 0.4), (3.0, 0.3), (4.1, 0.25)];
    let bells: Vec<f32> = (0..1 + source.below(3)).map(|_| source.octaves(180.0, 1_100.0)).collect();
    let (rate, decay, bright) = (source.octaves(0.3, 2.5), source.octaves(0.8, 6.0), source.between(-0.6, 0.6));
    let tuning: Vec<f32> = PARTIALS.iter().map(|&(ratio, _)| source.about(ratio, 0.02)).collect();
    Box::new(move |dice| {
        let mut sound = vec![0f32; SAMPLES];
        let mut time = dice.between(0.0, 0.5);
        while time < 5.0 {
            let (bell, force) = (bells[dice.below(bells.len())], dice.between(0.6, 1.0));
            for (&ratio, (_, gain)) in std::iter::zip(&tuning, PARTIALS) {
                let gain = force * gain * ratio.powf(bright);
                ring(&mut sound, sample(time), bell * ratio, decay / ratio.sqrt(), gain);
                // the second of the pair that every partial of a cast bell is: they beat
                ring(&mut sound, sample(time), bell * ratio * 1.003, decay / ratio.sqrt(), 0.4 * gain);
            }
            let mut clapper = noise(dice, sample(0.02));
            pluck(&mut clapper, 0.0005, 0.02);
            mix(&mut sound, sample(time), &clapper, 0.4 * force);
            time += dice.about(1.0 / rate, 0.15);
        }
        sound
    })
}
