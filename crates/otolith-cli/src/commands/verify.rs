//! `verify`: looks for damage and names every place of it.

use super::exit::Failure;
use super::output::Output;
use otolith::{Database, Depth, Finding};
use serde_json::{Value, json};
use std::path::PathBuf;

const HELP: &str = "\
Without --deep: the structure (manifests, headers, footers, tables, lengths). With --deep: every byte and what it means.
With --derived: all that, and every derived row is made again and compared. Runs beside a writer.

Exit codes: 0 clean; 3 damage; 1 could not look. A derived file that is damaged does no harm (it is made again when it is
needed) and is listed without being counted; one that would be believed though its rows are wrong is damage. Then:
`otolith repair DB --out DIR` saves what is whole, `otolith repair DB --in-place` drops bad derived files.
With --json: {\"files\", \"bytes\", \"damage\": [{\"file\", \"offset\", \"what\", \"derived\"}], \"orphans\": [..]}.";

/// Look for damage.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    /// The database, a directory
    db: PathBuf,
    /// Read every byte
    #[arg(long)]
    deep: bool,
    /// Read every byte, make derived rows again and compare
    #[arg(long)]
    derived: bool,
}

pub(super) fn run(args: Args, output: &mut Output) -> Result<(), Failure> {
    let depth = match (args.derived, args.deep) {
        (true, _) => Depth::Derived,
        (false, true) => Depth::Deep,
        (false, false) => Depth::Metadata,
    };
    let report = Database::options().verify(&args.db, depth)?;
    if output.is_json() {
        let damage: Vec<Value> = report.findings.iter().map(finding_json).collect();
        let orphans = report.orphans.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        output
            .document(&json!({ "files": report.files, "bytes": report.bytes, "damage": damage, "orphans": orphans }))?;
    } else {
        for found in &report.findings {
            let remark = if found.derived { " (does no harm)" } else { "" };
            output.line(format_args!("{}{remark}", finding_text(found)))?;
        }
        output.line(format_args!("{} files, {} bytes read", report.files, report.bytes))?;
    }
    match report.findings.iter().filter(|found| !found.derived).count() {
        0 => Ok(()),
        places => Err(Failure::Damage(format!("{}: damage in {places} places", args.db.display()))),
    }
}

pub(super) fn finding_text(found: &Finding) -> String {
    let at = found.offset.map(|offset| format!(" at byte {offset}")).unwrap_or_default();
    format!("{}{at}: {}", found.path.display(), found.what)
}

pub(super) fn finding_json(found: &Finding) -> Value {
    json!({ "file": found.path.display().to_string(), "offset": found.offset, "what": found.what, "derived": found.derived })
}
