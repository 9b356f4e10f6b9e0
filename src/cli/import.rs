//! `import`: arrays and vectors into a database, in batches, whatever their size.

use super::exchange::{self, Input, Naming};
use super::exit::Failure;
use super::model::Target;
use super::output::Output;
use crate::error::{Error, ErrorKind, Result};
use crate::score::Metric;
use crate::{DatabaseOptions, Precision, Record, Schema};
use indicatif::ProgressBar;
use serde_json::json;
use std::path::PathBuf;

/// Bytes of records gathered for one commit.
const BATCH_BYTES: usize = 32 << 20;

/// What a record takes besides its matrix and fields, about.
const RECORD_BYTES: usize = 256;

const HELP: &str = "\
What INPUT is, is told by its ending:
  .npy             two axes: every row a record of one row; three axes: every entry a record of rows
  .npz             every array a record, named by the array; one array of three axes, or one with --ids: as .npy
  .fvecs, .bvecs   every vector a record of one row
  .fbin, .u8bin, .i8bin   the same
  .parquet         every row a record; built with feature `parquet` only
  a directory      every .npy in it a record, named by `records.jsonl` there (as `export` writes it) or else by its file

Records are committed in batches of about 32 MB, each wholly or not at all. When the command fails or is interrupted, the
batches before stay, and it says how many records that were. Records with ids may be imported again: they replace
themselves; numbered ones would be there twice. Memory: two batches, the largest record, and the ids.

Examples:
  otolith import vectors.otolith base.fvecs --metric l2
  otolith import vectors.otolith base.npy --ids names.txt --precision f16
  otolith import sounds.otolith frames.npz
  otolith import copy.otolith exported/

With --json: {\"imported\"}, and \"error\" when only a part could be imported.";

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
    /// Metric of a new collection: dot, cosine, l2
    #[arg(long, default_value = "cosine")]
    metric: String,
    /// How a new collection stores values: f32, f16, bf16
    #[arg(long, default_value = "f32")]
    precision: String,
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
    let (metric, precision) = (Metric::from_name(&args.metric)?, Precision::from_name(&args.precision)?);
    let naming = Naming {
        ids: args.ids.as_deref(),
        #[cfg(feature = "parquet")]
        column: args.column.as_deref(),
        #[cfg(feature = "parquet")]
        id_column: args.id_column.as_deref(),
    };
    let Input { dim, count, mut records } = exchange::open(&args.input, &naming)?;
    let bar = output.progress(count, "importing");
    // A file that is no good from the start leaves no collection behind.
    let first = next_batch(&mut records, &bar)?;
    let db = opening.open(&args.target.db)?;
    let collection = match db.collection(&args.target.collection) {
        Err(Error::NotFound { .. }) => {
            let schema = Schema::new(dim).metric(metric).precision(precision);
            db.create_collection(&args.target.collection, schema)?
        }
        other => other?,
    };
    let known = collection.schema()?.dim;
    if known != dim {
        let expected = format!("rows of {known} numbers, as the collection `{}` has", args.target.collection);
        return Err(Error::mismatch(args.input.display().to_string(), expected, dim).into());
    }
    let mut imported = 0;
    let mut write = |mut batch: Vec<Record>| -> Result<()> {
        while !batch.is_empty() {
            let size = batch.len() as u64;
            collection.upsert(batch)?;
            imported += size;
            batch = next_batch(&mut records, &bar)?;
        }
        Ok(())
    };
    let done = write(first).and_then(|()| db.close());
    bar.finish_and_clear();
    let Err(error) = done else {
        if output.is_json() {
            return output.document(&json!({ "imported": imported }));
        }
        return output.line(format_args!("{imported} imported"));
    };
    if imported == 0 {
        return Err(error.into());
    }
    if output.is_json() {
        output.document(&json!({ "imported": imported, "error": error.to_string() }))?;
    }
    let message = format!("{error} ({imported} of {count} records were imported before and stay)");
    Err(if error.kind() == ErrorKind::Damage { Failure::Damage(message) } else { Failure::Partly(message) })
}

/// Records for one commit; none when all were read.
fn next_batch(records: &mut dyn Iterator<Item = Result<Record>>, bar: &ProgressBar) -> Result<Vec<Record>> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while bytes < BATCH_BYTES
        && let Some(record) = records.next()
    {
        let record = record?;
        let fields = if record.fields.is_empty() { 0 } else { record.fields.to_json().len() };
        bytes += size_of_val(record.matrix.values()) + fields + RECORD_BYTES;
        batch.push(record);
        bar.inc(1);
    }
    Ok(batch)
}
