//! Arrays and vectors of other programs, in and out: one file a format.
//!
//! # Words
//! An *input* is where an import's records come from, an *ending* (`.npy`) names a format. In a *stack* all records
//! have equally many rows and no names, so ids come from a file beside it, a line each.
//!
//! # In and out
//! ```text
//! file -> Input (records, one by one) -> batches of one commit each          Snapshot -> entries, one by one -> file
//! ```
//! # Costs
//! One record at a time is in memory, and what names records: the file of ids, the directory of an archive, the list of
//! a folder's files. Lengths in files are checked against the file before anything is made of them, and memory is asked
//! for as bytes arrive (`numbers.rs`): what lies is an error. Files come through [`outside`](otolith::outside), regular
//! ones only. A file that is written gets its name when it is whole (`create.rs`).

mod columns;
mod create;
mod folder;
mod header;
mod ids;
mod names;
mod npz;
mod numbers;
mod rows;
mod stack;
mod table;

pub(crate) mod npy;
#[cfg(feature = "parquet")]
mod parquet;

pub(crate) use create::create_whole;

use indicatif::ProgressBar;
use numbers::Number;
use otolith::Record;
use otolith::Snapshot;
use otolith::{Error, Result};
use stack::Ids;
use std::path::{Path, PathBuf};

/// Records to be imported.
pub(crate) struct Input {
    /// Dimension.
    pub(crate) dim: usize,
    /// How many records there are.
    pub(crate) count: u64,
    /// The records in their order.
    pub(crate) records: Box<dyn Iterator<Item = Result<Record>>>,
    /// What its owner may want to know.
    pub(crate) remarks: Vec<String>,
    /// Whether no two records have the same id for sure.
    pub(crate) unique: bool,
}

impl Input {
    fn new(dim: usize, count: u64, records: impl Iterator<Item = Result<Record>> + 'static) -> Input {
        Input { dim, count, records: Box::new(records), remarks: Vec::new(), unique: true }
    }
}

/// What a command says about its input besides the path.
#[derive(Clone, Copy, Default)]
pub(crate) struct Naming<'a> {
    /// File with an id a line.
    pub(crate) ids: Option<&'a Path>,
    #[cfg(feature = "parquet")]
    /// Column of the ids, where records have columns.
    pub(crate) id_column: Option<&'a str>,
    #[cfg(feature = "parquet")]
    /// Column of the matrices, where records have columns.
    pub(crate) column: Option<&'a str>,
}

/// Opens a file or a directory by its ending.
///
/// # Errors
/// [`Error::Unusable`] when it is not what its ending says, [`Error::Invalid`] for an ending that is not read and for
/// names where the format has its own, [`Error::Io`].
pub(crate) fn open(path: &Path, naming: &Naming<'_>) -> Result<Input> {
    if path.is_dir() {
        return naming.refuse_ids("a directory").and_then(|()| folder::open(path));
    }
    let ending = ending(path);
    #[cfg(feature = "parquet")]
    if ending != "parquet" {
        naming.refuse_columns()?;
    }
    let asked = naming.ids.map(|file| ids::asked(path, file));
    let mut found = *naming;
    found.ids = asked.as_deref();
    let stacked = || found.ids.map_or(Ids::Numbered, Ids::File);
    let mut input = match ending.as_str() {
        "npy" => stack::open(npy::ArrayReader::open(path)?, path, stacked()),
        "npz" => npz::open(path, &found),
        "fvecs" => rows::open_vecs(path, Number::F32, stacked()),
        "bvecs" => rows::open_vecs(path, Number::U8, stacked()),
        "fbin" => rows::open_bin(path, Number::F32, stacked()),
        "u8bin" => rows::open_bin(path, Number::U8, stacked()),
        "i8bin" => rows::open_bin(path, Number::I8, stacked()),
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
    }?;
    let beside = ids::file_of(path);
    if asked.is_none() && beside.exists() {
        input.remarks.push(format!("{} lies beside it and was not read: give it with --ids", beside.display()));
    }
    Ok(input)
}

/// Writes the records of a snapshot to a file or a directory, by the ending of `path`.
///
/// # Errors
/// [`Error::Mismatch`] and [`Error::Invalid`] when a record does not fit into the format, before anything is written;
/// [`Error::Io`], and what reading the records meets.
pub(crate) fn write(snapshot: &Snapshot, path: &Path, bar: &ProgressBar) -> Result<()> {
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

/// The files that [`write`] makes, besides those in a directory.
pub(crate) fn files_of(path: &Path) -> Vec<PathBuf> {
    match ending(path).as_str() {
        "npz" => vec![path.to_owned()],
        "npy" | "fvecs" | "fbin" => vec![path.to_owned(), ids::file_of(path)],
        _ => Vec::new(),
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

/// What `import` would read from a file or a directory: numbers in a row, how many records were announced, the records.
///
/// # Errors
/// As the command.
#[doc(hidden)] // for those who try to break it
pub fn read_input(path: &Path) -> Result<(usize, u64, Vec<Record>)> {
    let input = open(path, &Naming::default())?;
    Ok((input.dim, input.count, input.records.collect::<Result<_>>()?))
}

/// The letters behind the last dot of a name, as they are written in lists of formats.
fn ending(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_lowercase()
}
