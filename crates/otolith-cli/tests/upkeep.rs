//! Looking after a database by the binary, as a user runs it: how large it is, a copy, space back, a collection gone.
#![allow(clippy::unwrap_used)]

mod common;

use common::{error, json, run, text};
use otolith::{Database, Matrix, Record, Schema};
use serde_json::Value;
use std::path::Path;

const DIM: usize = 50;

/// Twelve records of 4 rows, of which three are replaced and two deleted, each in a commit of its own; and one
/// elsewhere.
fn database(path: &Path) -> Database {
    let db = Database::open(path).unwrap();
    let clips = db.create_collection("clips", Schema::new(DIM)).unwrap();
    let record =
        |n: usize| Record::new(format!("r{n:02}"), Matrix::from_rows(4, DIM, vec![n as f32; 4 * DIM]).unwrap());
    clips.upsert((0..12).map(record)).unwrap();
    (0..3).for_each(|n| drop(clips.upsert([record(n)]).unwrap()));
    clips.delete(["r10", "r11"]).unwrap();
    let other = db.create_collection("other", Schema::new(2)).unwrap();
    other.upsert([Record::new("x", Matrix::from_vector(vec![1.0, 2.0]).unwrap())]).unwrap();
    db.flush().unwrap();
    db
}

fn listed(db: &Path) -> Value {
    let list = json(&["list", text(db)]);
    assert_eq!(list["records"].as_array().unwrap().len(), 10);
    list
}

#[test]
fn each_command_explains_itself_with_an_example_and_its_json() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    for command in ["compact", "backup", "drop", "import", "export"] {
        assert!(help.contains(command), "{command} is not in the help");
        let output = run(&[command, "--help"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("Example") && text.contains("With --json: {"), "{command}: {text}");
        for shell in ["bash", "zsh", "fish"] {
            let script = String::from_utf8(run(&["completions", shell]).stdout).unwrap();
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
}

#[test]
fn info_counts_what_is_dead() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    drop(database(&path));
    let info = json(&["info", text(&path)]);
    assert_eq!((&info["live_records"], &info["live_rows"]), (&11.into(), &41.into()));
    let (dead, rows, bytes) = (&info["dead_records"], &info["dead_rows"], info["dead_bytes"].as_u64().unwrap());
    let dead = dead.as_u64().unwrap();
    // What was folded already is not dead any more.
    assert!(dead <= 5 && rows.as_u64().unwrap() == dead * 4, "{info}");
    let each = (4 * DIM * 4 + 3 + 2) as u64; // matrix, id, `{}`
    assert_eq!(bytes, dead * each, "{info}");
    let parts = ["segment_bytes", "delete_bytes", "view_bytes", "manifest_bytes", "log_bytes", "derived_bytes"];
    let sum: u64 = parts.iter().map(|part| info[part].as_u64().unwrap()).sum();
    assert_eq!(info["bytes"], sum);
    assert!(info["generation"].as_u64().unwrap() > info["older_generations"][0].as_u64().unwrap(), "{info}");
    let shown = String::from_utf8(run(&["info", text(&path)]).stdout).unwrap();
    assert!(shown.contains("11 records of 41 rows") && shown.contains(&format!("{dead} dead records")), "{shown}");
}

#[test]
fn a_backup_is_made_beside_a_writer_and_is_a_database_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let writer = database(&at("db"));
    let made = json(&["backup", text(&at("db")), text(&at("copy"))]);
    assert_eq!(made["records"], 11);
    assert!(made["bytes"].as_u64() >= made["copied_bytes"].as_u64());
    assert_eq!(listed(&at("copy")), listed(&at("db")));
    writer.collection("clips").unwrap().delete(["r00"]).unwrap();
    drop(writer);
    assert_eq!(json(&["verify", text(&at("copy")), "--deep"])["damage"], serde_json::json!([]));
    listed(&at("copy"));
    let message = error(&["backup", text(&at("db")), text(&at("copy"))], 1);
    assert!(message.contains("not empty") && message.contains("copy"), "{message}");
    assert!(error(&["backup", text(&at("none")), text(&at("new"))], 1).contains("not found"));
    assert!(!at("new").exists() && !at("none").exists());
}

#[test]
fn compaction_changes_no_answer_and_waits_for_no_second_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let writer = database(&path);
    assert!(error(&["compact", text(&path)], 1).contains("locked"));
    drop(writer);
    let before = listed(&path);
    let done = json(&["compact", text(&path)]);
    assert_eq!(done["finished"], true);
    assert_eq!(listed(&path), before);
    assert_eq!(json(&["verify", text(&path), "--deep"])["damage"], serde_json::json!([]));
    assert!(error(&["compact", text(&folder.path().join("none"))], 1).contains("not found"));
    assert!(String::from_utf8(run(&["compact", text(&path)]).stdout).unwrap().contains("segments rewritten"));
}

#[test]
fn a_collection_is_dropped_by_name_and_only_with_yes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    drop(database(&path));
    let db = text(&path);
    assert_eq!(run(&["drop", db, "--yes"]).status.code(), Some(2), "there is no default collection to lose");
    let message = error(&["drop", db, "--collection", "clips"], 1);
    assert!(message.contains("10 records") && message.contains("--yes"), "{message}");
    assert!(error(&["drop", db, "--collection", "clisp", "--yes"], 1).contains("`clips`"), "what there is instead");
    listed(&path);
    let dropped = json(&["drop", db, "--collection", "clips", "--yes"]);
    assert_eq!((&dropped["dropped"], &dropped["records"], &dropped["views"]), (&"clips".into(), &10.into(), &0.into()));
    let info = json(&["info", db]);
    assert_eq!((&info["collections"][0]["name"], &info["live_records"]), (&"other".into(), &1.into()));
}

#[test]
fn a_forced_compaction_leaves_nothing_of_deleted_records_and_a_drop_gives_its_space_back_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    drop(database(&path));
    let secret: Vec<u8> = [11.0_f32, 11.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let files = || -> Vec<_> {
        let dirs = ["", "seg", "view", "derived"].map(|dir| std::fs::read_dir(path.join(dir)).unwrap());
        dirs.into_iter().flatten().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
    };
    let found = || {
        let holds = |path: &Path| {
            let bytes = std::fs::read(path).unwrap();
            bytes.windows(8).any(|window| window == secret) || bytes.windows(3).any(|window| window == b"r11")
        };
        files().iter().filter(|path| holds(path)).count()
    };
    assert!(found() > 0, "`r11` is deleted and still in a file");
    let done = json(&["compact", text(&path), "--force"]);
    assert_eq!((&done["finished"], &done["damaged"], &done["pinned"]), (&true.into(), &0.into(), &0.into()));
    assert_eq!(found(), 0);
    listed(&path);
    let segments = || files().iter().filter(|path| path.extension().is_some_and(|end| end == "oseg")).count();
    assert!(segments() > 1);
    for name in ["clips", "other"] {
        json(&["drop", text(&path), "--collection", name, "--yes"]);
    }
    assert_eq!(segments(), 0);
}
