//! A stretch of a file that is read as if it were a file of its own, behind bytes that may be put in front of it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

/// Some bytes, then a range of a file. The file's own position may be moved by others between two reads.
pub(super) struct Part {
    front: Vec<u8>,
    file: Arc<File>,
    range: Range<u64>,
    /// What is read instead of other bytes, and from where on.
    changes: Vec<(u64, Vec<u8>)>,
    /// Where the next byte is read, from the first of `front`.
    at: u64,
}

impl Part {
    /// The bytes `range` of the file, whose end lies within it.
    pub(super) fn new(file: impl Into<Arc<File>>, range: Range<u64>) -> Part {
        Part { front: Vec::new(), file: file.into(), range, changes: Vec::new(), at: 0 }
    }

    /// The same with other bytes in some places, which count from the first.
    #[cfg(feature = "formats")]
    pub(super) fn changed(self, changes: Vec<(u64, Vec<u8>)>) -> Part {
        Part { changes, ..self }
    }

    /// The same behind other bytes.
    #[cfg(feature = "formats")]
    pub(super) fn behind(front: Vec<u8>, file: Arc<File>, range: Range<u64>) -> Part {
        Part { front, file, range, changes: Vec::new(), at: 0 }
    }

    pub(super) fn len(&self) -> u64 {
        self.front.len() as u64 + (self.range.end - self.range.start)
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let front = self.front.len() as u64;
        let read = if self.at < front {
            (&self.front[self.at as usize..]).read(buffer)?
        } else {
            let from = self.range.start + (self.at - front);
            let most = self.range.end.saturating_sub(from).min(buffer.len() as u64) as usize;
            let mut file = &*self.file;
            file.seek(SeekFrom::Start(from))?;
            file.read(&mut buffer[..most])?
        };
        for (from, bytes) in &self.changes {
            let seen = self.at.max(*from)..(self.at + read as u64).min(from + bytes.len() as u64);
            for at in seen {
                buffer[(at - self.at) as usize] = bytes[(at - from) as usize];
            }
        }
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Part {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.len().checked_add_signed(by),
        };
        self.at = to.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

#[cfg(feature = "formats")]
impl symphonia::core::io::MediaSource for Part {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.len())
    }
}

/// Fills `buffer` as far as the reader has bytes; how many it had.
pub(super) fn read_up_to(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut held = 0;
    while held < buffer.len() {
        match reader.read(&mut buffer[held..]) {
            Ok(0) => break,
            Ok(more) => held += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(held)
}

/// Up to `most` bytes of a file from `at` on.
pub(super) fn peek(file: &mut (impl Read + Seek), at: u64, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; most];
    file.seek(SeekFrom::Start(at))?;
    let held = read_up_to(file, &mut bytes)?;
    bytes.truncate(held);
    Ok(bytes)
}

#[cfg(all(test, feature = "formats"))]
mod tests {
    use super::*;

    #[test]
    fn changed_bytes_are_read_in_pieces_of_any_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"..abcdefgh..").unwrap();
        for piece in 1..10 {
            let part = Part::new(File::open(&path).unwrap(), 2..10);
            let mut part = part.changed(vec![(1, b"XY".to_vec()), (7, b"Z".to_vec())]);
            let (mut all, mut buffer) = (Vec::new(), vec![0; piece]);
            while let held @ 1.. = part.read(&mut buffer).unwrap() {
                all.extend_from_slice(&buffer[..held]);
            }
            assert_eq!(all, b"aXYdefgZ", "pieces of {piece}");
        }
    }
}
