//! `import`: arrays and vectors into a database, in batches, whatever their size.

use super::exit::Failure;
use super::model::Target;
use super::output::Output;
use crate::exchange::{self, Input, Naming};
use indicatif::ProgressBar;
use otolith::Metric;
use otolith::{BulkLoad, Entry, Snapshot};
use otolith::{Collection, DatabaseOptions, Matrix, Precision, Record, Schema};
use otolith::{Error, ErrorKind, Result};
use serde_json::json;
use std::path::PathBuf;

/// Bytes of records gathered before they are handed on, and committed where the collection numbers them.
const BATCH_BYTES: usize = 32 << 20;

/// Bytes of records in a commit where they have ids: they go past the log, and each commit makes segments of its own.
const LOAD_BYTES: usize = 1 << 30;

/// What a record takes besides its matrix and fields, about.
const RECORD_BYTES: usize = 256;

const HELP: &str = "\
What INPUT is, is told by its ending:
  .npy             one axis: a record of one row; two: every row a record of one row; three: every entry a record of rows
  .npz             every array a record, named by the array (or by records.jsonl in it, as `export` writes it); one array of
                   three axes, one with --ids, or one beside an array `ids` of integers or text: as .npy
  .fvecs, .bvecs   every vector a record of one row
  .fbin, .u8bin, .i8bin   the same
  .parquet         every row a record; built with feature `parquet` only
  a directory      every .npy in it a record, named by `records.jsonl` there (as `export` writes it) or else by its file

Arrays may hold floats, integers or bool (0 and 1) of any width and byte order, by rows or by columns (Fortran order),
their type written in any way that numpy reads; values become f32, and one that is beyond it is an error. Only regular
files are read, and in a directory only what lies in it.

Records are committed in batches, each wholly or not at all: of about 1 GB where they have ids or the collection is
new, else of 32 MB. When the command fails, what was good before stays, and it says how many records that were; when
it is interrupted, the batches before stay. Records with ids may be imported again: they replace themselves, and the
command says how many did. Records without ids are numbered, and numbered again when they are imported again. A number
that a collection has given (20 digits) may mean another record there: where it does, nothing is replaced unless
--replace or --renumber says what is meant. Memory: two batches, the largest record (at most 4 GiB), and the ids.

Examples:
  otolith import vectors.otolith base.fvecs --metric l2
  otolith import halves.otolith base.npy --ids names.txt --precision f16
  otolith import sounds.otolith frames.npz
  otolith import copy.otolith exported/

With --json: {\"imported\", \"added\", \"replaced\"}, and \"error\" when only a part could be imported.";

/// Put arrays and vectors into a database; creates it when there is none.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// A file of arrays or vectors, or a directory of .npy files
    input: PathBuf,
    /// File with an id a line, for records that have no names; numbered unless given
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    /// Let records with numbers for ids replace others of these numbers
    #[arg(long, conflicts_with = "renumber")]
    replace: bool,
    /// Give records with numbers for ids new numbers
    #[arg(long)]
    renumber: bool,
    /// Metric of a new collection: dot, cosine, l2 [default: cosine]
    #[arg(long)]
    metric: Option<String>,
    /// How a new collection stores values: f32, f16, bf16 [default: f32]
    #[arg(long)]
    precision: Option<String>,
    #[cfg(feature = "parquet")]
    /// Parquet: the column of vectors (lists of numbers) or matrices (lists of such lists); the first such unless given
    #[arg(long, value_name = "NAME")]
    column: Option<String>,
    #[cfg(feature = "parquet")]
    /// Parquet: the column of the ids; the records are numbered unless given
    #[arg(long, value_name = "NAME")]
    id_column: Option<String>,
}

pub(super) fn run(args: Args, opening: DatabaseOptions, output: &mut Output) -> Result<(), Failure> {
    let metric = args.metric.as_deref().map(str::parse::<Metric>).transpose()?;
    let precision = args.precision.as_deref().map(str::parse::<Precision>).transpose()?;
    let naming = Naming {
        ids: args.ids.as_deref(),
        #[cfg(feature = "parquet")]
        column: args.column.as_deref(),
        #[cfg(feature = "parquet")]
        id_column: args.id_column.as_deref(),
    };
    let Input { dim, count, mut records, remarks, unique } = exchange::open(&args.input, &naming)?;
    remarks.iter().for_each(|remark| output.remark(remark));
    let bar = output.progress(count, "importing");
    // A file that is no good from the start leaves no collection behind.
    let mut first = Vec::new();
    next_batch(&mut records, &bar, &mut first)?;
    let db = opening.open(&args.target.db)?;
    let name = &args.target.collection;
    let (collection, is_new) = match db.collection(name) {
        Err(Error::NotFound { .. }) => {
            let schema = Schema::new(dim).metric(metric.unwrap_or_default()).precision(precision.unwrap_or_default());
            (db.create_collection(name, schema)?, true)
        }
        other => (other?, false),
    };
    let schema = collection.schema()?;
    if schema.dim != dim {
        let expected = format!("rows of {} numbers, as the collection `{name}` has", schema.dim);
        return Err(Error::mismatch(args.input.display().to_string(), expected, dim).into());
    }
    let conflict =
        |what: &str, has: &str| Error::invalid(format!("--{what}"), format!("the collection `{name}` has {has}"));
    if metric.is_some_and(|metric| metric != schema.metric) {
        return Err(conflict("metric", schema.metric.name()).into());
    }
    if precision.is_some_and(|precision| precision != schema.precision) {
        return Err(conflict("precision", schema.precision.name()).into());
    }
    let numbers = match (args.replace, args.renumber) {
        (true, _) => Numbers::Replace,
        (_, true) => Numbers::Renew,
        _ => Numbers::Same,
    };
    let before = collection.snapshot()?;
    let bulk = unique && (is_new || !args.renumber && first.iter().all(|record| record.id.is_some()));
    let mut target = Writer { collection: &collection, bulk, load: None, bytes: 0, waiting: 0, number: 0, imported: 0 };
    let mut batch = first;
    let mut read_and_write = || -> Result<()> {
        let mut read = Ok(());
        while !batch.is_empty() {
            numbers.settle(&mut batch, &before)?;
            target.write(std::mem::take(&mut batch))?;
            // What was good before the one that is not is written, too.
            read = read.and_then(|()| next_batch(&mut records, &bar, &mut batch));
        }
        read
    };
    let done = read_and_write();
    let done = done.and(target.finish());
    let imported = target.imported;
    let added = collection.len()?.saturating_sub(before.len());
    drop((collection, before));
    let done = done.and_then(|()| db.close());
    bar.finish_and_clear();
    let replaced = imported.saturating_sub(added);
    let Err(error) = done else {
        if output.is_json() {
            return output.document(&json!({ "imported": imported, "added": added, "replaced": replaced }));
        }
        return output.line(format_args!("{imported} imported: {added} added, {replaced} replaced"));
    };
    if imported == 0 {
        return Err(error.into());
    }
    if output.is_json() {
        let error = error.to_string();
        output.document(&json!({ "imported": imported, "added": added, "replaced": replaced, "error": error }))?;
    }
    let message = format!("{error} ({imported} of {count} records were imported before and stay)");
    Err(if error.kind() == ErrorKind::Damage { Failure::Damage(message) } else { Failure::Partly(message) })
}

/// Where records go.
struct Writer<'a> {
    collection: &'a Collection,
    /// Whether they are loaded in bulk: none of them is numbered by the collection.
    bulk: bool,
    load: Option<BulkLoad>,
    /// Bytes and records in it.
    bytes: usize,
    waiting: usize,
    /// The last number given to a record of a new collection, which has given none itself.
    number: u64,
    /// Records that are there for good.
    imported: usize,
}

impl Writer<'_> {
    fn write(&mut self, batch: Vec<Record>) -> Result<()> {
        if !self.bulk {
            let size = batch.len();
            self.collection.upsert(batch)?;
            self.imported += size;
            return Ok(());
        }
        // After an error the load is not there any more, and leaves nothing.
        let mut load = match self.load.take() {
            Some(load) => load,
            None => self.collection.bulk_load()?,
        };
        for mut record in batch {
            self.bytes += bytes_of(&record);
            self.waiting += 1;
            record.id.get_or_insert_with(|| {
                self.number += 1;
                Record::numbered_id(self.number)
            });
            // The load knows them by their places in itself.
            let (number, id) = (self.imported + self.waiting - 1, record.id.clone().unwrap_or_default());
            load.push(record).map_err(|error| named(error, number, &id))?;
        }
        self.load = Some(load);
        if self.bytes >= LOAD_BYTES { self.finish() } else { Ok(()) }
    }

    /// Makes what was written so far visible, for good.
    fn finish(&mut self) -> Result<()> {
        if let Some(load) = self.load.take() {
            load.finish()?;
            self.imported += std::mem::take(&mut self.waiting);
            self.bytes = 0;
        }
        Ok(())
    }
}

/// The error of a record, by its number in the input and its id.
fn named(error: Error, number: usize, id: &str) -> Error {
    let place = |what: String| match what.starts_with("record ") {
        true => what,
        false => format!("record `{id}` (number {number}, from 0): {what}"),
    };
    match error {
        Error::Invalid { what, why } => Error::Invalid { what: place(what), why },
        Error::Mismatch { what, expected, found } => Error::Mismatch { what: place(what), expected, found },
        other => other,
    }
}

/// What becomes of records whose ids are numbers that a collection has given.
#[derive(Clone, Copy)]
enum Numbers {
    /// They are written where no other record has the number.
    Same,
    /// They replace it.
    Replace,
    /// They get new ones.
    Renew,
}

impl Numbers {
    /// Makes sure of the numbers of records before they go into a collection that held `before`.
    fn settle(self, batch: &mut [Record], before: &Snapshot) -> Result<()> {
        for record in batch {
            let Some(id) = record.id.as_deref().filter(|id| Record::is_numbered_id(id)) else { continue };
            match self {
                Numbers::Renew => record.id = None,
                Numbers::Replace => {}
                Numbers::Same => {
                    if let Some(there) = before.entry(id)?
                        && !is_same(record, &there, before.schema().precision)?
                    {
                        let why = "is another record in the collection, which numbers its records itself: say --renumber to \
                                   give all numbered ones new numbers, or --replace";
                        return Err(Error::invalid(format!("record `{id}`"), why));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether writing the record would change nothing.
fn is_same(record: &Record, there: &Entry<'_>, precision: Precision) -> Result<bool> {
    let there = there.to_record()?;
    let stored = |matrix: &Matrix| -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        precision.encode(matrix.values(), &mut bytes).map(|()| bytes)
    };
    let same_shape = record.matrix.rows() == there.matrix.rows() && record.matrix.dim() == there.matrix.dim();
    Ok(same_shape && record.fields == there.fields && stored(&record.matrix)? == stored(&there.matrix)?)
}

/// Reads the next records; none when all were read. At an error `batch` holds those before it.
fn next_batch(
    records: &mut dyn Iterator<Item = Result<Record>>,
    bar: &ProgressBar,
    batch: &mut Vec<Record>,
) -> Result<()> {
    let mut bytes = 0;
    while bytes < BATCH_BYTES
        && let Some(record) = records.next()
    {
        let record = record?;
        bytes += bytes_of(&record);
        batch.push(record);
        bar.inc(1);
    }
    Ok(())
}

/// What a record takes in memory, about.
fn bytes_of(record: &Record) -> usize {
    let fields = if record.fields.is_empty() { 0 } else { record.fields.to_json().len() };
    size_of_val(record.matrix.values()) + fields + RECORD_BYTES
}
