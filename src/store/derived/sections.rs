//! Writes and reads the sections of an artefact.

use super::Address;
use crate::error::{Error, Result};
use crate::store::Access;
use crate::store::files::Files;
use crate::store::format::container::{Container, Counts, Expected, SectionEntry, Writer};
use crate::store::vfs::map::Region;
use bytemuck::AnyBitPattern;
use std::path::PathBuf;

/// Version of the content of every section. A section of another version is treated as missing.
const VERSION: u32 = 1;

/// Sections of an artefact whose sums were compared, mapped or in memory. Each begins at a multiple of 64 bytes.
#[derive(Debug)]
pub(crate) struct Sections {
    path: PathBuf,
    counts: Counts,
    entries: Vec<SectionEntry>,
    bytes: Region,
}

impl Sections {
    /// Opens a file and checks its sums, which segment and view it is of, and its number of records.
    pub(super) fn open(files: &Files, access: Access, address: &Address) -> Result<Sections> {
        let expected = Expected { kind: address.kind, database: address.identity.database, sealed: None };
        let file = Container::open(files, &address.name, access, &expected, None)?;
        if *file.identity() != address.identity {
            return Err(file.corrupt(0, "made of another segment or view"));
        }
        if file.counts().records != u64::from(address.records) {
            return Err(file.corrupt(0, format!("{} records instead of {}", file.counts().records, address.records)));
        }
        Ok(Sections {
            path: files.path(&address.name),
            counts: file.counts(),
            entries: file.sections().to_vec(),
            bytes: file.whole()?,
        })
    }

    /// Returns the counts that its builder gave.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns the bytes of all sections together.
    pub(crate) fn size(&self) -> u64 {
        self.entries.iter().map(|entry| entry.length).sum()
    }

    /// Returns the bytes of a section.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when there is none of this number.
    pub(crate) fn bytes(&self, section: u32) -> Result<&[u8]> {
        match self.entry(section) {
            Some(entry) => Ok(&self.bytes.as_bytes()[entry.offset as usize..][..entry.length as usize]),
            None => Err(Error::corrupt(&self.path, None, format!("there is no section {section}"))),
        }
    }

    /// Returns the bytes of a section as numbers, in place.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when there is no such section or it ends within a number.
    pub(crate) fn numbers<T: AnyBitPattern>(&self, section: u32) -> Result<&[T]> {
        let bytes = self.bytes(section)?;
        bytemuck::try_cast_slice(bytes).map_err(|_| self.corrupt(section, "it ends within a number"))
    }

    /// Makes the error that says what is wrong with a section.
    pub(crate) fn corrupt(&self, section: u32, what: impl Into<String>) -> Error {
        Error::corrupt(&self.path, self.entry(section).map(|entry| entry.offset), what)
    }

    fn entry(&self, section: u32) -> Option<&SectionEntry> {
        self.entries.iter().find(|entry| entry.kind == section && entry.version == VERSION)
    }
}

/// Takes the sections of an artefact, one after the other.
#[derive(Debug)]
pub(crate) struct SectionsWriter<'a> {
    out: &'a mut Writer,
    lasting: bool,
}

impl<'a> SectionsWriter<'a> {
    pub(super) fn new(out: &'a mut Writer, lasting: bool) -> SectionsWriter<'a> {
        SectionsWriter { out, lasting }
    }

    /// Returns whether the sections go into a file that outlasts this handle. If something is missing because a record
    /// cannot be read, such a file must not be written: the builder returns the damage as its error, and is called
    /// again to write into memory.
    pub(crate) fn is_lasting(&self) -> bool {
        self.lasting
    }

    /// Begins a section.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::DiskFull`] of the file, which the builder must return; likewise below.
    pub(crate) fn begin(&mut self, section: u32) -> Result<()> {
        self.out.begin(section, VERSION)
    }

    /// Appends bytes to the section that was begun last.
    ///
    /// # Errors
    /// As [`SectionsWriter::begin`].
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.append(bytes)
    }

    /// Ends the section begun last.
    pub(crate) fn end(&mut self) {
        self.out.end();
    }

    /// Writes a whole section.
    ///
    /// # Errors
    /// As [`SectionsWriter::begin`].
    pub(crate) fn section(&mut self, section: u32, bytes: &[u8]) -> Result<()> {
        self.begin(section)?;
        self.append(bytes)?;
        self.end();
        Ok(())
    }
}
