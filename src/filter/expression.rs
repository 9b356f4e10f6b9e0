//! What a filter is made of, how it is evaluated and how it is written.

use super::field_index::FieldIndex;
use super::scalar::Scalar;
use crate::error::{Error, Result};
use crate::record::Fields;
use crate::store::Segment;
use roaring::RoaringBitmap;
use serde_json::Value;
use std::cmp::Ordering;
use std::fmt::{self, Write};

/// One node. `And` and `Or` hold two or more operands, none of their own kind, so that equal meanings written with
/// other parentheses are equal here and long chains are not deep.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    Or(Vec<Expression>),
    And(Vec<Expression>),
    Not(Box<Expression>),
    Exists(String),
    /// Any number of values but one, rising, no two of them equal.
    In(Subject, Vec<Value>),
    Compare(Subject, Operator, Value),
}

/// What is compared with a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// The record's id, a text.
    Id,
    Field(String),
}

/// The ids of the records of a segment, by their numbers.
pub(crate) trait Ids {
    /// Returns the number of records.
    fn records(&self) -> u32;
    /// Returns the record with this id; an error where damage leaves open whether there is one.
    fn find(&self, id: &str) -> Result<Option<u32>>;
    fn id(&self, record: u32) -> Result<&str>;
}

impl Ids for Segment {
    fn records(&self) -> u32 {
        self.records()
    }

    fn find(&self, id: &str) -> Result<Option<u32>> {
        self.find(id)
    }

    fn id(&self, record: u32) -> Result<&str> {
        self.id(record)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Operator {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Operator::Equal => order.is_eq(),
            Operator::NotEqual => order.is_ne(),
            Operator::Less => order.is_lt(),
            Operator::LessEqual => order.is_le(),
            Operator::Greater => order.is_gt(),
            Operator::GreaterEqual => order.is_ge(),
        }
    }

    fn symbol(self) -> &'static str {
        match self {
            Operator::Equal => "=",
            Operator::NotEqual => "!=",
            Operator::Less => "<",
            Operator::LessEqual => "<=",
            Operator::Greater => ">",
            Operator::GreaterEqual => ">=",
        }
    }
}

/// Words of the language: a field of such a name needs backticks.
pub(super) const WORDS: [&str; 8] = ["and", "or", "not", "in", "exists", "true", "false", "null"];

/// The word for the record's id; unlike [`WORDS`] in small letters only.
pub(super) const ID: &str = "id";

/// Returns whether a field name without backticks can begin with this.
pub(super) fn begins_name(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

/// Returns whether a field name without backticks can go on with this.
pub(super) fn continues_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

impl Subject {
    /// Returns its value in a record; `None` where the record has no such field.
    fn of<'a>(&self, id: &'a str, fields: &'a Fields) -> Option<Scalar<&'a [u8]>> {
        match self {
            Subject::Id => Some(Scalar::Text(id.as_bytes())),
            Subject::Field(name) => fields.get(name).map(Scalar::from),
        }
    }
}

impl Expression {
    /// Makes the expression that the subject equals one of these values.
    pub(super) fn any_of(subject: Subject, mut values: Vec<Value>) -> Expression {
        values.sort_by(|a, b| Scalar::from(a).cmp(&Scalar::from(b)));
        values.dedup_by(|a, b| Scalar::from(&*a) == Scalar::from(&*b));
        match values.len() {
            1 => Expression::Compare(subject, Operator::Equal, values.swap_remove(0)),
            _ => Expression::In(subject, values),
        }
    }

    pub(super) fn matches(&self, id: &str, fields: &Fields) -> bool {
        match self {
            Expression::Or(operands) => operands.iter().any(|operand| operand.matches(id, fields)),
            Expression::And(operands) => operands.iter().all(|operand| operand.matches(id, fields)),
            Expression::Not(operand) => !operand.matches(id, fields),
            Expression::Exists(field) => fields.contains_key(field),
            Expression::In(subject, values) => subject.of(id, fields).is_some_and(|found| is_among(found, values)),
            Expression::Compare(subject, operator, value) => subject
                .of(id, fields)
                .and_then(|found| found.compare(value.into()))
                .is_some_and(|order| operator.holds(order)),
        }
    }

    /// Returns whether the expression reads ids, and whether it reads fields.
    pub(super) fn asks(&self) -> (bool, bool) {
        match self {
            Expression::Or(operands) | Expression::And(operands) => {
                operands.iter().fold((false, false), |asked, one| {
                    let (ids, fields) = one.asks();
                    (asked.0 || ids, asked.1 || fields)
                })
            }
            Expression::Not(operand) => operand.asks(),
            Expression::In(Subject::Id, _) | Expression::Compare(Subject::Id, ..) => (true, false),
            Expression::Exists(_) | Expression::In(..) | Expression::Compare(..) => (false, true),
        }
    }

    /// Returns the records that [`Expression::matches`] is true of. `index` may be `None` when no field is read.
    pub(super) fn select(&self, ids: &dyn Ids, index: Option<&FieldIndex>) -> Result<RoaringBitmap> {
        let all = || {
            let mut all = RoaringBitmap::new();
            all.insert_range(0..ids.records());
            all
        };
        let index_of = || index.ok_or_else(|| Error::invalid("filter", "fields are asked for, and not indexed"));
        match self {
            Expression::Or(operands) => {
                operands.iter().try_fold(RoaringBitmap::new(), |found, operand| Ok(found | operand.select(ids, index)?))
            }
            Expression::And(operands) => operands.iter().try_fold(all(), |found, operand| match found.is_empty() {
                true => Ok(found),
                false => Ok(found & operand.select(ids, index)?),
            }),
            Expression::Not(operand) => Ok(all() - operand.select(ids, index)?),
            Expression::Exists(field) => index_of()?.exists(field),
            Expression::In(Subject::Id, values) if values.len() < ids.records() as usize => {
                values.iter().filter_map(|value| find(ids, value).transpose()).collect()
            }
            Expression::Compare(Subject::Id, Operator::Equal, value) => Ok(find(ids, value)?.into_iter().collect()),
            Expression::In(Subject::Id, _) | Expression::Compare(Subject::Id, ..) => {
                let fields = Fields::default();
                let asked = |record| ids.id(record).map(|id| self.matches(id, &fields).then_some(record)).transpose();
                (0..ids.records()).filter_map(asked).collect()
            }
            Expression::In(Subject::Field(field), values) => index_of()?.equal_to_any(field, values),
            Expression::Compare(Subject::Field(field), operator, value) => index_of()?.compare(field, *operator, value),
        }
    }
}

/// Returns whether a value equals one of `values`, which are rising.
fn is_among(found: Scalar<&[u8]>, values: &[Value]) -> bool {
    values.binary_search_by(|value| Scalar::from(value).cmp(&found)).is_ok()
}

/// Returns the record whose id is this value.
fn find(ids: &dyn Ids, value: &Value) -> Result<Option<u32>> {
    value.as_str().map_or(Ok(None), |id| ids.find(id))
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expression::Or(operands) => join(f, operands, " or ", |operand, f| operand.fmt(f)),
            Expression::And(operands) => join(f, operands, " and ", |operand, f| match operand {
                Expression::Or(_) => write!(f, "({operand})"),
                _ => operand.fmt(f),
            }),
            Expression::Not(operand) => match **operand {
                Expression::Or(_) | Expression::And(_) => write!(f, "not ({operand})"),
                _ => write!(f, "not {operand}"),
            },
            Expression::Exists(field) => {
                f.write_str("exists(")?;
                write_field(f, field)?;
                f.write_char(')')
            }
            Expression::In(subject, values) => {
                write_subject(f, subject)?;
                f.write_str(" in (")?;
                join(f, values, ", ", write_value)?;
                f.write_char(')')
            }
            Expression::Compare(subject, operator, value) => {
                write_subject(f, subject)?;
                write!(f, " {} ", operator.symbol())?;
                write_value(value, f)
            }
        }
    }
}

fn join<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    between: &str,
    write: impl Fn(&T, &mut fmt::Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(between)?;
        }
        write(item, f)?;
    }
    Ok(())
}

fn write_subject(f: &mut fmt::Formatter<'_>, subject: &Subject) -> fmt::Result {
    match subject {
        Subject::Id => f.write_str(ID),
        Subject::Field(name) => write_field(f, name),
    }
}

fn write_field(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    let bare = name.starts_with(begins_name)
        && name.chars().all(continues_name)
        && name != ID
        && !WORDS.iter().any(|word| word.eq_ignore_ascii_case(name));
    if bare { f.write_str(name) } else { write!(f, "`{}`", name.replace('`', "``")) }
}

fn write_value(value: &Value, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Value::String(text) = value else { return write!(f, "{value}") };
    f.write_char('\'')?;
    for c in text.chars() {
        match c {
            '\'' | '\\' => write!(f, "\\{c}")?,
            c if c.is_control() => write!(f, "{}", c.escape_default())?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('\'')
}
