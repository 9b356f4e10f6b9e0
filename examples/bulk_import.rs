//! Import many records at once, with progress on stderr; nobody sees any of them before the last is in.
//!
//! `cargo run -p otolith --example bulk_import` (with `--release` for times that mean something)
#![allow(clippy::print_stdout)] // an example shows what it does

use otolith::{Database, Matrix, Precision, Record, Result, Schema};
use std::time::{Duration, Instant};

const RECORDS: usize = 100_000;
const DIM: usize = 32;

/// The source of the import: a made-up vector for each number, the same every time.
fn vector(number: usize) -> Result<Matrix> {
    let mut state = number as u64;
    let numbers = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    });
    // The first few numbers depend on each other too much.
    Matrix::from_vector(numbers.skip(4).take(DIM).collect())
}

/// Says how far an import is, at most five times a second.
struct Progress {
    begun: Instant,
    said: Instant,
}

impl Progress {
    fn tell(&mut self, done: usize) {
        if done == RECORDS || self.said.elapsed() >= Duration::from_millis(200) {
            let speed = done as f64 / self.begun.elapsed().as_secs_f64();
            let percent = 100 * done / RECORDS;
            eprint!("\rimporting: {done} of {RECORDS} records ({percent} %), {speed:.0} a second ");
            self.said = Instant::now();
        }
    }
}

fn main() -> Result<()> {
    let path = std::env::temp_dir().join(format!("otolith-bulk-import-{}", std::process::id()));
    let db = Database::open(&path)?;
    let vectors = db.create_collection("vectors", Schema::new(DIM).precision(Precision::F16))?;

    // Each byte is written once, and memory does not grow with the import. Dropping the load would leave nothing.
    let mut load = vectors.bulk_load()?;
    let mut progress = Progress { begun: Instant::now(), said: Instant::now() };
    for number in 0..RECORDS {
        load.push(Record::new(format!("vector-{number}"), vector(number)?).field("number", number))?;
        progress.tell(number + 1);
    }
    eprintln!();
    assert!(vectors.is_empty()?);
    let loaded = load.finish()?; // all of them become visible here, in one commit
    println!("{loaded} records, {} KiB on disk", db.stat()?.bytes() >> 10);

    let query = vector(RECORDS / 2)?;
    let begun = Instant::now();
    let hits = vectors.query(&query).k(3).run()?;
    println!("searched in {:.1} ms:", begun.elapsed().as_secs_f64() * 1e3);
    for hit in &hits {
        println!("    {:12} {:.4}", hit.id, hit.score);
    }
    drop((hits, vectors, db));
    std::fs::remove_dir_all(&path).map_err(|error| otolith::Error::io(path, "remove", error))
}
