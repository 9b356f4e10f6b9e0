//! Search for plain vectors by every way there is: `cargo bench -p otolith --bench search`.
//!
//! Five dims, three sizes each; `OTOLITH_BENCH_SCALE=4` makes all sizes four times as large (default 1: some minutes in
//! all). Searching is done on one thread, building on all. Per size:
//!
//! - `build`: an index over the smallest size, if it gets one, again and again; of every size the first build is told
//!   as a `figure`.
//! - `search`: ten hits exactly (`exact`), and with a recall of 0.95 by a database that has a graph (`hnsw`) or lists
//!   (`ivf`). What was found is compared with the exact answer, and told as a `figure`.
//! - `filtered`: the same among the hundredth part of the records that a filter keeps.
//! - `open`: opening the database, with its graph if it has one, and the first answer.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)] // a bench tells its figures

mod frames;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use frames::frames;
use otolith::IndexKind;
use otolith::{Collection, Database, Hits, Matrix, Metric, Query, Record, Schema};
use rayon::ThreadPool;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const DIMS: [usize; 5] = [64, 384, 1_536, 32_768, 127_488];
const SHORT: [usize; 3] = [2_000, 8_000, 32_000];
const LONG: [usize; 3] = [200, 500, 2_000];
const QUERIES: usize = 50;
const TARGET: f64 = 0.95;
/// Fewer hits than this are found only by mistake: the target, less what fifty queries can be off by chance.
const LEAST: f64 = 0.85;

/// The same records in a database without an index, and in one for each kind of index that is built over so many.
struct Sets {
    folder: TempDir,
    plain: Collection,
    indexed: Vec<(IndexKind, Collection)>,
    queries: Vec<Matrix>,
}

impl Sets {
    /// Rows that wander; some of them, at equal distances, are the queries.
    fn new(dim: usize, count: usize) -> Sets {
        let folder = tempfile::Builder::new().prefix("otolith-bench-").tempdir().unwrap();
        let db = Database::open(folder.path().join("plain")).unwrap();
        let plain = db.create_collection("records", Schema::new(dim).metric(Metric::Cosine)).unwrap();
        let (rows, every) = (frames(7, count + QUERIES, dim), (count + QUERIES) / QUERIES);
        let (mut load, mut queries, mut records) = (plain.bulk_load().unwrap(), Vec::new(), 0..);
        for (number, row) in rows.values().chunks_exact(dim).enumerate() {
            let row = Matrix::from_vector(row.to_vec()).unwrap();
            if number % every == every / 2 && queries.len() < QUERIES {
                queries.push(row);
            } else {
                let record: u32 = records.next().unwrap();
                load.push(Record::new(format!("{record:08}"), row).field("part", record % 100)).unwrap();
            }
        }
        load.finish().unwrap();
        let built = |kind| Some((kind, build(&db, folder.path(), kind, dim, count)?));
        let indexed = [IndexKind::Hnsw, IndexKind::Ivf].into_iter().filter_map(built).collect();
        Sets { folder, plain, indexed, queries }
    }

    /// The database that is searched the fastest.
    fn path(&self) -> PathBuf {
        self.folder.path().join(self.indexed.first().map_or("plain", |(kind, _)| kind.name()))
    }
}

/// Builds an index in a copy of the database, which shares the records with it; none over records so few that it is not
/// worth it.
fn build(db: &Database, folder: &Path, kind: IndexKind, dim: usize, count: usize) -> Option<Collection> {
    let path = folder.join(kind.name());
    db.backup_to(&path).unwrap();
    let collection = Database::open(&path).unwrap().collection("records").unwrap();
    let begin = Instant::now();
    let infos = collection.build_index("raw", kind).unwrap();
    if infos.is_empty() {
        return None;
    }
    let (seconds, bytes) = (begin.elapsed().as_secs_f64(), infos.iter().map(|info| info.bytes).sum::<u64>());
    let name = format!("{}_{dim}x{count}", kind.name());
    println!("figure build_{name} = {seconds:.3} s");
    println!("figure index_bytes_{name} = {:.0} bytes/record", bytes as f64 / count as f64);
    Some(collection)
}

fn ids(query: Query<'_>) -> Vec<String> {
    query.run().unwrap().iter().map(|hit| hit.id.clone()).collect()
}

/// The mean share of the exact answers that a database finds.
fn recall(sets: &Sets, collection: &Collection, ask: impl for<'q> Fn(Query<'q>) -> Query<'q>) -> f64 {
    let of_one = |query: &Matrix| {
        let truth = ids(ask(sets.plain.query(query)));
        let found = ids(ask(collection.query(query)).recall(TARGET));
        assert!(!truth.is_empty() && found.len() == truth.len());
        truth.iter().filter(|id| found.contains(id)).count() as f64 / truth.len() as f64
    };
    sets.queries.iter().map(of_one).sum::<f64>() / sets.queries.len() as f64
}

fn search(criterion: &mut Criterion) {
    let scale = std::env::var("OTOLITH_BENCH_SCALE").map_or(1, |scale| scale.parse::<usize>().unwrap());
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for dim in DIMS {
        let counts = if dim < 10_000 { SHORT } else { LONG };
        for count in counts.map(|count| count * scale) {
            let (sets, size) = (Sets::new(dim, count), format!("{dim}x{count}"));
            answers(criterion, "search", &sets, &size, &one_thread, |query| query);
            answers(criterion, "filtered", &sets, &size, &one_thread, |query| query.filter("part = 7"));
            opening(criterion, &sets, &size, &one_thread);
            if count == counts[0] * scale {
                building(criterion, &sets, &size, count);
            }
        }
    }
}

fn answers(
    criterion: &mut Criterion,
    name: &str,
    sets: &Sets,
    size: &str,
    one_thread: &ThreadPool,
    ask: impl for<'q> Fn(Query<'q>) -> Query<'q> + Copy + Sync,
) {
    let mut group = criterion.benchmark_group(name);
    let mut bench = |way: &str, query: &(dyn Fn(usize) -> Hits + Sync)| {
        group.bench_function(BenchmarkId::new(way, size), |bencher| {
            bencher.iter_custom(|times| timed(one_thread, times, query));
        });
    };
    let asked = |collection: &Collection, number: usize| ask(collection.query(&sets.queries[number % QUERIES]));
    bench("exact", &|number| asked(&sets.plain, number).run().unwrap());
    for (kind, collection) in &sets.indexed {
        let found = recall(sets, collection, ask);
        println!("figure recall_{name}_{}_{size} = {found:.4}", kind.name());
        assert!(found >= LEAST, "{name} by {}: recall {found}", kind.name());
        bench(kind.name(), &|number| asked(collection, number).recall(TARGET).run().unwrap());
    }
}

fn opening(criterion: &mut Criterion, sets: &Sets, size: &str, one_thread: &ThreadPool) {
    let path = sets.path();
    let open = || Database::open_read_only(&path).unwrap().collection("records").unwrap();
    let mut group = criterion.benchmark_group("open");
    group.bench_function(BenchmarkId::new("alone", size), |bencher| bencher.iter(open));
    group.bench_function(BenchmarkId::new("first_answer", size), |bencher| {
        let first = |_| open().query(&sets.queries[0]).recall(TARGET).run().unwrap();
        bencher.iter_custom(|times| timed(one_thread, times, &first));
    });
}

/// How long so many queries take on the thread of the pool.
fn timed(one_thread: &ThreadPool, times: u64, query: &(dyn Fn(usize) -> Hits + Sync)) -> Duration {
    one_thread.install(|| {
        let begin = Instant::now();
        for number in 0..times {
            black_box(query(number as usize));
        }
        begin.elapsed()
    })
}

/// Each build needs a database that has no index yet; making it is not timed.
fn building(criterion: &mut Criterion, sets: &Sets, size: &str, count: usize) {
    let plain = Database::open_read_only(sets.folder.path().join("plain")).unwrap();
    let mut group = criterion.benchmark_group("build");
    group.throughput(Throughput::Elements(count as u64));
    for &(kind, _) in &sets.indexed {
        group.bench_function(BenchmarkId::new(kind.name(), size), |bencher| {
            bencher.iter_custom(|times| {
                let once = |_| {
                    let copy = sets.folder.path().join("copy");
                    plain.backup_to(&copy).unwrap();
                    let collection = Database::open(&copy).unwrap().collection("records").unwrap();
                    let begin = Instant::now();
                    collection.build_index("raw", kind).unwrap();
                    let time = begin.elapsed();
                    drop(collection);
                    std::fs::remove_dir_all(&copy).unwrap();
                    time
                };
                (0..times).map(once).sum()
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    targets = search
}
criterion_main!(benches);
