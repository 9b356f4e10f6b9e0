//! Ids in a file of their own, a line each, beside a file that holds the vectors alone.

use super::create::{Unnamed, beside};
use otolith::Snapshot;
use otolith::{Error, Result};
use otolith::{limits, outside};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// What the file of the ids is called beyond all of the name of the vectors'.
const ENDING: &str = ".ids.txt";

/// What some programs begin a text with.
pub(crate) const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Where the ids of `vectors` are written to.
pub(crate) fn file_of(vectors: &Path) -> PathBuf {
    beside(vectors, ENDING)
}

/// The file of ids that was asked for. Under the name that earlier versions gave, `v.ids.txt` beside `v.npy`, the one
/// is found that is written now.
pub(crate) fn asked(vectors: &Path, ids: &Path) -> PathBuf {
    let now = file_of(vectors);
    let was_called = vectors.with_extension(&ENDING[1..]);
    if ids == was_called && !ids.exists() && now.exists() { now } else { ids.to_owned() }
}

/// The ids of `count` records.
pub(crate) fn read(file: &Path, count: u64) -> Result<Vec<String>> {
    let failed = |error| Error::io(file, "read", error);
    let mut lines = BufReader::new(outside::open(file)?);
    let mut ids: Vec<String> = Vec::new();
    let mut places: HashMap<String, u64> = HashMap::new();
    let wrong = |line: u64, why: String| Error::invalid(file.display().to_string(), format!("line {line}: {why}"));
    // The longest id, a byte order mark, a line break.
    let longest = limits::ID_BYTES as u64 + 5;
    for line in 1.. {
        let mut bytes = Vec::new();
        if (&mut lines).take(longest + 1).read_until(b'\n', &mut bytes).map_err(failed)? == 0 {
            break;
        }
        if line > count {
            return Err(Error::mismatch(file.display().to_string(), format!("{count} lines"), "more lines"));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| wrong(line, "no UTF-8".to_owned()))?;
        let text = if line == 1 { text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text) } else { text };
        let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
        match text.len() {
            0 => return Err(wrong(line, "empty: each record needs an id".to_owned())),
            length if length > limits::ID_BYTES => {
                return Err(wrong(line, format!("longer than {} bytes, the longest id", limits::ID_BYTES)));
            }
            _ => {}
        }
        // The second would replace the first without a word.
        if let Some(first) = places.insert(text.to_owned(), line) {
            let why =
                format!("the id {text:?} stands on two lines, on line {first} too: each record needs one of its own");
            return Err(wrong(line, why));
        }
        ids.push(text.to_owned());
    }
    if ids.len() as u64 != count {
        let found = format!("{} lines", ids.len());
        return Err(Error::mismatch(file.display().to_string(), format!("{count} lines, one a record"), found));
    }
    Ok(ids)
}

/// Refuses ids that no line can hold.
pub(crate) fn check(id: &str) -> Result<()> {
    if id.contains(['\n', '\r']) {
        return Err(Error::invalid(format!("id {id:?}"), "holds a line break: export to a directory instead"));
    }
    Ok(())
}

/// Makes a file of vectors and, beside it, that of their ids, a line each: both or none, but for a crash.
pub(crate) fn write_with(
    snapshot: &Snapshot,
    vectors: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> Result<()>,
) -> Result<()> {
    let written = Unnamed::write(vectors, write)?;
    let path = file_of(vectors);
    let ids = Unnamed::write(&path, |out| {
        for (number, entry) in snapshot.iter().enumerate() {
            let id = entry.id()?;
            // Of the first two marks the reader takes one away.
            let mark = if number == 0 && id.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK } else { "" };
            writeln!(out, "{mark}{id}").map_err(|error| Error::io(&path, "write", error))?;
        }
        Ok(())
    })?;
    written.name_both(ids)
}
