//! The log: commits too small for a segment of their own, one frame each, until they are written out together.
//!
//! ```text
//! wal-<number>: header 64 | frame 48 + payload | frame .. | nothing, or what a crash left of one more frame
//! ```
//! Every frame carries the sum of the one before (a *chain*), so a frame counts only if all before it do, and the
//! number of the last commit known to be durable when it was written: that is how a frame that rotted is told from one
//! that a power cut tore. A log is only appended to and never used again. After a failed write it gets no further
//! frame; the next one goes to a new file, whose header carries the chain on.
//!
//! - `operation`: what a frame's payload says, written and read;
//! - `writer`: appending frames;
//! - `frames`: finding them in bytes that may be anything;
//! - `reader`: following them, through all files, beside a writer too.

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

/// The name of a log.
pub(crate) fn name_of(number: u64) -> String {
    format!("wal-{number:016x}")
}

/// The number that a name says, if it is a log's.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    name.strip_prefix("wal-").and_then(sixteen_digits)
}

/// Seed of the sums in one log: frames of another log or database never fit.
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

/// The sum of a frame: everything before the sum, and the payload.
fn sum_of(salt: u64, head: &[u8], payload: &[u8]) -> u64 {
    let mut hasher = xxhash_rust::xxh3::Xxh3::with_seed(salt);
    hasher.update(&head[..frame::SUM.offset]);
    hasher.update(payload);
    hasher.digest()
}

/// The chain of an empty log that begins a generation.
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
