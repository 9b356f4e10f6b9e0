//! `export`: records as `.npy` arrays, one at a time.

use super::exit::Failure;
use super::model::Target;
use super::npy;
use super::output::Output;
use crate::Database;
use crate::error::Error;
use crate::store::{Entry, Snapshot};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

const HELP: &str = "\
OUT.npy: one array of all records, which must have equally many rows; shape (records, dim) where that is one row, else
(records, rows, dim); ids go to OUT.ids.txt, a line each. A directory: NUMBER.npy for every record, and
records.jsonl with id, file and fields, which `import` reads back. A damaged record ends the export with its name and exit
code 3: delete it, or export from what `otolith repair` saves.";

/// Write records out as .npy arrays.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// A file ending in .npy, or a directory, made when missing
    out: PathBuf,
}

pub(super) fn run(args: Args, output: &mut Output) -> Result<(), Failure> {
    let db = Database::open_read_only(&args.target.db)?;
    let snapshot = db.collection(&args.target.collection)?.snapshot()?;
    if args.out.extension().is_some_and(|ending| ending == "npy") {
        array(&snapshot, &args.out)?;
    } else {
        directory(&snapshot, &args.out, output)?;
    }
    if output.is_json() {
        return output.document(&json!({ "exported": snapshot.len() }));
    }
    output.line(format_args!("{} exported", snapshot.len()))
}

fn array(snapshot: &Snapshot, path: &Path) -> Result<(), Error> {
    let dim = snapshot.schema().dim;
    let mut rows = None;
    let ids_path = path.with_extension("ids.txt");
    let mut ids = create(&ids_path)?;
    for (number, entry) in snapshot.iter().enumerate() {
        let (found, id) = named(number, &entry, || Ok((entry.rows()?, entry.id()?)))?;
        match rows {
            Some(rows) if rows != found => {
                return Err(Error::mismatch(
                    format!("record `{id}`"),
                    format!("{rows} rows, as the first has"),
                    format!("{found}: export to a directory instead"),
                ));
            }
            _ => rows = Some(found),
        }
        if id.contains(['\n', '\r']) {
            return Err(Error::invalid(format!("id {id:?}"), "holds a line break: export to a directory instead"));
        }
        writeln!(ids, "{id}").map_err(|error| Error::io(&ids_path, "write", error))?;
    }
    ids.flush().map_err(|error| Error::io(&ids_path, "write", error))?;
    let shape = match rows {
        None | Some(1) => vec![snapshot.len(), dim],
        Some(rows) => vec![snapshot.len(), rows, dim],
    };
    let values =
        |(number, entry): (usize, Entry<'_>)| named(number, &entry, || Ok(entry.matrix()?.view().values().to_vec()));
    npy::write_records(path, &shape, snapshot.iter().enumerate().map(values))
}

/// Says in an error of damage which record it is. An export of some records would pass for one of all, so it ends there.
fn named<T>(number: usize, entry: &Entry<'_>, read: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    read().map_err(|error| match error {
        Error::Corrupt { path, offset, what } => {
            let name = entry.id().map_or_else(|_| format!("number {number}"), |id| format!("`{id}`"));
            Error::corrupt(path, offset, format!("record {name} cannot be exported (delete or repair): {what}"))
        }
        other => other,
    })
}

fn directory(snapshot: &Snapshot, folder: &Path, output: &Output) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(|error| Error::io(folder, "create", error))?;
    let table_path = folder.join("records.jsonl");
    let mut table = create(&table_path)?;
    let bar = output.progress(snapshot.len() as u64, "exporting");
    for (number, entry) in snapshot.iter().enumerate() {
        let file = format!("{number:08}.npy");
        let (id, matrix, fields) = named(number, &entry, || Ok((entry.id()?, entry.matrix()?, entry.fields()?)))?;
        npy::write_matrix(&folder.join(&file), matrix.view())?;
        let line = json!({ "id": id, "file": file, "fields": Value::Object((*fields).clone()) });
        writeln!(table, "{line}").map_err(|error| Error::io(&table_path, "write", error))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    table.flush().map_err(|error| Error::io(&table_path, "write", error))
}

fn create(path: &Path) -> Result<BufWriter<File>, Error> {
    File::create(path).map(BufWriter::new).map_err(|error| Error::io(path, "create", error))
}
