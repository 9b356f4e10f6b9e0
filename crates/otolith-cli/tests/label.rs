//! `label` and `adapt`: a few labels, given by hand, change what a search finds.
#![allow(clippy::unwrap_used)]

mod common;

use common::{error, json, run, text, write_wav};
use std::f32::consts::TAU;
use std::path::Path;

/// Two kinds of sound that differ in how fast they pulse, each at pitches that say nothing of the kind. The first
/// three, which get labels, have the lowest, the highest and one between: the others lie within what they cover.
fn recordings(folder: &Path, count: usize) {
    for number in 0..count {
        for (kind, rate) in [("slow", 3.0), ("fast", 17.0)] {
            let pitch = 300.0 + 170.0 * [0.0, 3.0, 5.0, 1.0, 2.0, 4.0][number];
            let mut state = number as u32 + 1;
            let sound: Vec<f32> = (0..24_000)
                .map(|at| {
                    let t = at as f32 / 16_000.0;
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let noise = (state >> 8) as f32 / (1 << 23) as f32 - 1.0;
                    let pulse = if (TAU * rate * t).sin() > 0.0 { 1.0 } else { 0.05 };
                    0.5 * pulse * (TAU * pitch * t).sin() + 0.02 * noise
                })
                .collect();
            write_wav(&folder.join(format!("{kind}{number}.wav")), 16_000, &sound);
        }
    }
}

/// How many of the three best hits of each unlabelled sound are of its kind, itself left out.
fn alike(db: &str, folder: &Path, view: &[&str]) -> usize {
    let mut alike = 0;
    for kind in ["slow", "fast"] {
        for number in 3..6 {
            let own = format!("{kind}{number}.wav");
            let query = folder.join(&own);
            let found = json(&[&["search", db, text(&query), "-k", "4", "--model", "logmel"], view].concat());
            let ids = found["hits"].as_array().unwrap().iter().map(|hit| hit["id"].as_str().unwrap());
            alike += ids.filter(|id| *id != own).take(3).filter(|id| id.starts_with(kind)).count();
        }
    }
    alike
}

#[test]
fn two_classes_of_three_labels_put_like_sounds_first() {
    let folder = tempfile::tempdir().unwrap();
    let (sounds, db) = (folder.path().join("sounds"), folder.path().join("db"));
    let db = text(&db);
    recordings(&sounds, 6);
    assert_eq!(json(&["add", db, text(&sounds), "--model", "logmel"])["added"], 12);
    let none = error(&["adapt", db], 1);
    assert!(none.contains("`class`") && none.contains("0 of 12 records") && none.contains("otolith label"), "{none}");

    let labelled = json(&["label", db, "slow0.wav", "slow1.wav", "slow2.wav", "slow"]);
    assert_eq!(labelled, serde_json::json!({ "labelled": 3, "field": "class", "class": "slow" }));
    assert!(error(&["adapt", db], 1).contains("3 of 12 records have one, classes: 1"));
    json(&["label", db, "fast0.wav", "fast1.wav", "fast2.wav", "fast"]);
    let record = json(&["get", db, "fast2.wav"]);
    assert_eq!((&record["fields"]["class"], &record["fields"]["seconds"]), (&"fast".into(), &1.5.into()));

    let adapted = json(&["adapt", db]);
    let classes = serde_json::json!({ "slow": 3, "fast": 3 });
    assert_eq!(
        (&adapted["view"], &adapted["labelled"], &adapted["records"]),
        (&"adapted".into(), &6.into(), &12.into())
    );
    assert_eq!((&adapted["classes"], &adapted["dim"]), (&classes, &1.into()));
    let (before, after) = (alike(db, &sounds, &[]), alike(db, &sounds, &["--view", "adapted"]));
    println!("figure adapt_alike_before = {before} of18\nfigure adapt_alike_after = {after} of18");
    assert!(after >= 16 && after > before, "{before} before, {after} after, of 18");

    // The old view stays; the new one has a name of its own.
    let again = run(&["adapt", db]);
    let shown = String::from_utf8(again.stdout).unwrap();
    assert!(
        shown.contains("adapted-2") && shown.contains("otolith search") && shown.contains("6 have a label"),
        "{shown}"
    );
    let views = json(&["view", "list", db]);
    let names: Vec<&str> =
        views["views"].as_array().unwrap().iter().map(|view| view["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["adapted", "adapted-2"]);
    assert!(error(&["adapt", db, "--view", "adapted"], 1).contains("adapted"));
}

#[test]
fn a_label_is_given_to_all_records_named_or_to_none() {
    let folder = tempfile::tempdir().unwrap();
    let (sounds, db) = (folder.path().join("sounds"), folder.path().join("db"));
    let db = text(&db);
    recordings(&sounds, 1);
    json(&["add", db, text(&sounds)]);
    assert!(error(&["label", db, "slow0.wav", "gone.wav", "slow"], 1).contains("`gone.wav`"));
    assert!(json(&["get", db, "slow0.wav"])["fields"]["class"].is_null());
    assert_eq!(run(&["label", db, "slow0.wav"]).status.code(), Some(2));
    json(&["label", db, "slow0.wav", "calm", "--field", "mood"]);
    assert_eq!(json(&["get", db, "slow0.wav"])["fields"]["mood"], "calm");
    assert_eq!(json(&["list", db, "--filter", "mood = 'calm'"])["records"].as_array().unwrap().len(), 1);
    assert!(error(&["label", db, "slow0.wav", ""], 1).contains("class: is empty"));
    assert_eq!(json(&["label", db, "slow0.wav", "slow0.wav", "calm", "--field", "mood"])["labelled"], 1);
    let one_each = error(&["adapt", db, "--field", "mood"], 1);
    assert!(one_each.contains("1 of 2 records"), "{one_each}");
}
