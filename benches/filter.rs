//! What a filter costs in a million records of five fields, beside asking each record:
//! `cargo bench -p otolith --bench filter`, or of fewer records: `.. --bench filter -- 100000`.
//!
//! Each query has one hit to find among the records that pass, and these are few, so that the filter is what takes
//! time. What is compared runs in turns, and medians over the turns are printed.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use otolith::filter::Filter;
use otolith::testing::store::Entry;
use otolith::{Database, Matrix, Record, Schema, Snapshot};
use rayon::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

const TURNS: usize = 5;

fn record(n: u32) -> Record {
    let mixed = n.wrapping_mul(2_654_435_761);
    Record::new(format!("{n:08}"), Matrix::from_vector(vec![(mixed % 1_000) as f32]).unwrap())
        .field("class", format!("class {}", mixed % 100))
        .field("fold", mixed / 100 % 5)
        .field("loud", mixed.is_multiple_of(7))
        .field("path", format!("recordings/2026/{:03}/{n:08}.wav", mixed % 365))
        .field("seconds", f64::from(mixed % 100_000) / 1_000.0)
}

fn indexes(path: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(path.join("derived")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|file| file.to_string_lossy().ends_with("-fields.odrv")).collect()
}

/// How many records pass, each asked.
fn asked(snapshot: &Snapshot, filter: &str) -> usize {
    let (filter, entries) = (Filter::parse(filter).unwrap(), snapshot.iter().collect::<Vec<Entry<'_>>>());
    entries.par_iter().filter(|entry| filter.matches(entry.id().unwrap(), &entry.fields().unwrap())).count()
}

fn query(snapshot: &Snapshot, filter: &str) {
    let row = Matrix::from_vector(vec![1.0]).unwrap();
    assert_eq!(snapshot.query(&row).k(1).filter(filter).run().unwrap().len(), 1);
}

fn milliseconds<T>(run: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    std::hint::black_box(run());
    start.elapsed().as_secs_f64() * 1e3
}

fn main() {
    let records = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let db = Database::open(&path).unwrap();
    let mut load = db.create_collection("c", Schema::new(1)).unwrap().bulk_load().unwrap();
    (0..records).for_each(|n| load.push(record(n)).unwrap());
    load.finish().unwrap();
    db.close().unwrap();

    let filters = [
        ("text, equal", "class = 'class 17' and seconds < 1", "class = 'class 18' and seconds < 1"),
        ("number, range", "seconds >= 3 and seconds < 3.1", "seconds > 4 and seconds <= 4.1"),
        ("text, one record", "path = 'recordings/2026/000/00000000.wav'", "path <= 'recordings/2026/000/1'"),
        ("half of all", "(fold < 2 or loud = true) and class != 'class 3'", "not (fold < 3) and class != 'class 3'"),
    ];
    println!("{records} records, milliseconds, medians of {TURNS}");
    println!("filter | each asked | first | second, builds | from the file | again | another | no filter");
    for (name, filter, another) in filters {
        let mut turns = [const { Vec::new() }; 7];
        for _ in 0..TURNS {
            indexes(&path).iter().for_each(|file| fs::remove_file(file).unwrap());
            for turn in 0..2 {
                let db = Database::open(&path).unwrap();
                let snapshot = db.collection("c").unwrap().snapshot().unwrap();
                let row = Matrix::from_vector(vec![1.0]).unwrap();
                let unfiltered = || snapshot.query(&row).k(1).run().unwrap();
                // First touches of blocks, whose sums are compared then.
                unfiltered();
                asked(&snapshot, filter);
                if turn == 0 {
                    turns[0].push(milliseconds(|| asked(&snapshot, filter)));
                    turns[1].push(milliseconds(|| query(&snapshot, filter)));
                    turns[2].push(milliseconds(|| query(&snapshot, another)));
                } else {
                    turns[3].push(milliseconds(|| query(&snapshot, filter)));
                    turns[4].push(milliseconds(|| query(&snapshot, filter)));
                    turns[5].push(milliseconds(|| query(&snapshot, another)));
                    turns[6].push(milliseconds(unfiltered));
                }
            }
        }
        let medians = turns.map(|mut turn| {
            turn.sort_by(f64::total_cmp);
            format!("{:.2}", turn[TURNS / 2])
        });
        println!("{name} | {}", medians.join(" | "));
    }
    let bytes: u64 = indexes(&path).iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    println!("indexes of {} segments: {:.1} bytes a record", indexes(&path).len(), bytes as f64 / f64::from(records));
}
