//! Checksums made right again, so that damage gets past them to what reads the bytes.

use otolith::testing::store::layout::{
    BLOCK_BYTES, CONTAINER_MAGIC, FRAME_MAGIC, Field, MANIFEST_MAGIC, Sixteen, footer, frame, header, log_header,
    manifest_header, root_of,
};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Sets a field of the structure at `at`.
pub(super) fn put(bytes: &mut [u8], at: usize, field: Field, value: &[u8]) {
    bytes[at + field.offset..][..field.bytes].copy_from_slice(value);
}

/// A field of the structure at `at`; of more than there can be of anything when it does not fit.
pub(super) fn number(bytes: &[u8], at: usize, field: Field) -> usize {
    let bytes = &bytes[at + field.offset..][..field.bytes];
    usize::try_from(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))).unwrap_or(usize::MAX)
}

/// The same, as the sixteen bytes it is.
pub(super) fn sixteen(bytes: &[u8], at: usize, field: Field) -> Sixteen {
    bytes[at + field.offset..][..field.bytes].try_into().expect("a field of 16 bytes")
}

/// Makes the sums of a manifest right, if it has the shape of one.
pub(super) fn reseal_manifest(bytes: &mut [u8]) {
    if bytes.starts_with(&MANIFEST_MAGIC) && bytes.len() >= manifest_header::BYTES {
        let body = &bytes[manifest_header::BYTES..];
        let (length, root) = (body.len() as u64, root_of(body));
        put(bytes, 0, manifest_header::BODY_BYTES, &length.to_le_bytes());
        put(bytes, 0, manifest_header::BODY_ROOT, &root);
        put_crc(bytes, 0, manifest_header::CRC);
    }
}

/// Makes the sums of a segment, delete set, view or derived file right, as far as it has the shape of one; its new
/// root, if it has a whole one's.
pub(super) fn reseal_container(bytes: &mut [u8]) -> Option<Sixteen> {
    if !bytes.starts_with(&CONTAINER_MAGIC) || bytes.len() < header::BYTES {
        return None;
    }
    put_crc(bytes, 0, header::CRC);
    let end = bytes.len().checked_sub(footer::BYTES).filter(|end| *end >= header::BYTES)?;
    let sums = number(bytes, end, footer::SUMS_OFFSET);
    let blocks: Vec<u32> = bytes.get(..sums)?.chunks(BLOCK_BYTES as usize).map(crc32fast::hash).collect();
    for (n, crc) in blocks.into_iter().enumerate() {
        bytes[..end].get_mut(sums + 4 * n..)?.get_mut(..4)?.copy_from_slice(&crc.to_le_bytes());
    }
    let under_root =
        [&bytes[..header::BYTES], bytes[..end].get(sums..)?, &bytes[end..][..footer::ROOT.offset]].concat();
    let root = root_of(&under_root);
    put(bytes, end, footer::ROOT, &root);
    put_crc(bytes, end, footer::CRC);
    Some(root)
}

/// Makes the sums of a log and their chain right, frame by frame as far as their lengths make sense.
pub(super) fn reseal_log(bytes: &mut [u8], database: &Sixteen, log: u64) {
    if bytes.len() < log_header::BYTES {
        return;
    }
    put_crc(bytes, 0, log_header::CRC);
    let (mut at, mut chain) = (log_header::BYTES, bytes[log_header::CHAIN.offset..][..8].to_vec());
    while bytes.len() - at >= frame::BYTES && bytes[at..].starts_with(&FRAME_MAGIC) {
        let payload = number(bytes, at, frame::PAYLOAD_BYTES);
        if payload > bytes.len() - at - frame::BYTES {
            return;
        }
        put(bytes, at, frame::CHAIN, &chain);
        chain = seal_frame(&mut bytes[at..][..frame::BYTES + payload], database, log).to_le_bytes().to_vec();
        at += frame::BYTES + payload;
    }
}

/// Sets the sum of a frame, and gives it.
pub(super) fn seal_frame(whole: &mut [u8], database: &Sixteen, log: u64) -> u64 {
    let salt = xxh3_64(&[&database[..], &log.to_le_bytes()].concat());
    let under_sum = [&whole[..frame::SUM.offset], &whole[frame::BYTES..]].concat();
    let sum = xxh3_64_with_seed(&under_sum, salt);
    put(whole, 0, frame::SUM, &sum.to_le_bytes());
    sum
}

/// Sets the CRC-32 of a header: of everything before it.
pub(super) fn put_crc(bytes: &mut [u8], at: usize, field: Field) {
    let crc = crc32fast::hash(&bytes[at..][..field.offset]);
    put(bytes, at, field, &crc.to_le_bytes());
}
