//! Stacks: records of equally many rows, one after another in a file, and their ids in another.

use super::npy::{self, ArrayReader};
use super::{Input, create_whole};
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::record::Record;
use crate::store::Snapshot;
use indicatif::ProgressBar;
use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::path::Path;

/// The records of one array: of two axes each row, of three each entry.
pub(super) fn open(mut array: ArrayReader, path: &Path, ids: Option<&Path>) -> Result<Input> {
    let (count, rows, dim) = match *array.shape() {
        [count, dim] => (count, 1, dim),
        [count, rows, dim] => (count, rows, dim),
        ref other => {
            let axes = other.len();
            return Err(Error::unusable(path, format!("{axes} axes: two (vectors) or three (matrices) are read")));
        }
    };
    if rows == 0 && ids.is_none() {
        // Nothing in the file would bear out their number.
        return Err(Error::unusable(path, "records without rows: give their ids with --ids"));
    }
    let mut left = count;
    named(dim, count as u64, ids, move || {
        let matrix = array.next_matrix(rows, dim)?;
        left -= 1;
        if left == 0 { array.finish().map(|()| matrix) } else { Ok(matrix) }
    })
}

/// Gives `count` matrices the ids of a file, or none.
pub(super) fn named(
    dim: usize,
    count: u64,
    ids: Option<&Path>,
    mut next: impl FnMut() -> Result<Matrix> + 'static,
) -> Result<Input> {
    let ids = ids.map(|file| read_ids(file, count)).transpose()?;
    let mut ids = ids.map(Vec::into_iter);
    let records = (0..count).map(move |_| {
        let matrix = next()?;
        Ok(match ids.as_mut().and_then(Iterator::next) {
            Some(id) => Record::new(id, matrix),
            None => Record::auto(matrix),
        })
    });
    Ok(Input { dim, count, records: Box::new(records) })
}

fn read_ids(file: &Path, count: u64) -> Result<Vec<String>> {
    let text = fs::read_to_string(file).map_err(|error| Error::io(file, "read", error))?;
    let ids: Vec<String> = text.lines().map(str::to_owned).collect();
    if ids.len() as u64 != count {
        return Err(Error::mismatch(
            file.display().to_string(),
            format!("{count} lines"),
            format!("{} lines", ids.len()),
        ));
    }
    // The second would replace the first without a word.
    let mut seen = HashSet::new();
    if let Some(twice) = ids.iter().find(|id| !seen.insert(id.as_str())) {
        let why = format!("{twice:?} stands on two lines: each record needs an id of its own");
        return Err(Error::invalid(file.display().to_string(), why));
    }
    Ok(ids)
}

/// Writes all records as one array, and their ids beside it.
pub(super) fn write_npy(snapshot: &Snapshot, path: &Path, bar: &ProgressBar) -> Result<()> {
    let dim = snapshot.schema().dim;
    let shape = match common_rows(snapshot)? {
        None | Some(1) => vec![snapshot.len(), dim],
        Some(rows) => vec![snapshot.len(), rows, dim],
    };
    let records = snapshot.iter().map(|entry| {
        bar.inc(1);
        Ok(entry.matrix()?.view().values().to_vec())
    });
    create_whole(path, |out| npy::write(out, &shape, records).map_err(npy::at(path)))?;
    write_ids(snapshot, path)
}

/// The number of rows that every record has; none when there is no record.
pub(super) fn common_rows(snapshot: &Snapshot) -> Result<Option<usize>> {
    let mut common = None;
    for entry in snapshot.iter() {
        let (found, id) = (entry.rows()?, entry.id()?);
        match common {
            Some(rows) if rows != found => {
                let expected = format!("{rows} rows, as the first has");
                let found = format!("{found}: export to .npz or to a directory instead");
                return Err(Error::mismatch(format!("record `{id}`"), expected, found));
            }
            _ => common = Some(found),
        }
        if id.contains(['\n', '\r']) {
            return Err(Error::invalid(format!("id {id:?}"), "holds a line break: export to a directory instead"));
        }
    }
    Ok(common)
}

/// Writes the ids beside the file of their records, a line each.
pub(super) fn write_ids(snapshot: &Snapshot, path: &Path) -> Result<()> {
    let path = path.with_extension("ids.txt");
    create_whole(&path, |out| {
        snapshot
            .iter()
            .try_for_each(|entry| writeln!(out, "{}", entry.id()?).map_err(|error| Error::io(&path, "write", error)))
    })
}
