//! Where a sound is heard: how far away, in which room, through which microphone, over which other sounds.

use super::dice::Dice;
use super::dsp::{Filter, RATE, SAMPLES, level, mix, noise, rms, room, sample, tilted};
use super::{CLASSES, Take};
use std::f32::consts::TAU;

/// The place of one source; all its takes are heard in it.
pub(super) struct Scene {
    /// 0 near, 1 far.
    distance: f32,
    echo: f32,
    /// What the microphone passes, in hertz.
    passed: (f32, f32),
    /// The lead of the sound over the background, in decibels.
    lead: f32,
    background: Background,
}

enum Background {
    /// Noise that falls by so many decibels an octave.
    Air(f32),
    /// Noise around a frequency.
    Band(f32),
    /// Mains hum of so many hertz, with overtones.
    Hum(f32),
    /// Another of the classes, further away.
    Other(Take),
}

impl Scene {
    /// Draws a place for a sound of class `class`.
    pub(super) fn draw(source: &mut Dice, class: usize) -> Scene {
        let distance = source.unit();
        Scene {
            distance,
            echo: source.octaves(0.15, 2.5),
            passed: (source.octaves(30.0, 90.0), source.octaves(6_000.0, 7_900.0)),
            lead: source.between(8.0, 40.0) - 6.0 * distance,
            background: match source.below(8) {
                0..=3 => Background::Air(source.between(2.0, 4.0)),
                4 => Background::Band(source.octaves(150.0, 5_000.0)),
                5 => Background::Hum(if source.chance(0.5) { 50.0 } else { 60.0 }),
                _ => {
                    let other = (class + 1 + source.below(CLASSES.len() - 1)) % CLASSES.len();
                    Background::Other((CLASSES[other].1)(source))
                }
            },
        }
    }

    /// Puts a take in its place and cuts it as a collector of clips would: `sound` as long as a clip, in and out.
    pub(super) fn hear(&self, dice: &mut Dice, mut sound: Vec<f32>) -> Vec<f32> {
        room(dice, &mut sound, self.echo, 0.03 + 0.4 * self.distance);
        Filter::low(7_800.0 * 0.35f32.powf(self.distance), 0.7).run(&mut sound);
        let loudness = loudest(&sound);
        let mut behind = self.background(dice);
        level(&mut behind, loudness * 10f32.powf(-self.lead / 20.0));
        mix(&mut sound, 0, &behind, 1.0);
        Filter::high(self.passed.0, 0.7).run(&mut sound);
        Filter::low(self.passed.1, 0.7).run(&mut sound);
        if dice.chance(0.2) {
            cut(dice, &mut sound);
        }
        let peak = sound.iter().fold(1e-9f32, |peak, x| peak.max(x.abs()));
        let gain = dice.octaves(0.2, 0.98) / peak;
        sound.iter_mut().for_each(|x| *x *= gain);
        sound
    }

    fn background(&self, dice: &mut Dice) -> Vec<f32> {
        match &self.background {
            Background::Air(slope) => tilted(dice, SAMPLES, *slope),
            Background::Band(hz) => {
                let mut band = noise(dice, SAMPLES);
                Filter::band(*hz, 0.7).run(&mut band);
                band
            }
            Background::Hum(hz) => {
                let hum =
                    |at: usize| (1..8).map(|k| (TAU * hz * k as f32 * at as f32 / RATE).sin() / k as f32).sum::<f32>();
                let mut air = tilted(dice, SAMPLES, 3.0);
                air.iter_mut().enumerate().for_each(|(at, x)| *x = 0.5 * *x + hum(at));
                air
            }
            Background::Other(take) => {
                let mut other = take(dice);
                room(dice, &mut other, 1.0, 0.6);
                Filter::low(3_000.0, 0.7).run(&mut other);
                let quiet = loudest(&other) * 0.1;
                mix(&mut other, 0, &tilted(dice, SAMPLES, 3.0), quiet);
                other
            }
        }
    }
}

/// The root mean square of the loudest quarter of a second: what stands out is heard, however rare it is.
fn loudest(sound: &[f32]) -> f32 {
    sound.chunks(sample(0.25)).map(rms).fold(0.0, f32::max)
}

/// Leaves one to four seconds around the loudest moment and pads with digital silence, as short recordings are padded
/// in ESC-50.
fn cut(dice: &mut Dice, sound: &mut Vec<f32>) {
    let moment = sample(0.25);
    let powers = sound.chunks(moment).map(rms).enumerate();
    let peak = powers.max_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(chunk, _)| chunk * moment);
    let kept = sample(dice.between(1.0, 4.0));
    let (first, last) = ((peak + moment).saturating_sub(kept), peak.min(SAMPLES - kept));
    sound.drain(..first + dice.below(last - first + 1));
    sound.truncate(kept);
    let fade = sample(0.005);
    for k in 0..fade {
        let gain = k as f32 / fade as f32;
        sound[k] *= gain;
        sound[kept - 1 - k] *= gain;
    }
    sound.resize(SAMPLES, 0.0);
}
