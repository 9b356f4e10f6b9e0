//! The binary on a damaged database, as its owner would run it.
#![allow(clippy::unwrap_used)]

mod common;

use common::{error, json, otolith, run, text};
use otolith::View;
use otolith::pipeline::Step;
use otolith::{Database, Matrix, Record, Schema};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const RECORDS: usize = 40;

/// 16 KiB a record, so that a damaged block of 64 KiB costs a few of them.
fn database(folder: &Path) -> PathBuf {
    let path = folder.join("db");
    let db = Database::open(&path).unwrap();
    let clips = db.create_collection("clips", Schema::new(64)).unwrap();
    let values = |n: usize| (0..64 * 64).map(|at| ((n * 7 + at) % 97) as f32).collect();
    let record = |n| Record::new(format!("r{n:02}"), Matrix::from_rows(64, 64, values(n)).unwrap()).field("n", n);
    clips.upsert((0..RECORDS).map(record)).unwrap();
    // Rows of a view are kept in a file where the records are in one.
    db.flush().unwrap();
    clips.create_view("short", &View::new([Step::Every { n: 8 }])).unwrap();
    db.close().unwrap();
    path
}

fn damage(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

fn file(db: &Path, dir: &str, ending: &str) -> PathBuf {
    let mut files: Vec<PathBuf> = fs::read_dir(db.join(dir)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| text(path).ends_with(ending));
    files.sort();
    files.pop().unwrap()
}

/// Runs the binary, expects exit code 3 and a remark on stderr, and reads the document on stdout.
fn json_3(args: &[&str]) -> (Value, String) {
    let output = otolith().args(args).arg("--json").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{args:?}: {stderr}");
    assert!(stderr.contains("error: "), "{args:?}: {stderr}");
    (serde_json::from_slice(&output.stdout).unwrap(), stderr)
}

fn ids(list: &Value) -> BTreeSet<String> {
    list.as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_command_does_what_it_can_and_says_what_it_could_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path());
    let (db, query) = (text(&path), folder.path().join("query.npy"));
    json(&["get", db, "r39", "--out", text(&query)]);
    assert_eq!(json(&["search", db, text(&query)])["certificate"]["exact"], true);
    damage(&file(&path, "seg", ".oseg"), 200_000);

    let (found, stderr) = json_3(&["search", db, text(&query), "-k", "40"]);
    let (hits, lost) = (ids(&found["hits"]), ids(&found["unreadable"]));
    assert!(lost.len() >= 4 && lost.len() <= 6 && hits.is_disjoint(&lost) && hits.len() + lost.len() == RECORDS);
    assert_eq!((&found["certificate"]["exact"], &found["certificate"]["unread"]), (&false.into(), &lost.len().into()));
    assert!(lost.iter().all(|id| stderr.contains(&format!("`{id}`"))), "{stderr}");
    let some = lost.first().unwrap();
    let shown = run(&["search", db, text(&query), "-k", "3"]);
    assert!(String::from_utf8(shown.stdout).unwrap().contains("r39"), "hits are printed all the same");

    assert!(error(&["get", db, some], 3).contains("`otolith repair`"));
    assert_eq!(json(&["get", db, "r00"])["fields"]["n"], 0);
    assert_eq!(json(&["list", db])["records"].as_array().unwrap().len(), RECORDS, "lists read no matrix");
    assert!(error(&["export", db, text(&folder.path().join("out"))], 3).contains(&format!("`{some}`")));

    assert_eq!(run(&["verify", db]).status.code(), Some(0));
    let (report, _) = json_3(&["verify", db, "--deep"]);
    assert_eq!(report["damage"][0]["offset"], 200_000 / 65_536 * 65_536);
    let out = folder.path().join("saved");
    let (report, _) = json_3(&["repair", db, "--out", text(&out)]);
    assert_eq!((ids(&report["lost"]["records"]), &report["complete"]), (lost, &false.into()));
    assert_eq!(json(&["verify", text(&out), "--derived"])["damage"].as_array().unwrap().len(), 0);
    let again = json(&["search", text(&out), text(&query), "-k", "40", "--view", "short"]);
    assert_eq!(ids(&again["hits"]), hits);
    assert!(error(&["repair", db, "--out", text(&out)], 1).contains("not empty"));
}

#[test]
fn lists_go_on_behind_damaged_records() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path());
    let segment = file(&path, "seg", ".oseg");
    let length = fs::metadata(&segment).unwrap().len() as usize;
    damage(&segment, length - 300);
    let (list, _) = json_3(&["list", text(&path)]);
    assert!(list["records"].as_array().unwrap().is_empty());
    let (found, _) = json_3(&["verify", text(&path)]);
    assert_eq!(found["damage"][0]["file"], text(&segment));
    let out = folder.path().join("saved");
    let (report, stderr) = json_3(&["repair", text(&path), "--out", text(&out)]);
    assert_eq!(report["lost"]["segments"][0]["records"], RECORDS);
    assert!(stderr.contains("1 segments of 40 records"), "{stderr}");
}

#[test]
fn repair_is_told_which_way_and_succeeds_where_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path());
    let (db, out) = (text(&path), folder.path().join("saved"));
    for args in [&["repair", db][..], &["repair", db, "--in-place", "--out", text(&out)], &["repair"]] {
        assert_eq!(run(args).status.code(), Some(2), "{args:?}");
    }
    assert!(error(&["repair", "nowhere", "--in-place"], 1).contains("not found"));
    assert!(error(&["verify", "nowhere"], 1).contains("not found"));
    assert_eq!(json(&["repair", db, "--out", text(&out)])["complete"], true);

    let leftover = path.join("manifest-0000000000000099.tmp");
    fs::write(&leftover, b"?").unwrap();
    let rows = file(&path, "derived", ".odrv");
    damage(&rows, 5_000);
    assert_eq!(json(&["verify", db])["damage"][0]["derived"], true, "it does no harm");
    let removed = &json(&["repair", db, "--in-place"])["removed"];
    assert!(removed.as_array().unwrap().iter().any(|path| path == text(&rows)), "{removed}");
    assert!(!leftover.exists() && !rows.exists());
    assert_eq!(json(&["verify", db, "--derived"])["damage"].as_array().unwrap().len(), 0);
}
