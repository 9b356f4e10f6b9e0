//! The heap does not grow with the data: what a database needs of it is bounded by what is written or read at a time.
//!
//! Every allocation of this program is counted, so the tests take turns. Mapped files are no heap.
#![allow(clippy::unwrap_used, clippy::print_stdout, unsafe_code)]

#[allow(dead_code, clippy::expect_used)]
#[path = "../fuzz/bodies/sums.rs"]
mod sums;

use otolith::testing::store::layout::{self, footer, header, log_header, manifest_header};
use otolith::testing::store::{Access, Depth, Durability};
use otolith::{Database, Matrix, Record, Schema};
use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The system's allocator, and what it has given out.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grown(bytes: usize) {
    PEAK.fetch_max(NOW.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

// SAFETY: every call goes to the system's allocator unchanged; counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promises are those that `System` asks for; so below.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: see `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, old: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // The old and the new place may both exist for a moment.
        grown(bytes);
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: see `alloc`.
        unsafe { System.realloc(old, layout, bytes) }
    }
    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: see `alloc`.
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The heap of one test at a time.
struct Heap {
    before: usize,
    _turn: MutexGuard<'static, ()>,
}

impl Heap {
    fn new() -> Heap {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let before = NOW.load(Relaxed);
        PEAK.store(before, Relaxed);
        Heap { before, _turn: turn }
    }

    /// The most that was in use since the last question, in MiB, printed as a figure.
    fn peak(&self, name: &str) -> f64 {
        let peak = PEAK.swap(NOW.load(Relaxed), Relaxed).saturating_sub(self.before) as f64 / f64::from(1 << 20);
        println!("figure heap_{name} = {peak:.1} MiB");
        peak
    }
}

fn seconds(name: &str, begin: Instant) {
    println!("figure seconds_{name} = {:.2} s", begin.elapsed().as_secs_f64());
}

fn noise(seed: usize, count: usize) -> Vec<f32> {
    let mut state = (seed as u32).wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// Five seconds of wav2vec2 features.
const ROWS: usize = 249;
const DIM: usize = 512;
const BATCH: usize = 32;

fn id(number: usize) -> String {
    format!("record-{number:07}")
}

fn frames(number: usize) -> Matrix {
    Matrix::from_rows(ROWS, DIM, noise(number, ROWS * DIM)).unwrap()
}

/// Writes `count` records in commits of 32, deletes two of five, compacts, reopens, verifies and searches; no step
/// takes more than `limit` MiB of heap.
fn writes_compacts_and_searches(name: &str, count: usize, limit: f64) {
    let heap = Heap::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let begin = Instant::now();
    let db = Database::open(&path).unwrap();
    let clips = db.create_collection("clips", Schema::new(DIM)).unwrap();
    for start in (0..count).step_by(BATCH) {
        clips.upsert((start..count.min(start + BATCH)).map(|n| Record::new(id(n), frames(n)))).unwrap();
    }
    seconds(&format!("{name}_write"), begin);
    let mut peaks = vec![heap.peak(&format!("{name}_write"))];

    let begin = Instant::now();
    let gone = |n: &usize| n % 5 < 2;
    assert_eq!(clips.delete((0..count).filter(gone).map(id)).unwrap() as usize, (0..count).filter(gone).count());
    drop(clips);
    db.compact().unwrap();
    db.close().unwrap();
    seconds(&format!("{name}_compact"), begin);
    peaks.push(heap.peak(&format!("{name}_compact")));

    let begin = Instant::now();
    finds(&path, count);
    seconds(&format!("{name}_search"), begin);
    peaks.push(heap.peak(&format!("{name}_search")));

    let begin = Instant::now();
    let report = Database::open_read_only(&path).unwrap().verify(Depth::Deep).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    seconds(&format!("{name}_verify"), begin);
    peaks.push(heap.peak(&format!("{name}_verify")));
    assert!(peaks.iter().all(|peak| *peak < limit), "{peaks:?} MiB instead of {limit}");
}

/// Searches with eight rows of one record among all that are left.
fn finds(path: &Path, count: usize) {
    let wanted = count / 2 / 5 * 5 + 3;
    let query = Matrix::from_rows(8, DIM, frames(wanted).values()[100 * DIM..108 * DIM].to_vec()).unwrap();
    for access in [Access::Map, Access::Read] {
        let db = Database::options().access(access).read_only().open(path).unwrap();
        let clips = db.collection("clips").unwrap();
        assert_eq!(clips.len().unwrap(), (0..count).filter(|n| n % 5 >= 2).count());
        let hits = clips.query(&query).k(10).run().unwrap();
        assert_eq!((hits.len(), hits[0].id.as_str()), (10, id(wanted).as_str()));
        assert!((hits[0].score_per_row - 1.0).abs() < 1e-6);
    }
}

#[test]
fn a_gibibyte_passes_through_128_mib_of_heap() {
    writes_compacts_and_searches("1_gib", (1 << 30) / (ROWS * DIM * 4) + 1, 128.0);
}

#[test]
#[ignore = "writes 10 GB"]
fn ten_gigabytes_pass_through_a_gibibyte_of_heap() {
    writes_compacts_and_searches("10_gb", 20_000, 1_024.0);
}

/// How many records are written one by one.
const SINGLES: usize = 2_000;
const TINY: usize = 1_000_000;
const TINY_BATCH: usize = 10_000;

/// The collections hold nothing but ids and a few numbers a record, so what is counted is the price of a record.
#[test]
fn a_million_tiny_records_are_written_and_opened_at_ease() {
    let heap = Heap::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let tiny = |n: usize| Record::new(id(n), Matrix::from_rows(1, 4, noise(n, 4)).unwrap());
    let db = Database::open(&path).unwrap();
    let clips = db.create_collection("clips", Schema::new(4)).unwrap();
    let begin = Instant::now();
    for start in (0..TINY).step_by(TINY_BATCH) {
        clips.upsert((start..start + TINY_BATCH).map(tiny)).unwrap();
    }
    seconds("tiny_write", begin);
    let written = heap.peak("tiny_write");

    let begin = Instant::now();
    for n in TINY..TINY + SINGLES {
        let mut transaction = db.transaction();
        transaction.upsert("clips", [tiny(n)]);
        transaction.commit_with(Durability::Buffered).unwrap();
    }
    seconds("tiny_single", begin);
    println!("figure tiny_single = {:.0} commits/s", SINGLES as f64 / begin.elapsed().as_secs_f64());
    let single = heap.peak("tiny_single");
    let begin = Instant::now();
    drop(clips);
    db.close().unwrap();
    seconds("tiny_close", begin);
    let closed = heap.peak("tiny_close");

    for (name, read_only) in [("writer", false), ("reader", true)] {
        let options = Database::options();
        let begin = Instant::now();
        let db = if read_only { options.read_only() } else { options }.open(&path).unwrap();
        let clips = db.collection("clips").unwrap();
        println!("figure tiny_open_{name} = {:.2} ms", begin.elapsed().as_secs_f64() * 1e3);
        assert_eq!(clips.len().unwrap(), TINY + SINGLES);
        for n in [0, TINY / 2, TINY + SINGLES - 1] {
            assert_eq!(clips.get(&id(n)).unwrap().unwrap(), tiny(n));
        }
    }
    let opened = heap.peak("tiny_open");
    assert!(written.max(single).max(closed) < 160.0, "{written} {single} {closed} MiB");
    assert!(opened < 16.0, "{opened} MiB: opening reads no records");
}

/// What a hostile file, or one on a full or broken disk, claims to hold: as long as this, and a hole.
const CLAIMED: u64 = 3 << 30;

/// A hundred records, and what the newest manifest says of them.
fn small(path: &Path) -> (PathBuf, Vec<u8>, serde_json::Value) {
    let db = Database::open(path).unwrap();
    let clips = db.create_collection("clips", Schema::new(4)).unwrap();
    clips.upsert((0..100).map(|n| Record::new(id(n), Matrix::from_rows(1, 4, noise(n, 4)).unwrap()))).unwrap();
    drop(clips);
    db.close().unwrap();
    let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let manifest = names.filter(|name| name.to_str().unwrap().contains("manifest-")).max().unwrap();
    let bytes = fs::read(&manifest).unwrap();
    let body = serde_json::from_slice(&bytes[manifest_header::BYTES..]).unwrap();
    (manifest, bytes, body)
}

/// Looks at everything, and says how many records and findings there are.
fn look(path: &Path) -> (usize, usize) {
    let db = Database::open_read_only(path).unwrap();
    let clips = db.collection("clips").unwrap();
    let read = clips.snapshot().unwrap().iter().filter(|entry| entry.id().is_ok()).count();
    let query = Matrix::from_rows(1, 4, noise(3, 4)).unwrap();
    assert_eq!(clips.query(&query).k(3).run().unwrap().len(), read.min(3));
    (read, db.verify(Depth::Deep).unwrap().findings.len())
}

#[test]
fn the_length_of_a_log_takes_no_memory() {
    let heap = Heap::new();
    let folder = tempfile::tempdir().unwrap();
    let (manifest, bytes, body) = small(&folder.path().join("db"));
    let number = body["wal_first"].as_u64().unwrap();
    let mut log = vec![0; log_header::BYTES];
    sums::put(&mut log, 0, log_header::MAGIC, &layout::LOG_MAGIC);
    sums::put(&mut log, 0, log_header::MAJOR, &layout::MAJOR.to_le_bytes());
    sums::put(&mut log, 0, log_header::DATABASE, &sums::sixteen(&bytes, 0, manifest_header::DATABASE));
    sums::put(&mut log, 0, log_header::NUMBER, &number.to_le_bytes());
    sums::put_crc(&mut log, 0, log_header::CRC);
    let mut file = fs::File::create(manifest.with_file_name(format!("wal-{number:016x}"))).unwrap();
    file.write_all(&log).unwrap();
    file.set_len(CLAIMED).unwrap();
    assert_eq!(look(&folder.path().join("db")), (100, 0));
    assert!(heap.peak("log_of_holes") < 16.0);
}

#[test]
fn the_directory_of_a_derived_file_takes_no_memory() {
    let heap = Heap::new();
    let folder = tempfile::tempdir().unwrap();
    let (manifest, _, body) = small(&folder.path().join("db"));
    let segment = &body["segments"][0];
    let name = segment["file"]["name"].as_str().unwrap();
    let mut head = fs::read(manifest.with_file_name("seg").join(name)).unwrap();
    head.truncate(header::BYTES);
    let sixteen = |value: &serde_json::Value| -> Vec<u8> {
        let digits = value.as_str().unwrap();
        (0..16).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap()).collect()
    };
    sums::put(&mut head, 0, header::KIND, &(layout::Kind::Fields as u32).to_le_bytes());
    sums::put(&mut head, 0, header::FILE, &[0; 16]);
    sums::put(&mut head, 0, header::SEGMENT, &sixteen(&segment["uuid"]));
    sums::put(&mut head, 0, header::SEGMENT_ROOT, &sixteen(&segment["file"]["root"]));
    sums::put_crc(&mut head, 0, header::CRC);
    let sections = CLAIMED / 32;
    let length = header::BYTES as u64 + 8 + 32 * sections + footer::BYTES as u64;
    let mut foot = vec![0; footer::BYTES];
    let numbers = [
        (footer::SUMS_OFFSET, header::BYTES as u64),
        (footer::SUMS_COUNT, 1),
        (footer::DIRECTORY_OFFSET, header::BYTES as u64 + 8),
        (footer::DIRECTORY_COUNT, sections),
        (footer::FILE_BYTES, length),
        (footer::RECORDS, 100),
    ];
    numbers.iter().for_each(|(field, value)| sums::put(&mut foot, 0, *field, &value.to_le_bytes()));
    sums::put_crc(&mut foot, 0, footer::CRC);
    sums::put(&mut foot, 0, footer::MAGIC, &layout::FOOTER_MAGIC);
    let derived = manifest.with_file_name("derived").join(format!("{}-{:016x}-fields.odrv", &name[..16], 0));
    let mut file = fs::File::create(derived).unwrap();
    file.write_all(&head).unwrap();
    file.set_len(length - footer::BYTES as u64).unwrap();
    file.seek(SeekFrom::End(0)).unwrap();
    file.write_all(&foot).unwrap();
    assert_eq!(look(&folder.path().join("db")), (100, 1));
    assert!(heap.peak("directory_of_holes") < 16.0);
}

#[test]
fn the_number_of_records_in_a_manifest_takes_no_memory() {
    let heap = Heap::new();
    let folder = tempfile::tempdir().unwrap();
    let (manifest, bytes, mut body) = small(&folder.path().join("db"));
    body["segments"][0]["records"] = u32::MAX.into();
    let mut bytes = [&bytes[..manifest_header::BYTES], body.to_string().as_bytes()].concat();
    sums::reseal_manifest(&mut bytes);
    fs::remove_file(&manifest).unwrap();
    fs::write(&manifest, bytes).unwrap();
    let (read, findings) = look(&folder.path().join("db"));
    assert_eq!((read, findings > 0), (0, true));
    let db = Database::open_read_only(folder.path().join("db")).unwrap();
    let snapshot = db.collection("clips").unwrap().snapshot().unwrap();
    // One entry for all of them says so, so that nobody who copies records takes them for copied.
    let lost: Vec<_> =
        snapshot.iter().map(|entry| (entry.records(), entry.to_record().unwrap_err().to_string())).collect();
    assert_eq!((lost.len(), lost[0].0), (1, u64::from(u32::MAX)));
    assert!(lost[0].1.contains("4294967295 records cannot be read"), "{}", lost[0].1);
    assert!(heap.peak("records_of_a_manifest") < 16.0);
}
