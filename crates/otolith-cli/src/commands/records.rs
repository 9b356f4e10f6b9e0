//! `get`, `list`, `delete`: single records.

use super::exit::Failure;
use super::model::Target;
use super::npy;
use super::output::Output;
use otolith::filter::Filter;
use otolith::{Database, DatabaseOptions};
use otolith::{Error, ErrorKind};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Ids named in a message; of more there are dots.
const IDS_NAMED: usize = 8;

/// Print a record.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  otolith get sounds.otolith dog/bark.wav --out bark.npy")]
pub(super) struct GetArgs {
    #[command(flatten)]
    target: Target,
    /// Id of the record
    id: String,
    /// Write its matrix to this .npy file (f32, rows x dim)
    #[arg(long, value_name = "FILE.npy")]
    out: Option<PathBuf>,
}

pub(super) fn get(args: GetArgs, output: &mut Output) -> Result<(), Failure> {
    let db = Database::open_read_only(&args.target.db)?;
    let record = db
        .collection(&args.target.collection)?
        .get(&args.id)?
        .ok_or_else(|| Error::not_found("record", &args.id, Vec::<String>::new()))?;
    if let Some(path) = &args.out {
        npy::write_matrix(path, record.matrix.view())?;
    }
    let (rows, dim) = (record.matrix.rows(), record.matrix.dim());
    if output.is_json() {
        let fields = Value::Object((*record.fields).clone());
        return output.document(&json!({ "id": args.id, "rows": rows, "dim": dim, "fields": fields }));
    }
    output.line(format_args!("{}  {rows} x {dim}", args.id))?;
    for (name, value) in record.fields.iter() {
        output.line(format_args!("  {name} = {value}"))?;
    }
    Ok(())
}

/// List records.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  otolith list sounds.otolith --filter \"class = 'dog' and seconds > 2\"
  otolith list sounds.otolith --filter \"class = ? and not id in ('a', 'b')\" --param \"it's\"\n
Exit code 3: some records are damaged and not in the list; they are told on stderr.")]
pub(super) struct ListArgs {
    #[command(flatten)]
    target: Target,
    /// Only records that meet this expression, over their fields and `id`
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// Text for the next `?` in the expression: whatever is in it, it is one text
    #[arg(long, value_name = "TEXT", requires = "filter", allow_hyphen_values = true)]
    param: Vec<String>,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

pub(super) fn list(args: ListArgs, output: &mut Output) -> Result<(), Failure> {
    let db = Database::open_read_only(&args.target.db)?;
    let snapshot = db.collection(&args.target.collection)?.snapshot()?;
    let values: Vec<Value> = args.param.into_iter().map(Value::from).collect();
    let filter = args.filter.map(|text| Filter::parse_with(&text, &values)).transpose()?;
    let mut records = Vec::new();
    let mut listed = 0;
    let (mut unread, mut unread_records) = (Vec::new(), 0);
    for entry in snapshot.iter() {
        if args.limit.is_some_and(|limit| listed >= limit) {
            break;
        }
        let read = || Ok((entry.id()?, entry.rows()?, entry.fields()?));
        let (id, rows, fields) = match read() {
            Ok(parts) => parts,
            Err(error) if Error::kind(&error) == ErrorKind::Damage => {
                unread.push(error);
                unread_records += entry.records();
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if filter.as_ref().is_some_and(|filter| !filter.matches(id, &fields)) {
            continue;
        }
        listed += 1;
        if output.is_json() {
            records.push(json!({ "id": id, "rows": rows, "fields": Value::Object((*fields).clone()) }));
        } else {
            let shown = |name: &str| fields.get(name).map(|value| format!("  {name}={value}")).unwrap_or_default();
            output.line(format_args!("{id}  {rows} rows{}{}", shown("class"), shown("seconds")))?;
        }
    }
    if output.is_json() {
        output.document(&json!({ "records": records }))?;
    }
    output.damage(&unread, unread_records)
}

/// Delete records.
#[derive(clap::Args)]
pub(super) struct DeleteArgs {
    #[command(flatten)]
    target: Target,
    /// Ids of the records
    #[arg(required = true)]
    ids: Vec<String>,
}

pub(super) fn delete(args: DeleteArgs, opening: DatabaseOptions, output: &mut Output) -> Result<(), Failure> {
    let db = opening.must_exist().open(&args.target.db)?;
    let asked = args.ids.len();
    let collection = db.collection(&args.target.collection)?;
    let before = collection.snapshot()?;
    // What damage hides is the delete's to tell.
    let is_missing = |id: &&String| matches!(before.entry(id), Ok(None));
    let missing: Vec<String> = args.ids.iter().filter(is_missing).map(|id| format!("`{id}`")).collect();
    let deleted = collection.delete(args.ids)?;
    if output.is_json() {
        output.document(&json!({ "deleted": deleted }))?;
    } else {
        output.line(format_args!("{deleted} deleted"))?;
    }
    if !missing.is_empty() {
        let named = missing.iter().take(IDS_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if missing.len() > IDS_NAMED { ", .." } else { "" };
        return Err(Failure::Partly(format!("{} of {asked} ids: not found: {named}{more}", missing.len())));
    }
    Ok(())
}
