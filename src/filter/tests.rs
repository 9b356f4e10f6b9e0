//! What an index selects is what asking each record finds, and no bytes make it panic.

use super::expression::{Expression, Operator};
use super::{FieldIndex, build};
use crate::error::{Error, Result};
use crate::record::Fields;
use crate::store::layout::{Kind, section};
use crate::store::{Artefact, Counts, Sections, SectionsWriter, sections_of};
use proptest::prelude::*;
use roaring::RoaringBitmap;
use serde_json::{Map, Value, json};
use std::cell::Cell;

const SECTIONS: [u32; 3] = [section::FIELD_NAMES, section::FIELD_VALUES, section::FIELD_RECORDS];

fn sections(records: &[Fields]) -> Sections {
    let fields = |n: u32| Ok(records[n as usize].clone());
    let count = records.len() as u32;
    sections_of(Kind::Fields, count, &|out: &mut SectionsWriter<'_>| build::write(count, &fields, out)).unwrap()
}

fn index(records: &[Fields]) -> FieldIndex {
    FieldIndex::read(sections(records)).unwrap()
}

fn matching(expression: &Expression, records: &[Fields]) -> RoaringBitmap {
    (0..).zip(records).filter(|(_, fields)| expression.matches(fields)).map(|(record, _)| record).collect()
}

fn fields(value: Value) -> Fields {
    let Value::Object(map) = value else { panic!("{value} is no object") };
    Fields::from(map)
}

fn runner(cases: u32) -> proptest::test_runner::TestRunner {
    proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    })
}

fn name() -> impl Strategy<Value = String> {
    proptest::sample::select(vec!["a", "b", "é", ""]).prop_map(str::to_owned)
}

/// Values that are close to each other, or that a careless order would take for equal.
fn value() -> impl Strategy<Value = Value> {
    let near = |integer: i128| (-2..3_i128).prop_map(move |step| integer + step);
    let integer =
        prop_oneof![near(0), near(1 << 53), near(-(1 << 53)), near(1 << 63), near((1 << 64) - 3), near(-(1 << 63) + 2)];
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        integer.clone().prop_map(|n| u64::try_from(n).map_or_else(|_| json!(n as i64), |n| json!(n))),
        integer.prop_map(|n| json!(n as f64)),
        proptest::sample::select(vec![json!(-0.0), json!(0.5), json!(-1e300), json!(5e-324)]),
        proptest::sample::select(vec!["", "a", "ab", "b", "é", "\u{ffff}", "\u{10000}"]).prop_map(Value::from),
    ]
}

fn records() -> impl Strategy<Value = Vec<Fields>> {
    // What stands in a forged segment must not make a difference either.
    let value = prop_oneof![20 => value(), 1 => Just(json!([1])), 1 => Just(json!({"a": 1}))];
    let record = proptest::collection::vec((name(), value), 0..4);
    proptest::collection::vec(record.prop_map(|fields| Fields::from(fields.into_iter().collect::<Map<_, _>>())), 1..60)
}

fn expression() -> impl Strategy<Value = Expression> {
    use Operator::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
    let operator = proptest::sample::select(vec![Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual]);
    let leaf = prop_oneof![
        1 => name().prop_map(Expression::Exists),
        2 => (name(), proptest::collection::vec(value(), 1..4)).prop_map(|(name, values)| Expression::In(name, values)),
        6 => (name(), operator, value()).prop_map(|(name, operator, value)| Expression::Compare(name, operator, value)),
    ];
    leaf.prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Expression::Or),
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Expression::And),
            inner.prop_map(|operand| Expression::Not(Box::new(operand))),
        ]
    })
}

#[test]
fn a_field_index_selects_what_asking_each_record_finds() {
    let (selections, found) = (Cell::new(0), Cell::new(0));
    let expressions = proptest::collection::vec(expression(), 20);
    let result = runner(1_000).run(&(records(), expressions), |(records, expressions)| {
        let index = index(&records);
        for expression in expressions {
            let selected = expression.select(&index).unwrap();
            prop_assert_eq!(&selected, &matching(&expression, &records), "{}", expression);
            selections.set(selections.get() + 1);
            found.set(found.get() + usize::from(!selected.is_empty() && selected.len() < records.len() as u64));
        }
        Ok(())
    });
    result.unwrap();
    println!("figure field_index_selections = {} selections", selections.get());
    println!("figure field_index_selections_of_some_and_not_all = {} selections", found.get());
}

#[test]
fn few_and_many_records_are_found_alike() {
    let records: Vec<Fields> = (0..5_000).map(|n| fields(json!({"n": n * 7 % 5_000, "class": n % 3}))).collect();
    let index = index(&records);
    for text in ["n = 17", "n < 4", "n < 5", "n != 9", "n in (4999, 1, 0, 1)", "n >= 2500 and class = 1", "exists(n)"] {
        let expression = super::parser::parse(text).unwrap();
        assert_eq!(expression.select(&index).unwrap(), matching(&expression, &records), "{text}");
    }
}

#[test]
fn an_index_does_not_depend_on_the_number_of_threads() {
    let records: Vec<Fields> =
        (0..5_000).map(|n| fields(json!({"n": n % 71, "text": format!("{}", n % 997)}))).collect();
    let bytes = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let sections = pool.install(|| sections(&records));
        SECTIONS.map(|section| sections.bytes(section).unwrap().to_vec())
    };
    assert!(bytes(1) == bytes(3));
}

#[test]
fn a_record_that_cannot_be_read_keeps_an_index_from_being_made() {
    let fields = |n: u32| match n {
        2_500 => Err(Error::corrupt("there", None, "rot")),
        _ => Ok(fields(json!({"n": n}))),
    };
    let made = sections_of(Kind::Fields, 5_000, &|out: &mut SectionsWriter<'_>| build::write(5_000, &fields, out));
    assert!(matches!(made, Err(Error::Corrupt { .. })));
}

/// An index of these sections, as if they had been read from a file whose sums fit.
fn forged(records: u32, parts: &[Vec<u8>; 3]) -> Result<FieldIndex> {
    let write = |out: &mut SectionsWriter<'_>| {
        SECTIONS.iter().zip(parts).try_for_each(|(section, bytes)| out.section(*section, bytes))?;
        Ok(Counts { records: u64::from(records), ..Counts::default() })
    };
    FieldIndex::read(sections_of(Kind::Fields, records, &write)?)
}

#[test]
fn forged_indexes_are_refused_or_answer_with_records_that_there_are() {
    let (opened, refused) = (Cell::new(0), Cell::new(0));
    let damage = proptest::collection::vec((0..3_usize, any::<u32>(), any::<u8>(), 0..8_u8), 1..6);
    let expressions = proptest::collection::vec(expression(), 20);
    let result = runner(2_000).run(&(records(), damage, expressions), |(records, damage, expressions)| {
        let whole = sections(&records);
        let mut parts = SECTIONS.map(|section| whole.bytes(section).unwrap().to_vec());
        for (part, at, byte, how) in damage {
            let part = &mut parts[part];
            let at = at as usize % part.len().max(1);
            match how {
                0 => part.truncate(at),
                1 => part.push(byte),
                2 if at + 8 <= part.len() => part[at..at + 8].fill(byte),
                _ if at < part.len() => part[at] = byte,
                _ => {}
            }
        }
        match forged(records.len() as u32, &parts) {
            Ok(index) => {
                for expression in expressions {
                    match expression.select(&index) {
                        Ok(found) => prop_assert!(found.is_subset(&index.all())),
                        Err(Error::Corrupt { .. }) => refused.set(refused.get() + 1),
                        Err(other) => prop_assert!(false, "{}", other),
                    }
                }
                opened.set(opened.get() + 1);
            }
            Err(Error::Corrupt { .. }) => {}
            Err(other) => prop_assert!(false, "{}", other),
        }
        Ok(())
    });
    result.unwrap();
    assert!(opened.get() > 0 && refused.get() > 0);
    println!("figure forged_field_indexes_opened = {} indexes of 2000", opened.get());
    println!("figure forged_field_index_selections_refused = {} selections", refused.get());
}
