//! Writes a container in one pass.

use super::{Counts, Identity, SectionEntry};
use crate::error::{Error, Result};
use crate::store::files::File;
use crate::store::layout::{self, BLOCK_BYTES, Kind, Sixteen, directory_entry, footer, root_of};

/// Bytes buffered before they are written to the file.
const BUFFER_BYTES: usize = 1 << 20;

/// A container being written. Heap: a buffer of 1 MiB, and 4 bytes for each 64 KiB written.
#[derive(Debug)]
pub(crate) struct Writer {
    file: File,
    /// The bytes that the root is the sum of; the header first.
    rooted: Vec<u8>,
    buffer: Vec<u8>,
    /// Bytes already written to the file.
    flushed: u64,
    sections: Vec<SectionEntry>,
    sums: Vec<u32>,
    block: crc32fast::Hasher,
    block_left: u64,
}

/// A finished file.
#[derive(Debug)]
pub(crate) struct Finished {
    pub file: File,
    pub bytes: u64,
    pub root: Sixteen,
}

impl Writer {
    pub(crate) fn new(file: File, kind: Kind, identity: &Identity) -> Result<Writer> {
        let header = identity.header(kind);
        let mut writer = Writer {
            file,
            rooted: header.clone(),
            buffer: Vec::new(),
            flushed: 0,
            sections: Vec::new(),
            sums: Vec::new(),
            block: crc32fast::Hasher::new(),
            block_left: BLOCK_BYTES,
        };
        writer.append(&header)?;
        Ok(writer)
    }

    /// Returns the offset of the next byte.
    pub(crate) fn offset(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    /// Appends bytes to the section that was begun last.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let mut left = bytes;
        while !left.is_empty() {
            let (now, later) = left.split_at(left.len().min(self.block_left as usize));
            self.block.update(now);
            self.block_left -= now.len() as u64;
            if self.block_left == 0 {
                self.end_block();
            }
            left = later;
        }
        self.put(bytes)
    }

    fn end_block(&mut self) {
        self.sums.push(std::mem::take(&mut self.block).finalize());
        self.block_left = BLOCK_BYTES;
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        if self.buffer.len() + bytes.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        if bytes.len() < BUFFER_BYTES {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        // A large matrix is written from where it lies, without a copy.
        self.file.write_all_at(bytes, self.flushed)?;
        self.flushed += bytes.len() as u64;
        Ok(())
    }

    /// Writes what is buffered to the file. Nothing is synced.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.file.write_all_at(&self.buffer, self.flushed)?;
        self.flushed += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Appends zeros up to a multiple of `align`.
    pub(crate) fn align(&mut self, align: u64) -> Result<()> {
        let to = layout::aligned(self.offset(), align).ok_or_else(|| self.too_long())?;
        let zeros = vec![0; (to - self.offset()) as usize];
        self.append(&zeros)
    }

    fn too_long(&self) -> Error {
        Error::invalid(self.file.path().display().to_string(), "longer than 64 bits can say")
    }

    /// Begins a section at the next multiple of 64 bytes.
    pub(crate) fn begin(&mut self, kind: u32, version: u32) -> Result<()> {
        self.align(layout::ALIGN)?;
        self.sections.push(SectionEntry { kind, version, offset: self.offset(), length: 0 });
        Ok(())
    }

    /// Ends the section begun last.
    pub(crate) fn end(&mut self) {
        let offset = self.offset();
        if let Some(section) = self.sections.last_mut() {
            section.length = offset - section.offset;
        }
    }

    /// Writes a whole section.
    pub(crate) fn section(&mut self, kind: u32, bytes: &[u8]) -> Result<()> {
        self.begin(kind, 1)?;
        self.append(bytes)?;
        self.end();
        Ok(())
    }

    /// Writes sums, directory and footer. Nothing is synced.
    pub(crate) fn finish(mut self, counts: Counts) -> Result<Finished> {
        self.align(8)?;
        if self.block_left < BLOCK_BYTES {
            self.end_block();
        }
        let sums_offset = self.offset();
        let mut tail: Vec<u8> = self.sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
        tail.resize(tail.len().next_multiple_of(8), 0);
        let directory_offset = sums_offset + tail.len() as u64;
        for section in &self.sections {
            let mut entry = [0; directory_entry::BYTES];
            directory_entry::KIND.put_number(&mut entry, u64::from(section.kind));
            directory_entry::VERSION.put_number(&mut entry, u64::from(section.version));
            directory_entry::OFFSET.put_number(&mut entry, section.offset);
            directory_entry::LENGTH.put_number(&mut entry, section.length);
            tail.extend_from_slice(&entry);
        }
        let bytes = sums_offset + (tail.len() + footer::BYTES) as u64;
        let mut end = [0; footer::BYTES];
        footer::SUMS_OFFSET.put_number(&mut end, sums_offset);
        footer::SUMS_COUNT.put_number(&mut end, self.sums.len() as u64);
        footer::DIRECTORY_OFFSET.put_number(&mut end, directory_offset);
        footer::DIRECTORY_COUNT.put_number(&mut end, self.sections.len() as u64);
        footer::FILE_BYTES.put_number(&mut end, bytes);
        footer::RECORDS.put_number(&mut end, counts.records);
        footer::ROWS.put_number(&mut end, counts.rows);
        footer::DIM.put_number(&mut end, counts.dim);
        self.rooted.extend_from_slice(&tail);
        self.rooted.extend_from_slice(&end[..footer::ROOT.offset]);
        let root = root_of(&self.rooted);
        footer::ROOT.put(&mut end, &root);
        let crc = crc32fast::hash(&end[..footer::CRC.offset]);
        footer::CRC.put_number(&mut end, u64::from(crc));
        footer::MAGIC.put(&mut end, &layout::FOOTER_MAGIC);
        self.put(&tail)?;
        self.put(&end)?;
        self.flush()?;
        Ok(Finished { file: self.file, bytes, root })
    }
}
