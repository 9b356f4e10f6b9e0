//! Promises of a backup: one committed version, whole, beside a busy writer; and no half database, whatever is cut off.
#![allow(clippy::unwrap_used)]

use otolith::testing::store::vfs::{Effort, Fault, FaultyVfs, MemoryVfs, PowerCut};
use otolith::testing::store::{BackedUp, Depth};
use otolith::{Database, Error, Matrix, Record, Result, Schema};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const DIM: usize = 24;

/// Everything in the collection: by id the field `n` and the bits of the matrix.
type Content = BTreeMap<String, (u64, Vec<u32>)>;

fn matrix(n: u64, rows: usize) -> Matrix {
    let values = (0..rows * DIM).map(|at| (n * 31 + at as u64 % 97) as f32 * 0.25).collect();
    Matrix::from_rows(rows, DIM, values).unwrap()
}

/// Commit number `n`: one record more, another replaced, one gone, all in one transaction.
fn commit(db: &Database, n: u64) {
    let mut all = db.transaction();
    all.upsert("c", [Record::new(format!("new-{n}"), matrix(n, 3)).field("n", n)]);
    all.upsert("c", [Record::new("same", matrix(n, 40)).field("n", n)]);
    if n > 4 {
        all.delete("c", [format!("new-{}", n - 4)]);
    }
    all.commit().unwrap();
}

/// What the collection holds after commit `n`.
fn after(n: u64) -> Content {
    let bits = |n, rows| matrix(n, rows).values().iter().map(|value| value.to_bits()).collect();
    let mut content: Content =
        (n.saturating_sub(3).max(1)..=n).map(|n| (format!("new-{n}"), (n, bits(n, 3)))).collect();
    if n > 0 {
        content.insert("same".to_owned(), (n, bits(n, 40)));
    }
    content
}

fn content(db: &Database) -> Content {
    let snapshot = db.collection("c").unwrap().snapshot().unwrap();
    let read = snapshot.iter().map(|entry| {
        let bits = entry.matrix().unwrap().view().values().iter().map(|value| value.to_bits()).collect();
        (entry.id().unwrap().to_owned(), (entry.fields().unwrap()["n"].as_u64().unwrap(), bits))
    });
    read.collect()
}

/// The number of the commit that a database is at; it must hold exactly what that commit left.
fn commit_of(db: &Database) -> u64 {
    assert!(db.verify(Depth::Deep).unwrap().is_clean());
    let found = content(db);
    let n = found.get("same").map_or(0, |(n, _)| *n);
    assert!(found == after(n), "a mixture of commits around {n}");
    n
}

fn filled(db: &Database, commits: u64) {
    db.create_collection("c", Schema::new(DIM)).unwrap();
    (1..=commits).for_each(|n| commit(db, n));
}

#[test]
fn a_backup_beside_a_busy_writer_is_one_committed_version() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let db = Database::open(at("db")).unwrap();
    db.create_collection("c", Schema::new(DIM)).unwrap();
    let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1.. {
                commit(&db, n);
                done.store(n, Ordering::SeqCst);
                if stop.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        let reader = Database::open_read_only(at("db")).unwrap();
        for round in 0..12 {
            let (known, copy) = (done.load(Ordering::SeqCst), at(&format!("copy-{round}")));
            // Turn and turn about: the writer's own handle, and one as another process would have it.
            let handle = if round % 2 == 0 { &db } else { &reader };
            let made = handle.backup_to(&copy).unwrap();
            let n = commit_of(&Database::open_read_only(&copy).unwrap());
            assert!(n >= known, "commit {known} was acknowledged before the backup began, which holds {n}");
            assert_eq!(made.records, after(n).len() as u64);
            while done.load(Ordering::SeqCst) < known + 3 {
                std::thread::yield_now();
            }
        }
        stop.store(true, Ordering::SeqCst);
    });
    let last = done.load(Ordering::SeqCst);
    assert_eq!(commit_of(&db), last);
    println!("figure backups_beside_a_writer = 12 backups of {last} commits");
}

#[test]
fn original_and_backup_share_no_fate() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let db = Database::open(at("db")).unwrap();
    filled(&db, 9);
    let made = db.backup_to(at("copy")).unwrap();
    let copy = Database::open(at("copy")).unwrap();
    (10..30).for_each(|n| commit(&db, n));
    assert_eq!((commit_of(&db), commit_of(&copy)), (29, 9));
    (10..20).for_each(|n| commit(&copy, n));
    assert_eq!((commit_of(&db), commit_of(&copy)), (29, 19));
    drop(db);
    fs::remove_dir_all(at("db")).unwrap();
    assert_eq!(commit_of(&copy), 19);
    drop(copy);
    assert_eq!(commit_of(&Database::open(at("copy")).unwrap()), 19);
    assert!(made.linked_files > 0 || cfg!(not(unix)), "{made:?}");
}

#[cfg(unix)]
#[test]
fn sealed_files_are_shared_and_manifests_are_not() {
    use std::os::unix::fs::MetadataExt;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let db = Database::open(at("db")).unwrap();
    filled(&db, 3);
    db.flush().unwrap();
    let made = db.backup_to(at("copy")).unwrap();
    assert_eq!(made.copied_files, 1, "{made:?}");
    let files =
        |dir: &str| -> Vec<_> { fs::read_dir(at(dir)).unwrap().map(|entry| entry.unwrap().file_name()).collect() };
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let segments = files("copy/seg");
    assert!(!segments.is_empty());
    for name in segments {
        assert_eq!(inode(&at("db/seg").join(&name)), inode(&at("copy/seg").join(&name)));
        assert_eq!(fs::metadata(at("copy/seg").join(&name)).unwrap().mode() & 0o222, 0, "nobody may write it");
    }
    let manifests = || files("copy").into_iter().filter(|name| name.to_string_lossy().starts_with("manifest-"));
    assert_eq!(manifests().count(), 1);
    for name in manifests() {
        let original = at("db").join(&name);
        assert_eq!(fs::read(&original).unwrap(), fs::read(at("copy").join(&name)).unwrap());
        assert_ne!(inode(&original), inode(&at("copy").join(&name)));
    }
}

#[test]
fn a_backup_of_a_backup_is_the_same_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let db = Database::open(at("db")).unwrap();
    filled(&db, 7);
    let first = db.backup_to(at("first")).unwrap();
    let second = Database::open_read_only(at("first")).unwrap().backup_to(at("second")).unwrap();
    assert_eq!(first, second);
    assert_eq!(commit_of(&Database::open_read_only(at("second")).unwrap()), 7);
}

#[test]
fn a_directory_that_is_not_empty_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let db = Database::open(at("db")).unwrap();
    filled(&db, 2);
    fs::create_dir(at("full")).unwrap();
    fs::write(at("full/letter.txt"), "dear").unwrap();
    let refused = |made: Result<BackedUp>| match made {
        Err(Error::Unusable { why, .. }) => why,
        other => panic!("{other:?}"),
    };
    assert!(refused(db.backup_to(at("full"))).contains("letter.txt"));
    assert_eq!(fs::read_dir(at("full")).unwrap().count(), 1, "nothing was put there");
    refused(db.backup_to(at("db")));
    db.backup_to(at("copy")).unwrap();
    refused(db.backup_to(at("copy")));
    assert!(matches!(db.backup_to(at("no/where")), Err(Error::Io { .. })));
    assert_eq!(commit_of(&db), 2);
    fs::create_dir(at("empty")).unwrap();
    db.backup_to(at("empty")).unwrap();
    assert_eq!(commit_of(&Database::open_read_only(at("empty")).unwrap()), 2);
}

#[cfg(unix)]
#[test]
fn neither_backup_nor_repair_goes_into_the_database_by_whatever_path() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let db = Database::open(at("db")).unwrap();
    filled(&db, 2);
    std::os::unix::fs::symlink("db", at("link")).unwrap();
    std::os::unix::fs::symlink("../db/seg", at("db/way")).unwrap();
    fs::create_dir(at("x")).unwrap();
    let names = || -> std::collections::BTreeSet<_> {
        fs::read_dir(at("db")).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    };
    let before = names();
    for path in ["db", "db/sub", "db/sub/deeper", "db/seg", "db/way/sub", "link", "link/sub", "x/../db/sub", "db/./sub"]
    {
        let made = db.backup_to(at(path));
        assert!(matches!(made, Err(Error::Unusable { .. })), "{path}: {made:?}");
        let saved = Database::options().repair_to(at("db"), at(path));
        assert!(matches!(saved, Err(Error::Unusable { .. })), "{path}: {saved:?}");
    }
    assert_eq!(names(), before);
    db.backup_to(at("db-2")).unwrap();
    assert!(Database::options().repair_to(at("db"), at("link-2")).unwrap().is_complete());
}

#[cfg(unix)]
#[test]
fn what_is_no_file_or_not_there_makes_a_backup_fail_by_name() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let db = Database::open(at("db")).unwrap();
    filled(&db, 3);
    db.close().unwrap();
    let segment = fs::read_dir(at("db/seg")).unwrap().next().unwrap().unwrap().file_name();
    let path = at("db/seg").join(&segment);
    fs::rename(&path, at("aside")).unwrap();
    for way in 0..3 {
        match way {
            0 => symlink(at("aside"), &path).unwrap(),
            1 => assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success()),
            _ => {}
        }
        let made = Database::open_read_only(at("db")).unwrap().backup_to(at("copy")).unwrap_err();
        assert!(made.to_string().contains(segment.to_str().unwrap()), "{made}");
        assert!(matches!(Database::open_read_only(at("copy")).map(drop), Err(Error::NotFound { .. })));
        fs::remove_dir_all(at("copy")).unwrap();
        let _ = fs::remove_file(&path);
    }
    fs::rename(at("aside"), &path).unwrap();
    Database::open_read_only(at("db")).unwrap().backup_to(at("copy")).unwrap();
    assert_eq!(commit_of(&Database::open_read_only(at("copy")).unwrap()), 3);
}

#[test]
fn a_copy_that_does_not_hold_what_the_original_does_is_no_backup() {
    for replaced in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy");
        let db = Database::open(folder.path().join("db")).unwrap();
        filled(&db, 5);
        db.flush().unwrap();
        // Somebody is at the copy while it is made.
        let disturb = |done: u64, total: u64| {
            if done < total {
                for entry in fs::read_dir(copy.join("seg")).unwrap() {
                    let path = entry.unwrap().path();
                    fs::remove_file(&path).unwrap();
                    if replaced {
                        fs::write(&path, vec![7; 5_000]).unwrap();
                    }
                }
            }
        };
        let made = db.backup_with(&copy, &disturb);
        assert!(matches!(made, Err(Error::Unusable { .. })), "{made:?}");
        assert!(matches!(Database::open_read_only(&copy).map(drop), Err(Error::NotFound { .. })));
        fs::remove_dir_all(&copy).unwrap();
        db.backup_to(&copy).unwrap();
        assert_eq!(commit_of(&Database::open_read_only(&copy).unwrap()), 5);
        assert_eq!(commit_of(&db), 5);
    }
}

/// The number of the commit that the database at `path` is at, if there is one.
fn found(vfs: &MemoryVfs, path: &str) -> Option<u64> {
    match Database::options().vfs(Arc::new(vfs.clone())).read_only().open(path) {
        Ok(db) => Some(commit_of(&db)),
        Err(Error::NotFound { .. }) => None,
        Err(error) => panic!("half a database: {error}"),
    }
}

#[test]
fn a_power_cut_leaves_no_half_backup_and_the_original_whole() {
    let vfs = MemoryVfs::default();
    let db = Database::options().vfs(Arc::new(vfs.clone())).open("db").unwrap();
    filled(&db, 6);
    db.flush().unwrap();
    vfs.record();
    let mut disk = PowerCut::of(&vfs);
    db.backup_to("copy").unwrap();
    let operations = vfs.operations();
    let (mut images, mut whole) = (0, 0);
    for cut in 0..=operations.len() {
        for which in disk.aftermaths(Effort::Usual, cut as u64) {
            let image = disk.image(&which);
            let which = disk.describe(&which);
            assert_eq!(found(&image, "db"), Some(6), "cut after {cut} operations, {which:?}");
            let copy = found(&image, "copy");
            assert!(copy.is_none_or(|n| n == 6), "cut after {cut} operations, {which:?}: commit {copy:?}");
            assert!(cut < operations.len() || copy.is_some(), "a finished backup is lost, {which:?}");
            images += 1;
            whole += u64::from(copy.is_some());
        }
        if let Some(operation) = operations.get(cut) {
            disk.apply(operation);
        }
    }
    assert!(whole > 0 && images > 10 * operations.len());
    println!("figure backup_power_cut_images = {images} images");
}

#[test]
fn whatever_operation_fails_there_is_a_whole_backup_or_none() {
    for fault in Fault::ALL {
        for for_good in [false, true] {
            let mut failed = 0;
            for at in 0.. {
                let inner = MemoryVfs::default();
                let db = Database::options().vfs(Arc::new(inner.clone())).open("db").unwrap();
                filled(&db, 3);
                drop(db);
                let base = inner.copy().unwrap();
                let probe = FaultyVfs::new(inner, u64::MAX, fault, false);
                let open =
                    |vfs: &FaultyVfs| Database::options().vfs(Arc::new(vfs.clone())).read_only().open("db").unwrap();
                let opening = {
                    open(&probe);
                    probe.operation_count()
                };
                let vfs = FaultyVfs::new(base.clone(), opening + at, fault, for_good);
                let handle = open(&vfs);
                if fault == Fault::Interrupted && for_good {
                    break; // a system that does nothing but interrupt is waited for
                }
                let made = handle.backup_to("copy");
                let copy = found(&base, "copy");
                match made {
                    Ok(_) => assert_eq!(copy, Some(3), "{fault:?} at {at}"),
                    Err(error) if fault == Fault::Interrupted => panic!("not tried again at {at}: {error}"),
                    // Only the very last sync comes when the copy is whole already.
                    Err(_) => assert!(copy.is_none_or(|n| n == 3), "{fault:?} at {at}"),
                }
                assert_eq!(found(&base, "db"), Some(3));
                failed += u64::from(vfs.fired().is_some());
                if vfs.fired().is_none() {
                    break;
                }
            }
            assert!(failed > 20 || fault == Fault::Interrupted && for_good, "{fault:?}: only {failed} faults hit");
        }
    }
}
