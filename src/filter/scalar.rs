//! Values of fields, ordered as the filter language compares them.

use serde_json::{Number, Value};
use std::cmp::Ordering;

/// A value of a field; `T` is how its text is held. The order among types is for sorting alone: a filter compares
/// values of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scalar<T> {
    Null,
    Bool(bool),
    Number(Exact),
    Text(T),
    /// An array or object. No record is written with one and no filter compares with one, so only a forged file holds
    /// it.
    Other,
}

/// The type of a [`Scalar`], in the same order; its number stands in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Type {
    Null,
    Bool,
    Number,
    Text,
    Other,
}

impl Type {
    /// Returns the type with this number.
    pub(super) fn from_code(code: u64) -> Option<Type> {
        [Type::Null, Type::Bool, Type::Number, Type::Text, Type::Other].into_iter().find(|kind| *kind as u64 == code)
    }
}

impl<T> Scalar<T> {
    pub(super) fn kind(&self) -> Type {
        match self {
            Scalar::Null => Type::Null,
            Scalar::Bool(_) => Type::Bool,
            Scalar::Number(_) => Type::Number,
            Scalar::Text(_) => Type::Text,
            Scalar::Other => Type::Other,
        }
    }

    /// Returns the same value with its text converted by `text`.
    pub(super) fn map<U>(&self, text: impl FnOnce(&T) -> U) -> Scalar<U> {
        match self {
            Scalar::Null => Scalar::Null,
            Scalar::Bool(value) => Scalar::Bool(*value),
            Scalar::Number(number) => Scalar::Number(*number),
            Scalar::Text(value) => Scalar::Text(text(value)),
            Scalar::Other => Scalar::Other,
        }
    }
}

impl Scalar<&[u8]> {
    /// Returns the order of two values of one type; `None` when their types differ.
    pub(super) fn compare(self, other: Scalar<&[u8]>) -> Option<Ordering> {
        (self.kind() == other.kind()).then(|| self.cmp(&other))
    }
}

impl<'a> From<&'a Value> for Scalar<&'a [u8]> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Scalar::Null,
            Value::Bool(value) => Scalar::Bool(*value),
            Value::Number(value) => Scalar::Number(value.into()),
            Value::String(text) => Scalar::Text(text.as_bytes()),
            Value::Array(_) | Value::Object(_) => Scalar::Other,
        }
    }
}

impl From<Value> for Scalar<String> {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Scalar::Null,
            Value::Bool(value) => Scalar::Bool(value),
            Value::Number(value) => Scalar::Number((&value).into()),
            Value::String(text) => Scalar::Text(text),
            Value::Array(_) | Value::Object(_) => Scalar::Other,
        }
    }
}

/// A JSON number without loss, an integer of 64 bits or a finite `f64`: the `f64` nearest to it, and the rest that it
/// has beyond that. Rounding never reverses the order of two numbers, so the rests decide only where the nearest are
/// the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exact {
    /// Never -0.
    pub(super) nearest: f64,
    pub(super) rest: i16,
}

impl From<&Number> for Exact {
    fn from(number: &Number) -> Exact {
        match number.as_i128() {
            Some(integer) => {
                let nearest = integer as f64;
                // At most 1,024: half of the distance between two `f64` below 2^64.
                Exact { nearest, rest: (integer - nearest as i128) as i16 }
            }
            // Adding 0 turns -0 into 0.
            None => Exact { nearest: number.as_f64().unwrap_or_default() + 0.0, rest: 0 },
        }
    }
}

impl Ord for Exact {
    fn cmp(&self, other: &Exact) -> Ordering {
        self.nearest.total_cmp(&other.nearest).then(self.rest.cmp(&other.rest))
    }
}

impl PartialOrd for Exact {
    fn partial_cmp(&self, other: &Exact) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Exact {
    fn eq(&self, other: &Exact) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Exact {}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(a: &str, b: &str) -> Option<Ordering> {
        let value = |text| -> Value { serde_json::from_str(text).unwrap() };
        Scalar::from(&value(a)).compare(Scalar::from(&value(b)))
    }

    #[test]
    fn numbers_compare_by_their_exact_values() {
        let rising = [
            "-1e300",
            "-9223372036854775809.0",
            "-9223372036854775807",
            "-1.5",
            "-1",
            "0",
            "5e-324",
            "0.5",
            "1",
            "9007199254740992.0",
            "9007199254740993",
            "9007199254740994.0",
            "18446744073709550591",
            "18446744073709550592",
            "18446744073709550593",
            "18446744073709551615",
            "18446744073709551616.0",
            "1e300",
        ];
        for (i, a) in rising.iter().enumerate() {
            for (j, b) in rising.iter().enumerate() {
                assert_eq!(order(a, b), Some(i.cmp(&j)), "{a} and {b}");
            }
        }
        for (a, b) in [("1", "1.0"), ("-0.0", "0"), ("0", "-0"), ("18446744073709549568", "18446744073709549568.0")] {
            assert_eq!(order(a, b), Some(Ordering::Equal), "{a} and {b}");
        }
    }

    #[test]
    fn values_of_two_types_have_no_order() {
        let types = ["null", "false", "0", "''", "[]"].map(|text| text.replace('\'', "\""));
        for (i, a) in types.iter().enumerate() {
            for (j, b) in types.iter().enumerate() {
                assert_eq!(order(a, b), (i == j).then_some(Ordering::Equal), "{a} and {b}");
            }
        }
    }
}
