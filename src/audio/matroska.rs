//! How a Matroska or WebM ends, and what its sounds are called. One that was written to a pipe or while it was recorded
//! does not say how long it is, and its reader takes the end of the file for a cut.

use super::part::peek;
use super::wave::big;
use std::fs::File;
use std::io;
use std::ops::Range;

/// Elements that are looked at for what the sounds are called.
const ELEMENTS: usize = 1_000;

const SEGMENT: u64 = 0x1853_8067;

/// An element: what it is, where its contents begin, and how many bytes they have, if it says so.
struct Element {
    id: u64,
    at: u64,
    size: Option<u64>,
}

/// The element that begins at `at`: a number with its length in the zeros before its first bit, twice.
fn element(file: &mut File, at: u64) -> io::Result<Option<Element>> {
    let head = peek(file, at, 12)?;
    let number = |from: usize, most: usize| {
        let length = head.get(from)?.leading_zeros() as usize + 1;
        let bytes = head.get(from..from + length).filter(|_| length <= most)?;
        Some((big(bytes), length))
    };
    let Some((id, first)) = number(0, 4) else { return Ok(None) };
    let Some((size, second)) = number(first, 8) else { return Ok(None) };
    let mask = (1 << (7 * second)) - 1;
    // All bits set stand for unknown.
    let size = Some(size & mask).filter(|size| *size != mask);
    Ok(Some(Element { id, at: at + (first + second) as u64, size }))
}

/// What the sounds of a file are called, as far as they lie in front of the first block.
pub(super) fn codecs(file: &mut File, bounds: &Range<u64>) -> io::Result<Vec<String>> {
    const TRACKS: u64 = 0x1654_ae6b;
    const CLUSTER: u64 = 0x1f43_b675;
    let (mut at, mut names) = (bounds.start, Vec::new());
    for _ in 0..ELEMENTS {
        let Some(found) = element(file, at)?.filter(|found| found.id != CLUSTER) else { break };
        let size = found.size.unwrap_or(0);
        match found.id {
            // A track, and what it is called: `A_` and more.
            SEGMENT | TRACKS | 0xae => at = found.at,
            0x86 => {
                let name = peek(file, found.at, size.min(64) as usize)?;
                if name.starts_with(b"A_") {
                    names.push(format!("sound of kind `{}`", name.escape_ascii()));
                }
                at = found.at.saturating_add(size);
            }
            _ => at = found.at.saturating_add(size),
        }
    }
    Ok(names)
}

/// The bytes that a file promises from its first on; none where it says that they are unknown, or nothing at all.
pub(super) fn promised(file: &mut File, bounds: &Range<u64>) -> io::Result<Option<u64>> {
    let Some(Element { at, size: Some(size), .. }) = element(file, bounds.start)? else { return Ok(None) };
    let segment = element(file, at.saturating_add(size))?.filter(|segment| segment.id == SEGMENT);
    Ok(segment.and_then(|segment| (segment.at - bounds.start).checked_add(segment.size?)))
}

/// Whether a file ends where an element ends: what states its size is passed over, what does not is gone into.
pub(super) fn is_complete(file: &mut File, bounds: &Range<u64>) -> io::Result<bool> {
    let mut at = bounds.start;
    while at < bounds.end {
        let Some(found) = element(file, at)? else { return Ok(false) };
        at = found.at.saturating_add(found.size.unwrap_or(0));
    }
    Ok(at == bounds.end)
}
