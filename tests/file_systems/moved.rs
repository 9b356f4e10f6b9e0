//! Directories of a real disk that are moved, replaced, emptied and restored under handles at work.

use super::children::{again, child_database, succeeds};
use super::*;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::Command;

/// Every file below a directory with its bytes.
pub(crate) type Tree = BTreeMap<PathBuf, Vec<u8>>;

pub(crate) fn tree(dir: &Path) -> Tree {
    let mut found = Tree::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(at) = dirs.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => dirs.push(entry.path()),
                kind if kind.is_file() => {
                    let name = entry.path().strip_prefix(dir).unwrap().to_path_buf();
                    found.insert(name, fs::read(entry.path()).unwrap());
                }
                _ => {}
            }
        }
    }
    found
}

/// Adds records `from..to`, each in a commit of its own.
fn add(db: &Database, from: usize, to: usize) -> otolith::Result<()> {
    let clips = db.collection("c")?;
    (from..to).try_for_each(|seed| clips.upsert([Record::new(format!("r{seed}"), matrix(seed))]).map(drop))
}

pub(crate) fn make(path: &Path, count: usize) -> Database {
    let db = Database::open(path).unwrap();
    db.create_collection("c", Schema::new(8)).unwrap();
    add(&db, 0, count).unwrap();
    db
}

fn holds(path: &Path, count: usize) {
    finds_each(&Database::open_read_only(path).unwrap(), count);
    assert!(Database::open(path).unwrap().verify(otolith::testing::store::Depth::Deep).unwrap().is_clean());
    finds_each(&Database::open_read_only(path).unwrap(), count);
}

/// The writer is told, and says what happened and what to do.
fn stops<T: std::fmt::Debug>(done: otolith::Result<T>, what: &str) {
    let error = done.unwrap_err();
    assert!(matches!(error, Error::Poisoned { .. } | Error::OutcomeUnknown { .. }), "{what}: {error:?}");
    let text = error.to_string();
    for part in ["while it was open", "open"] {
        assert!(text.contains(part), "{what}: `{part}` is missing from: {text}");
    }
}

/// Puts another database where the path of the first one leads now, and lets the first handle go on.
fn goes_on(db: Database, home: &Path, other: &Path) {
    let before = tree(other);
    let reader = Database::open_read_only(home).unwrap();
    for round in 1..4 {
        add(&db, 3 * round, 3 * round + 3).unwrap();
        db.flush().unwrap();
        reader.refresh().unwrap();
        finds_each(&reader, 3 * round + 3);
    }
    db.close().unwrap();
    holds(home, 12);
    assert!(tree(other) == before, "the other database was touched");
}

#[test]
fn a_handle_stays_with_its_directory_when_that_is_renamed_or_a_link_leads_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let db = make(&at("db"), 3);
    fs::rename(at("db"), at("moved")).unwrap();
    drop(make(&at("db"), 2));
    goes_on(db, &at("moved"), &at("db"));

    fs::create_dir(at("one")).unwrap();
    symlink("one", at("current")).unwrap();
    let db = make(&at("current/db"), 3);
    fs::create_dir(at("two")).unwrap();
    fs::remove_file(at("current")).unwrap();
    symlink("two", at("current")).unwrap();
    drop(make(&at("current/db"), 2));
    goes_on(db, &at("one/db"), &at("two/db"));
}

#[test]
fn a_handle_stays_with_its_directory_when_the_process_goes_to_another() {
    let Some(folder) = child_database() else {
        let folder = tempfile::tempdir().unwrap();
        let name = "moved::a_handle_stays_with_its_directory_when_the_process_goes_to_another";
        return succeeds(&mut again("exec \"$@\"", name, folder.path()));
    };
    for name in ["one", "two"] {
        fs::create_dir(folder.join(name)).unwrap();
        std::env::set_current_dir(folder.join(name)).unwrap();
        drop(make(Path::new("db"), 2));
    }
    std::env::set_current_dir(folder.join("one")).unwrap();
    let db = Database::open("../one/./db").unwrap();
    add(&db, 2, 3).unwrap();
    std::env::set_current_dir(folder.join("two")).unwrap();
    goes_on(db, &folder.join("one/db"), &folder.join("two/db"));
    let backup = Database::open_read_only("db").unwrap().backup_to("../copy").unwrap();
    assert_eq!(backup.records, 2, "a path that is given later is one of the new directory");
}

#[test]
fn several_paths_to_one_database_are_one_database() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let db = make(&at("db"), 3);
    symlink("db", at("link")).unwrap();
    fs::create_dir(at("x")).unwrap();
    for path in ["link", "x/../db", "db/seg/..", "./db/."] {
        let second = Database::open(at(path)).map(drop);
        assert!(matches!(second, Err(Error::Locked { .. })), "{path}: {second:?}");
        finds_each(&Database::open_read_only(at(path)).unwrap(), 3);
    }
    drop(db);
    for (round, path) in ["link", "x/../db", "db/seg/.."].iter().enumerate() {
        add(&Database::open(at(path)).unwrap(), 3 + round, 4 + round).unwrap();
    }
    holds(&at("db"), 6);
    let made = Database::open(at("x/../new")).unwrap();
    made.create_collection("c", Schema::new(8)).unwrap();
    drop(made);
    holds(&at("new"), 0);
}

#[test]
fn a_mount_of_a_database_elsewhere_is_the_same_database() {
    let name = "moved::a_mount_of_a_database_elsewhere_is_the_same_database";
    if let Some(path) = child_database() {
        let db = Database::open(&path).unwrap();
        let second = Database::open(path.with_file_name("mount")).map(drop);
        assert!(matches!(second, Err(Error::Locked { .. })), "{second:?}");
        return drop(db);
    }
    let may_mount = Command::new("unshare").args(["--mount", "true"]).output();
    if !may_mount.is_ok_and(|output| output.status.success()) {
        return eprintln!("skipped: `unshare --mount` is not allowed here, so nothing can be mounted");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    drop(make(&path, 2));
    fs::create_dir(folder.path().join("mount")).unwrap();
    let shell = format!("mount --bind '{0}/db' '{0}/mount' && exec \"$@\"", folder.path().display());
    let inner = again(&shell, name, &path);
    let mut child = Command::new("unshare");
    child.arg("--mount").arg("sh").args(inner.get_args()).env("OTOLITH_TEST_PLACE_CHILD", &path);
    succeeds(&mut child);
}

/// How a backup comes to lie over a database.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// `rm -rf db; cp -r backup db`
    Anew,
    /// `rm -rf db/*; cp -r backup/* db`
    Emptied,
    /// `rsync --delete`: each file under another name first; what is not in the backup goes.
    Renamed,
    /// `cp -r backup/* db`: bytes in place, what is newer stays.
    Over,
    /// `mv backup db` after `mv db old`: for the handle no more than a renaming.
    Moved,
}

fn restore(way: Way, backup: &Path, db: &Path) {
    let saved = tree(backup);
    match way {
        Way::Anew => fs::remove_dir_all(db).unwrap(),
        Way::Emptied => tree(db).keys().for_each(|name| fs::remove_file(db.join(name)).unwrap()),
        Way::Renamed | Way::Over => {}
        Way::Moved => return fs::rename(db, db.with_file_name("old")).and_then(|()| fs::rename(backup, db)).unwrap(),
    }
    for dir in ["", "seg", "view", "derived"] {
        fs::create_dir_all(db.join(dir)).unwrap();
    }
    for (name, bytes) in &saved {
        let to = db.join(name);
        if way == Way::Over {
            let mode = |mode| fs::set_permissions(&to, std::os::unix::fs::PermissionsExt::from_mode(mode));
            let _ = mode(0o644);
            fs::write(&to, bytes).unwrap();
        } else {
            fs::write(to.with_extension("copying"), bytes).unwrap();
            fs::rename(to.with_extension("copying"), to).unwrap();
        }
    }
    if way == Way::Renamed {
        tree(db)
            .keys()
            .filter(|name| !saved.contains_key(*name))
            .for_each(|name| fs::remove_file(db.join(name)).unwrap());
    }
}

#[test]
fn a_backup_restored_over_a_live_database_is_noticed_and_not_touched() {
    for way in [Way::Anew, Way::Emptied, Way::Renamed, Way::Over, Way::Moved] {
        for flushed in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name);
            let db = make(&at("db"), 3);
            db.backup_to(at("backup")).unwrap();
            add(&db, 3, 6).unwrap();
            if flushed {
                db.flush().unwrap();
            }
            let reader = Database::open_read_only(at("db")).unwrap();
            restore(way, &at("backup"), &at("db"));
            let restored = tree(&at("db"));
            let what = format!("{way:?}, flushed: {flushed}");
            if way == Way::Moved {
                add(&db, 6, 8).unwrap();
                db.close().unwrap();
                assert!(tree(&at("db")) == restored, "{what}");
                holds(&at("old"), 8);
                holds(&at("db"), 3);
                continue;
            }
            let added = add(&db, 6, 8);
            if way != Way::Over {
                stops(added, &what);
            }
            // `LOCK` shows the bytes in place, and whoever publishes looks there.
            stops(db.flush(), &what);
            stops(db.create_collection("d", Schema::new(2)).map(drop), &what);
            let refreshed = reader.refresh();
            assert!(refreshed.is_err() || way == Way::Over, "{what}: a reader went on");
            stops(db.close(), &what);
            let now = tree(&at("db"));
            assert!(way == Way::Over || now == restored, "{what}: restored files were touched");
            for (name, bytes) in &restored {
                assert!(now.get(name).is_some_and(|now| now.starts_with(bytes)), "{what}: {} changed", name.display());
            }
            if way != Way::Over {
                holds(&at("db"), 3);
            }
        }
    }
}

#[test]
fn a_directory_that_is_removed_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let db = make(&path, 3);
    let reader = Database::open_read_only(&path).unwrap();
    fs::remove_dir_all(&path).unwrap();
    stops(add(&db, 3, 4), "removed");
    let refreshed = reader.refresh().unwrap_err();
    assert!(matches!(refreshed, Error::Unusable { .. }), "{refreshed:?}");
    // What was opened can still be read.
    finds_each(&reader, 3);
    stops(db.close(), "removed");
    assert!(!path.exists());
}

#[test]
fn logs_and_growing_segments_that_somebody_removes_take_nothing_along() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let db = make(&path, 2);
    let clips = db.collection("c").unwrap();
    let large = |seed: usize| Matrix::from_rows(4_096, 8, vec![seed as f32; 4_096 * 8]).unwrap();
    for (round, part) in ["wal-", ".oseg", "wal-", ".oseg"].iter().enumerate() {
        db.flush().unwrap();
        let sealed = tree(&path);
        clips.upsert([Record::new(format!("large{round}"), large(round))]).unwrap();
        let new: Vec<PathBuf> = tree(&path).into_keys().filter(|name| !sealed.contains_key(name)).collect();
        let gone = new.iter().filter(|name| name.to_str().unwrap().contains(part));
        assert!(gone.inspect(|name| fs::remove_file(path.join(name)).unwrap()).count() > 0);
        if round > 1 {
            clips.upsert([Record::new(format!("after{round}"), large(round))]).unwrap();
        }
    }
    drop(clips);
    db.close().unwrap();
    let db = Database::open(&path).unwrap();
    let clips = db.collection("c").unwrap();
    assert_eq!(clips.len().unwrap(), 2 + 4 + 2);
    (0..4).for_each(|n| assert_eq!(clips.get(&format!("large{n}")).unwrap().unwrap().matrix, large(n)));
    assert!(db.verify(otolith::testing::store::Depth::Deep).unwrap().is_clean());
}

#[test]
fn a_lock_is_known_by_its_name_not_by_having_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let db = make(&at("db"), 2);
    db.flush().unwrap();
    // As `cp -al` does.
    for name in tree(&at("db")).keys() {
        fs::create_dir_all(at("copy").join(name.parent().unwrap())).unwrap();
        fs::hard_link(at("db").join(name), at("copy").join(name)).unwrap();
    }
    assert!(matches!(Database::open(at("copy")).map(drop), Err(Error::Locked { .. })));
    finds_each(&Database::open_read_only(at("copy")).unwrap(), 2);
    let before = tree(&at("copy"));
    fs::remove_file(at("db/LOCK")).unwrap();
    assert_eq!(fs::metadata(at("copy/LOCK")).unwrap().nlink(), 1, "the file lives on under its other name");
    stops(add(&db, 2, 3), "LOCK removed");
    stops(db.close(), "LOCK removed");
    add(&Database::open(at("db")).unwrap(), 2, 4).unwrap();
    holds(&at("db"), 4);
    assert!(tree(&at("copy")) == before);
    add(&Database::open(at("copy")).unwrap(), 2, 3).unwrap();
    holds(&at("copy"), 3);
    // As NFS does with a file that is removed while it is open.
    let db = Database::open(at("db")).unwrap();
    fs::rename(at("db/LOCK"), at("db/.nfs0000000000000001")).unwrap();
    stops(add(&db, 4, 5), "LOCK renamed");
    drop(db);
    holds(&at("db"), 4);
}

#[test]
fn derived_files_may_go_with_their_directory_beside_a_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let store = Store::open(&path, Mode::Write { create: true }, Options::default()).unwrap();
    let create = Change::CreateCollection { name: "c".into(), schema: Schema::new(8) };
    let view = Change::CreateView {
        collection: "c".into(),
        name: "v".into(),
        settings: serde_json::json!({}),
        sections: Vec::new(),
    };
    store.commit(vec![create, view]).unwrap();
    for round in 0..3 {
        let records = vec![Record::new(format!("r{round}"), matrix(round))];
        store.commit(vec![Change::Upsert { collection: "c".into(), records }]).unwrap();
        store.flush().unwrap();
        fs::remove_dir_all(path.join("derived")).unwrap();
        let version = store.version();
        let collection = &version.collections["c"];
        for part in &collection.segments {
            let build = |n| Ok(part.segment.matrix(n)?.into_matrix());
            let rows = store.rows(&part.segment, &collection.views["v"], &build);
            assert_eq!(rows.unwrap().matrix(0).unwrap().rows(), 4);
        }
        assert!(fs::read_dir(path.join("derived")).unwrap().count() > 0, "the directory is made again");
    }
    store.close().unwrap();
}

/// Some programs leave empty directories behind when they copy.
#[test]
fn directories_that_were_empty_are_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    drop(make(&at("db"), 0));
    drop(make(&at("full"), 2));
    for name in ["view", "derived", "seg"] {
        for db in ["db", "full"] {
            if fs::remove_dir(at(db).join(name)).is_ok() {
                finds_each(&Database::open_read_only(at(db)).unwrap(), if db == "db" { 0 } else { 2 });
                let open = Database::open(at(db)).unwrap();
                let view = otolith::View::new([otolith::pipeline::Step::Normalise]);
                open.collection("c").unwrap().create_view(name, &view).unwrap();
                open.close().unwrap();
            }
        }
    }
    holds(&at("db"), 0);
    holds(&at("full"), 2);
    // One that held something is not made again: what it held may come back.
    fs::rename(at("full/seg"), at("seg")).unwrap();
    let refused = Database::open(at("full")).map(drop).unwrap_err();
    assert!(refused.to_string().contains("seg"), "{refused}");
    assert!(!at("full/seg").exists());
    fs::rename(at("seg"), at("full/seg")).unwrap();
    holds(&at("full"), 2);
}
