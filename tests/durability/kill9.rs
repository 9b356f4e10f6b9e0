//! A process is killed.

use otolith::store::{Access, Change, Depth, Mode, Options, Store, Version};
use otolith::{Matrix, Record, Schema};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Set for the child that writes: where.
const CHILD: &str = "OTOLITH_TEST_KILL_CHILD";
const ROUNDS: usize = 50;
/// Records that every commit writes together.
const TOGETHER: [&str; 3] = ["x", "y", "z"];

fn open(path: &Path, mode: Mode) -> Store {
    Store::open(path, mode, Options { access: Access::Map, ..Options::default() }).unwrap()
}

fn changes(number: u64) -> Vec<Change> {
    let record = |id: &str| Record::new(id, Matrix::from_rows(2, 2, vec![number as f32; 4]).unwrap());
    let mut records: Vec<Record> = TOGETHER.map(record).to_vec();
    records.push(record(&format!("log {number}")));
    let old = number.saturating_sub(20);
    vec![
        Change::Upsert { collection: "c".into(), records },
        Change::Delete { collection: "c".into(), ids: vec![format!("log {old}")] },
    ]
}

/// The number of the last commit that a version holds; checks that it holds exactly that.
fn last_commit(version: &Version) -> u64 {
    let Some(collection) = version.collections.get("c") else { return 0 };
    let value = |id: &str| {
        let (at, record) = collection.find(id).unwrap()?;
        let values = collection.segments[at].segment.matrix(record).unwrap().into_matrix().into_values();
        assert!(values.iter().all(|value| *value == values[0]));
        Some(values[0] as u64)
    };
    let values = TOGETHER.map(value);
    let Some(last) = values[0] else {
        assert_eq!(values, [None; 3]);
        return 0;
    };
    assert_eq!(values, [Some(last); 3], "a batch is all there or not at all");
    for number in last.saturating_sub(25)..last + 3 {
        let expected = (number > 0 && number <= last && number + 20 > last).then_some(number);
        assert_eq!(value(&format!("log {number}")), expected, "after commit {last}");
    }
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
        store.commit(changes(number)).unwrap();
        println!("committed {number}");
    }
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("killed.otolith");
    let (mut acknowledged, mut refreshes) = (0, 0);
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child_that_commits_until_it_is_killed", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, commits) = channel();
        let listener = std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some(number) = line.strip_prefix("committed ") {
                    sender.send(number.parse::<u64>().unwrap()).unwrap();
                }
            }
        });
        // The first commit shows that the child is under way; then it has a random while to live.
        acknowledged = commits.recv_timeout(Duration::from_secs(60)).unwrap();
        let reader = open(&path, Mode::Read);
        let end = Instant::now() + Duration::from_micros(1 + (round as u64 * 7_919) % 60_000);
        while Instant::now() < end {
            match commits.recv_timeout(Duration::from_millis(1)) {
                Ok(number) => acknowledged = number,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("the child ended by itself"),
            }
            // A reader in another process sees whole commits, at least those that were acknowledged.
            assert!(last_commit(&reader.refresh().unwrap()) >= acknowledged);
            refreshes += 1;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        listener.join().unwrap();
        acknowledged = commits.try_iter().last().unwrap_or(acknowledged);
        drop(reader);
        let found = last_commit(&open(&path, Mode::Read).version());
        assert!(found == acknowledged || found == acknowledged + 1, "{found} instead of {acknowledged}");
        let store = open(&path, Mode::Write { create: false });
        assert_eq!(last_commit(&store.version()), found);
        let report = store.verify(Depth::Deep).unwrap();
        assert!(report.findings.is_empty() && report.orphans.is_empty(), "{report:?}");
        acknowledged = found;
    }
    println!("figure kill9_rounds = {ROUNDS} rounds");
    println!("figure kill9_commits = {acknowledged} commits");
    println!("figure kill9_reader_refreshes = {refreshes} refreshes");
    assert!(acknowledged as usize > ROUNDS);
}
