//! Sound files in, mono samples out.
//!
//! ```text
//! file -> source (wav, coded) -> interleaved f32 at the native rate -> mean over channels -> resample -> blocks, Clip
//! ```
//!
//! - A *frame* is one sample of every channel at one moment; *native* is what the file itself holds.
//! - A [`Reader`] hands out a file in blocks, in memory that does not grow with the file; a [`Clip`] is a whole sound.
//! - What a file is follows from its first bytes, never from its name.
//!
//! WAV is read through hound (8-bit unsigned, 16, 24 and 32-bit integer, 32-bit float, extensible or not). With the
//! feature `formats` symphonia reads FLAC, Ogg Vorbis, MP3, AAC (ADTS and MP4) and the rarer kinds of WAV (A-law, u-law,
//! ADPCM, 64-bit float, unknown length). Samples are scaled to -1..1; float files may exceed it. Encoder delay and
//! padding are cut where symphonia knows them (MP3 with a LAME tag, Ogg) and stay where it does not: AAC begins with some
//! 1,024 samples of its encoder's own.
//!
//! **What is refused.** A file is good as a whole or not at all: one that ends before its header says so or inside a
//! packet, a packet that does not decode, a wrong checksum of FLAC, a lost page of Ogg, a second stream behind the first,
//! a sample that is not a number, all end in one error that names file and fault. Only where nothing states a length
//! (MP3 without a Xing tag, ADTS cut between frames, WAV of unknown length) does a sound end where its file ends. Bytes
//! of a file never cause a panic: symphonia has some of its own for hostile Ogg files, which are caught (a build with
//! `panic = "abort"` would not) and become errors, though the process's panic hook sees them first.
//!
//! **Cost.** WAV decodes at about 12 ns a sample, resampling takes about 60 ns an output sample. A reader holds a few
//! blocks of 4,096 to 16,384 samples, more only where two rates share no common factor.

mod clip;
#[cfg(feature = "formats")]
mod coded;
mod reader;
mod resample;
mod source;
mod wav;

pub use clip::Clip;
pub use reader::{Reader, Summary};
pub use source::Format;

use std::ffi::OsStr;
use std::ops::RangeInclusive;
use std::path::Path;

/// Sample rates that are read and made, in Hz: from telemetry to the fastest converters. Others are damage in practice.
pub const RATES: RangeInclusive<u32> = 1_000..=384_000;

/// Endings of file names, in lower case, that are looked for in folders. Whether such a file is a sound is up to its bytes.
pub const ENDINGS: [&str; 9] = ["wav", "wave", "flac", "ogg", "oga", "mp3", "m4a", "mp4", "aac"];

/// Whether a path ends like a sound file.
pub fn has_sound_ending(path: &Path) -> bool {
    let ending = path.extension().and_then(OsStr::to_str);
    ending.is_some_and(|ending| ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_compared_without_case() {
        assert!(has_sound_ending(Path::new("a/b.WAV")) && has_sound_ending(Path::new("b.ogg")));
        assert!(!has_sound_ending(Path::new("wav")) && !has_sound_ending(Path::new("a.txt")));
    }
}
