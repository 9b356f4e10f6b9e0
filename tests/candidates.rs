//! Candidates for MaxSim: how much of the exact answer is among them, and that they say so themselves.
#![allow(clippy::unwrap_used)]

use otolith::IndexKind;
use otolith::query::Way;
use otolith::testing::index::Candidates;
use otolith::testing::score::{Outcome, PreparedQuery, Scratch};
use otolith::testing::store::vfs::MemoryVfs;
use otolith::{Collection, Database, Error, Hits, Matrix, Metric, Record, Schema};
use roaring::RoaringBitmap;
use std::sync::Arc;

/// Sounds of a kind: rows that wander among places of their own, from a stock shared by all.
struct Sounds {
    state: u64,
    stock: Vec<Vec<f32>>,
}

impl Sounds {
    fn new(dim: usize) -> Sounds {
        let mut sounds = Sounds { state: 7, stock: Vec::new() };
        sounds.stock = (0..200).map(|_| sounds.row(dim)).collect();
        sounds
    }

    fn noise(&mut self) -> f32 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (0..4).map(|part| (self.state >> (16 + 12 * part) & 0xfff) as f32 / 2048.0 - 1.0).sum()
    }

    fn row(&mut self, dim: usize) -> Vec<f32> {
        (0..dim).map(|_| self.noise()).collect()
    }

    fn sound(&mut self, rows: usize) -> Matrix {
        let dim = self.stock[0].len();
        let first = (self.noise().abs() * 40.0) as usize;
        let places: Vec<usize> = (0..12).map(|_| (first + (self.noise().abs() * 20.0) as usize) % 200).collect();
        let own = self.row(dim);
        let values = (0..rows).flat_map(|row| {
            let place = self.stock[places[row / 4 % 12]].clone();
            let noise = self.row(dim);
            (0..dim).map(move |k| (place[k], noise[k], k)).collect::<Vec<_>>()
        });
        let values: Vec<f32> = values.map(|(place, noise, k)| place + 0.8 * noise + 0.4 * own[k]).collect();
        Matrix::from_rows(rows, dim, values).unwrap()
    }
}

fn exact(metric: Metric, query: &Matrix, records: &[Matrix], k: usize) -> Vec<u32> {
    let prepared = PreparedQuery::new(metric, query.view()).unwrap();
    let mut scratch = Scratch::default();
    let mut scores: Vec<(f64, u32)> = (0..)
        .zip(records)
        .map(|(number, record)| match prepared.score(record.view(), f64::NEG_INFINITY, &mut scratch) {
            Outcome::Exact { score } => (score, number),
            Outcome::Below { .. } => unreachable!("every record has rows"),
        })
        .collect();
    scores.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    scores.into_iter().take(k).map(|(_, number)| number).collect()
}

#[test]
fn the_recall_that_was_measured_is_the_recall_of_fresh_queries() {
    for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
        let mut sounds = Sounds::new(32);
        let records: Vec<Matrix> = (0..600).map(|_| sounds.sound(48)).collect();
        let queries: Vec<Matrix> = (0..60).map(|_| sounds.sound(48)).collect();
        let candidates = Candidates::in_memory(&records, metric).unwrap();
        let curve = candidates.curve();
        for target in [0.8, 0.9, 0.95] {
            let setting = curve.setting(10, target).unwrap();
            assert!(setting < 600, "fewer than all");
            let found = queries.iter().map(|query| {
                let truth = exact(metric, query, &records, 10);
                let best = candidates.best(query.view(), setting as usize, None, &RoaringBitmap::new()).unwrap();
                truth.iter().filter(|record| best.contains(record)).count()
            });
            let recall = found.sum::<usize>() as f64 / 600.0;
            let name = metric.name();
            println!("figure candidates_{name}_for_recall_{:.0} = {setting} records", 100.0 * target);
            println!("figure candidates_{name}_recall_{:.0} = {recall:.4}", 100.0 * target);
            assert!(recall >= target - 0.01, "{metric:?}: {recall} of {target} with {setting}");
        }
    }
}

#[test]
fn a_filtered_search_ranks_what_is_allowed_as_the_whole_one_does() {
    let mut sounds = Sounds::new(16);
    let records: Vec<Matrix> = (0..200).map(|_| sounds.sound(20)).collect();
    let candidates = Candidates::in_memory(&records, Metric::Cosine).unwrap();
    let none = RoaringBitmap::new();
    let all = candidates.best(records[3].view(), 1000, None, &none).unwrap();
    assert_eq!((all.len(), all[0]), (200, 3), "a record is nearest to itself");
    for step in [2, 7, 50] {
        let allowed: RoaringBitmap = (0..300).step_by(step).collect();
        let deleted: RoaringBitmap = (0..200).step_by(14).collect();
        let keeps = |record: &u32| allowed.contains(*record) && !deleted.contains(*record);
        let expected: Vec<u32> = all.iter().copied().filter(keeps).collect();
        for count in [0, 1, 5, 200] {
            let found = candidates.best(records[3].view(), count, Some(&allowed), &deleted).unwrap();
            assert_eq!(found, expected[..count.min(expected.len())], "{step} {count}");
        }
    }
}

#[test]
fn no_records_no_rows_and_other_dimensions_are_answered() {
    let none = RoaringBitmap::new();
    let query = Matrix::from_vector(vec![1.0, 2.0]).unwrap();
    let empty = Matrix::from_rows(0, 2, vec![]).unwrap();
    let nothing = Candidates::in_memory(&[empty.clone(), empty.clone()], Metric::L2).unwrap();
    assert_eq!(nothing.best(query.view(), 5, None, &none).unwrap(), [] as [u32; 0]);
    assert!(Candidates::in_memory(&[], Metric::Dot).unwrap().curve().entries().is_empty());
    let one = Candidates::in_memory(&[empty.clone(), query.clone()], Metric::L2).unwrap();
    assert_eq!(one.best(query.view(), 5, None, &none).unwrap(), [1]);
    assert!(one.best(empty.view(), 5, None, &none).unwrap().is_empty());
    let other = Matrix::from_vector(vec![1.0]).unwrap();
    assert!(matches!(one.best(other.view(), 5, None, &none), Err(Error::Mismatch { .. })));
    assert!(matches!(Candidates::in_memory(&[query, other], Metric::Dot), Err(Error::Mismatch { .. })));
}

/// A collection of sounds, in two segments; some records are of one row or none.
fn collection(sounds: &mut Sounds, metric: Metric) -> (Database, Collection) {
    let db = Database::options().vfs(Arc::new(MemoryVfs::default())).open("/sounds.otolith").unwrap();
    let collection = db.create_collection("sounds", Schema::new(32).metric(metric)).unwrap();
    for part in 0..2 {
        let record = |n: usize| {
            let rows = if n % 200 == 7 { n / 200 % 2 } else { 48 };
            Record::new(format!("{part}-{n:03}"), sounds.sound(rows)).field("n", n as f64)
        };
        collection.upsert((0..500).map(record)).unwrap();
        db.flush().unwrap();
    }
    (db, collection)
}

/// The share of the exact answer in another; what is in both must have the same score.
fn share(found: &Hits, exact: &Hits) -> f64 {
    assert_eq!(found.len(), exact.len());
    let both = exact.iter().filter(|hit| {
        let again = found.iter().find(|other| other.id == hit.id);
        assert!(again.is_none_or(|other| other.score.to_bits() == hit.score.to_bits()));
        again.is_some()
    });
    both.count() as f64 / exact.len() as f64
}

#[test]
fn queries_that_ask_for_a_recall_get_it_from_candidates_and_their_certificate_says_so() {
    for metric in [Metric::Cosine, Metric::L2] {
        let mut sounds = Sounds::new(32);
        let (_db, collection) = collection(&mut sounds, metric);
        let queries: Vec<Matrix> = (0..60).map(|_| sounds.sound(48)).collect();
        let before = collection.query(&queries[0]).recall(0.9).run().unwrap();
        assert!(before.certificate.is_exact(), "without an index everything is scanned");
        let built = collection.build_index("raw", IndexKind::Candidates).unwrap();
        assert_eq!(built.iter().map(|info| (info.records, info.rows)).collect::<Vec<_>>(), [(500, 498); 2]);
        assert_eq!(collection.indexes("raw").unwrap().len(), 2);
        for (rows, target) in [(48, 0.8), (48, 0.9), (48, 0.95), (24, 0.9), (12, 0.9), (6, 0.9), (2, 0.9)] {
            let queries = queries.iter().map(|query| cut(query, rows));
            let mut by_rows = 0;
            let recalls = queries.map(|query| {
                let exact = collection.query(&query).run().unwrap();
                let found = collection.query(&query).recall(target).run().unwrap();
                if let Some(said) = found.certificate.approximation {
                    assert!(!found.certificate.is_exact() && said.target == Some(target));
                    assert!((target..=said.high).contains(&said.low) && said.high <= 1.0);
                }
                for segment in &found.plan.segments {
                    match segment.way {
                        Way::Candidates { count } => assert!(count < 250, "{}", found.plan),
                        // A query may by chance be less near than the hundred that the index asked with.
                        _ => by_rows += 1,
                    }
                }
                share(&found, &exact)
            });
            let recalls: Vec<f64> = recalls.collect();
            println!("figure candidates_query_{}_{rows}_rows_exact = {by_rows} of 120", metric.name());
            assert!(rows < 48 || by_rows <= 30, "{by_rows} of 120 segments by rows");
            let recall = recalls.iter().sum::<f64>() / 60.0;
            let (name, percent) = (metric.name(), 100.0 * target);
            println!("figure candidates_query_{name}_{rows}_rows_recall_{percent:.0} = {recall:.4}");
            assert!(recall >= target - 0.01, "{metric:?}: {recall} of {target}");
        }
    }
}

#[test]
fn damaged_records_are_named_and_others_take_their_places() {
    let vfs = MemoryVfs::default();
    let options = || Database::options().vfs(Arc::new(vfs.clone()));
    let mut sounds = Sounds::new(32);
    let records: Vec<Matrix> = (0..300).map(|_| sounds.sound(48)).collect();
    let db = options().open("/sounds.otolith").unwrap();
    let collection = db.create_collection("sounds", Schema::new(32)).unwrap();
    collection.upsert((0..).zip(&records).map(|(n, matrix)| Record::new(format!("{n:03}"), matrix.clone()))).unwrap();
    collection.build_index("raw", IndexKind::Candidates).unwrap();
    db.close().unwrap();
    let path = vfs.files().into_iter().find(|path| path.extension().is_some_and(|ending| ending == "oseg")).unwrap();
    let mut bytes = vfs.read(&path).unwrap();
    let start: Vec<u8> = records[7].values()[..4].iter().flat_map(|value| value.to_le_bytes()).collect();
    let at = bytes.windows(16).position(|window| window == start).unwrap();
    bytes[at] ^= 1;
    vfs.write(&path, &bytes).unwrap();
    let db = options().read_only().open("/sounds.otolith").unwrap();
    let hits = db.collection("sounds").unwrap().query(&records[7]).candidates(10).run().unwrap();
    assert_eq!(hits.plan.segments[0].way, Way::Candidates { count: 10 });
    assert_eq!(hits.len(), 10, "another record for each that is damaged");
    assert!(hits.unreadable.iter().any(|left| left.id.as_deref() == Some("007")));
    assert_eq!(hits.certificate.unread, hits.unreadable.len() as u64);
}

fn cut(query: &Matrix, rows: usize) -> Matrix {
    Matrix::from_rows(rows, query.dim(), query.values()[..rows * query.dim()].to_vec()).unwrap()
}

#[test]
fn filters_and_deletes_leave_candidates_as_good_and_answers_as_long() {
    let mut sounds = Sounds::new(32);
    let (_db, collection) = collection(&mut sounds, Metric::Cosine);
    collection.build_index("raw", IndexKind::Candidates).unwrap();
    let queries: Vec<Matrix> = (0..20).map(|_| sounds.sound(48)).collect();
    collection.delete((0..100).map(|n| format!("0-{:03}", 3 * n))).unwrap();
    // Of the first segment's 400 records and the second's 500: all, most, a part, and fewer than are wanted.
    for (filter, candidates, matching) in
        [(None, true, 896), (Some("n >= 100"), true, 0), (Some("n >= 350"), true, 0), (Some("n = 8"), false, 2)]
    {
        let mut recalls = 0.0;
        for query in &queries {
            let ask = || {
                let query = collection.query(query);
                match filter {
                    Some(filter) => query.filter(filter),
                    None => query,
                }
            };
            let (exact, found) = (ask().run().unwrap(), ask().recall(0.9).run().unwrap());
            assert!(exact.certificate.is_exact());
            assert_eq!(!found.certificate.is_exact(), candidates, "{}", found.plan);
            recalls += share(&found, &exact);
            let all = ask().recall(0.9).k(10_000).run().unwrap();
            assert!(all.certificate.is_exact() && (matching == 0 || all.len() == matching), "{}", all.len());
        }
        let recall = recalls / queries.len() as f64;
        println!("figure candidates_query_filtered_recall_90 = {recall:.4}");
        assert!(recall >= 0.89, "{filter:?}: {recall}");
    }
}

#[test]
fn queries_that_candidates_were_not_measured_for_are_answered_exactly() {
    let mut sounds = Sounds::new(32);
    let (_db, collection) = collection(&mut sounds, Metric::Dot);
    collection.build_index("raw", IndexKind::Candidates).unwrap();
    let query = sounds.sound(48);
    let ask = || collection.query(&query);
    let (few, one) = (cut(&query, 2), cut(&query, 1));
    for (query, why) in [
        (collection.query(&one).recall(0.9), "rows of many records"),
        (ask().recall(0.9).k(101), "no number of candidates"),
        (ask().recall(0.9).min_score(1.0), "above a score"),
        (ask().recall(0.9).exact(), "exact"),
        (ask().candidates(300), "half of the records"),
    ] {
        let hits = query.run().unwrap();
        assert!(hits.certificate.is_exact());
        assert!(hits.plan.segments.iter().all(|part| part.why.contains(why)), "{} for {why}", hits.plan);
    }
    let by_hand = ask().candidates(50).run().unwrap();
    assert_eq!(by_hand.plan.segments[1].way, Way::Candidates { count: 50 });
    let said = by_hand.certificate.approximation.unwrap();
    assert!(said.target.is_none() && said.low > 0.5, "{said:?}");
    let short = collection.query(&few).recall(0.9).run().unwrap().certificate;
    assert!(
        short.approximation.is_none_or(|said| said.low == 0.9),
        "what pieces of records have shown, and no more: {short:?}"
    );
    let unsure = collection.query(&few).candidates(50).run().unwrap().certificate.approximation.unwrap();
    assert_eq!((unsure.low, unsure.high), (0.0, 1.0));
}

#[test]
fn an_index_of_a_kind_that_does_not_fit_is_refused_with_the_one_that_does() {
    let db = Database::options().vfs(Arc::new(MemoryVfs::default())).open("/kinds.otolith").unwrap();
    let make = |name: &str, rows: usize, count: usize| {
        let collection = db.create_collection(name, Schema::new(4)).unwrap();
        let record = |n: usize| Matrix::from_rows(rows, 4, (0..rows * 4).map(|at| (n * 7 + at * 3) as f32).collect());
        collection.upsert((0..count).map(|n| Record::auto(record(n).unwrap()))).unwrap();
        collection
    };
    let (vectors, sounds, empty) = (make("vectors", 1, 300), make("sounds", 3, 300), make("empty", 0, 300));
    let refused = |collection: &Collection, kind| collection.build_index("raw", kind).unwrap_err().to_string();
    assert!(refused(&vectors, IndexKind::Candidates).contains("build hnsw"));
    assert!(refused(&sounds, IndexKind::Hnsw).contains("build candidates"));
    assert!(vectors.build_index("raw", IndexKind::Hnsw).unwrap().is_empty(), "too few to be worth it");
    assert!(empty.build_index("raw", IndexKind::Hnsw).unwrap().is_empty());
    assert!(make("few", 3, 100).build_index("raw", IndexKind::Candidates).unwrap().is_empty());
}
