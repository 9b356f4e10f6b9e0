//! What an MP4 says of its sound that its reader passes over: samples of the encoder's own, and what adds to AAC-LC.

use super::part::peek;
use super::wave::big;
use std::fs::File;
use std::io;
use std::ops::Range;

/// Most bytes of a table of contents that are looked through: an hour of sound has some 500 kB.
const CONTENTS: u64 = 16 << 20;

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
            // Times are whole ticks of a clock that may be slower than the samples: none that sounds is cut.
            Heard::Seconds { from, length } => {
                ((from * rate).round() as u64, length.map_or(u64::MAX, |length| (length * rate).ceil() as u64))
            }
            Heard::Samples { from, length } => (from, if length > 0 { length } else { u64::MAX }),
        }
    }
}

/// Reads the edit list of a track: one stretch of sound is what encoders note there; several are a work of art that is not followed.
pub(super) fn heard(file: &mut File, bounds: Range<u64>, track: u32) -> io::Result<Option<Heard>> {
    let mut at = bounds.start;
    while let [a, b, c, d, kind @ ..] = &peek(file, at, 16)?[..] {
        let (small, kind) = (big(&[*a, *b, *c, *d]), kind);
        let (head, size) = match (small, kind) {
            (1, [_, _, _, _, large @ ..]) if large.len() == 8 => (16, big(large)),
            (0, _) => (8, bounds.end - at),
            _ => (8, small),
        };
        let Some(end) = at.checked_add(size).filter(|end| size >= head && *end <= bounds.end) else { break };
        if kind.starts_with(b"moov") && size <= CONTENTS {
            let contents = peek(file, at + head, (size - head) as usize)?;
            return Ok(of_track(&contents, track).or_else(|| of_apple(&contents)));
        }
        at = end;
    }
    Ok(None)
}

fn of_track(movie: &[u8], id: u32) -> Option<Heard> {
    let ticks = clock(find(movie, b"mvhd")?)?;
    let is_it = |track: &&[u8]| {
        find(track, b"tkhd").and_then(|head| word(head, if head.first() == Some(&1) { 20 } else { 12 }))
            == Some(id.into())
    };
    let track = boxes(movie).filter(|(kind, _)| kind == b"trak").map(|(_, track)| track).find(is_it)?;
    let media_ticks = clock(find(find(track, b"mdia")?, b"mdhd")?)?;
    let list = find(find(track, b"edts")?, b"elst")?;
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
    let length = (length > 0).then_some(length as f64 / ticks);
    Some(Heard::Seconds { from: from as f64 / media_ticks, length })
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
