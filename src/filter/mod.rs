//! Which records a search looks at: expressions over their fields.
//!
//! ```
//! use otolith::{Matrix, Record, filter::Filter};
//!
//! let filter = Filter::parse("class in ('dog', 'cat') and not (seconds < 2)")?;
//! let record = Record::new("dog-1", Matrix::from_vector(vec![1.0])?).field("class", "dog").field("seconds", 5.0);
//! assert!(filter.matches("dog-1", &record.fields));
//!
//! // Values that come from outside are given beside the text, so that no quote in them can say anything else.
//! let filter = Filter::parse_with("class = ? and id in ?", &["it's".into(), vec!["dog-1", "dog-2"].into()])?;
//! assert_eq!(filter.to_string(), r"class = 'it\'s' and id in ('dog-1', 'dog-2')");
//! # Ok::<(), otolith::Error>(())
//! ```
//!
//! # The language
//! ```text
//! expression = conjunction { "or" conjunction }
//! conjunction = negation { "and" negation }
//! negation   = "not" negation | "(" expression ")" | "exists" "(" field ")"
//!            | subject operator value
//!            | subject [ "not" ] "in" ( "(" [ value { "," value } ] ")" | "?" )
//! subject    = "id" | field
//! operator   = "=" | "==" | "!=" | "<" | "<=" | ">" | ">="
//! field      = [A-Za-z_] [A-Za-z0-9_.-]*          but none of the words in quotes here, nor true, false, null
//!            | "`" any text, a backtick doubled "`"
//! value      = text | number | "true" | "false" | "null" | "?"
//! text       = "'" .. "'" | '"' .. '"'             with \\ \' \" \n \r \t \u{1f600}
//! number     = as in JSON; an integer must fit into 64 bits
//! ```
//! Words may be written in any case, `id` in small letters only. White space may stand between any two of these.
//!
//! # What it means
//! - `id` is the record's id, a text. A field of that name is reached as `` `id` ``.
//! - A value equals and is ordered among values of its own type: numbers by size (`1 = 1.0`, `0 = -0.0`, and integers beyond
//!   2^53 exactly), text by its UTF-8 bytes (so an accent that is a character of its own is not the accented letter), `false`
//!   before `true`, `null` equal to itself.
//! - A comparison with a field that is missing or of another type is false, `!=` too. So `class != 'dog'` finds what
//!   has another class, `not (class = 'dog')` also what has none; and a value beside null is asked for by `exists(x)
//!   and not (x = null)`.
//! - `in` is true when one of its values is equal, so never with none: `in ()`. `x not in (..)` is `not x in (..)`. `exists` is
//!   true when the field is there, be it null.
//! - A `?` stands for the next of the values given to [`Filter::parse_with`]; behind `in` alone, for a list of them.
//!
//! A [`Filter`] is made from text, once, and asked for each record's id and [`Fields`]; its `Display` is an equivalent
//! expression. Parsing takes time in proportion to the text, matching to the number of comparisons, each with one
//! look-up of a field. Many values of one field, listed or joined by `or`, are one comparison, by the logarithm of their number.
//!
//! A segment keeps a *field index* (`field_index.rs`), made when it is filtered for the second time. Through it a filter is asked of all
//! records at once, and no fields are read: each comparison is a binary search and the set of the records that it finds, and
//! these are joined, cut and complemented as the expression says. Ids are looked up in the segment's own table.

mod build;
mod expression;
mod field_index;
mod lexer;
mod parser;
mod scalar;
#[cfg(test)]
#[allow(clippy::print_stdout)]
mod tests;

pub(crate) use expression::Ids;
pub(crate) use field_index::FieldIndex;

use crate::error::Result;
use crate::record::Fields;
use expression::Expression;
use roaring::RoaringBitmap;
use serde_json::Value;
use std::fmt;

/// A parsed filter expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    expression: Expression,
}

impl Filter {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`Error::FilterSyntax`](crate::Error::FilterSyntax) pointing at the byte where reading stopped and saying what
    /// was expected; [`Error::Invalid`](crate::Error::Invalid) for text longer than
    /// [`limits::FILTER_BYTES`](crate::limits::FILTER_BYTES).
    pub fn parse(text: &str) -> Result<Filter> {
        Filter::parse_with(text, &[])
    }

    /// Reads an expression in which each `?` stands for the next of these values: text, a number, true, false or null, or
    /// behind `in` a list of them. However long the lists are, they do not count as text.
    ///
    /// # Errors
    /// As [`Filter::parse`], also for values that do not fit; [`Error::Invalid`](crate::Error::Invalid) when there are more of them than `?`.
    pub fn parse_with(text: &str, values: &[Value]) -> Result<Filter> {
        Ok(Filter { expression: parser::parse(text, values)? })
    }

    /// Whether a record of that id and these fields passes.
    pub fn matches(&self, id: &str, fields: &Fields) -> bool {
        self.expression.matches(id, fields)
    }

    /// Whether it asks for ids, and whether for fields.
    pub(crate) fn asks(&self) -> (bool, bool) {
        self.expression.asks()
    }

    /// The records of a segment that pass, deleted ones included; `index` may be none where no field is asked for.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) when a forged index contradicts itself, or an id cannot be read.
    pub(crate) fn select(&self, ids: &dyn Ids, index: Option<&FieldIndex>) -> Result<RoaringBitmap> {
        self.expression.select(ids, index)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expression.fmt(f)
    }
}

impl std::str::FromStr for Filter {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<Filter> {
        Filter::parse(text)
    }
}
