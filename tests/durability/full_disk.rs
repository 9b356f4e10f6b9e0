//! A disk that is full: a small file system in memory, where mounting one is allowed.

use otolith::testing::store::{Access, Change, Depth, Mode, Options, Store, Tuning};
use otolith::{Error, Matrix, Record, Schema};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted file system that ends with the test.
struct Mounted(PathBuf);

impl Mounted {
    fn new(path: &Path, options: &str) -> Option<Mounted> {
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(path).output();
        match mount {
            Ok(output) if output.status.success() => Some(Mounted(path.to_path_buf())),
            Ok(output) => {
                eprintln!("SKIPPED: no file system to fill: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                eprintln!("SKIPPED: no file system to fill: mount: {error}");
                None
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).output();
    }
}

fn open(path: &Path, mode: Mode, direct_bytes: u64) -> Result<Store, Error> {
    let tuning = Tuning {
        direct_bytes,
        log_bytes: 150_000,
        segment_bytes: 400_000,
        reserve_bytes: 100_000,
        background: false,
        ..Tuning::default()
    };
    let options = Options { access: Access::Map, tuning, ..Options::default() };
    Store::open(path, mode, options)
}

fn upsert(id: usize) -> Vec<Change> {
    let matrix = Matrix::from_rows(50, 40, vec![id as f32; 2_000]).unwrap();
    vec![Change::Upsert { collection: "c".into(), records: vec![Record::new(format!("{id}"), matrix)] }]
}

fn ids(store: &Store) -> Vec<usize> {
    let version = store.version();
    let mut ids = Vec::new();
    for part in &version.collections["c"].segments {
        for n in part.numbers().unwrap() {
            let id: usize = part.segment.id(n).unwrap().parse().unwrap();
            let matrix = part.segment.matrix(n).unwrap().into_matrix();
            assert!(matrix.values().iter().all(|value| *value == id as f32));
            ids.push(id);
        }
    }
    ids.sort_unstable();
    ids
}

/// Commits until the disk is full; gives how many records there are then.
fn fill(store: &Store, from: usize) -> usize {
    for id in from.. {
        match store.commit(upsert(id)) {
            Ok(_) => {}
            Err(Error::DiskFull { .. }) => return id,
            Err(error) => panic!("record {id}: {error:?}"),
        }
    }
    unreachable!("a disk without end")
}

fn fill_delete_and_go_on(options: &str, direct_bytes: u64) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let Some(_mounted) = Mounted::new(dir.path(), options) else { return 0 };
    let path = dir.path().join("full.otolith");
    let store = open(&path, Mode::Write { create: true }, direct_bytes).unwrap();
    store.commit(vec![Change::CreateCollection { name: "c".into(), schema: Schema::new(40) }]).unwrap();
    // Room for what is in the log and in open segments, which may have to be written out once more; in bytes and files.
    let [ballast, more_ballast] = ["some", "more"].map(|name| {
        let path = dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        for n in 0..15 {
            std::fs::write(path.join(format!("{n}")), vec![1; 100_000]).unwrap();
        }
        path
    });
    let full = fill(&store, 0);
    assert!(full > 20, "only {full} records");
    // Everything acknowledged is there, and can be read; what is refused is not.
    assert_eq!(ids(&store), (0..full).collect::<Vec<_>>());
    assert!(store.verify(Depth::Deep).unwrap().is_clean());
    // With room again the very handle goes on: records go, their space comes back, and others find room.
    std::fs::remove_dir_all(&ballast).unwrap();
    let half: Vec<String> = (0..full / 2).map(|id| format!("{id}")).collect();
    store.commit(vec![Change::Delete { collection: "c".into(), ids: half }]).unwrap();
    store.flush().unwrap();
    // Compaction needs room for what it writes, and says so when there is none.
    assert!(matches!(store.compact(&|| true), Ok(_) | Err(Error::DiskFull { .. })));
    let more = fill(&store, full);
    assert!(more > full, "no room came back");
    let expected: Vec<usize> = (full / 2..more).collect();
    assert_eq!(ids(&store), expected);
    drop(store);
    // A full disk is no reason not to read; and with room to write out what is in the log, the writer is back.
    assert_eq!(ids(&open(&path, Mode::Read, direct_bytes).unwrap()), expected);
    let again = match open(&path, Mode::Write { create: false }, direct_bytes) {
        Err(Error::DiskFull { .. }) => {
            std::fs::remove_dir_all(more_ballast).unwrap();
            open(&path, Mode::Write { create: false }, direct_bytes)
        }
        opened => opened,
    };
    let again = again.unwrap();
    assert_eq!(ids(&again), expected);
    assert!(again.verify(Depth::Deep).unwrap().is_clean());
    more
}

#[test]
fn a_full_disk_costs_the_commit_that_met_it_and_nothing_else() {
    let mut records = 0;
    for direct_bytes in [1_000, u64::MAX] {
        for options in ["size=6m", "size=64m,nr_inodes=70"] {
            // Without inodes left no file can be made; bytes there are enough, so the first limit ends that one too.
            if options.contains("inodes") && direct_bytes < u64::MAX {
                continue;
            }
            records += fill_delete_and_go_on(options, direct_bytes);
        }
    }
    println!("figure full_disk_records = {records} records");
}
