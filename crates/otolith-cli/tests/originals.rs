//! Real recordings in every format go into a database, and each lossy version's nearest neighbour is another version of
//! the same recording. The recordings lie beside the checkout; without them nothing is tested.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use common::{json, text};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Samples that a lossy codec may put before and after a sound: a few frames of 1,152 (MP3) or 1,024 (AAC).
const PADDING_SECONDS: f64 = 4.0 * 1_152.0 / 44_100.0;

fn originals() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/audio-originals");
    if !folder.exists() {
        eprintln!("SKIPPED: no recordings at {}", folder.display());
    }
    folder.exists().then_some(folder)
}

/// The recording that a file is a version of.
fn stem(id: &str) -> &str {
    id.split('.').next().unwrap()
}

fn is_lossy(id: &str) -> bool {
    [".ogg", ".mp3", ".m4a", ".aac"].iter().any(|ending| id.ends_with(ending))
}

#[test]
fn every_version_of_a_recording_goes_in_and_finds_another() {
    let Some(folder) = originals() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let db = scratch.path().join("db");
    let db = text(&db);
    let added = json(&["add", db, text(&folder)]);
    assert_eq!(added["failed"].as_array().unwrap().len(), 0, "{added}");
    let listed = json(&["list", db]);
    let records = listed["records"].as_array().unwrap();
    assert_eq!(added["added"], records.len());
    assert!(records.len() >= 39, "only {} recordings", records.len());

    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let (mut hashes, mut longest) = (BTreeMap::new(), 0.0_f64);
    for record in records {
        let (id, fields) = (record["id"].as_str().unwrap(), &record["fields"]);
        // These were cut to 1.5 s when they were made; everything else is 5 s.
        let cut = [".f32.wav", ".s24.wav", ".u8-16k.wav", ".stereo48k.wav"].iter().any(|ending| id.ends_with(ending));
        let off = (fields["seconds"].as_f64().unwrap() - if cut { 1.5 } else { 5.0 }).abs();
        assert!(off <= if is_lossy(id) { PADDING_SECONDS } else { 1e-4 }, "{id} is {off} s off");
        longest = longest.max(off);
        versions.entry(stem(id)).or_default().push(id);
        hashes.insert(id, fields["hash"].as_str().unwrap());
    }
    println!("figure originals_worst_duration_error = {:.1} ms", longest * 1e3);

    let mut pairs = 0;
    for id in hashes.keys().filter(|id| id.ends_with(".flac")) {
        let wav = format!("{}.wav", stem(id));
        assert_eq!(hashes[id], hashes[wav.as_str()], "{id} and {wav}");
        pairs += 1;
    }
    assert!(pairs >= 4, "only {pairs} FLAC files");

    let (mut right, mut asked) = (0, 0);
    for id in hashes.keys().filter(|id| is_lossy(id) && versions[stem(id)].len() > 1) {
        let file = folder.join(id);
        let filter = format!("file != '{}'", text(&file));
        let found = json(&["search", db, text(&file), "-k", "1", "--filter", &filter]);
        let nearest = found["hits"][0]["id"].as_str().unwrap();
        asked += 1;
        if stem(nearest) == stem(id) {
            right += 1;
        } else {
            println!("{id}: nearest is {nearest}");
        }
    }
    println!("figure originals_nearest_is_the_same_recording = {right} of {asked}");
    assert!(asked >= 15, "only {asked} lossy versions");
    assert_eq!(right, asked);
}
