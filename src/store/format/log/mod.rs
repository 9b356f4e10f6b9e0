//! The log: commits too small for a segment of their own, one frame each, until they are written out together.
//!
//! ```text
//! wal-<number>: header 64 | frame 48 + payload | frame .. | nothing, or a frame that a crash tore
//! ```
//! Every frame carries the sum of the one before (a *chain*), so it counts only if all before it do. It also carries
//! the number of the last commit known to be durable when it was written: this tells a frame that rotted from one that
//! a power cut tore. A log is only appended to and never used again. After a failed write it gets no further frame; the
//! next one goes to a new file, whose header continues the chain.
//!
//! - `operation`: writes and reads a frame's payload;
//! - `writer`: appends frames;
//! - `frames`: finds frames in bytes that may be anything;
//! - `reader`: follows frames through all files, even beside a writer.

mod frames;
mod operation;
mod reader;
mod writer;

pub(crate) use operation::{Operation, Place};
pub(crate) use reader::{Commit, Cursor, salvage};
pub(crate) use writer::Log;

use crate::store::format::manifest::sixteen_digits;
use crate::store::layout::{self, Sixteen, frame, log_header};
use xxhash_rust::xxh3::xxh3_64;

/// Returns the name of a log.
pub(crate) fn name_of(number: u64) -> String {
    format!("wal-{number:016x}")
}

/// Returns the number in a name, if it is a log's.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    name.strip_prefix("wal-").and_then(sixteen_digits)
}

/// Returns the seed of the sums in one log, so that frames of another log or database never fit.
fn salt(database: &Sixteen, number: u64) -> u64 {
    let mut bytes = [0; 24];
    bytes[..16].copy_from_slice(database);
    bytes[16..].copy_from_slice(&number.to_le_bytes());
    xxh3_64(&bytes)
}

fn header(database: &Sixteen, number: u64, chain: u64) -> [u8; log_header::BYTES] {
    let mut bytes = [0; log_header::BYTES];
    log_header::MAGIC.put(&mut bytes, &layout::LOG_MAGIC);
    log_header::MAJOR.put_number(&mut bytes, u64::from(layout::MAJOR));
    log_header::MINOR.put_number(&mut bytes, u64::from(layout::MINOR));
    log_header::DATABASE.put(&mut bytes, database);
    log_header::NUMBER.put_number(&mut bytes, number);
    log_header::CHAIN.put_number(&mut bytes, chain);
    let crc = crc32fast::hash(&bytes[..log_header::CRC.offset]);
    log_header::CRC.put_number(&mut bytes, u64::from(crc));
    bytes
}

/// Returns the sum of a frame, over everything before the sum and the payload.
fn sum_of(salt: u64, head: &[u8], payload: &[u8]) -> u64 {
    let mut hasher = xxhash_rust::xxh3::Xxh3::with_seed(salt);
    hasher.update(&head[..frame::SUM.offset]);
    hasher.update(payload);
    hasher.digest()
}

/// The chain at the beginning of a generation's first log.
const START: u64 = 0;

#[cfg(test)]
mod tests {
    use super::*;
    use xxhash_rust::xxh3::xxh3_64_with_seed;

    #[test]
    fn the_sum_in_pieces_is_the_sum_of_the_whole() {
        let head = [7; frame::BYTES];
        let whole = [&head[..frame::SUM.offset], b"payload."].concat();
        assert_eq!(sum_of(5, &head, b"payload."), xxh3_64_with_seed(&whole, 5));
    }

    #[test]
    fn names_and_numbers_are_told_from_others() {
        assert_eq!(number_of(&name_of(0x2a)), Some(0x2a));
        for other in ["wal-2a", "wal-000000000000002A", "manifest-000000000000002a", "wal-000000000000002a.tmp"] {
            assert_eq!(number_of(other), None);
        }
    }
}
