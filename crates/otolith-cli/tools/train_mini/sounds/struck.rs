//! Struck bodies by modal synthesis: bells, bars, plates, wood, glass, cans, clicks.

use super::Class;
use super::blocks::{Random, Range, add, mode, pluck, samples};
use super::place::{Rhythm, place};

/// A box of bodies.
struct Body {
    /// Lowest mode.
    pitch: Range,
    /// Ratios of the modes; jittered by `spread`. Empty: `modes` of them at random over four octaves.
    ratios: &'static [f32],
    modes: usize,
    spread: f32,
    /// Seconds until the lowest mode has fallen by 60 dB, and by what power of the ratio higher ones fall faster.
    decay: Range,
    damping: Range,
    /// Loudness and length of the noise of the contact.
    contact: Range,
    contact_length: Range,
    rhythm: Rhythm,
}

const BELL: [f32; 9] = [0.5, 1.0, 1.2, 1.5, 2.0, 2.67, 3.0, 4.0, 5.33];
const BAR: [f32; 5] = [1.0, 2.756, 5.404, 8.933, 13.34];
const TUBE: [f32; 5] = [1.0, 2.1, 3.3, 4.6, 6.1];

const BODY: Body = Body {
    pitch: (200.0, 800.0),
    ratios: &[],
    modes: 10,
    spread: 0.05,
    decay: (0.1, 0.5),
    damping: (0.3, 1.2),
    contact: (0.05, 0.4),
    contact_length: (0.003, 0.02),
    rhythm: Rhythm::Groups(4, (0.15, 0.6), (0.4, 1.5)),
};

fn strike(random: &mut Random, length: usize, body: &Body) -> Vec<f32> {
    let (pitch, decay, damping) =
        (random.octaves(body.pitch), random.octaves(body.decay), random.between(body.damping));
    let ratios: Vec<f32> = if body.ratios.is_empty() {
        (0..body.modes).map(|k| if k == 0 { 1.0 } else { random.octaves((1.0, 16.0)) }).collect()
    } else {
        body.ratios.iter().map(|ratio| random.near(*ratio, body.spread)).collect()
    };
    let soft = random.between((0.0, 1.2));
    let modes: Vec<(f32, f32, f32)> = ratios
        .iter()
        .map(|ratio| {
            let fall = decay / ratio.max(0.5).powf(damping);
            (pitch * ratio, random.near(fall, 0.3), random.between((0.2, 1.0)) / ratio.max(1.0).powf(soft))
        })
        .collect();
    let (contact, contact_length) = (random.between(body.contact), random.octaves(body.contact_length));
    place(random, length, body.rhythm, |random| {
        let mut sound = random.noise(samples((1.2 * decay).max(0.05)).min(length));
        sound.iter_mut().for_each(|x| *x *= contact);
        pluck(&mut sound, 0.0005, 3.0 * contact_length);
        for (hz, fall, gain) in &modes {
            // where it is hit decides how loud each mode is
            mode(&mut sound, 0, *hz, *fall, random.near(*gain, 0.4));
        }
        sound
    })
}

/// A body that breaks: a blow, then shards that fall and ring.
fn shatter(random: &mut Random, length: usize, pitch: Range, decay: Range) -> Vec<f32> {
    let start = (random.unit() * 0.4 * length as f32) as usize;
    let (pitch, decay) = (random.octaves(pitch), random.octaves(decay));
    let spread = random.octaves((0.1, 0.6));
    let mut blow = random.noise(samples(0.3));
    pluck(&mut blow, 0.0005, random.octaves((0.03, 0.25)));
    let mut sound = vec![0.0; length];
    add(&mut sound, start, &blow, random.between((0.3, 1.2)));
    for _ in 0..40 + random.below(80) {
        let late = -(1.0 - random.unit()).ln() * spread;
        let hz = pitch * random.octaves((0.7, 5.0));
        let fall = random.near(decay, 0.7);
        mode(&mut sound, start + samples(late), hz, fall, random.unit().powi(2) * (-1.5 * late).exp());
    }
    sound
}

pub(super) const CLASSES: &[Class] = &[
    ("tower bell", |r, n| {
        strike(
            r,
            n,
            &Body {
                pitch: (180.0, 700.0),
                ratios: &BELL,
                spread: 0.02,
                decay: (1.5, 5.0),
                damping: (0.3, 0.9),
                contact: (0.0, 0.15),
                rhythm: Rhythm::Regular((0.5, 1.8), 0.1),
                ..BODY
            },
        )
    }),
    ("hand bell", |r, n| {
        strike(
            r,
            n,
            &Body {
                pitch: (1_000.0, 2_600.0),
                ratios: &BELL,
                spread: 0.05,
                decay: (0.5, 2.0),
                rhythm: Rhythm::Groups(4, (0.1, 0.5), (0.3, 1.0)),
                ..BODY
            },
        )
    }),
    ("chimes", |r, n| {
        let tube = r.octaves((500.0, 1_500.0));
        let mut sound = vec![0.0; n];
        for _ in 0..3 {
            let body = Body {
                pitch: (tube, tube * 2.2),
                ratios: &TUBE,
                decay: (0.6, 2.0),
                rhythm: Rhythm::Poisson((1.0, 3.0)),
                ..BODY
            };
            add(&mut sound, 0, &strike(r, n, &body), 0.6);
        }
        sound
    }),
    ("xylophone", |r, n| {
        strike(
            r,
            n,
            &Body {
                pitch: (300.0, 1_400.0),
                ratios: &BAR,
                decay: (0.1, 0.4),
                rhythm: Rhythm::Groups(5, (0.12, 0.35), (0.3, 0.8)),
                ..BODY
            },
        )
    }),
    ("knock on wood", |r, n| {
        strike(
            r,
            n,
            &Body {
                pitch: (90.0, 320.0),
                modes: 8,
                decay: (0.04, 0.15),
                contact: (0.1, 0.6),
                rhythm: Rhythm::Groups(5, (0.15, 0.35), (0.4, 1.5)),
                ..BODY
            },
        )
    }),
    ("hammer on metal", |r, n| {
        strike(
            r,
            n,
            &Body {
                pitch: (300.0, 1_200.0),
                modes: 14,
                decay: (0.15, 0.8),
                damping: (0.0, 0.5),
                contact: (0.2, 0.8),
                rhythm: Rhythm::Regular((1.0, 4.0), 0.1),
                ..BODY
            },
        )
    }),
    ("pan", |r, n| {
        strike(
            r,
            n,
            &Body {
                pitch: (250.0, 900.0),
                modes: 16,
                decay: (0.4, 1.6),
                damping: (0.1, 0.6),
                rhythm: Rhythm::Groups(3, (0.2, 0.7), (0.4, 1.2)),
                ..BODY
            },
        )
    }),
    ("clinking glass", |r, n| {
        strike(
            r,
            n,
            &Body {
                pitch: (1_400.0, 3_600.0),
                modes: 6,
                decay: (0.15, 0.8),
                contact: (0.0, 0.2),
                rhythm: Rhythm::Groups(3, (0.1, 0.6), (0.3, 1.2)),
                ..BODY
            },
        )
    }),
    ("clock tick", |r, n| {
        strike(
            r,
            n,
            &Body {
                pitch: (900.0, 3_500.0),
                modes: 6,
                decay: (0.008, 0.05),
                contact: (0.1, 0.8),
                contact_length: (0.001, 0.005),
                rhythm: Rhythm::Regular((1.0, 6.0), 0.02),
                ..BODY
            },
        )
    }),
    ("mouse click", |r, n| {
        strike(
            r,
            n,
            &Body {
                pitch: (1_500.0, 4_500.0),
                modes: 5,
                decay: (0.004, 0.02),
                contact: (0.4, 1.5),
                contact_length: (0.001, 0.004),
                rhythm: Rhythm::Groups(2, (0.05, 0.16), (0.3, 1.2)),
                ..BODY
            },
        )
    }),
    ("typing", |r, n| {
        strike(
            r,
            n,
            &Body {
                pitch: (250.0, 1_200.0),
                modes: 8,
                decay: (0.01, 0.05),
                contact: (0.3, 1.2),
                contact_length: (0.002, 0.01),
                rhythm: Rhythm::Poisson((5.0, 14.0)),
                ..BODY
            },
        )
    }),
    ("drum", |r, n| {
        strike(
            r,
            n,
            &Body {
                pitch: (50.0, 180.0),
                ratios: &[1.0, 1.59, 2.14, 2.3, 2.65, 2.92],
                decay: (0.15, 0.7),
                rhythm: Rhythm::Groups(6, (0.15, 0.45), (0.2, 0.8)),
                ..BODY
            },
        )
    }),
    ("heavy steps", |r, n| {
        strike(
            r,
            n,
            &Body {
                pitch: (45.0, 130.0),
                modes: 5,
                decay: (0.03, 0.15),
                contact: (0.2, 0.9),
                contact_length: (0.01, 0.06),
                rhythm: Rhythm::Regular((1.2, 3.0), 0.06),
                ..BODY
            },
        )
    }),
    ("plucked string", |r, n| {
        strike(
            r,
            n,
            &Body {
                pitch: (80.0, 500.0),
                ratios: &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0],
                spread: 0.002,
                decay: (0.4, 2.0),
                contact: (0.0, 0.1),
                rhythm: Rhythm::Groups(4, (0.15, 0.6), (0.2, 0.8)),
                ..BODY
            },
        )
    }),
    ("breaking glass", |r, n| shatter(r, n, (1_500.0, 3_500.0), (0.03, 0.25))),
    ("falling cutlery", |r, n| shatter(r, n, (700.0, 1_800.0), (0.1, 0.5))),
    ("breaking wood", |r, n| shatter(r, n, (150.0, 600.0), (0.01, 0.06))),
];
