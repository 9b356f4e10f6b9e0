//! The binary reads every file of a folder, or counts and names it; and lets the channel be chosen.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use common::{json, otolith, run, samples, text, write_wav};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

fn agreeing(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/audio/agree").join(name)
}

fn ids(db: &str) -> Vec<String> {
    let listed = json(&["list", db]);
    listed["records"].as_array().unwrap().iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect()
}

/// Reasons and counts of what was left out.
fn left_out(document: &Value) -> Vec<(String, u64)> {
    let groups = document["left_out"].as_array().unwrap().iter();
    groups.map(|group| (group["why"].as_str().unwrap().to_owned(), group["files"].as_u64().unwrap())).collect()
}

/// A channel and its negative.
fn write_opposite(path: &Path) {
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for sample in samples(3, 8_000) {
        let sample = (sample * 20_000.0) as i16;
        writer.write_sample(sample).unwrap();
        writer.write_sample(-sample).unwrap();
    }
    writer.finalize().unwrap();
}

#[test]
fn files_of_every_ending_go_in_and_the_rest_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let sounds = folder.path().join("sounds");
    write_wav(&sounds.join("frog/a.WAV"), 16_000, &samples(1, 4_000));
    write_wav(&sounds.join("frog/b.bwf"), 16_000, &samples(2, 4_000));
    for (from, to) in [
        ("be24.aiff", "c.aif"),
        ("little.aifc", "d.AIFC"),
        ("speech.opus", "e.opus"),
        ("aac.m4a", "f.m4b"),
        ("layer2.mp2", "g.mp2"),
        ("alac.caf", "h.caf"),
        ("sound.w64", "i.w64"),
        ("flac.ogg", "j.oga"),
        ("opus.webm", "k.webm"),
        ("mulaw.au", "l.au"),
    ] {
        fs::copy(agreeing(from), sounds.join("frog").join(to)).unwrap();
    }
    for other in ["._a.WAV", "notes.txt", "cover.jpg", ".DS_Store"] {
        fs::write(sounds.join("frog").join(other), "no sound").unwrap();
    }
    let db = folder.path().join("db");
    let added = json(&["add", text(&db), text(&sounds), "--model", "logmel"]);
    assert_eq!((&added["added"], &added["failed"]), (&12.into(), &Value::Array(vec![])), "{added}");
    assert_eq!(left_out(&added), [("hidden".to_owned(), 2), ("not named like a sound".to_owned(), 2)]);
    assert_eq!(added["left_out"][0]["first"].as_array().unwrap().len(), 2);
    assert_eq!(ids(text(&db)).len(), 12);
    // The same file twice is one; the second time nothing changes.
    let twice = sounds.join("frog/a.WAV");
    let again = json(&["add", text(&db), text(&twice), text(&twice), "--model", "logmel"]);
    assert_eq!((&again["added"], &again["skipped"]), (&1.into(), &0.into()));
    let again = json(&["add", text(&db), text(&sounds), "--model", "logmel"]);
    assert_eq!((&again["added"], &again["skipped"]), (&0.into(), &12.into()));
}

#[test]
fn a_set_of_classes_tells_what_it_did_not_take() {
    let folder = tempfile::tempdir().unwrap();
    let sounds = folder.path().join("sounds");
    for (class, seed) in [("frog", 0), ("owl", 100)] {
        for clip in 0..6 {
            write_wav(&sounds.join(class).join(format!("{clip}.WAV")), 16_000, &samples(seed + clip, 4_000));
        }
        fs::write(sounds.join(class).join("._0.WAV"), "x").unwrap();
    }
    write_wav(&sounds.join("frog/deeper/x.wav"), 16_000, &samples(7, 4_000));
    write_wav(&sounds.join("alone.wav"), 16_000, &samples(8, 4_000));
    fs::write(sounds.join("owl/notes.txt"), "x").unwrap();
    let expected = [("hidden", 2), ("not named like a sound", 1), ("not in the folder of a class", 2)];
    let prepared = run(&["dataset", "prepare", "--data", text(&sounds), text(&folder.path().join("out")), "--json"]);
    let told = String::from_utf8(prepared.stderr).unwrap();
    for (why, count) in expected {
        assert!(told.contains(&format!("{count} {why} (")), "{told}");
    }
    #[cfg(unix)]
    {
        let linked = folder.path().join("linked");
        fs::create_dir(&linked).unwrap();
        for class in ["frog", "owl"] {
            std::os::unix::fs::symlink(sounds.join(class), linked.join(class)).unwrap();
        }
        let compared = json(&["compare", "--data", text(&linked), "--model", "logmel", "--arms", "mean"]);
        assert_eq!(compared["dataset"]["clips"], 12);
    }
}

#[test]
fn opposite_channels_are_told_and_one_can_be_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let (file, db) = (folder.path().join("opposite.wav"), folder.path().join("db"));
    write_opposite(&file);
    let (file, db) = (text(&file), text(&db));
    let embed = |channel: &[&str]| json(&[&["embed", file, "--model", "logmel"], channel].concat());
    assert!(embed(&[])["remarks"][0].as_str().unwrap().contains("the mix of its channels is silent"));
    assert_eq!(embed(&["--channel", "left"])["remarks"], Value::Array(vec![]));
    let remark = String::from_utf8(run(&["embed", file, "--model", "logmel"]).stderr).unwrap();
    assert!(remark.contains("take channel 1 alone"), "{remark}");
    let added = json(&["add", db, file, "--model", "logmel"]);
    assert!(added["remarks"][0]["remark"].as_str().unwrap().contains("silent"), "{added}");
    // Another channel is another sound; the same again is not.
    for (channel, fresh) in [("left", 1), ("1", 0), ("right", 1), ("mean", 1)] {
        let added = json(&["add", db, file, "--model", "logmel", "--channel", channel]);
        assert_eq!((&added["added"], &added["replaced"]), (&0.into(), &fresh.into()), "{channel}: {added}");
    }
    let none = otolith().args(["embed", file, "--model", "logmel", "--channel", "3"]).output().unwrap();
    assert_eq!(none.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&none.stderr).contains("has 2 channels and no channel 3"));
    let wrong = otolith().args(["embed", file, "--model", "logmel", "--channel", "middle"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

#[cfg(unix)]
#[test]
fn one_file_that_cannot_be_read_keeps_no_other_from_going_in() {
    let folder = tempfile::tempdir().unwrap();
    let (sounds, db) = (folder.path().join("sounds"), folder.path().join("db"));
    write_wav(&sounds.join("a.wav"), 16_000, &samples(1, 4_000));
    let deep = (0..6).fold(sounds.clone(), |path, _| path.join("d".repeat(200)));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("far.wav"), "x").unwrap();
    fs::write(sounds.join("b.wav"), "no sound").unwrap();
    fs::write(sounds.join("c.wma"), b"\x30\x26\xb2\x75\x8e\x66\xcf\x11").unwrap();
    std::os::unix::fs::symlink("nowhere.wav", sounds.join("d.wav")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(sounds.join("pipe.wav")).status().unwrap().success());
    let output = otolith().args(["add", text(&db), text(&sounds), "--model", "logmel", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let added: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(added["added"], 1);
    let failed: Vec<String> = added["failed"].as_array().unwrap().iter().map(|one| one["error"].to_string()).collect();
    for words in
        ["1024 at most", "not a sound file", "Windows Media (WMA, ASF), which is not read: convert it", "d.wav"]
    {
        assert!(failed.iter().any(|error| error.contains(words)), "{words}: {failed:#?}");
    }
    assert_eq!((failed.len(), left_out(&added)), (4, vec![("no regular file".to_owned(), 1)]));
    // Named by hand, a pipe is refused without waiting for somebody to write into it.
    let pipe = run(&["add", text(&db), text(&sounds.join("pipe.wav")), "--model", "logmel"]);
    assert!(String::from_utf8_lossy(&pipe.stderr).contains("not a regular file"));
}

#[test]
fn sounds_of_another_folder_replace_none_of_the_same_names_unless_they_are_to() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (year, seed) in [("2025", 10), ("2026", 20)] {
        for n in 1..4 {
            write_wav(&at(&format!("{year}/dog/{n}.wav")), 16_000, &samples(seed + n, 4_000));
        }
    }
    write_wav(&at("2026/dog/4.wav"), 16_000, &samples(9, 4_000));
    let add = |cwd: &str, db: &str, args: &[&str]| {
        let mut command = otolith();
        command.current_dir(at(cwd)).args(["add", text(&at(db)), "--model", "logmel", "--json"]);
        let output = command.args(args).output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let [added, replaced, skipped] = ["added", "replaced", "skipped"].map(|name| document[name].as_u64().unwrap());
        let failed = document["failed"].as_array().unwrap().clone();
        assert_eq!(output.status.code(), Some(i32::from(!failed.is_empty())), "{document}");
        (added, replaced, skipped, failed)
    };
    let hashes = |db: &str| -> Vec<String> {
        let fields = |n| json(&["get", text(&at(db)), &format!("dog/{n}.wav")])["fields"].clone();
        (1..4).map(|n| fields(n)["hash"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(add("", "db", &["2025/"]), (3, 0, 0, vec![]));
    let first = hashes("db");
    // By whatever path, also where the path that was typed is the same.
    for (cwd, argument) in [("", "2026/"), ("", text(&at("2026"))), ("2026", ".")] {
        let (added, replaced, skipped, failed) = add(cwd, "db", &[argument]);
        assert_eq!((added + skipped, replaced, failed.len()), (1, 0, 3), "{argument}");
        for words in ["`dog/", "2025/dog/", "a folder above both", "have that record replaced"] {
            assert!(failed.iter().all(|one| one["error"].as_str().unwrap().contains(words)), "{words}: {failed:#?}");
        }
        assert_eq!(hashes("db"), first);
    }
    // `.` in another folder is another place.
    assert_eq!(add("2025", "dots", &["."]), (3, 0, 0, vec![]));
    assert_eq!(add("2026", "dots", &["."]).3.len(), 3);
    assert_eq!(hashes("dots"), first);
    // A folder that was moved is there already; what was changed where it lies is replaced, by any of its paths.
    fs::rename(at("2025"), at("moved")).unwrap();
    assert_eq!(add("", "db", &["moved"]), (0, 0, 3, vec![]));
    write_wav(&at("2026/dog/4.wav"), 16_000, &samples(8, 4_000));
    let changed = at("2026/dog/../dog/4.wav");
    let folder_of_it = format!("{}/..", text(changed.parent().unwrap()));
    assert_eq!(add("", "db", &[&folder_of_it]).1, 1);
    assert_eq!(add("2026", "db", &[".", "--replace"]), (0, 3, 1, vec![]));
    assert!(hashes("db").iter().all(|hash| !first.contains(hash)));
    let all = String::from_utf8(run(&["add", text(&at("db")), text(&at("2026")), "--model", "logmel"]).stdout).unwrap();
    assert_eq!(all, "0 added, 0 replaced, 4 unchanged, 0 failed\n");
}
