//! `info`: what is in a database.

use super::exit::Failure;
use super::output::Output;
use super::view::describe;
use crate::Database;
use serde_json::{Value, json};
use std::path::PathBuf;

const HELP: &str = "\
With --json: {\"collections\": [{\"name\", \"records\", \"dim\", \"metric\", \"precision\", \"model\", \"rows_per_second\", \"views\"}],
\"segments\", \"bytes\", \"derived_bytes\", \"dead_records\", \"generation\", \"format\"}";

/// Collections, views, sizes.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    /// The database, a directory
    db: PathBuf,
}

pub(super) fn run(args: Args, output: &mut Output) -> Result<(), Failure> {
    let db = Database::open_read_only(&args.db)?;
    let stat = db.stat()?;
    let format = format!("{}.{}", stat.format.0, stat.format.1);
    let mut collections: Vec<Value> = Vec::new();
    for name in db.collections() {
        let collection = db.collection(&name)?;
        let (schema, views) = (collection.schema()?, collection.views()?);
        if !output.is_json() {
            let model = schema.embedder.as_deref().unwrap_or("-");
            let (metric, precision) = (schema.metric.name(), schema.precision.name());
            let records = collection.len()?;
            output
                .line(format_args!("{name}  {records} records  dim {}  {metric}  {precision}  {model}", schema.dim))?;
            for view in &views {
                output.line(format_args!("  view {}  dim {}  {}", view.name, view.dim, view.metric.name()))?;
            }
        }
        collections.push(json!({
            "name": name, "records": collection.len()?, "dim": schema.dim, "metric": schema.metric.name(),
            "precision": schema.precision.name(), "model": schema.embedder, "rows_per_second": schema.rows_per_second,
            "views": views.iter().map(describe).collect::<Vec<_>>(),
        }));
    }
    if output.is_json() {
        return output.document(&json!({
            "collections": collections, "segments": stat.segments, "bytes": stat.bytes(), "derived_bytes": stat.derived_bytes,
            "dead_records": stat.dead_records, "generation": stat.generation, "format": format,
        }));
    }
    let (bytes, derived, dead) = (megabytes(stat.bytes()), megabytes(stat.derived_bytes), stat.dead_records);
    output.line(format_args!(
        "{} segments  {bytes} on disk, {derived} of it derived  {dead} dead records  format {format}",
        stat.segments
    ))
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
