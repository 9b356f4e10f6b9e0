//! How an input says what becomes of a file.

/// Bits 0 and 1 of `how`: bits are flipped, and nothing else happens.
const XOR: u8 = 1;

/// Whether `how` only flips bits, so that the file keeps its length.
pub(super) fn is_flipped(how: u8) -> bool {
    how & 3 == XOR
}

/// A file as the input wants it: by the two low bits of `how` replaced, bits flipped (3 bytes offset, 1 byte mask, any
/// number of them), cut short, or with bytes spliced in.
pub(super) fn altered(original: &[u8], how: u8, input: &[u8]) -> Vec<u8> {
    let mut bytes = original.to_vec();
    let at = offset(input, bytes.len());
    match how & 3 {
        0 => return input.to_vec(),
        XOR if !bytes.is_empty() => {
            for edit in input.chunks_exact(4) {
                let at = offset(&edit[..3], bytes.len());
                bytes[at] ^= edit[3];
            }
        }
        XOR => {}
        2 => bytes.truncate(at),
        _ => drop(bytes.splice(at..at, input.iter().skip(3).copied())),
    }
    bytes
}

/// An offset into `length` bytes, from the end when the highest bit is set.
fn offset(bytes: &[u8], length: usize) -> usize {
    let number = bytes.iter().take(3).rev().fold(0, |number, byte| number << 8 | usize::from(*byte));
    let from_start = (number & 0x7f_ffff) % length.max(1);
    if number >> 23 == 1 { length.saturating_sub(1 + from_start) } else { from_start }
}
