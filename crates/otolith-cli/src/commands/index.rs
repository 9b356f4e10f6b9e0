//! `index build|list`.

use super::exit::Failure;
use super::model::Target;
use super::output::{Output, table};
use crate::exchange;
use otolith::RAW;
use otolith::Result;
use otolith::{Database, DatabaseOptions};
use otolith::{IndexInfo, IndexKind};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Recalls that are listed for people, and of how many hits.
const TARGETS: [f64; 3] = [0.9, 0.95, 0.99];
const K: u64 = 10;
/// Queries that are read to measure with; more tell no more.
const MOST_QUERIES: usize = 1_000;

#[derive(clap::Subcommand)]
pub(super) enum Action {
    /// Build an index over each segment that has none yet
    Build(BuildArgs),
    /// List indexes, with the recall that each measured of itself
    List(ListArgs),
}

/// A kind of index.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// A navigable graph over plain vectors: the fastest to search
    Hnsw,
    /// Plain vectors in lists: quickly built, for collections larger than memory
    Ivf,
    /// For records of several rows: which of them are likely to be among the best
    Candidates,
    /// Numbers in a byte each, for exact searches, which make them after a few in one process
    Sq8,
}

const BUILD_HELP: &str = "\
An index serves queries that ask for a recall (`Query::recall`); others are answered exactly, with or without it, and
sq8 makes these faster. It is kept beside its segment and may be deleted at any time: queries then take longer.
Segments of few records get none, scanning them is faster.

Examples:
  otolith index build vectors.otolith
  otolith index build sounds.otolith --view mean
  otolith index build large.otolith --kind ivf
  otolith index build sounds.otolith --view white --kind candidates
  otolith index build sounds.otolith --kind sq8
  otolith index build pictures.otolith --queries texts.npy

An index measures its recall with some of the records. A search with --recall by a query that is unlike them (a text
that asks for pictures, say) is recognised and answered exactly, which takes longer. With --queries the index is built
anew and measured with these queries too (the first 1,000 of them, as raw rows; some hundred are enough), so that
others like them are answered by the index.

With --json: as `index list`; `seconds` is null for an index that was there already.";

const LIST_HELP: &str = "\
Recall is that of the index's own test queries, which it asked when it was built: at which setting (a width of search,
a number of lists or of candidates) it found which share of the exact answer.

With --json: {\"indexes\": [{\"view\", \"segment\", \"kind\", \"records\", \"rows\", \"bytes\", \"seconds\",
\"curve\": [{\"source\", \"k\", \"setting\", \"recall\", \"deviation\", \"queries\"}]}]}; `source` says who asked:
\"records\", or the \"queries\" given to `index build`.";

/// Build an index.
#[derive(clap::Args)]
#[command(after_help = BUILD_HELP)]
pub(super) struct BuildArgs {
    #[command(flatten)]
    target: Target,
    /// The view whose rows it is over
    #[arg(long, value_name = "NAME", default_value = RAW)]
    view: String,
    /// What to build
    #[arg(long, value_enum, default_value_t = Kind::Hnsw)]
    kind: Kind,
    /// Queries, read as `bench` reads them, that the index is to be measured with too
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
}

/// List indexes.
#[derive(clap::Args)]
#[command(after_help = LIST_HELP)]
pub(super) struct ListArgs {
    #[command(flatten)]
    target: Target,
    /// Only those of this view
    #[arg(long, value_name = "NAME")]
    view: Option<String>,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        IndexKind::from(self).name()
    }
}

impl From<Kind> for IndexKind {
    fn from(kind: Kind) -> IndexKind {
        match kind {
            Kind::Hnsw => IndexKind::Hnsw,
            Kind::Ivf => IndexKind::Ivf,
            Kind::Candidates => IndexKind::Candidates,
            Kind::Sq8 => IndexKind::Sq8,
        }
    }
}

pub(super) fn run(action: Action, opening: DatabaseOptions, output: &mut Output) -> Result<(), Failure> {
    match action {
        Action::Build(args) => {
            let db = opening.must_exist().open(&args.target.db)?;
            let collection = db.collection(&args.target.collection)?;
            let queries = match &args.queries {
                Some(path) => exchange::open(path, &exchange::Naming::default())?
                    .records
                    .take(MOST_QUERIES)
                    .map(|query| Ok(query?.matrix))
                    .collect::<Result<Vec<_>>>()?,
                None => Vec::new(),
            };
            let bar = output.progress(1, "building");
            bar.tick();
            let built = collection.build_index_with(&args.view, args.kind.into(), &queries);
            bar.finish_and_clear();
            let built = built?;
            if built.is_empty() {
                output.remark("nothing built: too few records to be worth an index");
            }
            show(built.iter().map(|info| (args.view.as_str(), info)), output)
        }
        Action::List(args) => {
            let collection = Database::open_read_only(&args.target.db)?.collection(&args.target.collection)?;
            let views = match args.view {
                Some(view) => vec![view],
                None => {
                    [RAW.to_owned()].into_iter().chain(collection.views()?.into_iter().map(|view| view.name)).collect()
                }
            };
            let of = |view: &String| Ok((view.clone(), collection.indexes(view)?));
            let infos = views.iter().map(of).collect::<Result<Vec<(String, Vec<IndexInfo>)>>>()?;
            show(infos.iter().flat_map(|(view, infos)| infos.iter().map(move |info| (view.as_str(), info))), output)
        }
    }
}

fn show<'a>(infos: impl Iterator<Item = (&'a str, &'a IndexInfo)>, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        let indexes: Vec<Value> = infos.map(|(view, info)| describe(view, info)).collect();
        return output.document(&json!({ "indexes": indexes }));
    }
    let rows: Vec<Vec<String>> = infos.map(|(view, info)| cells(view, info)).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let settings = TARGETS.map(|target| format!("{target}"));
    let [low, middle, high] = &settings;
    let head = ["view", "kind", "segment", "records", "rows", "MB", "build s", low, middle, high];
    output.text(&table(&head, 2, rows))?;
    output.remark(format_args!(
        "the last columns: settings that have these recalls for {K} hits, as the index measured itself"
    ));
    Ok(())
}

fn cells(view: &str, info: &IndexInfo) -> Vec<String> {
    let seconds = info.built.map_or_else(|| "-".to_owned(), |time| format!("{:.1}", time.as_secs_f64()));
    let megabytes = format!("{:.1}", info.bytes as f64 / 1e6);
    let (segment, records, rows) = (info.segment.to_string(), info.records.to_string(), info.rows.to_string());
    let mut cells = vec![view.to_owned(), info.kind.name().to_owned(), segment, records, rows, megabytes, seconds];
    let setting = |target| info.curve.setting(K, target).map_or_else(|| "-".to_owned(), |setting| setting.to_string());
    cells.extend(TARGETS.map(setting));
    cells
}

fn describe(view: &str, info: &IndexInfo) -> Value {
    let curve = info.curve.entries().iter().map(|entry| {
        json!({
            "source": entry.source.name(), "k": entry.k, "setting": entry.setting, "recall": entry.mean, "deviation": entry.deviation, "queries": entry.queries,
        })
    });
    json!({
        "view": view, "segment": info.segment, "kind": info.kind.name(), "records": info.records, "rows": info.rows,
        "bytes": info.bytes, "seconds": info.built.map(|time| time.as_secs_f64()), "curve": curve.collect::<Vec<_>>(),
    })
}
