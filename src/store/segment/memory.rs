//! Records of commits that are in the log and not yet in a sealed file.

use super::StoredRecord;
use super::growing::Body;
use crate::error::{Error, Result};
use crate::matrix::{MatrixView, Precision, StoredMatrix};
use crate::record::{Fields, Schema};
use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// A record that waits to be written out.
#[derive(Debug)]
pub(crate) struct MemoryRecord {
    pub seq: u64,
    pub id: String,
    pub fields: Fields,
    pub rows: usize,
    pub values: Values,
}

impl MemoryRecord {
    /// Returns the record as it is stored, given its fields as JSON and the bytes of its matrix.
    pub(crate) fn stored<'a>(
        &'a self,
        dim: usize,
        precision: Precision,
        fields: &'a str,
        matrix: &'a [u8],
    ) -> StoredRecord<'a> {
        let (seq, id, rows, dim) = (self.seq, self.id.as_str(), self.rows as u64, dim as u32);
        StoredRecord { seq, id, fields: fields.as_bytes(), rows, dim, precision, matrix }
    }
}

/// The values of a record in memory, already as they will be stored, so that writing them out changes nothing.
#[derive(Debug)]
pub(crate) enum Values {
    /// In the heap, as `f32`.
    Floats(Vec<f32>),
    /// In the heap, encoded in two bytes each.
    Narrow(Vec<u8>),
    /// In a segment file that is still growing.
    Direct(Box<Body>),
}

impl Values {
    /// Takes values over, encoded in the precision of the collection.
    pub(crate) fn of(values: Vec<f32>, precision: Precision) -> Result<Values> {
        if precision == Precision::F32 {
            return Ok(Values::Floats(values));
        }
        let mut narrowed = Vec::new();
        precision.encode(&values, &mut narrowed)?;
        Ok(Values::Narrow(narrowed))
    }

    /// Copies values that are encoded already.
    pub(crate) fn stored(bytes: &[u8], precision: Precision) -> Values {
        match precision {
            Precision::F32 => Values::Floats(precision.decode(bytes)),
            _ => Values::Narrow(bytes.to_vec()),
        }
    }

    /// Returns how many bytes they take where they are stored.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Values::Floats(values) => size_of_val(&values[..]) as u64,
            Values::Narrow(bytes) => bytes.len() as u64,
            Values::Direct(body) => body.bytes(),
        }
    }

    /// Returns the bytes as they are stored.
    pub(crate) fn bytes(&self) -> Result<Cow<'_, [u8]>> {
        match self {
            Values::Floats(values) => Ok(Cow::Borrowed(bytemuck::cast_slice(values))),
            Values::Narrow(bytes) => Ok(Cow::Borrowed(bytes)),
            Values::Direct(body) => body.read(),
        }
    }
}

/// An immutable run of records in memory. Later commits make further runs, and merge those that are small.
#[derive(Debug)]
pub(crate) struct Memory {
    dim: usize,
    precision: Precision,
    records: Vec<Arc<MemoryRecord>>,
    /// Hash of the id and number of each record, sorted.
    table: Vec<(u64, u32)>,
}

impl Memory {
    /// Makes a run of these records, whose ids must differ.
    pub(crate) fn new(schema: &Schema, records: Vec<Arc<MemoryRecord>>) -> Memory {
        let hashed = records.iter().enumerate().map(|(n, record)| (xxh3_64(record.id.as_bytes()), n as u32));
        let mut table: Vec<(u64, u32)> = hashed.collect();
        table.sort_unstable();
        Memory { dim: schema.dim, precision: schema.precision, records, table }
    }

    pub(crate) fn records(&self) -> &[Arc<MemoryRecord>] {
        &self.records
    }

    pub(crate) fn record(&self, n: u32) -> Result<&MemoryRecord> {
        let missing = || Error::invalid("record number", format!("{n}: the segment has {}", self.records.len()));
        self.records.get(n as usize).map(|record| &**record).ok_or_else(missing)
    }

    pub(crate) fn find(&self, id: &str) -> Option<u32> {
        let hash = xxh3_64(id.as_bytes());
        let first = self.table.partition_point(|(found, _)| *found < hash);
        let same = self.table[first..].iter().take_while(|(found, _)| *found == hash);
        same.map(|(_, n)| *n).find(|n| self.records[*n as usize].id == id)
    }

    pub(crate) fn size(&self, n: u32) -> Result<(u64, u64)> {
        let record = self.record(n)?;
        let fields = record.fields.to_json().len();
        Ok((record.rows as u64, record.values.length() + (record.id.len() + fields) as u64))
    }

    pub(crate) fn matrix(&self, n: u32) -> Result<StoredMatrix<'_>> {
        let record = self.record(n)?;
        let values = match &record.values {
            Values::Floats(values) => Cow::Borrowed(&values[..]),
            Values::Narrow(bytes) => Cow::Owned(self.precision.decode(bytes)),
            Values::Direct(body) => match body.read()? {
                Cow::Borrowed(bytes) if self.precision == Precision::F32 => {
                    Cow::Borrowed(bytemuck::try_cast_slice(bytes).map_err(|_| body.corrupt("misaligned values"))?)
                }
                bytes => Cow::Owned(self.precision.decode(&bytes)),
            },
        };
        if let Values::Direct(body) = &record.values
            && !body.is_finite()
        {
            MatrixView::new(record.rows, self.dim, &values).map_err(|error| body.corrupt(&error.to_string()))?;
            body.set_finite();
        }
        Ok(StoredMatrix::trusted(record.rows, self.dim, values))
    }

    pub(crate) fn with_stored<T>(&self, n: u32, take: impl FnOnce(&StoredRecord<'_>) -> Result<T>) -> Result<T> {
        let record = self.record(n)?;
        let (fields, matrix) = (record.fields.to_json(), record.values.bytes()?);
        take(&record.stored(self.dim, self.precision, &fields, &matrix))
    }

    /// Returns the path that messages give for records in memory.
    pub(crate) fn path(root: &Path) -> std::path::PathBuf {
        root.join("wal")
    }
}
