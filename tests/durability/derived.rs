//! What is made of the records and can be made again: codes, graphs, lists, candidates, planes, fields in columns, rows
//! of views. Whatever happens to these files, answers stay what they are.

use crate::damaged::is_derived;
use otolith::IndexKind;
use otolith::pipeline::{Statistic, Step};
use otolith::testing::index::always_use_planes;
use otolith::testing::store::Tuning;
use otolith::testing::store::vfs::MemoryVfs;
use otolith::{Collection, Database, Hits, Matrix, Metric, Record, Result, Schema, View};
use rayon::prelude::*;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const DB: &str = "/derived.otolith";
const K: usize = 10;
/// A filter that two of three records meet.
const FILTER: &str = "class != 'rain'";

/// A collection that has files of some kinds, and what it answers.
struct Subject {
    name: &'static str,
    view: &'static str,
    queries: Vec<Matrix>,
    /// Id and bits of the score, a list a query: of all records, then of those that meet the filter.
    exact: [Vec<Vec<(String, u64)>>; 2],
}

/// A database whose derived files are to be damaged.
struct Made {
    vfs: MemoryVfs,
    subjects: Vec<Subject>,
}

/// What is done to a file.
#[derive(Clone, Copy)]
enum Harm<'a> {
    /// A bit of this byte is flipped.
    Flipped(usize),
    /// It ends here.
    Cut(usize),
    /// It is zeros from here on.
    Zeroed(usize),
    Gone,
    /// It changes places with this other file.
    Exchanged(&'a Path),
    /// It is the one that another database has under this name.
    Foreign(&'a Made),
}

impl fmt::Display for Harm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Harm::Flipped(at) => write!(f, "a bit of byte {at}"),
            Harm::Cut(length) => write!(f, "cut to {length} bytes"),
            Harm::Zeroed(from) => write!(f, "zeros from {from}"),
            Harm::Gone => f.write_str("gone"),
            Harm::Exchanged(other) => write!(f, "exchanged with {}", other.display()),
            Harm::Foreign(_) => f.write_str("of another database"),
        }
    }
}

impl<'a> Harm<'a> {
    /// Does it, and gives the other file that was hit.
    fn befall(self, made: &Made, vfs: &MemoryVfs, path: &Path) -> Option<&'a Path> {
        let mut bytes = made.vfs.read(path).unwrap();
        match self {
            Harm::Flipped(at) => bytes[at] ^= 1 << (at % 8),
            Harm::Cut(length) => bytes.truncate(length),
            Harm::Zeroed(from) => bytes[from..].fill(0),
            Harm::Foreign(other) => bytes = other.vfs.read(path).unwrap(),
            Harm::Gone => {
                vfs.remove(path).unwrap();
                return None;
            }
            Harm::Exchanged(other) => {
                vfs.write(other, &bytes).unwrap();
                vfs.write(path, &made.vfs.read(other).unwrap()).unwrap();
                return Some(other);
            }
        }
        vfs.write(path, &bytes).unwrap();
        None
    }
}

/// Numbers without end, the same every time.
fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

fn matrix(seed: u64, rows: usize, dim: usize) -> Matrix {
    let (mut place, mut own) = (noise(seed % 23), noise(seed + 1_000));
    let values = (0..rows * dim).map(|_| place() + 0.5 * own());
    Matrix::from_rows(rows, dim, values.collect()).unwrap()
}

fn open(vfs: &MemoryVfs, read_only: bool) -> Result<Database> {
    let tuning = Tuning { background: false, reserve_bytes: 0, ..Tuning::default() };
    let options = Database::options().vfs(Arc::new(vfs.clone())).tuning(tuning);
    if read_only { options.read_only().open(DB) } else { options.open(DB) }
}

impl Made {
    /// `seed` makes the records other ones.
    fn new(seed: u64) -> Made {
        always_use_planes();
        let vfs = MemoryVfs::default();
        let db = open(&vfs, false).unwrap();
        // By name: view, records, rows of a record, numbers of a row, index.
        let subjects = [
            // so many numbers that codes are made of them without an index
            ("codes", "raw", 1_050, 1, 1_024, None),
            ("graph", "raw", 1_100, 1, 8, Some(IndexKind::Hnsw)),
            ("sounds", "raw", 240, 6, 8, Some(IndexKind::Candidates)),
            ("viewed", "mean", 1_030, 2, 8, Some(IndexKind::Hnsw)),
            ("lists", "raw", 2_000, 1, 24, Some(IndexKind::Ivf)),
        ];
        let subjects = subjects.map(|(name, view, records, rows, dim, index)| {
            let collection = db.create_collection(name, Schema::new(dim).metric(Metric::Cosine)).unwrap();
            let class = |n: u64| ["dog", "rain", "bird"][n as usize % 3];
            let record = |n| {
                Record::new(format!("{n:04}"), matrix(seed + n, rows, dim))
                    .field("class", class(n))
                    .field("n", n as f64)
            };
            collection.upsert((0..records).map(record)).unwrap();
            collection.delete(["0003", "0005"]).unwrap();
            db.flush().unwrap();
            if view != "raw" {
                collection.create_view(view, &View::new([Step::Pool(vec![Statistic::Mean])])).unwrap();
            }
            if let Some(kind) = index {
                assert_eq!(collection.build_index(view, kind).unwrap().len(), 1);
            }
            let queries: Vec<Matrix> = (0..4).map(|n| matrix(7_000 + n, rows, dim)).collect();
            // Asked twice, so that there are fields in columns.
            for filter in ["class = 'dog'", "class = 'bird'", FILTER] {
                collection.query(&queries[0]).view(view).filter(filter).run().unwrap();
            }
            let exact = [None, Some(FILTER)].map(|filter| {
                queries.iter().map(|query| told(&ask(&collection, view, query, filter, None).unwrap())).collect()
            });
            Subject { name, view, queries, exact }
        });
        db.close().unwrap();
        Made { vfs, subjects: subjects.into() }
    }

    fn files(&self) -> Vec<PathBuf> {
        self.vfs.files().into_iter().filter(|path| is_derived(path)).collect()
    }

    /// The subject that a file is of.
    fn subject(&self, path: &Path) -> &Subject {
        let segment = |path: &Path| path.file_name().unwrap().to_string_lossy()[..16].to_owned();
        let mut segments: Vec<String> = self.files().iter().map(|path| segment(path)).collect();
        segments.dedup();
        &self.subjects[segments.iter().position(|other| *other == segment(path)).unwrap()]
    }
}

fn ask(collection: &Collection, view: &str, query: &Matrix, filter: Option<&str>, recall: Option<f64>) -> Result<Hits> {
    let mut query = collection.query(query).view(view).k(K);
    if let Some(filter) = filter {
        query = query.filter(filter);
    }
    match recall {
        Some(target) => query.recall(target).run(),
        None => query.run(),
    }
}

fn told(hits: &Hits) -> Vec<(String, u64)> {
    hits.iter().map(|hit| (hit.id.clone(), hit.score.to_bits())).collect()
}

/// Asks everything of one collection; what is wrong, in words. The second number is how many approximate answers there
/// were.
fn check(db: &Database, subject: &Subject) -> std::result::Result<usize, String> {
    always_use_planes();
    let text = |error: otolith::Error| error.to_string();
    let collection = db.collection(subject.name).map_err(text)?;
    let (mut shared, mut asked, mut approximate) = (0, 0, 0);
    for (filter, answers) in [None, Some(FILTER)].into_iter().zip(&subject.exact) {
        for (query, exact) in subject.queries.iter().zip(answers) {
            let hits = ask(&collection, subject.view, query, filter, None).map_err(text)?;
            if told(&hits) != *exact || !hits.certificate.is_exact() {
                return Err(format!("{filter:?}: {:?} instead of {exact:?}", told(&hits)));
            }
            let hits = ask(&collection, subject.view, query, filter, Some(0.95)).map_err(text)?;
            approximate += usize::from(!hits.certificate.is_exact());
            let found = told(&hits);
            if found.len() != exact.len() || !found.is_sorted_by(|a, b| f64::from_bits(a.1) >= f64::from_bits(b.1)) {
                return Err(format!("{filter:?}: {found:?} for a recall"));
            }
            for (id, score) in &found {
                if exact.iter().any(|(other, exact)| id == other && score != exact) {
                    return Err(format!("{filter:?}: {id} scores {}", f64::from_bits(*score)));
                }
            }
            shared += exact.iter().filter(|hit| found.contains(hit)).count();
            asked += exact.len();
        }
    }
    if (shared as f64) < 0.85 * asked as f64 {
        return Err(format!("{shared} of {asked} found"));
    }
    Ok(approximate)
}

/// Does a file harm, and asks: who only reads, and sometimes who also writes, twice.
fn try_one(made: &Made, vfs: &MemoryVfs, path: &Path, harm: Harm<'_>, writes: bool) {
    let other = harm.befall(made, vfs, path);
    let hit: Vec<&Path> = std::iter::once(path).chain(other).collect();
    for subject in hit.iter().map(|path| made.subject(path)) {
        let wrong = |why| panic!("{}: {harm}: {}: {why}", path.display(), subject.name);
        check(&open(vfs, true).unwrap(), subject).unwrap_or_else(wrong);
        if writes {
            let vfs = vfs.copy().unwrap();
            for _ in 0..2 {
                let db = open(&vfs, false).unwrap();
                check(&db, subject).unwrap_or_else(wrong);
                db.close().unwrap();
            }
        }
    }
    hit.iter().for_each(|path| vfs.write(path, &made.vfs.read(path).unwrap()).unwrap());
}

/// So many places in a file, evenly spread.
fn places(len: usize, most: usize) -> impl Iterator<Item = usize> {
    (0..len).step_by(len.div_ceil(most).max(1))
}

#[test]
fn a_derived_file_that_is_broken_stale_or_gone_costs_no_answer() {
    let (made, other) = (Made::new(0), Made::new(100_000));
    let files = made.files();
    let kinds =
        |kind: &str| files.iter().filter(|path| path.to_string_lossy().ends_with(&format!("-{kind}.odrv"))).count();
    let found = ["codes", "graph", "lists", "centroids", "planes", "fields", "rows"].map(kinds);
    assert_eq!(found, [1, 2, 1, 1, 1, 4, 1], "{files:?}");
    let db = open(&made.vfs, true).unwrap();
    for subject in &made.subjects {
        let approximate = check(&db, subject).unwrap();
        assert!(approximate > 0 || subject.name == "codes", "{} is not searched by its index", subject.name);
    }
    drop(db);

    let mut cases: Vec<(&Path, Harm<'_>)> = Vec::new();
    for path in &files {
        let len = made.vfs.read(path).unwrap().len();
        // Asking takes as long as there are numbers.
        let (flips, cuts) = if made.subject(path).name == "codes" { (60, 8) } else { (330, 30) };
        let mut add = |harm| cases.push((path, harm));
        places(len, crate::count(flips, 60 * flips)).map(Harm::Flipped).for_each(&mut add);
        places(len, crate::count(cuts, cuts)).flat_map(|at| [Harm::Cut(at), Harm::Zeroed(at)]).for_each(&mut add);
        add(Harm::Gone);
        add(Harm::Foreign(&other));
        files.iter().filter(|other| *other > path).map(|other| Harm::Exchanged(other)).for_each(&mut add);
    }
    let next = AtomicUsize::new(0);
    let workers = rayon::current_num_threads();
    (0..workers).into_par_iter().for_each(|_| {
        let vfs = made.vfs.copy().unwrap();
        while let Some((path, harm)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            try_one(&made, &vfs, path, *harm, next.load(Ordering::Relaxed).is_multiple_of(8));
        }
    });
    println!("figure bit_flip_derived_cases = {} cases", cases.len());
    assert!(cases.len() >= crate::count(2_000, 100_000));
}

#[test]
fn a_damaged_vector_leaves_its_place_to_others() {
    let made = Made::new(0);
    for subject in made.subjects.iter().filter(|subject| ["codes", "graph", "lists"].contains(&subject.name)) {
        let vfs = made.vfs.copy().unwrap();
        let (best, _) = &subject.exact[0][0][0];
        let row = matrix(best.parse().unwrap(), 1, subject.queries[0].dim());
        let bytes: Vec<u8> = row.values().iter().flat_map(|value| value.to_le_bytes()).collect();
        let segments = vfs.files().into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "oseg"));
        let hit = segments.filter(|path| {
            let mut all = vfs.read(path).unwrap();
            let Some(at) = all.windows(bytes.len()).position(|window| window == bytes) else { return false };
            all[at] ^= 1;
            vfs.write(path, &all).unwrap();
            true
        });
        // Others begin with the same numbers.
        assert!(hit.count() > 0, "{}: record {best} lies in no segment", subject.name);
        let db = open(&vfs, true).unwrap();
        let collection = db.collection(subject.name).unwrap();
        for recall in [None, Some(0.95)] {
            let hits = ask(&collection, subject.view, &subject.queries[0], None, recall).unwrap();
            assert_eq!(hits.len(), K, "{} {recall:?}: {}", subject.name, hits.plan);
            assert!(hits.iter().all(|hit| hit.id != *best) && !hits.certificate.is_exact(), "{}", subject.name);
            assert!(!hits.unreadable.is_empty(), "{}", subject.name);
        }
    }
}
