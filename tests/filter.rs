//! Promise: a filter means what its grammar says, is written as it is read, and a mistake is pointed at by its byte; it
//! finds the same records by field indexes, whole, missing or broken, as by asking each.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use otolith::filter::Filter;
use otolith::{Collection, Database, Error, Fields, Matrix, Record, Schema, limits};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn fields(value: Value) -> Fields {
    match value {
        Value::Object(map) => Fields::from(map),
        other => panic!("{other} is no object"),
    }
}

fn holds(filter: &str, record: Value) -> bool {
    Filter::parse(filter).unwrap_or_else(|error| panic!("{error}")).matches("r1", &fields(record))
}

/// Where reading stopped, and the message.
fn mistake(filter: &str) -> (usize, String) {
    match Filter::parse(filter) {
        Err(Error::FilterSyntax { at_byte, what, filter: whole }) => {
            assert_eq!(whole, filter);
            (at_byte, what)
        }
        other => panic!("`{filter}`: {other:?}"),
    }
}

#[test]
fn comparisons_follow_the_type_of_the_value() {
    let dog = || json!({"class": "dog", "fold": 3, "seconds": 5.0, "loud": true, "note": null});
    for (filter, expected) in [
        ("class = 'dog'", true),
        ("class == \"dog\"", true),
        ("class != 'dog'", false),
        ("class < 'dot'", true),
        ("class <= 'dog'", true),
        ("class > 'Dog'", true),
        ("class = 3", false),
        ("class != 3", false),
        ("fold = 3.0", true),
        ("fold >= 3 and fold < 4", true),
        ("seconds = 5", true),
        ("seconds != 5", false),
        ("seconds > '4'", false),
        ("loud = true", true),
        ("loud != false", true),
        ("note = null", true),
        ("note != 1", false),
        ("missing = 1", false),
        ("missing != 1", false),
        ("not (missing = 1)", true),
        ("not missing = 1", true),
        ("exists(note)", true),
        ("exists(missing)", false),
        ("class in ('cat', 'dog')", true),
        ("fold in (1, 2, '3')", false),
        ("fold IN (1, 3.0)", true),
        ("missing in (1) or not exists ( missing )", true),
        ("class = 'cat' and fold = 3 or loud = true", true),
        ("class = 'cat' and (fold = 3 or loud = true)", false),
        ("NOT class = 'cat' AND Exists(`class`)", true),
        ("not not loud = true", true),
        ("class in ()", false),
        ("missing in ()", false),
        ("class not in ()", true),
        ("class not in ('cat', 'cow')", true),
        ("class NOT IN ('dog')", false),
        ("missing not in ('dog')", true),
        ("id = 'r1'", true),
        ("id != 'r1'", false),
        ("id in ('r0', 'r1') and id >= 'r' and id < 's'", true),
        ("id not in ('r1')", false),
        ("`id` = 'r1'", false),
        ("ID = 'r1'", false),
    ] {
        assert_eq!(holds(filter, dog()), expected, "{filter}");
    }
}

#[test]
fn big_integers_compare_by_every_digit() {
    let big = || json!({"n": 9_007_199_254_740_993_i64});
    assert!(holds("n = 9007199254740993", big()));
    assert!(holds("n != 9007199254740992 and n > 9007199254740992.0", big()));
    assert!(holds("n < 18446744073709551615", big()));
    assert!(holds("n = 18446744073709551615", json!({"n": u64::MAX})));
}

#[test]
fn a_field_that_is_called_id_is_reached_in_backticks() {
    let filter = Filter::parse("`id` = 7 and id = 'r1' and exists(`id`)").unwrap();
    assert!(filter.matches("r1", &fields(json!({"id": 7}))));
    assert!(!filter.matches("7", &fields(json!({"id": 7}))));
    assert_eq!(filter.to_string(), "`id` = 7 and id = 'r1' and exists(`id`)");
}

#[test]
fn values_are_given_beside_the_text() {
    let class = "' or class != '";
    let filter =
        Filter::parse_with("class = ? and n in (1, ?) and id in ?", &[class.into(), 2.into(), json!(["a", "b"])]);
    let filter = filter.unwrap();
    assert!(filter.matches("b", &fields(json!({"class": class, "n": 2}))));
    assert!(!filter.matches("b", &fields(json!({"class": "x", "n": 2}))));
    assert_eq!(Filter::parse(&filter.to_string()).unwrap(), filter);
    assert!(!Filter::parse_with("n in ?", &[json!([])]).unwrap().matches("a", &fields(json!({"n": 1}))));
    let refused = |text: &str, values: &[Value]| Filter::parse_with(text, values).unwrap_err().to_string();
    for (text, values, words) in [
        ("n = ?", &[][..], "no value is given for this `?` (a text with one stands in quotes) at byte 4"),
        ("n = ? or n = ?", &[json!(1)], "at byte 13"),
        ("n = ?", &[json!(1), json!(2)], "2 values for 1 `?`"),
        ("n = ?", &[json!([1])], "can be compared at byte 4"),
        ("n in ?", &[json!(1)], "a list must be given"),
        ("n in (?)", &[json!([1])], "can be compared"),
        ("n in ?", &[json!([[1]])], "can be compared"),
        ("id = ?", &[json!(1)], "an id is text: '1'"),
        ("? = 1", &[json!("n")], "expected a comparison"),
    ] {
        assert!(refused(text, values).contains(words), "{text}: {}", refused(text, values));
    }
}

/// Counted by how long the expression is once read: no machine is too slow for this test.
#[test]
fn many_values_of_one_field_are_one_comparison() {
    let chain: Vec<String> = (0..20_000).map(|n| format!("n = {n}")).collect();
    let filter = Filter::parse(&format!("{} or class = 'dog'", chain.join(" or "))).unwrap();
    assert!(filter.to_string().starts_with("n in (0, 1, 2,"));
    assert_eq!(filter.to_string().matches(" in (").count(), 1);
    assert!(
        filter.matches("r1", &fields(json!({"n": 19_999.0}))) && !filter.matches("r1", &fields(json!({"n": 20_000})))
    );
    assert_eq!(Filter::parse("n in (3, 1, 3.0, 2)").unwrap().to_string(), "n in (1, 2, 3)");
    // So long a list is no matter of text where it is given beside it.
    let absent: Vec<Value> = (0..200_000).map(|n| Value::from(format!("some-rather-long-id-{n}"))).collect();
    let filter = Filter::parse_with("id in ?", &[absent.into()]).unwrap();
    assert!((0..50_000).all(|n| filter.matches(&format!("some-rather-long-id-{n}"), &Fields::default())));
}

#[test]
fn names_and_text_can_hold_anything() {
    assert!(holds("`a b``c` = 1", json!({"a b`c": 1})));
    assert!(holds("`and` = 1 and `日本` = 2", json!({"and": 1, "日本": 2})));
    assert!(holds("a.b-c_1 = 1", json!({"a.b-c_1": 1})));
    assert!(holds(r#"t = 'it\'s "so" \\ \n\t\u{1f600}'"#, json!({"t": "it's \"so\" \\ \n\t😀"})));
    assert!(holds(r#"t = "it's""#, json!({"t": "it's"})));
    assert!(holds("t=''and(n>-1.5e1)", json!({"t": "", "n": 0})));
}

#[test]
fn mistakes_are_pointed_at_with_a_hint() {
    for (filter, at_byte, hint) in [
        ("", 0, "expected a comparison"),
        ("class = dog", 8, "'dog'"),
        ("class = 'a' && fold = 1", 12, "`and`"),
        ("class = 'a' & fold = 1", 12, "`and`"),
        ("class = 'a' || fold = 1", 12, "`or`"),
        ("class = 'a' | fold = 1", 12, "`or`"),
        ("!(fold = 1)", 0, "`not`"),
        ("class = 'dog", 8, "not closed"),
        ("class = \"dog'", 8, "end the text with \""),
        ("`class = 1", 0, "backtick"),
        ("`` = 1", 0, "empty"),
        ("class like 'd%'", 6, "no matching of parts"),
        ("class is null", 6, "= null"),
        ("fold between 1 and 2", 5, ">="),
        ("class not 'a'", 6, "after the field"),
        ("id = 5", 5, "an id is text: '5'"),
        ("id in ('a', null)", 12, "an id is text"),
        ("exists(id)", 7, "every record has an id"),
        ("n = 18446744073709551616", 4, "beyond 64 bits"),
        ("n > -9223372036854775809", 4, "beyond 64 bits"),
        ("class <> 'a'", 6, "`!=`"),
        ("fold => 1", 5, "`>=`"),
        ("fold =< 1", 5, "`<=`"),
        ("class", 5, "after the field"),
        ("class =", 7, "found the end"),
        ("class = 'it's'", 12, "\\'"),
        ("class in 'a'", 9, "`(`"),
        ("class in (,)", 10, "a value"),
        ("class in ('a' 'b')", 14, "`,`"),
        ("class = ('a')", 8, "one value"),
        ("(fold = 1", 9, "`)`"),
        ("fold = 1)", 8, "never opened"),
        ("fold = 1 class = 2", 9, "`and`"),
        ("'dog' = class", 0, "comes first"),
        ("in = 1", 0, "backticks: `in`"),
        ("fold = 1 and and fold = 2", 13, "expected a comparison"),
        ("fold = 1.2.3", 7, "1.2.3"),
        ("fold = 01", 7, "no number"),
        ("seconds > 5s", 10, "5s"),
        ("fold = 1e999", 7, "no number"),
        ("exists class", 7, "exists(field)"),
        ("class = 'a\\q'", 10, "backslash"),
        ("class = '\\u{d800}'", 9, "backslash"),
        ("class = “dog”", 8, "plain quotes"),
        ("fold = 1 and größe > 2", 13, "`größe` has letters"),
        ("class = é", 8, "text in quotes"),
        ("größe", 0, "backticks"),
        ("fold = 1; drop", 8, "`;`"),
    ] {
        let (at, what) = mistake(filter);
        assert!(at == at_byte && what.contains(hint), "`{filter}`: {what} at {at}, not {hint} at {at_byte}");
    }
    let shown = Filter::parse("a = b").unwrap_err().to_string();
    assert_eq!(shown, "filter: expected a value (text stands in quotes: 'b'), found `b` at byte 4 of `a = b`");
}

#[test]
fn depth_and_length_are_limited() {
    let deep = |depth: usize| format!("{}a = 1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Filter::parse(&deep(limits::FILTER_DEPTH)).is_ok());
    let (at, what) = mistake(&deep(limits::FILTER_DEPTH + 1));
    assert!(at == limits::FILTER_DEPTH + 1 && what.contains("inside each other"), "{what} at {at}");
    assert!(mistake(&"(".repeat(limits::FILTER_BYTES)).1.contains("inside each other"));
    assert!(mistake(&"not ".repeat(1000)).1.contains("inside each other"));
    // Chains are not deep.
    let chain = vec!["a = 1"; 20_000].join(" or ");
    assert!(Filter::parse(&chain).unwrap().matches("", &fields(json!({"a": 1}))));
    assert!(matches!(Filter::parse(&" ".repeat(limits::FILTER_BYTES + 1)), Err(Error::Invalid { .. })));
}

/// The language once more, as a tree that is evaluated in the most literal way.
#[derive(Clone, Debug)]
enum Tree {
    Or(Box<Tree>, Box<Tree>),
    And(Box<Tree>, Box<Tree>),
    Not(Box<Tree>),
    Exists(String),
    /// Of a field, or where there is none of the id.
    In(Option<String>, Vec<Value>),
    Compare(Option<String>, &'static str, Value),
}

/// The order of two numbers, by their exact values.
fn order(a: &serde_json::Number, b: &serde_json::Number) -> std::cmp::Ordering {
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => a.cmp(&b),
        (None, None) => a.as_f64().unwrap().partial_cmp(&b.as_f64().unwrap()).unwrap(),
        (None, Some(_)) => order(b, a).reverse(),
        (Some(a), None) => {
            let b = b.as_f64().unwrap();
            // Beyond all integers, else the whole part in full and then what is behind the point.
            if b.abs() >= 1e30 {
                return 0.0_f64.partial_cmp(&b).unwrap();
            }
            a.cmp(&(b.floor() as i128)).then(0.0_f64.partial_cmp(&(b - b.floor())).unwrap())
        }
    }
}

impl Tree {
    fn holds(&self, id: &str, record: &Fields) -> bool {
        match self {
            Tree::Or(a, b) => a.holds(id, record) || b.holds(id, record),
            Tree::And(a, b) => a.holds(id, record) && b.holds(id, record),
            Tree::Not(a) => !a.holds(id, record),
            Tree::Exists(name) => record.iter().any(|(field, _)| field == name),
            Tree::In(name, values) => {
                values.iter().any(|value| Tree::Compare(name.clone(), "=", value.clone()).holds(id, record))
            }
            Tree::Compare(name, operator, value) => {
                let id = Value::from(id);
                let found = match name {
                    Some(name) => record.iter().find(|(field, _)| *field == name).map(|(_, found)| found),
                    None => Some(&id),
                };
                let (less, equal) = match (found, value) {
                    (Some(Value::String(a)), Value::String(b)) => (a.as_bytes() < b.as_bytes(), a == b),
                    (Some(Value::Bool(a)), Value::Bool(b)) => (!a && *b, a == b),
                    (Some(Value::Null), Value::Null) => (false, true),
                    (Some(Value::Number(a)), Value::Number(b)) => (order(a, b).is_lt(), order(a, b).is_eq()),
                    _ => return false,
                };
                match *operator {
                    "=" | "==" => equal,
                    "!=" => !equal,
                    "<" => less,
                    "<=" => less || equal,
                    ">" => !less && !equal,
                    _ => !less,
                }
            }
        }
    }

    /// The tree as text with every parenthesis, in the second of two ways to write things where there are two.
    fn text(&self, second: bool) -> String {
        let quoted = |value: &Value| match value {
            Value::String(text) if second => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
            Value::String(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
            other => other.to_string(),
        };
        let field = |name: &str| format!("`{}`", name.replace('`', "``"));
        let subject = |name: &Option<String>| name.as_deref().map_or("id".to_owned(), field);
        match self {
            Tree::Or(a, b) => format!("({} {} {})", a.text(second), if second { "OR" } else { "or" }, b.text(second)),
            Tree::And(a, b) => format!("({}\n and\t{})", a.text(second), b.text(second)),
            Tree::Not(inner) => match &**inner {
                Tree::In(name, values) if second => {
                    format!("{} not in ({})", subject(name), values.iter().map(quoted).collect::<Vec<_>>().join(" , "))
                }
                inner => format!("not ({})", inner.text(second)),
            },
            Tree::Exists(name) => format!("exists({})", field(name)),
            Tree::In(name, values) => {
                format!("{} in ({})", subject(name), values.iter().map(quoted).collect::<Vec<_>>().join(","))
            }
            Tree::Compare(name, operator, value) => format!("{}{operator}{}", subject(name), quoted(value)),
        }
    }
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![Just("a".to_owned()), Just("b".to_owned()), Just("NOT".to_owned()), "[a-z`'\" é.-]{1,4}"]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2i64..3).prop_map(Value::from),
        (-4i64..5).prop_map(|half| Value::from(half as f64 / 2.0)),
        any::<i32>().prop_map(|n| Value::from(f64::from(n) * 1e30)),
        proptest::sample::select(vec![(1_i64 << 53) - 1, 1 << 53, (1 << 53) + 1, i64::MIN, i64::MAX])
            .prop_map(Value::from),
        proptest::sample::select(vec![9_007_199_254_740_992.0, 9.3e18, -9.3e18, -0.0, 5e-324, 1e300])
            .prop_map(Value::from),
        proptest::sample::select(vec![1 << 63, u64::MAX - 1, u64::MAX]).prop_map(Value::from),
        prop_oneof![Just(String::new()), Just("dog".to_owned()), "[a-b\\\\'\"\n\u{7}é]{0,3}"].prop_map(Value::from),
    ]
}

fn an_id() -> impl Strategy<Value = Value> {
    prop_oneof![(0..40_u32).prop_map(|n| Value::from(format!("r{n}"))), "[a-z'\\\\\u{1b}]{0,3}".prop_map(Value::from)]
}

fn tree() -> impl Strategy<Value = Tree> {
    let operators = proptest::sample::select(vec!["=", "==", "!=", "<", "<=", ">", ">="]);
    let leaf = prop_oneof![
        name().prop_map(Tree::Exists),
        (name(), proptest::collection::vec(scalar(), 0..4)).prop_map(|(name, values)| Tree::In(Some(name), values)),
        (name(), operators.clone(), scalar()).prop_map(|(name, operator, value)| Tree::Compare(
            Some(name),
            operator,
            value
        )),
        proptest::collection::vec(an_id(), 0..4).prop_map(|ids| Tree::In(None, ids)),
        (operators, an_id()).prop_map(|(operator, id)| Tree::Compare(None, operator, id)),
    ];
    leaf.prop_recursive(6, 24, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Tree::Or(a.into(), b.into())),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Tree::And(a.into(), b.into())),
            inner.prop_map(|a| Tree::Not(a.into())),
        ]
    })
}

#[test]
fn any_expression_means_what_a_literal_reading_says_and_is_written_as_it_is_read() {
    let (cases, passed) = (Cell::new(0), Cell::new(0));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(4000)
    });
    let records = proptest::collection::vec((name(), scalar()), 0..4);
    let result = runner.run(&(tree(), records, any::<bool>()), |(tree, record, second)| {
        let record = Fields::from(record.into_iter().collect::<serde_json::Map<_, _>>());
        let filter = Filter::parse(&tree.text(second)).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(filter.matches("r7", &record), tree.holds("r7", &record), "{}", filter);
        let again = Filter::parse(&filter.to_string()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&again, &filter, "{}", filter);
        cases.set(cases.get() + 1);
        passed.set(passed.get() + u32::from(filter.matches("r7", &record)));
        Ok(())
    });
    result.unwrap();
    println!("figure filter_cases = {} cases", cases.get());
    println!("figure filter_cases_that_match = {} cases", passed.get());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) })]

    #[test]
    fn no_text_makes_it_panic_and_every_error_points_into_the_text(
        text in prop_oneof![
            any::<String>(),
            "[ab `'\"\\\\(),=<>!&|0-9.eE+-]{0,20}",
            proptest::collection::vec(
                proptest::sample::select(vec![
                    "a", "and ", "or ", "not ", "in ", "exists", "(", ")", ",", "=", "<=", "'x'", "\"", "'", "`f`", "1", "-", "1e5",
                    "null", "\\u{1}", "é", " ",
                ]),
                0..12,
            ).prop_map(|pieces| pieces.concat()),
        ],
    ) {
        match Filter::parse(&text) {
            Ok(filter) => prop_assert_eq!(&Filter::parse(&filter.to_string()).unwrap(), &filter),
            Err(Error::FilterSyntax { at_byte, what, .. }) => {
                prop_assert!(text.is_char_boundary(at_byte) && !what.is_empty());
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}

const RECORDS: u32 = 3_000;

const FILTERS: [&str; 11] = [
    "n = 17 or n = 2999 or n = 3010",
    "n >= 100 and n < 200.5",
    "class = 'b' and not (loud = true)",
    "class != 'a'",
    "not (class = 'a') and n > 2900",
    "n in (1, 2.0, 5000, '3') or note = null",
    "exists(note) and not (note != 'x')",
    "missing = 1 or class < 'b' and (n <= 40 or n > 2990)",
    "not exists(missing) and n = 90071992547409932",
    "id in ('r00038', 'r02995', 'r03011', 'x') or id = 'r00039'",
    "id >= 'r02980' and id < 'r03005' and class not in ('a')",
];

fn sound(n: u32) -> Record {
    let record = Record::new(format!("r{n:05}"), Matrix::from_vector(vec![n as f32]).unwrap());
    let record =
        record.field("n", n).field("class", ["a", "b", "c"][n as usize % 3]).field("loud", n.is_multiple_of(2));
    match n % 500 {
        0 => record.field("note", Value::Null),
        1 => record.field("note", "x"),
        2 => record.field("n", 90_071_992_547_409_930 + u64::from(n)),
        _ => record,
    }
}

type Model = BTreeMap<String, Fields>;

/// Sealed records, some of them deleted or replaced since by records in the log, and what there is.
fn sounds(path: &Path) -> (Database, Model) {
    let db = Database::open(path).unwrap();
    let sounds = db.create_collection("c", Schema::new(1)).unwrap();
    let records: Vec<Record> = (0..RECORDS).map(sound).collect();
    let mut model: Model = records.iter().map(|record| (record.id.clone().unwrap(), record.fields.clone())).collect();
    sounds.upsert(records).unwrap();
    db.flush().unwrap();
    for n in (0..RECORDS).step_by(37) {
        let id = format!("r{n:05}");
        model.remove(&id);
        sounds.delete([id]).unwrap();
    }
    for n in (RECORDS - 10)..(RECORDS + 20) {
        let record = sound(n).field("loud", "?");
        model.insert(record.id.clone().unwrap(), record.fields.clone());
        sounds.upsert([record]).unwrap();
    }
    (db, model)
}

fn ask(sounds: &Collection, filter: &str) -> (Vec<String>, u64) {
    let row = Matrix::from_vector(vec![1.0]).unwrap();
    let hits = sounds.query(&row).k(2 * RECORDS as usize).filter(filter).run().unwrap();
    let mut ids: Vec<String> = hits.iter().map(|hit| hit.id.clone()).collect();
    ids.sort();
    (ids, hits.unreadable.iter().map(|unreadable| unreadable.records).sum())
}

/// Asks every filter twice and compares with the model; gives the number of answers.
fn check(db: &Database, model: &Model) -> usize {
    let sounds = db.collection("c").unwrap();
    for filter in FILTERS.iter().chain(&FILTERS) {
        let parsed = Filter::parse(filter).unwrap();
        let passing = model.iter().filter(|(id, fields)| parsed.matches(id, fields));
        let expected: Vec<String> = passing.map(|(id, _)| id.clone()).collect();
        assert!(!expected.is_empty() && expected.len() < model.len(), "{filter}: {}", expected.len());
        assert_eq!(ask(&sounds, filter), (expected, 0), "{filter}");
    }
    2 * FILTERS.len()
}

/// Few names and values, so that filters meet them.
fn drawn() -> impl Strategy<Value = Fields> {
    let name = proptest::sample::select(vec!["a", "b", "id"]).prop_map(str::to_owned);
    proptest::collection::vec((name, scalar()), 0..4)
        .prop_map(|pairs| Fields::from(pairs.into_iter().collect::<serde_json::Map<_, _>>()))
}

#[test]
fn the_planner_finds_what_a_literal_reading_of_each_record_finds() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let folder = tempfile::tempdir().unwrap();
    let db = Database::open(folder.path().join("db")).unwrap();
    let collection = db.create_collection("c", Schema::new(1)).unwrap();
    let mut model = Model::new();
    let mut put = |ids: std::ops::Range<u32>| {
        let records: Vec<Record> = ids
            .map(|n| {
                let mut record = Record::new(format!("r{n}"), Matrix::from_vector(vec![1.0]).unwrap());
                record.fields = drawn().new_tree(&mut runner).unwrap().current();
                model.insert(format!("r{n}"), record.fields.clone());
                record
            })
            .collect();
        collection.upsert(records).unwrap();
    };
    put(0..1_500); // sealed, with a field index from the second filter on
    db.flush().unwrap();
    put(1_000..1_020); // in the log, in the place of others
    let mut answers = 0;
    for _ in 0..300 {
        let tree = tree().new_tree(&mut runner).unwrap().current();
        let mut expected: Vec<&String> =
            model.iter().filter(|(id, fields)| tree.holds(id, fields)).map(|(id, _)| id).collect();
        expected.sort();
        let (found, unreadable) = ask(&collection, &tree.text(false));
        assert!(found.iter().eq(expected) && unreadable == 0, "{}", tree.text(false));
        answers += 1;
    }
    assert!(index(&folder.path().join("db")).is_some());
    println!("figure planned_filters_equal_to_a_literal_reading = {answers} filters");
}

fn files(path: &Path, folder: &str, ending: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(path.join(folder)).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|file| file.to_string_lossy().ends_with(ending)).collect()
}

fn index(path: &Path) -> Option<PathBuf> {
    files(path, "derived", "-fields.odrv").pop()
}

/// Damages a block with fields of records from the middle, and nothing else in it.
fn damage_fields(path: &Path) {
    let text = "\"n\":1001";
    let find = |bytes: &[u8]| bytes.windows(text.len()).position(|window| window == text.as_bytes());
    let segments = files(path, "seg", ".oseg").into_iter().map(|file| (fs::read(&file).unwrap(), file));
    let (mut bytes, segment) = segments.into_iter().find(|(bytes, _)| find(bytes).is_some()).unwrap();
    let at = find(&bytes).unwrap();
    bytes[at] ^= 1;
    fs::remove_file(&segment).unwrap();
    fs::write(&segment, bytes).unwrap();
}

#[test]
fn a_filter_finds_the_same_whatever_happened_to_its_field_index() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let (db, model) = sounds(&path);
    assert!(index(&path).is_none());
    let mut answers = check(&db, &model);
    assert!(index(&path).is_some(), "the second filter builds it");
    db.flush().unwrap();
    answers += check(&db, &model);
    drop(db);
    let file = index(&path).unwrap();
    let open = || Database::open_read_only(&path).unwrap();
    answers += check(&open(), &model);
    let whole = fs::read(&file).unwrap();
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        let mut broken = whole.clone();
        if at % 3 == 0 {
            broken.truncate(at)
        } else {
            broken[at] ^= 0x41
        }
        fs::write(&file, broken).unwrap();
        answers += check(&open(), &model);
    }
    fs::remove_file(&file).unwrap();
    answers += check(&open(), &model);
    assert!(index(&path).is_none(), "a reader writes nothing");
    let db = Database::open(&path).unwrap();
    answers += check(&db, &model);
    assert!(fs::read(index(&path).unwrap()).unwrap() == whole, "built again, to the last byte");
    db.compact().unwrap();
    answers += check(&db, &model);
    println!("figure filtered_answers_with_field_indexes = {answers} answers");
}

#[test]
fn a_filter_by_a_field_index_reads_no_fields_and_damaged_ones_are_named_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let (db, _) = sounds(&path);
    db.flush().unwrap();
    let sounds = db.collection("c").unwrap();
    ask(&sounds, "n = 1");
    ask(&sounds, "n = 2");
    let file = index(&path).unwrap();
    drop((sounds, db));
    damage_fields(&path);
    let sounds = || Database::open_read_only(&path).unwrap().collection("c").unwrap();
    let late = || vec!["r02986".to_owned(), "r02987".to_owned(), "r02988".to_owned(), "r02989".to_owned()];
    assert_eq!(ask(&sounds(), "n > 2985 and n < 2990"), (late(), 0));
    fs::remove_file(file).unwrap();
    let sounds = sounds();
    let (found, unreadable) = ask(&sounds, "n > 2985 and n < 2990");
    assert!(found == late() && unreadable > 0, "{found:?}, {unreadable} unreadable");
    for n in 2990..2994 {
        assert_eq!(ask(&sounds, &format!("n > 2985 and n < {n}")).1, unreadable, "told each time");
    }
    println!("figure records_with_damaged_fields_named = {unreadable} records");
}
