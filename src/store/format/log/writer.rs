//! Appends frames to a log.

use super::{START, header, name_of, salt, sum_of};
use crate::error::Result;
use crate::store::files::{File, Files};
use crate::store::layout::{self, Sixteen, frame, frame_kind, log_header};
use std::sync::Arc;

/// A log being written.
#[derive(Debug)]
pub(crate) struct Log {
    file: Arc<File>,
    salt: u64,
    /// Sum of the last frame.
    chain: u64,
    bytes: u64,
    /// A write failed: what is at the end is unknown, so nothing may follow it.
    broken: bool,
}

impl Log {
    /// Makes a log whose first frame follows the last one of `after`; there is none before the first log of a
    /// generation. Its name and header become durable when the caller syncs the directory and the file.
    pub(crate) fn create(files: &Files, database: &Sixteen, number: u64, after: Option<&Log>) -> Result<Log> {
        let chain = after.map_or(START, |log| log.chain);
        let file = Arc::new(files.create(&name_of(number))?);
        file.write_all_at(&header(database, number, chain), 0)?;
        Ok(Log { file, salt: salt(database, number), chain, bytes: log_header::BYTES as u64, broken: false })
    }

    /// Returns the file, to be synced.
    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Returns whether no further frame can be appended.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Returns the length of the whole frames and the header in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends the frame of commit `seq` with one write. `durable` is the last commit known to be on disk.
    pub(crate) fn commit(&mut self, seq: u64, durable: u64, payload: &[u8]) -> Result<()> {
        self.append(frame_kind::COMMIT, seq, durable, payload)
    }

    /// Appends a frame that says that every commit up to `seq` is durable.
    pub(crate) fn mark(&mut self, seq: u64) -> Result<()> {
        self.append(frame_kind::MARK, seq, seq, &[])
    }

    fn append(&mut self, kind: u32, seq: u64, durable: u64, payload: &[u8]) -> Result<()> {
        let mut bytes = Vec::with_capacity(frame::BYTES + payload.len());
        bytes.resize(frame::BYTES, 0);
        frame::MAGIC.put(&mut bytes, &layout::FRAME_MAGIC);
        frame::KIND.put_number(&mut bytes, u64::from(kind));
        frame::PAYLOAD_BYTES.put_number(&mut bytes, payload.len() as u64);
        frame::SEQ.put_number(&mut bytes, seq);
        frame::DURABLE.put_number(&mut bytes, durable);
        frame::CHAIN.put_number(&mut bytes, self.chain);
        let sum = sum_of(self.salt, &bytes, payload);
        frame::SUM.put_number(&mut bytes, sum);
        bytes.extend_from_slice(payload);
        self.file.write_all_at(&bytes, self.bytes).inspect_err(|_| self.broken = true)?;
        self.bytes += bytes.len() as u64;
        self.chain = sum;
        Ok(())
    }
}
