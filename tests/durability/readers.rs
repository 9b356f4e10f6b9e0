//! Processes read while another writes and compacts.

use otolith::testing::store::{Access, Change, Depth, Durability, Mode, Options, Store, Tuning, Version};
use otolith::{Error, Matrix, Record, Schema};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Set for a child that reads: where.
const CHILD: &str = "OTOLITH_TEST_READ_CHILD";
const READERS: usize = 4;
/// Records that every version replaces.
const RECORDS: usize = 12;
/// Records that last so many versions.
const PASSING: u64 = 3;

fn open(path: &Path, mode: Mode, access: Access) -> Result<Store, Error> {
    let tuning = Tuning {
        direct_bytes: 512,
        log_bytes: 40_000,
        segment_bytes: 200_000,
        reserve_bytes: 4_096,
        ..Tuning::default()
    };
    Store::open(path, mode, Options { access, tuning, ..Options::default() })
}

/// Rows of record `n`: some records go through the log, some past it.
fn rows(n: usize) -> usize {
    1 + n * 7
}

fn number(n: usize, version: u64) -> f32 {
    (version * RECORDS as u64 + n as u64) as f32
}

fn record(id: String, n: usize, version: u64) -> Record {
    Record::new(id, Matrix::from_rows(rows(n), 4, vec![number(n, version); rows(n) * 4]).unwrap())
        .field("version", version as i64)
}

/// Makes everything show another version.
fn changes(version: u64) -> Vec<Change> {
    let mut records: Vec<Record> = (0..RECORDS).map(|n| record(format!("record {n}"), n, version)).collect();
    records.push(record(format!("passing {version}"), 1, version));
    let old = version.saturating_sub(PASSING);
    vec![
        Change::Upsert { collection: "c".into(), records },
        Change::Delete { collection: "c".into(), ids: vec![format!("passing {old}")] },
    ]
}

/// The one version that all records show.
fn shown(version: &Version) -> u64 {
    let collection = &version.collections["c"];
    let mut versions = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for part in &collection.segments {
        for n in part.numbers().unwrap() {
            let id = part.segment.id(n).unwrap();
            let shown = part.segment.fields(n).unwrap().get("version").unwrap().as_u64().unwrap();
            let (kind, which) = id.split_once(' ').unwrap();
            let (at, expected) = match kind {
                "record" => (which.parse().unwrap(), shown),
                _ => (1, which.parse().unwrap()),
            };
            assert_eq!(shown, expected);
            let matrix = part.segment.matrix(n).unwrap().into_matrix();
            assert!(matrix.rows() == rows(at) && matrix.values().iter().all(|value| *value == number(at, shown)));
            if kind == "record" {
                versions.insert(shown);
            }
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
        }
    }
    assert_eq!(versions.len(), 1, "several versions at once: {versions:?}");
    let version = versions.into_iter().next().unwrap();
    let passing = (version.saturating_sub(PASSING - 1).max(1)..=version).map(|version| format!("passing {version}"));
    let expected: BTreeSet<String> = (0..RECORDS).map(|n| format!("record {n}")).chain(passing).collect();
    assert_eq!(ids, expected, "at version {version}");
    assert_eq!(collection.records, expected.len() as u64);
    version
}

/// Reads until its input ends; does nothing unless it is a child of the test below.
#[test]
fn child_that_reads_until_it_is_told_to_end() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let path = Path::new(&path);
    let access = if std::process::id().is_multiple_of(2) { Access::Map } else { Access::Read };
    let (sender, ended) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        drop(sender);
    });
    let second = open(path, Mode::Write { create: false }, access);
    assert!(matches!(second, Err(Error::Locked { .. })), "a second writer: {second:?}");
    let reader = open(path, Mode::Read, access).unwrap();
    let mut held: Vec<(Arc<Version>, u64)> = Vec::new();
    let (mut last, mut refreshes, mut versions) = (0, 0, 0);
    while ended.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
        let version = reader.refresh().unwrap();
        let now = shown(&version);
        assert!(now >= last, "version {now} after {last}");
        refreshes += 1;
        versions += u64::from(now > last);
        if versions == 2 && now > last {
            println!("under way");
        }
        last = now;
        // Some versions are held while the writer goes on, and read again.
        if refreshes % 16 == 0 {
            held.push((version, now));
        }
        if held.len() > 4 {
            held.drain(..).for_each(|(version, now)| assert_eq!(shown(&version), now, "a version changed"));
        }
    }
    println!("read {refreshes} {versions}");
}

/// A process that reads, and what it says.
struct Reader {
    child: Child,
    lines: Receiver<String>,
    /// Whether it has seen several versions.
    under_way: bool,
}

impl Reader {
    fn spawn(path: &Path) -> Reader {
        let mut child = crate::child("readers::child_that_reads_until_it_is_told_to_end", CHILD, path);
        let mut child = child.stdin(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Reader { child, lines, under_way: false }
    }

    fn is_under_way(&mut self) -> bool {
        self.under_way |= self.lines.try_iter().any(|line| line == "under way");
        self.under_way
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it and gives how often it looked, and how many versions it saw.
    fn end(mut self) -> (usize, usize) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success(), "a reader failed");
        let last = self.lines.iter().find_map(|line| line.strip_prefix("read ").map(str::to_owned)).unwrap();
        let (refreshes, versions) = last.split_once(' ').unwrap();
        (refreshes.parse().unwrap(), versions.parse().unwrap())
    }
}

#[test]
fn each_reader_sees_one_version_after_the_other_while_a_writer_commits_and_compacts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("read.otolith");
    let store = open(&path, Mode::Write { create: true }, Access::Map).unwrap();
    store.commit(vec![Change::CreateCollection { name: "c".into(), schema: Schema::new(4) }]).unwrap();
    store.commit(changes(1)).unwrap();
    let mut readers: Vec<Reader> = (0..READERS).map(|_| Reader::spawn(&path)).collect();
    let seconds = crate::count(60, 60).max(4) as u64;
    let (begin, mut version, mut compactions, mut killed) = (Instant::now(), 1, 0, 0);
    // Until the time is over and every reader has seen something, which on a busy machine may take it longer.
    while begin.elapsed() < Duration::from_secs(seconds) || !readers.iter_mut().all(Reader::is_under_way) {
        assert!(begin.elapsed() < Duration::from_secs(seconds + 120), "a reader does not get under way");
        version += 1;
        let durability = if version % 5 == 0 { Durability::Sync } else { Durability::Buffered };
        store.commit_with(changes(version), durability).unwrap();
        if version % 8 == 0 {
            compactions += u64::from(store.compact(&|| true).unwrap().finished);
        }
        // A reader dies, and with it what it has pinned; another comes.
        if begin.elapsed().as_secs().min(seconds) / 3 > killed {
            readers.remove(0).kill();
            readers.push(Reader::spawn(&path));
            killed += 1;
        }
    }
    let seen: Vec<(usize, usize)> = readers.into_iter().map(Reader::end).collect();
    // Nobody reads any more: what is on disk is what the newest versions need.
    for _ in 0..3 {
        version += 1;
        store.commit(changes(version)).unwrap();
        store.flush().unwrap();
    }
    assert_eq!(shown(&store.version()), version);
    let report = store.verify(Depth::Deep).unwrap();
    assert!(report.findings.is_empty() && report.orphans.is_empty(), "{report:?}");
    assert!(store.stat().unwrap().older_generations.len() <= 1);
    store.close().unwrap();
    let names = |kind: &str| {
        let entries = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        entries.filter(|name| name.starts_with(kind)).collect::<Vec<_>>()
    };
    assert!(names("manifest-").len() <= 2 && names("wal-").len() <= 3, "{:?}", names(""));
    println!("figure readers_seconds = {seconds} seconds");
    println!("figure readers_commits = {version} commits");
    println!("figure readers_compactions = {compactions} compactions");
    println!("figure readers_killed = {killed} readers");
    println!("figure readers_refreshes = {} refreshes", seen.iter().map(|seen| seen.0).sum::<usize>());
    println!("figure readers_versions_seen = {} versions", seen.iter().map(|seen| seen.1).sum::<usize>());
    assert!(seen.iter().all(|(_, versions)| *versions > 1), "{seen:?}");
}
