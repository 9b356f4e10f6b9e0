//! The order of JSON numbers by their exact values.

use serde_json::Number;
use std::cmp::Ordering;

/// Compares two numbers as they are, not as `f64` would have them.
pub(super) fn compare(a: &Number, b: &Number) -> Ordering {
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(a), None) => compare_mixed(a, float(b)),
        (None, Some(b)) => compare_mixed(b, float(a)).reverse(),
        (None, None) => float(a).partial_cmp(&float(b)).unwrap_or(Ordering::Equal),
    }
}

/// A JSON number that is no integer is a finite `f64`.
fn float(number: &Number) -> f64 {
    number.as_f64().unwrap_or_default()
}

/// An integer of JSON (less than 65 bits) against a finite `f64`.
fn compare_mixed(integer: i128, float: f64) -> Ordering {
    // Exact below 2^127, and saturating at a value that is beyond every integer here.
    let whole = float.trunc() as i128;
    integer.cmp(&whole).then_with(|| 0.0.partial_cmp(&float.fract()).unwrap_or(Ordering::Equal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_by_their_exact_values() {
        let rising = [
            "-1e300",
            "-9223372036854775809.0",
            "-9223372036854775807",
            "-1.5",
            "-1",
            "0",
            "0.5",
            "1",
            "9007199254740992.0",
        ]
        .into_iter()
        .chain([
            "9007199254740993",
            "9007199254740994.0",
            "18446744073709551615",
            "18446744073709551616.0",
            "1e300",
        ]);
        let rising: Vec<Number> = rising.map(|text| serde_json::from_str(text).unwrap()).collect();
        for (i, a) in rising.iter().enumerate() {
            for (j, b) in rising.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a} and {b}");
            }
        }
        let equal = |a: &str, b: &str| {
            assert_eq!(compare(&serde_json::from_str(a).unwrap(), &serde_json::from_str(b).unwrap()), Ordering::Equal);
        };
        equal("1", "1.0");
        equal("-0.0", "0");
        equal("0", "-0");
    }
}
