//! Sounds behind each other, among tags and rubbish: all of it, or an error that says where.

use crate::data;
use otolith::audio::{Clip, Reader};
use std::path::PathBuf;
use tempfile::{TempDir, tempdir};

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(data(&format!("audio/{name}"))).unwrap()
}

fn file(folder: &TempDir, parts: &[&[u8]]) -> PathBuf {
    let path = folder.path().join("joined");
    std::fs::write(&path, parts.concat()).unwrap();
    path
}

fn read(folder: &TempDir, parts: &[&[u8]]) -> Vec<f32> {
    Clip::read(file(folder, parts), 44_100).unwrap().samples
}

fn refused(folder: &TempDir, parts: &[&[u8]]) -> String {
    Clip::read(file(folder, parts), 44_100).unwrap_err().to_string()
}

fn remarks(folder: &TempDir, parts: &[&[u8]]) -> Vec<String> {
    Reader::open(file(folder, parts), 44_100).unwrap().finish().unwrap().remarks
}

/// An ID3v2 tag of so many bytes, and tags that stand behind a sound.
fn id3(size: usize) -> Vec<u8> {
    let seven = |shift: usize| (size >> shift & 0x7f) as u8;
    [b"ID3\x04\0\0", &[seven(21), seven(14), seven(7), seven(0)][..], &vec![0; size]].concat()
}

fn behind() -> Vec<u8> {
    let mut ape = [vec![b'x'; 20_000], b"APETAGEX\xd0\x07\0\0".to_vec()].concat();
    ape.extend(20_032_u32.to_le_bytes());
    ape.extend([0; 16]);
    [ape, b"LYRICSBEGININD0000200000021LYRICS200".to_vec(), b"TAG".to_vec(), vec![0; 125]].concat()
}

#[test]
fn two_sounds_in_one_file_are_both_read() {
    let folder = tempdir().unwrap();
    for name in ["sound.mp3", "sound.ogg", "sound.flac"] {
        let (one, sound) = (bytes(name), read(&folder, &[&bytes(name)]));
        assert_eq!(read(&folder, &[&one, &one]), [&sound[..], &sound].concat(), "{name}");
        assert_eq!(read(&folder, &[&one, &one, &one]).len(), 3 * sound.len(), "{name}");
    }
    // With tags between them, and one that says nothing of its length behind one that does.
    let (mp3, bare) = (bytes("sound.mp3"), bytes("bare.mp3"));
    let (sound, plain) = (read(&folder, &[&mp3]), read(&folder, &[&bare]));
    let tag = [b"TAG".to_vec(), vec![0; 125]].concat();
    for parts in [[&mp3[..], &tag, &id3(5_000), &mp3], [&id3(300), &mp3, &[0; 700], &mp3]] {
        assert_eq!(read(&folder, &parts), [&sound[..], &sound].concat());
    }
    assert_eq!(read(&folder, &[&mp3, &bare]), [&sound[..], &plain].concat());
    assert_eq!(read(&folder, &[&bare, &mp3]), [&plain[..], &sound].concat());
    assert_eq!(read(&folder, &[&bare, &bare]).len(), 2 * plain.len());
    // Another layer is another decoder, but no other sound.
    let (third, second) = (bytes("agree/vbr.mp3"), bytes("agree/layer2.mp2"));
    let (one, two) = (read(&folder, &[&third]), read(&folder, &[&second]));
    assert_eq!(read(&folder, &[&third, &second]), [&one[..], &two].concat());
    let adts = bytes("sound.aac");
    assert_eq!(read(&folder, &[&adts, &adts]).len(), 2 * read(&folder, &[&adts]).len());
}

#[test]
fn a_sound_that_changes_its_rate_or_channels_is_refused_where_it_does() {
    let folder = tempdir().unwrap();
    let (mp3, other) = (bytes("sound.mp3"), bytes("agree/mpeg2.mp3"));
    let error = refused(&folder, &[&mp3, &other]);
    assert!(error.contains("changes to 22050 Hz and 1 channels from 44100 Hz and 1 channels at 0.50 s"), "{error}");
    for name in ["flac", "ogg"] {
        let (one, other) = (bytes(&format!("sound.{name}")), bytes(&format!("agree/stereo.{name}")));
        let error = refused(&folder, &[&one, &other]);
        assert!(error.contains("2 channels from 44100 Hz and 1 channels at 0.50 s"), "{name}: {error}");
    }
}

#[test]
fn tags_and_rubbish_around_a_sound_are_no_part_of_it() {
    let folder = tempdir().unwrap();
    let (zeros, rubbish) = (vec![0; 100_000], b"some text that a server put in front".to_vec());
    for name in ["sound.mp3", "bare.mp3", "sound.aac", "sound.flac"] {
        let (one, sound) = (bytes(name), read(&folder, &[&bytes(name)]));
        for front in
            [&id3(10)[..], &id3(1_100_000), &[id3(10), id3(300)].concat(), &zeros, &[id3(40), zeros.clone()].concat()]
        {
            for back in [&b""[..], &behind()] {
                assert_eq!(read(&folder, &[front, &one, back]), sound, "{name}, {} in front", front.len());
            }
        }
        if name != "sound.flac" {
            assert_eq!(read(&folder, &[&rubbish, &one]), sound, "{name}");
            assert_eq!(read(&folder, &[&one, &zeros]), sound, "{name}");
        }
    }
    assert!(refused(&folder, &[&id3(100)]).contains("no sound beside its tags"));
    assert!(
        refused(&folder, &[b"ID3\x04\0\0\x7f\x7f\x7f\x7f", &bytes("bare.mp3")]).contains("no sound beside its tags")
    );
    assert!(refused(&folder, &[b"\xff\xfe", b"h\0e\0l\0l\0o\0".repeat(300).as_slice()]).contains("not a sound file"));
}

#[test]
fn frames_that_are_no_frames_are_told_or_refused() {
    let folder = tempdir().unwrap();
    let mut mp3 = bytes("bare.mp3");
    let middle = (mp3.len() / 2..).find(|at| mp3[*at] == 0xff && mp3[at + 1] & 0xf0 == 0xf0).unwrap();
    let few = [&mp3[..middle], &[1; 100], &mp3[middle..]];
    assert!(remarks(&folder, &few)[0].contains("100 bytes at"), "{:?}", remarks(&folder, &few));
    let many = vec![1; 50_000];
    let error = refused(&folder, &[&mp3[..middle], &many, &mp3[middle..]]);
    assert!(error.contains("bytes that are no frame follow"), "{error}");
    // A frame count that is off by one is a known mistake, any other a cut.
    mp3 = bytes("sound.mp3");
    let sound = read(&folder, &[&mp3]);
    let at = mp3.windows(4).position(|four| four == b"Xing" || four == b"Info").unwrap() + 8;
    for (more, fine) in [(1, true), (2, false)] {
        let mut told = mp3.clone();
        told[at + 3] += more;
        match fine {
            true => assert_eq!(read(&folder, &[&told]), sound),
            false => assert!(refused(&folder, &[&told]).contains("cut short or damaged")),
        }
    }
}

#[test]
fn flac_that_states_no_sizes_of_blocks_is_read() {
    let folder = tempdir().unwrap();
    for name in ["sound.flac", "stereo48k.flac"] {
        let (flac, sound) = (bytes(name), read(&folder, &[&bytes(name)]));
        for (least, most) in [([0, 0], [0x12, 0]), ([0, 0], [0, 0]), ([0, 16], [0xff, 0xff])] {
            let mut changed = flac.clone();
            changed[8..10].copy_from_slice(&least);
            changed[10..12].copy_from_slice(&most);
            assert_eq!(read(&folder, &[&changed]), sound, "{name}: {least:?} {most:?}");
        }
        // A block of words that is damaged does not concern the sound.
        let words = [&flac[..42], &[4, 0, 0, 9], &[0xff; 9], &flac[42..]].concat();
        let unmarked = [&words[..4], &[words[4] & 0x7f], &words[5..]].concat();
        assert_eq!(read(&folder, &[&unmarked]), sound, "{name}");
    }
}
