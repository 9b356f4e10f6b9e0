//! Every kind of file gives the samples it holds.

use crate::{data, noise, write_float_wav};
use otolith::audio::{Clip, Format, Reader, Summary};
use std::path::Path;
use tempfile::tempdir;

fn summary(path: &Path) -> Summary {
    Reader::open(path, 16_000).unwrap().finish().unwrap()
}

fn write_wav(path: &Path, channels: u16, bits: u16, samples: &[i32]) {
    let sample_format = hound::SampleFormat::Int;
    let spec = hound::WavSpec { channels, sample_rate: 16_000, bits_per_sample: bits, sample_format };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    samples.iter().for_each(|sample| writer.write_sample(*sample).unwrap());
    writer.finalize().unwrap();
}

#[test]
fn wav_of_every_width_is_scaled_to_one() {
    let folder = tempdir().unwrap();
    let wav = folder.path().join("a.wav");
    for bits in [8, 16, 24, 32] {
        let full = 2_f64.powi(bits - 1);
        let samples = [0, 1, -1, 100, -(full as i64) as i32, (full - 1.0) as i32];
        write_wav(&wav, 1, bits as u16, &samples);
        let expected = samples.map(|sample| (f64::from(sample) / full) as f32);
        assert_eq!(Clip::read(&wav, 16_000).unwrap().samples, expected, "{bits} bits");
    }
}

#[test]
fn float_wav_at_the_rate_asked_for_is_untouched() {
    let folder = tempdir().unwrap();
    let wav = folder.path().join("a.wav");
    let samples: Vec<f32> = noise(1).take(50_000).map(|x| x * 3.0).collect();
    write_float_wav(&wav, 22_050, 1, samples.iter().copied());
    assert_eq!(Clip::read(&wav, 22_050).unwrap(), Clip { samples, rate: 22_050 });
}

#[test]
fn channels_are_averaged() {
    let folder = tempdir().unwrap();
    let wav = folder.path().join("a.wav");
    for channels in [2, 6, 301] {
        let frames: Vec<i32> = noise(2).take(channels * 200).map(|x| (x * 30_000.0) as i32).collect();
        write_wav(&wav, channels as u16, 16, &frames);
        let mean = |frame: &[i32]| {
            let sum: i32 = frame.iter().sum();
            (f64::from(sum) / 32_768.0 / channels as f64) as f32
        };
        let expected: Vec<f32> = frames.chunks_exact(channels).map(mean).collect();
        assert_eq!(Clip::read(&wav, 16_000).unwrap().samples, expected, "{channels} channels");
        assert_eq!(summary(&wav).channels, channels);
    }
}

#[test]
fn a_written_clip_comes_back_and_is_clipped_at_one() {
    let folder = tempdir().unwrap();
    let wav = folder.path().join("a.wav");
    let samples: Vec<f32> = (-32_768..32_768).step_by(7).map(|x| x as f32 / 32_768.0).collect();
    let clip = Clip { samples, rate: 11_025 };
    clip.write_wav(&wav).unwrap();
    assert_eq!(Clip::read(&wav, 11_025).unwrap(), clip);
    Clip { samples: vec![7.0, -7.0], rate: 16_000 }.write_wav(&wav).unwrap();
    assert_eq!(Clip::read(&wav, 16_000).unwrap().samples, [32_767.0 / 32_768.0, -1.0]);
}

#[test]
fn a_clip_is_padded_with_silence_or_cut_at_its_end() {
    let clip = Clip { samples: vec![1.0, 2.0, 3.0], rate: 16_000 };
    assert_eq!(clip.clone().padded_or_cut(5).samples, [1.0, 2.0, 3.0, 0.0, 0.0]);
    assert_eq!(clip.padded_or_cut(2).samples, [1.0, 2.0]);
}

#[test]
fn the_hash_is_of_the_sound_and_not_of_the_file() {
    let folder = tempdir().unwrap();
    let [plain, tagged, other] = ["a.wav", "b.wav", "c.wav"].map(|name| folder.path().join(name));
    let samples: Vec<i32> = noise(3).take(1_000).map(|x| (x * 30_000.0) as i32).collect();
    write_wav(&plain, 1, 16, &samples);
    let bytes = std::fs::read(&plain).unwrap();
    let (head, sound) = bytes.split_at(36);
    std::fs::write(&tagged, [head, b"LIST\x04\0\0\0INFO", sound].concat()).unwrap();
    assert_eq!(summary(&tagged).hash, summary(&plain).hash);
    // One more in one sample, another rate, another number of channels.
    let changed: Vec<i32> = samples.iter().enumerate().map(|(at, x)| x + i32::from(at == 500)).collect();
    write_wav(&other, 1, 16, &changed);
    assert_ne!(summary(&other).hash, summary(&plain).hash);
    write_float_wav(&other, 16_001, 1, samples.iter().map(|x| *x as f32 / 32_768.0));
    assert_ne!(summary(&other).hash, summary(&plain).hash);
    write_wav(&other, 2, 16, &samples);
    assert_ne!(summary(&other).hash, summary(&plain).hash);
}

#[test]
fn length_and_kind_of_a_file_are_its_own_and_not_those_asked_for() {
    let mut reader = Reader::open(data("audio/sound.wav"), 16_000).unwrap();
    assert_eq!(reader.format(), Format::Wav);
    let mut samples = 0;
    while let Some(block) = reader.next_block().unwrap() {
        assert!(!block.is_empty() && block.len() <= 16_384);
        samples += block.len();
    }
    let summary = reader.finish().unwrap();
    assert_eq!((samples, summary.frames, summary.rate, summary.seconds), (8_000, 22_050, 44_100, 0.5));
}

#[cfg(feature = "formats")]
mod formats {
    use super::*;
    use crate::originals;

    /// Pearson correlation, and by how many samples `b` is late, at the shift within 3,000 samples where it is largest.
    /// The shift is found on every 7th sample and then refined.
    fn aligned(a: &[f32], b: &[f32]) -> (f64, i64) {
        let correlation = |late: i64, step: usize| {
            let range = (0.max(-late) as usize)..(a.len().min((b.len() as i64 - late).max(0) as usize));
            let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
            for at in range.step_by(step) {
                let (x, y) = (f64::from(a[at]), f64::from(b[(at as i64 + late) as usize]));
                (ab, aa, bb) = (ab + x * y, aa + x * x, bb + y * y);
            }
            ab / (aa * bb).sqrt().max(1e-12)
        };
        let best = |shifts: &mut dyn Iterator<Item = i64>, step| {
            shifts.max_by(|x, y| correlation(*x, step).total_cmp(&correlation(*y, step))).unwrap()
        };
        let rough = best(&mut (-3_000..=3_000), a.len() / 2_000 + 1);
        let late = best(&mut (rough - 2..=rough + 2), 1);
        (correlation(late, 1), late)
    }

    /// Checks a lossy copy of a sound against it; gives correlation, samples late, samples longer.
    fn compare(original: &Path, copy: &Path) -> (f64, i64, i64) {
        let rate = summary(original).rate;
        let (original, read) = (Clip::read(original, rate).unwrap(), Clip::read(copy, rate).unwrap());
        let (correlation, late) = aligned(&original.samples, &read.samples);
        let longer = read.samples.len() as i64 - original.samples.len() as i64;
        println!("{}: correlation {correlation:.4}, {late} late, {longer} longer", copy.display());
        assert!(correlation > 0.95, "{}: {correlation}", copy.display());
        // AAC begins with 1,024 or 2,112 samples of the encoder's own and ends with a full frame.
        assert!((-1..=4_096).contains(&longer), "{}: {longer} longer", copy.display());
        (correlation, late, longer)
    }

    #[test]
    fn what_a_file_is_follows_from_its_bytes_and_not_from_its_name() {
        let folder = tempdir().unwrap();
        let kinds = [
            ("sound.flac", Format::Flac),
            ("sound.ogg", Format::Ogg),
            ("sound.mp3", Format::Mp3),
            ("bare.mp3", Format::Mp3),
            ("sound.aac", Format::Aac),
            ("sound.m4a", Format::Mp4),
            ("alaw.wav", Format::Wav),
        ];
        for (name, format) in kinds {
            let wrong = folder.path().join("sound.xyz");
            std::fs::copy(data(&format!("audio/{name}")), &wrong).unwrap();
            assert_eq!(Reader::open(&wrong, 16_000).unwrap().format(), format, "{name}");
        }
    }

    #[test]
    fn lossless_files_give_the_same_samples_and_hash() {
        for name in ["sound", "stereo48k"] {
            let [wav, flac] = ["wav", "flac"].map(|end| data(&format!("audio/{name}.{end}")));
            assert_eq!(Clip::read(&flac, 48_000).unwrap(), Clip::read(&wav, 48_000).unwrap(), "{name}");
            assert_eq!(summary(&flac), summary(&wav), "{name}");
        }
        assert_eq!(summary(&data("audio/stereo48k.flac")).channels, 2);
    }

    #[test]
    fn lossy_files_sound_as_what_they_were_made_from() {
        for name in ["sound.ogg", "sound.mp3", "bare.mp3", "sound.aac", "sound.m4a", "alaw.wav", "adpcm.wav"] {
            let (_, late, longer) = compare(&data("audio/sound.wav"), &data(&format!("audio/{name}")));
            // Where the container states delay and padding, they are cut.
            if ["sound.ogg", "sound.mp3", "alaw.wav"].contains(&name) {
                assert_eq!((late, longer), (0, 0), "{name}");
            }
        }
        let floats = Clip::read(data("audio/f64.wav"), 44_100).unwrap();
        assert_eq!(floats.samples[..], Clip::read(data("audio/sound.wav"), 44_100).unwrap().samples[..4_000]);
    }

    #[test]
    fn tags_around_a_sound_do_not_change_it() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("tagged");
        let (before, mut after) = (b"ID3\x04\0\0\0\0\0\x0a\0\0\0\0\0\0\0\0\0\0", b"TAG".to_vec());
        after.resize(128, 0);
        let kinds = [("bare.mp3", Format::Mp3), ("sound.aac", Format::Aac), ("sound.flac", Format::Flac)];
        for (name, format) in kinds {
            let plain = data(&format!("audio/{name}"));
            let sound = std::fs::read(&plain).unwrap();
            // A tag of this kind behind FLAC is no part of that format.
            let end = if format == Format::Flac { &[] } else { &after[..] };
            std::fs::write(&path, [before, &sound[..], end].concat()).unwrap();
            assert_eq!(Reader::open(&path, 16_000).unwrap().format(), format, "{name}");
            assert_eq!(summary(&path), summary(&plain), "{name}");
        }
    }

    #[test]
    fn wav_of_unknown_length_ends_where_the_file_ends() {
        let folder = tempdir().unwrap();
        let streamed = folder.path().join("a.wav");
        let mut bytes = std::fs::read(data("audio/mel.wav")).unwrap();
        bytes[4..8].fill(0xff);
        bytes[40..44].fill(0xff);
        std::fs::write(&streamed, bytes).unwrap();
        assert_eq!(summary(&streamed), summary(&data("audio/mel.wav")));
    }

    #[test]
    fn real_recordings_in_every_format_agree_with_their_wav() {
        let Some(folder) = originals() else { return };
        let mut least =
            [("ogg", f64::INFINITY), ("mp3", f64::INFINITY), ("m4a", f64::INFINITY), ("aac", f64::INFINITY)];
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let Some((stem, end)) = name.split_once('.').filter(|(_, end)| *end != "md") else { continue };
            let wav = folder.join(format!("{stem}.wav"));
            match end {
                "wav" => assert_eq!(summary(&path).frames, 220_500, "{name}"),
                "native.ogg" => assert_eq!(summary(&path).frames, 220_544, "{name}"),
                "flac" => assert_eq!(summary(&path), summary(&wav), "{name}"),
                "f32.wav" | "s24.wav" => {
                    let (whole, part) = (Clip::read(&wav, 44_100).unwrap(), Clip::read(&path, 44_100).unwrap());
                    assert_eq!(part.samples[..], whole.samples[..66_150], "{name}");
                }
                "stereo48k.wav" => assert_eq!(summary(&path).frames, 72_000, "{name}"),
                "u8-16k.wav" => assert_eq!(summary(&path).frames, 24_000, "{name}"),
                lossy => {
                    let (correlation, ..) = compare(&wav, &path);
                    let (_, least) = least.iter_mut().find(|(end, _)| *end == lossy).unwrap();
                    *least = least.min(correlation);
                }
            }
        }
        for (end, least) in least {
            println!("figure decode_{end}_correlation = {least:.5} of 1");
        }
    }
}
