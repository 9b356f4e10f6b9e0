//! `otolith compare`: the document that others rely on, what is reused, and what the built-in sounds tell.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use common::{error, json, samples, text, write_wav};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

const SEARCH_ARMS: [&str; 9] =
    ["concat-64", "flat", "mean", "mean-std", "maxsim", "maxsim-white", "codes", "fused", "adapted"];

/// Three classes of five clips in five folds, in ESC-50's layout. The sounds of a class share their pitches.
fn small_set(folder: &Path) -> PathBuf {
    let root = folder.join("small");
    let mut table = "filename,fold,target,category\n".to_owned();
    for (target, class) in ["dog", "rain", "siren"].iter().enumerate() {
        for fold in 1..=5 {
            let name = format!("{fold}-{}-A-{target}.wav", 1_000 + 10 * target + fold);
            // Seeds that are equal modulo 17 and 23 sound alike but for their noise and glide.
            write_wav(&root.join("audio").join(&name), 16_000, &samples((target + 391 * fold) as u32, 24_000));
            table += &format!("{name},{fold},{target},{class}\n");
        }
    }
    fs::create_dir_all(root.join("meta")).unwrap();
    fs::write(root.join("meta/esc50.csv"), table).unwrap();
    root
}

fn arm<'a>(document: &'a Value, name: &str) -> &'a Value {
    document["arms"].as_array().unwrap().iter().find(|arm| arm["arm"] == name).unwrap()
}

/// Everything but the times.
fn results(document: &Value) -> Vec<(String, f64, f64)> {
    let arms = document["arms"].as_array().unwrap().iter();
    arms.map(|arm| (arm["arm"].to_string(), arm["top1"].as_f64().unwrap(), arm["map"].as_f64().unwrap_or_default()))
        .collect()
}

#[test]
fn the_document_has_the_shape_that_others_rely_on() {
    let folder = tempfile::tempdir().unwrap();
    let data = small_set(folder.path());
    let report = folder.path().join("report.html");
    let document = json(&["compare", "--data", text(&data), "--model", "logmel", "--report", text(&report)]);
    assert_eq!(document["dataset"], serde_json::json!({ "name": "small", "clips": 15, "classes": 3 }));
    assert_eq!(document["protocol"], "folds");
    let model = serde_json::json!({ "name": "logmel", "layer": null, "dim": 64, "rows_per_clip": 249 });
    assert_eq!(document["model"], model);
    assert_eq!(document["otolith"], env!("CARGO_PKG_VERSION"));
    let names: Vec<&str> =
        document["arms"].as_array().unwrap().iter().map(|arm| arm["arm"].as_str().unwrap()).collect();
    assert_eq!(names, [&SEARCH_ARMS[..], &["knn", "linear-probe"]].concat());
    for name in SEARCH_ARMS {
        let arm = arm(&document, name);
        assert_eq!(
            (&arm["kind"], &arm["queries"], &arm["records"]),
            (&"search".into(), &15.into(), &12.into()),
            "{name}"
        );
        let (low, top1, high) = (&arm["top1_low"], &arm["top1"], &arm["top1_high"]);
        assert!(low.as_f64() <= top1.as_f64() && top1.as_f64() <= high.as_f64(), "{name}");
        assert!(arm["map"].is_f64() && arm["fit_seconds"].is_f64() && arm["search_seconds"].is_f64(), "{name}");
    }
    let shape =
        |name: &str| (arm(&document, name)["rows"].as_u64().unwrap(), arm(&document, name)["dim"].as_u64().unwrap());
    assert_eq!((shape("concat-64"), shape("flat")), ((1, 64 * 64), (1, 249 * 64)));
    assert_eq!((shape("maxsim"), shape("maxsim-white"), shape("mean-std")), ((249, 64), (125, 96), (1, 128)));
    // Two discriminants tell three classes apart; what is fused has the shape of its first part.
    assert_eq!((shape("adapted"), shape("knn"), shape("fused")), ((1, 2), (1, 2), shape("maxsim-white")));
    for name in ["knn", "linear-probe"] {
        let arm = arm(&document, name);
        assert_eq!((&arm["kind"], &arm["map"]), (&"classifier".into(), &Value::Null), "{name}");
    }
    let skipped = |arm| serde_json::json!({ "arm": arm, "why": "needs a wav2vec2 model" });
    assert_eq!(document["skipped"], serde_json::json!([skipped("fine-tune"), skipped("tuned")]));
    let page = fs::read_to_string(report).unwrap();
    assert!(page.starts_with("<!") && page.contains("maxsim-white") && page.contains("<audio"));
}

#[test]
fn frames_are_embedded_once_unless_a_clip_changes() {
    let folder = tempfile::tempdir().unwrap();
    let (data, db) = (small_set(folder.path()), folder.path().join("db"));
    let args = ["compare", "--data", text(&data), "--db", text(&db), "--arms", "mean,maxsim"];
    let first = json(&args);
    let segments = || {
        let mut names: Vec<_> = fs::read_dir(db.join("seg")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = segments();
    let second = json(&args);
    assert_eq!(segments(), before, "nothing was written again");
    assert_eq!(results(&first), results(&second));
    assert_eq!(
        json(&["info", text(&db)])["collections"][0]["views"].as_array().unwrap().len(),
        0,
        "no view is left behind"
    );

    let changed = data.join("audio/3-1003-A-0.wav");
    write_wav(&changed, 16_000, &samples(77, 24_000));
    let third = json(&args);
    assert_ne!(segments(), before);
    let fresh = json(&["compare", "--data", text(&data), "--arms", "mean,maxsim"]);
    assert_eq!(results(&third), results(&fresh), "as from a database of its own");
}

#[test]
fn what_cannot_be_compared_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let data = small_set(folder.path());
    let message = error(&["compare", "--data", text(&data), "--arms", "fastest"], 1);
    assert!(message.contains("`fastest`") && message.contains("`maxsim`"), "{message}");
    let message = error(&["compare", "--data", text(&data), "--protocol", "34-5-1"], 1);
    assert!(message.contains("40 clips"), "{message}");
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let message = error(&["compare", "--data", text(&empty)], 1);
    assert!(message.contains("meta/esc50.csv"), "{message}");
    fs::remove_file(data.join("audio/2-1012-A-1.wav")).unwrap();
    let message = error(&["compare", "--data", text(&data)], 1);
    assert!(message.contains("2-1012-A-1.wav"), "{message}");
}

#[test]
fn the_built_in_sounds_tell_the_arms_apart() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("db");
    let args = ["compare", "--db", text(&db), "--model", "logmel", "--arms", "concat-64,mean-std,codes,linear-probe"];
    let document = json(&args);
    let top1 = |name: &str| arm(&document, name)["top1"].as_f64().unwrap();
    for name in ["concat-64", "mean-std", "codes", "linear-probe"] {
        println!("figure built_in_{} = {} top1", name.replace('-', "_"), top1(name));
        assert!(top1(name) < 0.95, "{name} is near perfect: the set is too easy");
    }
    assert!(top1("concat-64") + 0.1 < top1("codes"), "codes beat frames in place");
    assert!(top1("mean-std") + 0.1 < top1("codes"));
    // By the other protocol the same frames serve: one query a class, 34 records of each.
    let split = json(&["compare", "--db", text(&db), "--model", "logmel", "--arms", "codes", "--protocol", "34-5-1"]);
    let codes = arm(&split, "codes");
    assert_eq!((&codes["queries"], &codes["records"]), (&10.into(), &340.into()));
    let prepared = folder.path().join("prepared");
    let counts = json(&["dataset", "prepare", text(&prepared)]);
    assert_eq!(counts, serde_json::json!({ "train": 340, "test": 50, "val": 10, "left_out": [], "unread": [] }));
    assert_eq!(fs::read_dir(prepared.join("val/dog")).unwrap().count(), 1);
}

#[test]
fn arms_that_learn_from_labels_answer_for_classes_they_have_not_seen() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("ten");
    // Ten classes, two held out at a time; the clips of a class sound alike but for noise and glide.
    for class in 0..10u32 {
        for take in 0..5 {
            let sound = samples(class + 391 * take, 16_000);
            write_wav(&data.join(format!("class{class}/{take}.wav")), 16_000, &sound);
        }
    }
    let arms = ["--arms", "fused,adapted,knn,linear-probe,fine-tune"];
    let document = json(&[&["compare", "--data", text(&data), "--protocol", "open-set"], &arms[..]].concat());
    let arms = document["arms"].as_array().unwrap();
    let names: Vec<&str> = arms.iter().map(|arm| arm["arm"].as_str().unwrap()).collect();
    assert_eq!(names, ["fused", "adapted", "knn"]);
    for arm in arms {
        println!("figure open_set_{} = {} top1", arm["arm"], arm["top1"]);
        assert_eq!((&arm["queries"], &arm["records"]), (&50.into(), &8.into()));
        assert!(arm["top1"].as_f64().unwrap() > 0.7, "{arm}: chance is 0.5");
    }
    let skipped = document["skipped"].as_array().unwrap();
    assert_eq!(
        skipped.iter().map(|one| one["arm"].as_str().unwrap()).collect::<Vec<_>>(),
        ["linear-probe", "fine-tune"]
    );
    assert!(skipped.iter().all(|one| one["why"].as_str().unwrap().contains("not seen")), "{skipped:?}");
}

#[test]
fn the_miniature_is_trained_and_its_hidden_states_are_searched() {
    let folder = tempfile::tempdir().unwrap();
    let (data, networks) = (small_set(folder.path()), folder.path().join("networks"));
    let arms = ["--arms", "mean-std,fine-tune,tuned", "--epochs", "3", "--networks", text(&networks), "--rounds", "2"];
    let args = [&["compare", "--data", text(&data)], &arms[..]].concat();
    let document = json(&args);
    assert_eq!(
        document["model"],
        serde_json::json!({ "name": "mini", "layer": "mean", "dim": 192, "rows_per_clip": 123 })
    );
    let (classifier, search) = (arm(&document, "fine-tune"), arm(&document, "tuned"));
    // Two rounds of five: six of the fifteen queries, and the table says so.
    assert_eq!(
        (&classifier["kind"], &classifier["queries"], &classifier["records"]),
        (&"classifier".into(), &6.into(), &12.into())
    );
    assert_eq!((&search["kind"], &search["queries"], &search["dim"]), (&"search".into(), &6.into(), &192.into()));
    assert!(search["map"].is_f64() && classifier["map"].is_null());
    let training = classifier["training"].as_array().unwrap();
    assert_eq!((training.len(), training[1]["round"].as_str()), (2, Some("fold 2")));
    assert_eq!(training[0]["epochs"].as_array().unwrap().len(), 3);
    assert!(networks.join("fold-1/model.safetensors").exists());
    // Again: the networks are there, so nothing is trained, and the results are the same.
    assert_eq!(results(&json(&args)), results(&document));
}
