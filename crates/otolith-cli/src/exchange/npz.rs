//! `.npz`: a zip archive of `.npy` arrays, as `numpy.savez` and `savez_compressed` write it. Each array is a record,
//! named by the array or by `records.jsonl` in the archive; one array that is a stack is read as that stack, and so are
//! two of which one holds the ids.
//!
//! Each array is read through a handle of its own (`zipped.rs`), so that records stream whatever the archive's size.

use super::create::create_whole;
use super::names::Names;
use super::npy::{self, ArrayReader};
use super::stack::{self, Ids};
use super::table::{self, TABLE, Table};
use super::{Input, Naming};
use crate::zipped::{self, Packed};
use indicatif::ProgressBar;
use otolith::Record;
use otolith::Snapshot;
use otolith::outside;
use otolith::{Error, Result};
use std::collections::HashMap;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// What an array's name ends with inside the archive.
const ENDING: &str = ".npy";

/// What an array of ids is called.
const IDS: [&str; 4] = ["ids", "id", "names", "keys"];

/// From this size on an array needs the long form of a zip entry.
const LARGE_BYTES: usize = 0xffff_0000;

/// An archive and its directory.
struct Archive {
    path: PathBuf,
    /// The arrays by the names that they have in it.
    arrays: Vec<(String, Packed)>,
    table: Option<Packed>,
    /// Entries that programs for archives add by themselves.
    left_out: usize,
}

/// Opens an archive.
pub(crate) fn open(path: &Path, naming: &Naming<'_>) -> Result<Input> {
    let archive = Archive::open(path)?;
    let left_out = archive.left_out;
    let mut input = open_arrays(archive, path, naming)?;
    if left_out > 0 {
        let what = "left out, folders and what macOS adds (__MACOSX, .DS_Store)";
        input.remarks.push(format!("{}: {left_out} entries {what}", path.display()));
    }
    Ok(input)
}

fn open_arrays(archive: Archive, path: &Path, naming: &Naming<'_>) -> Result<Input> {
    if let Some(input) = as_stack(&archive, naming)? {
        return Ok(input);
    }
    let count = archive.arrays.len();
    naming.refuse_ids(&format!("an archive of {count} arrays"))?;
    if count == 0 {
        return Err(Error::unusable(path, "no array in it"));
    }
    let ids = archive.ids()?;
    let record = move |number: usize| -> Result<Record> {
        Ok(Record::new(ids[number].as_str(), archive.array(number)?.into_matrix()?))
    };
    let first = record(0)?.matrix;
    let dim = first.dim();
    let whole = path.to_owned();
    let records = (0..count).map(move |number| {
        let record = record(number)?;
        let (found, id) = (record.matrix.dim(), record.id.as_deref().unwrap_or_default());
        if found != dim {
            let expected = format!("rows of {dim} numbers, as the first array has");
            return Err(Error::mismatch(format!("{}: array `{id}`", whole.display()), expected, found));
        }
        Ok(record)
    });
    let mut input = Input::new(dim, count as u64, records);
    if count == 1 && first.rows() > 1 {
        input.remarks.push(format!(
            "{}: one array of two axes, so one record of {} rows; its rows are records with --ids, and in a .npy file",
            path.display(),
            first.rows()
        ));
    }
    Ok(input)
}

/// The records of the only array where that is a stack or has ids beside it, in a file or in the other array.
fn as_stack(archive: &Archive, naming: &Naming<'_>) -> Result<Option<Input>> {
    match archive.arrays.len() {
        1 => {
            let array = archive.array(0)?;
            let ids = match naming.ids {
                Some(ids) => Ids::File(ids),
                None if array.shape().len() == 3 => Ids::Numbered,
                None => return Ok(None),
            };
            stack::open(array, &archive.path, ids).map(Some)
        }
        2 if archive.table.is_none() && naming.ids.is_none() => {
            let is_ids = |(name, _): &(String, Packed)| IDS.iter().any(|ids| name.eq_ignore_ascii_case(ids));
            let Some(at) = archive.arrays.iter().position(is_ids) else { return Ok(None) };
            let (ids, array) = (archive.array(at)?, archive.array(1 - at)?);
            match (ids.shape(), array.shape()) {
                ([_], [_, _] | [_, _, _]) if ids.holds_ids() => {}
                _ => return Ok(None),
            }
            let (found, count) = (ids.shape()[0], array.shape()[0]);
            if found != count {
                let name = &archive.arrays[at].0;
                let what = format!("{}: array `{name}`", archive.path.display());
                return Err(Error::mismatch(what, format!("{count} ids, one a record of the other array"), found));
            }
            let ids = ids.into_ids()?;
            let mut seen = HashMap::new();
            for (number, id) in ids.iter().enumerate() {
                // The second would replace the first without a word.
                if let Some(first) = seen.insert(id, number) {
                    let why = format!("ids {first} and {number} are both {id:?}: each record needs one of its own");
                    return Err(Error::unusable(&archive.path, why));
                }
            }
            stack::open(array, &archive.path, Ids::Given(ids)).map(Some)
        }
        _ => Ok(None),
    }
}

/// Whether an entry is one that nobody has put there: a folder, or what macOS adds.
fn is_added(name: &str) -> bool {
    name.ends_with('/') || name.starts_with("__MACOSX/") || name.rsplit('/').next() == Some(".DS_Store")
}

impl Archive {
    fn open(path: &Path) -> Result<Archive> {
        let file = outside::open(path)?;
        let length = file.metadata().map_err(|error| Error::io(path, "read", error))?.len();
        let no_archive = |error| Error::unusable(path, format!("no .npz archive ({error})"));
        let mut zip = ZipArchive::new(BufReader::new(file)).map_err(no_archive)?;
        if zip.has_duplicate_names() {
            return Err(Error::unusable(path, "two arrays of one name"));
        }
        if zip.has_overlapping_files().map_err(no_archive)? {
            let why = "several arrays share the same bytes: no program writes that, it is made to fill disks";
            return Err(Error::unusable(path, why));
        }
        let mut archive = Archive { path: path.to_owned(), arrays: Vec::new(), table: None, left_out: 0 };
        let mut unpacked = 0_u64;
        for number in 0..zip.len() {
            let refuse = |why: String| Error::unusable(path, format!("entry {number}: {why}"));
            let entry = zip.by_index_raw(number).map_err(|error| refuse(error.to_string()))?;
            let name = entry.name().map_err(|error| refuse(error.to_string()))?.into_owned();
            if is_added(&name) {
                archive.left_out += 1;
                continue;
            }
            let packed = Packed::of(&entry).map_err(|why| refuse(format!("`{name}` {why}")))?;
            unpacked = unpacked.saturating_add(packed.length);
            match name.strip_suffix(ENDING) {
                Some(id) => archive.arrays.push((id.to_owned(), packed)),
                None if name == TABLE => archive.table = Some(packed),
                None => return Err(refuse(format!("`{name}` is no array: the names of arrays end in {ENDING}"))),
            }
        }
        zipped::check_ratio(length, unpacked).map_err(|why| Error::unusable(path, why))?;
        Ok(archive)
    }

    /// The beginning of an array.
    fn array(&self, number: usize) -> Result<ArrayReader> {
        let (name, packed) = &self.arrays[number];
        let place = format!("{}: array `{name}`", self.path.display());
        ArrayReader::new(place, packed.open(&self.path)?, packed.length)
    }

    /// The ids of all arrays: their names, unless a table says otherwise.
    fn ids(&self) -> Result<Vec<String>> {
        let Some(table) = &self.table else { return Ok(self.arrays.iter().map(|(name, _)| name.clone()).collect()) };
        let place = format!("{}: {TABLE}", self.path.display());
        let places: HashMap<&str, usize> = self.arrays.iter().map(|(name, _)| name.as_str()).zip(0..).collect();
        let mut ids: Vec<Option<String>> = vec![None; self.arrays.len()];
        for line in Table::new(place.clone(), table.open(&self.path)?) {
            let line = line?;
            let at = line.file.strip_suffix(ENDING).and_then(|name| places.get(name));
            let slot = at.and_then(|at| ids[*at].is_none().then_some(*at));
            let Some(at) = slot else {
                let why = format!("`{}` is no array in the archive, or named before", line.file);
                return Err(Table::wrong(&place, line.number, why));
            };
            ids[at] = Some(line.id);
        }
        let unnamed = |at: usize| Error::unusable(&place, format!("does not name the array `{}`", self.arrays[at].0));
        ids.into_iter().enumerate().map(|(at, id)| id.ok_or_else(|| unnamed(at))).collect()
    }
}

/// Writes every record as an array of the name of its id, stored without compression; with a table where not all ids
/// can be names.
pub(crate) fn write(snapshot: &Snapshot, path: &Path, bar: &ProgressBar) -> Result<()> {
    let zip_failed = |error: zip::result::ZipError| match error {
        zip::result::ZipError::Io(error) => Error::io(path, "write", error),
        other => Error::io(path, "write", io::Error::other(other)),
    };
    create_whole(path, |out| {
        let mut archive = ZipWriter::new(out);
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        let (mut names, mut files, mut all_plain) = (Names::default(), Vec::new(), true);
        for (number, entry) in snapshot.iter().enumerate() {
            let (id, matrix) = (entry.id()?, entry.matrix()?);
            let (name, is_id) = names.give(id, number);
            all_plain &= is_id;
            let file = format!("{name}{ENDING}");
            let matrix = matrix.view();
            let options = stored.large_file(size_of_val(matrix.values()) >= LARGE_BYTES);
            archive.start_file(file.as_str(), options).map_err(zip_failed)?;
            let shape = [matrix.rows(), matrix.dim()];
            npy::write(&mut archive, &shape, [Ok(matrix.values())]).map_err(npy::at(path))?;
            files.push(file);
            bar.inc(1);
        }
        if !all_plain {
            archive.start_file(TABLE, stored.large_file(true)).map_err(zip_failed)?;
            for (entry, file) in snapshot.iter().zip(&files) {
                let line = table::line(entry.id()?, file, None);
                writeln!(archive, "{line}").map_err(|error| Error::io(path, "write", error))?;
            }
        }
        archive.finish().map(|_| ()).map_err(zip_failed)
    })
}
