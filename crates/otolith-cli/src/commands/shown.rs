//! What came from outside, as it goes to a terminal: ids, fields, names and messages with nothing in them that a
//! terminal obeys.
//!
//! Escaped are control characters (C0, DEL, C1, line breaks among them), what turns the direction of writing, and what
//! takes no room and joins no letters: U+061C, U+200B, U+200E, U+200F, U+2028 to U+202E, U+2060 to U+206F, U+FEFF,
//! U+FFF9 to U+FFFB. The joiners U+200C and U+200D stay, which Persian and emoji need. Escapes are those of a filter's
//! texts, so that one can be pasted there; a backslash stays as it is: with `--json` every id is exact.

use std::borrow::Cow;
use std::io::{self, Write};

/// The text with everything escaped that could do more than be read.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_obeyed(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// The same for text of several lines and columns: line breaks and tabs stay.
pub(super) fn shown_lines(text: &str) -> Cow<'_, str> {
    if !text.contains(|c| is_obeyed(c) && !matches!(c, '\n' | '\t')) {
        return Cow::Borrowed(text);
    }
    let line = |line: &str| line.split('\t').map(shown).collect::<Vec<_>>().join("\t");
    text.split('\n').map(line).collect::<Vec<_>>().join("\n").into()
}

/// Writes a line to stderr. That nobody reads it any more is no failure of the command.
pub(super) fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{}", shown(line));
}

fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped_and_nothing_else() {
        for plain in ["dog/bär 1.wav", "日本\\語", "👩‍🚀 می‌خواهم", ""] {
            assert!(matches!(shown(plain), Cow::Borrowed(same) if same == plain), "{plain}");
        }
        assert_eq!(shown("a\x1b[31m\n\r\t\x07\u{9b}\u{7f}b"), r"a\u{1b}[31m\n\r\t\u{7}\u{9b}\u{7f}b");
        assert_eq!(shown("x\u{202e}\u{2066}\u{200b}\u{feff}y"), r"x\u{202e}\u{2066}\u{200b}\u{feff}y");
        assert_eq!(shown_lines("a\tb\n\x1bc\r\n"), "a\tb\n\\u{1b}c\\r\n");
    }
}
