//! A bad file is refused in one line that names the file and the fault.

use crate::{data, write_float_wav};
use otolith::audio::{Clip, Reader};
use otolith::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use tempfile::{TempDir, tempdir};

/// The error of reading a file to its end; it must name the file and be one line.
fn refusal(path: &Path) -> (ErrorKind, String) {
    let error = Clip::read(path, 16_000).expect_err(&format!("{} was read", path.display()));
    let line = error.to_string();
    assert!(line.starts_with(path.to_str().unwrap()) && !line.contains('\n'), "{line}");
    (error.kind(), line)
}

fn refused(path: &Path, because: &str) {
    let (kind, line) = refusal(path);
    assert!(kind == ErrorKind::Caller && line.contains(because), "{line}");
}

fn file(folder: &TempDir, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join("bad.wav");
    std::fs::write(&path, bytes).unwrap();
    path
}

/// A 16-bit WAV file with a header of 44 bytes.
fn good() -> Vec<u8> {
    std::fs::read(data("audio/mel.wav")).unwrap()
}

/// The same with some bytes of the header exchanged.
fn patched(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = good();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

#[test]
fn what_is_no_sound_file_is_refused() {
    let folder = tempdir().unwrap();
    refused(&file(&folder, b""), "empty file");
    refused(&file(&folder, b"id,class\n1,dog\n"), "not a sound file");
    refused(&file(&folder, b"RI"), "not a sound file");
    refused(&file(&folder, vec![0; 5_000]), "not a sound file");
    refused(folder.path(), "a directory");
    let (kind, line) = refusal(&folder.path().join("missing.wav"));
    assert!(kind == ErrorKind::Environment && line.contains("open"), "{line}");
    #[cfg(unix)]
    refused(Path::new("/dev/null"), "not a regular file");
}

#[test]
fn wav_cut_short_says_what_was_promised_and_what_is_there() {
    let folder = tempdir().unwrap();
    for length in [12, 16, 30, 43] {
        refused(&file(&folder, &good()[..length]), "header cut short");
    }
    refused(&file(&folder, &good()[..44]), "the file holds 0 samples a channel, its header promises 16000");
    refused(&file(&folder, &good()[..1_045]), "the file holds 500 samples a channel, its header promises 16000");
    refused(&file(&folder, &good()[..32_043]), "the file holds 15999");
}

#[test]
fn senseless_headers_are_refused() {
    let folder = tempdir().unwrap();
    refused(&file(&folder, patched(40, &[0; 4])), "holds no samples");
    refused(&file(&folder, patched(22, &[0, 0])), "zero channels");
    // Rate and bytes a second, which must fit each other.
    refused(&file(&folder, patched(24, &[0; 8])), "0 Hz");
    let absurd = [4_000_000_u32.to_le_bytes(), 8_000_000_u32.to_le_bytes()].concat();
    refused(&file(&folder, patched(24, &absurd)), "4000000 Hz");
    refused(&file(&folder, patched(34, &[0, 0])), "bits per sample");
    refused(&file(&folder, patched(20, &[0x77, 0x77])), "cannot be read");
}

#[test]
fn samples_that_are_no_numbers_are_refused_by_their_place() {
    let folder = tempdir().unwrap();
    let wav = folder.path().join("bad.wav");
    for (value, word) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf"), (1e30, "1e30")] {
        let mut samples = vec![0.5; 40_000];
        samples[20_001] = value;
        write_float_wav(&wav, 8_000, 2, samples);
        let (kind, line) = refusal(&wav);
        assert_eq!(kind, ErrorKind::Caller);
        // The second channel of frame 10,000.
        let shown = line.contains("sample 10000 is") && (line.contains(word) || value == 1e30);
        assert!(shown, "{line}");
    }
}

#[test]
fn a_rate_that_no_sound_has_cannot_be_asked_for() {
    for rate in [0, 999, 384_001, u32::MAX] {
        let error = Reader::open(data("audio/mel.wav"), rate).err().unwrap();
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_may_not_be_read_is_the_environments_fault() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempdir().unwrap();
    let path = file(&folder, good());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0)).unwrap();
    if std::fs::File::open(&path).is_ok() {
        eprintln!("SKIPPED: this user may read every file");
        return;
    }
    assert_eq!(refusal(&path).0, ErrorKind::Environment);
}

#[cfg(feature = "formats")]
#[test]
fn coded_files_cut_short_are_refused_where_their_container_states_a_length() {
    let folder = tempdir().unwrap();
    for name in ["sound.flac", "sound.mp3", "sound.m4a", "alaw.wav", "adpcm.wav", "f64.wav"] {
        let bytes = std::fs::read(data(&format!("audio/{name}"))).unwrap();
        for share in [4, 2] {
            let (_, line) = refusal(&file(&folder, &bytes[..bytes.len() - bytes.len() / share]));
            println!("{name}: {line}");
        }
    }
}

#[cfg(feature = "formats")]
#[test]
fn coded_files_without_a_stated_length_end_where_the_file_ends() {
    let folder = tempdir().unwrap();
    for name in ["sound.ogg", "bare.mp3", "sound.aac"] {
        let bytes = std::fs::read(data(&format!("audio/{name}"))).unwrap();
        let whole = Clip::read(data(&format!("audio/{name}")), 16_000).unwrap().samples.len();
        match Clip::read(file(&folder, &bytes[..bytes.len() / 2]), 16_000) {
            Ok(clip) => println!("{name}: {} of {whole} samples", clip.samples.len()),
            Err(error) => println!("{name}: {error}"),
        }
    }
}

#[cfg(not(feature = "formats"))]
#[test]
fn without_the_feature_other_formats_are_refused_by_its_name() {
    for name in ["sound.flac", "sound.ogg", "sound.mp3", "sound.m4a", "sound.aac", "alaw.wav"] {
        refused(&data(&format!("audio/{name}")), "feature `formats`");
    }
}
