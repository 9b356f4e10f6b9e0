//! Restricts a search to some records: expressions over their ids and fields.
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
//! - Values are compared with values of their own type: numbers by size (`1 = 1.0`, `0 = -0.0`, and integers beyond
//!   2^53 exactly), text by its UTF-8 bytes (so an accent that is a character of its own is not the accented letter),
//!   `false` before `true`, `null` equal to itself.
//! - A comparison with a field that is missing or of another type is false, `!=` too. So `class != 'dog'` finds records
//!   with another class, `not (class = 'dog')` also those without a class; and a field that is there and not null is
//!   found by `exists(x) and not (x = null)`.
//! - `in` is true when one of its values is equal, so `in ()` never is. `x not in (..)` means `not x in (..)`.
//!   `exists` is true when the field is there, even if it is null.
//! - A `?` stands for the next of the values given to [`Filter::parse_with`]; behind `in` alone, for a list of them.
//!
//! # Cost
//! A [`Filter`] is made from text once and then applied to each record's id and [`Fields`]; its `Display` gives an
//! equivalent expression. Parsing takes time in proportion to the text, matching to the number of comparisons, each
//! with one look-up of a field. Many values of one field, listed or joined by `or`, are one comparison, which takes the
//! logarithm of their number.
//!
//! A segment keeps a *field index* (`field_index.rs`), made when it is filtered for the second time. With it a filter
//! is answered for all records at once, without reading their fields: each comparison is a binary search that gives a
//! set of records, and these sets are joined, cut and complemented as the expression says. Ids are looked up in the
//! segment's own table.

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

/// A filter expression, parsed and ready to be used. The language is described in the [module's documentation](self).
///
/// # Examples
///
/// ```
/// use otolith::filter::Filter;
///
/// let filter: Filter = "class in ('dog', 'cat') and seconds > 2".parse()?;
/// let mistake = Filter::parse("class = = 'dog'").unwrap_err();
/// println!("{mistake}"); // names the byte and what was expected there
/// # assert!(mistake.to_string().contains("at byte"));
/// # Ok::<(), otolith::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    expression: Expression,
}

impl Filter {
    /// Parses an expression.
    ///
    /// # Errors
    /// [`Error::FilterSyntax`](crate::Error::FilterSyntax) names the byte where reading stopped and what was expected
    /// there; [`Error::Invalid`](crate::Error::Invalid) for text longer than
    /// [`limits::FILTER_BYTES`](crate::limits::FILTER_BYTES).
    pub fn parse(text: &str) -> Result<Filter> {
        Filter::parse_with(text, &[])
    }

    /// Parses an expression in which each `?` stands for the next of `values`: text, a number, true, false or null,
    /// or behind `in` a list of them. Use it for values that come from outside: no quote in a value can change the
    /// expression, and a list may be as long as it needs to be, because it does not count as text.
    ///
    /// # Errors
    /// As [`Filter::parse`], also for values that do not fit their place; [`Error::Invalid`](crate::Error::Invalid)
    /// when there are more values than `?`.
    ///
    /// # Examples
    ///
    /// ```
    /// use otolith::filter::Filter;
    /// # use otolith::{Database, Matrix, Record, Schema};
    /// # let folder = tempfile::tempdir()?;
    /// # let db = Database::open(folder.path().join("sounds.otolith"))?;
    /// # let clips = db.create_collection("clips", Schema::new(2))?;
    /// # let vector = Matrix::from_vector(vec![0.6, 0.8])?;
    /// # clips.upsert([Record::new("dog-1", vector.clone()).field("owner", "O'Hara")])?;
    ///
    /// let typed = "O'Hara"; // say, by a visitor
    /// let filter = Filter::parse_with("owner = ? and id in ?", &[typed.into(), vec!["dog-1", "dog-2"].into()])?;
    /// let hits = clips.query(&vector).matching(filter).run()?;
    /// assert_eq!(hits.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn parse_with(text: &str, values: &[Value]) -> Result<Filter> {
        Ok(Filter { expression: parser::parse(text, values)? })
    }

    /// Returns whether a record with this id and these fields passes.
    pub fn matches(&self, id: &str, fields: &Fields) -> bool {
        self.expression.matches(id, fields)
    }

    /// Returns whether the expression reads ids, and whether it reads fields.
    pub(crate) fn asks(&self) -> (bool, bool) {
        self.expression.asks()
    }

    /// Returns the records of a segment that pass, deleted ones included. `index` may be `None` when no field is read.
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
