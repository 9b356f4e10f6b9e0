//! Finding the sounds in folders: one walk for everything that reads folders.
//!
//! A file is taken for a sound if it is named like one. Nothing is left out silently. What is hidden (macOS leaves
//! `._x.wav` beside `x.wav`), not named like a sound, or no regular file is counted, with the first few names; what
//! should have been read and cannot be is named with the reason. Links to folders are followed after everything else,
//! each folder once, so that loops end and a folder keeps its own name.
//!
//! # Examples
//!
//! ```
//! use otolith::audio::folder;
//! # let dir = tempfile::tempdir()?;
//! # let recordings = dir.path().to_path_buf();
//! # std::fs::create_dir(recordings.join("dogs"))?;
//! # for name in ["dogs/1.wav", "dogs/2.flac", "notes.txt"] {
//! #     std::fs::write(recordings.join(name), "x")?;
//! # }
//!
//! let found = folder::find(&[recordings])?; // the files are not opened yet
//! let ids: Vec<&str> = found.sounds.iter().map(|sound| sound.id.as_str()).collect();
//! assert_eq!(ids, ["dogs/1.wav", "dogs/2.flac"]);
//! println!("{}", found.left_out); // left out: 1 not named like a sound (notes.txt)
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::{KINDS, has_sound_ending};
use crate::error::{Error, Result};
use crate::limits;
use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsStr;
use std::fmt::{self, Write};
use std::fs;
use std::path::{Path, PathBuf};

/// How many names are kept of what was left out, for each reason.
const NAMED: usize = 8;

/// A file that is named like a sound, and the id of the record that it would become.
#[derive(Clone, Debug, PartialEq)]
pub struct SoundFile {
    /// The path at which it can be opened.
    pub path: PathBuf,
    /// Its path below the argument under which it was found, with `/` between folders; bytes that are not UTF-8 are
    /// written as `\xE9`.
    pub id: String,
}

/// What [`find`] found in files and folders.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The sounds, sorted by name within each argument.
    pub sounds: Vec<SoundFile>,
    /// Files and folders that should have been read and cannot be, with the reason.
    pub failed: Vec<(PathBuf, String)>,
    /// Everything else, counted.
    pub left_out: LeftOut,
}

/// Why something in a folder was not taken for a sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Its name begins with a dot.
    Hidden,
    /// Its name has no ending of a sound file.
    Ending,
    /// It is neither a file nor a folder.
    Special,
    /// It is a link to a folder that is read under another name, or a file that was named twice.
    Twice,
    /// It lies beside the folders of classes, or too deep inside one (where folders are classes).
    Misplaced,
    /// It is in no line of the table that lists the sounds (where there is one).
    Unlisted,
}

impl Reason {
    fn text(self) -> &'static str {
        match self {
            Reason::Hidden => "hidden",
            Reason::Ending => "not named like a sound",
            Reason::Special => "no regular file",
            Reason::Twice => "there already under another name",
            Reason::Misplaced => "not in the folder of a class",
            Reason::Unlisted => "not in the table",
        }
    }
}

/// What was not taken for a sound: how many for each reason, and the first few. Its `Display` is one line of text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeftOut {
    groups: Vec<(Reason, usize, Vec<PathBuf>)>,
}

impl LeftOut {
    /// Counts one more path that is left out for this reason.
    pub fn add(&mut self, reason: Reason, path: PathBuf) {
        let at = self.groups.partition_point(|(known, ..)| *known < reason);
        if self.groups.get(at).is_none_or(|(known, ..)| *known != reason) {
            self.groups.insert(at, (reason, 0, Vec::new()));
        }
        let (_, count, named) = &mut self.groups[at];
        *count += 1;
        if named.len() < NAMED {
            named.push(path);
        }
    }

    /// Returns whether nothing was left out.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Iterates over the reasons: as text, how many paths there were, and the first few of them.
    pub fn groups(&self) -> impl Iterator<Item = (&'static str, usize, &[PathBuf])> {
        self.groups.iter().map(|(reason, count, named)| (reason.text(), *count, named.as_slice()))
    }
}

/// Writes a line such as `left out: 3 hidden (._a.wav, ._b.wav, ._c.wav), 1 not named like a sound (notes.txt)`.
impl fmt::Display for LeftOut {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("left out: ")?;
        for (at, (reason, count, named)) in self.groups().enumerate() {
            let names: Vec<String> = named.iter().map(|path| text(path.file_name().unwrap_or_default())).collect();
            let more = if count > named.len() { ", .." } else { "" };
            let comma = if at > 0 { ", " } else { "" };
            write!(out, "{comma}{count} {reason} ({}{more})", names.join(", "))?;
        }
        Ok(())
    }
}

/// Writes a file name as text. Bytes that are not UTF-8 become `\xE9`, so that two names never become one.
pub fn text(name: &OsStr) -> String {
    let mut text = String::new();
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "\\x{byte:02X}");
        }
    }
    text
}

/// What [`list`] finds in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A folder.
    Folder,
    /// A link to a folder.
    LinkToFolder,
    /// A file, or a link to one, that is named like a sound.
    Sound,
}

/// Lists the folders and sounds in a folder, sorted by name. Everything else is added to `found`, as left out or
/// failed.
///
/// # Errors
/// [`Error::Io`] when the folder cannot be listed.
pub fn list(folder: &Path, found: &mut Found) -> Result<Vec<(PathBuf, Entry)>> {
    let failed = |error| Error::io(folder, "list", error);
    let paths = fs::read_dir(folder).map_err(failed)?.map(|entry| Ok(entry.map_err(failed)?.path()));
    let mut paths: Vec<PathBuf> = paths.collect::<Result<_>>()?;
    paths.sort();
    let mut entries = Vec::new();
    for path in paths {
        if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
            found.left_out.add(Reason::Hidden, path);
            continue;
        }
        let is_sound = has_sound_ending(&path);
        let link = path.is_symlink();
        match fs::metadata(&path) {
            Ok(about) if about.is_dir() => entries.push((path, if link { Entry::LinkToFolder } else { Entry::Folder })),
            Ok(about) if !about.is_file() => found.left_out.add(Reason::Special, path),
            Ok(_) if is_sound => entries.push((path, Entry::Sound)),
            // A link that leads nowhere, or in a circle.
            Err(error) if is_sound => found.failed.push((path.clone(), Error::io(path, "open", error).to_string())),
            _ => found.left_out.add(Reason::Ending, path),
        }
    }
    Ok(entries)
}

/// Finds the sound files that the arguments name: a file is itself, whatever its name; a directory is all files in
/// and below it that are named like sounds. No file is opened.
///
/// # Errors
/// [`Error::Io`] when an argument cannot be opened, [`Error::Unusable`] for a directory without sounds,
/// [`Error::Invalid`] when two files would get the same id.
pub fn find(arguments: &[PathBuf]) -> Result<Found> {
    let mut found = Found::default();
    for argument in arguments {
        let kind = fs::metadata(argument).map_err(|error| Error::io(argument, "open", error))?;
        if !kind.is_dir() {
            let id = text(argument.file_name().unwrap_or(argument.as_os_str()));
            found.sounds.push(SoundFile { path: argument.clone(), id });
            continue;
        }
        let before = (found.sounds.len(), found.failed.len());
        walk(argument, &mut found)?;
        if (found.sounds.len(), found.failed.len()) == before {
            let rest = if found.left_out.is_empty() { String::new() } else { format!("; {}", found.left_out) };
            return Err(Error::unusable(argument, format!("no sound file in or below it (looked for {KINDS}){rest}")));
        }
    }
    once(&mut found)?;
    Ok(found)
}

/// Finds everything in and below a folder, which can itself be listed.
fn walk(root: &Path, found: &mut Found) -> Result<()> {
    let mut seen = HashSet::new();
    let mut links = VecDeque::new();
    descend(root, "", found, &mut seen, &mut links)?;
    while let Some((path, id)) = links.pop_front() {
        if fs::canonicalize(&path).is_ok_and(|target| seen.contains(&target)) {
            found.left_out.add(Reason::Twice, path);
        } else {
            descend_or_tell(&path, &format!("{id}/"), found, &mut seen, &mut links);
        }
    }
    Ok(())
}

fn descend(
    folder: &Path,
    prefix: &str,
    found: &mut Found,
    seen: &mut HashSet<PathBuf>,
    links: &mut VecDeque<(PathBuf, String)>,
) -> Result<()> {
    // A folder behind a link may have been read already under its own name: it is then passed over.
    let own = fs::canonicalize(folder).map_err(|error| Error::io(folder, "open", error))?;
    if !seen.insert(own) {
        found.left_out.add(Reason::Twice, folder.to_path_buf());
        return Ok(());
    }
    for (path, entry) in list(folder, found)? {
        let id = format!("{prefix}{}", text(path.file_name().unwrap_or_default()));
        match entry {
            Entry::Folder => descend_or_tell(&path, &format!("{id}/"), found, seen, links),
            Entry::LinkToFolder => links.push_back((path, id)),
            Entry::Sound if id.len() > limits::ID_BYTES => {
                let why = format!("its path has {} bytes, an id {} at most", id.len(), limits::ID_BYTES);
                found.failed.push((path, why));
            }
            Entry::Sound => found.sounds.push(SoundFile { path, id }),
        }
    }
    Ok(())
}

/// A folder that cannot be listed does not keep the others from being read.
fn descend_or_tell(
    folder: &Path,
    prefix: &str,
    found: &mut Found,
    seen: &mut HashSet<PathBuf>,
    links: &mut VecDeque<(PathBuf, String)>,
) {
    if let Err(error) = descend(folder, prefix, found, seen, links) {
        found.failed.push((folder.to_path_buf(), error.to_string()));
    }
}

/// Keeps one of a file that was found twice under one id, and refuses two files of one id.
fn once(found: &mut Found) -> Result<()> {
    let mut first: HashMap<String, PathBuf> = HashMap::new();
    let mut twice = Vec::new();
    for (at, sound) in found.sounds.iter().enumerate() {
        let Some(other) = first.get(&sound.id) else {
            first.insert(sound.id.clone(), sound.path.clone());
            continue;
        };
        let same = *other == sound.path
            || matches!((fs::canonicalize(other), fs::canonicalize(&sound.path)), (Ok(one), Ok(two)) if one == two);
        if !same {
            let (one, two) = (other.display(), sound.path.display());
            let why = format!("is the id of both {one} and {two}: give a folder above both");
            return Err(Error::invalid(format!("`{}`", sound.id), why));
        }
        twice.push(at);
    }
    for at in twice.into_iter().rev() {
        let sound = found.sounds.remove(at);
        found.left_out.add(Reason::Twice, sound.path);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(found: &Found) -> Vec<&str> {
        found.sounds.iter().map(|sound| sound.id.as_str()).collect()
    }

    fn counts(found: &Found) -> Vec<(&'static str, usize)> {
        found.left_out.groups().map(|(why, count, _)| (why, count)).collect()
    }

    #[test]
    fn everything_in_a_folder_is_found_or_counted() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for folder in ["b", "b/.git", "c.wav"] {
            fs::create_dir(at(folder)).unwrap();
        }
        for file in ["a.wav", "B.FLAC", "b/1.Opus", "b/._1.opus", "b/.git/x.wav", "b/notes.txt", "c.wav/2.aif"] {
            fs::write(at(file), "x").unwrap();
        }
        let found = find(&[root.path().into()]).unwrap();
        assert_eq!(ids(&found), ["B.FLAC", "a.wav", "b/1.Opus", "c.wav/2.aif"]);
        assert_eq!(counts(&found), [("hidden", 2), ("not named like a sound", 1)]);
        assert_eq!(found.failed, []);
        assert!(found.left_out.to_string().contains("1 not named like a sound (notes.txt)"), "{}", found.left_out);
        // By hand anything may be named; a file named twice is one.
        let found = find(&[at("b/notes.txt"), at("a.wav"), at("./a.wav"), at("a.wav")]).unwrap();
        assert_eq!(
            (ids(&found), counts(&found)),
            (vec!["notes.txt", "a.wav"], vec![("there already under another name", 2)])
        );
        let error = find(&[at("b/.git")]).map(|_| ()).and(find(&[at("b/1.Opus"), at("b"), at("c.wav")]).map(|_| ()));
        assert!(error.is_ok());
        fs::write(at("c.wav/a.wav"), "y").unwrap();
        assert!(find(&[at("a.wav"), at("c.wav")]).unwrap_err().to_string().contains("give a folder above both"));
        fs::create_dir(at("empty")).unwrap();
        assert!(find(&[at("empty")]).unwrap_err().to_string().contains("no sound file in or below it"));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_once_and_loops_end() {
        use std::os::unix::fs::symlink;
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("z/deep")).unwrap();
        fs::write(at("z/deep/1.wav"), "x").unwrap();
        fs::write(outside.path().join("2.wav"), "x").unwrap();
        symlink(at("z"), at("a")).unwrap();
        symlink(root.path(), at("z/deep/up")).unwrap();
        symlink(outside.path(), at("out")).unwrap();
        symlink(outside.path(), outside.path().join("self")).unwrap();
        symlink(at("z/deep/1.wav"), at("file.wav")).unwrap();
        symlink(at("nowhere"), at("broken.wav")).unwrap();
        let found = find(&[root.path().into()]).unwrap();
        assert_eq!(ids(&found), ["file.wav", "z/deep/1.wav", "out/2.wav"]);
        assert_eq!(counts(&found), [("there already under another name", 3)]);
        assert_eq!(found.failed.len(), 1, "{:?}", found.failed);
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_not_text_are_told_apart_and_pipes_do_not_block() {
        use std::os::unix::ffi::OsStrExt;
        let root = tempfile::tempdir().unwrap();
        let names: [&[u8]; 3] = [b"caf\xe9.wav", b"caf\xe8.wav", "caf\u{e9}.wav".as_bytes()];
        for name in names {
            if fs::write(root.path().join(OsStr::from_bytes(name)), "x").is_err() {
                eprintln!("SKIPPED: this file system takes no such names");
                return;
            }
        }
        let status = std::process::Command::new("mkfifo").arg(root.path().join("pipe.wav")).status().unwrap();
        assert!(status.success());
        let found = find(&[root.path().into()]).unwrap();
        assert_eq!(ids(&found), ["caf\u{e9}.wav", "caf\\xE8.wav", "caf\\xE9.wav"]);
        assert_eq!(counts(&found), [("no regular file", 1)]);
    }

    #[test]
    fn what_an_id_cannot_hold_is_named_and_the_rest_is_read() {
        let root = tempfile::tempdir().unwrap();
        let mut deep = root.path().to_path_buf();
        for _ in 0..6 {
            deep.push("d".repeat(200));
        }
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("1.wav"), "x").unwrap();
        fs::write(root.path().join("2.wav"), "x").unwrap();
        let found = find(&[root.path().into()]).unwrap();
        assert_eq!(ids(&found), ["2.wav"]);
        assert!(found.failed[0].1.contains("an id 1024 at most"), "{:?}", found.failed);
    }
}
