//! Voices: a glottal source whose pitch moves, breath and roughness, through three formants that move.

use super::blocks::{Biquad, Phase, Random, Range, add, level, samples, swell};
use super::place::{Rhythm, place};

/// A box of utterances. Pitch starts at `start`, passes 1 and ends at `end` times `pitch`.
#[derive(Clone, Copy)]
pub(super) struct Voice {
    pub(super) pitch: Range,
    pub(super) start: Range,
    pub(super) end: Range,
    /// Vibrato: share of the pitch, and its rate.
    pub(super) vibrato: (Range, Range),
    /// Length of an utterance in seconds.
    pub(super) length: Range,
    /// First formant; the others follow from `tract`.
    pub(super) formant: Range,
    /// Factor of the first formant over the utterance: the mouth opens or closes.
    pub(super) opening: Range,
    /// Second formant over the first.
    pub(super) tract: Range,
    /// Share of noise in the source.
    pub(super) breath: Range,
    /// Amplitude and pitch irregular from period to period.
    pub(super) rough: Range,
    /// Tremolo depth, at the vibrato's rate.
    pub(super) tremolo: Range,
    pub(super) attack: Range,
    pub(super) rhythm: Rhythm,
}

/// A middling call, for boxes to differ from.
pub(super) const CALL: Voice = Voice {
    pitch: (200.0, 500.0),
    start: (0.7, 1.1),
    end: (0.5, 1.0),
    vibrato: ((0.0, 0.03), (4.0, 9.0)),
    length: (0.3, 0.9),
    formant: (500.0, 1_100.0),
    opening: (0.7, 1.6),
    tract: (1.8, 3.5),
    breath: (0.02, 0.25),
    rough: (0.0, 0.2),
    tremolo: (0.0, 0.1),
    attack: (0.05, 0.3),
    rhythm: Rhythm::Groups(2, (0.8, 1.5), (0.5, 1.5)),
};

/// One sound of a box: one individual that calls again and again.
pub(super) fn call(random: &mut Random, length: usize, voice: &Voice) -> Vec<f32> {
    let mut one = |range: Range| {
        let value = random.octaves((range.0.max(1e-4), range.1.max(2e-4)));
        (value * 0.93, value * 1.07)
    };
    let own = Voice {
        pitch: one(voice.pitch),
        start: one(voice.start),
        end: one(voice.end),
        vibrato: (one(voice.vibrato.0), one(voice.vibrato.1)),
        length: one(voice.length),
        formant: one(voice.formant),
        opening: one(voice.opening),
        tract: one(voice.tract),
        breath: one(voice.breath),
        rough: one(voice.rough),
        tremolo: one(voice.tremolo),
        attack: one(voice.attack),
        rhythm: voice.rhythm,
    };
    place(random, length, voice.rhythm, |random| utter(random, &own))
}

fn utter(random: &mut Random, voice: &Voice) -> Vec<f32> {
    let length = samples(random.octaves(voice.length)).max(64);
    let (pitch, start, end) = (random.octaves(voice.pitch), random.between(voice.start), random.between(voice.end));
    let (depth, rate) = (random.between(voice.vibrato.0), random.between(voice.vibrato.1));
    let (breath, rough) = (random.between(voice.breath), random.between(voice.rough));
    let (tremolo, tract) = (random.between(voice.tremolo), random.between(voice.tract));
    let (formant, opening) = (random.octaves(voice.formant), random.between(voice.opening));
    let peak = random.between((0.2, 0.6));
    let tilt = random.between((0.25, 0.7));
    let (mut phase, mut slow) = (Phase(0.0), Phase(random.unit()));
    let mut filters: [Biquad; 3] = Default::default();
    let gains = [1.0, random.between((0.3, 0.9)), random.between((0.1, 0.5))];
    let (mut smooth, mut jolt, mut loud, mut hz) = (0.0, 1.0, 1.0, pitch);
    let mut before = 0.0;
    let mut sound: Vec<f32> = (0..length)
        .map(|at| {
            let part = at as f32 / length as f32;
            if at % 64 == 0 {
                let mouth = formant * (1.0 + (opening - 1.0) * part);
                for (filter, factor) in std::iter::zip(&mut filters, [1.0, tract, tract * 1.7]) {
                    filter.tune(mouth * factor, 4.0 + 2.0 * factor);
                }
                let bend = if part < peak {
                    start + (1.0 - start) * part / peak
                } else {
                    1.0 + (end - 1.0) * (part - peak) / (1.0 - peak)
                };
                hz = pitch * bend;
            }
            let wave = slow.sine(rate);
            let saw = phase.saw(hz * jolt * (1.0 + depth * wave));
            if phase.0 < before {
                jolt = random.near(1.0, 0.3 * rough);
                loud = 1.0 - 0.9 * rough * random.unit();
            }
            before = phase.0;
            smooth += tilt * (saw * loud - smooth);
            let air = random.unit() - 0.5;
            let source = (smooth * (1.0 - breath) + 1.5 * breath * air) * (1.0 - tremolo * (0.5 + 0.5 * wave));
            std::iter::zip(&mut filters, gains).map(|(filter, gain)| gain * filter.step(source)).sum::<f32>()
                + 0.08 * source
        })
        .collect();
    swell(&mut sound, random.between(voice.attack), random.between((0.15, 0.5)));
    sound
}

/// Several voices at once.
pub(super) fn crowd(random: &mut Random, length: usize, voice: &Voice, voices: usize) -> Vec<f32> {
    let mut sound = vec![0.0; length];
    for _ in 0..1 + voices / 2 + random.below(voices / 2 + 1) {
        let mut other = call(random, length, voice);
        level(&mut other, 0.1);
        add(&mut sound, 0, &other, random.between((0.3, 1.0)));
    }
    sound
}

/// A phrase of several notes, each with its own pitch and length.
pub(super) fn phrase(random: &mut Random, length: usize, voice: &Voice, notes: &[(f32, f32)]) -> Vec<f32> {
    let (pitch, formant, pace) =
        (random.octaves(voice.pitch), random.octaves(voice.formant), random.between((0.7, 1.4)));
    let (breath, rough) = (random.between(voice.breath), random.between(voice.rough));
    place(random, length, voice.rhythm, |random| {
        let mut whole = Vec::new();
        for (ratio, seconds) in notes {
            let (hz, long) = (pitch * ratio, seconds * pace);
            let note = Voice {
                pitch: (hz, hz * 1.05),
                length: (long * 0.9, long * 1.1),
                formant: (formant, formant * 1.1),
                breath: (breath, breath),
                rough: (rough, rough),
                ..*voice
            };
            whole.extend(utter(random, &note));
            whole.resize(whole.len() + samples(random.between((0.0, 0.06))), 0.0);
        }
        whole
    })
}
