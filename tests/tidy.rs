//! House rules as a test: rooms in rank order, two doors for unsafe code, headers, file lengths, licences.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A crate: the folder of its sources, and its rooms by rank. A file may use rooms of its own rank or lower. The same
/// lists stand in `ARCHITECTURE.md`.
type House = (&'static str, &'static [&'static [&'static str]]);

const LIBRARY: House = (
    "src/",
    &[
        &["error", "limits", "random", "threads"],
        &["matrix", "outside"],
        &["kernel"],
        &["score"],
        &["pipeline"],
        &["record"],
        &["store"],
        &["filter"],
        &["index"],
        &["query"],
        &["collection", "database"],
        &["download"],
        &["audio"],
        &["embed"],
        &["classify", "ingest"],
        &["testing"],
    ],
);

const COMMAND: House = ("crates/otolith-cli/src/", &[&["zipped"], &["exchange"], &["esc50"], &["commands"], &["main"]]);

/// The folders of the store, which its `mod.rs` explains.
const STORE: House = (
    "src/store/",
    &[
        &["layout"],
        &["vfs"],
        &["options"],
        &["files"],
        &["format"],
        &["segment"],
        &["derived"],
        &["version"],
        &["shared", "write"],
        &["upkeep"],
        &["Store", "open", "repair", "tests"],
    ],
);

/// Where `unsafe` may stand.
const DOORS: [&str; 2] = ["src/kernel/", "src/store/vfs/map.rs"];

const LONGEST_FILE: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source of both crates, as its path from the root and its text.
fn sources() -> Vec<(String, String)> {
    [LIBRARY, COMMAND].iter().flat_map(|(folder, _)| files_below(folder)).collect()
}

/// Every Rust file below a folder, the same way.
fn files_below(folder: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    walk(&root().join(folder), &mut paths);
    paths.sort();
    let name = |path: &Path| path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
    paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// The room of a file: its folder below that of the crate, or its own name.
fn room<'a>(file: &'a str, folder: &str) -> &'a str {
    file.trim_start_matches(folder).split(['/', '.']).next().unwrap()
}

/// Code without line comments, so that prose may name what it likes.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// The first names of every path that follows `root`, such as `crate::`; braces are opened one level deep.
fn named_after(root: &str, code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for rest in code.split(root).skip(1) {
        let group = match rest.strip_prefix('{') {
            None => rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect(),
            Some(group) => {
                let (mut depth, mut top) = (0, String::new());
                for c in group.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        c if depth == 0 => top.push(c),
                        _ => {}
                    }
                }
                top
            }
        };
        let first = |path: &str| path.trim().split("::").next().unwrap().trim().to_owned();
        names.extend(group.split(',').map(first).filter(|name| !name.is_empty()));
    }
    names
}

/// Which room lends a name to the root of a house: `pub use record::{Fields, Record};` there is how.
fn lent(root: &str) -> BTreeMap<String, String> {
    let mut lent = BTreeMap::new();
    for statement in root.split(';').map(str::trim) {
        let Some(at) = statement.find("use ").filter(|_| !statement.contains("//!")) else { continue };
        let path = &statement[at + 4..];
        let Some((room, names)) = path.split_once("::") else { continue };
        let names = names.rsplit_once("::{").map_or(names, |(_, names)| names).trim_matches(['{', '}', ' ', '\n']);
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            lent.insert(name.rsplit("::").next().unwrap().to_owned(), room.trim().to_owned());
        }
    }
    lent
}

#[test]
fn a_room_uses_only_rooms_of_its_rank_or_lower() {
    let mut wrong = Vec::new();
    let houses = [(LIBRARY, "lib", "crate::"), (COMMAND, "lib", "crate::"), (STORE, "mod", "crate::store::")];
    for ((folder, ranks), root, prefix) in houses {
        let rank = |room: &str| ranks.iter().position(|rooms| rooms.contains(&room));
        let root = format!("{folder}{root}.rs");
        let files = files_below(folder);
        let (_, text) = files.iter().find(|(name, _)| *name == root).unwrap();
        let lent = lent(&code(text));
        for (name, text) in files.iter().filter(|(name, _)| *name != root) {
            let own = room(name, folder);
            let own = rank(own).unwrap_or_else(|| panic!("{name}: `{own}` is in no rank"));
            for used in named_after(prefix, &code(text)) {
                let target = lent.get(&used).unwrap_or(&used);
                match rank(target) {
                    Some(rank) if rank <= own => {}
                    Some(_) => wrong.push(format!("{name} (rank {}) uses {target}", own + 1)),
                    None => wrong.push(format!("{name} uses {prefix}{used}, which is in no rank")),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn unsafe_code_stands_behind_two_doors_only() {
    let word = |line: &str| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
    for (name, text) in sources() {
        let open = DOORS.iter().any(|door| name.starts_with(door));
        assert!(open || !code(&text).lines().any(word), "{name}: `unsafe` outside {DOORS:?}");
        assert!(open || !text.contains("allow(unsafe_code)"), "{name}: allows unsafe code");
    }
}

#[test]
fn every_file_opens_with_its_story_and_keeps_to_one() {
    for (name, text) in sources() {
        assert!(text.starts_with("//! "), "{name}: does not say what it is for");
        let lines = text.lines().count();
        assert!(lines <= LONGEST_FILE, "{name}: {lines} lines; split it at {LONGEST_FILE}");
    }
}

#[test]
fn no_comment_is_wider_than_a_screen() {
    const COLUMNS: usize = 120;
    // Tables and pictures keep their shape.
    let is_free = |line: &str| line.contains(" | ") || line.contains("->");
    let comment = |line: &&str| line.trim_start().starts_with("//") && !is_free(line);
    for (name, text) in sources() {
        for line in text.lines().filter(comment) {
            assert!(line.chars().count() <= COLUMNS, "{name}: `{line}`");
        }
    }
}

/// The licences that `deny.toml` allows.
fn allowed_licences() -> Vec<String> {
    let deny = fs::read_to_string(root().join("deny.toml")).unwrap();
    let list = deny.split("allow = [").nth(1).unwrap().split(']').next().unwrap();
    let list = list.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<String>();
    list.split(',').map(|name| name.trim().trim_matches('"').to_owned()).filter(|name| !name.is_empty()).collect()
}

/// Whether an SPDX expression can be met with allowed licences: `or` needs one side, `and` both.
fn is_met(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.trim().replace('/', " OR ");
    let split = |word: &str| -> Option<(String, String)> {
        let mut depth = 0;
        for (at, c) in expression.char_indices() {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ if depth == 0 && expression[at..].starts_with(word) => {
                    return Some((expression[..at].to_owned(), expression[at + word.len()..].to_owned()));
                }
                _ => {}
            }
        }
        None
    };
    if let Some((left, right)) = split(" OR ") {
        return is_met(&left, allowed) || is_met(&right, allowed);
    }
    if let Some((left, right)) = split(" AND ") {
        return is_met(&left, allowed) && is_met(&right, allowed);
    }
    match expression.trim().strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
        Some(inner) => is_met(inner, allowed),
        None => allowed.iter().any(|name| name == expression.trim()),
    }
}

#[test]
fn every_dependency_has_a_licence_that_deny_toml_allows() {
    let version = Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", host, "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let used: Vec<&str> =
        metadata["resolve"]["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap()).collect();
    let allowed = allowed_licences();
    let mut checked = 0;
    for package in metadata["packages"].as_array().unwrap() {
        if used.contains(&package["id"].as_str().unwrap()) {
            let licence = package["license"].as_str().unwrap_or("none stated");
            assert!(is_met(licence, &allowed), "{}: {licence}", package["name"]);
            checked += 1;
        }
    }
    assert!(checked > 20, "only {checked} packages seen");
    println!("figure licences_checked = {checked} packages");
}

#[test]
fn the_reader_of_licence_expressions_knows_and_from_or() {
    let allowed = vec!["MIT".to_owned(), "Unicode-3.0".to_owned()];
    assert!(is_met("(MIT OR Apache-2.0) AND Unicode-3.0", &allowed));
    assert!(is_met("MIT/Apache-2.0", &allowed));
    assert!(!is_met("MIT AND GPL-3.0", &allowed));
    assert!(!is_met("GPL-3.0 OR LGPL-3.0", &allowed));
}
