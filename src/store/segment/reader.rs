//! Reads records out of a segment.

use super::StoredRecord;
use super::lookup::Rebuilt;
use crate::error::{Error, Result};
use crate::limits;
use crate::matrix::{MatrixView, Precision, StoredMatrix};
use crate::record::Fields;
use crate::store::Access;
use crate::store::bits::Bits;
use crate::store::container::{Container, Expected, SectionEntry};
use crate::store::damage::Damage;
use crate::store::derived::RowsCache;
use crate::store::files::{Files, SEG};
use crate::store::layout::{Kind, Sixteen, hex, id_entry, record_entry, section};
use crate::store::manifest::SegmentEntry;
use crate::store::matches::Matches;
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// An immutable file of records, open for reading. When its frame is damaged it is still there, and every question about
/// its records is answered with the damage.
#[derive(Debug)]
pub struct Segment {
    path: PathBuf,
    entry: SegmentEntry,
    body: Result<Body, Damage>,
    /// A record could not be read: leave the file as it is.
    suspect: AtomicBool,
    pub(crate) rows: RowsCache,
    pub(crate) matches: Matches,
}

#[derive(Debug)]
pub(super) struct Body {
    file: Container,
    matrices: SectionEntry,
    fields: SectionEntry,
    ids: SectionEntry,
    records: SectionEntry,
    id_table: SectionEntry,
    /// Records whose values are known to be finite.
    finite: Bits,
    /// Stands in for a damaged table of ids.
    pub(super) rebuilt: OnceLock<Rebuilt>,
}

/// A record entry that was checked against the sections.
struct Place {
    seq: u64,
    id: (u64, u64),
    fields: (u64, u64),
    matrix: (u64, u64),
    rows: usize,
    dim: usize,
    precision: Precision,
    /// Where the entry stands.
    offset: u64,
}

impl Segment {
    /// Opens what a manifest names. Only trouble of the surroundings is an error here; damage is kept for later.
    pub(crate) fn open(
        files: &Files,
        access: Access,
        database: Sixteen,
        entry: &SegmentEntry,
        dim: u64,
    ) -> Result<Segment> {
        let name = format!("{SEG}/{}", entry.file.name);
        let expected = Expected { kind: Kind::Segment, database, sealed: Some((entry.file.bytes, entry.file.root)) };
        let opened = Container::open(files, &name, access, &expected, Some(section::IDS));
        match opened.and_then(|file| Body::new(file, entry, dim)) {
            Ok(body) => Ok(Segment {
                path: files.path(&name),
                entry: entry.clone(),
                body: Ok(body),
                suspect: AtomicBool::new(false),
                rows: RowsCache::default(),
                matches: Matches::default(),
            }),
            Err(error) => Ok(Segment::damaged(files, entry, Damage::try_from(error)?)),
        }
    }

    /// A segment that cannot be used, because what goes with it is damaged.
    pub(crate) fn damaged(files: &Files, entry: &SegmentEntry, damage: Damage) -> Segment {
        Segment {
            path: files.path(&format!("{SEG}/{}", entry.file.name)),
            entry: entry.clone(),
            body: Err(damage),
            suspect: AtomicBool::new(false),
            rows: RowsCache::default(),
            matches: Matches::default(),
        }
    }

    /// The file, for messages.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// How many records there are, deleted ones included.
    pub fn records(&self) -> u32 {
        self.entry.records
    }

    /// The identity of the file.
    pub fn uuid(&self) -> [u8; 16] {
        self.entry.uuid
    }

    /// The sum that stands for the whole content.
    pub(crate) fn root(&self) -> Sixteen {
        self.entry.file.root
    }

    pub(crate) fn entry(&self) -> &SegmentEntry {
        &self.entry
    }

    /// Whether damage was met in this segment since it was opened.
    pub(crate) fn is_suspect(&self) -> bool {
        self.body.is_err() || self.suspect.load(Ordering::Relaxed)
    }

    /// What makes all of it unusable, if something does.
    pub(crate) fn damage(&self) -> Option<Error> {
        self.body.as_ref().err().map(Damage::error)
    }

    /// Remembers that a record could not be read.
    pub(crate) fn mark_suspect(&self) {
        self.suspect.store(true, Ordering::Relaxed);
    }

    pub(super) fn body(&self) -> Result<&Body> {
        self.body.as_ref().map_err(Damage::error)
    }

    /// The id of record `n`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when its bytes are damaged, [`Error::Io`] when they cannot be read, [`Error::Invalid`] when
    /// there is no such record; so for all that follow.
    pub fn id(&self, n: u32) -> Result<&str> {
        self.body()?.id_of(n)
    }

    /// Number of the commit that wrote record `n`.
    pub(crate) fn seq(&self, n: u32) -> Result<u64> {
        Ok(self.body()?.place(n)?.seq)
    }

    /// The fields of record `n`.
    ///
    /// # Errors
    /// As [`Segment::id`].
    pub fn fields(&self, n: u32) -> Result<Fields> {
        let body = self.body()?;
        let (offset, length) = body.place(n)?.fields;
        let bytes = body.file.read(offset, length)?;
        Fields::from_json(&bytes)
            .ok_or_else(|| body.file.corrupt(offset, format!("record {n}: fields that are no JSON object")))
    }

    /// How many rows record `n` has.
    ///
    /// # Errors
    /// As [`Segment::id`].
    pub fn rows(&self, n: u32) -> Result<usize> {
        Ok(self.body()?.place(n)?.rows)
    }

    /// The matrix of record `n`: borrowed without a copy where it is stored as `f32` and mapped.
    ///
    /// # Errors
    /// As [`Segment::id`].
    pub fn matrix(&self, n: u32) -> Result<StoredMatrix<'_>> {
        let body = self.body()?;
        let place = body.place(n)?;
        let (offset, length) = place.matrix;
        let values = match body.file.read(offset, length)? {
            Cow::Borrowed(bytes) if place.precision == Precision::F32 => {
                let values = bytemuck::try_cast_slice(bytes);
                Cow::Borrowed(values.map_err(|_| body.file.corrupt(offset, format!("record {n}: misaligned values")))?)
            }
            bytes => Cow::Owned(place.precision.decode(&bytes)),
        };
        if body.finite.get(n as usize) {
            return Ok(StoredMatrix::trusted(place.rows, place.dim, values));
        }
        MatrixView::new(place.rows, place.dim, &values)
            .map_err(|error| body.file.corrupt(offset, format!("record {n}: {error}")))?;
        body.finite.set(n as usize);
        Ok(StoredMatrix::trusted(place.rows, place.dim, values))
    }

    /// Hands record `n` over as it is stored, to be copied.
    pub(crate) fn with_stored<T>(&self, n: u32, take: impl FnOnce(&StoredRecord<'_>) -> Result<T>) -> Result<T> {
        let body = self.body()?;
        let place = body.place(n)?;
        let fields = body.file.read(place.fields.0, place.fields.1)?;
        let matrix = body.file.read(place.matrix.0, place.matrix.1)?;
        take(&StoredRecord {
            seq: place.seq,
            id: body.id(&place)?,
            fields: &fields,
            rows: place.rows as u64,
            dim: place.dim as u32,
            precision: place.precision,
            matrix: &matrix,
        })
    }

    /// Everything that must hold inside a segment beyond its sums; hands each violation to `report` and goes on.
    pub(crate) fn verify(&self, report: &mut dyn FnMut(Error)) {
        let body = match self.body() {
            Ok(body) => body,
            Err(error) => return report(error),
        };
        for block in 0..body.file.block_count() {
            if let Err(error) = body.file.check_block(block) {
                report(error);
            }
        }
        match body.file.stray_byte() {
            Ok(Some(offset)) => report(body.file.corrupt(offset, "a byte between sections is not zero")),
            Ok(None) | Err(Error::Corrupt { .. }) => {} // damage was reported with its block
            Err(error) => report(error),
        }
        let mut last = None;
        for n in 0..self.entry.records {
            let mut check = || -> Result<()> {
                let id = self.id(n)?;
                if self.find(id)? != Some(n) {
                    return Err(body.file.corrupt(body.place(n)?.offset, format!("record {n} is not found by its id")));
                }
                let line = body.id_line(n)?;
                if last.replace(line).is_some_and(|last| last >= line) {
                    return Err(body
                        .file
                        .corrupt(body.id_table.offset, format!("line {n} of the id table is out of order")));
                }
                self.fields(n)?;
                self.matrix(n).map(drop)
            };
            if let Err(error) = check() {
                report(error);
            }
        }
    }
}

impl Body {
    fn new(file: Container, entry: &SegmentEntry, dim: u64) -> Result<Body> {
        let counts = file.counts();
        let body = Body {
            matrices: file.section(section::MATRICES)?,
            fields: file.section(section::FIELDS)?,
            ids: file.section(section::IDS)?,
            records: file.section(section::RECORDS)?,
            id_table: file.section(section::ID_TABLE)?,
            finite: Bits::new(entry.records as usize),
            rebuilt: OnceLock::new(),
            file,
        };
        let records = u64::from(entry.records);
        if counts.records != records || counts.rows != entry.rows || body.file.identity().file != entry.uuid {
            let what = format!("not the segment {} of {records} records that the manifest names", hex(&entry.uuid));
            return Err(body.file.corrupt(0, what));
        }
        if counts.dim != dim {
            return Err(body.file.corrupt(0, format!("rows of {} numbers in a collection of {dim}", counts.dim)));
        }
        for (table, bytes) in [(body.records, record_entry::BYTES), (body.id_table, id_entry::BYTES)] {
            if table.length != records * bytes as u64 {
                return Err(body.file.corrupt(table.offset, format!("a table that is not of {records} records")));
            }
        }
        Ok(body)
    }

    fn place(&self, n: u32) -> Result<Place> {
        let records = self.records.length / record_entry::BYTES as u64;
        if u64::from(n) >= records {
            return Err(Error::invalid("record number", format!("{n}: the segment has {records}")));
        }
        let offset = self.records.offset + u64::from(n) * record_entry::BYTES as u64;
        let entry = self.file.read(offset, record_entry::BYTES as u64)?;
        let number = |field: crate::store::layout::Field| field.number(&entry);
        let wrong = |what: &str| self.file.corrupt(offset, format!("record {n}: {what}"));
        let precision = Precision::from_code(number(record_entry::PRECISION) as u8);
        let precision = precision.ok_or_else(|| wrong("unknown precision"))?;
        let (rows, dim) = (number(record_entry::ROWS), number(record_entry::DIM));
        let matrix_bytes = rows
            .checked_mul(dim)
            .and_then(|values| values.checked_mul(precision.bytes() as u64))
            .filter(|bytes| *bytes <= limits::MATRIX_BYTES && dim > 0 && dim == self.file.counts().dim)
            .ok_or_else(|| wrong("impossible shape"))?;
        let within = |section: SectionEntry, offset: u64, length: u64| {
            let end = offset.checked_add(length)?;
            (offset >= section.offset && end <= section.offset + section.length).then_some((offset, length))
        };
        let id = within(self.ids, number(record_entry::ID_OFFSET), number(record_entry::ID_BYTES));
        let fields = within(self.fields, number(record_entry::FIELDS_OFFSET), number(record_entry::FIELDS_BYTES));
        let matrix = within(self.matrices, number(record_entry::MATRIX_OFFSET), matrix_bytes);
        Ok(Place {
            seq: number(record_entry::SEQ),
            id: id.ok_or_else(|| wrong("its id lies outside of the ids"))?,
            fields: fields.ok_or_else(|| wrong("its fields lie outside of the fields"))?,
            matrix: matrix.ok_or_else(|| wrong("its matrix lies outside of the matrices"))?,
            rows: usize::try_from(rows).map_err(|_| wrong("too many rows for this machine"))?,
            dim: dim as usize,
            precision,
            offset,
        })
    }

    /// The id of record `n`.
    pub(super) fn id_of(&self, n: u32) -> Result<&str> {
        self.id(&self.place(n)?)
    }

    fn id(&self, place: &Place) -> Result<&str> {
        let (offset, length) = place.id;
        match self.file.read(offset, length)? {
            Cow::Borrowed(bytes) => {
                std::str::from_utf8(bytes).map_err(|_| self.file.corrupt(offset, "an id that is no UTF-8"))
            }
            Cow::Owned(_) => Err(self.file.corrupt(offset, "an id in front of the section of ids")),
        }
    }

    /// Line `n` of the id table: hash and record.
    pub(super) fn id_line(&self, n: u32) -> Result<(u64, u32)> {
        let offset = self.id_table.offset + u64::from(n) * id_entry::BYTES as u64;
        let line = self.file.read(offset, id_entry::BYTES as u64)?;
        let record = id_entry::RECORD.number(&line) as u32;
        match u64::from(record) < self.id_table.length / id_entry::BYTES as u64 {
            true => Ok((id_entry::HASH.number(&line), record)),
            false => Err(self.file.corrupt(offset, format!("line {n} of the id table names no record"))),
        }
    }
}
