//! The promise of `Query::recall`: who asks for a share of the exact answer gets it, whatever the vectors are like,
//! whatever is filtered, deleted, replaced or not yet indexed.
//!
//! - `targets`: 0.9, 0.95 and 0.99 on ten sets of vectors (`sets`), by queries that are no records; 0.8 to 1 on ten
//!   more (`strangers`), whose queries come from elsewhere than the records.
//! - `filters`: selectivities from nothing to everything, and a filter that keeps what lies far from the query.
//! - `changes`: rounds of deleting and inserting, several segments, records in the log, records of no row and of two.
//!
//! `cargo test --release -p otolith --test recall -- --nocapture` prints a line `figure NAME = VALUE UNIT` for each
//! thing measured. Latencies are told, not judged. By default sets are small; `OTOLITH_NIGHTLY=1` asks for their full
//! sizes, some minutes on two cores. Real vectors are looked for in `../shared/vectors`. Those of sounds come from a
//! database of log-mel frames that `OTOLITH_ESC50_DB` names, as these leave it:
//!
//! ```text
//! otolith compare --data ESC-50 --db DIR --arms maxsim
//! otolith view create DIR white stack:-8,-4,-2,0,2,4,8 every:2 whiten:96 normalise --metric cosine
//! otolith view create DIR codes stack:-8,-4,-2,0,2,4,8 every:2 whiten:96 normalise codes:1000 pool:mean,max,std standardise whiten:100 --metric cosine
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod changes;
mod filters;
mod numbers;
mod sets;
mod strangers;
mod targets;

use numbers::Rows;
use otolith::query::Way;
use otolith::testing::store::Tuning;
use otolith::{Collection, Database, Hits, Metric, Record, Schema};
use otolith::{IndexInfo, IndexKind};
use rayon::prelude::*;
use tempfile::TempDir;

const TARGETS: [f64; 3] = [0.9, 0.95, 0.99];
/// How far below its target a measured recall may lie: what some hundred queries can be off by.
const CHANCE: f64 = 0.01;

fn nightly() -> bool {
    std::env::var_os("OTOLITH_NIGHTLY").is_some()
}

/// A database of its own with one collection, `records`.
struct World {
    records: Collection,
    db: Database,
    _folder: TempDir,
}

impl World {
    fn new(dim: usize, metric: Metric) -> World {
        let folder = tempfile::Builder::new().prefix("otolith-recall-").tempdir().unwrap();
        // Segments change when the test says so, and not in the background.
        let tuning = Tuning { background: false, ..Tuning::default() };
        let db = Database::options().tuning(tuning).open(folder.path().join("db")).unwrap();
        let records = db.create_collection("records", Schema::new(dim).metric(metric)).unwrap();
        World { records, db, _folder: folder }
    }

    /// A segment of records, and no more.
    fn load(&self, records: impl IntoIterator<Item = Record>) {
        let mut load = self.records.bulk_load().unwrap();
        records.into_iter().for_each(|record| load.push(record).unwrap());
        load.finish().unwrap();
    }

    /// A world of these rows in one segment, with a graph.
    fn of(rows: &Rows, metric: Metric) -> (World, IndexInfo) {
        let world = World::new(rows.dim(), metric);
        world.load((0..rows.len()).map(|number| record(number, rows)));
        let info = world.index();
        (world, info)
    }

    /// Builds what is missing; gives what there is of the first segment.
    fn index(&self) -> IndexInfo {
        self.records.build_index("raw", IndexKind::Hnsw).unwrap().swap_remove(0)
    }

    /// The answers to all queries, each made by `ask`.
    fn ask<'w>(
        &'w self,
        queries: &'w Rows,
        ask: impl Fn(otolith::Query<'w>) -> otolith::Query<'w> + Sync,
    ) -> Vec<Hits> {
        queries.matrices().par_iter().map(|query| ask(self.records.query(query)).run().unwrap()).collect()
    }
}

fn id(number: usize) -> String {
    format!("{number:07}")
}

fn record(number: usize, rows: &Rows) -> Record {
    Record::new(id(number), rows.matrix(number))
}

fn ids(hits: &Hits) -> Vec<&str> {
    hits.iter().map(|hit| hit.id.as_str()).collect()
}

/// The mean share of the expected ids that were found. Every answer must be as long as the exact one.
fn recall(expected: &[Hits], found: &[Hits]) -> f64 {
    assert_eq!(expected.len(), found.len());
    let shares = expected.iter().zip(found).map(|(expected, found)| {
        assert_eq!(expected.len(), found.len(), "as many hits as the exact answer has");
        let wanted = ids(expected);
        let there = ids(found).into_iter().filter(|id| wanted.contains(id)).count();
        if wanted.is_empty() { 1.0 } else { there as f64 / wanted.len() as f64 }
    });
    shares.sum::<f64>() / expected.len() as f64
}

/// The share of answers for which a graph was walked.
fn walked(answers: &[Hits]) -> f64 {
    let walked = |hits: &&Hits| hits.plan.segments.iter().any(|part| matches!(part.way, Way::Hnsw { .. }));
    answers.iter().filter(walked).count() as f64 / answers.len() as f64
}
