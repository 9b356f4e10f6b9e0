//! The tags that players put around a sound, whatever their size: where the sound itself begins and ends.
//!
//! In front: ID3v2, APEv2, one behind the other. Behind: ID3v1 with its extension, APEv2, Lyrics3, ID3v2 with a footer.

use super::part::peek;
use std::fs::File;
use std::io;
use std::ops::Range;

/// Bytes of an APEv2 header or footer, of an ID3v2 header or footer, of an ID3v1 tag, of its extension.
const APE: u64 = 32;
const ID3V2: u64 = 10;
const ID3V1: u64 = 128;
const EXTENDED: u64 = 227;
/// Most bytes of a Lyrics3 tag of version 1.
const LYRICS: u64 = 5_100 + 20;

/// The file without the tags around it. Never empty-handed: a tag that claims more than there is takes all there is.
pub(super) fn without(file: &mut File, length: u64) -> io::Result<Range<u64>> {
    let mut start = 0;
    while let Some(tag) = before(&peek(file, start, APE as usize)?) {
        start = (start + tag).min(length);
    }
    let mut end = length;
    while let Some(tag) = behind(file, start, end)? {
        end -= tag;
    }
    Ok(start..end)
}

/// Bytes of the tag that begins with these bytes.
pub(super) fn before(head: &[u8]) -> Option<u64> {
    match head {
        [b'I', b'D', b'3', major, minor, flags, size @ ..] if *major < 0xff && *minor < 0xff && size.len() >= 4 => {
            let footer = if flags & 0x10 != 0 { ID3V2 } else { 0 };
            Some(ID3V2 + seven_bits(size)? + footer)
        }
        [b'A', b'P', b'E', b'T', b'A', b'G', b'E', b'X', rest @ ..] if rest.len() >= 16 => Some(APE + word(&rest[4..])),
        _ => None,
    }
}

/// Bytes of the tag that ends at `end`.
fn behind(file: &mut File, start: u64, end: u64) -> io::Result<Option<u64>> {
    let mut last = |bytes: u64| match end.checked_sub(bytes) {
        Some(at) if at >= start => peek(file, at, bytes as usize),
        _ => Ok(Vec::new()),
    };
    if last(ID3V1)?.starts_with(b"TAG") {
        let extended = last(ID3V1 + EXTENDED)?.starts_with(b"TAG+");
        return Ok(Some(if extended { ID3V1 + EXTENDED } else { ID3V1 }));
    }
    let size = match (&last(APE)?[..], &last(15)?[..]) {
        ([b'A', b'P', b'E', b'T', b'A', b'G', b'E', b'X', about @ ..], _) => {
            let header = if about[15] & 0x80 != 0 { APE } else { 0 };
            Some(word(&about[4..]) + header)
        }
        (_, [digits @ .., b'L', b'Y', b'R', b'I', b'C', b'S', b'2', b'0', b'0']) => {
            str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u64>().ok()).map(|size| size + 15)
        }
        (_, [.., b'L', b'Y', b'R', b'I', b'C', b'S', b'E', b'N', b'D']) => {
            let text = last(LYRICS.min(end - start))?;
            text.windows(11).rposition(|word| word == b"LYRICSBEGIN").map(|at| (text.len() - at) as u64)
        }
        (_, [.., b'3', b'D', b'I', _, _, _, a, b, c, d]) => seven_bits(&[*a, *b, *c, *d]).map(|size| size + 2 * ID3V2),
        _ => None,
    };
    Ok(size.filter(|size| *size > 0 && *size <= end - start))
}

/// Four bytes of seven bits each, the first the highest.
fn seven_bits(bytes: &[u8]) -> Option<u64> {
    let four = &bytes[..4];
    four.iter().all(|byte| *byte < 0x80).then(|| four.iter().fold(0, |sum, byte| sum << 7 | u64::from(*byte)))
}

/// Four bytes, the first the lowest.
fn word(bytes: &[u8]) -> u64 {
    bytes[..4].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn sound_of(bytes: &[u8]) -> Range<u64> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        without(&mut file, bytes.len() as u64).unwrap()
    }

    #[test]
    fn every_kind_of_tag_is_taken_off_whatever_its_order() {
        let sound = vec![7; 500];
        let (id3, mut ape) = (b"ID3\x04\0\0\0\0\x02\x05".to_vec(), b"APETAGEX\xd0\x07\0\0".to_vec());
        let id3 = [id3, vec![0; 261]].concat();
        ape.extend(40_u32.to_le_bytes());
        ape.extend([0; 16]);
        let ape_behind = [vec![1; 8], ape.clone()].concat();
        let ape_before = [ape.clone(), vec![1; 40]].concat();
        let mut with_header = ape.clone();
        with_header[23] = 0x80;
        let ape_with_header = [vec![2; 40], with_header].concat();
        let id3v1 = [b"TAG".to_vec(), vec![0; 125]].concat();
        let extended = [b"TAG+".to_vec(), vec![0; 223], id3v1.clone()].concat();
        let lyrics1 = b"LYRICSBEGIN[00:01]some words LYRICSEND".to_vec();
        let lyrics2 = b"LYRICSBEGININD0000200000022LYRICS200".to_vec();
        let lyrics2 = [&lyrics2[..21], b"000021LYRICS200"].concat();
        let footed = b"ID3\x04\0\x10\0\0\0\x04wordxyz3DI\x04\0\x10\0\0\0\x04";
        let footed = [&footed[..14], &footed[17..]].concat();
        let none = Vec::new();
        for before in [&none, &id3, &ape_before, &[id3.clone(), ape_before.clone()].concat(), &footed] {
            for behind in [&none, &id3v1, &extended, &ape_behind, &ape_with_header, &lyrics1, &lyrics2, &footed] {
                for last in [&none, &id3v1] {
                    if last == behind {
                        continue;
                    }
                    let bytes = [&before[..], &sound, behind, last].concat();
                    let (from, to) = (before.len() as u64, (before.len() + sound.len()) as u64);
                    assert_eq!(sound_of(&bytes), from..to, "{before:?} {behind:?}");
                }
            }
        }
    }

    #[test]
    fn tags_that_claim_more_than_there_is_end_with_the_file() {
        assert_eq!(sound_of(b"ID3\x04\0\0\x7f\x7f\x7f\x7fabc"), 13..13);
        let mut footer = b"APETAGEX\xd0\x07\0\0".to_vec();
        footer.extend([0xff; 20]);
        let bytes = [vec![1; 100], footer].concat();
        assert_eq!(sound_of(&bytes), 0..132);
        for short in [&b""[..], b"I", b"ID3", b"TAG", b"APETAGEX"] {
            assert_eq!(sound_of(short), 0..short.len() as u64);
        }
    }
}
