//! Arrays and vectors of other programs, in and out: one file a format.
//!
//! # Words
//! An *input* is where an import's records come from, an *ending* (`.npy`) names a format. In a *stack* all records have
//! equally many rows and no names, so ids come from a file beside it, a line each.
//!
//! # In and out
//! ```text
//! file -> Input (records, one by one) -> batches of one commit each          Snapshot -> entries, one by one -> file
//! ```
//! # Costs
//! One record at a time is in memory, and what names records: the file of ids, the directory of an archive, the list of a
//! folder's files. Lengths in files are checked against the file before anything is made of them. A file that is written
//! gets its name when it is whole.

mod folder;
mod npz;
mod rows;
mod stack;

pub(super) mod npy;
#[cfg(feature = "parquet")]
mod parquet;

use crate::error::{Error, Result};
use crate::record::Record;
use crate::store::Snapshot;
use indicatif::ProgressBar;
use rows::Kind;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Records to be imported.
pub(super) struct Input {
    /// Numbers in a row.
    pub(super) dim: usize,
    /// How many records there are.
    pub(super) count: u64,
    /// The records in their order.
    pub(super) records: Box<dyn Iterator<Item = Result<Record>>>,
}

/// What a command says about its input besides the path.
#[derive(Default)]
pub(super) struct Naming<'a> {
    /// File with an id a line.
    pub(super) ids: Option<&'a Path>,
    #[cfg(feature = "parquet")]
    /// Column of the ids, where records have columns.
    pub(super) id_column: Option<&'a str>,
    #[cfg(feature = "parquet")]
    /// Column of the matrices, where records have columns.
    pub(super) column: Option<&'a str>,
}

/// Opens a file or a directory by its ending.
///
/// # Errors
/// [`Error::Unusable`] when it is not what its ending says, [`Error::Invalid`] for an ending that is not read and for
/// names where the format has its own, [`Error::Io`].
pub(super) fn open(path: &Path, naming: &Naming<'_>) -> Result<Input> {
    if path.is_dir() {
        return naming.refuse_ids("a directory").and_then(|()| folder::open(path));
    }
    let ending = ending(path);
    #[cfg(feature = "parquet")]
    if ending != "parquet" {
        naming.refuse_columns()?;
    }
    match ending.as_str() {
        "npy" => stack::open(npy::ArrayReader::open(path)?, path, naming.ids),
        "npz" => npz::open(path, naming),
        "fvecs" => rows::open_vecs(path, Kind::F32, naming.ids),
        "bvecs" => rows::open_vecs(path, Kind::U8, naming.ids),
        "fbin" => rows::open_bin(path, Kind::F32, naming.ids),
        "u8bin" => rows::open_bin(path, Kind::U8, naming.ids),
        "i8bin" => rows::open_bin(path, Kind::I8, naming.ids),
        #[cfg(feature = "parquet")]
        "parquet" => naming.refuse_ids("Parquet").and_then(|()| parquet::open(path, naming)),
        #[cfg(not(feature = "parquet"))]
        "parquet" => {
            Err(Error::invalid(path.display().to_string(), "this otolith was built without feature `parquet`"))
        }
        _ => {
            let why = "read are .npy, .npz, .fvecs, .bvecs, .fbin, .u8bin, .i8bin, .parquet, and directories of .npy";
            Err(Error::invalid(path.display().to_string(), why))
        }
    }
}

/// Writes the records of a snapshot to a file or a directory, by the ending of `path`.
///
/// # Errors
/// [`Error::Mismatch`] and [`Error::Invalid`] when a record does not fit into the format, before anything is written;
/// [`Error::Io`], and what reading the records meets.
pub(super) fn write(snapshot: &Snapshot, path: &Path, bar: &ProgressBar) -> Result<()> {
    match ending(path).as_str() {
        "npy" => stack::write_npy(snapshot, path, bar),
        "npz" => npz::write(snapshot, path, bar),
        "fvecs" => rows::write_vecs(snapshot, path, bar),
        "fbin" => rows::write_bin(snapshot, path, bar),
        read_only @ ("bvecs" | "u8bin" | "i8bin" | "parquet") => {
            let why = format!(".{read_only} is read, not written: give .npy, .npz, .fvecs, .fbin or a directory");
            Err(Error::invalid(path.display().to_string(), why))
        }
        _ => folder::write(snapshot, path, bar),
    }
}

impl Naming<'_> {
    fn refuse_ids(&self, what: &str) -> Result<()> {
        match self.ids {
            None => Ok(()),
            Some(_) => Err(Error::invalid("--ids", format!("{what} names its records itself"))),
        }
    }

    #[cfg(feature = "parquet")]
    fn refuse_columns(&self) -> Result<()> {
        match self.column.or(self.id_column) {
            None => Ok(()),
            Some(_) => Err(Error::invalid("--column, --id-column", "only Parquet has columns")),
        }
    }
}

/// The letters behind the last dot of a name, as they are written in lists of formats.
fn ending(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().into_owned()
}

/// What a file is called until all of it is written.
fn partial_of(path: &Path) -> PathBuf {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    partial.into()
}

/// Makes a file under another name and gives it its own when all of it is written: nobody takes half for the whole.
fn create_whole(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    let partial = &partial_of(path);
    let failed = |operation| move |error| Error::io(path, operation, error);
    let mut out = BufWriter::new(File::create(partial).map_err(failed("create"))?);
    let done = write(&mut out)
        .and_then(|()| out.flush().map_err(failed("write")))
        .and_then(|()| fs::rename(partial, path).map_err(failed("rename")));
    if done.is_err() {
        // The failure is what is told, not what became of the rest.
        let _ = fs::remove_file(partial);
    }
    done
}
