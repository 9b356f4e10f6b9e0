//! `info`: what is in a database.

use super::exit::Failure;
use super::output::Output;
use super::view::describe;
use otolith::Database;
use serde_json::{Value, json};
use std::path::PathBuf;

const HELP: &str = "\
Dead records were deleted or replaced and still take space: `otolith compact` gives it back. Of older generations the one
before the current is always kept; those before it are in use by a reader, or wait for the next commit.

With --json: {\"collections\": [{\"name\", \"records\", \"dim\", \"metric\", \"precision\", \"model\", \"rows_per_second\", \"views\"}],
\"segments\", \"live_records\", \"live_rows\", \"dead_records\", \"dead_rows\", \"dead_bytes\", \"bytes\", \"segment_bytes\",
\"delete_bytes\", \"view_bytes\", \"manifest_bytes\", \"log_bytes\", \"derived_bytes\", \"generation\", \"older_generations\", \"trouble\", \"format\"}";

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
            "collections": collections, "segments": stat.segments, "live_records": stat.live_records,
            "live_rows": stat.live_rows, "dead_records": stat.dead_records, "dead_rows": stat.dead_rows,
            "dead_bytes": stat.dead_bytes, "bytes": stat.bytes(), "segment_bytes": stat.segment_bytes,
            "delete_bytes": stat.delete_bytes, "view_bytes": stat.view_bytes, "manifest_bytes": stat.manifest_bytes, "log_bytes": stat.log_bytes,
            "derived_bytes": stat.derived_bytes, "generation": stat.generation,
            "older_generations": stat.older_generations, "trouble": stat.trouble, "format": format,
        }));
    }
    output.line(format_args!(
        "{} segments  {} on disk, {} of it derived  format {format}  generation {}",
        stat.segments,
        megabytes(stat.bytes()),
        megabytes(stat.derived_bytes),
        stat.generation
    ))?;
    output.line(format_args!("{} records of {} rows", stat.live_records, stat.live_rows))?;
    let dead = megabytes(stat.dead_bytes);
    output.line(format_args!("{} dead records of {} rows, {dead}", stat.dead_records, stat.dead_rows))?;
    if !stat.older_generations.is_empty() {
        let list: Vec<String> = stat.older_generations.iter().map(u64::to_string).collect();
        output.line(format_args!("older generations on disk: {}", list.join(", ")))?;
    }
    if let Some(trouble) = stat.trouble {
        output.line(format_args!("trouble: {trouble}"))?;
    }
    Ok(())
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
