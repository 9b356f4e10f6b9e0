//! What a file is, and the one face all decoders show.

use super::wav;
use crate::error::{Error, Result};
use std::fmt;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek};
use std::path::Path;

/// The kind of a sound file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RIFF/WAVE.
    Wav,
    /// FLAC.
    Flac,
    /// Ogg, holding Vorbis or FLAC.
    Ogg,
    /// MPEG audio, layer 3.
    Mp3,
    /// AAC in ADTS frames.
    Aac,
    /// MP4 (m4a), holding AAC.
    Mp4,
}

impl fmt::Display for Format {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Format::Wav => "WAV",
            Format::Flac => "FLAC",
            Format::Ogg => "Ogg",
            Format::Mp3 => "MP3",
            Format::Aac => "AAC",
            Format::Mp4 => "MP4",
        })
    }
}

/// Hands out the samples of one file in order.
pub(super) trait Source: Send {
    /// Frames a second.
    fn rate(&self) -> u32;

    /// Channels, at least 1.
    fn channels(&self) -> usize;

    /// Appends interleaved samples of some whole frames; `false` when the file has no more.
    fn read(&mut self, into: &mut Vec<f32>) -> Result<bool>;
}

/// Opens a file with the decoder that its first bytes ask for.
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
    let mut head = [0; 12];
    let held = read_up_to(&mut file, &mut head).map_err(|source| Error::io(path, "read", source))?;
    file.rewind().map_err(|source| Error::io(path, "read", source))?;
    match recognise(&head[..held]) {
        Some(Format::Wav) => wav::open(path, file),
        Some(format) => open_coded(path, file, format),
        None => Err(Error::unusable(path, "not a sound file of a known kind (WAV, FLAC, Ogg, MP3, AAC, MP4)")),
    }
}

/// The format that a file beginning with `head` (its first 12 bytes, or all of a shorter one) claims to be.
fn recognise(head: &[u8]) -> Option<Format> {
    match head {
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E'] => Some(Format::Wav),
        [b'f', b'L', b'a', b'C', ..] => Some(Format::Flac),
        [b'O', b'g', b'g', b'S', ..] => Some(Format::Ogg),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => Some(Format::Mp4),
        // A tag that players put before MP3.
        [b'I', b'D', b'3', ..] => Some(Format::Mp3),
        // Frame sync of 12 bits, then layer 0: ADTS; sync of 11 bits, then layer 3 (stored as 01): MP3.
        [0xff, second, ..] if second & 0xf6 == 0xf0 => Some(Format::Aac),
        [0xff, second, ..] if second & 0xe6 == 0xe2 => Some(Format::Mp3),
        _ => None,
    }
}

#[cfg(feature = "formats")]
pub(super) fn open_coded(path: &Path, file: File, likely: Format) -> Result<(Format, Box<dyn Source>)> {
    super::coded::open(path, file, likely)
}

#[cfg(not(feature = "formats"))]
pub(super) fn open_coded(path: &Path, _: File, likely: Format) -> Result<(Format, Box<dyn Source>)> {
    Err(Error::unusable(path, format!("{likely} of a kind that needs otolith built with the feature `formats`")))
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut held = 0;
    while held < buffer.len() {
        match file.read(&mut buffer[held..]) {
            Ok(0) => break,
            Ok(more) => held += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(held)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_the_format() {
        assert_eq!(recognise(b"RIFF\x10\0\0\0WAVE"), Some(Format::Wav));
        assert_eq!(recognise(b"fLaC\0\0\0\"...."), Some(Format::Flac));
        assert_eq!(recognise(b"\0\0\0\x1cftypM4A "), Some(Format::Mp4));
        assert_eq!(recognise(b"\xff\xfb\x90\x64"), Some(Format::Mp3));
        assert_eq!(recognise(b"\xff\xf1\x50\x80"), Some(Format::Aac));
        // A JPEG, a RIFF of another form, text, nothing.
        for other in [&b"\xff\xd8\xff\xe0"[..], b"RIFF\x10\0\0\0AVI ", b"hello, world", b""] {
            assert_eq!(recognise(other), None, "{other:?}");
        }
    }
}
