//! A directory: every `.npy` in it a record, named by `records.jsonl` there or else by its file. The one format that
//! keeps everything: ids, fields, matrices of any number of rows.

use super::create::{create_folder, create_whole, is_partial};
use super::npy::{self, ArrayReader};
use super::table::{self, Line, TABLE, Table};
use super::{Input, ending};
use indicatif::ProgressBar;
use otolith::Matrix;
use otolith::Record;
use otolith::Snapshot;
use otolith::outside;
use otolith::{Error, Result};
use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Component, Path, PathBuf};

/// Opens a directory.
pub(crate) fn open(folder: &Path) -> Result<Input> {
    let folder = Folder::new(folder)?;
    let table = folder.path.join(TABLE);
    // Also where it is no file that can be read: that is told.
    if table.symlink_metadata().is_ok() {
        return listed(folder, table);
    }
    unlisted(folder)
}

/// A directory out of which nothing is read.
struct Folder {
    path: PathBuf,
    /// Without links.
    real: PathBuf,
}

impl Folder {
    fn new(path: &Path) -> Result<Folder> {
        let real = path.canonicalize().map_err(|error| Error::io(path, "open", error))?;
        Ok(Folder { path: path.to_owned(), real })
    }

    /// The file of that name in it; why not, in words.
    fn file(&self, name: &Path) -> Result<PathBuf, String> {
        let shown = name.display();
        if !name.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(format!("`{shown}` leads out of the directory: files are named from there on, without `..`"));
        }
        let path = self.path.join(name);
        let real = path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?;
        match real.starts_with(&self.real) {
            true => Ok(path),
            false => Err(format!("`{shown}` is a link out of the directory: copy what it points to")),
        }
    }

    fn table(&self, table: &Path) -> Result<Table> {
        let place = table.display().to_string();
        self.file(Path::new(TABLE)).map_err(|why| Error::unusable(&self.path, why))?;
        Ok(Table::new(place, Box::new(outside::open(table)?)))
    }
}

/// The records that the table names, in its order; one line of it is in memory at a time, and the ids so far. All of it
/// is read before the first record is given away, so that what is wrong with a line is told before anything is made of
/// the others.
fn listed(folder: Folder, table: PathBuf) -> Result<Input> {
    let place = table.display().to_string();
    let (mut count, mut first) = (0, None);
    for line in folder.table(&table)? {
        let line = line?;
        let file = folder.file(Path::new(&line.file)).map_err(|why| Table::wrong(&place, line.number, why))?;
        first.get_or_insert((line.number, file));
        count += 1;
    }
    let (number, first) = first.ok_or_else(|| Error::unusable(&table, "no line in it"))?;
    let dim = read_matrix(&first).map_err(|error| Table::wrong(&place, number, error))?.dim();
    let records = folder.table(&table)?.map(move |line| {
        let Line { number, file, id, fields } = line?;
        let read = || -> Result<Record> {
            let file = folder.file(Path::new(&file)).map_err(|why| Error::unusable(&file, why))?;
            let mut record = Record::new(id, read_matrix(&file)?);
            record.fields = fields;
            check_dim(&file, record.matrix.dim(), dim).map(|()| record)
        };
        read().map_err(|error| Table::wrong(&place, number, error))
    });
    Ok(Input::new(dim, count, records))
}

/// Every array of a directory in the order of their names.
fn unlisted(folder: Folder) -> Result<Input> {
    let failed = |error| Error::io(&folder.path, "list", error);
    let mut files = Vec::new();
    let mut was_cut_off = false;
    for entry in fs::read_dir(&folder.path).map_err(failed)? {
        let name = PathBuf::from(entry.map_err(failed)?.file_name());
        was_cut_off |= is_partial(&name.as_os_str().to_string_lossy());
        if ending(&name) == "npy" {
            files.push(name);
        }
    }
    if was_cut_off {
        return Err(Error::unusable(&folder.path, "an export that was cut off: export again"));
    }
    files.sort();
    let id = |name: &Path| name.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut named: HashMap<String, &Path> = HashMap::new();
    for name in &files {
        folder.file(name).map_err(|why| Error::unusable(&folder.path, why))?;
        // The second would replace the first without a word.
        if let Some(other) = named.insert(id(name), name) {
            let (one, other) = (name.display(), other.display());
            return Err(Error::unusable(&folder.path, format!("`{other}` and `{one}` would be records of one id")));
        }
    }
    let first = files.first().ok_or_else(|| Error::unusable(&folder.path, "no .npy file in it"))?;
    let (dim, count) = (read_matrix(&folder.path.join(first))?.dim(), files.len() as u64);
    let records = files.into_iter().map(move |name| {
        let file = folder.path.join(&name);
        let matrix = read_matrix(&file)?;
        check_dim(&file, matrix.dim(), dim).map(|()| Record::new(id(&name), matrix))
    });
    Ok(Input::new(dim, count, records))
}

fn read_matrix(path: &Path) -> Result<Matrix> {
    ArrayReader::open(path)?.into_matrix()
}

fn check_dim(file: &Path, found: usize, dim: usize) -> Result<()> {
    if found == dim {
        return Ok(());
    }
    Err(Error::mismatch(file.display().to_string(), format!("rows of {dim} numbers, as the first array has"), found))
}

/// Writes every record into a file of its own, and the table.
pub(crate) fn write(snapshot: &Snapshot, folder: &Path, bar: &ProgressBar) -> Result<()> {
    create_folder(folder)?;
    let path = folder.join(TABLE);
    create_whole(&path, |table| {
        for (number, entry) in snapshot.iter().enumerate() {
            let file = format!("{number:08}.npy");
            npy::write_matrix(&folder.join(&file), entry.matrix()?.view())?;
            let line = table::line(entry.id()?, &file, Some(entry.fields()?));
            writeln!(table, "{line}").map_err(|error| Error::io(&path, "write", error))?;
            bar.inc(1);
        }
        Ok(())
    })
}
