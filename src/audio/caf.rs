//! CAF that holds samples or ADPCM, one behind the other: what a WAV would hold. What comes in packets takes a reader
//! of its own.

use super::linear::{Linear, Number};
use super::part::peek;
use super::source::Format;
use super::wave::{Coding, Wave, big, compression};
use std::fs::File;
use std::io;
use std::ops::Range;

/// Chunks that are walked before a file is given up: real ones have some ten.
const CHUNKS: usize = 10_000;

/// Finds the sound; `None` where it comes in packets, or nothing that could be sound comes. The inner error says what
/// is wrong.
pub(super) fn find(file: &mut File, bounds: Range<u64>) -> io::Result<Option<Result<Wave, String>>> {
    let (mut at, mut description) = (bounds.start + 8, None);
    for _ in 0..CHUNKS {
        let head = peek(file, at, 12)?;
        if head.len() < 12 {
            break;
        }
        let (kind, size) = (&head[..4], big(&head[4..]));
        let from = at + 12;
        match kind {
            b"desc" => description = Some(peek(file, from, 32)?),
            b"data" => {
                let Some(description) = description else { break };
                // The sound follows a number of edits. A size of -1 stands for the rest of the file.
                let (from, stated) = (from + 4, (size < 1 << 63).then(|| size.saturating_sub(4)));
                let held = bounds.end.saturating_sub(from);
                let data = from..from + stated.unwrap_or(held).min(held);
                return Ok(described(&description, data, stated));
            }
            _ => {}
        }
        let Some(next) = from.checked_add(size).filter(|next| *next <= bounds.end) else { break };
        at = next;
    }
    Ok(None)
}

/// The chunk `desc`, and what lies in `data`.
fn described(desc: &[u8], data: Range<u64>, stated: Option<u64>) -> Option<Result<Wave, String>> {
    let rate = f64::from_bits(big(desc.get(..8)?)).round() as u32;
    let word = |at: usize| desc.get(at..at + 4).map(big);
    let (kind, flags, packet, channels, bits) = (desc.get(8..12)?, word(12)?, word(16)?, word(24)?, word(28)?);
    let Some(channels) = u16::try_from(channels).ok().filter(|channels| *channels > 0) else {
        return Some(Err(format!("{channels} channels")));
    };
    let coding = match kind {
        b"lpcm" => {
            let (bytes, rest) = (packet / u64::from(channels), packet % u64::from(channels));
            let number = if flags & 1 == 0 { Number::Signed } else { Number::Float };
            let fits =
                rest == 0 && if number == Number::Float { matches!(bytes, 4 | 8) } else { (1..=8).contains(&bytes) };
            if !fits || bits.div_ceil(8) > bytes {
                return Some(Err(format!("samples of {bits} bits in packets of {packet} bytes, which is damage")));
            }
            Ok(Coding::Linear(Linear { number, bytes: bytes as usize, big_endian: flags & 2 == 0 }))
        }
        b"alaw" | b"ulaw" | b"ima4" => compression(kind, bits, channels),
        _ => return None,
    };
    Some(coding.map(|coding| Wave { format: Format::Caf, rate, channels, coding, data, stated }))
}
