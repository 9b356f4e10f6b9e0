//! `bench`: recall against speed on the user's own data.
//!
//! 1. The data goes into a database, the queries stay outside (`subject.rs`).
//! 2. The exact scan is timed. What it finds is the truth that all others are measured by (`asking.rs`).
//! 3. For each kind of index a database of its own, which shares the records with the first by hard links, so that
//!    nothing is stored twice and no index is in another's way: built, then tried from its cheapest setting to the one
//!    that finds nearly all.
//! 4. What a user would say instead of a setting is tried as well: the recall wanted.
//!
//! Searching is done on one thread, one query after another; building on all threads of the command.

mod asking;
mod plot;
mod report;
mod subject;

use super::exit::Failure;
use super::index::Kind;
use super::model::COLLECTION;
use super::output::Output;
use super::scratch::Scratch;
use crate::exchange::create_whole;
use asking::{Asking, Effort};
use clap::ValueEnum;
use otolith::Database;
use otolith::IndexKind;
use otolith::Metric;
use otolith::{Error, ErrorKind, Result};
use report::{Asked, Report, Setting, Way};
use std::io::Write;
use std::path::{Path, PathBuf};
use subject::Subject;

/// Recalls that are asked for.
const TARGETS: [f64; 3] = [0.9, 0.95, 0.99];

/// A way that finds this much finds all that anyone asks for: larger settings are not tried.
const NEARLY_ALL: f64 = 0.999;

const HELP: &str = "\
FILE and --queries are read as `import` reads them: .npy, .npz, .fvecs, .bvecs, .fbin, .u8bin, .i8bin, .parquet, a
directory. They are searched exactly, by a graph (hnsw) and by lists (ivf). A setting is a width of search, or a
number of lists; it is doubled until nearly all is found, or until the exact scan is faster. Recall is the share of
the exact answer that was found. The second table tells what `Query::recall` does when asked for 0.9, 0.95, 0.99: what
it chose, the recall that it promises (from where to where, with 90 % confidence), and the recall measured.

FILE is copied into a temporary database (TMPDIR says where). With --db nothing is copied or built: the exact scan and
the indexes that are there are measured, and without --queries some records are the queries, each left out of what it
finds.

Examples:
  otolith bench vectors.npy
  otolith bench base.fvecs --queries query.fvecs --metric l2 -k 100 --plot recall.svg
  otolith bench --db sounds.otolith --view mean

With --json: {\"otolith\", \"input\", \"records\", \"dim\", \"metric\", \"record_bytes\", \"queries\", \"k\",
\"exact\": {\"queries_per_second\", \"p50_ms\", \"p99_ms\"}, \"ways\": [{\"way\", \"build_seconds\",
\"bytes_per_record\", \"settings\": [{\"setting\", \"recall\", \"queries_per_second\", \"p50_ms\", \"p99_ms\"}],
\"asked\": [{\"target\", \"chosen\", \"low\", \"high\", \"recall\", \"queries_per_second\", \"p50_ms\",
\"p99_ms\"}]}], \"skipped\": [{\"way\", \"why\"}]}; `record_bytes` is what the rows of a record take,
`bytes_per_record` what the index takes beside it; `low` and `high` are null where the exact scan was chosen,
`build_seconds` where nothing was built.";

/// Measure recall and speed of exact and approximate search on your own data.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    /// Arrays or vectors to search in
    #[arg(value_name = "FILE", required_unless_present = "db", conflicts_with = "db")]
    input: Option<PathBuf>,
    /// Queries; some records of FILE, held out of the search, unless given
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    /// Number of queries: so many are held out, at most one record of ten, or so many of --queries are asked
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Number of hits
    #[arg(short, long, value_name = "K", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    k: u32,
    /// How records are compared: dot, cosine, l2
    #[arg(long, default_value = "cosine", conflicts_with = "db")]
    metric: String,
    /// Indexes to build and try besides the exact scan; all that suit the records unless given
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KIND,..", conflicts_with = "db")]
    ways: Vec<Kind>,
    /// Search in this database instead, as it is
    #[arg(long, value_name = "DIR")]
    db: Option<PathBuf>,
    /// The collection in it
    #[arg(long, short, value_name = "NAME", default_value = COLLECTION, conflicts_with = "input")]
    collection: String,
    /// Search in this view of it
    #[arg(long, value_name = "NAME", default_value = otolith::RAW, conflicts_with = "input")]
    view: String,
    /// Draw recall against queries a second
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

pub(super) fn run(args: Args, output: &mut Output) -> Result<(), Failure> {
    let (scratch, metric) = (Scratch::new()?, args.metric.parse::<Metric>()?);
    let queries = (args.queries.as_deref(), args.count);
    let (subject, name) = match (&args.db, &args.input) {
        (Some(db), _) => (Subject::existing(db, &args.collection, &args.view, queries)?, db),
        (None, Some(input)) => (Subject::load(input, metric, queries, &scratch.folder("exact"), output)?, input),
        (None, None) => return Err(Error::invalid("FILE", "give one, or --db").into()),
    };
    let mut asking = Asking::new(subject, args.k as usize)?;
    let truth = asking.ask(Effort::Exact, None, output)?;
    let mut report = Report::new(name, &asking, truth.speed)?;
    let mut bench = Bench { asking: &mut asking, truth: &truth.answers, report: &mut report, output };
    if args.db.is_some() {
        bench.try_existing()?;
    } else {
        let kinds = if args.ways.is_empty() { Kind::value_variants().to_vec() } else { args.ways };
        // The exact scan is measured in any case, and uses it.
        for kind in kinds.into_iter().filter(|kind| *kind != Kind::Sq8) {
            bench.try_new(kind, &scratch.folder(kind.name()))?;
        }
    }
    if let Some(path) = &args.plot {
        let failed = |error| Error::io(path, "write the plot", error);
        create_whole(path, |out| out.write_all(plot::draw(&report).as_bytes()).map_err(failed))?;
        output.remark(format_args!("plot written to {}", path.display()));
    }
    if output.is_json() { output.document(&report.to_json()) } else { output.text(&report.to_text()) }
}

/// A run of the command in the middle of its work.
struct Bench<'a> {
    asking: &'a mut Asking,
    truth: &'a [Vec<String>],
    report: &'a mut Report,
    output: &'a Output,
}

impl Bench<'_> {
    /// Measures the indexes that a database has.
    fn try_existing(&mut self) -> Result<()> {
        let subject = &self.asking.subject;
        let mut infos = subject.collection.indexes(&subject.view)?;
        // What exact searches use is measured as the exact scan.
        infos.retain(|info| info.kind != IndexKind::Sq8);
        if infos.is_empty() {
            self.report.skip("index", "the view has none: `otolith index build` makes one");
            return Ok(());
        }
        let mut kinds: Vec<IndexKind> = infos.iter().map(|info| info.kind).collect();
        kinds.sort_unstable_by_key(|kind| kind.name());
        kinds.dedup();
        let bytes = infos.iter().map(|info| info.bytes).sum();
        let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        self.measure(names.join("+"), self.first(&kinds), None, bytes)
    }

    /// Builds an index in a database of its own, and measures it.
    fn try_new(&mut self, kind: Kind, folder: &Path) -> Result<()> {
        let subject = &self.asking.subject;
        subject.db.backup_to(folder)?;
        let db = Database::open(folder)?;
        let collection = db.collection(subject.collection.name())?;
        let bar = self.output.progress(1, &format!("building {}", kind.name()));
        bar.tick();
        let built = collection.build_index(&subject.view, kind.into());
        bar.finish_and_clear();
        let infos = match built {
            // Of plain vectors there are no candidates, and of matrices no graph.
            Err(error) if error.kind() == ErrorKind::Caller => {
                self.report.skip(kind.name(), &error.to_string());
                return Ok(());
            }
            built => built?,
        };
        if infos.is_empty() {
            self.report.skip(kind.name(), "too few records to be worth it");
            return Ok(());
        }
        let seconds = infos.iter().filter_map(|info| info.built).map(|time| time.as_secs_f64()).sum();
        let bytes = infos.iter().map(|info| info.bytes).sum();
        let without = std::mem::replace(&mut self.asking.subject.collection, collection);
        let measured = self.measure(kind.name().to_owned(), self.first(&[kind.into()]), Some(seconds), bytes);
        self.asking.subject.collection = without;
        measured
    }

    /// The setting to begin with: a graph has to find as many rows as hits are wanted, a single list may do.
    fn first(&self, kinds: &[IndexKind]) -> usize {
        if kinds.contains(&IndexKind::Hnsw) { self.asking.k } else { 1 }
    }

    /// Tries settings from the first to the one that finds nearly all, then the recalls that a user may ask for.
    fn measure(&mut self, way: String, first: usize, build_seconds: Option<f64>, bytes: u64) -> Result<()> {
        let bytes_per_record = bytes as f64 / self.report.records.max(1) as f64;
        let mut result = Way { way, build_seconds, bytes_per_record, settings: Vec::new(), asked: Vec::new() };
        let mut setting = first;
        loop {
            let pass = self.asking.ask(Effort::Setting(setting), Some(self.truth), self.output)?;
            let enough =
                pass.recall >= NEARLY_ALL || pass.speed.queries_per_second < self.report.exact.queries_per_second;
            result.settings.push(Setting { setting, recall: pass.recall, speed: pass.speed });
            if enough || setting >= self.report.records {
                break;
            }
            setting *= 2;
        }
        for target in TARGETS {
            let pass = self.asking.ask(Effort::Recall(target), Some(self.truth), self.output)?;
            result.asked.push(Asked {
                target,
                chosen: pass.chosen,
                promised: pass.promised,
                recall: pass.recall,
                speed: pass.speed,
            });
        }
        self.report.ways.push(result);
        Ok(())
    }
}
