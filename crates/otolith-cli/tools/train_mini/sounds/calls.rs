//! Boxes of voices: animals and people.

use super::Class;
use super::place::Rhythm;
use super::voice::{CALL, Voice, call, crowd, phrase};

pub(super) const CLASSES: &[Class] = &[
    ("small bark", |r, n| {
        call(
            r,
            n,
            &Voice {
                pitch: (500.0, 1_200.0),
                start: (0.5, 0.9),
                end: (0.4, 0.8),
                length: (0.06, 0.2),
                formant: (900.0, 1_800.0),
                breath: (0.1, 0.5),
                rough: (0.1, 0.5),
                attack: (0.02, 0.12),
                rhythm: Rhythm::Groups(5, (0.15, 0.5), (0.4, 1.5)),
                ..CALL
            },
        )
    }),
    ("deep bark", |r, n| {
        call(
            r,
            n,
            &Voice {
                pitch: (110.0, 330.0),
                start: (0.5, 0.9),
                end: (0.4, 0.8),
                length: (0.12, 0.35),
                formant: (380.0, 800.0),
                breath: (0.1, 0.5),
                rough: (0.2, 0.7),
                attack: (0.02, 0.12),
                rhythm: Rhythm::Groups(3, (0.3, 0.7), (0.5, 1.8)),
                ..CALL
            },
        )
    }),
    ("mew", |r, n| {
        call(
            r,
            n,
            &Voice {
                pitch: (400.0, 900.0),
                start: (0.6, 0.95),
                end: (0.5, 0.9),
                length: (0.4, 1.2),
                formant: (700.0, 1_100.0),
                opening: (0.6, 2.0),
                tract: (2.0, 3.2),
                breath: (0.01, 0.1),
                rhythm: Rhythm::Groups(1, (0.8, 1.5), (0.4, 1.5)),
                ..CALL
            },
        )
    }),
    ("low", |r, n| {
        call(
            r,
            n,
            &Voice {
                pitch: (70.0, 190.0),
                start: (0.6, 0.95),
                end: (0.7, 1.3),
                length: (0.8, 2.0),
                formant: (250.0, 500.0),
                opening: (1.0, 2.0),
                breath: (0.02, 0.2),
                rough: (0.05, 0.4),
                rhythm: Rhythm::Once,
                ..CALL
            },
        )
    }),
    ("bleat", |r, n| {
        call(
            r,
            n,
            &Voice {
                pitch: (180.0, 480.0),
                vibrato: ((0.02, 0.08), (7.0, 16.0)),
                length: (0.4, 1.3),
                formant: (500.0, 900.0),
                tremolo: (0.5, 0.9),
                rough: (0.1, 0.4),
                rhythm: Rhythm::Groups(2, (0.8, 1.4), (0.3, 1.2)),
                ..CALL
            },
        )
    }),
    ("wail", |r, n| {
        call(
            r,
            n,
            &Voice {
                pitch: (300.0, 620.0),
                start: (0.7, 1.0),
                end: (0.6, 0.95),
                length: (0.5, 1.3),
                formant: (800.0, 1_400.0),
                vibrato: ((0.005, 0.05), (5.0, 9.0)),
                rough: (0.05, 0.5),
                rhythm: Rhythm::Regular((0.7, 1.3), 0.1),
                ..CALL
            },
        )
    }),
    ("laugh", |r, n| {
        call(
            r,
            n,
            &Voice {
                pitch: (140.0, 480.0),
                length: (0.06, 0.16),
                formant: (450.0, 1_000.0),
                breath: (0.15, 0.6),
                attack: (0.1, 0.4),
                rhythm: Rhythm::Groups(9, (0.14, 0.28), (0.3, 1.0)),
                ..CALL
            },
        )
    }),
    ("scream", |r, n| {
        call(
            r,
            n,
            &Voice {
                pitch: (800.0, 1_800.0),
                start: (0.6, 1.1),
                end: (0.6, 1.2),
                length: (0.5, 1.8),
                formant: (1_200.0, 2_200.0),
                tract: (1.4, 2.0),
                rough: (0.2, 0.8),
                rhythm: Rhythm::Once,
                ..CALL
            },
        )
    }),
    ("howl", |r, n| {
        call(
            r,
            n,
            &Voice {
                pitch: (280.0, 700.0),
                start: (0.4, 0.7),
                end: (0.6, 0.9),
                length: (1.0, 2.2),
                formant: (350.0, 600.0),
                tract: (1.6, 2.2),
                breath: (0.01, 0.08),
                rough: (0.0, 0.05),
                rhythm: Rhythm::Once,
                ..CALL
            },
        )
    }),
    ("caw", |r, n| {
        call(
            r,
            n,
            &Voice {
                pitch: (300.0, 620.0),
                start: (0.8, 1.0),
                end: (0.7, 0.95),
                length: (0.15, 0.45),
                formant: (1_000.0, 1_700.0),
                tract: (1.3, 1.8),
                breath: (0.2, 0.5),
                rough: (0.6, 1.0),
                attack: (0.05, 0.2),
                rhythm: Rhythm::Groups(4, (0.35, 0.7), (0.5, 1.5)),
                ..CALL
            },
        )
    }),
    ("grunt", |r, n| {
        call(
            r,
            n,
            &Voice {
                pitch: (45.0, 130.0),
                length: (0.08, 0.4),
                formant: (300.0, 700.0),
                breath: (0.3, 0.7),
                rough: (0.5, 1.0),
                rhythm: Rhythm::Groups(4, (0.2, 0.6), (0.2, 1.0)),
                ..CALL
            },
        )
    }),
    ("squeal", |r, n| {
        call(
            r,
            n,
            &Voice {
                pitch: (900.0, 2_200.0),
                start: (0.5, 0.9),
                end: (0.4, 0.9),
                length: (0.2, 0.8),
                formant: (1_500.0, 2_800.0),
                tract: (1.3, 1.7),
                breath: (0.1, 0.4),
                rough: (0.4, 0.9),
                rhythm: Rhythm::Groups(3, (0.3, 0.9), (0.2, 0.8)),
                ..CALL
            },
        )
    }),
    ("cluck", |r, n| {
        call(
            r,
            n,
            &Voice {
                pitch: (350.0, 800.0),
                start: (0.6, 1.2),
                length: (0.03, 0.1),
                formant: (800.0, 1_500.0),
                breath: (0.1, 0.4),
                rough: (0.1, 0.5),
                attack: (0.1, 0.3),
                rhythm: Rhythm::Groups(7, (0.12, 0.4), (0.2, 0.8)),
                ..CALL
            },
        )
    }),
    ("crowing", |r, n| {
        let voice = Voice {
            pitch: (380.0, 700.0),
            formant: (1_000.0, 1_700.0),
            breath: (0.03, 0.2),
            rough: (0.1, 0.5),
            rhythm: Rhythm::Once,
            ..CALL
        };
        phrase(r, n, &voice, &[(0.9, 0.15), (1.3, 0.18), (1.6, 0.3), (1.35, 0.7)])
    }),
    ("babble", |r, n| {
        call(
            r,
            n,
            &Voice {
                pitch: (90.0, 260.0),
                start: (0.8, 1.2),
                length: (0.1, 0.3),
                formant: (300.0, 900.0),
                tract: (1.5, 4.0),
                rhythm: Rhythm::Groups(9, (0.15, 0.3), (0.1, 0.6)),
                ..CALL
            },
        )
    }),
    ("crowd", |r, n| {
        let voice = Voice {
            pitch: (100.0, 350.0),
            length: (0.1, 0.35),
            formant: (350.0, 1_000.0),
            rhythm: Rhythm::Groups(5, (0.15, 0.3), (0.1, 0.4)),
            ..CALL
        };
        crowd(r, n, &voice, 3)
    }),
    ("growl", |r, n| {
        call(
            r,
            n,
            &Voice {
                pitch: (30.0, 90.0),
                start: (0.8, 1.2),
                end: (0.7, 1.1),
                length: (0.7, 2.0),
                formant: (250.0, 600.0),
                breath: (0.1, 0.5),
                rough: (0.4, 1.0),
                tremolo: (0.2, 0.8),
                vibrato: ((0.01, 0.1), (12.0, 30.0)),
                rhythm: Rhythm::Once,
                ..CALL
            },
        )
    }),
    ("croak", |r, n| {
        call(
            r,
            n,
            &Voice {
                pitch: (60.0, 220.0),
                start: (0.8, 1.1),
                end: (0.8, 1.2),
                length: (0.1, 0.45),
                formant: (500.0, 1_400.0),
                tract: (1.5, 2.2),
                breath: (0.0, 0.1),
                tremolo: (0.7, 1.0),
                vibrato: ((0.0, 0.02), (20.0, 50.0)),
                rhythm: Rhythm::Groups(5, (0.3, 0.7), (0.3, 1.0)),
                ..CALL
            },
        )
    }),
];
