//! Segments: runs of records that never change.
//!
//! ```text
//! header | matrices (64-byte aligned, no padding between rows) | fields (JSON) | ids | record entries | id table | ..
//! ```
//! A record's number is its place in the file. Reading one record touches its entry, its id, its JSON and its matrix
//! and checks only the 64 KiB blocks that these lie in, so a damaged block costs the records in it and no others.
//!
//! - `sealed`: records in a finished file;
//! - `memory`: records that so far are only in the log, or in a file that is `growing`; readers see no difference;
//! - `writer`: writes a file in one pass;
//! - `matches`, `artefacts`: what is remembered beside a segment: records that met a filter, indexes and derived rows.

mod artefacts;
mod growing;
mod lookup;
pub(crate) mod matches;
mod memory;
mod sealed;
mod writer;

pub(crate) use artefacts::Cache;
pub(crate) use growing::{Body, Growing, OpenSegment, name_of};
pub(crate) use lookup::Lookup;
pub(crate) use memory::{Memory, MemoryRecord, Values};
pub(crate) use writer::{SegmentWriter, StoredRecord, Written};

use crate::error::{Error, Result};
use crate::matrix::StoredMatrix;
use crate::record::Fields;
use crate::store::files::{Files, SEG};
use crate::store::format::container::{Container, Expected};
use crate::store::format::damage::{Damage, Unreadable};
use crate::store::format::manifest::SegmentEntry;
use crate::store::layout::{Kind, Sixteen, section};
use crate::store::options::Access;
use matches::Matches;
use sealed::Sealed;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// An immutable run of records: those of a file or, in memory, those that were committed to the log since. A file whose
/// header or footer is damaged still makes a segment, which answers every question about its records with the damage.
#[derive(Debug)]
pub struct Segment {
    path: PathBuf,
    records: u32,
    kind: SegmentKind,
    /// A record could not be read, so the file is left as it is.
    suspect: AtomicBool,
    /// How often the rows of its records were searched one by one.
    scans: AtomicU32,
    pub(crate) derived: Cache,
    pub(crate) matches: Matches,
}

#[derive(Debug)]
enum SegmentKind {
    Sealed(Box<SegmentEntry>, Result<Box<Sealed>, Damage>),
    Memory(Memory),
}

/// Asks the file or the memory, whichever holds the records; a damaged file answers with its damage.
macro_rules! ask {
    ($segment:expr, $sealed:ident => $of_sealed:expr, $memory:ident => $of_memory:expr) => {
        match &$segment.kind {
            SegmentKind::Sealed(_, Ok($sealed)) => $of_sealed,
            SegmentKind::Sealed(_, Err(damage)) => Err(damage.error()),
            SegmentKind::Memory($memory) => $of_memory,
        }
    };
}

impl Segment {
    fn new(path: PathBuf, records: u32, kind: SegmentKind) -> Segment {
        let (derived, matches) = (Cache::default(), Matches::default());
        Segment { path, records, kind, suspect: AtomicBool::new(false), scans: AtomicU32::new(0), derived, matches }
    }

    /// Counts a search through the rows of its records, and returns how many there were before.
    pub(crate) fn count_scan(&self) -> u32 {
        self.scans.fetch_add(1, Ordering::Relaxed)
    }

    /// Opens a segment that a manifest names. Only errors of the environment are returned; damage is kept for later.
    pub(crate) fn open(files: &Files, access: Access, database: Sixteen, entry: &SegmentEntry) -> Result<Segment> {
        let name = format!("{SEG}/{}", entry.file.name);
        let expected = Expected { kind: Kind::Segment, database, sealed: Some((entry.file.bytes, entry.file.root)) };
        let opened = Container::open(files, &name, access, &expected, Some(section::IDS));
        match opened.and_then(|file| Sealed::new(file, entry)) {
            Ok(sealed) => {
                let kind = SegmentKind::Sealed(Box::new(entry.clone()), Ok(Box::new(sealed)));
                Ok(Segment::new(files.path(&name), entry.records, kind))
            }
            Err(error) => Ok(Segment::damaged(files, entry, Damage::try_from(error)?)),
        }
    }

    /// Makes a segment that cannot be used, because its file or its delete set is damaged.
    pub(crate) fn damaged(files: &Files, entry: &SegmentEntry, damage: Damage) -> Segment {
        let path = files.path(&format!("{SEG}/{}", entry.file.name));
        Segment::new(path, entry.records, SegmentKind::Sealed(Box::new(entry.clone()), Err(damage)))
    }

    /// Makes a segment of records that are in the log.
    pub(crate) fn of_memory(root: &Path, memory: Memory) -> Segment {
        Segment::new(Memory::path(root), memory.records().len() as u32, SegmentKind::Memory(memory))
    }

    /// Returns the path of the file, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns how many records can be asked for, deleted ones included; 0 where the whole file cannot be used,
    /// whatever a manifest says of it.
    pub fn records(&self) -> u32 {
        match &self.kind {
            SegmentKind::Sealed(_, Err(_)) => 0,
            _ => self.records,
        }
    }

    /// Returns how many records there should be, as the manifest says.
    pub(crate) fn announced(&self) -> u32 {
        self.records
    }

    /// Returns the manifest's entry of the file; none for records in the log.
    pub(crate) fn entry(&self) -> Option<&SegmentEntry> {
        match &self.kind {
            SegmentKind::Sealed(entry, _) => Some(entry),
            SegmentKind::Memory(_) => None,
        }
    }

    /// Returns whether the records are in a finished file.
    pub(crate) fn is_sealed(&self) -> bool {
        matches!(self.kind, SegmentKind::Sealed(..))
    }

    /// Returns the records, when they are in the log.
    pub(crate) fn memory(&self) -> Option<&Memory> {
        match &self.kind {
            SegmentKind::Sealed(..) => None,
            SegmentKind::Memory(memory) => Some(memory),
        }
    }

    /// Returns whether damage was met in this segment since it was opened.
    pub(crate) fn is_suspect(&self) -> bool {
        self.damage().is_some() || self.suspect.load(Ordering::Relaxed)
    }

    /// Returns the damage that makes all of it unusable, if there is any.
    pub(crate) fn damage(&self) -> Option<Error> {
        match &self.kind {
            SegmentKind::Sealed(_, Err(damage)) => Some(damage.error()),
            _ => None,
        }
    }

    /// Remembers that a record could not be read.
    pub(crate) fn mark_suspect(&self) {
        self.suspect.store(true, Ordering::Relaxed);
    }

    /// Returns the id of record `n`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when its bytes are damaged, [`Error::Io`] when they cannot be read, [`Error::Invalid`] when
    /// there is no such record; likewise for all methods that follow.
    pub fn id(&self, n: u32) -> Result<&str> {
        ask!(self, sealed => sealed.id_of(n), memory => Ok(&memory.record(n)?.id))
    }

    /// Returns the fields of record `n`.
    ///
    /// # Errors
    /// As [`Segment::id`].
    pub fn fields(&self, n: u32) -> Result<Fields> {
        ask!(self, sealed => sealed.fields(n), memory => Ok(memory.record(n)?.fields.clone()))
    }

    /// Returns how many rows record `n` has.
    ///
    /// # Errors
    /// As [`Segment::id`].
    pub fn rows(&self, n: u32) -> Result<usize> {
        ask!(self, sealed => sealed.rows(n), memory => Ok(memory.record(n)?.rows))
    }

    /// Returns the number of rows of record `n`, and the bytes of its matrix, fields and id together.
    pub(crate) fn size(&self, n: u32) -> Result<(u64, u64)> {
        ask!(self, sealed => sealed.size(n), memory => memory.size(n))
    }

    /// Returns the matrix of record `n`: borrowed without a copy where it is stored as `f32` and mapped or in memory.
    ///
    /// # Errors
    /// As [`Segment::id`].
    pub fn matrix(&self, n: u32) -> Result<StoredMatrix<'_>> {
        ask!(self, sealed => sealed.matrix(n), memory => memory.matrix(n))
    }

    /// Returns the number of the commit that wrote record `n`.
    pub(crate) fn seq(&self, n: u32) -> Result<u64> {
        ask!(self, sealed => sealed.seq(n), memory => Ok(memory.record(n)?.seq))
    }

    /// Passes record `n` to `take` as it is stored, to be copied.
    pub(crate) fn with_stored<T>(&self, n: u32, take: impl FnOnce(&StoredRecord<'_>) -> Result<T>) -> Result<T> {
        ask!(self, sealed => sealed.with_stored(n, take), memory => memory.with_stored(n, take))
    }

    /// Returns whether the file holds matrices that no record names.
    pub(crate) fn has_strays(&self) -> Result<bool> {
        ask!(self, sealed => sealed.has_strays(self.records), _memory => Ok(false))
    }

    /// Returns the bytes of ids, fields and entries in the file.
    pub(crate) fn table_bytes(&self) -> u64 {
        match &self.kind {
            SegmentKind::Sealed(_, Ok(sealed)) => sealed.table_bytes(),
            _ => 0,
        }
    }

    /// Compares the sums of all blocks, in parallel.
    pub(crate) fn check_sums(&self) -> Result<()> {
        ask!(self, sealed => sealed.check_sums(), _memory => Ok(()))
    }

    /// Checks everything that must hold inside a file; passes each violation to `report` and goes on.
    pub(crate) fn verify(&self, report: &mut dyn FnMut(Error)) {
        match &self.kind {
            SegmentKind::Sealed(_, Ok(sealed)) => sealed.verify(self.records, report),
            SegmentKind::Sealed(_, Err(damage)) => report(damage.error()),
            SegmentKind::Memory(_) => {}
        }
    }
}

impl Segment {
    /// Describes record `n` as unreadable, or all records where the whole file cannot be used; returns an error that is
    /// not damage unchanged.
    pub(crate) fn unreadable(&self, n: u32, error: Error) -> Result<Unreadable> {
        Unreadable::new(self.id(n).ok(), self.behind(), error)
    }

    /// Returns how many records one step of a reader stands for: 1, or all live ones of a file that cannot be used.
    pub(crate) fn behind(&self) -> u64 {
        match self.damage() {
            Some(_) => self.entry().map_or(0, |entry| entry.live()),
            None => 1,
        }
    }
}
