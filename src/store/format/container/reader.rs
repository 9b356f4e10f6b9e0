//! Opens a container and hands out bytes that were checked.

use super::pool::{self, PooledFile};
use super::{Counts, Identity, SectionEntry};
use crate::error::{Error, Result};
use crate::limits;
use crate::store::Access;
use crate::store::files::{File, Files};
use crate::store::format::bits::Bits;
use crate::store::layout::{self, BLOCK_BYTES, Kind, Sixteen, directory_entry, footer, header, root_of};
use crate::store::vfs::map::{Region, Words};
use rayon::prelude::*;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What is known of a file before it is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub kind: Kind,
    pub database: Sixteen,
    /// Length and root, where the manifest says them.
    pub sealed: Option<(u64, Sixteen)>,
}

/// An open container. Every slice it hands out lies in blocks whose sums were compared.
#[derive(Debug)]
pub(crate) struct Container {
    path: PathBuf,
    identity: Identity,
    counts: Counts,
    /// End of the bytes covered by block sums.
    data_end: u64,
    sections: Vec<SectionEntry>,
    sums: Vec<u32>,
    checked: Bits,
    backing: Backing,
}

/// Files with fewer bytes are read instead of mapped: a process may have 65,530 mappings, and a database more small
/// segments than that.
const SMALL: u64 = BLOCK_BYTES;

#[derive(Debug)]
enum Backing {
    /// Mapped, or small and read in full when it was opened.
    Whole(Region),
    /// Not mapped: read on demand, except that what lies behind `tail_start` is kept once it was needed.
    Read { file: PooledFile, tail_start: u64, tail: OnceLock<Words> },
}

impl Container {
    /// Opens a file and checks its header, footer, sums of both and root; no data is read.
    ///
    /// With [`Access::Read`], in small files and in those that cannot be mapped, the section of kind `resident` and
    /// those behind it are kept in memory after first use.
    pub(crate) fn open(
        files: &Files,
        name: &str,
        access: Access,
        expected: &Expected,
        resident: Option<u32>,
    ) -> Result<Container> {
        let file = pool::open(files, name)?;
        let path = file.path().to_path_buf();
        let frame = Frame::read(&file, expected)?;
        let sections = frame.sections(&path)?;
        let data_end = footer::SUMS_OFFSET.number(&frame.footer);
        let sums: Vec<u32> = frame.sums().map(u32::from_le_bytes).collect();
        let resident = resident.and_then(|kind| sections.iter().find(|section| section.kind == kind));
        let mapped = match access {
            Access::Map if data_end >= SMALL => file.map(data_end)?,
            Access::Map if resident.is_none() => Some(Region::from(file.read(0, data_end)?)),
            Access::Map | Access::Read => None,
        };
        let backing = match mapped {
            Some(region) => Backing::Whole(region),
            None => {
                let tail_start = resident.map_or(data_end, |section| section.offset / BLOCK_BYTES * BLOCK_BYTES);
                Backing::Read { file: PooledFile::new(files, name, file), tail_start, tail: OnceLock::new() }
            }
        };
        Ok(Container {
            path,
            identity: Identity::from_header(&frame.header),
            counts: Counts {
                records: footer::RECORDS.number(&frame.footer),
                rows: footer::ROWS.number(&frame.footer),
                dim: footer::DIM.number(&frame.footer),
            },
            data_end,
            sections,
            checked: Bits::new(sums.len()),
            sums,
            backing,
        })
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    pub(crate) fn sections(&self) -> &[SectionEntry] {
        &self.sections
    }

    pub(crate) fn corrupt(&self, offset: u64, what: impl Into<String>) -> Error {
        Error::corrupt(&self.path, offset, what)
    }

    /// Returns the section of a kind.
    pub(crate) fn section(&self, kind: u32) -> Result<SectionEntry> {
        let found = self.sections.iter().find(|section| section.kind == kind);
        found.copied().ok_or_else(|| self.corrupt(self.data_end, format!("there is no section {kind}")))
    }

    /// Returns checked bytes: borrowed where they are mapped or kept, else read afresh.
    pub(crate) fn read(&self, offset: u64, length: u64) -> Result<Cow<'_, [u8]>> {
        let end = offset.checked_add(length).filter(|end| *end <= self.data_end);
        let end = end.ok_or_else(|| self.corrupt(offset, format!("{length} bytes reach past the data")))?;
        let (bytes, start) = match &self.backing {
            Backing::Whole(region) => (region.as_bytes(), 0),
            Backing::Read { tail_start, .. } if offset >= *tail_start => (self.tail()?, *tail_start),
            Backing::Read { file, .. } => return self.read_blocks(&*file.get()?, offset, end).map(Cow::Owned),
        };
        for block in blocks(offset, end).filter(|block| !self.checked.get(*block)) {
            let (from, to) = self.extent(block);
            self.check(block, &bytes[(from - start) as usize..(to - start) as usize])?;
            self.checked.set(block);
        }
        Ok(Cow::Borrowed(&bytes[(offset - start) as usize..(end - start) as usize]))
    }

    /// Returns the bytes of a whole section.
    pub(crate) fn read_section(&self, section: SectionEntry) -> Result<Cow<'_, [u8]>> {
        self.read(section.offset, section.length)
    }

    fn tail(&self) -> Result<&[u8]> {
        let Backing::Read { file, tail_start, tail } = &self.backing else { return Ok(&[]) };
        if let Some(words) = tail.get() {
            return Ok(words.as_bytes());
        }
        let words = file.get()?.read(*tail_start, self.data_end - tail_start)?;
        Ok(tail.get_or_init(|| words).as_bytes())
    }

    /// Reads bytes and checks the same copy of them that it returns.
    fn read_blocks(&self, file: &File, offset: u64, end: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let length = (end - offset) as usize;
        let room = bytes.try_reserve_exact(length).map_err(std::io::Error::other);
        room.map_err(|error| Error::io(&self.path, "read", error))?;
        for block in blocks(offset, end) {
            let (from, to) = self.extent(block);
            let words = file.read(from, to - from)?;
            self.check(block, words.as_bytes())?;
            let wanted = (offset.max(from) - from) as usize..(end.min(to) - from) as usize;
            bytes.extend_from_slice(&words.as_bytes()[wanted]);
        }
        Ok(bytes)
    }

    fn extent(&self, block: usize) -> (u64, u64) {
        let from = block as u64 * BLOCK_BYTES;
        (from, (from + BLOCK_BYTES).min(self.data_end))
    }

    fn check(&self, block: usize, bytes: &[u8]) -> Result<()> {
        let (expected, found) = (self.sums[block], crc32fast::hash(bytes));
        if expected == found {
            return Ok(());
        }
        let (from, to) = self.extent(block);
        Err(self.corrupt(from, format!("the CRC-32 of bytes {from} to {to} is {found:08x} instead of {expected:08x}")))
    }

    /// Returns how many blocks there are.
    pub(crate) fn block_count(&self) -> usize {
        self.sums.len()
    }

    /// Compares the sum of one block, even if it was checked before.
    pub(crate) fn check_block(&self, block: usize) -> Result<()> {
        let (from, to) = self.extent(block);
        match &self.backing {
            Backing::Whole(region) => self.check(block, &region.as_bytes()[from as usize..to as usize]),
            Backing::Read { file, .. } => self.check(block, file.get()?.read(from, to - from)?.as_bytes()),
        }
    }

    /// Returns all bytes covered by block sums, checked; copied where they are not mapped.
    pub(crate) fn whole(&self) -> Result<Region> {
        let bytes = match &self.backing {
            Backing::Whole(region) => region.clone(),
            Backing::Read { file, .. } => Region::from(file.get()?.read(0, self.data_end)?),
        };
        (0..self.block_count()).into_par_iter().try_for_each(|block| {
            let (from, to) = self.extent(block);
            self.check(block, &bytes.as_bytes()[from as usize..to as usize])
        })?;
        Ok(bytes)
    }

    /// Compares the sums of all blocks, in parallel, and remembers those that fit.
    pub(crate) fn check_all(&self) -> Result<()> {
        (0..self.block_count()).into_par_iter().try_for_each(|block| {
            self.check_block(block)?;
            self.checked.set(block);
            Ok(())
        })
    }

    /// Returns the offset of the first byte that is not zero outside of header and sections, if there is one.
    pub(crate) fn stray_byte(&self) -> Result<Option<u64>> {
        let mut at = header::BYTES as u64;
        let ends = self.sections.iter().map(|section| (section.offset, section.offset + section.length));
        for (start, end) in ends.chain([(self.data_end, self.data_end)]) {
            let gap = self.read(at, start - at)?;
            if let Some(stray) = gap.iter().position(|byte| *byte != 0) {
                return Ok(Some(at + stray as u64));
            }
            at = end;
        }
        Ok(None)
    }
}

/// Returns the numbers of the blocks that hold any of these bytes; none for no bytes.
fn blocks(offset: u64, end: u64) -> std::ops::Range<usize> {
    let first = offset / BLOCK_BYTES;
    let behind = if offset == end { first } else { end.div_ceil(BLOCK_BYTES) };
    first as usize..behind as usize
}

/// Header, footer and what lies between data and footer, all checked.
struct Frame {
    header: Vec<u8>,
    footer: Vec<u8>,
    /// Sums, padding, directory.
    tail: Vec<u8>,
    sums_count: usize,
    directory_at: usize,
}

impl Frame {
    /// Reads and checks the frame. Allocates memory only for lengths that were compared with the file's.
    fn read(file: &File, expected: &Expected) -> Result<Frame> {
        let path = file.path();
        let bytes = file.bytes()?;
        if let Some((sealed, _)) = expected.sealed
            && sealed != bytes
        {
            return Err(Error::corrupt(path, bytes.min(sealed), format!("{bytes} bytes long instead of {sealed}")));
        }
        let Some(footer_offset) = bytes.checked_sub(footer::BYTES as u64).filter(|at| *at >= header::BYTES as u64)
        else {
            return Err(Error::corrupt(path, bytes, format!("{bytes} bytes are too few for a file of this kind")));
        };
        let head = file.read(0, header::BYTES as u64)?.as_bytes().to_vec();
        check_header(path, &head, expected)?;
        let end = file.read(footer_offset, footer::BYTES as u64)?.as_bytes().to_vec();
        let wrong = |field: layout::Field, what: &str| {
            Err(Error::corrupt(path, footer_offset + field.offset as u64, format!("footer: {what}")))
        };
        if footer::MAGIC.of(&end) != layout::FOOTER_MAGIC {
            return wrong(footer::MAGIC, "the end of the file is not there");
        }
        if footer::CRC.number(&end) != u64::from(crc32fast::hash(&end[..footer::CRC.offset])) {
            return wrong(footer::CRC, "its CRC-32 does not fit");
        }
        if footer::ZERO_2.number(&end) != 0 {
            return wrong(footer::ZERO_2, "padding that is not zero");
        }
        let sums_offset = footer::SUMS_OFFSET.number(&end);
        let sums_count = footer::SUMS_COUNT.number(&end);
        let directory_offset = footer::DIRECTORY_OFFSET.number(&end);
        let directory_count = footer::DIRECTORY_COUNT.number(&end);
        let sums_end =
            sums_count.checked_mul(4).and_then(|sums| sums.checked_next_multiple_of(8)?.checked_add(sums_offset));
        let directory_end = directory_count
            .checked_mul(directory_entry::BYTES as u64)
            .and_then(|len| len.checked_add(directory_offset));
        if sums_offset < header::BYTES as u64
            || directory_count > limits::SECTIONS
            || sums_count != sums_offset.div_ceil(BLOCK_BYTES)
            || sums_end != Some(directory_offset)
            || directory_end != Some(footer_offset)
            || footer::FILE_BYTES.number(&end) != bytes
        {
            return wrong(footer::SUMS_OFFSET, "its offsets and counts contradict each other");
        }
        let tail = file.read(sums_offset, footer_offset - sums_offset)?.as_bytes().to_vec();
        let rooted = [&head[..], &tail[..], &end[..footer::ROOT.offset]].concat();
        let root = root_of(&rooted);
        if root != footer::ROOT.sixteen(&end) {
            return Err(Error::corrupt(
                path,
                sums_offset,
                "the root over header, block sums and directory does not fit",
            ));
        }
        if expected.sealed.is_some_and(|(_, sealed)| sealed != root) {
            return wrong(footer::ROOT, "this is not the file that the manifest names");
        }
        let directory_at = (directory_offset - sums_offset) as usize;
        Ok(Frame { header: head, footer: end, tail, sums_count: sums_count as usize, directory_at })
    }

    fn sums(&self) -> impl Iterator<Item = [u8; 4]> {
        self.tail.as_chunks::<4>().0.iter().copied().take(self.sums_count)
    }

    /// Returns the directory; fails if sections overlap, are out of order, or lie outside of the data.
    fn sections(&self, path: &Path) -> Result<Vec<SectionEntry>> {
        let data_end = footer::SUMS_OFFSET.number(&self.footer);
        let mut at = header::BYTES as u64;
        let mut sections = Vec::new();
        for (number, entry) in self.tail[self.directory_at..].chunks_exact(directory_entry::BYTES).enumerate() {
            let section = SectionEntry {
                kind: directory_entry::KIND.number(entry) as u32,
                version: directory_entry::VERSION.number(entry) as u32,
                offset: directory_entry::OFFSET.number(entry),
                length: directory_entry::LENGTH.number(entry),
            };
            let end = section.offset.checked_add(section.length);
            match end
                .filter(|end| section.offset >= at && *end <= data_end && section.offset.is_multiple_of(layout::ALIGN))
            {
                Some(end) => at = end,
                None => {
                    let offset = data_end + (self.directory_at + number * directory_entry::BYTES) as u64;
                    return Err(Error::corrupt(path, offset, "a section lies outside of the data"));
                }
            }
            sections.push(section);
        }
        Ok(sections)
    }
}

fn check_header(path: &Path, bytes: &[u8], expected: &Expected) -> Result<()> {
    let wrong =
        |field: layout::Field, what: &str| Err(Error::corrupt(path, field.offset as u64, format!("header: {what}")));
    if header::MAGIC.of(bytes) != layout::CONTAINER_MAGIC {
        return wrong(header::MAGIC, "this is no file of otolith");
    }
    if header::CRC.number(bytes) != u64::from(crc32fast::hash(&bytes[..header::CRC.offset])) {
        return wrong(header::CRC, "its CRC-32 does not fit");
    }
    layout::check_version(path, header::MAJOR.number(bytes), header::INCOMPAT.number(bytes))?;
    if header::KIND.number(bytes) != u64::from(expected.kind as u32) {
        return wrong(header::KIND, "a file of another kind");
    }
    if header::DATABASE.of(bytes) != expected.database {
        return wrong(header::DATABASE, "a file of another database");
    }
    if header::BLOCK_BYTES.number(bytes) != BLOCK_BYTES || header::ALIGN.number(bytes) != layout::ALIGN {
        return wrong(header::BLOCK_BYTES, "another block length or alignment");
    }
    Ok(())
}
