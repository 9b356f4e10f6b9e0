//! Tests of the log, as its writer leaves it and its readers find it.

use super::*;
use crate::Record;

/// Returns small thresholds, so that matrices of ten numbers bypass the log.
fn tuning() -> Tuning {
    Tuning { direct_bytes: 40, reserve_bytes: 0, background: false, ..Tuning::default() }
}

fn options(vfs: Arc<dyn Vfs>) -> Options {
    Options { vfs, tuning: tuning(), ..Options::default() }
}

fn put(id: &str, rows: usize) -> Vec<Change> {
    vec![upsert("c", [Record::new(id, matrix(rows, 2, 0.0))])]
}

#[test]
fn a_log_that_could_not_be_begun_hides_none_that_was_begun_after_it() {
    let mut tried = 0;
    for at in 0.. {
        let memory = MemoryVfs::default();
        drop(Store::open(Path::new(DB), Mode::Write { create: true }, options(Arc::new(memory.clone()))).unwrap());
        // Some operation fails, and a commit that failed is tried once more; then the process dies.
        let vfs = FaultyVfs::new(memory.clone(), at, Fault::NoSpace, false);
        let Ok(store) = Store::open(Path::new(DB), Mode::Write { create: false }, options(Arc::new(vfs.clone())))
        else {
            continue;
        };
        let mut done = store.commit(vec![create("c", Schema::new(2))]).is_ok();
        done = done || store.commit(vec![create("c", Schema::new(2))]).is_ok();
        let acknowledged: Vec<&str> = ["small", "large", "last"]
            .into_iter()
            .filter(|id| {
                let rows = if *id == "large" { 10 } else { 1 };
                done && (store.commit(put(id, rows)).is_ok() || store.commit(put(id, rows)).is_ok())
            })
            .collect();
        let poisoned = matches!(store.sync(), Err(Error::Poisoned { .. }));
        let image = memory.copy().unwrap();
        drop(store);
        let reader = Store::open(Path::new(DB), Mode::Read, options(Arc::new(image.clone()))).unwrap();
        let again = Store::open(Path::new(DB), Mode::Write { create: false }, options(Arc::new(image))).unwrap();
        if !acknowledged.is_empty() {
            for store in [&reader, &again] {
                let found = ids(store, "c");
                let all_there = acknowledged.iter().all(|id| found.iter().any(|found| found == id));
                // One more may be there after a failed sync, whose outcome is unknown.
                assert!(all_there && found.len() <= acknowledged.len() + usize::from(poisoned), "{at}: {found:?}");
            }
            tried += 1;
        }
        if vfs.fired().is_none() {
            break;
        }
    }
    assert!(tried > 20, "{tried}");
}

#[test]
fn threads_that_commit_at_once_share_their_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("db"), Mode::Write { create: true }, Options::default()).unwrap();
    store.commit(vec![create("c", Schema::new(2))]).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..25 {
                    let committed = store.commit(put(&format!("{thread} {n}"), 1)).unwrap();
                    assert!(store.version().seq >= committed.version.seq, "what is acknowledged is seen");
                }
            });
        }
    });
    assert_eq!((ids(&store, "c").len(), store.version().seq), (200, 201));
    drop(store);
    assert_eq!(ids(&open_disk(dir.path()), "c").len(), 200);
}

fn open_disk(path: &Path) -> Store {
    Store::open(&path.join("db"), Mode::Read, Options::default()).unwrap()
}

#[test]
fn what_was_buffered_is_synced_after_a_while_without_being_asked() {
    let dir = tempfile::tempdir().unwrap();
    let tuning = Tuning { buffered_for: std::time::Duration::from_millis(20), ..Tuning::default() };
    let store =
        Store::open(&dir.path().join("db"), Mode::Write { create: true }, Options { tuning, ..Options::default() })
            .unwrap();
    store.commit(vec![create("c", Schema::new(2))]).unwrap();
    store.commit_with(put("a", 1), Durability::Buffered).unwrap();
    // A mark in the log says that the record is durable; an earlier one said so of the collection.
    let marked = || {
        let names = std::fs::read_dir(dir.path().join("db")).unwrap().map(|entry| entry.unwrap().path());
        let mut logs: Vec<_> = names.filter(|path| path.to_string_lossy().contains("wal-")).collect();
        logs.sort();
        let bytes = std::fs::read(logs.last().unwrap()).unwrap();
        bytes.windows(4).filter(|bytes| *bytes == layout::FRAME_MAGIC).count() == 4
    };
    let begin = std::time::Instant::now();
    while !marked() {
        assert!(begin.elapsed() < std::time::Duration::from_secs(20), "never synced");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn large_matrices_are_written_once_and_small_ones_twice() {
    let vfs = MemoryVfs::recording();
    let store = Store::open(Path::new(DB), Mode::Write { create: true }, {
        let tuning = Tuning { background: false, reserve_bytes: 0, ..Tuning::default() };
        Options { vfs: Arc::new(vfs.clone()), tuning, ..Options::default() }
    })
    .unwrap();
    store.commit(vec![create("c", Schema::new(512)), create("small", Schema::new(384))]).unwrap();
    let written = || -> usize {
        let bytes = |operation: &vfs::Operation| match operation {
            vfs::Operation::Write(_, _, bytes) => bytes.len(),
            _ => 0,
        };
        vfs.operations().iter().map(bytes).sum()
    };
    let before = written();
    let large = matrix(249, 512, 0.0);
    for n in 0..40 {
        store.commit(vec![upsert("c", [Record::new(format!("{n}"), large.clone())])]).unwrap();
    }
    store.flush().unwrap();
    let factor = (written() - before) as f64 / (40 * 249 * 512 * 4) as f64;
    println!("figure bytes_written_per_byte_of_large_records = {factor:.4} times");
    assert!(factor <= 1.05, "{factor}");
    let before = written();
    for n in 0..4_000 {
        let small = Record::new(format!("{n}"), matrix(1, 384, n as f32));
        store.commit_with(vec![upsert("small", [small])], Durability::Buffered).unwrap();
    }
    store.flush().unwrap();
    let factor = (written() - before) as f64 / (4_000 * 384 * 4) as f64;
    println!("figure bytes_written_per_byte_of_small_records = {factor:.4} times");
    assert!(factor <= 2.5, "{factor}");
}

#[test]
fn what_a_thread_of_the_store_meets_is_told_once_by_the_next_flush() {
    let vfs = MemoryVfs::default();
    let store = Store::open(Path::new(DB), Mode::Write { create: true }, options(Arc::new(vfs))).unwrap();
    store.commit(vec![create("c", Schema::new(2))]).unwrap();
    store.shared.note(Error::DiskFull { path: PathBuf::from("seg") });
    store.commit(put("a", 1)).unwrap();
    assert!(store.stat().unwrap().trouble.is_some());
    assert!(matches!(store.flush(), Err(Error::DiskFull { .. })));
    store.flush().unwrap();
    assert_eq!(ids(&store, "c"), ["a"]);
}

/// The log has something every 16 bytes that looks like a frame reaching to the end, so that finding out that none is
/// one could take time quadratic in its length. Without the limit on that, the test takes minutes.
#[test]
fn a_log_of_nothing_but_beginnings_is_damage_before_long() {
    let vfs = MemoryVfs::default();
    let store = Store::open(Path::new(DB), Mode::Write { create: true }, options(Arc::new(vfs.clone()))).unwrap();
    store.commit(vec![create("c", Schema::new(2))]).unwrap();
    store.commit(put("a", 1)).unwrap();
    let image = vfs.copy().unwrap();
    drop(store);
    let log = image.files().into_iter().rfind(|path| path.to_str().unwrap().contains("wal-")).unwrap();
    let mut bytes = image.read(&log).unwrap();
    let (whole, length) = (bytes.len(), 8 << 20);
    for at in (whole..length).step_by(16) {
        let mut head = [0; layout::frame::BYTES];
        layout::frame::MAGIC.put(&mut head, &layout::FRAME_MAGIC);
        layout::frame::KIND.put_number(&mut head, 1);
        let reach = (length - at).saturating_sub(layout::frame::BYTES) / 8 * 8;
        layout::frame::PAYLOAD_BYTES.put_number(&mut head, reach as u64);
        bytes.extend_from_slice(&head[..16]);
    }
    // The number that follows each length is part of the next such place, and says that many commits were durable.
    image.write(&log, &bytes).unwrap();
    for mode in [Mode::Read, Mode::Write { create: false }] {
        let opened = Store::open(Path::new(DB), mode, options(Arc::new(image.clone())));
        let error = opened.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("look like frames"), "{error}");
    }
    repair_to(Path::new(DB), options(Arc::new(image.clone())), Path::new("saved")).unwrap();
    let saved = Store::open(Path::new("saved"), Mode::Read, options(Arc::new(image))).unwrap();
    assert_eq!(ids(&saved, "c"), ["a"]);
}

#[test]
fn a_log_is_read_in_pieces_however_many_commits_are_in_it() {
    let mut counts = Vec::new();
    for commits in [10, 100, 4_000] {
        let vfs = MemoryVfs::default();
        let store = Store::open(Path::new(DB), Mode::Write { create: true }, options(Arc::new(vfs.clone()))).unwrap();
        store.commit(vec![create("c", Schema::new(2))]).unwrap();
        (0..commits).for_each(|n| {
            store.commit_with(put(&format!("{n}"), 1), Durability::Buffered).unwrap();
        });
        let counting = FaultyVfs::new(vfs, u64::MAX, Fault::Io, false);
        let reader = Store::open(Path::new(DB), Mode::Read, options(Arc::new(counting.clone()))).unwrap();
        assert_eq!(ids(&reader, "c").len(), commits);
        counts.push(counting.operation_count());
    }
    // All of these logs fit in one piece.
    assert!(counts[2] <= counts[0] + 4, "{counts:?}");
}

#[test]
fn a_matrix_that_found_no_room_does_not_keep_those_before_it_from_being_synced() {
    for at in 0.. {
        let memory = MemoryVfs::recording();
        let vfs = FaultyVfs::new(memory.clone(), at, Fault::NoSpace, false);
        let Ok(store) = Store::open(Path::new(DB), Mode::Write { create: true }, options(Arc::new(vfs.clone()))) else {
            continue;
        };
        let commit = |changes| store.commit_with(changes, Durability::Buffered).is_ok();
        if !commit(vec![create("c", Schema::new(2))]) || !commit(put("first", 10)) || vfs.fired().is_some() {
            continue;
        }
        if commit(put("second", 10)) {
            break;
        }
        store.commit(put("third", 1)).unwrap();
        let mut unsynced = std::collections::BTreeSet::new();
        for operation in memory.operations() {
            match operation {
                vfs::Operation::Write(inode, offset, bytes) if offset >= 4_096 || bytes.len() > 256 => {
                    unsynced.insert(inode);
                }
                vfs::Operation::Sync(inode) => drop(unsynced.remove(&inode)),
                _ => {}
            }
        }
        assert!(unsynced.is_empty(), "{at}: {:?}", memory.operations());
    }
}

#[test]
fn a_log_of_tiny_commits_is_written_out_before_there_are_too_many_to_follow() {
    let tuning = Tuning { log_bytes: 100 << 10, ..tuning() };
    let options = Options { vfs: Arc::new(MemoryVfs::default()), tuning, ..Options::default() };
    let store = Store::open(Path::new(DB), Mode::Write { create: true }, options).unwrap();
    store.commit(vec![create("c", Schema::new(2))]).unwrap();
    let generation = |commits: usize| {
        (0..commits).for_each(|n| drop(store.commit(put(&format!("{n}"), 1)).unwrap()));
        store.version().generation
    };
    assert_eq!((generation(90), generation(20)), (1, 2));
}
