//! Stacks: records of equally many rows, one after another in a file, and their ids in another.

use super::npy::{self, ArrayReader, check_record};
use super::{Input, ids};
use indicatif::ProgressBar;
use otolith::Matrix;
use otolith::Record;
use otolith::Snapshot;
use otolith::{Error, Result};
use std::path::Path;

/// The ids of a stack.
pub(crate) enum Ids<'a> {
    /// None: the records are numbered.
    Numbered,
    /// Those of a file.
    File(&'a Path),
    /// These.
    Given(Vec<String>),
}

/// The records of one array: of one axis its only row, of two each row, of three each entry.
pub(crate) fn open(mut array: ArrayReader, path: &Path, ids: Ids<'_>) -> Result<Input> {
    let (count, rows, dim) = match *array.shape() {
        [dim] => (1, 1, dim),
        [count, dim] => (count, 1, dim),
        [count, rows, dim] => (count, rows, dim),
        ref other => {
            let axes = other.len();
            return Err(Error::unusable(path, format!("{axes} axes: two (vectors) or three (matrices) are read")));
        }
    };
    check_record(rows, dim).map_err(|why| Error::unusable(path, why))?;
    if rows == 0 && matches!(ids, Ids::Numbered) {
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

/// Gives `count` matrices their ids, or none.
pub(crate) fn named(
    dim: usize,
    count: u64,
    ids: Ids<'_>,
    mut next: impl FnMut() -> Result<Matrix> + 'static,
) -> Result<Input> {
    let ids = match ids {
        Ids::Numbered => None,
        Ids::File(file) => Some(ids::read(file, count)?),
        Ids::Given(ids) => Some(ids),
    };
    let mut ids = ids.map(Vec::into_iter);
    let records = (0..count).map(move |_| {
        let matrix = next()?;
        Ok(match ids.as_mut().and_then(Iterator::next) {
            Some(id) => Record::new(id, matrix),
            None => Record::auto(matrix),
        })
    });
    Ok(Input::new(dim, count, records))
}

/// Writes all records as one array, and their ids beside it.
pub(crate) fn write_npy(snapshot: &Snapshot, path: &Path, bar: &ProgressBar) -> Result<()> {
    let dim = snapshot.schema().dim;
    let shape = match common_rows(snapshot)? {
        None | Some(1) => vec![snapshot.len(), dim],
        Some(rows) => vec![snapshot.len(), rows, dim],
    };
    let records = snapshot.iter().map(|entry| {
        bar.inc(1);
        Ok(entry.matrix()?.view().values().to_vec())
    });
    ids::write_with(snapshot, path, |out| npy::write(out, &shape, records).map_err(npy::at(path)))
}

/// The number of rows that every record has; none when there is no record. Ids that no line can hold are refused.
pub(crate) fn common_rows(snapshot: &Snapshot) -> Result<Option<usize>> {
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
        ids::check(id)?;
    }
    Ok(common)
}
