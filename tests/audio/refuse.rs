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
    refused(&file(&folder, patched(22, &[0, 0])), "zero channels");
    // Rate and bytes a second, which must fit each other.
    refused(&file(&folder, patched(24, &[0; 8])), "0 Hz");
    let absurd = [4_000_000_u32.to_le_bytes(), 8_000_000_u32.to_le_bytes()].concat();
    refused(&file(&folder, patched(24, &absurd)), "4000000 Hz");
    refused(&file(&folder, patched(34, &[0, 0])), "bits per sample");
    refused(&file(&folder, patched(20, &[0x77, 0x77])), "tag 0x7777, which is not read: convert it");
    refused(&file(&folder, patched(20, &[0x31, 0])), "WAV: GSM 6.10, which is not read");
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
    for rate in [0, 99, 2_000_001, u32::MAX] {
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
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::File::open(&path).is_ok() {
        eprintln!("SKIPPED: this user may read every file");
        return;
    }
    assert_eq!(refusal(&path).0, ErrorKind::Environment);
}

#[cfg(feature = "formats")]
#[test]
fn coded_files_cut_short_are_refused() {
    let folder = tempdir().unwrap();
    let names = [
        "sound.flac",
        "sound.ogg",
        "sound.mp3",
        "sound.aac",
        "sound.m4a",
        "alaw.wav",
        "adpcm.wav",
        "f64.wav",
        "stereo48k.wav",
    ];
    for name in names {
        let bytes = std::fs::read(data(&format!("audio/{name}"))).unwrap();
        for kept in [bytes.len() / 4, bytes.len() / 2, bytes.len() - 50] {
            let (_, line) = refusal(&file(&folder, &bytes[..kept]));
            assert!(line.contains("cut short"), "{name}: {line}");
        }
    }
}

#[cfg(feature = "formats")]
#[test]
fn mp3_without_a_tag_states_no_length_and_ends_where_the_file_ends() {
    let folder = tempdir().unwrap();
    let bytes = std::fs::read(data("audio/bare.mp3")).unwrap();
    let whole = Clip::read(data("audio/bare.mp3"), 44_100).unwrap().samples;
    let half = Clip::read(file(&folder, &bytes[..bytes.len() / 2]), 44_100).unwrap().samples;
    assert!(half.len() < whole.len() && half.len() > whole.len() / 3);
    assert_eq!(half[..], whole[..half.len()]);
}

#[cfg(feature = "formats")]
#[test]
fn a_damaged_packet_is_not_skipped_over() {
    let folder = tempdir().unwrap();
    for name in ["sound.flac", "stereo48k.flac", "sound.ogg"] {
        let mut bytes = std::fs::read(data(&format!("audio/{name}"))).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        refused(&file(&folder, bytes), "damaged");
    }
}

#[cfg(not(feature = "formats"))]
#[test]
fn without_the_feature_other_formats_are_refused_by_its_name() {
    for name in ["sound.flac", "sound.ogg", "sound.mp3", "sound.m4a", "sound.aac", "adpcm.wav"] {
        refused(&data(&format!("audio/{name}")), "feature `formats`");
    }
}

#[cfg(feature = "formats")]
#[test]
fn sound_of_a_kind_that_is_not_read_is_named_wherever_it_lies() {
    let folder = tempdir().unwrap();
    let renamed = |name: &str, from: &[u8], to: &[u8]| {
        let mut bytes = std::fs::read(data(&format!("audio/agree/{name}"))).unwrap();
        let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes
    };
    refused(
        &file(&folder, renamed("be24.mov", b"in24", b"QDM2")),
        "MP4 holding QDesign Music, which is not read: convert",
    );
    refused(&file(&folder, renamed("aac.m4a", b"mp4a", b"samr")), "MP4 holding AMR, which is not read: convert");
    refused(
        &file(&folder, renamed("aac.m4a", b"mp4a", b"abcd")),
        "MP4 holding sound of kind `abcd`, which is not read",
    );
    // Vorbis, by the number that MPEG-4 gives it.
    refused(&file(&folder, renamed("aac.m4a", b"\x40\x15", b"\xdd")), "MP4 holding Vorbis, which is not read: convert");
    refused(
        &file(&folder, renamed("flac.mka", b"A_FLAC", b"A_QDM2")),
        "Matroska holding sound of kind `A_QDM2`, which",
    );
    let mut family = std::fs::read(data("audio/agree/speech.opus")).unwrap();
    family[28 + 18] = 255;
    refused(&file(&folder, family), "Opus of 1 channels in mapping family 255, which is not read: convert");
    refused(&file(&folder, b"\x56\xe1\x38\x20\x00\x12"), "AAC in LATM, which is not read: convert");
}
