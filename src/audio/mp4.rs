//! What an MP4 says of its sound that its reader passes over or takes wrong: samples of the encoder's own, how
//! QuickTime stores samples, what adds to AAC-LC, and what a codec is called.

use super::blocks;
use super::coded::Stream;
use super::part::peek;
use super::wave::{Adpcm, Coding, big, compression};
use std::fs::File;
use std::io;
use std::ops::Range;
use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_ALAC;

/// Most bytes of a table of contents that are looked through: an hour of sound has some 500 kB.
const CONTENTS: u64 = 16 << 20;

/// The kinds of sound that QuickTime shares with AIFC.
const SHARED: [&[u8; 4]; 11] =
    [b"twos", b"sowt", b"raw ", b"NONE", b"in24", b"in32", b"fl32", b"fl64", b"alaw", b"ulaw", b"ima4"];

/// What of a track is to be heard, in seconds, or in samples where the file says so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Heard {
    /// From there on, for so long if that is stated.
    Seconds { from: f64, length: Option<f64> },
    /// The same as Apple's encoders note it.
    Samples { from: u64, length: u64 },
}

impl Heard {
    /// Samples to skip, and how many follow at most, at `rate` Hz.
    pub(super) fn samples(self, rate: u32) -> (u64, u64) {
        let rate = f64::from(rate);
        match self {
            // Times are whole ticks of a clock that may be slower than the samples: none that sounds is cut. Where both
            // clocks are the same, the number is whole but for its last bits.
            Heard::Seconds { from, length } => (
                (from * rate).round() as u64,
                length.map_or(u64::MAX, |length| (length * rate - 1e-3).ceil().max(0.0) as u64),
            ),
            Heard::Samples { from, length } => (from, if length > 0 { length } else { u64::MAX }),
        }
    }
}

/// A track of sound.
pub(super) struct Sound {
    pub(super) id: u32,
    pub(super) heard: Option<Heard>,
    /// What symphonia would not find out, or take wrong.
    pub(super) stream: Option<Stream>,
    /// What is to be read in place of its kind, from there on, so that symphonia leaves it alone.
    pub(super) hidden: Option<(u64, Vec<u8>)>,
    /// What it is called, where nobody reads it.
    pub(super) unknown: Option<String>,
}

/// The tracks of sound that a file has, and, where it ends within a box, the bytes that it would have with all of that.
pub(super) fn sounds(file: &mut File, bounds: Range<u64>) -> io::Result<(Vec<Sound>, Option<u64>)> {
    let (mut at, mut sounds) = (bounds.start, Vec::new());
    while let [a, b, c, d, kind @ ..] = &peek(file, at, 16)?[..] {
        let (small, kind) = (big(&[*a, *b, *c, *d]), kind);
        let (head, size) = match (small, kind) {
            (1, [_, _, _, _, large @ ..]) if large.len() == 8 => (16, big(large)),
            (0, _) => (8, bounds.end.saturating_sub(at)),
            _ => (8, small),
        };
        let Some(end) = at.checked_add(size).filter(|_| size >= head) else { break };
        if end > bounds.end {
            return Ok((sounds, Some(end - bounds.start)));
        }
        if kind.starts_with(b"moov") && size <= CONTENTS {
            let movie = peek(file, at + head, (size - head) as usize)?;
            let clock = find(&movie, b"mvhd").and_then(clock);
            let tracks = boxes(&movie).filter(|(kind, _)| kind == b"trak");
            sounds.extend(tracks.filter_map(|(_, track)| sound(&movie, at + head - bounds.start, track, clock)));
        }
        at = end;
    }
    Ok((sounds, None))
}

/// A track, if it is one of sound, of a movie whose contents begin at byte `start`.
fn sound(movie: &[u8], start: u64, track: &[u8], movie_ticks: Option<f64>) -> Option<Sound> {
    let head = find(track, b"tkhd")?;
    let id = word(head, if head.first() == Some(&1) { 20 } else { 12 })? as u32;
    let media = find(track, b"mdia")?;
    if find(media, b"hdlr")?.get(8..12)? != b"soun" {
        return None;
    }
    let head = find(media, b"mdhd")?;
    let wide = head.first() == Some(&1);
    let (ticks, length) = (clock(head)?, if wide { head.get(24..32)? } else { head.get(16..20)? });
    let edits = find(track, b"edts").and_then(|edits| find(edits, b"elst"));
    let heard = edits.zip(movie_ticks).and_then(|(list, movie_ticks)| edit(list, movie_ticks, ticks, big(length)));
    let mut sound = Sound { id, heard: heard.or_else(|| of_apple(movie)), stream: None, hidden: None, unknown: None };
    let tables = find(find(media, b"minf")?, b"stbl")?;
    if let Some(entry) = find(tables, b"stsd").and_then(Entry::read) {
        let size = find(tables, b"stsz").and_then(|sizes| word(sizes, 4)).unwrap_or(0);
        let shared = SHARED.contains(&&entry.kind);
        if shared {
            let at = start + (entry.at.as_ptr().addr() - movie.as_ptr().addr()) as u64;
            sound.hidden = Some((at, b"seen".to_vec()));
        }
        sound.stream = entry.stream(ticks, size);
        if let Some(stream) = sound.stream.as_mut().filter(|_| shared) {
            let counted = stream.codec.sample_rate.map(f64::from) == Some(ticks);
            stream.promised = Some(big(length)).filter(|_| counted);
        }
        sound.unknown = sound.stream.is_none().then(|| entry.name()).flatten();
    }
    Some(sound)
}

/// Reads an edit list: one stretch of sound is what encoders note there; several are a work of art that is not
/// followed.
fn edit(list: &[u8], movie_ticks: f64, ticks: f64, media: u64) -> Option<Heard> {
    let wide = list.first() == Some(&1);
    let entries = list.get(8..)?.chunks_exact(if wide { 20 } else { 12 }).take(word(list, 4)? as usize);
    let split = |entry: &[u8]| match wide {
        true => (big(&entry[..8]), big(&entry[8..16]) as i64),
        false => (big(&entry[..4]), i64::from(big(&entry[4..8]) as i32)),
    };
    // A time below 0 stands for a pause in front.
    let mut sounding = entries.map(split).filter(|(_, from)| *from >= 0);
    let (length, from) = sounding.next()?;
    if sounding.next().is_some() {
        return None;
    }
    let rest = media.saturating_sub(from as u64) as f64 / ticks;
    let stated = length as f64 / movie_ticks;
    let length = match (length, rest > 0.0) {
        (0, _) => None,
        // The clock of the movie is slow: an edit that reaches the end within a tick of it ends where the sound does.
        (_, true) if (stated - rest).abs() < 1.0 / movie_ticks => Some(rest),
        _ => Some(stated),
    };
    Some(Heard::Seconds { from: from as f64 / ticks, length })
}

/// How sound is described.
struct Entry<'b> {
    /// Where its kind stands.
    at: &'b [u8],
    kind: [u8; 4],
    channels: u16,
    bits: u64,
    rate: u32,
    /// The boxes that follow, and those in the one that QuickTime puts around them.
    inner: &'b [u8],
    wave: &'b [u8],
}

impl Entry<'_> {
    /// The first entry of a `stsd`.
    fn read(described: &[u8]) -> Option<Entry<'_>> {
        let at = described.get(12..)?;
        let (kind, entry) = boxes(described.get(8..)?).next()?;
        let (version, channels) = (big(entry.get(8..10)?), big(entry.get(16..18)?) as u16);
        let (mut bits, rate) = (big(entry.get(18..20)?), big(entry.get(24..26)?) as u32);
        let inner = match version {
            0 => entry.get(28..)?,
            1 => {
                // Bytes of a sample, which count for more.
                bits = Some(8 * word(entry, 32)?).filter(|bits| (8..=64).contains(bits)).unwrap_or(bits);
                entry.get(44..)?
            }
            _ => entry.get(64..)?,
        };
        let wave = find(inner, b"wave").unwrap_or_default();
        Some(Entry { at, kind, channels, bits, rate, inner, wave })
    }

    /// What symphonia would take wrong or not know, in samples of `size` bytes if they are all of one.
    fn stream(&self, ticks: f64, size: u64) -> Option<Stream> {
        let channels = self.channels;
        let rate = if self.rate == 0 { ticks as u32 } else { self.rate };
        let mut codec = AudioCodecParameters::new();
        codec.with_sample_rate(rate).with_channels(Channels::Discrete(channels));
        if &self.kind == b"alac" {
            let cookie = find(self.wave, b"alac")?.get(4..)?;
            codec.for_codec(CODEC_ID_ALAC).with_extra_data(cookie.into());
            return Some(Stream::new(codec));
        }
        if !SHARED.contains(&&self.kind) || channels == 0 {
            return None;
        }
        match compression(&self.kind, self.bits, channels).ok()? {
            Coding::Linear(mut linear) => {
                // Whether the lowest byte comes first, where a kind does not say.
                let little =
                    find(self.wave, b"enda").or_else(|| find(self.inner, b"enda")).is_some_and(|word| word == [0, 1]);
                linear.big_endian &= !little;
                let whole = size.is_multiple_of(linear.bytes as u64 * u64::from(channels));
                whole.then(|| Stream { linear: Some((linear, channels)), ..Stream::new(codec) })
            }
            Coding::Adpcm { block, frames, .. } if channels <= 2 && size == u64::from(block) => {
                Some(Stream::new(blocks::codec(Adpcm::QuickTime, rate, channels, frames, frames)))
            }
            _ => None,
        }
    }

    /// What it is called where nobody reads it.
    fn name(&self) -> Option<String> {
        let object = || {
            let esds = find(self.inner, b"esds").or_else(|| find(self.wave, b"esds"))?;
            // A description of 4 within that of 3, each a number, its length in up to four bytes, and what it holds.
            let behind = |at: usize| {
                let length = esds.get(at + 1..at + 5)?;
                Some(at + 2 + length.iter().take_while(|byte| **byte & 0x80 != 0).count())
            };
            let at = behind(behind(4)? + 3)?;
            esds.get(at).copied()
        };
        let name = match &self.kind {
            b"mp4a" => match object()? {
                0x40 | 0x66..=0x69 | 0x6b => return None,
                0xa5 => "AC-3",
                0xa6 => "E-AC-3",
                0xa9..=0xac => "DTS",
                0xad => "Opus of an older kind",
                0xdd => "Vorbis",
                0xe1 => "QCELP",
                other => return Some(format!("MPEG-4 sound of type 0x{other:02x}")),
            },
            b"alac" | b"fLaC" | b"Opus" | b".mp3" | b"lpcm" => return None,
            b"ac-3" | b"sac3" => "AC-3",
            b"ec-3" => "E-AC-3",
            b"ac-4" => "AC-4",
            b"samr" => "AMR",
            b"sawb" => "AMR-WB",
            b"agsm" => "GSM 6.10",
            b"MAC3" | b"MAC6" => "MACE",
            b"QDM2" | b"QDMC" => "QDesign Music",
            b"Qclp" | b"sqcp" => "QCELP",
            b"mlpa" => "TrueHD",
            b"dtsc" | b"dtse" | b"dtsh" | b"dtsl" => "DTS",
            b"ms\0\x02" => "MS ADPCM",
            b"ms\0\x11" => "IMA ADPCM",
            b"enca" | b"drms" => "sound that is encrypted",
            kind => return Some(format!("sound of kind `{}`", kind.escape_ascii())),
        };
        Some(name.to_owned())
    }
}

/// ` 00000000 DELAY PADDING LENGTH ..` in hexadecimal digits.
fn of_apple(movie: &[u8]) -> Option<Heard> {
    let at = movie.windows(8).position(|name| name == b"iTunSMPB")? + 8;
    let text = String::from_utf8_lossy(movie.get(at..at + 96)?);
    let digits = text.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() == 8 || word.len() == 16);
    let numbers: Vec<u64> = digits.filter_map(|word| u64::from_str_radix(word, 16).ok()).collect();
    match numbers[..] {
        [_, from, _, length, ..] => Some(Heard::Samples { from, length }),
        _ => None,
    }
}

/// Boxes behind each other: kind and contents.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let size = usize::try_from(word(bytes, 0)?).ok()?;
        let kind = bytes.get(4..8)?.try_into().ok()?;
        let contents = bytes.get(8..size)?;
        bytes = &bytes[size..];
        Some((kind, contents))
    })
}

fn find<'b>(bytes: &'b [u8], wanted: &[u8; 4]) -> Option<&'b [u8]> {
    boxes(bytes).find(|(kind, _)| kind == wanted).map(|(_, contents)| contents)
}

/// Ticks a second, as heads of movies and media state them.
fn clock(head: &[u8]) -> Option<f64> {
    word(head, if head.first() == Some(&1) { 20 } else { 12 }).filter(|ticks| *ticks > 0).map(|ticks| ticks as f64)
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 4).map(big)
}

/// The description of AAC without what adds to its AAC-LC part, and the rate of that part where there was something.
/// The error says of what kind it is instead.
pub(super) fn plain_aac(config: &[u8]) -> Result<(Box<[u8]>, Option<u32>), String> {
    const RATES: [u32; 13] =
        [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
    let mut bits = config.iter().flat_map(|byte| (0..8).rev().map(move |bit| u32::from(byte >> bit & 1)));
    let mut take = |count: usize| bits.by_ref().take(count).fold(0, |sum, bit| sum << 1 | bit);
    let kind = take(5);
    let (mut core, rate) = (kind, take(4));
    let given = if rate == 15 { take(24) } else { 0 };
    let channels = take(4);
    let added = matches!(kind, 5 | 29);
    if added {
        if take(4) == 15 {
            take(24);
        }
        core = take(5);
    }
    let short = take(1) == 1;
    match core {
        2 if short => return Err("AAC of 960 samples a frame".into()),
        2 if channels > 2 => return Err(format!("AAC of {} channels", if channels == 7 { 8 } else { channels })),
        2 if channels == 0 => return Err("AAC whose channels are stated in its frames".into()),
        2 => {}
        1 => return Err("AAC Main".into()),
        4 => return Err("AAC-LTP".into()),
        23 | 39 => return Err("AAC-LD".into()),
        31 => return Err("AAC of a newer kind (xHE-AAC, USAC)".into()),
        other => return Err(format!("MPEG-4 sound of object type {other}")),
    }
    let (head, width) = if rate == 15 { (15 << 24 | u64::from(given), 28) } else { (u64::from(rate), 4) };
    // Object type 2, the rate, the channels, three flags that are not set; filled up to whole bytes.
    let plain = ((2 << width | head) << 4 | u64::from(channels)) << 3;
    let length: u32 = 5 + width + 4 + 3;
    let bytes = length.div_ceil(8);
    let plain = plain << (8 * bytes - length);
    let config = (0..bytes).rev().map(|byte| (plain >> (8 * byte)) as u8).collect();
    let rate = RATES.get(rate as usize).copied().unwrap_or(given);
    Ok((config, added.then_some(rate)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_adds_to_aac_lc_is_taken_off_its_description() {
        // AAC-LC at 44,100 Hz, stereo; the same at a rate of its own; HE-AAC on 22,050 Hz; HE-AAC v2.
        assert_eq!(plain_aac(&[0x12, 0x10]).unwrap(), ([0x12, 0x10].into(), None));
        assert_eq!(plain_aac(&[0x12, 0x10, 0x56, 0xe5, 0x98]).unwrap(), ([0x12, 0x10].into(), None));
        assert_eq!(plain_aac(&[0x2b, 0x92, 0x08, 0x00]).unwrap(), ([0x13, 0x90].into(), Some(22_050)));
        assert_eq!(plain_aac(&[0xeb, 0x8a, 0x08, 0x00]).unwrap(), ([0x13, 0x88].into(), Some(22_050)));
        let given = plain_aac(&[0x17, 0x80, 0x00, 0x3e, 0x88]).unwrap();
        assert_eq!(given, ([0x17, 0x80, 0x00, 0x3e, 0x88].into(), None));
        for (other, name) in
            [(&[0x12, 0x30][..], "6 channels"), (&[0x0a, 0x10], "Main"), (&[0xf9, 0x46], "xHE"), (&[], "type 0")]
        {
            assert!(plain_aac(other).unwrap_err().contains(name), "{name}");
        }
    }

    #[test]
    fn apples_note_of_the_samples_of_its_encoder_is_read() {
        let note = b"----..name....iTunSMPB....data........ 00000000 00000840 000001CA 00000000003F31F6 00000000 00000000 00000000 00000000";
        assert_eq!(of_apple(note), Some(Heard::Samples { from: 0x840, length: 0x3f_31f6 }));
        assert_eq!(of_apple(b"iTunSMPB"), None);
    }
}
