//! `records.jsonl`: a line of JSON for every record, `{"id", "file", "fields"}`, in a directory or an archive of
//! arrays.

use super::ids::BYTE_ORDER_MARK;
use otolith::limits;
use otolith::{Error, Result};
use otolith::{Fields, Record};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};

/// What it is called.
pub(crate) const TABLE: &str = "records.jsonl";

/// Longest line of it: the longest fields, and room for an id and a file's name.
const LINE_BYTES: u64 = limits::FIELDS_BYTES as u64 + (64 << 10);

/// One line of the table.
pub(crate) struct Line {
    /// Its number, from 1.
    pub(crate) number: u64,
    pub(crate) file: String,
    pub(crate) id: String,
    pub(crate) fields: Fields,
}

/// The lines of a table, one after another.
pub(crate) struct Table {
    place: String,
    lines: BufReader<Box<dyn Read>>,
    number: u64,
    /// On which line which id stands.
    seen: HashMap<String, u64>,
}

impl Table {
    /// Begins to read a table; errors begin with `place`.
    pub(crate) fn new(place: String, source: Box<dyn Read>) -> Table {
        Table { place, lines: BufReader::new(source), number: 0, seen: HashMap::new() }
    }

    fn parse(&mut self, bytes: &[u8]) -> Result<Line, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "no UTF-8".to_owned())?;
        let text = if self.number == 1 { text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text) } else { text };
        let (mut file, mut id, mut fields) = (None, None, Fields::default());
        for (key, value) in members(text)? {
            let text =
                |value: &RawValue| serde_json::from_str(value.get()).map(Some).or(Err(format!("no text `{key}`")));
            match key.as_str() {
                "file" => file = text(value)?,
                "id" => id = text(value)?,
                "fields" if value.get() == "null" => {}
                "fields" => fields = fields_of(value).map_err(|why| format!("`fields`: {why}"))?,
                _ => {}
            }
        }
        let missing = |key| move || format!("no text `{key}`");
        let (file, id): (String, String) = (file.ok_or_else(missing("file"))?, id.ok_or_else(missing("id"))?);
        Record::check_id(&id).map_err(|error| error.to_string())?;
        // The second would replace the first without a word.
        if let Some(first) = self.seen.insert(id.clone(), self.number) {
            return Err(format!("the id {id:?} stands on an earlier line, too: {first}"));
        }
        Ok(Line { number: self.number, file, id, fields })
    }

    /// An error of a line.
    pub(crate) fn wrong(place: &str, line: u64, why: impl std::fmt::Display) -> Error {
        Error::unusable(place, format!("line {line}: {why}"))
    }
}

impl Iterator for Table {
    type Item = Result<Line>;

    fn next(&mut self) -> Option<Result<Line>> {
        loop {
            self.number += 1;
            let mut line = Vec::new();
            let read = (&mut self.lines).take(LINE_BYTES).read_until(b'\n', &mut line);
            return match read {
                Err(error) => Some(Err(Error::io(&self.place, "read", error))),
                Ok(0) => None,
                Ok(length) if length as u64 == LINE_BYTES => {
                    Some(Err(Table::wrong(&self.place, self.number, format!("longer than {LINE_BYTES} bytes"))))
                }
                Ok(_) if line.trim_ascii().is_empty() => continue,
                Ok(_) => Some(self.parse(&line).map_err(|why| Table::wrong(&self.place, self.number, why))),
            };
        }
    }
}

/// The line of a record.
pub(crate) fn line(id: &str, file: &str, fields: Option<Fields>) -> Value {
    match fields {
        Some(fields) => json!({ "id": id, "file": file, "fields": Value::Object((*fields).clone()) }),
        None => json!({ "id": id, "file": file }),
    }
}

fn fields_of(value: &RawValue) -> Result<Fields, String> {
    let one = |(name, value): (String, &RawValue)| scalar(&name, value).map(|value| (name, value));
    let fields = Fields::from(members(value.get())?.into_iter().map(one).collect::<Result<Map<_, _>, _>>()?);
    fields.check().map_err(|error| error.to_string())?;
    Ok(fields)
}

/// A field's value. An integer that no field can hold is refused: the parser would round it without a word.
fn scalar(name: &str, value: &RawValue) -> Result<Value, String> {
    let text = value.get();
    let parsed: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let digits = text.strip_prefix('-').unwrap_or(text);
    if parsed.is_f64() && text != "-0" && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("`{name}`: {text} is an integer beyond 64 bits: give it as text, or rounded as 1.5e20"));
    }
    Ok(parsed)
}

/// The members of an object in their order. The same name twice is an error: which of them is meant nobody knows.
fn members(text: &str) -> Result<Vec<(String, &RawValue)>, String> {
    struct Members<'a>(Vec<(String, &'a RawValue)>);

    impl<'de> Deserialize<'de> for Members<'de> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Reader;

            impl<'de> Visitor<'de> for Reader {
                type Value = Members<'de>;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }

                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                    let mut members = Vec::new();
                    while let Some(member) = map.next_entry()? {
                        members.push(member);
                    }
                    Ok(Members(members))
                }
            }
            deserializer.deserialize_map(Reader)
        }
    }

    let Members(members) = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("`{}` stands there twice", pair[0])),
        None => Ok(members),
    }
}
