//! What a filter is made of, how it is evaluated and how it is written.

use super::field_index::FieldIndex;
use super::scalar::compare;
use crate::error::Result;
use crate::record::Fields;
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
    In(String, Vec<Value>),
    Compare(String, Operator, Value),
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

/// Words of the language, which are no bare field names.
pub(super) const WORDS: [&str; 8] = ["and", "or", "not", "in", "exists", "true", "false", "null"];

/// Whether a name can begin with this.
pub(super) fn begins_name(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

/// Whether a name can go on with this.
pub(super) fn continues_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

impl Expression {
    pub(super) fn matches(&self, fields: &Fields) -> bool {
        match self {
            Expression::Or(operands) => operands.iter().any(|operand| operand.matches(fields)),
            Expression::And(operands) => operands.iter().all(|operand| operand.matches(fields)),
            Expression::Not(operand) => !operand.matches(fields),
            Expression::Exists(field) => fields.contains_key(field),
            Expression::In(field, values) => fields
                .get(field)
                .is_some_and(|found| values.iter().any(|value| compare(found, value) == Some(Ordering::Equal))),
            Expression::Compare(field, operator, value) => {
                fields.get(field).and_then(|found| compare(found, value)).is_some_and(|order| operator.holds(order))
            }
        }
    }

    /// The records that [`Expression::matches`] is true of.
    pub(super) fn select(&self, index: &FieldIndex) -> Result<RoaringBitmap> {
        match self {
            Expression::Or(operands) => {
                operands.iter().try_fold(RoaringBitmap::new(), |found, operand| Ok(found | operand.select(index)?))
            }
            Expression::And(operands) => {
                operands.iter().try_fold(index.all(), |found, operand| match found.is_empty() {
                    true => Ok(found),
                    false => Ok(found & operand.select(index)?),
                })
            }
            Expression::Not(operand) => Ok(index.all() - operand.select(index)?),
            Expression::Exists(field) => index.exists(field),
            Expression::In(field, values) => index.equal_to_any(field, values),
            Expression::Compare(field, operator, value) => index.compare(field, *operator, value),
        }
    }
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
            Expression::In(field, values) => {
                write_field(f, field)?;
                f.write_str(" in (")?;
                join(f, values, ", ", write_value)?;
                f.write_char(')')
            }
            Expression::Compare(field, operator, value) => {
                write_field(f, field)?;
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

fn write_field(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    let bare = name.starts_with(begins_name)
        && name.chars().all(continues_name)
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
