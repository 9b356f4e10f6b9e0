//! What the parts share: records, rivals, the disk, and how results are printed.

use lmdb::{DatabaseFlags, Environment, Transaction, WriteFlags};
use otolith::{Collection, Database, Matrix, Record, Schema};
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Five seconds of wav2vec2 features.
pub(crate) const ROWS: usize = 249;
pub(crate) const DIM: usize = 512;
pub(crate) const RECORD_BYTES: usize = ROWS * DIM * 4;
/// Length of LMDB's map, which must be chosen beforehand.
const LMDB_BYTES: usize = 1 << 40;

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().map_or(default, |value| value.parse().unwrap())
}

pub(crate) fn records() -> usize {
    setting("OTOLITH_BENCH_RECORDS", 200)
}

pub(crate) fn rounds() -> usize {
    setting("OTOLITH_BENCH_ROUNDS", 5)
}

pub(crate) fn commits() -> usize {
    setting("OTOLITH_BENCH_COMMITS", 1_000)
}

pub(crate) fn figure(name: &str, value: f64, unit: &str) {
    println!("figure {name} = {value:.3} {unit}");
}

/// The value below which a share of all lies; 0.5 gives the median.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

pub(crate) fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    let result = run();
    (result, begin.elapsed())
}

/// Rows of record `seed`.
pub(crate) fn frames(seed: usize, rows: usize, dim: usize) -> Matrix {
    crate::frames::frames(seed as u32 ^ 0x9e37_79b9, rows, dim)
}

pub(crate) fn id(number: usize) -> String {
    format!("record-{number:06}")
}

pub(crate) fn record(number: usize) -> Record {
    Record::new(id(number), frames(number, ROWS, DIM))
}

pub(crate) fn folder() -> TempDir {
    tempfile::Builder::new().prefix("otolith-bench-").tempdir().unwrap()
}

/// A new database with one empty collection.
pub(crate) fn database(path: &Path, dim: usize) -> (Database, Collection) {
    let db = Database::open(path).unwrap();
    let clips = db.create_collection("clips", Schema::new(dim)).unwrap();
    (db, clips)
}

/// LMDB with what it does by default: every commit is synced.
pub(crate) struct Lmdb {
    environment: Environment,
    table: lmdb::Database,
}

impl Lmdb {
    pub(crate) fn open(path: &Path) -> Lmdb {
        fs::create_dir_all(path).unwrap();
        let environment = Environment::new().set_map_size(LMDB_BYTES).open(path).unwrap();
        let table = environment.create_db(None, DatabaseFlags::empty()).unwrap();
        Lmdb { environment, table }
    }

    pub(crate) fn commit<'a>(&self, pairs: impl IntoIterator<Item = (&'a str, &'a [f32])>) {
        let mut transaction = self.environment.begin_rw_txn().unwrap();
        for (id, values) in pairs {
            transaction.put(self.table, &id, &bytemuck::cast_slice::<f32, u8>(values), WriteFlags::empty()).unwrap();
        }
        transaction.commit().unwrap();
    }

    /// The sum of all values of all records.
    pub(crate) fn sum(&self, count: usize) -> f32 {
        let transaction = self.environment.begin_ro_txn().unwrap();
        (0..count)
            .map(|number| {
                let bytes = transaction.get(self.table, &id(number)).unwrap();
                sum(bytemuck::cast_slice(bytes))
            })
            .sum()
    }
}

/// Touches every value, fast enough to wait for memory and nothing else.
pub(crate) fn sum(values: &[f32]) -> f32 {
    let mut sums = [0.0f32; 64];
    let (chunks, rest) = values.as_chunks::<64>();
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, value)| *sum += value);
    }
    sums.iter().chain(rest).sum()
}

/// Waits until nothing of what was written before is still on its way to the disk.
pub(crate) fn settle(folder: &Path) {
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(File::open(folder).unwrap()).unwrap();
    #[cfg(not(target_os = "linux"))]
    let _ = folder;
}

/// Drops what the system remembers of all files below `path`; they must be neither open for writing nor mapped.
pub(crate) fn forget(path: &Path) {
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| forget(&entry.unwrap().path()));
        return;
    }
    let file = File::open(path).unwrap();
    file.sync_all().unwrap();
    #[cfg(target_os = "linux")]
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
}

/// A number from `/proc/self/io`, where there is one: `wchar` (bytes given to `write`), `write_bytes` (whole pages that
/// these made dirty) and `read_bytes` (that had to come from the disk).
pub(crate) fn io(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/io").ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok())
}
