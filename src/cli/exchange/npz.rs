//! `.npz`: a zip archive of `.npy` arrays, as `numpy.savez` and `savez_compressed` write it. Each array is a record, named by
//! the array; an archive of one array that is a stack is read as that stack.
//!
//! Each array is read through a handle of its own (`zipped.rs`), so that records stream whatever the archive's size.

use super::npy::{self, ArrayReader};
use super::{Input, Naming, create_whole, stack};
use crate::error::{Error, Result};
use crate::record::Record;
use crate::store::Snapshot;
use crate::zipped::Packed;
use indicatif::ProgressBar;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// What an array's name ends with inside the archive.
const ENDING: &str = ".npy";

/// From this size on an array needs the long form of a zip entry.
const LARGE_BYTES: usize = 0xffff_0000;

/// An archive and its directory.
struct Archive {
    path: PathBuf,
    zip: ZipArchive<BufReader<File>>,
}

/// Opens an archive.
pub(super) fn open(path: &Path, naming: &Naming<'_>) -> Result<Input> {
    let mut archive = Archive::open(path)?;
    let count = archive.zip.len();
    if count == 1 {
        let (_, array) = archive.array(0)?;
        if array.shape().len() == 3 || naming.ids.is_some() {
            return stack::open(array, path, naming.ids);
        }
    }
    naming.refuse_ids(&format!("an archive of {count} arrays"))?;
    if count == 0 {
        return Err(Error::unusable(path, "no array in it"));
    }
    let mut record = move |number| -> Result<Record> {
        let (name, array) = archive.array(number)?;
        Ok(Record::new(name, array.into_matrix()?))
    };
    let dim = record(0)?.matrix.dim();
    let path = path.to_owned();
    let records = (0..count).map(move |number| {
        let record = record(number)?;
        let (found, id) = (record.matrix.dim(), record.id.as_deref().unwrap_or_default());
        if found != dim {
            let expected = format!("rows of {dim} numbers, as the first array has");
            return Err(Error::mismatch(format!("{}: array `{id}`", path.display()), expected, found));
        }
        Ok(record)
    });
    Ok(Input { dim, count: count as u64, records: Box::new(records) })
}

impl Archive {
    fn open(path: &Path) -> Result<Archive> {
        let file = File::open(path).map_err(|error| Error::io(path, "open", error))?;
        let zip = ZipArchive::new(BufReader::new(file));
        let zip = zip.map_err(|error| Error::unusable(path, format!("no .npz archive ({error})")))?;
        if zip.has_duplicate_names() {
            return Err(Error::unusable(path, "two arrays of one name"));
        }
        Ok(Archive { path: path.to_owned(), zip })
    }

    /// The name and the beginning of an array.
    fn array(&mut self, number: usize) -> Result<(String, ArrayReader)> {
        let refuse = |why: String| Error::unusable(&self.path, format!("entry {number}: {why}"));
        let entry = self.zip.by_index_raw(number).map_err(|error| refuse(error.to_string()))?;
        let name = entry.name().map_err(|error| refuse(error.to_string()))?.into_owned();
        let Some(id) = name.strip_suffix(ENDING) else {
            return Err(refuse(format!("`{name}` is no array: the names of arrays end in {ENDING}")));
        };
        let packed = Packed::of(&entry).map_err(|why| refuse(format!("`{name}` {why}")))?;
        let source = packed.open(&self.path).map_err(|error| Error::io(&self.path, "read", error))?;
        let place = format!("{}: array `{id}`", self.path.display());
        Ok((id.to_owned(), ArrayReader::new(place, source, packed.length)?))
    }
}

/// Writes every record as an array of the name of its id, stored without compression.
pub(super) fn write(snapshot: &Snapshot, path: &Path, bar: &ProgressBar) -> Result<()> {
    let zip_failed = |error: zip::result::ZipError| Error::io(path, "write", io::Error::other(error));
    create_whole(path, |out| {
        let mut archive = ZipWriter::new(out);
        for entry in snapshot.iter() {
            let (id, matrix) = (entry.id()?, entry.matrix()?);
            if id.contains('\0') {
                return Err(Error::invalid(format!("id {id:?}"), "no name of an array: export to a directory instead"));
            }
            let matrix = matrix.view();
            let options = SimpleFileOptions::default()
                .compression_method(CompressionMethod::Stored)
                .large_file(size_of_val(matrix.values()) >= LARGE_BYTES);
            archive.start_file(format!("{id}{ENDING}"), options).map_err(zip_failed)?;
            let shape = [matrix.rows(), matrix.dim()];
            npy::write(&mut archive, &shape, [Ok(matrix.values())]).map_err(npy::at(path))?;
            bar.inc(1);
        }
        archive.finish().map(|_| ()).map_err(zip_failed)
    })
}
