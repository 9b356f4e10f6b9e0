//! The header of a `.npy` array in the words that numpy writes today. It reads more: lengths as Python 2 wrote them
//! (`5L`), and every name that it has for a type (`float32`, `=f4`, `?`).

use std::borrow::Cow;

/// Bytes before the length of the text.
const BEFORE_LENGTH: usize = 8;

/// The same header in those words; as it is where it says nothing in others, or what no array here is.
pub(crate) fn usual(header: &[u8]) -> Cow<'_, [u8]> {
    let short = header.get(6) == Some(&1);
    let start = BEFORE_LENGTH + if short { 2 } else { 4 };
    let text = header.get(start..).and_then(|text| std::str::from_utf8(text).ok());
    let Some((text, usual)) = text.and_then(|text| Some((text, in_usual_words(text)?))) else { return header.into() };
    let length = match (u16::try_from(usual.len()), u32::try_from(usual.len())) {
        _ if usual == text => return header.into(),
        (Ok(length), _) if short => length.to_le_bytes().to_vec(),
        (_, Ok(length)) if !short => length.to_le_bytes().to_vec(),
        _ => return header.into(),
    };
    [&header[..BEFORE_LENGTH], &length, usual.as_bytes()].concat().into()
}

/// None where a text in it does not end.
fn in_usual_words(text: &str) -> Option<String> {
    let (mut usual, mut key, mut rest) = (String::with_capacity(text.len()), "", text);
    while let Some(c) = rest.chars().next() {
        let mut length = c.len_utf8();
        match c {
            '\'' | '"' => {
                let word = &rest[1..1 + rest[1..].find(c)?];
                length = word.len() + 2;
                let is_value = usual.trim_end().ends_with(':');
                match type_of(word).filter(|_| is_value && key == "descr") {
                    Some(name) => usual.push_str(&format!("'{name}'")),
                    None => usual.push_str(&rest[..length]),
                }
                if !is_value {
                    key = word;
                }
            }
            '0'..='9' => {
                let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
                usual.push_str(&rest[..digits]);
                length = digits + usize::from(rest[digits..].starts_with('L'));
            }
            other => usual.push(other),
        }
        rest = &rest[length..];
    }
    Some(usual)
}

/// A type of numbers by one of its names: byte order, kind, width. Without an order it is that of this machine,
/// little-endian.
fn type_of(name: &str) -> Option<String> {
    let order = name.chars().next().filter(|c| "<>=|".contains(*c));
    let kind = match &name[order.map_or(0, char::len_utf8)..] {
        "?" | "b1" | "bool" | "bool_" => "b1",
        "b" | "i1" | "int8" | "byte" => "i1",
        "B" | "u1" | "uint8" | "ubyte" => "u1",
        "h" | "i2" | "int16" | "short" => "i2",
        "H" | "u2" | "uint16" | "ushort" => "u2",
        "i" | "i4" | "int32" | "intc" => "i4",
        "I" | "u4" | "uint32" | "uintc" => "u4",
        "l" | "q" | "i8" | "int64" | "int" | "int_" | "longlong" => "i8",
        "L" | "Q" | "u8" | "uint64" | "uint" | "ulonglong" => "u8",
        "e" | "f2" | "float16" | "half" => "f2",
        "f" | "f4" | "float32" | "single" => "f4",
        "d" | "f8" | "float64" | "double" | "float" => "f8",
        _ => return None,
    };
    let order = match order {
        _ if kind.ends_with('1') => '|',
        Some('>') => '>',
        _ => '<',
    };
    Some(format!("{order}{kind}"))
}
