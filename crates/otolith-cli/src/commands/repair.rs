//! `repair`: saves what is whole of a damaged database into a new one, or sweeps in place what holds no records.

use super::exit::Failure;
use super::output::Output;
use super::verify::{finding_json, finding_text};
use otolith::{Database, Finding, RepairReport};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const HELP: &str = "\
--out writes every record and view that can be read into a new database and lists what is lost: records by id, or by
segment and number where the id cannot be read. DB is only read. It works by the newest manifest that is whole, or
without one. Derived files are made again when they are needed.
--in-place removes leftovers of commits that never took place and derived files that are damaged or wrong; it touches
nothing that holds records.

Example:
  otolith repair sounds.otolith --out saved.otolith && otolith verify saved.otolith --deep

Exit codes: 0 nothing lost; 3 something lost, or perhaps back that was deleted; 1 could not be done.
With --json: {\"complete\", \"generation\", \"manifests\": [DAMAGE], \"logs\": [DAMAGE], \"collections\": [{\"name\", \"was\", \"records\", \"views\"}],
\"lost\": {\"records\": [{\"collection\", \"id\", \"number\", \"damage\": DAMAGE}], \"segments\": [{\"collection\", \"records\", \"damage\"}],
\"views\": [{\"collection\", \"name\", \"damage\"}]}, \"revived\": [{\"collection\", \"segment\", \"deleted\", \"known\", \"damage\"}]}, DAMAGE as
`verify` prints it; with --in-place {\"removed\": [..]}.";

/// Save what is whole of a damaged database
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    /// The database, a directory
    db: PathBuf,
    #[command(flatten)]
    way: Way,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Way {
    /// Write what is whole into a new database in this directory, which must be empty or missing
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Only remove leftovers and bad derived files
    #[arg(long)]
    in_place: bool,
}

pub(super) fn run(args: Args, output: &mut Output) -> Result<(), Failure> {
    match &args.way.out {
        Some(out) => to(&args.db, out, output),
        None => in_place(&args.db, output),
    }
}

fn in_place(db: &Path, output: &mut Output) -> Result<(), Failure> {
    let removed = Database::options().repair_in_place(db)?;
    if output.is_json() {
        let removed = removed.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        return output.document(&json!({ "removed": removed }));
    }
    for path in &removed {
        output.line(format_args!("{}  removed", path.display()))?;
    }
    output.line(format_args!("{} files removed", removed.len()))
}

fn to(db: &Path, out: &Path, output: &mut Output) -> Result<(), Failure> {
    let report = Database::options().repair_to(db, out)?;
    if output.is_json() {
        output.document(&report_json(&report))?;
    } else {
        print(&report, output)?;
    }
    if report.is_complete() {
        return Ok(());
    }
    let in_segments = match report.segments.iter().map(|lost| lost.records).sum::<Option<u64>>() {
        Some(records) => format!("of {records} records"),
        None => "of an unknown number of records".to_owned(),
    };
    let mut parts = vec![format!("{} records", report.records.len())];
    parts.push(format!("{} segments {in_segments}", report.segments.len()));
    parts.push(format!("{} views", report.views.len()));
    if !report.logs.is_empty() {
        parts.push("commits in the log".to_owned());
    }
    let mut message = format!("{}: lost: {}", db.display(), parts.join(", "));
    if !report.manifests.is_empty() || !report.revived.is_empty() {
        message += "; what had been deleted may be back";
    }
    Err(Failure::Damage(message))
}

fn print(report: &RepairReport, output: &mut Output) -> Result<(), Failure> {
    for found in report.manifests.iter().chain(&report.logs) {
        output.line(finding_text(found))?;
    }
    match report.generation {
        Some(generation) if !report.manifests.is_empty() => {
            output.line(format_args!("went by generation {generation}, and by the files written after it"))?;
        }
        None => output.line("went by the files, without a manifest")?,
        Some(_) => {}
    }
    let of = |collection: &Option<String>| collection.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
    for lost in &report.segments {
        let records = lost.records.map_or_else(|| "unknown".to_owned(), |records| records.to_string());
        let damage = finding_text(&lost.damage);
        output.line(format_args!("lost: a segment{}, records in it: {records}: {damage}", of(&lost.collection)))?;
    }
    for lost in &report.records {
        let number = lost.number.map_or_else(|| "unknown".to_owned(), |number| format!("number {number}"));
        let name = lost.id.as_ref().map_or(number, |id| format!("`{id}`"));
        output.line(format_args!("lost: record {name} of {}: {}", lost.collection, finding_text(&lost.damage)))?;
    }
    for lost in &report.views {
        let name = lost.name.as_ref().map_or_else(|| "of unknown name".to_owned(), |name| format!("`{name}`"));
        output.line(format_args!("lost: view {name}{}: {}", of(&lost.collection), finding_text(&lost.damage)))?;
    }
    for back in &report.revived {
        let deleted = back.deleted.map_or_else(|| "an unknown number".to_owned(), |count| count.to_string());
        output.line(format_args!(
            "perhaps back: {deleted} deleted records of {}, {} of them known: {}",
            back.collection,
            back.known,
            finding_text(&back.damage)
        ))?;
    }
    for saved in &report.collections {
        let was = saved.was.as_ref().map(|name| format!(" (was an older {name})")).unwrap_or_default();
        let (records, views) = (saved.records, saved.views.len());
        output.line(format_args!("{}{was}  {records} records and {views} views saved", saved.name))?;
    }
    Ok(())
}

fn report_json(report: &RepairReport) -> Value {
    let list = |findings: &[Finding]| findings.iter().map(finding_json).collect::<Vec<_>>();
    let collections = report
        .collections
        .iter()
        .map(|saved| json!({ "name": saved.name, "was": saved.was, "records": saved.records, "views": saved.views }));
    let records = report.records.iter().map(|lost| {
        let damage = finding_json(&lost.damage);
        json!({ "collection": lost.collection, "id": lost.id, "number": lost.number, "damage": damage })
    });
    let segments = report.segments.iter().map(
        |lost| json!({ "collection": lost.collection, "records": lost.records, "damage": finding_json(&lost.damage) }),
    );
    let views = report
        .views
        .iter()
        .map(|lost| json!({ "collection": lost.collection, "name": lost.name, "damage": finding_json(&lost.damage) }));
    let revived = report.revived.iter().map(|back| {
        json!({
            "collection": back.collection, "segment": back.segment, "deleted": back.deleted, "known": back.known,
            "damage": finding_json(&back.damage),
        })
    });
    json!({
        "complete": report.is_complete(), "generation": report.generation, "manifests": list(&report.manifests), "logs": list(&report.logs),
        "collections": collections.collect::<Vec<_>>(),
        "lost": {
            "records": records.collect::<Vec<_>>(), "segments": segments.collect::<Vec<_>>(),
            "views": views.collect::<Vec<_>>(),
        },
        "revived": revived.collect::<Vec<_>>(),
    })
}
