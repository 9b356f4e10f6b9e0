//! The recall that is asked for is the recall that is found.

use super::sets::{self, Set, skewed};
use super::{CHANCE, Hits, TARGETS, World, ids, nightly, recall, walked};
use otolith::Metric;

/// Asks for each target, and asks the graph itself where it says that it can.
fn check(set: &Set) {
    let Set { name, metric, records, queries } = set;
    let (world, info) = World::of(records, *metric);
    println!("figure records_{name} = {} records", records.len());
    println!("figure build_{name} = {:.2} s", info.built.unwrap().as_secs_f64());
    let exact = world.ask(queries, |query| query.k(10));
    assert!(exact.iter().all(|hits| hits.certificate.is_exact()));
    for target in TARGETS {
        let percent = format!("{:03.0}", 100.0 * target);
        let answers = world.ask(queries, |query| query.k(10).recall(target));
        let (found, walked) = (recall(&exact, &answers), walked(&answers));
        println!("figure recall_at_10_target_{percent}_{name} = {found:.4} share");
        println!("figure graph_used_target_{percent}_{name} = {walked:.3} share");
        assert!(found >= target - CHANCE, "{name}: {found} of {target}");
        answers.iter().for_each(|hits| claims_what_it_may(hits, target));
        // What the planner takes depends on the time things take; what the graph has promised does not.
        let Some(width) = info.curve.setting(10, target) else {
            println!("figure graph_width_target_{percent}_{name} = none");
            continue;
        };
        let found = recall(&exact, &world.ask(queries, |query| query.k(10).budget(width as usize)));
        println!("figure graph_width_target_{percent}_{name} = {width} rows");
        println!("figure graph_recall_at_10_target_{percent}_{name} = {found:.4} share");
        assert!(found >= target - CHANCE, "{name}, walk of width {width}: {found} of {target}");
    }
}

/// An answer is exact and says so, or says how good it is, which is good enough.
fn claims_what_it_may(hits: &Hits, target: f64) {
    match hits.certificate.approximation {
        None => assert!(hits.certificate.is_exact(), "{:?}", ids(hits)),
        Some(approximation) => {
            assert_eq!(approximation.target, Some(target));
            assert!(approximation.low >= target && approximation.high >= approximation.low, "{approximation:?}");
        }
    }
}

/// A test for each set, so that one can be asked for alone.
macro_rules! the_asked_recall_is_met_on {
    ($($set:ident),*) => {$(
        #[test]
        fn $set() {
            if let Some(set) = sets::$set(nightly()) {
                check(&set);
            }
        }
    )*};
}

the_asked_recall_is_met_on!(
    texts,
    centred_texts,
    principal_texts,
    log_mel_frames,
    whitened_frames,
    codes,
    gaussian,
    clustered_gaussian,
    skewed_norms,
    decaying_clusters
);

#[test]
fn one_vector_a_thousand_times_as_long_as_the_others_hides_none_of_them() {
    let (records, queries) = skewed(6_000, 15);
    let mut values: Vec<f32> = records.iter().flatten().copied().collect();
    let dim = records.dim();
    values[17 * dim..][..dim].iter_mut().for_each(|value| *value *= 1_000.0);
    let set = Set { name: "one_giant", metric: Metric::Dot, records: super::Rows::new(dim, values), queries };
    check(&set);
    let (world, _) = World::of(&set.records, set.metric);
    let exact = world.ask(&set.queries, |query| query.k(10));
    let found = recall(&exact, &world.ask(&set.queries, |query| query.k(10).budget(100)));
    println!("figure graph_recall_at_10_width_100_one_giant = {found:.4} share");
    assert!(found >= 0.95, "{found}");
}
