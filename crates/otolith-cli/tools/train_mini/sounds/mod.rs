//! Sounds to train on, all synthesised: classes are families of generators with boxes of parameters.
//!
//! A sound draws its parameters within its class's box, is rendered from a model of the physics (source and filter,
//! struck modes, grains, filtered flows, rotors), and is then recorded at random: room, distance, company, noise,
//! microphone, level, padding. No recording is used. The generators are not those of the comparison set that the
//! program makes for itself (`otolith_cli::esc50::procedural`), so that set stays unseen.

mod blocks;
mod breath;
mod calls;
mod creatures;
mod flow;
mod grains;
mod motors;
mod place;
mod scene;
mod struck;
#[cfg(test)]
mod tests;
mod tones;
mod voice;

use blocks::Random;

/// Samples a second.
pub(crate) const RATE: u32 = 16_000;

/// A class: its name, and what renders a sound of so many samples.
type Class = (&'static str, fn(&mut Random, usize) -> Vec<f32>);

const FAMILIES: [&[Class]; 8] = [
    calls::CLASSES,
    creatures::CLASSES,
    breath::CLASSES,
    struck::CLASSES,
    grains::CLASSES,
    flow::CLASSES,
    motors::CLASSES,
    tones::CLASSES,
];

fn find(class: usize) -> Class {
    let mut rest = class % classes();
    for family in FAMILIES {
        match family.get(rest) {
            Some(found) => return *found,
            None => rest -= family.len(),
        }
    }
    FAMILIES[0][0]
}

/// Number of classes.
pub(crate) fn classes() -> usize {
    FAMILIES.iter().map(|family| family.len()).sum()
}

/// The name of a class, in words joined by hyphens.
pub(crate) fn name(class: usize) -> String {
    find(class).0.replace(' ', "-")
}

/// A sound of a class, recorded at random; the same for the same seed. Finite, at most 1 in size, not all zero.
pub(crate) fn render(class: usize, seed: u64, samples: usize) -> Vec<f32> {
    let mut random = Random::new(seed, class as u64);
    let mut sound = find(class).1(&mut random, samples);
    sound.resize(samples, 0.0);
    scene::record(&mut random, &mut sound, |random| {
        let mut other = find(random.below(classes())).1(random, samples);
        other.resize(samples, 0.0);
        other
    });
    sound
}
