//! Which records of a segment have which values in which fields, so that a filter need not read them.
//!
//! For each field its distinct values in order, and the numbers of the records grouped by value:
//! ```text
//! names    field entry, name | field entry, name | ..                 by name
//! values   value entry .. value entry, texts | value entry .. | ..    of each field, by value
//! records  numbers of 4 bytes                                         of each field, by value, then by number
//! ```
//! So what a comparison finds lies together, except for `!=` with its two sides. The index is read where it lies:
//! opening it takes time in proportion to the number of fields, a comparison to the logarithm of the number of values
//! and to what it finds.

use super::expression::Operator;
use super::scalar::{Exact, Scalar, Type};
use crate::error::Result;
use crate::store::layout::{Kind, field_entry, section, value_entry};
use crate::store::{Artefact, Sections, SectionsWriter, Segment, Snapshot};
use roaring::RoaringBitmap;
use serde_json::Value;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

/// How many records a segment has that is worth an index: fewer are checked one by one in less time than its file takes
/// to be written. Bits up to any of these numbers can be counted in 32 bits.
const RECORDS: RangeInclusive<u32> = 1_024..=1 << 31;
/// Where no more than one in so many records is found, sorting their numbers is faster than setting bits.
const SPARSE: usize = 1_024;

/// The records of one segment by the values of their fields.
#[derive(Debug)]
pub(crate) struct FieldIndex {
    sections: Sections,
    records: u32,
    /// The fields, sorted by name.
    fields: Vec<Field>,
}

/// Where one field lies in the sections.
#[derive(Debug)]
struct Field {
    name: String,
    values: Range<usize>,
    texts: Range<usize>,
    records: Range<usize>,
}

impl FieldIndex {
    /// Returns the index of a segment: remembered, else read from its file, else built if the segment was filtered
    /// before, because building takes about as long as checking each record twice. `None` for records in the log, for
    /// few, and where a record cannot be read; these are checked one by one, which also reports the damage.
    pub(crate) fn of(snapshot: &Snapshot, segment: &Segment) -> Option<Arc<FieldIndex>> {
        if segment.entry().is_none() || !RECORDS.contains(&segment.records()) {
            return None;
        }
        let build = |out: &mut SectionsWriter<'_>| super::build::write(segment.records(), &|n| segment.fields(n), out);
        match snapshot.artefact(segment, None) {
            None if segment.matches.is_empty() => None,
            None => snapshot.build_artefact(segment, None, &build).ok(),
            known => known,
        }
    }

    /// Returns the records that have the field.
    pub(super) fn exists(&self, field: &str) -> Result<RoaringBitmap> {
        self.select(field, |column| Some(std::iter::once(0..column.entries.len()).collect()))
    }

    /// Returns the records whose value stands in this relation to `value`.
    pub(super) fn compare(&self, field: &str, operator: Operator, value: &Value) -> Result<RoaringBitmap> {
        self.select(field, |column| column.compare(operator, value.into()).map(Vec::from))
    }

    /// Returns the records whose value is one of these, no two of which are equal.
    pub(super) fn equal_to_any(&self, field: &str, values: &[Value]) -> Result<RoaringBitmap> {
        self.select(field, |column| values.iter().map(|value| column.equal(value.into())).collect())
    }

    /// Returns the records that have the values which `choose` picks, as ranges of places that do not overlap.
    fn select(
        &self,
        field: &str,
        choose: impl FnOnce(&Column<'_>) -> Option<Vec<Range<usize>>>,
    ) -> Result<RoaringBitmap> {
        let Ok(at) = self.fields.binary_search_by(|known| known.name.as_str().cmp(field)) else {
            return Ok(RoaringBitmap::new());
        };
        let field = &self.fields[at];
        let values = self.sections.bytes(section::FIELD_VALUES)?;
        let records = self.sections.bytes(section::FIELD_RECORDS)?;
        let column = Column {
            entries: values[field.values.clone()].as_chunks().0,
            texts: &values[field.texts.clone()],
            records: records[field.records.clone()].as_chunks().0,
        };
        let found = choose(&column).and_then(|places| column.bitmap(&places, self.records));
        let wrong =
            || self.sections.corrupt(section::FIELD_VALUES, format!("the field `{}` contradicts itself", field.name));
        found.ok_or_else(wrong)
    }
}

impl Artefact for FieldIndex {
    const KIND: Kind = Kind::Fields;

    /// Checks where each field lies. What lies there is checked when it is used: only a forged file fails there, and
    /// then the records are checked one by one.
    fn read(sections: Sections) -> Result<FieldIndex> {
        let wrong = |what| sections.corrupt(section::FIELD_NAMES, what);
        let fields = read_names(&sections).ok_or_else(|| wrong("not the fields of these values and records"))?;
        let records = u32::try_from(sections.counts().records).map_err(|_| wrong("too many records"))?;
        Ok(FieldIndex { sections, records, fields })
    }
}

fn read_names(sections: &Sections) -> Option<Vec<Field>> {
    let bytes = |section| sections.bytes(section).ok();
    let mut names = bytes(section::FIELD_NAMES)?;
    let (values, records) = (bytes(section::FIELD_VALUES)?.len(), bytes(section::FIELD_RECORDS)?.len());
    let (mut value_at, mut record_at) = (0, 0);
    let mut fields: Vec<Field> = Vec::new();
    let next = |at: &mut usize, count: u64, bytes: usize| {
        let start = *at;
        *at = usize::try_from(count).ok()?.checked_mul(bytes)?.checked_add(start)?;
        Some(start..*at)
    };
    while !names.is_empty() {
        let (entry, rest) = names.split_at_checked(field_entry::BYTES)?;
        let (name, rest) = rest.split_at_checked(field_entry::NAME_BYTES.number(entry) as usize)?;
        names = rest;
        let field = Field {
            name: std::str::from_utf8(name).ok()?.to_owned(),
            values: next(&mut value_at, field_entry::VALUES.number(entry), value_entry::BYTES)?,
            texts: next(&mut value_at, field_entry::TEXT_BYTES.number(entry), 1)?,
            records: next(&mut record_at, field_entry::RECORDS.number(entry), size_of::<u32>())?,
        };
        if fields.last().is_some_and(|last| last.name >= field.name) {
            return None;
        }
        fields.push(field);
    }
    (value_at == values && record_at == records).then_some(fields)
}

/// One field, read where it lies. What is read of it is `None` where the bytes contradict themselves.
struct Column<'a> {
    entries: &'a [[u8; value_entry::BYTES]],
    texts: &'a [u8],
    records: &'a [[u8; size_of::<u32>()]],
}

impl<'a> Column<'a> {
    fn value(&self, n: usize) -> Option<Scalar<&'a [u8]>> {
        let entry = self.entries.get(n)?;
        let content = value_entry::CONTENT.number(entry);
        Some(match Type::from_code(value_entry::TYPE.number(entry))? {
            Type::Null => Scalar::Null,
            Type::Bool => Scalar::Bool(content != 0),
            Type::Number => Scalar::Number(Exact {
                nearest: f64::from_bits(content),
                rest: value_entry::REST.number(entry) as u16 as i16,
            }),
            Type::Text => {
                // Values of other types come before and have no bytes in `texts`.
                let before = n.checked_sub(1).map(|n| &self.entries[n]);
                let text = before.filter(|entry| value_entry::TYPE.number(*entry) == Type::Text as u64);
                let start = text.map_or(0, |entry| value_entry::CONTENT.number(entry));
                Scalar::Text(self.texts.get(usize::try_from(start).ok()?..usize::try_from(content).ok()?)?)
            }
            Type::Other => Scalar::Other,
        })
    }

    /// Returns the place of the first value for which `reached` is true, as it has to be for all values behind it.
    fn first(&self, reached: impl Fn(Scalar<&[u8]>) -> bool) -> Option<usize> {
        let (mut start, mut end) = (0, self.entries.len());
        while start < end {
            let middle = start + (end - start) / 2;
            if reached(self.value(middle)?) { end = middle } else { start = middle + 1 }
        }
        Some(start)
    }

    /// Returns the place of this value; an empty range where it does not occur.
    fn equal(&self, value: Scalar<&[u8]>) -> Option<Range<usize>> {
        let at = self.first(|found| found >= value)?;
        let there = at < self.entries.len() && self.value(at)? == value;
        Some(at..at + usize::from(there))
    }

    fn compare(&self, operator: Operator, value: Scalar<&[u8]>) -> Option<[Range<usize>; 2]> {
        let start = self.first(|found| found.kind() >= value.kind())?;
        let end = self.first(|found| found.kind() > value.kind())?;
        let equal = self.equal(value)?;
        let none = end..end;
        Some(match operator {
            Operator::Equal => [equal, none],
            Operator::NotEqual => [start..equal.start, equal.end..end],
            Operator::Less => [start..equal.start, none],
            Operator::LessEqual => [start..equal.end, none],
            Operator::Greater => [equal.end..end, none],
            Operator::GreaterEqual => [equal.start..end, none],
        })
    }

    /// Returns the records with these values, which lie side by side.
    fn records(&self, values: &Range<usize>) -> Option<&'a [[u8; size_of::<u32>()]]> {
        let before = |value: usize| match value.checked_sub(1) {
            None => Some(0),
            Some(last) => Some(value_entry::RECORDS_END.number(self.entries.get(last)?) as usize),
        };
        self.records.get(before(values.start)?..before(values.end)?)
    }

    /// Returns the records with the values at these places; the segment has `records` in all.
    fn bitmap(&self, places: &[Range<usize>], records: u32) -> Option<RoaringBitmap> {
        let slices: Vec<_> = places.iter().map(|values| self.records(values)).collect::<Option<_>>()?;
        let count: usize = slices.iter().map(|slice| slice.len()).sum();
        let numbers = slices.into_iter().flatten().map(|number| u32::from_le_bytes(*number));
        let mut numbers = numbers.map(|number| (number < records).then_some(number));
        if count <= records as usize / SPARSE {
            let mut numbers = numbers.collect::<Option<Vec<u32>>>()?;
            numbers.sort_unstable();
            return RoaringBitmap::from_sorted_iter(numbers).ok();
        }
        let mut bits = vec![0_u8; records.div_ceil(8) as usize];
        numbers.try_for_each(|number| {
            let number = number?;
            bits[number as usize / 8] |= 1 << (number % 8);
            Some(())
        })?;
        Some(RoaringBitmap::from_lsb0_bytes(0, &bits))
    }
}
