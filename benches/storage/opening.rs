//! How long it takes until a database can be asked.

use super::support::{DIM, RECORD_BYTES, database, figure, folder, forget, median, record, rounds, settle, timed};
use otolith::testing::store::{Change, Mode, Options, Store};
use otolith::{Database, Matrix, Record, Schema};
use std::path::Path;

const SEGMENTS: [usize; 2] = [100, 1_000];
const LARGE_RECORDS: usize = 20_000;

pub(crate) fn run() {
    for segments in SEGMENTS {
        let folder = folder();
        let path = folder.path().join("db");
        // One collection each, so that nothing joins them.
        let create = |n| Change::CreateCollection { name: format!("{n}"), schema: Schema::new(8) };
        let fill = |n| {
            let matrix = Matrix::from_rows(1, 8, vec![n as f32; 8]).unwrap();
            Change::Upsert { collection: format!("{n}"), records: vec![Record::new("r", matrix)] }
        };
        let store = Store::open(&path, Mode::Write { create: true }, Options::default()).unwrap();
        store.commit((0..segments).map(create).chain((0..segments).map(fill)).collect()).unwrap();
        store.close().unwrap();
        report(&format!("{segments}_segments"), &path, segments);
    }
    if std::env::var_os("OTOLITH_BENCH_LARGE").is_some() {
        large();
    }
}

fn report(name: &str, path: &Path, collections: usize) {
    settle(path);
    let (mut writer, mut reader, mut cold) = (Vec::new(), Vec::new(), Vec::new());
    let milliseconds = |open: &dyn Fn() -> Database| {
        let (db, time) = timed(open);
        assert_eq!(db.collections().len(), collections);
        drop(db);
        time.as_secs_f64() * 1e3
    };
    for _ in 0..rounds() {
        writer.push(milliseconds(&|| Database::open(path).unwrap()));
        reader.push(milliseconds(&|| Database::open_read_only(path).unwrap()));
        forget(path);
        cold.push(milliseconds(&|| Database::open_read_only(path).unwrap()));
    }
    for (kind, times) in [("writer", writer), ("reader", reader), ("reader_cold", cold)] {
        figure(&format!("open_{name}_{kind}"), median(&times), "ms");
    }
}

fn large() {
    let folder = folder();
    let path = folder.path().join("db");
    let (db, clips) = database(&path, DIM);
    let mut seconds = 0.0;
    for start in (0..LARGE_RECORDS).step_by(32) {
        let batch: Vec<Record> = (start..LARGE_RECORDS.min(start + 32)).map(record).collect();
        seconds += timed(|| clips.upsert(batch).unwrap()).1.as_secs_f64();
    }
    drop(clips);
    seconds += timed(|| db.close().unwrap()).1.as_secs_f64();
    figure("ingest_32_otolith_10_gb", (LARGE_RECORDS * RECORD_BYTES) as f64 / 1e6 / seconds, "MB/s");
    report("10_gb", &path, 1);
}
