//! Which records a search looks at: expressions over their fields.
//!
//! ```
//! use otolith::{Matrix, Record, filter::Filter};
//!
//! let filter = Filter::parse("class in ('dog', 'cat') and not (seconds < 2)")?;
//! let record = Record::new("dog-1", Matrix::from_vector(vec![1.0])?).field("class", "dog").field("seconds", 5.0);
//! assert!(filter.matches(&record.fields));
//! # Ok::<(), otolith::Error>(())
//! ```
//!
//! # The language
//! ```text
//! expression = conjunction { "or" conjunction }
//! conjunction = negation { "and" negation }
//! negation   = "not" negation | "(" expression ")" | "exists" "(" field ")"
//!            | field operator value
//!            | field "in" "(" value { "," value } ")"
//! operator   = "=" | "==" | "!=" | "<" | "<=" | ">" | ">="
//! field      = [A-Za-z_] [A-Za-z0-9_.-]*          but none of the words in quotes here, nor true, false, null
//!            | "`" any text, a backtick doubled "`"
//! value      = text | number | "true" | "false" | "null"
//! text       = "'" .. "'" | '"' .. '"'             with \\ \' \" \n \r \t \u{1f600}
//! number     = as in JSON
//! ```
//! Words may be written in any case. White space may stand between any two of these.
//!
//! # What it means
//! - A value equals and is ordered among values of its own type: numbers by size (`1 = 1.0`, and integers beyond 2^53
//!   exactly), text by its UTF-8 bytes, `false` before `true`, `null` equal to itself.
//! - A comparison with a field that is missing or of another type is false, `!=` too. So `class != 'dog'` finds what
//!   has another class, `not (class = 'dog')` also what has none; and a value beside null is asked for by `exists(x)
//!   and not (x = null)`.
//! - `in` is true when one of its values is equal. `exists` is true when the field is there, be it null.
//!
//! A [`Filter`] is made from text, once, and asked for each record's [`Fields`]; its `Display` is an equivalent
//! expression. Parsing takes time in proportion to the text, matching to the number of comparisons, each with one
//! look-up of a field.
//!
//! A segment keeps a *field index* (`field_index.rs`), made when it is filtered for the second time. Through it a filter is asked of all
//! records at once, and no fields are read: each comparison is a binary search and the set of the records that it finds, and
//! these are joined, cut and complemented as the expression says.

mod build;
mod expression;
mod field_index;
mod lexer;
mod parser;
mod scalar;
#[cfg(test)]
#[allow(clippy::print_stdout)]
mod tests;

pub(crate) use field_index::FieldIndex;

use crate::error::Result;
use crate::record::Fields;
use expression::Expression;
use roaring::RoaringBitmap;
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
        Ok(Filter { expression: parser::parse(text)? })
    }

    /// Whether a record with these fields passes.
    pub fn matches(&self, fields: &Fields) -> bool {
        self.expression.matches(fields)
    }

    /// The records of a segment that pass, deleted ones included.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) when a forged index contradicts itself.
    pub(crate) fn select(&self, index: &FieldIndex) -> Result<RoaringBitmap> {
        self.expression.select(index)
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
