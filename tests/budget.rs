//! Promise: a search with a budget of time stops when it is up, and what it says of its answer is true: the scores of
//! its hits, how many records it did not look at, and the most that any record outside the answer can score.

#![allow(clippy::unwrap_used, clippy::print_stdout)]
use otolith::query::Standing;
use otolith::testing::index::always_use_planes;
use otolith::testing::score::reference;
use otolith::{Collection, Database, Hits, IndexKind, Matrix, Metric, Record, Schema, run_all};
use std::collections::HashMap;
use std::time::{Duration, Instant};

const RECORDS: u64 = 600;

fn matrix(rows: usize, dim: usize, seed: u64) -> Matrix {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let values = (0..rows * dim).map(|at| next() / (1 + at % dim) as f32).collect();
    Matrix::from_rows(rows, dim, values).unwrap()
}

/// A collection, and how its records score for a query.
fn made(db: &Database, name: &str, metric: Metric, rows: usize, query: &Matrix) -> (Collection, HashMap<String, f64>) {
    let dim = query.dim();
    let collection = db.create_collection(name, Schema::new(dim).metric(metric)).unwrap();
    let records = (0..RECORDS).map(|n| Record::new(format!("r{n}"), matrix(rows, dim, n)).field("n", n as i64));
    collection.upsert(records).unwrap();
    db.flush().unwrap();
    let score = |n: u64| reference(metric, query.view(), matrix(rows, dim, n).view()).unwrap() + 0.0;
    (collection, (0..RECORDS).map(|n| (format!("r{n}"), score(n))).collect())
}

/// Checks all that an answer of `k` hits says of itself; returns how many records were not looked at.
fn check(hits: &Hits, k: usize, scores: &HashMap<String, f64>) -> usize {
    let certificate = &hits.certificate;
    let unsearched = certificate.unsearched.records;
    assert_eq!(certificate.bounded + certificate.scored + unsearched, scores.len(), "{certificate:?}");
    let excluded: usize = certificate.excluded.iter().map(|(_, left)| left.records).sum();
    assert_eq!(excluded, certificate.bounded);
    for hit in hits {
        assert_eq!(hit.score.to_bits(), scores[&hit.id].to_bits());
    }
    assert!(hits.windows(2).all(|pair| pair[0].score >= pair[1].score));
    let most = certificate.best_excluded.unwrap_or(f64::NEG_INFINITY).max(certificate.unsearched.most);
    let outside = scores.iter().filter(|(id, _)| hits.iter().all(|hit| hit.id != **id));
    assert!(outside.clone().all(|(_, score)| *score <= most), "{certificate:?}");
    if unsearched > 0 {
        assert_eq!(certificate.standing(), Standing::Stopped { unsearched });
        assert!(hits.proof().unwrap_err().to_string().contains("the time was up"));
    } else {
        let last = hits.last().unwrap().score;
        assert!(hits.len() == k && outside.clone().all(|(_, score)| *score <= last), "not the exact answer");
        assert!(certificate.is_exact() && hits.proof().is_ok());
    }
    unsearched
}

#[test]
fn what_is_found_in_time_is_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let db = Database::open(folder.path().join("db")).unwrap();
    // Plain vectors by their codes, matrices by rows, then by planes.
    let (mut cases, mut part) = (0, 0);
    for (rows, planes) in [(1, false), (20, false), (20, true)] {
        for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
            if planes {
                always_use_planes();
            }
            let query = matrix(rows, 128, 10_000);
            let name = format!("{}-{rows}-{planes}", metric.name());
            let (collection, scores) = made(&db, &name, metric, rows, &query);
            if planes || rows == 1 {
                collection.build_index("raw", IndexKind::Sq8).unwrap();
            }
            let ask = |budget: Duration| collection.query(&query).k(5).budget_time(budget).run().unwrap();
            let begun = Instant::now();
            assert_eq!(check(&ask(Duration::MAX), 5, &scores), 0);
            let whole = begun.elapsed();
            let nothing = ask(Duration::ZERO);
            assert_eq!((nothing.len(), check(&nothing, 5, &scores)), (0, RECORDS as usize));
            for step in 0..60 {
                let unsearched = check(&ask(whole * step / 60), 5, &scores);
                cases += 1;
                part += usize::from(unsearched > 0 && unsearched < RECORDS as usize);
            }
        }
    }
    println!("figure budgets = {cases} searches, {part} stopped on their way");
    assert!(part > 0, "no search was stopped on its way");
}

#[test]
fn filters_least_scores_indexes_and_batches_keep_to_a_budget() {
    let folder = tempfile::tempdir().unwrap();
    let db = Database::open(folder.path().join("db")).unwrap();
    let query = matrix(20, 64, 10_000);
    let (collection, scores) = made(&db, "matrices", Metric::Cosine, 20, &query);
    let even = |id: &str| id[1..].parse::<u64>().unwrap() % 2 == 0;
    let some: HashMap<String, f64> = scores.into_iter().filter(|(id, _)| even(id)).collect();
    let filter = (0..RECORDS).step_by(2).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let ask = || collection.query(&query).filter(format!("n in ({filter})")).k(5);
    check(&ask().budget_time(Duration::from_secs(60)).run().unwrap(), 5, &some);
    assert_eq!(check(&ask().budget_time(Duration::ZERO).run().unwrap(), 5, &some), 300);
    // No record reaches a cosine above one a row: whoever asks for more needs no time.
    let more = collection.query(&query).min_score(20.1).budget_time(Duration::ZERO).run().unwrap();
    assert!(more.is_empty() && more.certificate.is_exact());
    let none = collection.query(&query).k(0).budget_time(Duration::ZERO).run().unwrap();
    assert!(none.is_empty() && none.certificate.is_exact());
    // What an index promises holds only where there was time.
    collection.build_index("raw", IndexKind::Candidates).unwrap();
    let hits = collection.query(&query).recall(0.8).budget_time(Duration::ZERO).run().unwrap();
    assert_eq!(hits.certificate.standing().name(), "stopped");
    let batch = [Duration::ZERO, Duration::MAX].map(|budget| collection.query(&query).budget_time(budget));
    let answers = run_all(batch);
    let standing = |at: usize| answers[at].as_ref().unwrap().certificate.standing().name();
    assert_eq!((standing(0), standing(1)), ("stopped", "exact"));
}
