//! Derived files of every kind with their sums made right: what another program may have left there.

use super::altered::altered;
use super::sums::reseal_container;
use otolith::IndexKind;
use otolith::pipeline::{Statistic, Step};
use otolith::testing::index::always_use_planes;
use otolith::testing::store::vfs::MemoryVfs;
use otolith::testing::store::{Depth, Tuning};
use otolith::{Collection, Database, Matrix, Metric, Record, Result, Schema, View};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

const DB: &str = "/derived";

/// A database with codes, a graph, lists, candidates, planes, fields in columns and rows of a view, and where their files are.
static MADE: LazyLock<(MemoryVfs, Vec<PathBuf>)> = LazyLock::new(|| {
    let vfs = MemoryVfs::default();
    make(&vfs).expect("a database in memory");
    let is_derived = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "odrv");
    let files = vfs.files().into_iter().filter(is_derived).collect();
    (vfs, files)
});

/// Collections by name: rows of a record, numbers of a row, view.
const COLLECTIONS: [(&str, usize, usize, &str); 4] =
    [("graph", 1, 8, "raw"), ("lists", 1, 6, "raw"), ("sounds", 4, 4, "raw"), ("viewed", 2, 6, "mean")];

fn make(vfs: &MemoryVfs) -> Result<()> {
    let db = open(vfs, false)?;
    for (name, rows, dim, view) in COLLECTIONS {
        let collection = db.create_collection(name, Schema::new(dim).metric(Metric::Cosine))?;
        let records = if rows == 4 { 120 } else { 1_010 };
        let class = |n: usize| ["dog", "rain", "bird"][n % 3];
        let record =
            |n| Record::new(format!("{n:04}"), matrix(n, rows, dim)).field("class", class(n)).field("n", n as f64);
        collection.upsert((0..records).map(record))?;
        collection.delete(["0003"])?;
        db.flush()?;
        if view != "raw" {
            collection.create_view(view, &View::new([Step::Pool(vec![Statistic::Mean])]))?;
        }
        let kind = match name {
            "lists" => IndexKind::Ivf,
            "sounds" => IndexKind::Candidates,
            _ => IndexKind::Hnsw,
        };
        collection.build_index(view, kind)?;
        search(&collection, rows, dim, view);
    }
    db.close()
}

fn open(vfs: &MemoryVfs, read_only: bool) -> Result<Database> {
    let tuning = Tuning { background: false, reserve_bytes: 0, ..Tuning::default() };
    let options = Database::options().vfs(Arc::new(vfs.clone())).tuning(tuning);
    if read_only { options.read_only().open(DB) } else { options.open(DB) }
}

fn matrix(seed: usize, rows: usize, dim: usize) -> Matrix {
    let value = |n: usize| ((seed * 7 + n) as f32 * 0.731).sin() + 0.3 * ((seed + 3 * n) as f32).cos();
    Matrix::from_rows(rows, dim, (0..rows * dim).map(value).collect()).expect("finite numbers")
}

/// Asks in every way; what is damaged may refuse, and may not panic.
fn search(collection: &Collection, rows: usize, dim: usize, view: &str) {
    always_use_planes();
    let query = matrix(17, rows, dim);
    let ask = || collection.query(&query).view(view).k(5);
    let asked = [
        ask(),
        ask().recall(0.9),
        ask().ef(20).nprobe(20).candidates(20),
        // Different ones twice, so that there are fields in columns.
        ask().filter("class = 'dog'"),
        ask().filter("n > 10 and not class in ('rain', 'dog')").recall(0.9),
        ask().filter("class = 'bird'").exact(),
    ];
    for hits in asked.into_iter().filter_map(|query| query.run().ok()) {
        assert!(hits.iter().all(|hit| !hit.score.is_nan()), "a score that is no number");
    }
    let _ = collection.indexes(view);
}

/// One derived file altered, its sums right: anything but a panic, and the records are what they were. Input: which
/// file, how, then as `altered` reads it.
pub fn derived(bytes: &[u8]) {
    let [which, how, input @ ..] = bytes else { return };
    let (made, files) = &*MADE;
    let path: &Path = &files[usize::from(*which) % files.len()];
    let vfs = made.copy().expect("memory");
    let mut file = altered(&vfs.read(path).expect("a file"), *how, input);
    reseal_container(&mut file);
    vfs.write(path, &file).expect("memory");
    let db = open(&vfs, true).expect("what is derived keeps no database shut");
    for (name, rows, dim, view) in COLLECTIONS {
        search(&db.collection(name).expect("a collection"), rows, dim, view);
    }
    let report = db.verify(Depth::Metadata).expect("a report");
    assert!(report.findings.iter().all(|finding| finding.derived), "{:?}", report.findings);
}
