//! How long a commit of one small record takes.

use super::support::{Lmdb, commits, database, figure, folder, frames, id, quantile, settle, timed};
use otolith::testing::store::Durability;
use otolith::{Collection, Database, Record};
use std::fs::File;
use std::io::Write;

/// One row of 1.5 KB.
const DIM: usize = 384;
const THREADS: usize = 8;
/// How often those that are compared take turns.
const TURNS: usize = 10;

fn small(number: usize) -> Record {
    Record::new(id(number), frames(number, 1, DIM))
}

fn commit(db: &Database, number: usize, durability: Durability) {
    let mut transaction = db.transaction();
    transaction.upsert("clips", [small(number)]);
    transaction.commit_with(durability).unwrap();
}

fn report(name: &str, seconds: &[f64]) {
    figure(&format!("commit_{name}_p50"), quantile(seconds, 0.5) * 1e3, "ms");
    figure(&format!("commit_{name}_p99"), quantile(seconds, 0.99) * 1e3, "ms");
}

pub(crate) fn run() {
    let folder = folder();
    let mut plain = File::create(folder.path().join("plain")).unwrap();
    let lmdb = Lmdb::open(&folder.path().join("lmdb"));
    let (db, clips) = database(&folder.path().join("db"), DIM);
    settle(folder.path());
    let mut seconds = [const { Vec::new() }; 3];
    for turn in 0..TURNS {
        let numbers = turn * commits() / TURNS..(turn + 1) * commits() / TURNS;
        let ways: [&mut dyn FnMut(&Record); 3] = [
            &mut |record| {
                plain.write_all(bytemuck::cast_slice(record.matrix.values())).unwrap();
                plain.sync_data().unwrap();
            },
            &mut |record| lmdb.commit([(record.id.as_deref().unwrap(), record.matrix.values())]),
            &mut |record| {
                clips.upsert([record.clone()]).unwrap();
            },
        ];
        for (seconds, way) in seconds.iter_mut().zip(ways) {
            seconds.extend(numbers.clone().map(|number| {
                let record = small(number);
                timed(|| way(&record)).1.as_secs_f64()
            }));
        }
    }
    for (name, seconds) in ["plain", "lmdb", "otolith"].into_iter().zip(&seconds) {
        report(&format!("sync_{name}"), seconds);
    }
    assert_eq!(clips.len().unwrap(), commits());
    together(&db, &clips);
    buffered(&db);
    drop(clips);
    db.close().unwrap();
}

/// Several threads, each waiting for its own commits.
fn together(db: &Database, clips: &Collection) {
    let each = commits().div_ceil(THREADS);
    let before = clips.len().unwrap();
    let (_, time) = timed(|| {
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let first = 1_000_000 * (thread + 1);
                scope.spawn(move || (first..first + each).for_each(|n| commit(db, n, Durability::Sync)));
            }
        });
    });
    assert_eq!(clips.len().unwrap(), before + THREADS * each);
    figure(
        &format!("commit_sync_otolith_{THREADS}_threads"),
        (THREADS * each) as f64 / time.as_secs_f64(),
        "commits/s",
    );
}

fn buffered(db: &Database) {
    let first = 100_000_000;
    let seconds: Vec<f64> =
        (first..first + commits()).map(|n| timed(|| commit(db, n, Durability::Buffered)).1.as_secs_f64()).collect();
    report("buffered_otolith", &seconds);
    figure("commit_buffered_otolith", seconds.len() as f64 / seconds.iter().sum::<f64>(), "commits/s");
}
