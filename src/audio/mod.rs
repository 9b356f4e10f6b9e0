//! Sound files in, mono samples out.
//!
//! ```text
//! file -> tags off -> source (riff, caf, coded) -> interleaved f32 at the native rate -> mixed to one channel
//!      -> resample -> blocks, Clip
//! folder -> which files are sounds, and what was left out
//! ```
//!
//! - A *frame* is one sample of every channel at one moment; *native* is what the file itself holds.
//! - A [`Reader`] hands out a file in blocks, in memory that does not grow with the file; a [`Clip`] is a whole
//!   sound.
//! - A [`Mix`] says how several channels become one: their mean, or one of them.
//! - What a file is follows from its bytes, never from its name. Tags in front (ID3v2, APEv2) and behind (ID3v1,
//!   APEv2, Lyrics3) of any size, and zeros or other rubbish in front of MP3, are stepped over.
//!
//! **What is read.** WAV, also as RF64, BW64, RIFX and Wave64: whole numbers of 1 to 64 bits (in bytes filled from
//! the top), floats of 32 and 64. AIFF, AIFC, AU and CAF: the same. With the feature `formats`, symphonia decodes
//! FLAC, Ogg (Vorbis, FLAC), MPEG audio of layers 1 to 3, AAC-LC of one or two channels (ADTS, MP4), ALAC, CAF,
//! Matroska and WebM, and the rarer kinds of WAV and AIFC (A-law, mu-law, MS and IMA ADPCM, MP3); opus-pure decodes
//! Opus in Ogg, MP4 and WebM. Of HE-AAC the AAC-LC part is read, with a remark. Anything else is refused by name.
//! Samples are scaled to -1..1; float files may exceed it. Encoder delay and padding are cut where the file states
//! them: MP3 with a LAME tag, Ogg, MP4 with an edit list. Where nothing states them (ADTS), AAC begins with some
//! 1,024 samples of its encoder's own.
//!
//! **What is refused.** A file is good as a whole or not at all. One error that names file and fault ends: a file
//! that ends before its header says so or inside a packet, a packet that does not decode, a wrong checksum of FLAC, a
//! lost page of Ogg, a sound that changes its rate or its channels, a sample that is not a number. Only where nothing
//! states a length (MP3 without a Xing tag, ADTS cut between frames, WAV of unknown length) does a sound end where
//! its file ends. Several sounds of one kind behind each other (MP3, FLAC, chained Ogg) are one sound. Bytes of a
//! file never cause a panic: decoders have some of their own for hostile files, which are caught and become errors (a
//! build with `panic = "abort"` would not catch them), though the process's panic hook sees them first.
//!
//! **Cost.** WAV decodes at about 2 ns a sample, resampling takes about 60 ns an output sample. A reader holds a few
//! blocks of 4,096 to 16,384 samples, more only where two rates share no common factor.

#[cfg(feature = "formats")]
mod blocks;
mod caf;
mod clip;
#[cfg(feature = "formats")]
mod coded;
#[cfg(feature = "formats")]
mod container;
#[cfg(feature = "formats")]
mod flac;
pub mod folder;
#[cfg(feature = "formats")]
mod frames;
mod linear;
#[cfg(feature = "formats")]
mod matroska;
mod mix;
#[cfg(feature = "formats")]
mod mp4;
#[cfg(feature = "formats")]
mod opus;
mod part;
mod reader;
mod resample;
mod riff;
mod source;
mod tags;
mod wave;

pub use clip::Clip;
pub use mix::Mix;
pub use reader::{Reader, Summary};
pub use source::Format;

use std::ffi::OsStr;
use std::ops::RangeInclusive;
use std::path::Path;

/// Sample rates that can be read and made, in Hz: from infrasound to ultrasound. In practice others are damage.
pub const RATES: RangeInclusive<u32> = 100..=2_000_000;

/// The kinds of files that are read, as text to show.
pub const KINDS: &str = "WAV, AIFF, AU, CAF, FLAC, Ogg, Opus, MP3, MP2, AAC, MP4, WebM";

/// Endings of file names, in lower case, that mark sounds when a folder is searched. Whether such a file is a sound
/// is up to its bytes. Endings of kinds that cannot be read are among them, so that such files are reported and not
/// overlooked.
pub const ENDINGS: [&str; 59] = [
    "wav", "wave", "bwf", "rf64", "bw64", "w64", "aiff", "aif", "aifc", "afc", "au", "snd", "caf", "flac", "fla",
    "ogg", "oga", "opus", "spx", "mp1", "mp2", "mp3", "mpa", "mpga", "m2a", "aac", "adts", "m4a", "m4b", "m4p", "m4r",
    "mp4", "m4v", "mov", "3gp", "3g2", "mka", "mkv", "webm", "weba", "ogv", "alac", "wma", "asf", "amr", "awb", "ac3",
    "eac3", "dts", "dsf", "dff", "ape", "wv", "mpc", "tta", "ra", "sph", "voc", "shn",
];

/// Returns whether a path ends like a sound file; capitals do not matter.
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
