//! `dataset fetch`, on archives that the test makes.

use super::common::{json, otolith, samples, text, write_wav};
use super::server::{Reply, Server};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

type Entry = (String, Vec<u8>);

/// A set of two classes of three clips as its author's archive holds it, with things beside it that do not belong.
fn entries() -> Vec<Entry> {
    let folder = tempfile::tempdir().unwrap();
    let mut table = "filename,fold,target,category,esc10,src_file,take\n".to_owned();
    let mut entries = vec![
        ("ESC-50-master/LICENSE".to_owned(), b"CC BY-NC".to_vec()),
        ("ESC-50-master/README.md".to_owned(), b"# ESC-50".to_vec()),
        ("ESC-50-master/tests/x.py".to_owned(), b"x".to_vec()),
        ("ESC-50-master/audio/../../../evil.wav".to_owned(), b"x".to_vec()),
        ("../evil.wav".to_owned(), b"x".to_vec()),
    ];
    for fold in 1..=3 {
        for (class, name) in ["dog", "rain"].iter().enumerate() {
            let file = format!("{fold}-{fold}{class}-A-{class}.wav");
            let path = folder.path().join(&file);
            write_wav(&path, 44_100, &samples((class * 10 + fold) as u32, 4_000));
            entries.push((format!("ESC-50-master/audio/{file}"), fs::read(path).unwrap()));
            table += &format!("{file},{fold},{class},{name},False,{fold}{class},A\n");
        }
    }
    entries.push(("ESC-50-master/meta/esc50.csv".to_owned(), table.into_bytes()));
    entries
}

/// A zip archive, every second file of it deflated.
fn archive(entries: &[Entry]) -> Vec<u8> {
    let (mut zip, mut directory) = (Vec::new(), Vec::new());
    for (number, (name, content)) in entries.iter().enumerate() {
        let (method, packed) = match number % 2 {
            0 => (0_u16, content.clone()),
            _ => {
                let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(content).unwrap();
                (8, encoder.finish().unwrap())
            }
        };
        // from the version needed to the length of the extra field: the same in both headers
        let mut about = Vec::new();
        [20, 0, method, 0, 33].iter().for_each(|word| about.extend(word.to_le_bytes()));
        [crc32fast::hash(content), packed.len() as u32, content.len() as u32]
            .iter()
            .for_each(|word| about.extend(word.to_le_bytes()));
        [name.len() as u16, 0].iter().for_each(|word| about.extend(word.to_le_bytes()));
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(&about);
        directory.extend([0; 10]);
        directory.extend((zip.len() as u32).to_le_bytes());
        directory.extend(name.as_bytes());
        zip.extend(b"PK\x03\x04");
        zip.extend(&about);
        zip.extend(name.as_bytes());
        zip.extend(packed);
    }
    let (start, count) = (zip.len() as u32, entries.len() as u16);
    zip.extend(&directory);
    zip.extend(b"PK\x05\x06\0\0\0\0");
    [count, count].iter().for_each(|word| zip.extend(word.to_le_bytes()));
    [directory.len() as u32, start].iter().for_each(|word| zip.extend(word.to_le_bytes()));
    zip.extend([0, 0]);
    zip
}

fn serve(archive: Vec<u8>) -> Server {
    Server::start(move |request, _| Reply::ranged(request, &archive, "\"a\""))
}

fn fetch(server: &Server, out: &Path) -> Command {
    let mut command = otolith();
    command.env("http_proxy", "http://127.0.0.1:9");
    command.args(["dataset", "fetch", "esc50", "--out", text(out), "--url", &server.url("/master.zip")]);
    command
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_set_is_fetched_checked_and_ready_to_compare() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("ESC");
    let server = serve(archive(&entries()));
    let output = fetch(&server, &out).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    for words in ["6 clips of 2 classes", "CC BY-NC 3.0", &format!("otolith compare --data {}", out.display())] {
        assert!(told.contains(words), "{told}");
    }
    assert_eq!(names(folder.path()), ["ESC"], "nothing beside it, and nothing outside");
    assert_eq!(names(&out), ["LICENSE", "README.md", "audio", "meta"]);
    for (name, content) in entries().iter().filter(|(name, _)| name.contains("/audio/1-")) {
        assert_eq!(fs::read(out.join(name.strip_prefix("ESC-50-master/").unwrap())).unwrap(), *content);
    }
    let compared = json(&["compare", "--data", text(&out), "--arms", "mean"]);
    assert_eq!(compared["dataset"]["clips"], 6);

    server.take();
    let again = fetch(&server, &out).arg("--json").output().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((&told["was_there"], &told["clips"], &told["classes"]), (&true.into(), &6.into(), &2.into()));
    assert!(server.take().is_empty(), "a complete set is left alone");
}

#[test]
fn an_interrupted_download_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("ESC");
    let whole = archive(&entries());
    let server = Server::start(move |request, before| match before {
        0 => Reply::ranged(request, &whole, "\"a\"").cut(10_000),
        1 => Reply::status(404),
        _ => Reply::ranged(request, &whole, "\"a\""),
    });
    let first = fetch(&server, &out).output().unwrap();
    assert_eq!(first.status.code(), Some(1), "{first:?}");
    assert!(!out.exists());
    let second = fetch(&server, &out).output().unwrap();
    assert!(second.status.success(), "{second:?}");
    let ranges: Vec<_> = server.asked().iter().map(|request| request.range()).collect();
    assert_eq!(ranges, [None, Some(10_000), Some(10_000)]);
}

#[test]
fn an_archive_that_lacks_something_is_refused_by_name() {
    let all = entries();
    let without = |part: &str| all.iter().filter(|(name, _)| !name.contains(part)).cloned().collect::<Vec<_>>();
    let with = |part: &str, content: &[u8]| {
        let change =
            |(name, old): &Entry| (name.clone(), if name.contains(part) { content.to_vec() } else { old.clone() });
        all.iter().map(change).collect::<Vec<_>>()
    };
    let mut damaged = archive(&all);
    let at = damaged.windows(8).position(|bytes| bytes == b"CC BY-NC").unwrap();
    damaged[at] ^= 1;
    let mut short = archive(&all);
    short.truncate(short.len() / 2);
    for (archive, words) in [
        (archive(&without("2-21-A-1.wav")), &["2-21-A-1.wav", "1 of 6 clips are missing"][..]),
        (archive(&without("esc50.csv")), &["meta/esc50.csv is missing"]),
        (archive(&with("3-30-A-0.wav", b"not a sound")), &["1 sounds cannot be read", "3-30-A-0.wav"]),
        (archive(&with("esc50.csv", b"a,b\n1,2\n")), &["no column `filename`"]),
        (damaged, &["LICENSE", "CRC-32"]),
        (short, &["no zip archive"]),
        (b"<html>".to_vec(), &["no zip archive"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (out, server) = (folder.path().join("ESC"), serve(archive));
        let output = fetch(&server, &out).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
        assert!(words.iter().all(|word| stderr.contains(word)), "{words:?}: {stderr}");
        assert!(!out.exists() && names(&folder.path().join("ESC.part")).iter().all(|name| !name.ends_with(".zip")));
    }
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(archive(&entries()));
    fs::write(folder.path().join("mine.txt"), "x").unwrap();
    let output = fetch(&server, folder.path()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("no complete set") && stderr.contains("choose another folder"), "{stderr}");
    assert_eq!(names(folder.path()), ["mine.txt"]);
    assert!(server.asked().is_empty());
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    // with a slash behind it
    assert!(fetch(&server, &empty.join("")).output().unwrap().status.success());
    assert_eq!(names(folder.path()), ["empty", "mine.txt"]);
    for out in [folder.path().join("mine.txt"), empty.join("meta/esc50.csv")] {
        let stderr = String::from_utf8(fetch(&server, &out).output().unwrap().stderr).unwrap();
        assert!(stderr.contains(text(&out)) && stderr.contains("open"), "{stderr}");
    }
    let bare = folder.path().join("bare");
    fs::create_dir(&bare).unwrap();
    let stderr = String::from_utf8(fetch(&server, &bare.join(".")).output().unwrap().stderr).unwrap();
    assert_eq!(stderr, "");
    let nameless = fetch(&server, Path::new(".")).current_dir(tempfile::tempdir().unwrap().path()).output().unwrap();
    assert!(String::from_utf8(nameless.stderr).unwrap().contains("a name of its own"));
}

#[test]
fn a_sum_that_does_not_fit_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(archive(&entries()));
    let out = folder.path().join("ESC");
    let wrong = fetch(&server, &out).args(["--sha256", &"0".repeat(64)]).output().unwrap();
    let stderr = String::from_utf8(wrong.stderr).unwrap();
    assert!(wrong.status.code() == Some(1) && stderr.contains("wrong checksum"), "{stderr}");
    let found = stderr.split("found sha256 ").nth(1).unwrap()[..64].to_owned();
    assert!(fetch(&server, &out).args(["--sha256", &found]).output().unwrap().status.success());
    assert_eq!(fetch(&server, &out).args(["--sha256", "12"]).output().unwrap().status.code(), Some(1));
}

#[test]
fn two_at_once_end_with_one_set() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(archive(&entries()));
    let out = folder.path().join("ESC");
    let start = |_| fetch(&server, &out).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let running: Vec<_> = (0..2).map(start).collect();
    assert!(running.into_iter().all(|mut process| process.wait().unwrap().success()));
    assert_eq!(names(&out), ["LICENSE", "README.md", "audio", "meta"]);
}

#[cfg(unix)]
#[test]
fn links_where_the_download_belongs_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (out, part) = (folder.path().join("ESC"), folder.path().join("ESC.part"));
    let (foreign, elsewhere) = (folder.path().join("foreign"), folder.path().join("elsewhere"));
    let server = serve(archive(&entries()));
    let refused = || {
        let output = fetch(&server, &out).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    fs::write(&foreign, "mine").unwrap();
    fs::create_dir(&part).unwrap();
    std::os::unix::fs::symlink(&foreign, part.join("lock")).unwrap();
    let told = refused();
    assert!(told.contains("lock") && told.contains("a link where none belongs"), "{told}");
    assert_eq!(fs::read_to_string(&foreign).unwrap(), "mine");

    fs::remove_dir_all(&part).unwrap();
    fs::create_dir_all(elsewhere.join("unpacked")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &part).unwrap();
    let told = refused();
    assert!(told.contains("ESC.part") && told.contains("a link where a directory"), "{told}");
    assert_eq!(names(&elsewhere), ["unpacked"]);
    assert!(server.take().is_empty());
}
