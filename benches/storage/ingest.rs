//! Writing records of half a megabyte, durably.

use super::support::{
    Lmdb, RECORD_BYTES, database, figure, folder, frames, id, io, median, record, records, rounds, settle, timed,
};
use otolith::testing::store::Durability;
use otolith::{Database, Record};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// Dimension of the small records: one row of 1.5 KB.
const SMALL_DIM: usize = 384;
const SMALL_RECORDS: usize = 1_000;

/// How `count` records are written into an empty folder, in commits of `batch`; gives the time spent writing.
type Way = fn(&Path, usize, usize) -> Duration;

/// Those whose commits are durable one by one, and how records come in if only the whole counts.
const WAYS: [(&str, Way); 4] =
    [("plain", plain), ("plain_one_sync", plain_one_sync), ("lmdb", lmdb), ("otolith", otolith)];
const BULK_WAYS: [(&str, Way); 4] = [WAYS[0], WAYS[1], WAYS[2], ("otolith", bulk)];

pub(crate) fn run() {
    let all = records();
    compare("1", WAYS, all.div_ceil(4), 1);
    compare("32", WAYS, all, 32);
    compare("bulk", BULK_WAYS, all, all);
    amplification();
}

fn compare(label: &str, ways: [(&str, Way); 4], count: usize, batch: usize) {
    let mut rates = ways.map(|_| Vec::new());
    for round in 0..rounds() {
        for turn in 0..ways.len() {
            // Nobody is always the one behind the same other.
            let way = (round + turn) % ways.len();
            let folder = folder();
            settle(folder.path());
            let seconds = ways[way].1(folder.path(), count, batch).as_secs_f64();
            rates[way].push((count * RECORD_BYTES) as f64 / 1e6 / seconds);
        }
    }
    for ((name, _), rates) in ways.iter().zip(&rates) {
        figure(&format!("ingest_{label}_{name}"), median(rates), "MB/s");
    }
    for (n, rival) in [(0, "plain"), (1, "plain_one_sync"), (2, "lmdb")] {
        let shares: Vec<f64> = rates[3].iter().zip(&rates[n]).map(|(ours, theirs)| 100.0 * ours / theirs).collect();
        figure(&format!("ingest_{label}_share_of_{rival}"), median(&shares), "%");
    }
}

/// The records of each commit, made while no clock runs, handed to `commit`.
fn in_batches(count: usize, batch: usize, mut commit: impl FnMut(Vec<Record>)) -> Duration {
    let starts = (0..count).step_by(batch);
    starts
        .map(|start| {
            let records = (start..count.min(start + batch)).map(record).collect();
            timed(|| commit(records)).1
        })
        .sum()
}

fn append(file: &mut File, records: &[Record]) {
    records.iter().for_each(|record| file.write_all(bytemuck::cast_slice(record.matrix.values())).unwrap());
}

/// The bytes alone, one after the other, with a sync for each commit.
fn plain(folder: &Path, count: usize, batch: usize) -> Duration {
    let mut file = File::create(folder.join("plain")).unwrap();
    in_batches(count, batch, |records| {
        append(&mut file, &records);
        file.sync_data().unwrap();
    })
}

/// The bytes alone, with one sync at the end.
fn plain_one_sync(folder: &Path, count: usize, batch: usize) -> Duration {
    let mut file = File::create(folder.join("plain")).unwrap();
    let writing = in_batches(count, batch, |records| append(&mut file, &records));
    writing + timed(|| file.sync_data().unwrap()).1
}

fn lmdb(folder: &Path, count: usize, batch: usize) -> Duration {
    let lmdb = Lmdb::open(&folder.join("lmdb"));
    in_batches(count, batch, |records| {
        lmdb.commit(records.iter().map(|record| (record.id.as_deref().unwrap(), record.matrix.values())));
    })
}

/// Closing, which seals the last segment, is part of the price.
fn otolith(folder: &Path, count: usize, batch: usize) -> Duration {
    let (db, clips) = database(&folder.join("db"), super::support::DIM);
    let writing = in_batches(count, batch, |records| {
        clips.upsert(records).unwrap();
    });
    drop(clips);
    writing + timed(|| db.close().unwrap()).1
}

/// A bulk load, one record after the other.
fn bulk(folder: &Path, count: usize, _: usize) -> Duration {
    let (db, clips) = database(&folder.join("db"), super::support::DIM);
    let (mut load, begun) = timed(|| clips.bulk_load().unwrap());
    let pushed = in_batches(count, 1, |records| records.into_iter().for_each(|record| load.push(record).unwrap()));
    let (_, finished) = timed(|| load.finish().unwrap());
    drop(clips);
    begun + pushed + finished + timed(|| db.close().unwrap()).1
}

/// Bytes written for each byte of payload: as handed to the system, and as whole pages that had to reach the disk.
fn amplification() {
    let Some(_) = io("wchar") else { return println!("bytes written: not counted on this system") };
    let count = records();
    measure("direct", count * RECORD_BYTES, super::support::DIM, |db| {
        for start in (0..count).step_by(32) {
            db.collection("clips").unwrap().upsert((start..count.min(start + 32)).map(record)).unwrap();
        }
    });
    let row = |n: usize| Record::new(id(n), frames(n, 1, SMALL_DIM));
    let durabilities = [Durability::Sync, Durability::Buffered];
    for (name, durability) in ["packed_sync", "packed_buffered"].into_iter().zip(durabilities) {
        measure(name, SMALL_RECORDS * SMALL_DIM * 4, SMALL_DIM, |db| {
            for n in 0..SMALL_RECORDS {
                let mut transaction = db.transaction();
                transaction.upsert("clips", [row(n)]);
                transaction.commit_with(durability).unwrap();
            }
        });
    }
}

/// From the making of the database (its `RESERVE` has 4 MB, whatever it holds) until it is closed.
fn measure(name: &str, payload: usize, dim: usize, write: impl FnOnce(&Database)) {
    let folder = folder();
    let (db, _) = database(&folder.path().join("db"), dim);
    settle(folder.path());
    let before = ["wchar", "write_bytes"].map(io);
    write(&db);
    db.close().unwrap();
    for ((counter, before), what) in ["wchar", "write_bytes"].into_iter().zip(before).zip(["bytes", "pages"]) {
        if let (Some(before), Some(after)) = (before, io(counter)) {
            figure(&format!("written_{what}_{name}"), (after - before) as f64 / payload as f64, "bytes/byte");
        }
    }
}
