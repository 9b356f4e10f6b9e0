//! Writes a segment in one pass; ids, fields and entries wait in memory until the matrices are written.

use crate::error::{Error, Result};
use crate::limits;
use crate::matrix::Precision;
use crate::store::files::File;
use crate::store::format::container::{Counts, Finished, Identity, Writer};
use crate::store::layout::{ALIGN, Kind, LARGE_ALIGN, LARGE_BYTES, id_entry, record_entry, section};
use xxhash_rust::xxh3::xxh3_64;

/// A record as segments store it.
#[derive(Debug)]
pub(crate) struct StoredRecord<'a> {
    pub seq: u64,
    pub id: &'a str,
    pub fields: &'a [u8],
    pub rows: u64,
    pub dim: u32,
    pub precision: Precision,
    /// `rows * dim` little-endian values.
    pub matrix: &'a [u8],
}

/// A segment being written.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    out: Writer,
    entries: Vec<u8>,
    ids: Vec<u8>,
    fields: Vec<u8>,
    table: Vec<(u64, u32)>,
    written: Written,
}

/// Counts of what was written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Written {
    pub data_bytes: u64,
    pub records: u32,
    pub rows: u64,
    pub min_seq: u64,
    pub max_seq: u64,
}

impl SegmentWriter {
    /// Begins a segment; `about` says in JSON to which collection it belongs.
    pub(crate) fn new(file: File, identity: &Identity, about: &str) -> Result<SegmentWriter> {
        let mut out = Writer::new(file, Kind::Segment, identity)?;
        out.section(section::ABOUT, about.as_bytes())?;
        out.begin(section::MATRICES, 1)?;
        Ok(SegmentWriter {
            out,
            entries: Vec::new(),
            ids: Vec::new(),
            fields: Vec::new(),
            table: Vec::new(),
            written: Written { min_seq: u64::MAX, ..Written::default() },
        })
    }

    /// Returns the offset of the next byte.
    pub(crate) fn offset(&self) -> u64 {
        self.out.offset()
    }

    /// Returns the bytes of the tables that wait in memory for the end.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.entries.len() + self.ids.len() + self.fields.len() + self.table.len() * id_entry::BYTES
    }

    /// Appends a record. Ids must be unique in a segment.
    pub(crate) fn push(&mut self, record: &StoredRecord<'_>) -> Result<()> {
        let offset = self.body(record.matrix)?;
        self.enter(record, offset, record.matrix.len() as u64)
    }

    /// Appends the bytes of a matrix and returns their offset; [`SegmentWriter::enter`] makes a record of them.
    pub(crate) fn body(&mut self, matrix: &[u8]) -> Result<u64> {
        self.out.align(if matrix.len() as u64 >= LARGE_BYTES { LARGE_ALIGN } else { ALIGN })?;
        let offset = self.out.offset();
        self.out.append(matrix)?;
        Ok(offset)
    }

    /// Writes everything so far to the file. Nothing is synced.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.out.flush()
    }

    /// Adds a record whose matrix of `bytes` bytes was appended at `offset`; the matrix in `record` is ignored.
    pub(crate) fn enter(&mut self, record: &StoredRecord<'_>, offset: u64, bytes: u64) -> Result<()> {
        let number = self.written.records;
        if number as usize == limits::SEGMENT_RECORDS {
            return Err(Error::invalid("batch", format!("more than {} records", limits::SEGMENT_RECORDS)));
        }
        let mut entry = [0; record_entry::BYTES];
        record_entry::SEQ.put_number(&mut entry, record.seq);
        // These offsets count from the start of their sections until those have a place.
        record_entry::ID_OFFSET.put_number(&mut entry, self.ids.len() as u64);
        record_entry::FIELDS_OFFSET.put_number(&mut entry, self.fields.len() as u64);
        record_entry::MATRIX_OFFSET.put_number(&mut entry, offset);
        record_entry::ROWS.put_number(&mut entry, record.rows);
        record_entry::ID_BYTES.put_number(&mut entry, record.id.len() as u64);
        record_entry::FIELDS_BYTES.put_number(&mut entry, record.fields.len() as u64);
        record_entry::DIM.put_number(&mut entry, u64::from(record.dim));
        record_entry::PRECISION.put_number(&mut entry, u64::from(record.precision.code()));
        self.entries.extend_from_slice(&entry);
        self.ids.extend_from_slice(record.id.as_bytes());
        self.fields.extend_from_slice(record.fields);
        self.table.push((xxh3_64(record.id.as_bytes()), number));
        let written = &mut self.written;
        written.records += 1;
        written.rows += record.rows;
        written.data_bytes += bytes + (record.id.len() + record.fields.len()) as u64;
        written.min_seq = written.min_seq.min(record.seq);
        written.max_seq = written.max_seq.max(record.seq);
        Ok(())
    }

    /// Writes tables and footer. Nothing is synced.
    pub(crate) fn finish(mut self, dim: u64) -> Result<(Finished, Written)> {
        self.out.end();
        self.out.begin(section::FIELDS, 1)?;
        let fields_offset = self.out.offset();
        self.out.append(&self.fields)?;
        self.out.end();
        self.out.begin(section::IDS, 1)?;
        let ids_offset = self.out.offset();
        self.out.append(&self.ids)?;
        self.out.end();
        for entry in self.entries.chunks_exact_mut(record_entry::BYTES) {
            for (field, section) in
                [(record_entry::ID_OFFSET, ids_offset), (record_entry::FIELDS_OFFSET, fields_offset)]
            {
                let offset = field.number(entry) + section;
                field.put_number(entry, offset);
            }
        }
        self.out.section(section::RECORDS, &self.entries)?;
        self.table.sort_unstable();
        let mut table = Vec::with_capacity(self.table.len() * id_entry::BYTES);
        for (hash, record) in &self.table {
            let mut line = [0; id_entry::BYTES];
            id_entry::HASH.put_number(&mut line, *hash);
            id_entry::RECORD.put_number(&mut line, u64::from(*record));
            table.extend_from_slice(&line);
        }
        self.out.section(section::ID_TABLE, &table)?;
        let counts = Counts { records: u64::from(self.written.records), rows: self.written.rows, dim };
        Ok((self.out.finish(counts)?, self.written))
    }
}
