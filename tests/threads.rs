//! Where no thread can be had, and in a child that was forked, work is done by the thread that brings it: no panic, no
//! waiting for ever.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, unsafe_code)]

use otolith::IndexKind;
use otolith::query::run_all;
use otolith::{Collection, Database, Durability, Matrix, Record, Schema, View};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

unsafe extern "C" {
    fn fork() -> i32;
    fn waitpid(process: i32, status: *mut i32, options: i32) -> i32;
    fn kill(process: i32, signal: i32) -> i32;
    fn _exit(code: i32) -> !;
}

/// Waits no longer than it takes to say so.
const NO_HANG: i32 = 1;

/// What a child ended with: its exit code, or none when a signal ended it or it took half a minute.
fn in_child(work: impl FnOnce()) -> Option<i32> {
    // SAFETY: the child runs what is given and ends without returning; it uses nothing that another thread of its
    // parent was changing.
    let child = unsafe { fork() };
    if child == 0 {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_ok();
        // SAFETY: it does not return.
        unsafe { _exit(if done { 0 } else { 101 }) }
    }
    assert!(child > 0, "no child");
    let (start, mut status) = (Instant::now(), 0);
    // SAFETY: `status` is a number that lives as long as the call.
    while unsafe { waitpid(child, &mut status, NO_HANG) } == 0 {
        if start.elapsed() > Duration::from_secs(30) {
            // SAFETY: the child is this process's own, and was not waited for yet.
            unsafe { kill(child, 9) };
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    (status & 0x7f == 0).then_some(status >> 8)
}

fn vector(n: usize) -> Matrix {
    Matrix::from_vector((0..8).map(|j| ((n * 7 + j * 13) % 97) as f32 + 1.0).collect()).unwrap()
}

fn filled(path: &Path) -> (Database, Collection) {
    let db = Database::open(path).unwrap();
    let clips = db.create_collection("c", Schema::new(8)).unwrap();
    clips.upsert((0..3_000).map(|n| Record::new(format!("{n}"), vector(n)).field("n", n as f64))).unwrap();
    (db, clips)
}

/// Asks in every way that shares work out.
fn ask(clips: &Collection) -> Vec<String> {
    let query = vector(11);
    let one = clips.query(&query).k(3).filter("n > 5").run().unwrap();
    let all = run_all((0..4).map(|_| clips.query(&query).k(1)));
    let ids = all.into_iter().map(|hits| hits.unwrap()[0].id.clone());
    one.iter().map(|hit| hit.id.clone()).chain(ids).collect()
}

#[test]
fn without_threads_everything_is_done_by_one() {
    if std::env::var_os("OTOLITH_NO_THREADS").is_none() {
        // A stack that no address space holds: whoever wants a thread is refused.
        let own = std::env::current_exe().unwrap();
        let mut again = Command::new(own);
        again.args(["--exact", "without_threads_everything_is_done_by_one", "--nocapture", "--test-threads=1"]);
        let output =
            again.env("OTOLITH_NO_THREADS", "1").env("RUST_MIN_STACK", (1_u64 << 47).to_string()).output().unwrap();
        let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && told.contains("1 passed") && told.contains("had none"), "{told}");
        return;
    }
    assert!(std::thread::Builder::new().spawn(|| ()).is_err(), "a thread was had");
    println!("had none");
    let folder = tempfile::tempdir().unwrap();
    let (db, clips) = filled(&folder.path().join("db"));
    let first = ask(&clips);
    clips.create_view("half", &View::new(["every:2".parse().unwrap()])).unwrap();
    clips.build_index("raw", IndexKind::Hnsw).unwrap();
    clips.delete((0..1_500).map(|n| format!("{n}"))).unwrap();
    db.compact().unwrap();
    assert_eq!(first.len(), 7);
    assert!(!ask(&clips).is_empty());
    assert_eq!(db.verify(otolith::testing::store::Depth::Deep).unwrap().findings.len(), 0);
}

#[test]
fn a_forked_child_asks_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let (_db, clips) = filled(&path);
    let expected = ask(&clips);
    assert_eq!(in_child(|| assert_eq!(ask(&clips), expected)), Some(0), "by a handle that it inherits");
    let own = || {
        let db = Database::open_read_only(&path).unwrap();
        let clips = db.collection("c").unwrap();
        assert_eq!(ask(&clips), expected);
        // From a thread of its own, too.
        std::thread::scope(|scope| assert_eq!(scope.spawn(|| ask(&clips)).join().unwrap(), expected));
    };
    assert_eq!(in_child(own), Some(0), "by a handle of its own");
    assert_eq!(ask(&clips), expected);
}

#[test]
fn a_forked_child_keeps_the_lock_and_ends_without_its_parents_threads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let (db, clips) = filled(&path);
    let mut buffered = db.transaction();
    buffered.upsert("c", [Record::new("b", vector(1))]);
    buffered.commit_with(Durability::Buffered).unwrap();
    let again = || match Database::open(&path) {
        Err(error) => error.to_string(),
        Ok(_) => "opened".to_owned(),
    };
    let told = again();
    assert!(told.contains("this process: by another handle, or by a child that it forked"), "{told}");
    let inherited = (db.clone(), clips.clone());
    drop((db, clips));
    assert_eq!(in_child(move || drop(inherited)), Some(0));
}
