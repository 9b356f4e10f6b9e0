//! The binary, run as a user runs it: results, JSON, errors, exit codes.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod common;

use common::{error, json, otolith, run, samples, text, write_wav};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Twelve short sounds in three folders.
fn recordings(folder: &Path) -> PathBuf {
    let root = folder.join("recordings");
    for (number, class) in ["dog", "rain", "siren"].iter().cycle().take(12).enumerate() {
        write_wav(&root.join(class).join(format!("{number:02}.wav")), 16_000, &samples(number as u32, 16_000));
    }
    root
}

#[test]
fn every_subcommand_explains_itself() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    assert!(help.contains("Examples:") && help.contains("Exit codes:"), "{help}");
    for command in [
        "compare",
        "add",
        "search",
        "embed",
        "get",
        "list",
        "delete",
        "view",
        "info",
        "verify",
        "repair",
        "bench",
        "index",
        "import",
        "export",
        "dataset",
        "label",
        "adapt",
        "fine-tune",
        "classify",
    ] {
        assert!(help.contains(command), "{command} is not in the help");
        let output = run(&[command, "--help"]);
        assert_eq!(output.status.code(), Some(0), "{command}");
        assert!(output.stdout.len() > 200, "{command} says little");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(String::from_utf8(run(&["completions", shell]).stdout).unwrap().contains("otolith"), "{shell}");
    }
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for args in [&["fly"][..], &["search"], &["list", "x", "--limit", "many"], &["--threads", "0", "list", "x"]] {
        assert_eq!(run(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn sounds_go_in_are_found_listed_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let (root, db) = (recordings(folder.path()), folder.path().join("sounds.otolith"));
    let (root, db) = (text(&root), text(&db));
    assert_eq!(json(&["add", db, root, "--class-from-folder"])["added"], 12);
    let again = json(&["add", db, root, "--class-from-folder"]);
    assert_eq!((&again["added"], &again["skipped"]), (&0.into(), &12.into()));

    let info = json(&["info", db]);
    assert_eq!((&info["collections"][0]["records"], &info["collections"][0]["dim"]), (&12.into(), &192.into()));
    let query = format!("{root}/dog/03.wav");
    let found = json(&["search", db, &query, "-k", "3", "--explain"]);
    assert_eq!(found["hits"].as_array().unwrap().len(), 3);
    assert_eq!((&found["hits"][0]["id"], &found["hits"][0]["fields"]["class"]), (&"dog/03.wav".into(), &"dog".into()));
    assert_eq!(found["certificate"]["exact"], true);
    let first = &found["hits"][0]["runs"][0];
    assert_eq!(first["query_seconds"], first["record_seconds"], "a sound matches itself in place");
    assert!(found["certificate"]["approximation"].is_null() && found["plan"][0]["way"] == "rows");
    let shown = run(&["search", db, &query, "--recall", "0.9", "--plan"]);
    assert!(
        String::from_utf8_lossy(&shown.stdout).ends_with("records: rows; no index over this segment\n"),
        "{shown:?}"
    );
    assert!(error(&["search", db, &query, "--recall", "95"], 1).contains("from 0 to 1"));
    error(&["search", db, &query, "--recall", "0.9", "--budget", "5"], 2);
    let rain = json(&["search", db, &query, "--filter", "class = 'rain'"]);
    let hits = rain["hits"].as_array().unwrap();
    assert!(hits.len() == 4 && hits.iter().all(|hit| hit["fields"]["class"] == "rain"));

    let listed = json(&["list", db, "--filter", "class = 'siren'"]);
    assert_eq!(listed["records"].as_array().unwrap().len(), 4);
    assert_eq!(json(&["get", db, "dog/03.wav"])["fields"]["seconds"], 1.0);
    assert_eq!(json(&["delete", db, "dog/03.wav"])["deleted"], 1);
    assert!(error(&["get", db, "dog/03.wav"], 1).contains("not found"));
    assert!(error(&["delete", db, "dog/03.wav"], 1).contains("1 of 1 ids"));
    assert_eq!(json(&["verify", db, "--deep"])["damage"].as_array().unwrap().len(), 0);
}

#[test]
fn a_changed_sound_replaces_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let (sound, db) = (folder.path().join("a.wav"), folder.path().join("db"));
    write_wav(&sound, 16_000, &samples(1, 8_000));
    json(&["add", text(&db), text(&sound)]);
    write_wav(&sound, 16_000, &samples(2, 16_000));
    assert_eq!(json(&["add", text(&db), text(&sound)])["added"], 1);
    assert_eq!(json(&["list", text(&db)])["records"].as_array().unwrap().len(), 1);
    assert_eq!(json(&["get", text(&db), "a.wav"])["fields"]["seconds"], 1.0);
}

#[test]
fn the_same_file_added_twice_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("a.wav");
    write_wav(&sound, 44_100, &samples(7, 60_000));
    let bytes = |name: &str| {
        let (db, out) = (folder.path().join(name), folder.path().join(format!("{name}.npy")));
        json(&["add", text(&db), text(&sound)]);
        json(&["get", text(&db), "a.wav", "--out", text(&out)]);
        fs::read(out).unwrap()
    };
    assert_eq!(bytes("one"), bytes("two"));
}

#[test]
fn a_bad_file_is_named_and_the_others_go_in() {
    let folder = tempfile::tempdir().unwrap();
    let (root, db) = (recordings(folder.path()), folder.path().join("db"));
    fs::write(root.join("dog/empty.wav"), b"").unwrap();
    fs::write(root.join("dog/text.wav"), b"this is no sound at all, though it is long enough for a header").unwrap();
    let whole = fs::read(root.join("dog/00.wav")).unwrap();
    fs::write(root.join("dog/short.wav"), &whole[..whole.len() / 2]).unwrap();
    let output = otolith().args(["add", text(&db), text(&root), "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["added"], 12);
    assert_eq!(report["failed"].as_array().unwrap().len(), 3);
    let stderr = String::from_utf8(output.stderr).unwrap();
    for name in ["empty.wav", "text.wav", "short.wav"] {
        assert_eq!(
            stderr.lines().filter(|line| line.starts_with("error: ") && line.contains(name)).count(),
            1,
            "{stderr}"
        );
    }
    assert!(stderr.lines().last().unwrap().contains("3 of 15 files"), "{stderr}");
}

#[test]
fn errors_say_what_where_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("db");
    assert!(error(&["list", text(&db)], 1).contains("db"), "names the database");
    assert!(!db.exists(), "reading creates nothing");
    let sound = folder.path().join("a.wav");
    write_wav(&sound, 16_000, &samples(1, 16_000));
    json(&["add", text(&db), text(&sound)]);
    let message = error(&["search", text(&db), text(&sound), "--filter", "class = = 1"], 1);
    assert!(message.contains("at byte 8"), "{message}");
    let message = error(&["search", text(&db), text(&sound), "--view", "white"], 1);
    assert!(message.contains("`white`") && message.contains("`raw`"), "{message}");
    let message = error(&["list", text(&db), "--collection", "birds"], 1);
    assert!(message.contains("`birds`") && message.contains("`clips`"), "{message}");
    assert!(error(&["search", text(&db), text(&folder.path().join("none.wav"))], 1).contains("none.wav"));
    assert!(error(&["embed", text(&sound), "--model", "no-such-model"], 1).contains("no-such-model"));
}

#[test]
fn damage_is_exit_code_3_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let (sound, db) = (folder.path().join("a.wav"), folder.path().join("db"));
    write_wav(&sound, 16_000, &samples(1, 16_000));
    json(&["add", text(&db), text(&sound)]);
    let segment = fs::read_dir(db.join("seg")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[5_000] ^= 1;
    let mut permissions = fs::metadata(&segment).unwrap().permissions();
    #[allow(clippy::permissions_set_readonly_false)]
    permissions.set_readonly(false);
    fs::set_permissions(&segment, permissions).unwrap();
    fs::write(&segment, bytes).unwrap();
    let output = run(&["verify", text(&db), "--deep"]);
    assert_eq!(output.status.code(), Some(3));
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains(segment.file_name().unwrap().to_str().unwrap()), "{told}");
}

#[test]
fn views_are_created_searched_listed_and_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let (root, db) = (recordings(folder.path()), folder.path().join("db"));
    let (root, db) = (text(&root), text(&db));
    json(&["add", db, root]);
    let steps = ["stack:-1,0,1", "every:2", "whiten:16", "normalise"];
    let made = json(&[&["view", "create", db, "white"], &steps[..], &["--metric", "cosine"]].concat());
    assert_eq!(made["views"][0]["dim"], 16);
    let found = json(&["search", db, &format!("{root}/rain/04.wav"), "--view", "white"]);
    assert_eq!(found["hits"][0]["id"], "rain/04.wav");
    assert_eq!(json(&["view", "list", db])["views"].as_array().unwrap().len(), 1);
    json(&["view", "drop", db, "white"]);
    assert!(error(&["view", "drop", db, "white"], 1).contains("`white`"));
    assert_eq!(run(&["view", "create", db, "odd", "rotate:3"]).status.code(), Some(2));
}

#[test]
fn arrays_survive_export_and_import() {
    let folder = tempfile::tempdir().unwrap();
    let (root, db) = (recordings(folder.path()), folder.path().join("db"));
    let at = |name: &str| folder.path().join(name);
    json(&["add", text(&db), text(&root), "--class-from-folder"]);
    json(&["export", text(&db), text(&at("out"))]);
    assert_eq!(json(&["import", text(&at("copy")), text(&at("out"))])["imported"], 12);
    json(&["export", text(&at("copy")), text(&at("again"))]);
    let table = |name: &str| fs::read_to_string(at(name).join("records.jsonl")).unwrap();
    assert_eq!(table("out"), table("again"));
    assert_eq!(fs::read(at("out/00000003.npy")).unwrap(), fs::read(at("again/00000003.npy")).unwrap());

    // One array of all, and back under the same ids.
    json(&["export", text(&db), text(&at("all.npy"))]);
    let ids = text(&at("all.ids.txt")).to_owned();
    json(&["import", text(&at("third")), text(&at("all.npy")), "--ids", &ids]);
    json(&["export", text(&at("third")), text(&at("all-again.npy"))]);
    assert_eq!(fs::read(at("all.npy")).unwrap(), fs::read(at("all-again.npy")).unwrap());
    let found = json(&["search", text(&at("third")), text(&at("out/00000003.npy")), "-k", "1"]);
    assert_eq!(found["hits"][0]["id"], fs::read_to_string(&ids).unwrap().lines().nth(3).unwrap());
}

#[test]
fn an_id_given_to_two_vectors_loses_neither() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_wav(&at("a.wav"), 16_000, &samples(1, 1_200)); // three rows
    json(&["embed", text(&at("a.wav")), "--model", "logmel", "--out", text(&at("a.npy"))]);
    fs::write(at("ids.txt"), "a\nb\na\n").unwrap();
    let [db, array, ids] = ["db", "a.npy", "ids.txt"].map(at);
    let import = ["import", text(&db), text(&array), "--ids", text(&ids)];
    let message = error(&import, 1);
    assert!(message.contains("\"a\"") && message.contains("two lines"), "{message}");
    assert!(!at("db").exists(), "nothing is made of a list that cannot be right");
    fs::write(at("ids.txt"), "a\nb\nc\n").unwrap();
    assert_eq!(json(&import)["imported"], 3);
}

#[test]
fn rows_of_another_model_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (sound, db) = (folder.path().join("a.wav"), folder.path().join("db"));
    write_wav(&sound, 16_000, &samples(1, 16_000));
    json(&["embed", text(&sound), "--out", text(&folder.path().join("a.npy"))]);
    json(&["import", text(&db), text(&folder.path().join("a.npy"))]);
    let message = error(&["search", text(&db), text(&sound)], 1);
    assert!(message.contains("--model"), "{message}");
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("db");
    let sound = folder.path().join("a.wav");
    write_wav(&sound, 16_000, &samples(3, 480_000));
    let mut child =
        otolith().args(["embed", text(&sound)]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 16];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap(); // and closes it
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty());
    assert!(!db.exists());
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_behind_stdout_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let (sound, db) = (folder.path().join("a.wav"), folder.path().join("db"));
    write_wav(&sound, 16_000, &samples(1, 16_000));
    json(&["add", text(&db), text(&sound)]);
    for more in [&[][..], &["--json"]] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = otolith().args(["list", text(&db)]).args(more).stdout(full).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{more:?}: {stderr}");
        assert!(stderr.starts_with("error: standard output: "), "{stderr}");
    }
}

#[test]
fn quiet_prints_no_remark_and_json_is_alone_on_stdout() {
    let folder = tempfile::tempdir().unwrap();
    let (sound, db) = (folder.path().join("a.wav"), folder.path().join("db"));
    write_wav(&sound, 16_000, &samples(1, 16_000));
    json(&["add", text(&db), text(&sound)]);
    let output = run(&["search", text(&db), text(&sound), "--quiet"]);
    assert!(output.stderr.is_empty() && !output.stdout.is_empty());
}
