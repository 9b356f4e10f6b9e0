//! What is derived is the same, byte for byte, however many threads make it.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use otolith::IndexKind;
use otolith::testing::index::always_use_planes;
use otolith::{Database, Matrix, Metric, Record, Schema};
use rayon::ThreadPoolBuilder;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_128;

const THREADS: [usize; 3] = [1, 2, 8];
const RECORDS: u32 = 3_000;
const DIM: usize = 360;

/// Rows about one of 23 middles.
fn matrix(number: u32, rows: usize, dim: usize) -> Matrix {
    let mut state = number.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut noise = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let middle = number % 23 + 1;
    let values = (0..rows * dim).map(|at| (at as f32 * middle as f32).sin() + noise()).collect();
    Matrix::from_rows(rows, dim, values).unwrap()
}

/// Makes the codes and every kind of index, each of one segment.
fn derive(folder: &Path) {
    let database = Database::open(folder).unwrap();
    let vectors = database.collection("vectors").unwrap();
    assert!(vectors.query(&matrix(1, 1, DIM)).run().unwrap().certificate.is_exact());
    vectors.build_index("raw", IndexKind::Hnsw).unwrap();
    vectors.build_index("raw", IndexKind::Ivf).unwrap();
    let sounds = database.collection("sounds").unwrap();
    always_use_planes();
    sounds.query(&matrix(1, 20, 24)).run().unwrap();
    sounds.build_index("raw", IndexKind::Candidates).unwrap();
    drop((vectors, sounds));
    database.close().unwrap();
}

/// The derived files, by what they hold; they are taken away.
fn take(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for file in fs::read_dir(folder.join("derived")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let kind = name.rsplit('-').next().unwrap().to_owned();
        assert_eq!(files.insert(kind, fs::read(&path).unwrap()), None, "one segment");
        fs::remove_file(path).unwrap();
    }
    files
}

/// What lies between a file's header, which names the database, and the sums of its blocks.
fn sections(file: &[u8]) -> &[u8] {
    let end = &file[file.len() - 256..][..8];
    &file[4_096..u64::from_le_bytes(end.try_into().unwrap()) as usize]
}

#[test]
fn one_two_and_eight_threads_make_the_same_files() {
    for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("db");
        let database = Database::open(&folder).unwrap();
        let vectors = database.create_collection("vectors", Schema::new(DIM).metric(metric)).unwrap();
        let mut load = vectors.bulk_load().unwrap();
        (0..RECORDS).for_each(|number| load.push(Record::new(format!("r{number}"), matrix(number, 1, DIM))).unwrap());
        load.finish().unwrap();
        let sounds = database.create_collection("sounds", Schema::new(24).metric(metric)).unwrap();
        let mut load = sounds.bulk_load().unwrap();
        (0..300).for_each(|number| load.push(Record::new(format!("s{number}"), matrix(number, 20, 24))).unwrap());
        load.finish().unwrap();
        drop((vectors, sounds));
        database.close().unwrap();
        let made = THREADS.map(|threads| {
            ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| derive(&folder));
            take(&folder)
        });
        let planes = Some("planes").filter(|_| metric != Metric::L2);
        for kind in ["codes", "graph", "lists", "centroids"].into_iter().chain(planes) {
            let sections = sections(&made[0][kind]);
            println!("figure {}_{kind} = {} bytes, xxh3 {:032x}", metric.name(), sections.len(), xxh3_128(sections));
            assert!(made.iter().all(|files| files[kind] == made[0][kind]), "{metric:?}: {kind}");
        }
    }
}
