//! Recognising what a file is, and the trait that all decoders implement.

use super::linear::Samples;
use super::part::{Part, peek};
use super::wave::{Coding, Wave, not_read};
use super::{caf, riff, tags};
use crate::error::{Error, Result};
use std::fmt;
use std::fs::{self, File};
#[cfg(not(feature = "formats"))]
use std::ops::Range;
use std::path::Path;

/// The kind of a sound file, as its bytes tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// RIFF/WAVE, also as RF64, BW64, RIFX and Wave64; holds linear samples, A-law, mu-law, ADPCM, MPEG audio or
    /// ADTS.
    Wav,
    /// AIFF and AIFC; holds linear samples, A-law, mu-law or QuickTime's ADPCM.
    Aiff,
    /// Sun's AU; holds linear samples, A-law or mu-law.
    Au,
    /// Apple's CAF; holds linear samples, ALAC, AAC and others.
    Caf,
    /// FLAC in its own container.
    Flac,
    /// Ogg; holds Vorbis, Opus or FLAC.
    Ogg,
    /// MPEG audio, layer 1 or 2.
    Mp2,
    /// MPEG audio, layer 3.
    Mp3,
    /// AAC in ADTS frames.
    Aac,
    /// MP4 (also m4a, QuickTime); holds AAC, ALAC, Opus and others.
    Mp4,
    /// Matroska and WebM; holds Vorbis, Opus, FLAC, AAC and others.
    Matroska,
}

impl fmt::Display for Format {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Format::Wav => "WAV",
            Format::Aiff => "AIFF",
            Format::Au => "AU",
            Format::Caf => "CAF",
            Format::Flac => "FLAC",
            Format::Ogg => "Ogg",
            Format::Mp2 => "MP2",
            Format::Mp3 => "MP3",
            Format::Aac => "AAC",
            Format::Mp4 => "MP4",
            Format::Matroska => "Matroska",
        })
    }
}

/// Hands out the samples of one file in order.
pub(super) trait Source: Send {
    /// Returns the native sample rate: frames in a second.
    fn rate(&self) -> u32;

    /// Returns the number of channels, at least 1.
    fn channels(&self) -> usize;

    /// Appends the interleaved samples of some whole frames to `into`; returns false when the file has no more.
    fn read(&mut self, into: &mut Vec<f32>) -> Result<bool>;

    /// Returns sentences that the file's user should read, as far as it has been read.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }
}

/// How many bytes are searched for the beginning of a sound.
pub(super) const SEARCHED: usize = 64 << 10;

/// Opens a file with the decoder that its bytes call for: the first bytes behind its tags, or where these tell nothing,
/// the first that do.
pub(super) fn open(path: &Path) -> Result<(Format, Box<dyn Source>)> {
    let about = fs::metadata(path).map_err(|source| Error::io(path, "open", source))?;
    if about.is_dir() {
        return Err(Error::unusable(path, "a directory, not a sound file"));
    }
    if !about.is_file() {
        return Err(Error::unusable(path, "not a regular file"));
    }
    if about.len() == 0 {
        return Err(Error::unusable(path, "empty file"));
    }
    let mut file = File::open(path).map_err(|source| Error::io(path, "open", source))?;
    let failed = |source| Error::io(path, "read", source);
    let mut bounds = tags::without(&mut file, about.len()).map_err(failed)?;
    let mut head = peek(&mut file, bounds.start, SEARCHED).map_err(failed)?;
    if head.is_empty() {
        return Err(Error::unusable(path, "holds no sound beside its tags"));
    }
    let mut format = recognise(&head);
    // Some writers leave room in front of a sound.
    while format.is_none() && head.first() == Some(&0) && bounds.start < bounds.end {
        bounds.start += head.iter().position(|byte| *byte != 0).unwrap_or(head.len()) as u64;
        head = peek(&mut file, bounds.start, SEARCHED).map_err(failed)?;
        bounds.start += tags::before(&head).unwrap_or(0).min(bounds.end.saturating_sub(bounds.start));
        head = peek(&mut file, bounds.start, SEARCHED).map_err(failed)?;
        format = recognise(&head);
    }
    if format.is_none()
        && let Some((at, found)) = frames_within(&head)
    {
        bounds.start += at as u64;
        format = Some(found);
    }
    match format {
        Some(format @ (Format::Wav | Format::Aiff | Format::Au)) => {
            let wave = riff::find(&mut file, about.len(), bounds).map_err(failed)?;
            let wave = wave.map_err(|why| Error::unusable(path, format!("{format}: {why}")))?;
            Ok((format, open_wave(path, file, wave)?))
        }
        Some(Format::Caf) => match caf::find(&mut file, bounds.clone()).map_err(failed)? {
            Some(wave) => {
                let wave = wave.map_err(|why| Error::unusable(path, format!("CAF: {why}")))?;
                Ok((Format::Caf, open_wave(path, file, wave)?))
            }
            None => open_coded(path, file, bounds, Format::Caf),
        },
        Some(format) => open_coded(path, file, bounds, format),
        None => Err(Error::unusable(path, unknown(&head))),
    }
}

fn open_wave(path: &Path, file: File, wave: Wave) -> Result<Box<dyn Source>> {
    let Coding::Linear(linear) = wave.coding else { return open_wave_coded(path, file, wave) };
    let frame = u64::from(wave.channels) * linear.bytes as u64;
    Ok(Box::new(Samples {
        path: path.to_path_buf(),
        part: Part::new(file, wave.data),
        linear,
        rate: wave.rate,
        channels: wave.channels,
        promised: wave.stated.map(|bytes| bytes / frame),
        frames: 0,
        buffer: Vec::new(),
    }))
}

/// Returns the format of a file that begins with `head`, by its first bytes alone.
fn recognise(head: &[u8]) -> Option<Format> {
    match head {
        [b'f', b'L', b'a', b'C', ..] => Some(Format::Flac),
        [b'O', b'g', b'g', b'S', ..] => Some(Format::Ogg),
        // The boxes that an MP4 or QuickTime file begins with.
        [_, _, _, _, b'f', b't', b'y', b'p', ..] | [_, _, _, _, b'm', b'o', b'o', b'v', ..] => Some(Format::Mp4),
        [0, 0, _, _, b'm', b'd', b'a', b't', ..]
        | [0, 0, _, _, b'w', b'i', b'd', b'e', ..]
        | [0, 0, _, _, b's', b't', b'y', b'p', ..] => Some(Format::Mp4),
        [b'c', b'a', b'f', b'f', 0, ..] => Some(Format::Caf),
        [0x1a, 0x45, 0xdf, 0xa3, ..] => Some(Format::Matroska),
        _ => riff::recognise(head).or_else(|| frames_at(head)),
    }
}

#[cfg(feature = "formats")]
use super::frames::{at as frames_at, is_free, within as frames_within};

/// Without the decoders, two bytes are enough to name what is missing.
#[cfg(not(feature = "formats"))]
fn frames_at(head: &[u8]) -> Option<Format> {
    match head {
        // Frame sync of 12 bits, then layer 0: ADTS; sync of 11 bits, then another layer: MPEG audio.
        [0xff, second, ..] if second & 0xf6 == 0xf0 => Some(Format::Aac),
        [0xff, second, ..] if second & 0xe6 == 0xe2 => Some(Format::Mp3),
        _ => None,
    }
}

#[cfg(not(feature = "formats"))]
fn frames_within(_head: &[u8]) -> Option<(usize, Format)> {
    None
}

#[cfg(not(feature = "formats"))]
fn is_free(_head: &[u8]) -> bool {
    false
}

#[cfg(feature = "formats")]
use super::coded::{open as open_coded, open_wave as open_wave_coded};

#[cfg(not(feature = "formats"))]
fn open_coded(path: &Path, _: File, _: Range<u64>, likely: Format) -> Result<(Format, Box<dyn Source>)> {
    Err(Error::unusable(path, format!("{likely} of a kind that needs otolith built with the feature `formats`")))
}

#[cfg(not(feature = "formats"))]
fn open_wave_coded(path: &Path, _: File, wave: Wave) -> Result<Box<dyn Source>> {
    let kind = wave.format;
    Err(Error::unusable(path, format!("{kind} of a kind that needs otolith built with the feature `formats`")))
}

/// First bytes of sounds in formats that are not read, and the names of the formats.
const OTHERS: [(&[u8], &str); 21] = [
    (b"#!AMR", "AMR"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media (WMA, ASF)"),
    (b"DSD ", "DSD (DSF)"),
    (b"FRM8", "DSD (DFF)"),
    (b"\x0b\x77", "AC-3"),
    (b"\x7f\xfe\x80\x01", "DTS"),
    (b"MAC ", "Monkey's Audio"),
    (b"wvpk", "WavPack"),
    (b"MPCK", "Musepack"),
    (b"MP+", "Musepack"),
    (b"TTA1", "True Audio (TTA)"),
    (b"OFR ", "OptimFROG"),
    (b".RMF", "RealMedia"),
    (b".ra\xfd", "RealAudio"),
    (b"NIST_1A", "NIST SPHERE"),
    (b"Creative Voice File", "VOC"),
    (b"ajkg", "Shorten"),
    (b"FLV\x01", "Flash video"),
    (b"\0\0\x01\xba", "MPEG video"),
    (b"\0\0\x01\xb3", "MPEG video"),
    (b"FORM", "IFF (8SVX or another form)"),
];

/// First bytes of other files that are often met among sounds, and what they are.
const NO_SOUNDS: [(&[u8], &str); 8] = [
    (b"MThd", "MIDI, which holds notes"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF", "a PDF"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89PNG", "a PNG picture"),
    (b"version https://git-lfs", "a pointer of git-lfs: fetch the file itself with `git lfs pull`"),
    (b"<!DOCTYPE", "a web page"),
];

/// Names a file that is not read.
fn unknown(head: &[u8]) -> String {
    let named = |names: &[(&[u8], &'static str)]| {
        names.iter().find(|(first, _)| head.starts_with(first)).map(|(_, name)| *name)
    };
    if let [b'R', b'I', b'F', b'F', _, _, _, _, form @ ..] = head {
        let form = String::from_utf8_lossy(&form[..form.len().min(4)]).escape_default().to_string();
        return not_read(&format!("RIFF holding `{form}`"));
    }
    // Packets of 188 bytes that begin with the same byte.
    if head.len() > 376 && [0, 188, 376].iter().all(|at| head[*at] == b'G') {
        return not_read("MPEG transport stream");
    }
    if is_free(head) {
        return not_read("MP3 of free bit rate");
    }
    // A sync of eleven bits, then a length.
    if matches!(head, [0x56, second, ..] if second & 0xe0 == 0xe0) {
        return not_read("AAC in LATM");
    }
    match (named(&OTHERS), named(&NO_SOUNDS)) {
        (Some(name), _) => not_read(name),
        (_, Some(name)) => format!("not a sound file but {name}"),
        _ => format!("not a sound file of a known kind ({})", super::KINDS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_the_format() {
        assert_eq!(recognise(b"RIFF\x10\0\0\0WAVE"), Some(Format::Wav));
        assert_eq!(recognise(b"FORM\0\0\0\0AIFC"), Some(Format::Aiff));
        assert_eq!(recognise(b"fLaC\0\0\0\"...."), Some(Format::Flac));
        assert_eq!(recognise(b"\0\0\0\x1cftypM4A "), Some(Format::Mp4));
        assert_eq!(recognise(b"\xff\xfb\x90\x64"), Some(Format::Mp3));
        assert_eq!(recognise(b"\xff\xf1\x50\x80\x02\x1f\xfc"), Some(Format::Aac));
        // A JPEG, a RIFF of another form, text, nothing.
        for other in [&b"\xff\xd8\xff\xe0"[..], b"RIFF\x10\0\0\0AVI ", b"hello, world", b""] {
            assert_eq!(recognise(other), None, "{other:?}");
        }
    }

    #[test]
    fn what_is_not_read_is_named_with_a_way_out() {
        assert!(unknown(b"#!AMR\n").contains("AMR, which is not read: convert it"));
        assert!(unknown(b"\xff\xd8\xff\xe0").contains("not a sound file but a JPEG picture"));
        assert!(unknown(b"hello").contains("not a sound file of a known kind (WAV"));
    }
}
