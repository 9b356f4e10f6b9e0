//! A directory: every `.npy` in it a record, named by `records.jsonl` there or else by its file. The one format that keeps
//! everything: ids, fields, matrices of any number of rows.

use super::npy::{self, ArrayReader};
use super::{Input, create_whole, partial_of};
use crate::error::{Error, Result};
use crate::limits;
use crate::record::{Fields, Record};
use crate::store::Snapshot;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// The file that says which array is which record.
const TABLE: &str = "records.jsonl";

/// Longest line of it: the longest fields, and room for an id and a file's name.
const LINE_BYTES: u64 = limits::FIELDS_BYTES as u64 + (64 << 10);

/// One line of the table.
struct Line {
    file: PathBuf,
    id: String,
    fields: Fields,
}

/// Opens a directory.
pub(super) fn open(folder: &Path) -> Result<Input> {
    let table = folder.join(TABLE);
    if table.exists() {
        return listed(folder, table);
    }
    if partial_of(&table).exists() {
        return Err(Error::unusable(folder, "an export that was cut off: export again"));
    }
    unlisted(folder)
}

/// The records that the table names, in its order; one line of it is in memory at a time, and the ids so far.
fn listed(folder: &Path, table: PathBuf) -> Result<Input> {
    let mut count = 0;
    let mut first = None;
    for line in Table::open(folder, &table)? {
        let line = line?;
        first.get_or_insert(line.file);
        count += 1;
    }
    let first = first.ok_or_else(|| Error::unusable(&table, "no line in it"))?;
    let dim = read_matrix(&first)?.dim();
    let records = Table::open(folder, &table)?.map(move |line| {
        let Line { file, id, fields } = line?;
        let mut record = Record::new(id, read_matrix(&file)?);
        record.fields = fields;
        check_dim(&file, record.matrix.dim(), dim).map(|()| record)
    });
    Ok(Input { dim, count, records: Box::new(records) })
}

/// Every array of a directory in the order of their names.
fn unlisted(folder: &Path) -> Result<Input> {
    let failed = |error| Error::io(folder, "list", error);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|ending| ending == "npy") {
            files.push(path);
        }
    }
    files.sort();
    let first = files.first().ok_or_else(|| Error::unusable(folder, "no .npy file in it"))?;
    let (dim, count) = (read_matrix(first)?.dim(), files.len() as u64);
    let records = files.into_iter().map(move |file| {
        let id = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let matrix = read_matrix(&file)?;
        check_dim(&file, matrix.dim(), dim).map(|()| Record::new(id, matrix))
    });
    Ok(Input { dim, count, records: Box::new(records) })
}

fn read_matrix(path: &Path) -> Result<crate::Matrix> {
    ArrayReader::open(path)?.into_matrix()
}

fn check_dim(file: &Path, found: usize, dim: usize) -> Result<()> {
    if found == dim {
        return Ok(());
    }
    Err(Error::mismatch(file.display().to_string(), format!("rows of {dim} numbers, as the first array has"), found))
}

/// The lines of a table, one after another.
struct Table {
    folder: PathBuf,
    path: PathBuf,
    lines: BufReader<File>,
    number: u64,
    seen: HashSet<String>,
}

impl Table {
    fn open(folder: &Path, path: &Path) -> Result<Table> {
        let file = File::open(path).map_err(|error| Error::io(path, "open", error))?;
        let (folder, path) = (folder.to_owned(), path.to_owned());
        Ok(Table { folder, path, lines: BufReader::new(file), number: 0, seen: HashSet::new() })
    }

    fn wrong(&self, why: impl std::fmt::Display) -> Error {
        Error::unusable(&self.path, format!("line {}: {why}", self.number))
    }

    fn parse(&mut self, line: &str) -> Result<Line> {
        let mut entry: Value = serde_json::from_str(line).map_err(|error| self.wrong(error))?;
        let fields = match entry.get_mut("fields").map(Value::take) {
            None | Some(Value::Null) => Fields::default(),
            Some(Value::Object(fields)) => Fields::from(fields),
            Some(other) => return Err(self.wrong(format!("`fields` is no object but {other}"))),
        };
        let text = |key: &str| {
            let text = entry.get(key).and_then(Value::as_str).map(str::to_owned);
            text.ok_or_else(|| self.wrong(format!("no text `{key}`")))
        };
        let (file, id) = (self.folder.join(text("file")?), text("id")?);
        // The second would replace the first without a word.
        if !self.seen.insert(id.clone()) {
            return Err(self.wrong(format!("the id {id:?} stands on an earlier line, too")));
        }
        Ok(Line { file, id, fields })
    }
}

impl Iterator for Table {
    type Item = Result<Line>;

    fn next(&mut self) -> Option<Result<Line>> {
        loop {
            self.number += 1;
            let mut line = String::new();
            match (&mut self.lines).take(LINE_BYTES).read_line(&mut line) {
                Err(error) => return Some(Err(Error::io(&self.path, "read", error))),
                Ok(0) => return None,
                Ok(length) if length as u64 == LINE_BYTES => return Some(Err(self.wrong("too long"))),
                Ok(_) if line.trim().is_empty() => {}
                Ok(_) => return Some(self.parse(&line)),
            }
        }
    }
}

/// Writes every record into a file of its own, and the table.
pub(super) fn write(snapshot: &Snapshot, folder: &Path, bar: &ProgressBar) -> Result<()> {
    fs::create_dir_all(folder).map_err(|error| Error::io(folder, "create", error))?;
    let path = folder.join(TABLE);
    create_whole(&path, |table| {
        for (number, entry) in snapshot.iter().enumerate() {
            let file = format!("{number:08}.npy");
            npy::write_matrix(&folder.join(&file), entry.matrix()?.view())?;
            let line = json!({ "id": entry.id()?, "file": file, "fields": Value::Object((*entry.fields()?).clone()) });
            writeln!(table, "{line}").map_err(|error| Error::io(&path, "write", error))?;
            bar.inc(1);
        }
        Ok(())
    })
}
