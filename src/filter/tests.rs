//! Tests that an index selects what asking each record finds, and that no bytes make it panic.

use super::expression::{Expression, Ids, Operator, Subject};
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

/// Records whose ids are their numbers.
struct Named(Vec<String>);

impl Named {
    fn new(records: usize) -> Named {
        Named((0..records).map(|number| format!("{number}")).collect())
    }
}

impl Ids for Named {
    fn records(&self) -> u32 {
        self.0.len() as u32
    }

    fn find(&self, id: &str) -> Result<Option<u32>> {
        Ok(self.0.iter().position(|one| one == id).map(|at| at as u32))
    }

    fn id(&self, record: u32) -> Result<&str> {
        Ok(&self.0[record as usize])
    }
}

fn select(expression: &Expression, index: &FieldIndex, records: usize) -> Result<RoaringBitmap> {
    expression.select(&Named::new(records), Some(index))
}

fn matching(expression: &Expression, records: &[Fields]) -> RoaringBitmap {
    let passes = |(record, fields): &(u32, &Fields)| expression.matches(&record.to_string(), fields);
    (0..).zip(records).filter(passes).map(|(record, _)| record).collect()
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
    // Arrays and objects, which only a forged segment holds, must not make a difference either.
    let value = prop_oneof![20 => value(), 1 => Just(json!([1])), 1 => Just(json!({"a": 1}))];
    let record = proptest::collection::vec((name(), value), 0..4);
    proptest::collection::vec(record.prop_map(|fields| Fields::from(fields.into_iter().collect::<Map<_, _>>())), 1..60)
}

fn expression() -> impl Strategy<Value = Expression> {
    use Operator::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
    let operator = proptest::sample::select(vec![Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual]);
    let leaf = prop_oneof![
        1 => name().prop_map(Expression::Exists),
        2 => (name(), proptest::collection::vec(value(), 0..4))
            .prop_map(|(name, values)| Expression::any_of(Subject::Field(name), values)),
        6 => (name(), operator.clone(), value())
            .prop_map(|(name, operator, value)| Expression::Compare(Subject::Field(name), operator, value)),
        1 => proptest::collection::vec(0..70_u32, 0..80)
            .prop_map(|ids| Expression::any_of(Subject::Id, ids.iter().map(|id| id.to_string().into()).collect())),
        1 => (operator, 0..70_u32)
            .prop_map(|(operator, id)| Expression::Compare(Subject::Id, operator, id.to_string().into())),
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
            let selected = select(&expression, &index, records.len()).unwrap();
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
        let expression = super::parser::parse(text, &[]).unwrap();
        assert_eq!(select(&expression, &index, records.len()).unwrap(), matching(&expression, &records), "{text}");
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

/// Reads an index from these sections, as if they had been read from a file whose sums fit.
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
                    match select(&expression, &index, records.len()) {
                        Ok(found) => prop_assert!(found.max().is_none_or(|last| last < records.len() as u32)),
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
