//! `dataset fetch`: ESC-50 from the network. `dataset prepare`: a set of sounds in the folders that training scripts
//! expect.

use super::exit::Failure;
use super::output::Output;
use super::scratch::Scratch;
use super::sound::{left_out_json, tell_beside};
use crate::esc50::prepare::prepare;
use serde_json::json;
use std::path::PathBuf;

#[derive(clap::Subcommand)]
pub(super) enum Action {
    /// Download ESC-50
    Fetch(FetchArgs),
    /// Write DIR/{train,test,val}/CLASS/*.wav
    Prepare(PrepareArgs),
}

/// What can be fetched.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(super) enum Name {
    /// 2,000 environmental sounds of 50 classes, five seconds each; some 650 MB to download
    Esc50,
}

const FETCH_HELP: &str = "\
Downloads the archive of the data set into DIR.part, going on where an interrupted download ended, unpacks the table and the
sounds, checks that every sound the table names is there and can be read, and only then makes DIR. A complete set that is
there already is left alone. ESC-50 is under CC BY-NC 3.0.

Examples:
  otolith dataset fetch esc50
  otolith dataset fetch esc50 --out sounds/ESC-50
  otolith dataset fetch esc50 --url https://mirror.example/ESC-50-master.zip --sha256 HEX
  otolith compare --data ESC-50

With --json: {\"folder\", \"clips\", \"classes\", \"was_there\", \"licence\"}";

/// Download a data set.
#[derive(clap::Args)]
#[command(after_help = FETCH_HELP)]
pub(super) struct FetchArgs {
    /// Which
    name: Name,
    /// Where it goes; made when missing
    #[arg(long, value_name = "DIR", default_value = "ESC-50")]
    out: PathBuf,
    /// Another address of the archive than the author's
    #[arg(long)]
    url: Option<String>,
    /// What the archive must add up to
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
}

/// Write DIR/{train,test,val}/CLASS/*.wav: of each class 34 clips to train, 5 to test, 1 to validate.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  otolith dataset prepare --data ESC-50 prepared/")]
pub(super) struct PrepareArgs {
    /// Where to write; made when missing
    out: PathBuf,
    /// The set: ESC-50's own layout or folders of classes; the built-in sounds unless given
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Seed of the built-in sounds and of drawn folds
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub(super) fn run(action: Action, output: &mut Output) -> Result<(), Failure> {
    let args = match action {
        Action::Fetch(args) => return fetch(args, output),
        Action::Prepare(args) => args,
    };
    let scratch = Scratch::new()?;
    let set = scratch.data_set(args.data.as_deref(), args.seed)?;
    tell_beside(&set.beside, output);
    let prepared = prepare(&set, &args.out)?;
    if output.is_json() {
        let left_out = left_out_json(&set.beside.left_out);
        let unread: Vec<String> = set.beside.failed.iter().map(|(path, _)| path.display().to_string()).collect();
        return output.document(&json!({
            "train": prepared.train, "test": prepared.test, "val": prepared.val, "left_out": left_out, "unread": unread,
        }));
    }
    output.line(format_args!("{} train, {} test, {} val", prepared.train, prepared.test, prepared.val))
}

fn fetch(args: FetchArgs, output: &mut Output) -> Result<(), Failure> {
    use super::download::Bar;
    use crate::esc50::fetch::{LICENCE, Source, URL, fetch};
    use otolith::Error;
    use otolith::download::{Checksum, Retries};

    let Name::Esc50 = args.name;
    let checksum = args.sha256.map(|text| text.parse()).transpose()?;
    if matches!(checksum, Some(Checksum::GitBlob(_))) {
        return Err(Error::invalid("--sha256", "expected 64 hexadecimal digits").into());
    }
    let source = Source { url: args.url.as_deref().unwrap_or(URL), sha256: checksum, retries: Retries::default() };
    let bar = Bar::new(output);
    let fetched = fetch(&source, &args.out, &|progress| bar.show(progress))?;
    drop(bar);
    let (clips, classes) = (fetched.set.clips.len(), fetched.set.classes.len());
    let folder = args.out.display().to_string();
    if output.is_json() {
        return output.document(&json!({
            "folder": folder, "clips": clips, "classes": classes, "was_there": fetched.was_there, "licence": LICENCE,
        }));
    }
    if fetched.was_there {
        output.remark(format_args!("{folder}: a complete set is there already"));
    }
    output.line(format_args!("{folder}: {clips} clips of {classes} classes"))?;
    output.line(format_args!("licence: {LICENCE}"))?;
    output.line(format_args!("next: otolith compare --data {folder}"))
}
