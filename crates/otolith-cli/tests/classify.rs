//! `fine-tune` and `classify` as a user runs them: train, be interrupted, go on, name classes, search with the result.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use candle_core::{Device, Tensor};
use common::{error, json, otolith, run, text, write_wav};
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Three classes of ten sounds, a second each: low tones, high tones, hisses.
fn three_classes(folder: &Path) -> PathBuf {
    let root = folder.join("set");
    for (class, pitch) in [("low", 300.0), ("high", 2_500.0), ("hiss", 0.0)] {
        for number in 0..10_u32 {
            let mut state = number * 77 + 5;
            let samples: Vec<f32> = (0..16_000)
                .map(|t| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let pitch = pitch * (1.0 + 0.03 * number as f32);
                    let noise = (state >> 8) as f32 / (1 << 24) as f32 - 0.5;
                    0.4 * (pitch * std::f32::consts::TAU * t as f32 / 16_000.0).sin() + 0.1 * noise
                })
                .collect();
            write_wav(&root.join(class).join(format!("{class}-{number}.wav")), 16_000, &samples);
        }
    }
    root
}

#[test]
fn a_set_is_learnt_and_the_result_names_classes_and_searches() {
    let folder = tempfile::tempdir().unwrap();
    let set = three_classes(folder.path());
    let (out, db) = (folder.path().join("tuned"), folder.path().join("sounds.otolith"));
    let train = ["fine-tune", "--data", text(&set), "--out", text(&out), "--freeze", "--rate", "1e-3", "--epochs", "4"];
    let document = json(&train);
    let epochs = document["epochs"].as_array().unwrap();
    assert_eq!((epochs.len(), &document["stopped"]), (4, &false.into()));
    assert_eq!((&document["training_clips"], &document["validation_clips"]), (&24.into(), &6.into()));
    let kept = document["kept"].as_u64().unwrap() as usize;
    assert!(epochs[kept - 1]["accuracy"].as_f64().unwrap() >= 0.8, "{document}");
    // Once more is nothing to do, and says the same but for nothing.
    assert_eq!(json(&train), document);

    let file = set.join("high/high-3.wav");
    let named = json(&["classify", text(&file), "--model", text(&out), "--top", "2"]);
    let classes = named["sounds"][0]["classes"].as_array().unwrap();
    assert_eq!((classes.len(), &classes[0]["class"]), (2, &"high".into()), "{named}");
    let all = json(&["classify", text(&set), "--model", text(&out), "--top", "3"]);
    for sound in all["sounds"].as_array().unwrap() {
        let sum: f64 =
            sound["classes"].as_array().unwrap().iter().map(|one| one["probability"].as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{sound}");
    }
    let shown = run(&["classify", text(&file), "--model", text(&out)]);
    assert!(String::from_utf8(shown.stdout).unwrap().contains("high-3.wav  high 0."));

    let model = ["--model", text(&out), "--layer", "3"];
    json(&[&["add", text(&db), text(&set), "--class-from-folder"], &model[..]].concat());
    let found = json(&[&["search", text(&db), text(&file)], &model[..]].concat());
    assert_eq!(found["hits"][0]["id"], "high/high-3.wav");
    let classes = found["hits"].as_array().unwrap().iter().take(5).filter(|hit| hit["fields"]["class"] == "high");
    assert!(classes.count() >= 4, "{found}");
}

#[test]
fn a_run_that_is_interrupted_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let set = three_classes(folder.path());
    let out = folder.path().join("tuned");
    let train =
        ["fine-tune", "--data", text(&set), "--out", text(&out), "--freeze", "--rate", "1e-3", "--epochs", "30"];
    let mut child = otolith().args(train).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The heading, then the first epoch.
    assert!(lines.next().unwrap().unwrap().starts_with("epoch"));
    lines.next().unwrap().unwrap();
    let interrupt = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    assert_eq!(child.wait().unwrap().code(), Some(1), "an interrupted run is one done in part");
    assert!(out.join("model.safetensors").exists());
    let document = json(&train);
    assert_eq!(document["epochs"].as_array().unwrap().len(), 30);
    let refused = error(&[&train[..], &["--batch", "4"]].concat(), 1);
    assert!(refused.contains("was begun with") && refused.contains("--out"), "{refused}");
}

#[test]
fn what_cannot_work_is_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let set = three_classes(folder.path());
    let out = folder.path().join("tuned");
    let train = |more: &[&str]| error(&[&["fine-tune", "--out", text(&out), "--freeze"], more].concat(), 1);
    let says = |line: &str, words: &[&str]| assert!(words.iter().all(|word| line.contains(word)), "{line}");

    says(&train(&["--data", text(&folder.path().join("nowhere"))]), &["nowhere"]);
    says(&train(&["--data", text(&set), "--model", "logmel"]), &["nothing to train"]);
    says(&train(&["--data", text(&set), "--model", text(&set)]), &["config.json"]);
    says(&train(&["--data", text(&set), "--layer", "2"]), &["--layer"]);
    says(&train(&["--data", text(&set), "--fold", "9"]), &["folds 1 to 5"]);
    says(&train(&["--data", text(&set), "--epochs", "0"]), &["epochs", "at least 1"]);

    let one = folder.path().join("one");
    fs::create_dir_all(&one).unwrap();
    fs::rename(set.join("low"), one.join("low")).unwrap();
    says(&train(&["--data", text(&one)]), &["one class is nothing to tell apart"]);

    write_wav(&set.join("hiss/hiss-3.wav"), 16_000, &[0.1; 100]);
    says(&train(&["--data", text(&set)]), &["hiss-3.wav", "100 samples", "at least"]);
    fs::remove_file(set.join("hiss/hiss-3.wav")).unwrap();

    // A class that is only there to be validated.
    let splits = folder.path().join("splits");
    for (from, to) in
        [("high/high-0.wav", "train/high"), ("hiss/hiss-0.wav", "train/hiss"), ("hiss/hiss-1.wav", "test/odd")]
    {
        fs::create_dir_all(splits.join(to)).unwrap();
        fs::rename(set.join(from), splits.join(to).join("a.wav")).unwrap();
    }
    says(&train(&["--data", text(&splits)]), &["`odd`", "no clip to train on"]);

    let headless = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/wav2vec2/base_group");
    let file = set.join("high/high-1.wav");
    says(&error(&["classify", text(&file), "--model", text(&headless)], 1), &["projector.weight"]);
    says(&error(&["classify", text(&file), "--model", "logmel"], 1), &["no classes"]);
}

/// A small network with a head for five classes, changed.
fn network(config: impl FnOnce(&mut serde_json::Value), tensors: impl Fn(&str, Tensor) -> Tensor) -> tempfile::TempDir {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/wav2vec2/classify_base");
    let folder = tempfile::tempdir().unwrap();
    let mut json = serde_json::from_slice(&fs::read(source.join("config.json")).unwrap()).unwrap();
    config(&mut json);
    fs::write(folder.path().join("config.json"), json.to_string()).unwrap();
    fs::copy(source.join("preprocessor_config.json"), folder.path().join("preprocessor_config.json")).unwrap();
    let stored = candle_core::safetensors::load(source.join("model.safetensors"), &Device::Cpu).unwrap();
    let changed: HashMap<_, _> =
        stored.into_iter().map(|(name, tensor)| (name.clone(), tensors(&name, tensor))).collect();
    candle_core::safetensors::save(&changed, folder.path().join("model.safetensors")).unwrap();
    folder
}

#[test]
fn equal_odd_and_senseless_scores_are_shown_as_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.wav");
    write_wav(&file, 16_000, &common::samples(3, 16_000));
    let classes = |model: &Path| json(&["classify", text(&file), "--model", text(model), "--top", "9"]);
    let same = |_: &str, tensor: Tensor| tensor;
    let sum = |told: &serde_json::Value| -> f64 {
        told["sounds"][0]["classes"].as_array().unwrap().iter().map(|one| one["probability"].as_f64().unwrap()).sum()
    };

    // Scores that are all the same: classes in the order of the checkpoint.
    let equal = network(
        |_| {},
        |name, tensor| if name.starts_with("classifier.") { tensor.zeros_like().unwrap() } else { tensor },
    );
    let told = classes(equal.path());
    let names: Vec<&str> =
        told["sounds"][0]["classes"].as_array().unwrap().iter().map(|one| one["class"].as_str().unwrap()).collect();
    assert_eq!(names, ["dog", "rain", "crow", "clock", "siren"]);
    assert!((sum(&told) - 1.0).abs() < 1e-6);

    // Each class by itself: of scores of 0 half each.
    let several = network(
        |config| config["problem_type"] = "multi_label_classification".into(),
        |name, tensor| if name.starts_with("classifier.") { tensor.zeros_like().unwrap() } else { tensor },
    );
    assert!((sum(&classes(several.path())) - 2.5).abs() < 1e-6);
    let measured = network(|config| config["problem_type"] = "regression".into(), same);
    let refused = error(&["classify", text(&file), "--model", text(measured.path())], 1);
    assert!(refused.contains("regression") && refused.contains("no classes"), "{refused}");

    // One class is always right, and that is said.
    let only = network(
        |config| config["id2label"] = serde_json::json!({"0": "only"}),
        |name, tensor| {
            if name.starts_with("classifier.") { tensor.narrow(0, 0, 1).unwrap().contiguous().unwrap() } else { tensor }
        },
    );
    let shown = run(&["classify", text(&file), "--model", text(only.path())]);
    let (out, remark) = (String::from_utf8(shown.stdout).unwrap(), String::from_utf8(shown.stderr).unwrap());
    assert!(out.contains("only 1.000") && remark.contains("one class"), "{out}{remark}");

    // Scores that are no numbers, and weights that are none.
    let overflow = |name: &str, tensor: Tensor| match name {
        "projector.weight" | "classifier.weight" => (tensor.ones_like().unwrap() * 3e38).unwrap(),
        _ => tensor,
    };
    let shown =
        otolith().args(["classify", text(&file), "--model", text(network(|_| {}, overflow).path())]).output().unwrap();
    let told = String::from_utf8(shown.stderr).unwrap();
    assert!(!shown.status.success() && told.contains("a.wav") && told.contains("no numbers"), "{told}");
    let damaged =
        network(|_| {}, |name, tensor| if name == "classifier.bias" { (tensor * f64::NAN).unwrap() } else { tensor });
    let refused = error(&["classify", text(&file), "--model", text(damaged.path())], 1);
    assert!(refused.contains("`classifier.bias`") && refused.contains("NaN"), "{refused}");
}

#[test]
fn what_was_made_for_several_classes_is_trained_to_choose_one() {
    let folder = tempfile::tempdir().unwrap();
    let (set, out) = (three_classes(folder.path()), folder.path().join("tuned"));
    let several = network(|config| config["problem_type"] = "multi_label_classification".into(), |_, tensor| tensor);
    let train = ["fine-tune", "--data", text(&set), "--out", text(&out), "--freeze", "--epochs", "1"];
    json(&[&train[..], &["--model", text(several.path())]].concat());
    let config: serde_json::Value = serde_json::from_slice(&fs::read(out.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["problem_type"], serde_json::Value::Null);
    let told = json(&["classify", text(&set.join("low/low-1.wav")), "--model", text(&out), "--top", "3"]);
    let sum: f64 =
        told["sounds"][0]["classes"].as_array().unwrap().iter().map(|one| one["probability"].as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-5, "{told}");
}
