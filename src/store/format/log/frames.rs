//! Finds frames in the bytes of a log, in time and memory bounded by its length, whatever the bytes are.
//!
//! A frame's sum covers its payload, so checking a place that looks like a frame means reading as many bytes as it
//! claims to have. Bytes that are no frames may look like one at every step, so the bytes summed in vain are limited to
//! a few times the length of the log. No log that a crash or rot left comes near that limit; one that exceeds it is
//! reported as damage.

use super::sum_of;
use crate::error::{Error, Result};
use crate::limits;
use crate::store::files::File;
use crate::store::layout::{self, frame, frame_kind};
use xxhash_rust::xxh3::Xxh3;

/// Bytes read at a time.
const PIECE: u64 = 1 << 20;
/// How many times the length of a log may be summed in vain.
const IN_VAIN: u64 = 8;

/// Header of a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub kind: u32,
    pub seq: u64,
    pub durable: u64,
    pub chain: u64,
    pub sum: u64,
    payload: u64,
}

impl Head {
    /// Returns the length of the whole frame in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        frame::BYTES as u64 + self.payload
    }
}

/// A log, read from front to back.
pub(crate) struct Frames<'a> {
    file: &'a File,
    salt: u64,
    /// Length of the file when reading began.
    length: u64,
    /// Bytes of the file from `start` on.
    held: Vec<u8>,
    start: u64,
    /// How many bytes may still be summed in vain.
    left: u64,
}

impl<'a> Frames<'a> {
    /// Begins with the frames that are there now; those that a writer appends later are not seen.
    pub(crate) fn new(file: &'a File, salt: u64) -> Result<Frames<'a>> {
        let length = file.bytes()?;
        let left = length.saturating_add(PIECE).saturating_mul(IN_VAIN);
        Ok(Frames { file, salt, length, held: Vec::new(), start: 0, left })
    }

    /// Returns the whole frame at `at`, if there is one, and its payload.
    pub(crate) fn at(&mut self, at: u64) -> Result<Option<(Head, Vec<u8>)>> {
        let Some(head) = self.head(at)? else { return Ok(None) };
        // No memory is taken for a large payload before its sum was checked.
        if head.payload > PIECE && !self.is_whole(at, &head)? {
            return Ok(None);
        }
        let (salt, bytes) = (self.salt, self.bytes(at, head.bytes())?);
        let (start, payload) = bytes.split_at(frame::BYTES);
        Ok((sum_of(salt, start, payload) == head.sum).then(|| (head, payload.to_vec())))
    }

    /// Returns the first whole frame from `from` (a multiple of 8) on that `wanted` accepts, and where it begins.
    pub(crate) fn find(&mut self, from: u64, wanted: impl Fn(&Head) -> bool) -> Result<Option<(u64, Head)>> {
        let mut at = from;
        while at < self.length {
            let end = self.length.min(at.saturating_add(PIECE));
            let piece = self.bytes(at, end - at)?;
            // What is left after the last eight bytes is too short for a frame.
            let (eights, _) = piece.as_chunks::<8>();
            let places = (at..).step_by(8).zip(eights);
            let starts: Vec<u64> =
                places.filter(|(_, eight)| eight[..4] == layout::FRAME_MAGIC).map(|(start, _)| start).collect();
            for start in starts {
                if let Some(head) = self.head(start)?.filter(&wanted)
                    && self.is_whole(start, &head)?
                {
                    return Ok(Some((start, head)));
                }
            }
            at = end;
        }
        Ok(None)
    }

    /// Returns the header at `at`, if it could be that of a frame that lies in the file.
    fn head(&mut self, at: u64) -> Result<Option<Head>> {
        let Some(left) = self.length.checked_sub(at).and_then(|left| left.checked_sub(frame::BYTES as u64)) else {
            return Ok(None);
        };
        let bytes = self.bytes(at, frame::BYTES as u64)?;
        let head = Head {
            kind: frame::KIND.number(bytes) as u32,
            seq: frame::SEQ.number(bytes),
            durable: frame::DURABLE.number(bytes),
            chain: frame::CHAIN.number(bytes),
            sum: frame::SUM.number(bytes),
            payload: frame::PAYLOAD_BYTES.number(bytes),
        };
        // No length is trusted before it is compared with the bytes that are left.
        let fits = frame::MAGIC.of(bytes) == layout::FRAME_MAGIC
            && [frame_kind::COMMIT, frame_kind::MARK].contains(&head.kind)
            && head.payload <= limits::FRAME_BYTES.min(left)
            && head.payload.is_multiple_of(8);
        Ok(fits.then_some(head))
    }

    /// Returns whether the sum of the frame at `at` fits.
    fn is_whole(&mut self, at: u64, head: &Head) -> Result<bool> {
        let mut hasher = Xxh3::with_seed(self.salt);
        hasher.update(&self.bytes(at, frame::BYTES as u64)?[..frame::SUM.offset]);
        let (mut from, end) = (at + frame::BYTES as u64, at + head.bytes());
        while from < end {
            let to = end.min(from + PIECE);
            hasher.update(self.bytes(from, to - from)?);
            from = to;
        }
        if hasher.digest() == head.sum {
            return Ok(true);
        }
        match self.left.checked_sub(head.bytes()) {
            Some(left) => self.left = left,
            None => {
                let what = "more places look like frames and are none than a crash or rot can leave";
                return Err(Error::corrupt(self.file.path(), at, what));
            }
        }
        Ok(false)
    }

    /// Returns bytes that lie in the file.
    fn bytes(&mut self, at: u64, count: u64) -> Result<&[u8]> {
        let held = at.checked_sub(self.start).filter(|from| from + count <= self.held.len() as u64);
        let from = match held {
            Some(from) => from as usize,
            None => {
                let wanted = count.max(PIECE.min(self.length - at)) as usize;
                let room = wanted.saturating_sub(self.held.len());
                let room = self.held.try_reserve(room).map_err(std::io::Error::other);
                room.map_err(|error| Error::io(self.file.path(), "read", error))?;
                // Until the read succeeds, the buffer holds no part of the file.
                self.start = u64::MAX;
                self.held.resize(wanted, 0);
                self.file.read_exact_at(&mut self.held, at)?;
                self.start = at;
                0
            }
        };
        Ok(&self.held[from..][..count as usize])
    }
}
