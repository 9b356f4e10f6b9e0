//! Damaged bytes of any format end in samples or in an error, never in a panic, a hang or a sample that is no number.

use crate::{data, noise};
use otolith::audio::Clip;
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

#[test]
fn damaged_files_never_panic() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("damaged");
    let (mut read, mut refused, mut gave_up, mut slowest) = (0, 0, 0, Duration::ZERO);
    for (number, name) in FILES.iter().enumerate() {
        let good = std::fs::read(data(&format!("audio/{name}"))).unwrap();
        for copy in 0..COPIES {
            let mut random = noise(number as u64 * 1_000 + copy).map(|x| (f64::from(x) + 1.0) / 2.0);
            let mut below = |limit: usize| ((random.next().unwrap() * limit as f64) as usize).min(limit - 1);
            let mut bytes = good.clone();
            if copy % 4 == 0 {
                bytes.truncate(below(good.len()));
            }
            // Half of the damage falls on the header, where it hurts most.
            let reach = if copy % 2 == 0 { bytes.len().min(300) } else { bytes.len() };
            for _ in 0..1 + copy % 8 {
                if reach > 0 {
                    bytes[below(reach)] = below(256) as u8;
                }
            }
            std::fs::write(&path, &bytes).unwrap();
            let begin = Instant::now();
            match Clip::read(&path, 16_000) {
                Ok(clip) => {
                    assert!(clip.samples.iter().all(|sample| sample.is_finite()), "{name}, copy {copy}");
                    read += 1;
                }
                Err(error) => {
                    refused += 1;
                    gave_up += u32::from(error.to_string().contains("gave up"));
                }
            }
            if begin.elapsed() > slowest {
                println!("{name} {copy} {:?}", begin.elapsed());
            }
            slowest = slowest.max(begin.elapsed());
        }
    }
    println!("{read} read, {refused} refused, {gave_up} of them by a panic inside the decoder; slowest {slowest:?}");
    assert!(read > 0 && refused > 0);
    assert!(slowest < Duration::from_secs(20), "{slowest:?}");
}
