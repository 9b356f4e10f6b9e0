//! Filtered queries: the exact answer is the one of filtering all, an approximate one has the recall that was asked
//! for, and neither is ever shorter than what there is.

use super::numbers::Rows;
use super::sets::clustered;
use super::{CHANCE, Hits, TARGETS, World, id, ids, nightly, recall, record, walked};
use otolith::IndexKind;
use otolith::{Metric, Query};
use std::time::Instant;

const DIM: usize = 64;
/// Queries whose whole ranking is filtered by hand.
const BY_HAND: usize = 12;

/// A filter, and which records it keeps, by their numbers and first coordinates.
struct Case {
    name: &'static str,
    filter: &'static str,
    keeps: fn(usize, f32) -> bool,
}

const CASES: [Case; 8] = [
    Case { name: "none", filter: "part = 1000", keeps: |_, _| false },
    Case { name: "one_row", filter: "number = 4321", keeps: |number, _| number == 4_321 },
    Case { name: "0.1_percent", filter: "part = 3", keeps: |number, _| number % 1_000 == 3 },
    Case { name: "1_percent", filter: "part < 10", keeps: |number, _| number % 1_000 < 10 },
    Case { name: "10_percent", filter: "part < 100", keeps: |number, _| number % 1_000 < 100 },
    Case { name: "100_percent", filter: "part >= 0", keeps: |_, _| true },
    Case { name: "near", filter: "first > 0.5", keeps: |_, first| first > 0.5 },
    Case { name: "far", filter: "first < -0.5", keeps: |_, first| first < -0.5 },
];

/// Records that know their number, its last three digits and their first coordinate; queries of which that is large.
fn world() -> (World, Rows, Rows) {
    let (rows, queries) = clustered(DIM, if nightly() { 100_000 } else { 20_000 }, 31);
    let world = World::new(DIM, Metric::L2);
    world.load((0..rows.len()).map(|number| {
        let fields = record(number, &rows).field("number", number).field("part", number % 1_000);
        fields.field("first", f64::from(rows.row(number)[0]))
    }));
    world.index();
    let near = queries.iter().filter(|row| row[0] > 0.7).flatten().copied().collect();
    (world, rows, Rows::new(DIM, near))
}

/// What a filter or deletions leave of the records may lie elsewhere than a query looks.
#[test]
fn what_is_left_far_from_a_query_is_found_by_lists_as_well() {
    let (rows, queries) = clustered(DIM, 20_000, 31);
    let near: Vec<f32> = queries.iter().filter(|row| row[0] > 0.7).flatten().copied().collect();
    let queries = Rows::new(DIM, near);
    let world = World::new(DIM, Metric::L2);
    let is_near = |number: usize| rows.row(number)[0] > -0.2;
    world.load(
        (0..rows.len())
            .map(|number| record(number, &rows).field("near", is_near(number)).field("part", number % 1_000)),
    );
    world.records.build_index("raw", IndexKind::Ivf).unwrap();
    let check = |name: &str, filter: Option<&str>| {
        for (k, target) in [(1, 0.95), (10, 0.9), (10, 0.95), (10, 0.99)] {
            let exact = world.ask(&queries, |query| filtered(query.k(k), filter));
            let answers = world.ask(&queries, |query| filtered(query.k(k), filter).recall(target));
            let found = recall(&exact, &answers);
            let by_lists = answers.iter().filter(|hits| !hits.certificate.is_exact()).count() as f64;
            let (percent, share) = (format!("{:03.0}", 100.0 * target), by_lists / answers.len() as f64);
            println!("figure lists_recall_at_{k}_target_{percent}_{name} = {found:.4} share, {share:.2} by lists");
            assert!(found >= target - CHANCE, "{name}, {k}: {found} of {target}");
        }
    };
    check("all", None);
    for keep in [5, 10, 20, 50, 200] {
        check(&format!("far_and_{keep}_of_1000_near"), Some(&format!("near = false or part < {keep}")));
    }
    world.records.delete((0..rows.len()).filter(|&number| is_near(number) && number % 1_000 >= 20).map(id)).unwrap();
    check("after_deleting_what_is_near", None);
}

fn filtered<'q>(query: Query<'q>, filter: Option<&str>) -> Query<'q> {
    if let Some(filter) = filter { query.filter(filter) } else { query }
}

/// Microseconds that a query takes, one at a time, in the median; and the answers.
fn timed<'w>(world: &'w World, queries: &'w Rows, ask: impl Fn(Query<'w>) -> Query<'w>) -> (f64, Vec<Hits>) {
    let mut took = Vec::with_capacity(queries.len());
    let answers = queries.matrices().iter().map(|query| {
        let begun = Instant::now();
        let hits = ask(world.records.query(query)).run().unwrap();
        took.push(begun.elapsed().as_secs_f64() * 1e6);
        hits
    });
    let answers = answers.collect();
    took.sort_by(f64::total_cmp);
    (took[took.len() / 2], answers)
}

#[test]
fn filtered_answers_are_whole_when_exact_and_have_the_asked_recall_when_not() {
    let (world, rows, queries) = world();
    let (graph, _) = timed(&world, &queries, |query| query.k(10).recall(0.95));
    println!("figure filter_latency_no_filter = {graph:.0} us");
    let all: Vec<Hits> = world.ask(&queries.first(BY_HAND), |query| query.k(rows.len()));
    for Case { name, filter, keeps } in CASES {
        let kept: Vec<bool> = (0..rows.len()).map(|number| keeps(number, rows.row(number)[0])).collect();
        let matches = kept.iter().filter(|kept| **kept).count();
        // The first filters are answered by asking records; from then on there is an index of fields.
        (0..3).for_each(|_| drop(world.records.query(&queries.matrices()[0]).filter(filter).run().unwrap()));
        let (scan, exact) = timed(&world, &queries, |query| query.k(10).filter(filter));
        assert!(exact.iter().all(|hits| hits.len() == matches.min(10) && hits.certificate.is_exact()));
        for (whole, filtered) in all.iter().zip(&exact) {
            let by_hand = ids(whole).into_iter().filter(|id| kept[id.parse::<usize>().unwrap()]).take(10);
            assert_eq!(by_hand.collect::<Vec<_>>(), ids(filtered), "{name}");
        }
        for target in TARGETS {
            let percent = format!("{:03.0}", 100.0 * target);
            let (took, answers) = timed(&world, &queries, |query| query.k(10).filter(filter).recall(target));
            let found = recall(&exact, &answers);
            println!("figure filter_recall_at_10_target_{percent}_{name} = {found:.4} share");
            println!("figure filter_graph_used_target_{percent}_{name} = {:.3} share", walked(&answers));
            assert!(found >= target - CHANCE, "{name}: {found} of {target}");
            let right = answers.iter().flat_map(ids).all(|id| kept[id.parse::<usize>().unwrap()]);
            assert!(right, "{name}: a hit that the filter forbids");
            if target == 0.95 {
                println!("figure filter_latency_{name} = {took:.0} us");
                println!("figure filter_latency_{name}_exact = {scan:.0} us");
                println!("figure filter_latency_{name}_of_larger = {:.2} times", took / scan.max(graph));
            }
        }
    }
    let deleted: Vec<String> = (0..rows.len()).step_by(3).map(id).collect();
    world.records.delete(deleted.clone()).unwrap();
    for hits in world.ask(&queries, |query| query.k(50).filter("part < 100").recall(0.9)) {
        assert_eq!(hits.len(), 50);
        assert!(ids(&hits).iter().all(|id| id.parse::<usize>().unwrap() % 3 != 0), "a deleted record");
    }
}
