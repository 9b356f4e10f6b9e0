//! Recall while records come and go: deleted, replaced, compacted, in several segments, in the log, of no row and of
//! two.

use super::numbers::{Random, Rows};
use super::sets::{clustered, even};
use super::{CHANCE, Hits, TARGETS, World, id, ids, recall, record, walked};
use otolith::IndexKind;
use otolith::{Matrix, Metric, Query, Record};
use std::collections::BTreeSet;

const DIM: usize = 64;
const COUNT: usize = 6_000;
const ROUNDS: usize = 20;
/// Rows kept by a walk when a changed graph is compared with a fresh one.
const WIDTH: usize = 40;

fn ten(query: Query<'_>) -> Query<'_> {
    query.k(10)
}

#[test]
fn twenty_rounds_of_deleting_and_inserting_leave_a_graph_and_files_as_good_as_new() {
    // Enough for every round to put other vectors in.
    let (pool, queries) = even(DIM, COUNT * 7, 21);
    let (world, _) = World::of(&pool.first(COUNT), Metric::L2);
    let mut random = Random::new(22);
    // Which row of the pool each record is.
    let mut now: Vec<usize> = (0..COUNT).collect();
    let mut next = COUNT;
    for round in 0..ROUNDS {
        let mut changed = BTreeSet::new();
        while changed.len() < COUNT * 3 / 10 {
            changed.insert(random.below(COUNT));
        }
        assert_eq!(world.records.delete(changed.iter().map(|&number| id(number))).unwrap(), changed.len() as u64);
        let renewed = changed.iter().map(|&number| {
            now[number] = next;
            next += 1;
            Record::new(id(number), pool.matrix(now[number]))
        });
        world.records.upsert(renewed.collect::<Vec<_>>()).unwrap();
        if round % 5 == 4 {
            world.db.flush().unwrap();
            let exact = world.ask(&queries, ten);
            let answers = world.ask(&queries, |query| ten(query).recall(0.95));
            let (found, walked) = (recall(&exact, &answers), walked(&answers));
            println!("figure recall_at_10_target_095_after_round_{} = {found:.4} share", round + 1);
            println!("figure graph_used_target_095_after_round_{} = {walked:.3} share", round + 1);
            assert!(found >= 0.95 - CHANCE, "round {round}: {found}");
        }
    }
    assert!(!world.records.indexes("raw").unwrap().is_empty());
    assert!(world.db.compact().unwrap().finished);
    let indexes = world.records.indexes("raw").unwrap();
    assert_eq!((indexes.len(), indexes[0].rows), (1, COUNT), "compaction built it again");

    let values = now.iter().flat_map(|&row| pool.row(row).iter().copied()).collect();
    let (fresh, _) = World::of(&Rows::new(DIM, values), Metric::L2);
    let exact = fresh.ask(&queries, ten);
    assert_eq!(recall(&exact, &world.ask(&queries, ten)), 1.0, "the same records");
    let [of_fresh, of_changed] =
        [&fresh, &world].map(|world| recall(&exact, &world.ask(&queries, |query| ten(query).ef(WIDTH))));
    println!("figure graph_recall_at_10_fresh = {of_fresh:.4} share");
    println!("figure graph_recall_at_10_after_rounds = {of_changed:.4} share");
    assert!(of_changed >= of_fresh - CHANCE, "{of_changed}, fresh {of_fresh}");
    // The files of a generation go when the second one after it is there.
    for world in [&fresh, &world] {
        world.records.upsert([record(0, &queries)]).unwrap();
        world.db.flush().unwrap();
    }
    let [of_fresh, of_changed] = [&fresh, &world].map(|world| world.db.stat().unwrap().bytes());
    let ratio = of_changed as f64 / of_fresh as f64;
    println!("figure bytes_after_rounds = {ratio:.3} of a fresh build");
    assert!(ratio <= 1.2, "{of_changed} bytes, fresh {of_fresh}");
}

#[test]
fn a_compaction_builds_again_the_indexes_of_each_view_that_had_one_unless_it_is_stopped() {
    let (rows, _) = clustered(16, 4_000, 23);
    let build = || {
        let (world, _) = World::of(&rows.first(2_000), Metric::Cosine);
        let normalised = otolith::View::new([otolith::pipeline::Step::Normalise]).metric(Metric::L2);
        world.records.create_view("unit", &normalised).unwrap();
        world.records.create_view("other", &normalised).unwrap();
        world.records.build_index("unit", IndexKind::Hnsw).unwrap();
        world.load((2_000..4_000).map(|number| record(number, &rows)));
        world
    };
    let indexed = |world: &World, view: &str| -> Vec<usize> {
        world.records.indexes(view).unwrap().iter().map(|info| info.rows).collect()
    };
    let world = build();
    assert!(world.db.compact().unwrap().finished);
    assert_eq!(indexed(&world, "raw"), [4_000]);
    assert_eq!(indexed(&world, "unit"), [4_000]);
    assert!(indexed(&world, "other").is_empty(), "there was none");
    let world = build();
    world.db.compact_while(&|| false).unwrap();
    assert_eq!(indexed(&world, "raw"), [2_000], "nothing was rewritten, and nothing built");
}

/// Three segments, two of them with a graph, records of no row and of two among them, a tenth deleted, a fifth replaced
/// since, and 300 in the log. Gives the numbers of those deleted.
fn mixed(pool: &Rows) -> (World, BTreeSet<usize>) {
    let world = World::new(DIM, Metric::Cosine);
    let with_rows = |number: usize| match number % 50 {
        7 => Record::new(id(number), Matrix::from_rows(0, DIM, vec![]).unwrap()),
        8 => {
            let values = [pool.row(number), pool.row(number + 1)].concat();
            Record::new(id(number), Matrix::from_rows(2, DIM, values).unwrap())
        }
        _ => record(number, pool),
    };
    world.load((0..3_000).map(with_rows));
    world.load((3_000..6_000).map(with_rows));
    world.index();
    world.load((6_000..6_500).map(with_rows));
    assert_eq!(world.records.indexes("raw").unwrap().len(), 2);
    let deleted: BTreeSet<usize> = (0..6_500).step_by(10).collect();
    world.records.delete(deleted.iter().map(|&number| id(number))).unwrap();
    // Replaced and new ones, in the log.
    world.records.upsert((0..100).map(|number| Record::new(id(5 * number + 1), pool.matrix(6_500 + number)))).unwrap();
    world.records.upsert((6_600..6_800).map(with_rows)).unwrap();
    (world, deleted)
}

#[test]
fn any_number_of_hits_is_found_across_segments_log_and_records_of_other_sizes() {
    let (pool, queries) = clustered(DIM, 7_000, 24);
    let queries = queries.first(200);
    let (world, deleted) = mixed(&pool);
    let deleted: BTreeSet<String> = deleted.into_iter().map(id).collect();
    let stays = |answers: &[Hits]| answers.iter().flat_map(ids).all(|id| !deleted.contains(id));
    for k in [1, 10, 100, 1_000] {
        let exact = world.ask(&queries, |query| query.k(k));
        assert!(exact.iter().all(|hits| hits.len() == k) && stays(&exact));
        for target in TARGETS {
            let answers = world.ask(&queries, |query| query.k(k).recall(target));
            let (found, percent) = (recall(&exact, &answers), format!("{:03.0}", 100.0 * target));
            println!("figure recall_at_{k}_target_{percent}_mixed = {found:.4} share");
            println!("figure graph_used_at_{k}_target_{percent}_mixed = {:.3} share", walked(&answers));
            assert!(found >= target - CHANCE, "{found} of {target} for {k}");
            assert!(stays(&answers), "a deleted record came back");
        }
    }
    for (number, query) in exact_scores(&world, &queries) {
        let least = query[19].score;
        let ask = || world.records.query(&queries.matrices()[number]).min_score(least).recall(0.9);
        let above = query.iter().filter(|hit| hit.score >= least).count();
        assert!(above >= 20);
        assert_eq!(ids(&ask().run().unwrap()), ids(&query)[..above], "every one at or above the score");
        let both = ask().k(5).run().unwrap();
        assert_eq!(both.len(), 5);
        assert!(both.iter().all(|hit| hit.score >= least));
    }
}

/// The best thousand of some queries.
fn exact_scores(world: &World, queries: &Rows) -> Vec<(usize, Hits)> {
    (0..20).map(|number| (number, world.records.query(&queries.matrices()[number]).k(1_000).run().unwrap())).collect()
}

#[test]
fn a_record_of_two_rows_is_found_beside_a_graph_and_one_of_none_never() {
    let (pool, queries) = clustered(DIM, 7_000, 24);
    let (world, _) = mixed(&pool);
    for number in (8..6_000).step_by(50) {
        // The row of the next record, slightly off, so that both match it best.
        let mut row = pool.row(number).to_vec();
        row[0] += 1e-3;
        let query = Matrix::from_vector(row).unwrap();
        let hits = world.records.query(&query).k(1).recall(0.95).run().unwrap();
        assert_eq!(hits[0].id, id(number));
    }
    let all = world.records.query(&queries.matrices()[0]).k(10_000).recall(0.95).run().unwrap();
    let with_rows = world.records.snapshot().unwrap().iter().filter(|entry| entry.rows().unwrap() > 0).count();
    assert_eq!(all.len(), with_rows, "all that have rows");
}
