//! Builds a [field index](super::field_index): runs of records are sorted in parallel, then the runs of each field are
//! merged. What comes out depends on the records alone.

use super::scalar::Scalar;
use crate::error::Result;
use crate::record::Fields;
use crate::store::layout::{field_entry, section, value_entry};
use crate::store::{Counts, SectionsWriter};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Most records in a run: their values lie in memory one by one until the run is sorted.
const RUN_RECORDS: u32 = 1 << 16;

/// The values of one field in a run of records.
struct Run {
    /// Distinct values in order, a text as where it ends in `texts`; each with where its records end in `records`.
    values: Vec<(Scalar<usize>, usize)>,
    /// All texts side by side, because merging looks at each several times.
    texts: Vec<u8>,
    /// The numbers of the records, by value, then rising.
    records: Vec<u32>,
}

/// One field as it is written.
#[derive(Default)]
struct Column {
    entries: Vec<u8>,
    texts: Vec<u8>,
    records: Vec<u32>,
}

/// Writes the index of a segment of `records` records; `fields` returns the fields of one.
///
/// # Errors
/// The first error of `fields`, and those of writing.
pub(super) fn write(
    records: u32,
    fields: &(dyn Fn(u32) -> Result<Fields> + Sync),
    out: &mut SectionsWriter<'_>,
) -> Result<Counts> {
    let step = records.div_ceil(4 * rayon::current_num_threads() as u32).clamp(1, RUN_RECORDS);
    let starts = (0..records.div_ceil(step)).into_par_iter().map(|run| run * step);
    let runs = starts.map(|start| read_run(start, records.min(start.saturating_add(step)), fields));
    let mut by_field: BTreeMap<String, Vec<Run>> = BTreeMap::new();
    for run in runs.collect::<Result<Vec<_>>>()? {
        run.into_iter().for_each(|(name, run)| by_field.entry(name).or_default().push(run));
    }
    let columns: Vec<(String, Column)> = by_field.into_par_iter().map(|(name, runs)| (name, merge(&runs))).collect();
    out.begin(section::FIELD_NAMES)?;
    for (name, column) in &columns {
        out.append(&column.entry(name))?;
        out.append(name.as_bytes())?;
    }
    out.end();
    out.begin(section::FIELD_VALUES)?;
    for (_, column) in &columns {
        out.append(&column.entries)?;
        out.append(&column.texts)?;
    }
    out.end();
    out.begin(section::FIELD_RECORDS)?;
    columns.iter().try_for_each(|(_, column)| out.append(bytemuck::cast_slice(&column.records)))?;
    out.end();
    Ok(Counts { records: u64::from(records), ..Counts::default() })
}

fn read_run(
    start: u32,
    end: u32,
    fields: &(dyn Fn(u32) -> Result<Fields> + Sync),
) -> Result<impl Iterator<Item = (String, Run)>> {
    let mut found: BTreeMap<String, Vec<(Scalar<String>, u32)>> = BTreeMap::new();
    for record in start..end {
        for (name, value) in std::mem::take(&mut *fields(record)?) {
            let value = (value.into(), record);
            match found.get_mut(&name) {
                Some(values) => values.push(value),
                None => drop(found.insert(name, vec![value])),
            }
        }
    }
    Ok(found.into_iter().map(|(name, values)| (name, sort(values))))
}

fn sort(mut found: Vec<(Scalar<String>, u32)>) -> Run {
    // The stable sort: it keeps records in order, and is fast where values are few or ordered already.
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut run = Run { values: Vec::new(), texts: Vec::new(), records: Vec::with_capacity(found.len()) };
    for same in found.chunk_by(|(a, _), (b, _)| a == b) {
        run.records.extend(same.iter().map(|(_, record)| record));
        let value = same[0].0.map(|text| {
            run.texts.extend_from_slice(text.as_bytes());
            run.texts.len()
        });
        run.values.push((value, run.records.len()));
    }
    run
}

/// Merges the runs of a field, which come in order of their records.
fn merge(runs: &[Run]) -> Column {
    let mut values: Vec<(Scalar<&[u8]>, &[u32])> = Vec::with_capacity(runs.iter().map(|run| run.values.len()).sum());
    for run in runs {
        let (mut text, mut start) = (0, 0);
        for (value, end) in &run.values {
            let value = value.map(|end| &run.texts[std::mem::replace(&mut text, *end)..*end]);
            values.push((value, &run.records[std::mem::replace(&mut start, *end)..*end]));
        }
    }
    values.sort_by_key(|(value, _)| *value);
    let mut column =
        Column { records: Vec::with_capacity(runs.iter().map(|run| run.records.len()).sum()), ..Column::default() };
    for same in values.chunk_by(|(a, _), (b, _)| a == b) {
        same.iter().for_each(|(_, records)| column.records.extend_from_slice(records));
        column.push(same[0].0);
    }
    column
}

impl Column {
    /// Appends the entry of a value, after its records.
    fn push(&mut self, value: Scalar<&[u8]>) {
        let mut entry = [0; value_entry::BYTES];
        let (content, rest) = match value {
            Scalar::Null | Scalar::Other => (0, 0),
            Scalar::Bool(value) => (u64::from(value), 0),
            Scalar::Number(number) => (number.nearest.to_bits(), number.rest as u16),
            Scalar::Text(text) => {
                self.texts.extend_from_slice(text);
                (self.texts.len() as u64, 0)
            }
        };
        value_entry::CONTENT.put_number(&mut entry, content);
        value_entry::RECORDS_END.put_number(&mut entry, self.records.len() as u64);
        value_entry::TYPE.put_number(&mut entry, value.kind() as u64);
        value_entry::REST.put_number(&mut entry, u64::from(rest));
        self.entries.extend_from_slice(&entry);
    }

    fn entry(&self, name: &str) -> [u8; field_entry::BYTES] {
        let mut entry = [0; field_entry::BYTES];
        field_entry::VALUES.put_number(&mut entry, (self.entries.len() / value_entry::BYTES) as u64);
        field_entry::TEXT_BYTES.put_number(&mut entry, self.texts.len() as u64);
        field_entry::RECORDS.put_number(&mut entry, self.records.len() as u64);
        field_entry::NAME_BYTES.put_number(&mut entry, name.len() as u64);
        entry
    }
}
