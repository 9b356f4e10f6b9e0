//! `drop`: a collection goes, with all that is in it.

use super::exit::Failure;
use super::output::Output;
use otolith::DatabaseOptions;
use otolith::Error;
use serde_json::json;
use std::path::PathBuf;

const HELP: &str = "\
Its records and views are gone for good in one commit. There is no default collection here, and without --yes the command
only says what would go. The space comes back at once, or when the last reader lets the files go.

Example:
  otolith drop sounds.otolith --collection old-takes --yes

With --json: {\"dropped\", \"records\", \"views\"}";

/// Drop a collection with its records and views.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    /// The database, a directory
    db: PathBuf,
    /// The collection to drop
    #[arg(long, short, value_name = "NAME")]
    collection: String,
    /// Do it
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(args: Args, opening: DatabaseOptions, output: &mut Output) -> Result<(), Failure> {
    let db = if args.yes { opening.must_exist() } else { opening.read_only() }.open(&args.db)?;
    let collection = db.collection(&args.collection)?;
    let (records, views) = (collection.len()?, collection.views()?.len());
    if !args.yes {
        let why = format!("{records} records and {views} views would be gone for good: say --yes to drop it");
        return Err(Error::invalid(format!("collection `{}`", args.collection), why).into());
    }
    db.drop_collection(&args.collection)?;
    db.flush()?;
    // Rewrites nothing, and gives back at once what only the generation before needed.
    db.compact_while(&|| false)?;
    db.close()?;
    if output.is_json() {
        return output.document(&json!({ "dropped": args.collection, "records": records, "views": views }));
    }
    output.line(format_args!("dropped `{}`: {records} records, {views} views", args.collection))
}
