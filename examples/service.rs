//! A service inside one process: one thread writes, several search. Each request takes a snapshot of its own, so it
//! sees one version throughout, and neither side waits for the other.
//!
//! `cargo run -p otolith --example service`
#![allow(clippy::print_stdout)] // an example shows what it does

use otolith::{Collection, Database, Matrix, Record, Result, Schema};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const DIM: usize = 16;
const SEARCHERS: usize = 3;
const COMMITS: usize = 60;
const RECORDS: usize = 50; // of a commit

fn vector(number: usize) -> Result<Matrix> {
    Matrix::from_vector((0..DIM).map(|d| ((number * DIM + d) as f32 * 12.9898).sin()).collect())
}

/// Writes batch after batch; each is on disk, and visible to new snapshots, when `upsert` returns.
fn write(collection: &Collection) -> Result<Duration> {
    let mut slowest = Duration::ZERO;
    for commit in 0..COMMITS {
        let record = |n: usize| Ok(Record::new(format!("record-{n}"), vector(n)?).field("commit", commit));
        let records = (commit * RECORDS..(commit + 1) * RECORDS).map(record).collect::<Result<Vec<_>>>()?;
        let begun = Instant::now();
        collection.upsert(records)?;
        slowest = slowest.max(begun.elapsed());
        thread::sleep(Duration::from_millis(10));
    }
    Ok(slowest)
}

/// What a searching thread did.
#[derive(Default)]
struct Served {
    requests: usize,
    /// Records in the first and the last snapshot.
    records: (usize, usize),
    slowest: Duration,
}

/// Serves requests until there is nothing more to come.
fn serve(collection: &Collection, seed: usize, ended: &AtomicBool) -> Result<Served> {
    let mut served = Served::default();
    while !ended.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let snapshot = collection.snapshot()?; // this request's version, whatever is written meanwhile
        let query = vector(1_000_000 + seed * 10_000 + served.requests)?;
        let hits = snapshot.query(&query).k(5).run()?;
        if let Some(best) = hits.first() {
            // The record belongs to the same version as the answer, even if somebody has replaced it since.
            snapshot.get(&best.id)?;
        }
        served.slowest = served.slowest.max(begun.elapsed());
        served.records.1 = snapshot.len();
        if served.requests == 0 {
            served.records.0 = snapshot.len();
        }
        served.requests += 1;
    }
    Ok(served)
}

fn main() -> Result<()> {
    let path = std::env::temp_dir().join(format!("otolith-service-{}", std::process::id()));
    let db = Database::open(&path)?;
    let collection = db.create_collection("vectors", Schema::new(DIM))?;
    let ended = AtomicBool::new(false);

    thread::scope(|scope| -> Result<()> {
        let searchers: Vec<_> = (0..SEARCHERS)
            .map(|seed| {
                let (collection, ended) = (collection.clone(), &ended); // handles are cheap to clone
                scope.spawn(move || serve(&collection, seed, ended))
            })
            .collect();
        let written = write(&collection);
        ended.store(true, Ordering::Relaxed); // also when writing failed
        let slowest = written?;
        println!("writer: {COMMITS} commits of {RECORDS} records, the slowest {:.1} ms", slowest.as_secs_f64() * 1e3);
        for (number, searcher) in searchers.into_iter().enumerate() {
            let Ok(served) = searcher.join() else { continue };
            let Served { requests, records: (first, last), slowest } = served?;
            let slowest = slowest.as_secs_f64() * 1e3;
            println!(
                "searcher {number}: {requests} requests on {first} to {last} records, the slowest {slowest:.1} ms"
            );
        }
        Ok(())
    })?;
    println!("in the end: {} records", collection.len()?);
    db.close()?;
    drop(collection);
    std::fs::remove_dir_all(&path).map_err(|error| otolith::Error::io(path, "remove", error))
}
