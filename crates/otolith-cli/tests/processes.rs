//! Several processes at once: a reader beside `add`, `add` killed at any moment, a second writer.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use common::{error, json, otolith, samples, text, write_wav};
use otolith::Database;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Files of one commit of `add`.
const BATCH: usize = 32;
const FILES: usize = 10 * BATCH;

fn many(folder: &Path) {
    for number in 0..FILES {
        write_wav(&folder.join(format!("{number:04}.wav")), 16_000, &samples(number as u32, 4_000));
    }
}

fn add(db: &Path, sounds: &Path) -> Child {
    otolith()
        .args(["add", text(db), text(sounds), "--quiet"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn add_killed_at_any_moment_leaves_whole_batches() {
    let folder = tempfile::tempdir().unwrap();
    let sounds = folder.path().join("sounds");
    many(&sounds);
    let mut seen = std::collections::BTreeSet::new();
    let rounds = 25;
    for round in 0..rounds {
        let db = folder.path().join(format!("{round}.otolith"));
        let mut child = add(&db, &sounds);
        std::thread::sleep(Duration::from_millis(2 + 7 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        if !db.join("LOCK").exists() {
            continue;
        }
        let records = match Database::open(&db).unwrap().collection("clips") {
            Ok(clips) => clips.len().unwrap(),
            Err(_) => 0, // killed before the collection was there
        };
        assert_eq!(records % BATCH, 0, "half a batch after {round} rounds");
        seen.insert(records);
        if records > 0 {
            let found = json(&["search", text(&db), text(&sounds.join("0007.wav")), "-k", "1"]);
            assert_eq!(found["hits"][0]["id"], "0007.wav");
            assert_eq!(json(&["verify", text(&db), "--deep"])["damage"].as_array().unwrap().len(), 0);
        }
    }
    println!("figure kill_add_rounds = {rounds} rounds");
    println!("figure kill_add_different_outcomes = {} outcomes", seen.len());
}

#[test]
fn a_second_process_searches_while_add_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (sounds, db) = (folder.path().join("sounds"), folder.path().join("db.otolith"));
    many(&sounds);
    let mut child = add(&db, &sounds);
    let (mut last, mut searches) = (0, 0);
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(begin.elapsed() < Duration::from_secs(120), "add does not end");
        let Ok(reader) = Database::open_read_only(&db) else { continue };
        let Ok(clips) = reader.collection("clips") else { continue };
        let snapshot = clips.snapshot().unwrap();
        assert_eq!(snapshot.len() % BATCH, 0);
        assert!(snapshot.len() >= last, "records vanished");
        last = snapshot.len();
        if let Some(entry) = snapshot.iter().next() {
            let matrix = entry.matrix().unwrap().into_matrix();
            let hits = snapshot.query(&matrix).k(1).run().unwrap();
            assert_eq!(hits[0].id, entry.id().unwrap());
            searches += 1;
        }
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(Database::open_read_only(&db).unwrap().collection("clips").unwrap().len().unwrap(), FILES);
    println!("figure searches_beside_add = {searches} searches");
}

#[test]
fn a_second_writer_is_refused_with_the_holders_name() {
    let folder = tempfile::tempdir().unwrap();
    let (db, sound) = (folder.path().join("db"), folder.path().join("a.wav"));
    write_wav(&sound, 16_000, &samples(1, 16_000));
    let holder = Database::open(&db).unwrap();
    let message = error(&["add", text(&db), text(&sound)], 1);
    assert!(message.contains(&std::process::id().to_string()), "{message}");
    drop(holder);
    json(&["add", text(&db), text(&sound)]);
}
