//! `verify`: looks for damage and names every place of it.

use super::exit::Failure;
use super::output::Output;
use crate::store::{Depth, Options, verify_path};
use serde_json::json;
use std::path::PathBuf;

const HELP: &str = "\
Without --deep: the structure (manifest, headers, footers, tables). With --deep: every byte. Runs beside a writer.
With --json: {\"files\", \"bytes\", \"damage\": [{\"file\", \"offset\", \"what\", \"derived\"}], \"orphans\": [..]}. Exit code 3 when there is damage.";

/// Look for damage.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    /// The database, a directory
    db: PathBuf,
    /// Read every byte
    #[arg(long)]
    deep: bool,
}

pub(super) fn run(args: Args, output: &mut Output) -> Result<(), Failure> {
    let depth = if args.deep { Depth::Deep } else { Depth::Metadata };
    let report = verify_path(&args.db, Options::default(), depth)?;
    if output.is_json() {
        let damage: Vec<_> = report
            .findings
            .iter()
            .map(|found| {
                json!({ "file": found.path, "offset": found.offset, "what": found.what, "derived": found.derived })
            })
            .collect();
        output.document(
            &json!({ "files": report.files, "bytes": report.bytes, "damage": damage, "orphans": report.orphans }),
        )?;
    } else {
        for found in &report.findings {
            let at = found.offset.map(|offset| format!(" at byte {offset}")).unwrap_or_default();
            let remark = if found.derived { " (can be rebuilt)" } else { "" };
            output.line(format_args!("{}{at}: {}{remark}", found.path.display(), found.what))?;
        }
        output.line(format_args!("{} files, {} bytes read", report.files, report.bytes))?;
    }
    match report.findings.iter().filter(|found| !found.derived).count() {
        0 => Ok(()),
        places => Err(Failure::Damage(format!("{}: damage in {places} places", args.db.display()))),
    }
}
