//! Reading every byte of every record, on one thread.

use super::support::{
    DIM, Lmdb, RECORD_BYTES, database, figure, folder, forget, id, io, median, record, records, rounds, settle, sum,
    timed,
};
use otolith::Database;
use otolith::testing::store::Access;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

/// How much is read at a time where a plain file is read.
const CHUNK_BYTES: usize = 1 << 20;

/// Builds `plain`, `lmdb` and `db` with the same records.
pub(crate) fn build(folder: &Path, count: usize) {
    let mut plain = File::create(folder.join("plain")).unwrap();
    let lmdb = Lmdb::open(&folder.join("lmdb"));
    let (db, clips) = database(&folder.join("db"), DIM);
    for start in (0..count).step_by(32) {
        let batch: Vec<_> = (start..count.min(start + 32)).map(record).collect();
        batch.iter().for_each(|record| plain.write_all(bytemuck::cast_slice(record.matrix.values())).unwrap());
        lmdb.commit(batch.iter().map(|record| (record.id.as_deref().unwrap(), record.matrix.values())));
        clips.upsert(batch).unwrap();
    }
    drop(clips);
    db.close().unwrap();
    settle(folder);
}

fn open(folder: &Path, access: Access) -> Database {
    Database::options().access(access).read_only().open(folder.join("db")).unwrap()
}

fn scan(db: &Database) -> f32 {
    let snapshot = db.collection("clips").unwrap().snapshot().unwrap();
    snapshot.iter().map(|entry| sum(entry.matrix().unwrap().view().values())).sum()
}

fn scan_plain(folder: &Path) -> f32 {
    let mut file = File::open(folder.join("plain")).unwrap();
    let mut values = vec![0.0f32; CHUNK_BYTES / 4];
    let mut total = 0.0;
    loop {
        match file.read(bytemuck::cast_slice_mut(&mut values)).unwrap() {
            0 => return total,
            bytes => total += sum(&values[..bytes / 4]),
        }
    }
}

pub(crate) fn run() {
    let count = records();
    let megabytes = (count * RECORD_BYTES) as f64 / 1e6;
    let folder = folder();
    let path = folder.path();
    build(path, count);
    assert_eq!(id(count - 1).len(), id(0).len(), "LMDB and otolith go through the records in the same order");

    let (mapped, read, lmdb) = (open(path, Access::Map), open(path, Access::Read), Lmdb::open(&path.join("lmdb")));
    let (first_sum, first) = timed(|| scan(&mapped));
    assert!((first_sum - lmdb.sum(count)).abs() <= first_sum.abs() * 1e-3 + 1.0, "both hold the same values");
    figure("scan_first_touch_otolith", megabytes / first.as_secs_f64(), "MB/s");
    let mut warm = [const { Vec::new() }; 4];
    for _ in 0..rounds() {
        let ways: [&dyn Fn() -> f32; 4] =
            [&|| scan_plain(path), &|| lmdb.sum(count), &|| scan(&read), &|| scan(&mapped)];
        for (rates, way) in warm.iter_mut().zip(ways) {
            let (total, time) = timed(way);
            assert!((total - first_sum).abs() <= first_sum.abs() * 1e-3 + 1.0);
            rates.push(megabytes / time.as_secs_f64());
        }
    }
    let names = ["plain", "lmdb", "otolith_read", "otolith"];
    names.iter().zip(&warm).for_each(|(name, rates)| figure(&format!("scan_warm_{name}"), median(rates), "MB/s"));
    drop((mapped, read, lmdb));
    cold(path, count, megabytes);
}

/// Nothing of the files is in memory; opening is part of the time.
fn cold(path: &Path, count: usize, megabytes: f64) {
    let ways: [(&str, &dyn Fn() -> f32); 4] = [
        ("plain", &|| scan_plain(path)),
        ("lmdb", &|| Lmdb::open(&path.join("lmdb")).sum(count)),
        ("otolith_read", &|| scan(&open(path, Access::Read))),
        ("otolith", &|| scan(&open(path, Access::Map))),
    ];
    let mut cold = [const { Vec::new() }; 4];
    for _ in 0..rounds() {
        for (rates, (name, way)) in cold.iter_mut().zip(ways) {
            forget(path);
            let before = io("read_bytes");
            rates.push(megabytes / timed(way).1.as_secs_f64());
            if let (Some(before), Some(after)) = (before, io("read_bytes")) {
                let megabytes_read = (after - before) as f64 / 1e6;
                assert!(megabytes_read > 0.9 * megabytes, "{name}: {megabytes_read} MB came from the disk: not cold");
            }
        }
    }
    for ((name, _), rates) in ways.iter().zip(&cold) {
        figure(&format!("scan_cold_{name}"), median(rates), "MB/s");
    }
}
