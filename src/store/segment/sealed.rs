//! Records in a sealed file.

use super::StoredRecord;
use super::lookup::{Lookup, Rebuilt};
use crate::error::{Error, Result};
use crate::limits;
use crate::matrix::{MatrixView, Precision, StoredMatrix};
use crate::record::Fields;
use crate::store::format::bits::Bits;
use crate::store::format::container::{Container, SectionEntry};
use crate::store::format::manifest::SegmentEntry;
use crate::store::layout::{ALIGN, Field, LARGE_ALIGN, LARGE_BYTES, hex, id_entry, record_entry, section};
use std::borrow::Cow;
use std::sync::OnceLock;

/// A file of records whose header, footer and directory are whole.
#[derive(Debug)]
pub(crate) struct Sealed {
    file: Container,
    matrices: SectionEntry,
    fields: SectionEntry,
    ids: SectionEntry,
    records: SectionEntry,
    id_table: SectionEntry,
    /// Records whose values are known to be finite.
    finite: Bits,
    /// Stands in for a damaged table of ids.
    pub(crate) rebuilt: OnceLock<Rebuilt>,
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
    /// Offset of the entry in the file.
    offset: u64,
}

impl Sealed {
    pub(crate) fn new(file: Container, entry: &SegmentEntry) -> Result<Sealed> {
        let (counts, records) = (file.counts(), u64::from(entry.records));
        if counts.records != records || counts.rows != entry.rows || file.identity().file != entry.uuid {
            let what = format!("not the segment {} of {records} records that the manifest names", hex(&entry.uuid));
            return Err(file.corrupt(0, what));
        }
        if counts.dim != entry.dim {
            let what = format!("rows of {} numbers in a collection of {}", counts.dim, entry.dim);
            return Err(file.corrupt(0, what));
        }
        let (records_table, id_table) = (file.section(section::RECORDS)?, file.section(section::ID_TABLE)?);
        for (table, bytes) in [(records_table, record_entry::BYTES), (id_table, id_entry::BYTES)] {
            if table.length != records * bytes as u64 {
                return Err(file.corrupt(table.offset, format!("a table that is not of {records} records")));
            }
        }
        Ok(Sealed {
            matrices: file.section(section::MATRICES)?,
            fields: file.section(section::FIELDS)?,
            ids: file.section(section::IDS)?,
            records: records_table,
            id_table,
            // Made only after the lengths of the tables have confirmed this number.
            finite: Bits::new(entry.records as usize),
            rebuilt: OnceLock::new(),
            file,
        })
    }

    fn place(&self, n: u32) -> Result<Place> {
        let records = self.records.length / record_entry::BYTES as u64;
        if u64::from(n) >= records {
            return Err(Error::invalid("record number", format!("{n}: the segment has {records}")));
        }
        let offset = self.records.offset + u64::from(n) * record_entry::BYTES as u64;
        let entry = self.file.read(offset, record_entry::BYTES as u64)?;
        let number = |field: Field| field.number(&entry);
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

    fn id(&self, place: &Place) -> Result<&str> {
        let (offset, length) = place.id;
        match self.file.read(offset, length)? {
            Cow::Borrowed(bytes) => {
                std::str::from_utf8(bytes).map_err(|_| self.file.corrupt(offset, "an id that is no UTF-8"))
            }
            Cow::Owned(_) => Err(self.file.corrupt(offset, "an id in front of the section of ids")),
        }
    }

    /// Returns line `n` of the id table: hash and record.
    pub(crate) fn id_line(&self, n: u32) -> Result<(u64, u32)> {
        let offset = self.id_table.offset + u64::from(n) * id_entry::BYTES as u64;
        let line = self.file.read(offset, id_entry::BYTES as u64)?;
        let record = id_entry::RECORD.number(&line) as u32;
        match u64::from(record) < self.id_table.length / id_entry::BYTES as u64 {
            true => Ok((id_entry::HASH.number(&line), record)),
            false => Err(self.file.corrupt(offset, format!("line {n} of the id table names no record"))),
        }
    }
}

/// Answers about records; see the methods of the same names of [`super::Segment`].
impl Sealed {
    pub(crate) fn id_of(&self, n: u32) -> Result<&str> {
        self.id(&self.place(n)?)
    }

    pub(crate) fn seq(&self, n: u32) -> Result<u64> {
        Ok(self.place(n)?.seq)
    }

    pub(crate) fn fields(&self, n: u32) -> Result<Fields> {
        let (offset, length) = self.place(n)?.fields;
        let bytes = self.file.read(offset, length)?;
        Fields::from_json(&bytes)
            .ok_or_else(|| self.file.corrupt(offset, format!("record {n}: fields that are no JSON object")))
    }

    pub(crate) fn rows(&self, n: u32) -> Result<usize> {
        Ok(self.place(n)?.rows)
    }

    pub(crate) fn size(&self, n: u32) -> Result<(u64, u64)> {
        let place = self.place(n)?;
        Ok((place.rows as u64, place.matrix.1 + place.fields.1 + place.id.1))
    }

    pub(crate) fn matrix(&self, n: u32) -> Result<StoredMatrix<'_>> {
        let place = self.place(n)?;
        let (offset, length) = place.matrix;
        let values = match self.file.read(offset, length)? {
            Cow::Borrowed(bytes) if place.precision == Precision::F32 => {
                let values = bytemuck::try_cast_slice(bytes);
                Cow::Borrowed(values.map_err(|_| self.file.corrupt(offset, format!("record {n}: misaligned values")))?)
            }
            bytes => Cow::Owned(place.precision.decode(&bytes)),
        };
        if self.finite.get(n as usize) {
            return Ok(StoredMatrix::trusted(place.rows, place.dim, values));
        }
        MatrixView::new(place.rows, place.dim, &values)
            .map_err(|error| self.file.corrupt(offset, format!("record {n}: {error}")))?;
        self.finite.set(n as usize);
        Ok(StoredMatrix::trusted(place.rows, place.dim, values))
    }

    pub(crate) fn with_stored<T>(&self, n: u32, take: impl FnOnce(&StoredRecord<'_>) -> Result<T>) -> Result<T> {
        let place = self.place(n)?;
        let fields = self.file.read(place.fields.0, place.fields.1)?;
        let matrix = self.file.read(place.matrix.0, place.matrix.1)?;
        take(&StoredRecord {
            seq: place.seq,
            id: self.id(&place)?,
            fields: &fields,
            rows: place.rows as u64,
            dim: place.dim as u32,
            precision: place.precision,
            matrix: &matrix,
        })
    }

    pub(crate) fn has_strays(&self, records: u32) -> Result<bool> {
        let places: Result<Vec<(u64, u64)>> = (0..records).map(|n| Ok(self.place(n)?.matrix)).collect();
        let mut places = places?;
        places.sort_unstable();
        let mut at = self.matrices.offset;
        for (offset, length) in places.into_iter().filter(|(_, length)| *length > 0) {
            let align = if length >= LARGE_BYTES { LARGE_ALIGN } else { ALIGN };
            if offset > at.next_multiple_of(align) {
                return Ok(true);
            }
            at = at.max(offset + length);
        }
        Ok(self.matrices.offset + self.matrices.length > at.next_multiple_of(ALIGN))
    }

    pub(crate) fn table_bytes(&self) -> u64 {
        [self.fields, self.ids, self.records, self.id_table].iter().map(|section| section.length).sum()
    }

    pub(crate) fn check_sums(&self) -> Result<()> {
        self.file.check_all()
    }

    pub(crate) fn verify(&self, records: u32, report: &mut dyn FnMut(Error)) {
        for block in 0..self.file.block_count() {
            if let Err(error) = self.file.check_block(block) {
                report(error);
            }
        }
        match self.file.stray_byte() {
            Ok(Some(offset)) => report(self.file.corrupt(offset, "a byte between sections is not zero")),
            Ok(None) | Err(Error::Corrupt { .. }) => {} // damage was reported with its block
            Err(error) => report(error),
        }
        let mut last = None;
        for n in 0..records {
            let mut check = || -> Result<()> {
                let id = self.id_of(n)?;
                if !matches!(self.lookup(id, records)?, Lookup::At(at) if at == n) {
                    return Err(self.file.corrupt(self.place(n)?.offset, format!("record {n} is not found by its id")));
                }
                let line = self.id_line(n)?;
                if last.replace(line).is_some_and(|last| last >= line) {
                    return Err(self
                        .file
                        .corrupt(self.id_table.offset, format!("line {n} of the id table is out of order")));
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
