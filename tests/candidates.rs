//! Candidates for MaxSim: how much of the exact answer is among them, and that they say so themselves.
#![allow(clippy::unwrap_used)]

use otolith::index::Candidates;
use otolith::score::{Outcome, PreparedQuery, Scratch};
use otolith::{Error, Matrix, Metric};
use roaring::RoaringBitmap;

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
