//! Damaged bytes of any format end in samples or in an error, never in a panic, a hang or a sample that is no number.

use crate::{data, noise};
use otolith::audio::Clip;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::tempdir;

const FILES: [&str; 12] = [
    "sound.flac",
    "stereo48k.flac",
    "sound.ogg",
    "sound.mp3",
    "bare.mp3",
    "sound.aac",
    "sound.m4a",
    "alaw.wav",
    "adpcm.wav",
    "f64.wav",
    "mel.wav",
    "stereo48k.wav",
];
/// Damaged copies of each file.
const COPIES: u64 = 60;

/// What became of damaged files.
#[derive(Default)]
struct Tally {
    read: u32,
    refused: u32,
    slowest: Duration,
}

impl Tally {
    fn read(&mut self, path: &Path, bytes: &[u8], which: &str) {
        std::fs::write(path, bytes).unwrap();
        let begin = Instant::now();
        match Clip::read(path, 16_000) {
            Ok(clip) => {
                assert!(clip.samples.iter().all(|sample| sample.is_finite()), "{which}");
                self.read += 1;
            }
            Err(error) => {
                assert!(!error.to_string().contains('\n'), "{which}: {error}");
                self.refused += 1;
            }
        }
        self.slowest = self.slowest.max(begin.elapsed());
    }

    fn check(&self) {
        let Tally { read, refused, slowest } = self;
        println!("{read} damaged files read, {refused} refused, the slowest in {slowest:?}");
        assert!(*read > 0 && *refused > 0 && *slowest < Duration::from_secs(20));
    }
}

/// Numbers below a limit, from a stream of their own for every seed.
fn random(seed: u64) -> impl FnMut(usize) -> usize {
    let mut stream = noise(seed);
    move |limit| ((f64::from(stream.next().unwrap()) + 1.0) / 2.0 * limit as f64) as usize
}

#[test]
fn damaged_files_never_panic() {
    let folder = tempdir().unwrap();
    let mut tally = Tally::default();
    for (number, name) in FILES.iter().enumerate() {
        let good = std::fs::read(data(&format!("audio/{name}"))).unwrap();
        for copy in 0..COPIES {
            let mut below = random(number as u64 * 1_000 + copy);
            let mut bytes = good.clone();
            if copy % 4 == 0 {
                bytes.truncate(below(good.len()));
            }
            // Half of the damage falls on the header, where it hurts most.
            let reach = if copy % 2 == 0 { bytes.len().min(300) } else { bytes.len() };
            for _ in 0..(1 + copy % 8).min(reach as u64) {
                bytes[below(reach)] = below(256) as u8;
            }
            tally.read(&folder.path().join("damaged"), &bytes, &format!("{name}, copy {copy}"));
        }
    }
    tally.check();
}

/// Damage in Ogg that hides behind right page checksums, as only a hostile file has it: it reaches the codec, which
/// does panic on some of it.
#[test]
fn hostile_files_with_right_checksums_never_panic() {
    let folder = tempdir().unwrap();
    let good = std::fs::read(data("audio/sound.ogg")).unwrap();
    let mut same = good.clone();
    seal(&mut same);
    assert!(same == good, "the checksum of an Ogg page is computed another way");
    let mut tally = Tally::default();
    for copy in 0..600 {
        let mut below = random(copy);
        let mut bytes = good.clone();
        // Behind the first page; the headers of the codec fill the first half of this short file.
        let reach = if copy % 4 == 0 { bytes.len() } else { bytes.len() / 2 };
        for _ in 0..1 + copy % 4 {
            bytes[58 + below(reach - 58)] ^= 1 << below(8);
        }
        seal(&mut bytes);
        tally.read(&folder.path().join("hostile"), &bytes, &format!("copy {copy}"));
    }
    tally.check();
}

/// Puts the right checksum into every page of an Ogg file: CRC-32 with polynomial 0x04c11db7 over the page, its own
/// bytes taken as 0, not reflected, from 0.
fn seal(bytes: &mut [u8]) {
    let mut page = 0;
    while let Some(segments) = bytes.get(page + 26).map(|count| usize::from(*count)) {
        let Some(table) = bytes.get(page + 27..page + 27 + segments) else { return };
        let body: usize = table.iter().map(|length| usize::from(*length)).sum();
        let end = (page + 27 + segments + body).min(bytes.len());
        bytes[page + 22..page + 26].fill(0);
        let step = |crc: u32| if crc >> 31 == 1 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 };
        let crc =
            bytes[page..end].iter().fold(0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| step(crc)));
        bytes[page + 22..page + 26].copy_from_slice(&crc.to_le_bytes());
        page = end;
    }
}
