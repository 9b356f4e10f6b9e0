//! When events happen: once, in a rhythm, by chance, in groups.

use super::blocks::{Random, Range, add, samples};

/// How events follow each other.
#[derive(Clone, Copy)]
pub(super) enum Rhythm {
    /// One event, somewhere in the first half.
    Once,
    /// So many a second, each late or early by a share of the interval.
    Regular(Range, f32),
    /// So many a second by chance.
    Poisson(Range),
    /// Groups of up to so many events, their interval in seconds, and the pause between groups.
    Groups(usize, Range, Range),
}

/// Where events start (samples) and how loud they are.
pub(super) fn times(random: &mut Random, length: usize, rhythm: Rhythm) -> Vec<(usize, f32)> {
    let seconds = length as f32 / super::RATE as f32;
    let mut found = Vec::new();
    let mut push = |time: f32, gain: f32| found.push((samples(time.max(0.0)), gain));
    match rhythm {
        Rhythm::Once => push(random.unit() * 0.5 * seconds, 1.0),
        Rhythm::Regular(rate, jitter) => {
            let interval = 1.0 / random.octaves(rate);
            let uneven = random.between((0.0, 0.4));
            let mut time = interval.min(seconds) * random.unit() * 0.9;
            while time < seconds {
                push(time + interval * random.between((-jitter, jitter)), 1.0 - uneven * random.unit());
                time += interval;
            }
        }
        Rhythm::Poisson(rate) => {
            let rate = random.octaves(rate);
            let mut time = random.unit().min(0.3 * seconds);
            while time < seconds {
                push(time, 0.1 + 0.9 * random.unit().powi(2));
                time += -(1.0 - random.unit()).ln() / rate;
            }
        }
        Rhythm::Groups(most, interval, pause) => {
            let (interval, pause, most) = (random.octaves(interval), random.octaves(pause), 1 + random.below(most));
            let mut time = random.unit() * 0.4 * pause.min(seconds);
            while time < seconds {
                let loud = random.between((0.5, 1.0));
                for _ in 0..1 + most / 2 + random.below(1 + most / 2) {
                    push(time, random.near(loud, 0.25));
                    time += random.near(interval, 0.15);
                }
                time += random.near(pause, 0.5);
            }
        }
    }
    found
}

/// Lays out events, each rendered anew.
pub(super) fn place(
    random: &mut Random,
    length: usize,
    rhythm: Rhythm,
    mut event: impl FnMut(&mut Random) -> Vec<f32>,
) -> Vec<f32> {
    let mut sound = vec![0.0; length];
    for (at, gain) in times(random, length, rhythm) {
        if at < length {
            add(&mut sound, at, &event(random), gain);
        }
    }
    sound
}
