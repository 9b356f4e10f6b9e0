//! What a recording does to a sound: company, room, distance, microphone, level, cuts, coarse numbers.

use super::blocks::{Biquad, RATE, Random, add, darken, level, rms, samples};

/// Degrades a sound of a class at random; `other` renders a sound of another class.
pub(super) fn record(random: &mut Random, sound: &mut [f32], other: impl FnOnce(&mut Random) -> Vec<f32>) {
    level(sound, 0.1);
    if random.chance(0.4) {
        reverberate(random, sound);
    }
    if random.chance(0.2) {
        // far away
        darken(sound, random.octaves((1_200.0, 6_000.0)));
        level(sound, 0.1);
    }
    if random.chance(0.15) {
        let mut company = other(random);
        level(&mut company, 0.1);
        add(sound, 0, &company, 10f32.powf(-random.between((8.0, 24.0)) / 20.0));
    }
    if random.chance(0.7) {
        let background = random.octaves((100.0, 8_000.0));
        let mut noise = random.dark_noise(sound.len(), background);
        level(&mut noise, 0.1);
        add(sound, 0, &noise, 10f32.powf(-random.between((15.0, 60.0)) / 20.0));
    }
    for _ in 0..random.below(3) {
        Biquad::peak(random.octaves((80.0, 6_000.0)), random.octaves((0.4, 1.5)), random.between((-8.0, 8.0)))
            .run(sound);
    }
    if random.chance(0.25) {
        Biquad::low(random.octaves((2_500.0, 7_000.0)), 0.7).run(sound);
    }
    if random.chance(0.3) {
        Biquad::high(random.octaves((40.0, 250.0)), 0.7).run(sound);
    }
    let peak = sound.iter().fold(1e-9f32, |peak, x| peak.max(x.abs()));
    // most are peaks of half to full scale; some overdrive, some are quiet
    let gain = random.octaves((0.03, 1.0)).max(random.octaves((0.03, 1.0))) / peak;
    if random.chance(0.1) {
        let drive = gain * random.between((1.0, 4.0));
        sound
            .iter_mut()
            .for_each(|x| *x = (drive * *x).clamp(-1.5, 1.5) * (1.0 - (drive * *x).clamp(-1.5, 1.5).powi(2) / 6.75));
    } else {
        sound.iter_mut().for_each(|x| *x *= gain);
    }
    if random.chance(0.1) {
        sound.iter_mut().for_each(|x| *x = (*x * 127.0).round() / 127.0);
    }
    if random.chance(0.2) {
        silence(random, sound);
    }
    sound.iter_mut().for_each(|x| *x = if x.is_finite() { x.clamp(-1.0, 1.0) } else { 0.0 });
    if rms(sound) < 1e-5 {
        // an event that fell beyond the end: its recording holds the background alone
        sound.iter_mut().for_each(|x| *x += 1e-3 * (random.unit() - 0.5));
    }
}

/// Digital silence as clips that were too short are padded with: as a rule at the end, and never over the loudest part.
fn silence(random: &mut Random, sound: &mut [f32]) {
    let length = sound.len();
    let block = (length / 32).max(1);
    let loud: Vec<f32> = sound.chunks(block).map(rms).collect();
    let most = loud.iter().fold(0f32, |most, x| most.max(*x));
    let last = loud.iter().rposition(|x| *x > 0.3 * most).map_or(length, |at| (at + 1) * block).min(length);
    let first = loud.iter().position(|x| *x > 0.3 * most).unwrap_or(0) * block;
    if random.chance(0.8) {
        let from = last + random.below(length - last + 1);
        sound[from..].fill(0.0);
    } else {
        let to = random.below(first + 1);
        sound[..to].fill(0.0);
    }
}

/// A room: a feedback delay network of four lines mixed by a Householder reflection (Jot 1991), each line damped.
fn reverberate(random: &mut Random, sound: &mut [f32]) {
    let (decay, wet) = (random.octaves((0.15, 1.8)), random.between((0.05, 0.5)));
    let (size, damp) = (random.octaves((0.4, 1.6)), random.between((0.2, 0.8)));
    let mut lines: [Vec<f32>; 4] =
        [0.0297, 0.0371, 0.0411, 0.0437].map(|delay: f32| vec![0.0; samples(random.near(delay * size, 0.1)).max(8)]);
    let keep: [f32; 4] = std::array::from_fn(|k| 10f32.powf(-3.0 * lines[k].len() as f32 / RATE / decay));
    let (mut at, mut low) = ([0usize; 4], [0f32; 4]);
    for x in sound {
        let mut out = [0f32; 4];
        for k in 0..4 {
            low[k] += damp * (lines[k][at[k]] - low[k]);
            out[k] = keep[k] * low[k];
        }
        let sum = out.iter().sum::<f32>();
        for k in 0..4 {
            lines[k][at[k]] = *x + out[k] - 0.5 * sum;
            at[k] = if at[k] + 1 == lines[k].len() { 0 } else { at[k] + 1 };
        }
        *x = (1.0 - wet) * *x + wet * (out[0] - out[1] + out[2] - out[3]);
    }
}
