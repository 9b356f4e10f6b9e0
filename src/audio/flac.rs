//! FLAC before it is decoded: one file may hold several streams, and what they say of themselves is set right first.

use super::part::{Part, peek};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

/// How a stream begins: its mark, and the head of the block that describes it, which may be the last.
const MARKS: [&[u8; 8]; 2] = [b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22"];
/// Bytes of the block that describes a stream.
const INFO: usize = 34;
/// Smallest number of samples in a block.
const LEAST: u16 = 16;

/// The streams of a file, each as its mark, its description and its frames: what else is in front of the frames
/// (pictures, words, tables) is left out, and cannot be damaged. The inner error says what is wrong.
pub(super) fn streams(file: File, bounds: Range<u64>) -> io::Result<Result<VecDeque<Part>, String>> {
    // Shared, since a file may hold more streams than a process may have files.
    let (file, mut parts) = (Arc::new(file), VecDeque::new());
    let mut at = bounds.start;
    while at < bounds.end {
        let (mut info, mut block) = (None, at + 4);
        let frames = loop {
            let head = peek(&mut &*file, block, 4 + INFO)?;
            let [kind, a, b, c, rest @ ..] = &head[..] else { break None };
            let size = u64::from(*a) << 16 | u64::from(*b) << 8 | u64::from(*c);
            if kind & 0x7f == 0 && info.is_none() {
                info = rest.get(..INFO).map(<[u8]>::to_vec);
            }
            block += 4 + size;
            if kind & 0x80 != 0 || block > bounds.end {
                break Some(block).filter(|block| *block <= bounds.end);
            }
        };
        let (Some(mut info), Some(frames)) = (info, frames) else {
            return Ok(Err("header cut short: no sound data follows it".into()));
        };
        let end = next(&file, frames..bounds.end)?.unwrap_or(bounds.end);
        set_right(&mut info, &peek(&mut &*file, frames, 2)?);
        let front = [&MARKS[1][..], &info].concat();
        parts.push_back(Part::behind(front, Arc::clone(&file), frames..end));
        at = end;
    }
    Ok(Ok(parts))
}

/// Some encoders state no sizes of blocks, or that of the last as the smallest. What a frame says of itself, whether
/// they are all of one size, is what its decoder needs them to say.
fn set_right(info: &mut [u8], frame: &[u8]) {
    let size = |bytes: &[u8]| u16::from(bytes[0]) << 8 | u16::from(bytes[1]);
    let (mut least, mut most) = (size(&info[..2]), size(&info[2..4]));
    if most < LEAST {
        most = u16::MAX;
    }
    match frame {
        [0xff, 0xf8] => least = most,
        [0xff, 0xf9] if least < LEAST || least == most => least = LEAST,
        _ => least = least.max(LEAST),
    }
    for (at, size) in [(0, least), (2, most)] {
        info[at] = (size >> 8) as u8;
        info[at + 1] = size as u8;
    }
}

/// Where another stream begins.
fn next(mut file: &File, within: Range<u64>) -> io::Result<Option<u64>> {
    const BLOCK: usize = 1 << 16;
    file.seek(SeekFrom::Start(within.start))?;
    let mut reader = BufReader::with_capacity(BLOCK, file).take(within.end - within.start);
    // The last seven bytes of what was read before stay in front.
    let (mut bytes, mut from) = (Vec::new(), within.start);
    loop {
        if reader.by_ref().take(BLOCK as u64).read_to_end(&mut bytes)? == 0 {
            return Ok(None);
        }
        if let Some(at) = bytes.windows(8).position(|eight| eight[0] == b'f' && MARKS.iter().any(|mark| eight == *mark))
        {
            return Ok(Some(from + at as u64));
        }
        let used = bytes.len().saturating_sub(7);
        bytes.drain(..used);
        from += used as u64;
    }
}
