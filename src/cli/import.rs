//! `import`: `.npy` arrays into a database, in batches, whatever their size.

use super::exit::Failure;
use super::model::Target;
use super::npy::ArrayReader;
use super::output::Output;
use crate::collection::Collection;
use crate::error::{Error, Result};
use crate::record::Fields;
use crate::score::Metric;
use crate::{DatabaseOptions, Matrix, Precision, Record, Schema};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of matrices gathered for one commit.
const BATCH_BYTES: usize = 32 << 20;

const HELP: &str = "\
FILE.npy with two axes: every row a record of one row. With three axes: every entry a record of rows. A directory: every
.npy in it a record, named by `records.jsonl` there (as `export` writes it) or else by its file.

Examples:
  otolith import vectors.otolith base.npy --metric dot
  otolith import copy.otolith exported/";

/// Put .npy arrays into a database; creates it when there is none.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// A .npy file or a directory of them
    input: PathBuf,
    /// File with an id a line, for the records of FILE.npy; numbered unless given
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    /// Metric of a new collection: dot, cosine, l2
    #[arg(long, default_value = "cosine")]
    metric: String,
    /// How a new collection stores values: f32, f16, bf16
    #[arg(long, default_value = "f32")]
    precision: String,
}

pub(super) fn run(args: Args, opening: DatabaseOptions, output: &mut Output) -> Result<(), Failure> {
    let (metric, precision) = (Metric::from_name(&args.metric)?, Precision::from_name(&args.precision)?);
    let schema = |dim| Schema::new(dim).metric(metric).precision(precision);
    let (dim, records) = if args.input.is_dir() { directory(&args.input)? } else { array(&args.input, args.ids)? };
    // A file that is no good from the start leaves no collection behind.
    let mut records = records.peekable();
    if let Some(Err(error)) = records.next_if(Result::is_err) {
        return Err(error.into());
    }
    let db = opening.open(&args.target.db)?;
    let collection = match db.collection(&args.target.collection) {
        Err(Error::NotFound { .. }) => db.create_collection(&args.target.collection, schema(dim))?,
        other => other?,
    };
    let bar = output.progress(records.size_hint().0 as u64, "importing");
    let mut imported = 0;
    let mut batch = Batch { collection: &collection, records: Vec::new(), bytes: 0 };
    for record in records {
        batch.push(record?)?;
        imported += 1;
        bar.inc(1);
    }
    batch.commit()?;
    bar.finish_and_clear();
    if output.is_json() {
        return output.document(&json!({ "imported": imported }));
    }
    output.line(format_args!("{imported} imported"))
}

/// Records on their way to one commit.
struct Batch<'a> {
    collection: &'a Collection,
    records: Vec<Record>,
    bytes: usize,
}

impl Batch<'_> {
    fn push(&mut self, record: Record) -> Result<()> {
        self.bytes += size_of_val(record.matrix.values()) + 256;
        self.records.push(record);
        if self.bytes >= BATCH_BYTES { self.commit() } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<()> {
        self.bytes = 0;
        self.collection.upsert(self.records.drain(..)).map(|_| ())
    }
}

type Records = Box<dyn Iterator<Item = Result<Record>>>;

/// The records of one array, one after another.
fn array(path: &Path, ids: Option<PathBuf>) -> Result<(usize, Records)> {
    let mut reader = ArrayReader::open(path)?;
    let (count, rows, dim) = match *reader.shape() {
        [count, dim] => (count, 1, dim),
        [count, rows, dim] => (count, rows, dim),
        ref other => {
            let axes = other.len();
            return Err(Error::unusable(path, format!("{axes} axes: two (vectors) or three (matrices) are read")));
        }
    };
    let ids: Option<Vec<String>> = match ids {
        None => None,
        Some(file) => Some(read_text(&file)?.lines().map(str::to_owned).collect()),
    };
    if let Some(ids) = &ids
        && ids.len() != count
    {
        return Err(Error::mismatch("ids", format!("{count} lines"), format!("{} lines", ids.len())));
    }
    // The second would replace the first without a word.
    let mut seen = HashSet::new();
    if let Some(twice) = ids.iter().flatten().find(|id| !seen.insert(id.as_str())) {
        return Err(Error::invalid(
            "ids",
            format!("{twice:?} stands on two lines: each record needs an id of its own"),
        ));
    }
    let records = (0..count).map(move |number| {
        let matrix = reader.next_matrix(rows, dim)?;
        Ok(match &ids {
            Some(ids) => Record::new(ids[number].clone(), matrix),
            None => Record::auto(matrix),
        })
    });
    Ok((dim, Box::new(records)))
}

/// The records of a directory: those that `records.jsonl` names, or every array in it.
fn directory(folder: &Path) -> Result<(usize, Records)> {
    let table = folder.join("records.jsonl");
    let listed: Vec<(PathBuf, String, Fields)> =
        if table.exists() { read_table(folder, &table)? } else { read_folder(folder)? };
    let first = listed.first().ok_or_else(|| Error::unusable(folder, "no .npy file in it"))?;
    let dim = read_matrix(&first.0)?.dim();
    let records = listed.into_iter().map(|(path, id, fields)| {
        let mut record = Record::new(id, read_matrix(&path)?);
        record.fields = fields;
        Ok(record)
    });
    Ok((dim, Box::new(records)))
}

fn read_matrix(path: &Path) -> Result<Matrix> {
    ArrayReader::open(path)?.into_matrix()
}

fn read_table(folder: &Path, table: &Path) -> Result<Vec<(PathBuf, String, Fields)>> {
    let wrong = |line: usize, why: &str| Error::unusable(table, format!("line {}: {why}", line + 1));
    let text = read_text(table)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            let entry: Value = serde_json::from_str(line).map_err(|error| wrong(number, &error.to_string()))?;
            let text = |key: &str| entry[key].as_str().ok_or_else(|| wrong(number, &format!("no `{key}`")));
            let fields = entry["fields"].as_object().cloned().unwrap_or_default();
            Ok((folder.join(text("file")?), text("id")?.to_owned(), Fields::from(fields)))
        })
        .collect()
}

fn read_folder(folder: &Path) -> Result<Vec<(PathBuf, String, Fields)>> {
    let failed = |error| Error::io(folder, "list", error);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|ending| ending == "npy") {
            let id = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            files.push((path, id, Fields::default()));
        }
    }
    files.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(files)
}

fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| Error::io(path, "read", error))
}
