//! What is no regular file under the names of a database; modes; locks of other users.

use super::children::{again, child_database, succeeds};
use super::moved::{Tree, make, tree};
use super::*;
use otolith::testing::store::{Depth, repair_to, verify_path};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// What somebody puts in the place of a file or directory.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Thing {
    Fifo,
    Socket,
    Directory,
    /// A link to what was there.
    Link,
    /// A link to a file of somebody else's.
    Foreign,
    Dangling,
}

const THINGS: [Thing; 6] = [Thing::Fifo, Thing::Socket, Thing::Directory, Thing::Link, Thing::Foreign, Thing::Dangling];

/// Ends the process when something waits for ever, which no assertion could say.
fn watch(seconds: u64) -> std::sync::mpsc::Sender<()> {
    let (done, waited_for) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        if waited_for.recv_timeout(Duration::from_secs(seconds)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            eprintln!("something waits for what never comes");
            std::process::abort();
        }
    });
    done
}

fn put(thing: Thing, path: &Path, aside: &Path, victim: &Path) {
    if fs::symlink_metadata(path).is_ok() {
        fs::rename(path, aside).unwrap();
    }
    match thing {
        Thing::Fifo => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
        Thing::Socket => drop(UnixListener::bind(path).unwrap()),
        Thing::Directory => fs::create_dir(path).unwrap(),
        Thing::Link => symlink(aside, path).unwrap(),
        Thing::Foreign => symlink(victim, path).unwrap(),
        Thing::Dangling => symlink(aside.with_extension("nowhere"), path).unwrap(),
    }
}

fn take_away(path: &Path, aside: &Path) {
    match fs::symlink_metadata(path) {
        Ok(is) if is.is_dir() => fs::remove_dir(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
    if fs::symlink_metadata(aside).is_ok() {
        fs::rename(aside, path).unwrap();
    }
}

/// A database that has a file of every kind, among them a log and a segment that grows.
fn one_of_each(path: &Path) {
    let store = Store::open(path, Mode::Write { create: true }, Options::default()).unwrap();
    let upsert = |from: usize, to: usize, rows: usize| Change::Upsert {
        collection: "c".into(),
        records: (from..to)
            .map(|n| Record::new(format!("r{n}"), Matrix::from_rows(rows, 8, vec![n as f32; rows * 8]).unwrap()))
            .collect(),
    };
    let view = Change::CreateView {
        collection: "c".into(),
        name: "v".into(),
        settings: serde_json::json!({"input_dim": 8}),
        sections: Vec::new(),
    };
    store.commit(vec![Change::CreateCollection { name: "c".into(), schema: Schema::new(8) }, view]).unwrap();
    store.commit(vec![upsert(0, 6, 2)]).unwrap();
    store.flush().unwrap();
    store.commit(vec![Change::Delete { collection: "c".into(), ids: vec!["r0".into()] }]).unwrap();
    store.flush().unwrap();
    let version = store.version();
    let collection = &version.collections["c"];
    for part in &collection.segments {
        let build = |n| Ok(part.segment.matrix(n)?.into_matrix());
        drop(store.rows(&part.segment, &collection.views["v"], &build).unwrap());
    }
    store.commit(vec![upsert(6, 8, 2), upsert(8, 9, 4_096)]).unwrap();
    // As a process leaves it that dies.
    let left: Tree = tree(path);
    drop((version, store));
    tree(path).keys().for_each(|name| fs::remove_file(path.join(name)).unwrap());
    left.iter().for_each(|(name, bytes)| fs::write(path.join(name), bytes).unwrap());
}

/// Everything that opens a database; all of it comes back, and errors name what is in the way.
fn use_it(path: &Path, out: &Path) -> Vec<String> {
    let told = std::cell::RefCell::new(Vec::new());
    let tell = |error: &Error| told.borrow_mut().push(error.to_string());
    for access in [Access::Map, Access::Read] {
        match Database::options().access(access).read_only().open(path) {
            Ok(db) => {
                let _ = db.stat().inspect_err(tell);
                if let Ok(clips) = db.collection("c").inspect_err(tell) {
                    for n in 0..9 {
                        let _ = clips.get(&format!("r{n}")).inspect_err(tell);
                    }
                }
                let _ = db.backup_to(out.join("backup")).inspect_err(tell);
                let _ = fs::remove_dir_all(out.join("backup"));
            }
            Err(error) => tell(&error),
        }
    }
    match verify_path(path, Options::default(), Depth::Derived) {
        Ok(report) => {
            let found = report.findings.iter().map(|found| format!("{}: {}", found.path.display(), found.what));
            told.borrow_mut().extend(found);
        }
        Err(error) => tell(&error),
    }
    match repair_to(path, Options::default(), &out.join("saved")) {
        Ok(report) => told.borrow_mut().push(format!("{report:?}")),
        Err(error) => tell(&error),
    }
    let _ = fs::remove_dir_all(out.join("saved"));
    told.into_inner()
}

#[test]
fn whatever_has_the_name_of_a_file_nothing_waits_for_it_and_nothing_goes_through_it() {
    let done = watch(240);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    one_of_each(&at("whole"));
    drop(make(&at("other"), 3));
    fs::write(at("victim"), "thesis").unwrap();
    let whole = tree(&at("whole"));
    let mut names: Vec<PathBuf> = whole.keys().cloned().collect();
    names.extend(["RESERVE", "manifest-00000000000000ff", "wal-00000000000000ff"].map(PathBuf::from));
    names.push("seg/00000000000000ff-0000000000000001.oseg".into());
    names.extend(["seg", "view", "derived"].map(PathBuf::from));
    let (mut tried, mut refused) = (0, 0);
    for name in &names {
        let is_dir = name.components().count() == 1 && ["seg", "view", "derived"].contains(&name.to_str().unwrap());
        for thing in THINGS {
            if is_dir && thing == Thing::Directory {
                continue;
            }
            let db = at("db");
            let _ = fs::remove_dir_all(&db);
            for dir in ["seg", "view", "derived"] {
                fs::create_dir_all(db.join(dir)).unwrap();
            }
            whole.iter().for_each(|(name, bytes)| fs::write(db.join(name), bytes).unwrap());
            let victim = if is_dir { at("other/seg") } else { at("victim") };
            let (other, what) = (tree(&at("other")), format!("{thing:?} as {}", name.display()));
            put(thing, &db.join(name), &at("aside"), &victim);
            let aside = fs::read(at("aside")).ok();

            let told = use_it(&db, folder.path());
            let truth = whole.contains_key(name) && name != Path::new("LOCK") && name != Path::new("RESERVE");
            let file = name.file_name().unwrap().to_str().unwrap();
            // The manifest before the newest is looked at by verify alone, and derived files by nobody but verify and
            // repair.
            assert!(!truth || told.iter().any(|told| told.contains(file)), "{what}: nothing names it: {told:#?}");

            match Database::open(&db) {
                Ok(db) => {
                    let _ = db.collection("c").and_then(|clips| clips.upsert([Record::new("new", matrix(1))]));
                    let _ = db.close();
                }
                Err(error) => {
                    refused += 1;
                    assert!(error.to_string().contains(file), "{what}: {error}");
                }
            }
            if is_dir || name == Path::new("LOCK") || name == Path::new("RESERVE") {
                let error = Database::open(&db).map(drop).unwrap_err();
                assert!(error.to_string().contains(file) && error.to_string().contains("this is"), "{what}: {error}");
            }
            assert_eq!(fs::read_to_string(at("victim")).unwrap(), "thesis", "{what}");
            assert!(tree(&at("other")) == other, "{what}: another database was touched");
            assert_eq!(fs::read(at("aside")).ok(), aside, "{what}: something was written through a link");
            take_away(&db.join(name), &at("aside"));
            tried += 1;
        }
    }
    assert!(tried > 60 && refused > 20, "{tried} tried, {refused} refused");
    println!("figure things_that_are_no_files = {tried} openings");
    // The directory of the database itself.
    for thing in [Thing::Fifo, Thing::Socket, Thing::Dangling, Thing::Foreign] {
        put(thing, &at("root"), &at("aside"), &at("victim"));
        assert!(Database::open(at("root")).is_err() && Database::open_read_only(at("root")).is_err(), "{thing:?}");
        assert!(verify_path(&at("root"), Options::default(), Depth::Deep).is_err(), "{thing:?}");
        take_away(&at("root"), &at("aside"));
    }
    drop(done);
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn modes_are_those_that_the_umask_leaves() {
    let name = "kinds::modes_are_those_that_the_umask_leaves";
    if let Some(path) = child_database() {
        let mask = u32::from_str_radix(&std::env::var("OTOLITH_TEST_UMASK").unwrap(), 8).unwrap();
        fs::create_dir(&path).unwrap();
        drop(make(&path.join("sub"), 3));
        let db = Database::open(path.join("sub")).unwrap();
        db.backup_to(path.join("backup")).unwrap();
        for (dir, kept) in [("sub", 0o666), ("backup", 0o666)] {
            assert_eq!(mode(&path.join(dir).join("seg")), 0o777 & !mask);
            for file in tree(&path.join(dir)).keys() {
                let name = file.to_str().unwrap();
                let sealed = ["manifest-", ".oseg", ".odel", ".oview"].iter().any(|part| name.contains(part));
                let expected = if sealed { kept & !mask & !0o222 } else { kept & !mask };
                assert_eq!(mode(&path.join(dir).join(file)), expected, "{name} under {mask:o}");
            }
        }
        return;
    }
    for mask in ["022", "077", "027", "002"] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = again(&format!("umask {mask} && exec \"$@\""), name, &folder.path().join("db"));
        succeeds(child.env("OTOLITH_TEST_UMASK", mask));
    }
}

/// A lock that this user may not open is told as what it is: free, or held by whom.
#[test]
fn a_lock_of_another_user_is_told_as_that() {
    let name = "kinds::a_lock_of_another_user_is_told_as_that";
    if let Some(path) = child_database() {
        let error = Database::open(&path).map(drop).unwrap_err();
        return println!("told: {error}");
    }
    let told = |path: &Path| -> Option<String> {
        let mut child = again("exec \"$@\"", name, path);
        if own_user() == 0 {
            child.uid(65_534).gid(65_534);
        }
        let output = child.output().ok()?;
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        out.lines().find_map(|line| line.split_once("told: ").map(|(_, told)| told.to_owned()))
    };
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = folder.path().join("db");
    let db = make(&path, 2);
    // So that this user cannot open it for writing either, where it is not root.
    fs::set_permissions(path.join("LOCK"), fs::Permissions::from_mode(0o444)).unwrap();
    let Some(held) = told(&path) else {
        return eprintln!("skipped: another user cannot run this program");
    };
    assert!(held.contains(&format!("locked by pid {}", std::process::id())), "{held}");
    db.close().unwrap();
    let free = told(&path).unwrap();
    assert!(free.contains("nobody holds the lock") && free.contains("reading only"), "{free}");
    // Whoever may read the file can lock it, and leaves the text of the last writer.
    if cfg!(target_os = "linux") {
        let lock = fs::File::open(path.join("LOCK")).unwrap();
        lock.lock().unwrap();
        fs::set_permissions(path.join("LOCK"), fs::Permissions::from_mode(0o666)).unwrap();
        let dead = "pid 1, host elsewhere";
        fs::write(path.join("LOCK"), format!("{dead}\n")).unwrap();
        let error = Database::open(&path).map(drop).unwrap_err();
        let holder = format!("locked by pid {} of user {}:", std::process::id(), own_user());
        assert!(error.to_string().contains(&holder), "{error}");
    }
}

/// Where a umask takes everything away there is no lock, and none is told of.
#[test]
fn a_directory_in_which_no_lock_can_be_made_is_told_as_that() {
    let name = "kinds::a_directory_in_which_no_lock_can_be_made_is_told_as_that";
    if let Some(path) = child_database() {
        return println!("told: {}", Database::open(&path).map(drop).unwrap_err());
    }
    for (mask, expected) in [("0222", "there is no lock file"), ("0277", "there is no lock file"), ("0777", "denied")] {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let mut child = again(&format!("umask {mask} && exec \"$@\""), name, &folder.path().join("db"));
        if own_user() == 0 {
            child.uid(65_534).gid(65_534);
        }
        let Ok(output) = child.output() else {
            return eprintln!("skipped: another user cannot run this program");
        };
        let out = String::from_utf8_lossy(&output.stdout);
        let told = out.lines().find_map(|line| line.split_once("told: ")).map(|(_, told)| told);
        let told = told.unwrap_or_else(|| panic!("{mask}: {out}"));
        assert!(told.contains(expected) && !told.contains("nobody holds"), "{mask}: {told}");
    }
}

fn own_user() -> u32 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").or_else(|_| fs::metadata(std::env::temp_dir())).unwrap().uid()
}
