//! Answers fused by reciprocal ranks, against the definition; and many queries at once, against one after the other.
#![allow(clippy::unwrap_used)]

use otolith::query::{Arm, Fusion, Hits, fuse, fuse_by, run_all, standard_scores};
use otolith::testing::store::vfs::MemoryVfs;
use otolith::{Collection, Database, Error, Matrix, Metric, Record, Schema};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

fn collection(records: usize) -> (Database, Collection) {
    let db = Database::options().vfs(Arc::new(MemoryVfs::default())).open("/fusion.otolith").unwrap();
    let collection = db.create_collection("c", Schema::new(4).metric(Metric::Dot)).unwrap();
    collection
        .upsert((0..records).map(|n| Record::new(format!("r{n}"), rows(n, 1 + n % 3)).field("n", n as f64)))
        .unwrap();
    (db, collection)
}

fn rows(seed: usize, rows: usize) -> Matrix {
    // Few different values, so that scores tie.
    let values = (0..rows * 4).map(|at| ((seed * 31 + at * 17) % 5) as f32 - 2.0);
    Matrix::from_rows(rows, 4, values.collect()).unwrap()
}

/// The fused order as it is defined.
fn naive(arms: &[(Hits, f64)], k: usize) -> Vec<(String, f64)> {
    let mut scores: BTreeMap<&str, f64> = BTreeMap::new();
    for (hits, weight) in arms {
        for (at, hit) in hits.iter().enumerate() {
            *scores.entry(&hit.id).or_default() += weight / (60.0 + (at + 1) as f64);
        }
    }
    let mut order: Vec<(String, f64)> = scores.into_iter().map(|(id, score)| (id.to_owned(), score)).collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1)); // stable: equal ones stay in order of their ids
    order.truncate(k);
    order
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn fused_hits_are_those_of_the_definition(
        records in 0usize..40, k in 0usize..30,
        arms in proptest::collection::vec((0usize..50, 1usize..4, 0usize..20, 0u8..4), 0..5),
    ) {
        let (_db, collection) = collection(records);
        let arms: Vec<(Hits, f64)> = arms
            .into_iter()
            .map(|(seed, count, k, weight)| {
                (collection.query(&rows(seed, count)).k(k).run().unwrap(), f64::from(weight) / 2.0)
            })
            .collect();
        let fused = fuse(arms.iter().map(|(hits, weight)| Arm::new(hits.clone(), *weight)), k).unwrap();
        let order: Vec<(String, f64)> = fused.iter().map(|hit| (hit.id.clone(), hit.score)).collect();
        prop_assert_eq!(order, naive(&arms, k));
        prop_assert!(fused.is_exact() && fused.certificates.len() == arms.len());
        for hit in &fused {
            let own = format!("r{}", hit.fields["n"].as_f64().unwrap());
            prop_assert_eq!(&own, &hit.id);
            for (stands, (hits, _)) in hit.arms.iter().zip(&arms) {
                let place = hits.iter().position(|other| other.id == hit.id);
                prop_assert_eq!(stands.as_ref().map(|stands| stands.rank), place.map(|at| at + 1));
                prop_assert_eq!(stands.as_ref().map(|stands| stands.score), place.map(|at| hits[at].score));
            }
        }
    }

    #[test]
    fn queries_run_together_give_the_answers_of_one_after_the_other(
        records in 1usize..60, queries in proptest::collection::vec((0usize..50, 1usize..4, 0usize..9, 0usize..40), 0..20),
    ) {
        let (_db, collection) = collection(records);
        let matrices: Vec<Matrix> = queries.iter().map(|(seed, count, _, _)| rows(*seed, *count)).collect();
        let ask = |at: usize| {
            let (_, _, k, least) = queries[at];
            let query = collection.query(&matrices[at]).k(k).filter(format!("n >= {least}"));
            if k == 8 { query.view("absent") } else { query }
        };
        let together = run_all((0..queries.len()).map(ask));
        prop_assert_eq!(together.len(), queries.len());
        for (at, answer) in together.into_iter().enumerate() {
            match (answer, ask(at).run()) {
                (Ok(one), Ok(other)) => {
                    let told = |hits: &Hits| hits.iter().map(|hit| (hit.id.clone(), hit.score.to_bits())).collect::<Vec<_>>();
                    prop_assert_eq!(told(&one), told(&other));
                    prop_assert_eq!(one.certificate.is_exact(), other.certificate.is_exact());
                }
                (one, other) => prop_assert_eq!(one.unwrap_err().to_string(), other.unwrap_err().to_string()),
            }
        }
    }
}

#[test]
fn a_weight_that_is_no_weight_is_refused_and_no_arms_find_nothing() {
    let (_db, collection) = collection(5);
    let hits = collection.query(&rows(1, 1)).run().unwrap();
    for weight in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(fuse([Arm::new(hits.clone(), weight)], 3), Err(Error::Invalid { .. })), "{weight}");
    }
    assert_eq!(fuse([hits], 3).unwrap().len(), 3);
    assert!(fuse(Vec::<Hits>::new(), 3).unwrap().is_empty());
}

#[test]
fn scores_are_added_in_standard_deviations() {
    let (_db, collection) = collection(9);
    let all = collection.query(&rows(3, 2)).k(9).run().unwrap();
    let few = collection.query(&rows(8, 1)).k(4).run().unwrap();
    let fused = fuse_by(Fusion::StandardScore, [Arm::new(all.clone(), 1.0), Arm::new(few.clone(), 0.5)], 9).unwrap();
    let standard = |hits: &Hits| standard_scores(&hits.iter().map(|hit| hit.score).collect::<Vec<f64>>());
    let (in_all, in_few) = (standard(&all), standard(&few));
    assert!(in_all.iter().sum::<f64>().abs() < 1e-9);
    assert!((in_all.iter().map(|score| score * score).sum::<f64>() / 9.0 - 1.0).abs() < 1e-9);
    let mut expected: Vec<(&str, f64)> = all
        .iter()
        .zip(&in_all)
        .map(|(hit, score)| {
            let place = few.iter().position(|other| other.id == hit.id).unwrap_or(3); // as the last of its list
            (hit.id.as_str(), score + 0.5 * in_few[place])
        })
        .collect();
    expected.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
    assert_eq!(fused.len(), 9);
    for (hit, (id, score)) in fused.iter().zip(expected) {
        assert!(hit.id == id && (hit.score - score).abs() < 1e-9, "{} {} for {id} {score}", hit.id, hit.score);
    }
    for same in [2.0, 0.1, 1e-320, -1e308, f64::MAX] {
        for count in 1..9 {
            assert_eq!(standard_scores(&vec![same; count]), vec![0.0; count], "{count} x {same}");
        }
    }
    let expected = standard_scores(&[-3.0, 1.0, 2.0]);
    for unit in [1e-300, 1e-160, 1e99, 1e160, 5e307] {
        let found = standard_scores(&[-3.0 * unit, unit, 2.0 * unit]);
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-12), "{unit}: {found:?}");
    }
    assert!(standard_scores(&[]).is_empty());
}
