//! What the sounds promise: the same for a seed, well-formed, and classes that differ.

use super::{RATE, classes, name, render};

/// Log energies in bands, mean and deviation over time: enough to tell most classes apart.
fn statistics(sound: &[f32]) -> Vec<f32> {
    const BANDS: usize = 16;
    let mut frames = Vec::new();
    let mut filters: Vec<super::blocks::Biquad> =
        (0..BANDS).map(|k| super::blocks::Biquad::band(80.0 * 1.35f32.powi(k as i32), 3.0)).collect();
    for frame in sound.chunks(RATE as usize / 50) {
        let powers = filters.iter_mut().map(|filter| {
            let power: f32 = frame.iter().map(|x| filter.step(*x).powi(2)).sum();
            (power / frame.len() as f32 + 1e-8).ln()
        });
        frames.push(powers.collect::<Vec<f32>>());
    }
    let count = frames.len() as f32;
    let mean: Vec<f32> = (0..BANDS).map(|k| frames.iter().map(|f| f[k]).sum::<f32>() / count).collect();
    let deviation: Vec<f32> =
        (0..BANDS).map(|k| (frames.iter().map(|f| (f[k] - mean[k]).powi(2)).sum::<f32>() / count).sqrt()).collect();
    let level = mean.iter().sum::<f32>() / BANDS as f32;
    mean.iter().map(|x| x - level).chain(deviation).collect()
}

#[test]
fn a_seed_gives_the_same_sound_and_another_seed_another() {
    for class in 0..classes() {
        let sound = render(class, 5, 8_000);
        assert_eq!(sound, render(class, 5, 8_000), "{}", name(class));
        assert_ne!(sound, render(class, 6, 8_000), "{}", name(class));
    }
}

#[test]
fn sounds_are_finite_within_one_and_not_silent() {
    for class in 0..classes() {
        for (seed, samples) in [(0, 1_600), (1, 16_000), (2, 32_000), (3, 4_001), (4, 1), (5, 0)] {
            let sound = render(class, seed, samples);
            assert_eq!(sound.len(), samples);
            assert!(sound.iter().all(|x| x.abs() <= 1.0), "{} {seed}", name(class));
            assert!(samples == 0 || sound.iter().any(|x| *x != 0.0), "{} {seed}", name(class));
        }
    }
}

#[test]
fn names_differ() {
    let names: std::collections::BTreeSet<String> = (0..classes()).map(name).collect();
    assert_eq!(names.len(), classes());
}

#[test]
fn coarse_statistics_tell_classes_apart() {
    let of = |class: usize, seeds: std::ops::Range<u64>| -> Vec<Vec<f32>> {
        seeds.map(|seed| statistics(&render(class, seed, 32_000))).collect()
    };
    let centre = |all: Vec<Vec<f32>>| -> Vec<f32> {
        (0..all[0].len()).map(|k| all.iter().map(|one| one[k]).sum::<f32>() / all.len() as f32).collect()
    };
    let centres: Vec<Vec<f32>> = (0..classes()).map(|class| centre(of(class, 0..8))).collect();
    let away = |a: &[f32], b: &[f32]| std::iter::zip(a, b).map(|(x, y)| (x - y).powi(2)).sum::<f32>();
    let (mut right, mut all) = (0, 0);
    for class in 0..classes() {
        for one in of(class, 8..12) {
            let nearest = (0..classes()).min_by(|a, b| away(&one, &centres[*a]).total_cmp(&away(&one, &centres[*b])));
            right += usize::from(nearest == Some(class));
            all += 1;
        }
    }
    let (accuracy, chance) = (right as f32 / all as f32, 1.0 / classes() as f32);
    println!("nearest centre right for {accuracy:.3} of {} classes; chance is {chance:.3}", classes());
    assert!(accuracy > 10.0 * chance, "{accuracy}");
}
