//! Tests lists by themselves: forged ones are refused, rows of any length have lists, and skewed rows are spread over
//! them.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::matrix::StoredMatrix;
use crate::store::{in_memory, sections_of};
use proptest::prelude::*;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Returns rows around twelve middles; the first `short` of them are much shorter than the others.
fn numbers(count: usize, dim: usize, short: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut noise = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let middles: Vec<f32> = (0..12 * dim).map(|_| noise()).collect();
    let mut numbers = Vec::with_capacity(count * dim);
    for row in 0..count {
        let (length, middle) = (if row < short { 0.01 } else { 1.0 }, &middles[row % 12 * dim..][..dim]);
        numbers.extend(middle.iter().map(|middle| length * (middle + 0.4 * noise())));
    }
    numbers
}

fn rows<'a>(numbers: &'a [f32], dim: usize) -> Rows<'a> {
    let count = (numbers.len() / dim) as u32;
    let read =
        move |record: u32| Ok(StoredMatrix::trusted(1, dim, Cow::Borrowed(&numbers[record as usize * dim..][..dim])));
    Rows::new(Box::new(read), count, (0..count).collect(), dim)
}

fn lists(numbers: &[f32], dim: usize, metric: Metric) -> Ivf {
    let rows = rows(numbers, dim);
    in_memory(rows.records().len() as u32, &|out| Ivf::build(&rows, metric, &[], out)).unwrap()
}

fn near(lists: &Ivf, metric: Metric, row: &[f32], probes: usize) -> Vec<u32> {
    lists.ask(metric, row, probes).unwrap().positions(probes)
}

const METRICS: [Metric; 3] = [Metric::Dot, Metric::Cosine, Metric::L2];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_row_is_in_one_list_and_more_lists_hold_all_that_fewer_do(count in 0..300usize, dim in 1..20usize, metric in 0..3usize) {
        let (metric, numbers) = (METRICS[metric], numbers(count, dim, count / 2));
        let lists = lists(&numbers, dim, metric);
        let records: BTreeSet<u32> = lists.table.records().unwrap().iter().copied().collect();
        prop_assert_eq!(records, (0..count as u32).collect());
        let query = &self::numbers(1, dim, 0);
        let mut before = Vec::new();
        for probes in 0..=lists.halves.len() {
            let near = near(&lists, metric, query, probes);
            prop_assert!(near.starts_with(&before));
            before = near;
        }
        before.sort_unstable();
        prop_assert_eq!(&before, &(0..count as u32).collect::<Vec<_>>());
        prop_assert_eq!(near(&lists, metric, query, usize::MAX).len(), count);
        if let Some(all) = lists.recall.curve().entries().last() {
            prop_assert!(all.mean >= 0.999, "all lists, or enough of them: {}", all.mean);
        }
    }
}

#[test]
fn a_row_asked_for_is_in_the_nearest_list() {
    // By inner product other rows may be nearer to a row than it is itself.
    for metric in [Metric::Cosine, Metric::L2] {
        let numbers = numbers(2_000, 24, 0);
        let lists = lists(&numbers, 24, metric);
        let records = lists.table.records().unwrap();
        for (record, row) in (0..).zip(numbers.chunks(24)) {
            let near = near(&lists, metric, row, 1);
            assert!(near.iter().any(|&position| records[position as usize] == record), "{metric:?} {record}");
        }
    }
}

#[test]
fn many_short_rows_do_not_swallow_the_long_ones() {
    let numbers = numbers(3_000, 16, 2_700);
    for metric in METRICS {
        let lists = lists(&numbers, 16, metric);
        let longest = lists.table.sections.numbers::<u64>(section::LIST_STARTS).unwrap().windows(2);
        let longest = longest.map(|ends| ends[1] - ends[0]).max().unwrap();
        assert!(longest <= 1_500, "{metric:?}: {longest} of 3,000 rows in one list");
        let setting = lists.recall.curve().setting(10, 0.9).unwrap();
        let compared = lists.recall.curve().compared(setting);
        assert!(compared < 1_500.0, "{metric:?}: {compared} codes for a recall of 0.9");
    }
}

#[test]
fn rows_of_any_length_have_lists() {
    let dim = 127_488;
    for metric in [Metric::Cosine, Metric::Dot] {
        let numbers = numbers(60, dim, 0);
        let lists = lists(&numbers, dim, metric);
        assert!(lists.halves.len() > 4, "{}", lists.halves.len());
        let near = near(&lists, metric, &numbers[7 * dim..][..dim], 1);
        let records = lists.table.records().unwrap();
        assert!(near.iter().any(|&position| records[position as usize] == 7), "{metric:?}");
    }
}

#[test]
fn rows_of_extreme_or_equal_numbers_are_no_hindrance() {
    for value in [0.0, f32::MAX, -1e30, 1e-40] {
        for metric in METRICS {
            let lists = lists(&vec![value; 400 * 3], 3, metric);
            assert_eq!(near(&lists, metric, &[value; 3], usize::MAX).len(), 400, "{value} {metric:?}");
        }
    }
}

#[test]
fn forged_lists_are_refused() {
    let numbers = numbers(400, 8, 0);
    let original = lists(&numbers, 8, Metric::L2);
    let kinds = [
        section::CODES,
        section::CODE_ENTRIES,
        section::ORDER,
        section::LIST_STARTS,
        section::CENTROIDS,
        section::CURVE,
        section::QUESTIONS,
    ];
    let bytes = |kind| original.table.sections.bytes(kind).unwrap().to_vec();
    let counts = original.table.sections.counts();
    let forge = |of: u32, change: &dyn Fn(&mut Vec<u8>)| {
        let sections = sections_of(Kind::Lists, 400, &|out| {
            for kind in kinds {
                let mut bytes = bytes(kind);
                if kind == of {
                    change(&mut bytes);
                }
                out.section(kind, &bytes)?;
            }
            Ok(counts)
        });
        Ivf::read(sections.unwrap())
    };
    assert!(forge(0, &|_| ()).is_ok(), "what is not forged is taken");
    for kind in kinds {
        assert!(forge(kind, &|bytes| bytes.truncate(bytes.len() - 1)).is_err(), "{kind} cut");
        assert!(forge(kind, &|bytes| bytes.truncate(8)).is_err(), "{kind} cut down");
        assert!(forge(kind, &|bytes| bytes.extend([0; 8])).is_err(), "{kind} longer");
    }
    let last = bytes(section::LIST_STARTS).len() - 8;
    assert!(forge(section::LIST_STARTS, &|bytes| bytes.truncate(last)).is_err(), "a list less");
    assert!(forge(section::LIST_STARTS, &|bytes| bytes[8..16].fill(255)).is_err(), "a start beyond the end");
    assert!(forge(section::LIST_STARTS, &|bytes| bytes[0] = 1).is_err(), "rows in no list");
    assert!(forge(section::LIST_STARTS, &|bytes| bytes.clear()).is_err());
    assert!(forge(section::CENTROIDS, &|bytes| bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes())).is_err());
    assert!(forge(section::CURVE, &|bytes| bytes[24..32].fill(255)).is_err());
}
