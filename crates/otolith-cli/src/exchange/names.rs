//! Names of arrays in an archive. A record's id is one where that is safe on every system that may unpack it; other
//! records get a number, and `records.jsonl` in the archive says which is which.

use std::collections::HashSet;

/// Longest part of a name between slashes, in bytes: with `.npy` any file system takes it.
const PART_BYTES: usize = 200;

/// Most bytes of a whole name: paths may have few more on some systems.
const NAME_BYTES: usize = 240;

/// Names of devices on Windows, whatever their ending.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "com", "lpt"];

/// The names that were given.
#[derive(Default)]
pub(crate) struct Names {
    /// In one kind of letters: some file systems tell none from capitals.
    taken: HashSet<String>,
}

impl Names {
    /// The name of record `number`, and whether it is its id.
    pub(crate) fn give(&mut self, id: &str, number: usize) -> (String, bool) {
        if is_safe(id) && self.take(id) {
            return (id.to_owned(), true);
        }
        let names =
            std::iter::once(format!("record-{number:08}")).chain((2..).map(|n| format!("record-{number:08}-{n}")));
        let free = names.into_iter().find(|name| self.take(name));
        (free.unwrap_or_default(), false)
    }

    fn take(&mut self, name: &str) -> bool {
        // By way of capitals, which are the same for some small letters: `ss` and `ß`.
        self.taken.insert(name.to_uppercase().to_lowercase())
    }
}

/// Whether an id names a file below any folder, and nothing else, wherever it is unpacked.
fn is_safe(id: &str) -> bool {
    id.len() <= NAME_BYTES
        && !id.contains(['\\', ':', '*', '?', '"', '<', '>', '|'])
        // A folder that is called as an array would be in that array's way.
        && !id.to_lowercase().contains(".npy/")
        && id.split('/').all(is_safe_part)
}

fn is_safe_part(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or_default().trim_end().to_lowercase();
    let device = DEVICES.iter().any(|device| {
        stem.strip_prefix(device).is_some_and(|rest| match rest.as_bytes() {
            [] => !matches!(*device, "com" | "lpt"),
            [b'0'..=b'9'] => matches!(*device, "com" | "lpt"),
            _ => false,
        })
    });
    !part.is_empty()
        && part.len() <= PART_BYTES
        && !device
        // The folder above among these.
        && !part.ends_with(['.', ' '])
        && !part.starts_with([' ', '~'])
        && !part.chars().any(|c| c.is_control() || is_written_twice(c))
}

/// Whether some file systems may write a character in another way, or take what it stands in for the same as something
/// else: `e` and an accent for `é`, the sign of ohm for omega. Names without any such are told apart everywhere.
fn is_written_twice(c: char) -> bool {
    // What is put upon other letters is what is escaped here (and what cannot be seen); the vowels of Hangul; signs
    // that are other letters.
    c.escape_debug().nth(1) == Some('u')
        || matches!(c,
            '\u{1160}'..='\u{11ff}' | '\u{374}' | '\u{37e}' | '\u{387}' | '\u{1f70}'..='\u{1fff}' | '\u{2126}'
            | '\u{212a}' | '\u{212b}' | '\u{2329}' | '\u{232a}' | '\u{f900}'..='\u{faff}' | '\u{2f800}'..='\u{2fa1f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_names_only_where_every_system_agrees() {
        for safe in [
            "a",
            "dog/bär 1.wav",
            "café",
            "가",
            "が",
            "Ω",
            "ß",
            "日本.語",
            "com",
            "console",
            "a.b-c_d",
            "nullable",
            ".hidden",
        ] {
            assert_eq!(Names::default().give(safe, 7), (safe.to_owned(), true));
        }
        let long = "x".repeat(PART_BYTES + 1);
        for unsafe_one in [
            "../x",
            "a/../b",
            "/etc/x",
            "a//b",
            "a/",
            "",
            ".",
            "..",
            "a\\b",
            "c:x",
            "con",
            "NUL.txt",
            "a/lpt1.b",
            "com7",
            "a.",
            "a ",
            "a\nb",
            "a\0",
            "x.NPY/y",
            "~root",
            &long,
            "cafe\u{301}",
            "\u{2126}",
            "\u{1100}\u{1161}",
            "\u{9c7}\u{9be}",
            "\u{304b}\u{3099}",
            "\u{f900}",
            "a\u{200b}",
        ] {
            assert_eq!(Names::default().give(unsafe_one, 7), ("record-00000007".to_owned(), false), "{unsafe_one:?}");
        }
        let mut names = Names::default();
        let given = ["A", "a", "record-00000003", "../"].iter().zip(0..).map(|(id, number)| names.give(id, number).0);
        assert_eq!(given.collect::<Vec<_>>(), ["A", "record-00000001", "record-00000003", "record-00000003-2"]);
        // Small letters that are told from others only as long as nobody makes them capitals.
        let mut names = Names::default();
        let given = ["straße", "STRASSE", "ὀδός", "ὈΔΌΣ"].iter().zip(0..).map(|(id, number)| names.give(id, number).1);
        assert_eq!(given.collect::<Vec<_>>(), [true, false, true, false]);
    }
}
