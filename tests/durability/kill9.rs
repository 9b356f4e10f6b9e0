//! A process is killed.

use otolith::testing::store::{Access, Change, Depth, Durability, Mode, Options, Store, Tuning, Version};
use otolith::{Matrix, Record, Schema};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Set for the child that writes: where.
const CHILD: &str = "OTOLITH_TEST_KILL_CHILD";
/// Records that every commit writes together.
const TOGETHER: [&str; 3] = ["x", "y", "z"];
/// Databases that are written, killed and read side by side.
const DATABASES: usize = 4;
/// Records of so many commits are kept.
const KEPT: u64 = 20;

/// Logs and segments so small that they are sealed every few commits.
fn open(path: &Path, mode: Mode) -> Store {
    let tuning = Tuning {
        direct_bytes: 256,
        log_bytes: 6_000,
        segment_bytes: 30_000,
        reserve_bytes: 4_096,
        buffered_for: Duration::from_millis(5),
        ..Tuning::default()
    };
    Store::open(path, mode, Options { access: Access::Map, tuning, ..Options::default() }).unwrap()
}

/// Rows of the records of a commit: some go through the log, some past it.
fn rows(number: u64) -> usize {
    1 + number as usize % 5 * 20
}

fn changes(number: u64) -> Vec<Change> {
    let values = vec![number as f32; 2 * rows(number)];
    let record = |id: &str| Record::new(id, Matrix::from_rows(rows(number), 2, values.clone()).unwrap());
    let mut records: Vec<Record> = TOGETHER.map(record).to_vec();
    records.push(record(&format!("log {number}")));
    let old = number.saturating_sub(KEPT);
    let mut changes = vec![
        Change::Upsert { collection: "c".into(), records },
        Change::Delete { collection: "c".into(), ids: vec![format!("log {old}")] },
    ];
    if number.is_multiple_of(23) {
        changes.push(Change::CreateCollection { name: format!("at {number}"), schema: Schema::new(2) });
    }
    changes
}

/// The number of the last commit that a version holds; checks that it holds exactly that.
fn last_commit(version: &Version) -> u64 {
    let Some(collection) = version.collections.get("c") else { return 0 };
    let value = |id: &str| {
        let (at, record) = collection.find(id).unwrap()?;
        let matrix = collection.segments[at].segment.matrix(record).unwrap().into_matrix();
        let number = matrix.values()[0];
        assert!(matrix.values().iter().all(|value| *value == number) && matrix.rows() == rows(number as u64));
        Some(number as u64)
    };
    let values = TOGETHER.map(value);
    let Some(last) = values[0] else {
        assert_eq!(values, [None; 3]);
        return 0;
    };
    assert_eq!(values, [Some(last); 3], "a batch is all there or not at all");
    for number in last.saturating_sub(KEPT + 5)..last + 3 {
        let expected = (number > 0 && number <= last && number + KEPT > last).then_some(number);
        assert_eq!(value(&format!("log {number}")), expected, "after commit {last}");
    }
    assert_eq!(collection.records, 3 + last.min(KEPT));
    assert_eq!(version.collections.len() as u64, 1 + last / 23);
    last
}

/// Commits without end and says so after each one; does nothing unless it is the child of the test below.
#[test]
fn child_that_commits_until_it_is_killed() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let store = open(Path::new(&path), Mode::Write { create: true });
    if !store.version().collections.contains_key("c") {
        store.commit(vec![Change::CreateCollection { name: "c".into(), schema: Schema::new(2) }]).unwrap();
    }
    for number in last_commit(&store.version()) + 1.. {
        let durability = if number.is_multiple_of(4) { Durability::Sync } else { Durability::Buffered };
        store.commit_with(changes(number), durability).unwrap();
        println!("committed {number}");
        match number % 29 {
            7 => store.sync().unwrap(),
            13 | 24 => store.flush().unwrap(),
            19 => drop(store.compact(&|| true).unwrap()),
            _ => {}
        }
    }
}

fn spawn(path: &Path) -> (Child, Receiver<u64>) {
    let mut child = crate::child("kill9::child_that_commits_until_it_is_killed", CHILD, path);
    let mut child = child.stderr(Stdio::null()).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (sender, commits) = channel();
    // Ends with the pipe; the channel ends with it.
    std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            if let Some(number) = line.strip_prefix("committed ")
                && sender.send(number.parse::<u64>().unwrap()).is_err()
            {
                break;
            }
        }
    });
    (child, commits)
}

/// Counts of what was seen.
#[derive(Default)]
struct Seen {
    commits: AtomicUsize,
    refreshes: AtomicUsize,
    /// Rounds in which the last commit was there, but not acknowledged.
    unacknowledged: AtomicUsize,
}

impl Seen {
    /// Kills one child after a random while; gives the last commit that it left.
    fn round(&self, path: &Path, number: usize) -> u64 {
        let (mut child, commits) = spawn(path);
        // The first commit shows that the child is under way; then it has a random while to live.
        let mut acknowledged = commits.recv_timeout(Duration::from_secs(60)).unwrap();
        let reader = number.is_multiple_of(4).then(|| open(path, Mode::Read));
        let end = Instant::now() + Duration::from_micros(1 + (number as u64 * 7_919) % 60_000);
        while Instant::now() < end {
            match commits.recv_timeout(Duration::from_millis(1)) {
                Ok(number) => acknowledged = number,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("the child ended by itself"),
            }
            // A reader in another process sees whole commits, at least those that were acknowledged.
            if let Some(reader) = &reader {
                assert!(last_commit(&reader.refresh().unwrap()) >= acknowledged);
                self.refreshes.fetch_add(1, Ordering::Relaxed);
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged = commits.iter().last().unwrap_or(acknowledged);
        drop(reader);
        let found = last_commit(&open(path, Mode::Read).version());
        assert!(found == acknowledged || found == acknowledged + 1, "{found} instead of {acknowledged}");
        self.unacknowledged.fetch_add(usize::from(found > acknowledged), Ordering::Relaxed);
        let store = open(path, Mode::Write { create: false });
        assert_eq!(last_commit(&store.version()), found);
        let report = store.verify(Depth::Deep).unwrap();
        assert!(report.findings.is_empty() && report.orphans.is_empty(), "{report:?}");
        found
    }
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let rounds = crate::count(500, 1_000);
    let seen = Seen::default();
    let kill = &|database: usize| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("killed.otolith");
        let mut last = 0;
        for number in (database..rounds).step_by(DATABASES) {
            let found = seen.round(&path, number);
            assert!(found > last, "a child committed, and nothing came of it");
            last = found;
        }
        seen.commits.fetch_add(last as usize, Ordering::Relaxed);
    };
    std::thread::scope(|threads| {
        for database in 0..DATABASES {
            threads.spawn(move || kill(database));
        }
    });
    let read = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    println!("figure kill9_rounds = {rounds} rounds");
    println!("figure kill9_commits = {} commits", read(&seen.commits));
    println!("figure kill9_reader_refreshes = {} refreshes", read(&seen.refreshes));
    println!("figure kill9_found_unacknowledged = {} rounds", read(&seen.unacknowledged));
}
