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
    Filter::parse(filter).unwrap_or_else(|error| panic!("{error}")).matches(&fields(record))
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
        ("class not in ('a')", 6, "before the field"),
        ("class <> 'a'", 6, "`!=`"),
        ("fold => 1", 5, "`>=`"),
        ("fold =< 1", 5, "`<=`"),
        ("class", 5, "after the field"),
        ("class =", 7, "found the end"),
        ("class = 'it's'", 12, "\\'"),
        ("class in 'a'", 9, "`(`"),
        ("class in ()", 10, "a value"),
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
    assert!(Filter::parse(&chain).unwrap().matches(&fields(json!({"a": 1}))));
    assert!(matches!(Filter::parse(&" ".repeat(limits::FILTER_BYTES + 1)), Err(Error::Invalid { .. })));
}

/// The language once more, as a tree that is evaluated in the most literal way.
#[derive(Clone, Debug)]
enum Tree {
    Or(Box<Tree>, Box<Tree>),
    And(Box<Tree>, Box<Tree>),
    Not(Box<Tree>),
    Exists(String),
    In(String, Vec<Value>),
    Compare(String, &'static str, Value),
}

impl Tree {
    fn holds(&self, record: &Fields) -> bool {
        match self {
            Tree::Or(a, b) => a.holds(record) || b.holds(record),
            Tree::And(a, b) => a.holds(record) && b.holds(record),
            Tree::Not(a) => !a.holds(record),
            Tree::Exists(name) => record.iter().any(|(field, _)| field == name),
            Tree::In(name, values) => {
                values.iter().any(|value| Tree::Compare(name.clone(), "=", value.clone()).holds(record))
            }
            Tree::Compare(name, operator, value) => {
                let found = record.iter().find(|(field, _)| *field == name).map(|(_, found)| found);
                let (less, equal) = match (found, value) {
                    (Some(Value::String(a)), Value::String(b)) => (a.as_bytes() < b.as_bytes(), a == b),
                    (Some(Value::Bool(a)), Value::Bool(b)) => (!a && *b, a == b),
                    (Some(Value::Null), Value::Null) => (false, true),
                    // Numbers of these tests are exact in `f64`.
                    (Some(Value::Number(a)), Value::Number(b)) => (a.as_f64() < b.as_f64(), a.as_f64() == b.as_f64()),
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
        match self {
            Tree::Or(a, b) => format!("({} {} {})", a.text(second), if second { "OR" } else { "or" }, b.text(second)),
            Tree::And(a, b) => format!("({}\n and\t{})", a.text(second), b.text(second)),
            Tree::Not(a) => format!("not ({})", a.text(second)),
            Tree::Exists(name) => format!("exists({})", field(name)),
            Tree::In(name, values) => {
                format!("{} in ({})", field(name), values.iter().map(quoted).collect::<Vec<_>>().join(","))
            }
            Tree::Compare(name, operator, value) => format!("{}{operator}{}", field(name), quoted(value)),
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
        prop_oneof![Just(String::new()), Just("dog".to_owned()), "[a-b\\\\'\"\n\u{7}é]{0,3}"].prop_map(Value::from),
    ]
}

fn tree() -> impl Strategy<Value = Tree> {
    let operators = proptest::sample::select(vec!["=", "==", "!=", "<", "<=", ">", ">="]);
    let leaf = prop_oneof![
        name().prop_map(Tree::Exists),
        (name(), proptest::collection::vec(scalar(), 1..4)).prop_map(|(name, values)| Tree::In(name, values)),
        (name(), operators, scalar()).prop_map(|(name, operator, value)| Tree::Compare(name, operator, value)),
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
        prop_assert_eq!(filter.matches(&record), tree.holds(&record), "{}", filter);
        let again = Filter::parse(&filter.to_string()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&again, &filter, "{}", filter);
        cases.set(cases.get() + 1);
        passed.set(passed.get() + u32::from(filter.matches(&record)));
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

const FILTERS: [&str; 9] = [
    "n = 17 or n = 2999 or n = 3010",
    "n >= 100 and n < 200.5",
    "class = 'b' and not (loud = true)",
    "class != 'a'",
    "not (class = 'a') and n > 2900",
    "n in (1, 2.0, 5000, '3') or note = null",
    "exists(note) and not (note != 'x')",
    "missing = 1 or class < 'b' and (n <= 40 or n > 2990)",
    "not exists(missing) and n = 90071992547409932",
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
        let passing = model.iter().filter(|(_, fields)| parsed.matches(fields));
        let expected: Vec<String> = passing.map(|(id, _)| id.clone()).collect();
        assert!(!expected.is_empty() && expected.len() < model.len(), "{filter}: {}", expected.len());
        assert_eq!(ask(&sounds, filter), (expected, 0), "{filter}");
    }
    2 * FILTERS.len()
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
    db.compact(&|| true).unwrap();
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
