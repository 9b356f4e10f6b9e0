//! Codes of one segment's plain vectors in one view, as stored in a derived file.
//!
//! A row's place in the table is its *position*. A table on its own has rows in order of their records; that of an
//! index has them in the order that suits the index. Both serve the exact scan.

use super::one_row::Rows;
use super::pace::Pace;
use super::sq8::{self, CodeEntry, Sq8};
use crate::error::Result;
use crate::score::Metric;
use crate::store::layout::{Kind, section};
use crate::store::{Artefact, Counts, Sections, SectionsWriter};
use roaring::RoaringBitmap;

/// Marks a record that has no position.
const NONE: u32 = u32::MAX;
/// Bytes of codes held in memory before they are written.
const CHUNK_BYTES: usize = 16 << 20;

/// Returns how many rows are coded before their codes are written.
pub(crate) fn chunk_rows(dim: usize) -> usize {
    (CHUNK_BYTES / sq8::stride(dim)).max(1)
}

/// Codes, and which record each row belongs to.
#[derive(Debug)]
pub(crate) struct Sq8Table {
    pub(crate) sections: Sections,
    dim: usize,
    positions: Vec<u32>,
    /// Records that have no row here: those that do not have exactly one, or cannot be read.
    pub(crate) others: RoaringBitmap,
    /// Positions of rows whose codes give no bound: every search looks at these, even if it does not look at all codes.
    pub(crate) without_bound: Vec<u32>,
    /// The smallest offset of all codes: by L2 it gives the length of the longest row.
    pub(crate) least_offset: f32,
    /// How long a scan takes for each row.
    pub(crate) scanning: Pace,
}

impl Artefact for Sq8Table {
    const KIND: Kind = Kind::Codes;

    fn read(sections: Sections) -> Result<Sq8Table> {
        Sq8Table::check(sections)
    }
}

impl Sq8Table {
    /// Makes a table of its sections, which are a file's own or part of an index, and checks them.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) when they contradict themselves or one another.
    pub(crate) fn check(sections: Sections) -> Result<Sq8Table> {
        let wrong = |what: &str| sections.corrupt(section::CODES, what);
        let counts = sections.counts();
        let size = |count: u64| usize::try_from(count).map_err(|_| wrong("impossible counts"));
        let (records, rows, dim) = (size(counts.records)?, size(counts.rows)?, size(counts.dim)?);
        let codes = Sq8::new(sections.bytes(section::CODES)?, sections.numbers(section::CODE_ENTRIES)?, dim);
        let codes = codes.map_err(wrong)?;
        if dim == 0 || codes.len() != rows || !codes.are_sound() {
            return Err(wrong("codes that cannot be"));
        }
        let (without_bound, least_offset) = (codes.without_bound().collect(), codes.least_offset());
        let order: &[u32] = sections.numbers(section::ORDER)?;
        let (mut positions, mut others) = (vec![NONE; records], RoaringBitmap::new());
        for (position, &record) in (0..).zip(order) {
            match positions.get_mut(record as usize) {
                Some(place) if *place == NONE => *place = position,
                _ => return Err(sections.corrupt(section::ORDER, "a record twice, or one that there is not")),
            }
        }
        if order.len() != rows {
            return Err(sections.corrupt(section::ORDER, "as many records as there are codes are wanted"));
        }
        if rows < records {
            others.extend((0..).zip(&positions).filter(|(_, position)| **position == NONE).map(|(record, _)| record));
        }
        let scanning = Pace::new(2.0 + 0.03 * sq8::stride(dim) as f64);
        Ok(Sq8Table { dim, positions, others, without_bound, least_offset, scanning, sections })
    }

    /// Returns the number of rows in the table.
    pub(crate) fn len(&self) -> usize {
        self.positions.len() - self.others.len() as usize
    }

    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    /// Returns the codes, by position.
    pub(crate) fn codes(&self) -> Result<Sq8<'_>> {
        let codes = self.sections.bytes(section::CODES)?;
        let entries = self.sections.numbers(section::CODE_ENTRIES)?;
        Sq8::new(codes, entries, self.dim).map_err(|what| self.sections.corrupt(section::CODES, what))
    }

    /// Returns the record at each position.
    pub(crate) fn records(&self) -> Result<&[u32]> {
        self.sections.numbers(section::ORDER)
    }

    /// Returns the position of a record's row.
    pub(crate) fn position(&self, record: u32) -> Option<u32> {
        self.positions.get(record as usize).copied().filter(|&position| position != NONE)
    }

    /// Writes a table in order of the records.
    ///
    /// # Errors
    /// Those of reading rows and of writing.
    pub(crate) fn build(rows: &Rows<'_>, metric: Metric, out: &mut SectionsWriter<'_>) -> Result<Counts> {
        let mut entries: Vec<CodeEntry> = Vec::with_capacity(rows.records().len());
        out.begin(section::CODES)?;
        for records in rows.records().chunks(chunk_rows(rows.dim())) {
            let (codes, some) = rows.encode(metric, records)?;
            out.append(&codes)?;
            entries.extend(some);
        }
        out.end();
        out.section(section::CODE_ENTRIES, bytemuck::cast_slice(&sq8::planes(&entries)))?;
        out.section(section::ORDER, bytemuck::cast_slice(rows.records()))?;
        Ok(rows.counts())
    }
}
