//! One address to one file: cuts, refusals, sums.

use super::server::{Reply, Request, Server, quick};
use otolith::Error;
use otolith::download::{Checksum, Download, Pace, Progress, Retries};
use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes without a period that a wrong offset would keep.
fn content() -> Vec<u8> {
    (0..300_000_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 7).to_le_bytes()).collect()
}

fn download<'a>(url: &'a str, to: &'a Path) -> Download<'a> {
    let (limit, pace) = (1 << 30, Pace::default());
    Download { url, to, what: "x", token: None, length: None, limit, checksum: None, retries: quick(), pace }
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("file.bin");
    (folder, to)
}

/// What lies in the folder of a file.
fn names(to: &Path) -> Vec<String> {
    let entries = to.parent().unwrap().read_dir().unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn sha256(bytes: &[u8]) -> Checksum {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    Checksum::Sha256(String::new()).of(file.path()).unwrap()
}

#[test]
fn a_file_comes_whole_and_says_how_far_it_is() {
    let server = Server::start(|request, _| Reply::ranged(request, &content(), "\"a\""));
    let ((_folder, to), url) = (folder(), server.url("/file"));
    let seen = RefCell::new(Vec::new());
    let note = |progress: Progress<'_>| seen.borrow_mut().push((progress.bytes, progress.total));
    Download { checksum: Some(sha256(&content())), ..download(&url, &to) }.run(&note).unwrap();
    assert_eq!(fs::read(&to).unwrap(), content());
    assert_eq!(names(&to), ["file.bin"]);
    let (seen, length) = (seen.into_inner(), content().len() as u64);
    assert!(
        seen.is_sorted() && seen[0] == (0, Some(length)) && seen.last() == Some(&(length, Some(length))),
        "{seen:?}"
    );
    assert_eq!(server.take(), ["GET /file"]);
}

#[test]
fn a_cut_is_gone_on_from_within_a_run_and_across_runs() {
    // The third answer is the first of the second run.
    let server = Server::start(|request, before| match before {
        0 => Reply::ranged(request, &content(), "\"a\"").cut(400_000),
        1 => Reply::ranged(request, &content(), "\"a\"").cut(300_000),
        _ => Reply::ranged(request, &content(), "\"a\""),
    });
    let ((_folder, to), url) = (folder(), server.url("/file"));
    let once = Retries { times: 1, ..quick() };
    let error = Download { retries: once, ..download(&url, &to) }.run(&|_| {}).unwrap_err().to_string();
    assert!(error.contains("truncated") && error.contains(&url) && error.contains("the next try goes on"), "{error}");
    assert_eq!(names(&to), ["file.bin.incomplete", "file.bin.incomplete.etag"]);
    Download { retries: once, ..download(&url, &to) }.run(&|_| {}).unwrap();
    assert_eq!(fs::read(&to).unwrap(), content());
    assert_eq!(names(&to), ["file.bin"]);
    let asked = server.asked();
    let ranges: Vec<Option<usize>> = asked.iter().map(Request::range).collect();
    assert_eq!(ranges, [None, Some(400_000), Some(700_000)]);
    assert_eq!(asked[2].header("if-range"), Some("\"a\""));
}

#[test]
fn a_server_without_ranges_sends_it_all_again() {
    let server = Server::start(|_, before| match before {
        0 => Reply::body(&content()).with("ETag", "\"a\"").cut(400_000),
        _ => Reply::body(&content()).with("ETag", "\"a\""),
    });
    let ((_folder, to), url) = (folder(), server.url("/file"));
    download(&url, &to).run(&|_| {}).unwrap();
    assert_eq!(fs::read(&to).unwrap(), content());
    assert_eq!(server.asked()[1].range(), Some(400_000));
}

#[test]
fn a_file_that_changed_meanwhile_is_begun_anew() {
    let new: Vec<u8> = content().iter().rev().copied().collect();
    let expected = new.clone();
    // `heedless`: a server that sends the range though it has another file.
    for heedless in [false, true] {
        let new = new.clone();
        let server = Server::start(move |request, before| match before {
            0 => Reply::ranged(request, &content(), "\"a\"").cut(400_000),
            _ if heedless && request.range().is_some() => {
                Reply::status(206).with("Content-Range", "bytes 400000-1199999/1200000").with("ETag", "\"b\"")
            }
            _ => Reply::ranged(request, &new, "\"b\""),
        });
        let ((_folder, to), url) = (folder(), server.url("/file"));
        download(&url, &to).run(&|_| {}).unwrap();
        assert_eq!(fs::read(&to).unwrap(), expected);
        assert_eq!(server.asked()[1].header("if-range"), Some("\"a\""));
    }
}

#[test]
fn without_a_tag_or_a_sum_nothing_vouches_for_a_part() {
    for vouched in [false, true] {
        let server = Server::start(|request, before| {
            let mut reply = Reply::body(&content());
            if let Some(from) = request.range() {
                reply = Reply::ranged(request, &content(), "W/\"weak\"");
                assert_eq!(from, 400_000);
            }
            reply.cut(if before == 0 { 400_000 } else { usize::MAX })
        });
        let ((_folder, to), url) = (folder(), server.url("/file"));
        let checksum = vouched.then(|| sha256(&content()));
        Download { checksum, ..download(&url, &to) }.run(&|_| {}).unwrap();
        assert_eq!(fs::read(&to).unwrap(), content());
        assert_eq!(server.asked()[1].range(), vouched.then_some(400_000));
    }
}

/// As archives come that a server packs while it sends them.
#[test]
fn a_file_of_untold_length_is_whole_or_begun_anew() {
    let server = Server::start(|_, before| match before {
        0 => Reply::body(&content()).chunked().cut(400_000),
        _ => Reply::body(&content()).chunked(),
    });
    let ((_folder, to), url) = (folder(), server.url("/file"));
    download(&url, &to).run(&|progress| assert_eq!(progress.total, None)).unwrap();
    assert_eq!(fs::read(&to).unwrap(), content());
    assert_eq!(server.asked().len(), 2);
    // more than was announced elsewhere
    let error = Download { length: Some(9), ..download(&url, &to) }.run(&|_| {}).unwrap_err().to_string();
    assert!(error.contains("expected 9") && names(&to) == ["file.bin"], "{error}");
}

#[test]
fn a_part_that_is_the_whole_is_taken() {
    let server = Server::start(|request, _| Reply::ranged(request, &content(), "\"a\""));
    let ((_folder, to), url) = (folder(), server.url("/file"));
    let part = to.with_file_name("file.bin.incomplete");
    for length in [None, Some(content().len() as u64)] {
        fs::write(&part, content()).unwrap();
        Download { length, checksum: Some(sha256(&content())), ..download(&url, &to) }.run(&|_| {}).unwrap();
        assert_eq!(fs::read(&to).unwrap(), content());
        assert_eq!(server.take().len(), usize::from(length.is_none()));
    }
}

#[test]
fn refusals_say_what_to_do_and_are_not_repeated() {
    for (status, words) in [(404, "check the name"), (401, "HF_TOKEN"), (403, "HF_TOKEN"), (418, "418")] {
        let server = Server::start(move |_, _| Reply::status(status));
        let ((_folder, to), url) = (folder(), server.url("/file"));
        let error = download(&url, &to).run(&|_| {}).unwrap_err();
        assert!(matches!(error, Error::Download { .. }));
        let error = error.to_string();
        assert!(error.starts_with(&url) && error.contains(words) && error.contains(&status.to_string()), "{error}");
        assert_eq!(server.take().len(), 1);
        assert!(names(&to).is_empty());
    }
}

#[test]
fn a_servers_own_failures_are_borne_a_few_times() {
    let server = Server::start(|request, before| match before {
        0 => Reply::status(500),
        1 => Reply::status(503),
        _ => Reply::ranged(request, &content(), "\"a\""),
    });
    let ((_folder, to), url) = (folder(), server.url("/file"));
    download(&url, &to).run(&|_| {}).unwrap();
    assert_eq!(fs::read(&to).unwrap(), content());

    let server = Server::start(|_, _| Reply::status(500));
    let url = server.url("/file");
    let error = download(&url, &to).run(&|_| {}).unwrap_err().to_string();
    assert!(error.contains("500") && error.contains("try again later"), "{error}");
    assert_eq!(server.take().len(), 1 + quick().times as usize);
    assert_eq!(fs::read(&to).unwrap(), content(), "what was there stays");
}

#[test]
fn nobody_there_is_an_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/file", listener.local_addr().unwrap());
    drop(listener);
    let (_folder, to) = folder();
    for url in [&url, "http://", "ftp://127.0.0.1/x", "not an address"] {
        assert!(matches!(download(url, &to).run(&|_| {}), Err(Error::Download { .. })), "{url}");
    }
}

#[test]
fn a_wrong_checksum_or_length_leaves_nothing() {
    let server = Server::start(|request, _| Reply::ranged(request, &content(), "\"a\""));
    let ((_folder, to), url) = (folder(), server.url("/file"));
    let wrong: Checksum = "0f".repeat(32).parse().unwrap();
    let error = Download { checksum: Some(wrong.clone()), ..download(&url, &to) }.run(&|_| {}).unwrap_err().to_string();
    for words in ["file.bin", &wrong.to_string(), &sha256(&content()).to_string(), "try again"] {
        assert!(error.contains(words), "{error}");
    }
    let error = Download { length: Some(7), ..download(&url, &to) }.run(&|_| {}).unwrap_err().to_string();
    assert!(error.contains("1200000 bytes, expected 7"), "{error}");
    assert!(names(&to).is_empty());
}

#[test]
fn a_disk_that_refuses_is_named() {
    let server = Server::start(|_, _| Reply::body(b"x"));
    let ((_folder, to), url) = (folder(), server.url("/file"));
    fs::create_dir(to.with_file_name("file.bin.incomplete")).unwrap();
    let error = download(&url, &to).run(&|_| {}).unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("file.bin.incomplete"), "{error}");
}

#[test]
fn the_token_stays_at_home() {
    let store = Server::start(|request, _| Reply::ranged(request, &content(), "\"a\""));
    let elsewhere = store.url("/blob?signature=x");
    let home = Server::start(move |request, _| match request.path.as_str() {
        "/file" => Reply::status(307).with("Location", "/moved"),
        _ => Reply::status(302).with("Location", &elsewhere),
    });
    let ((_folder, to), url) = (folder(), home.url("/file"));
    Download { token: Some("secret"), ..download(&url, &to) }.run(&|_| {}).unwrap();
    assert_eq!(fs::read(&to).unwrap(), content());
    let asked = home.asked();
    assert_eq!(asked.len(), 2);
    assert!(asked.iter().all(|request| request.header("authorization") == Some("Bearer secret")));
    assert_eq!(store.asked()[0].header("authorization"), None);

    let circle = Server::start(|_, _| Reply::status(302).with("Location", "/again"));
    let url = circle.url("/file");
    assert!(download(&url, &to).run(&|_| {}).unwrap_err().to_string().contains("redirects"));
}

#[test]
fn no_more_is_taken_than_such_a_file_may_have() {
    let ((_folder, to), limit) = (folder(), 1_000_000);
    // announced, and more than came; in chunks, of which there is no end
    let announced = Server::start(|request, _| Reply::ranged(request, &content(), "\"a\""));
    let endless = Server::start(|_, _| Reply::body(&content()[..50_000]).with("ETag", "\"a\"").endless());
    for (server, words) in
        [(announced, "1200000 bytes, and such a file may have 1000000"), (endless, "more came than the 1000000")]
    {
        let url = server.url("/file");
        let error =
            Download { limit, ..download(&url, &to) }.run(&|progress| assert!(progress.bytes <= limit)).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(server.take().len(), 1, "asking again changes nothing");
        assert!(names(&to).is_empty());
    }
    // A part that claims what no file has.
    let absurd = Server::start(|request, before| match before {
        0 => Reply::ranged(request, &content(), "\"a\"").cut(400_000),
        1 => Reply::status(206).with("Content-Range", "bytes 400000-9/18446744073709551615").with("ETag", "\"a\""),
        _ => Reply::ranged(request, &content(), "\"a\""),
    });
    let url = absurd.url("/file");
    let error = download(&url, &to).run(&|_| {}).unwrap_err().to_string();
    assert!(error.contains("18446744073709551615 bytes, and such a file may have"), "{error}");
    assert!(names(&to).is_empty());
}

/// No time passes here: whatever comes, comes too slowly.
#[test]
fn a_server_that_dribbles_counts_as_gone_and_what_came_is_kept() {
    let server = Server::start(|request, _| Reply::ranged(request, &content(), "\"a\""));
    let ((_folder, to), url) = (folder(), server.url("/file"));
    let pace = Pace { bytes: u64::MAX, within: Duration::ZERO };
    let retries = Retries { times: 2, ..quick() };
    let error = Download { pace, retries, ..download(&url, &to) }.run(&|_| {}).unwrap_err().to_string();
    assert!(error.contains("too slow") && error.contains("the next try goes on"), "{error}");
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    assert!(asked[1].range() < asked[2].range() && asked[1].range() > Some(0), "{asked:?}");
    assert_eq!(names(&to), ["file.bin.incomplete", "file.bin.incomplete.etag"]);
    download(&url, &to).run(&|_| {}).unwrap();
    assert_eq!(fs::read(&to).unwrap(), content());
}

#[test]
fn what_was_not_asked_for_is_not_unpacked() {
    let server = Server::start(|_, _| Reply::body(b"\x1f\x8b\x08").with("Content-Encoding", "gzip"));
    let ((_folder, to), url) = (folder(), server.url("/file"));
    let error = download(&url, &to).run(&|_| {}).unwrap_err().to_string();
    assert!(error.contains("compressed (gzip)") && names(&to).is_empty(), "{error}");
}

#[cfg(unix)]
#[test]
fn nothing_is_written_through_a_link_that_somebody_put_there() {
    let server = Server::start(|request, _| Reply::ranged(request, &content(), "\"a\""));
    let ((folder, to), url) = (folder(), server.url("/file"));
    let foreign = folder.path().join("foreign");
    for ending in [".incomplete", ".incomplete.etag", ""] {
        fs::write(&foreign, "mine").unwrap();
        let link = to.with_file_name(format!("file.bin{ending}"));
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&foreign, &link).unwrap();
        download(&url, &to).run(&|_| {}).unwrap();
        assert_eq!(fs::read_to_string(&foreign).unwrap(), "mine", "{ending}");
        assert_eq!(fs::read(&to).unwrap(), content());
        assert!(!to.is_symlink());
        assert_eq!(names(&to), ["file.bin", "foreign"]);
    }
    // Nor does a pipe of the name make anybody wait.
    for ending in [".incomplete", ".incomplete.etag"] {
        let pipe = to.with_file_name(format!("file.bin{ending}"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        download(&url, &to).run(&|_| {}).unwrap();
        assert_eq!(names(&to), ["file.bin", "foreign"]);
    }
}
