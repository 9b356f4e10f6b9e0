//! Ten sets whose queries come from elsewhere than the records: what an index measured by its own records says nothing
//! of them. For candidates eight rows together are a record.

use super::numbers::{Random, Rows, normalise};
use super::sets::Set;
use otolith::Metric;

const DIM: usize = 48;
const COUNT: usize = 4_000;
const QUERIES: usize = 150;

/// Rows drawn one by one.
fn rows(dim: usize, count: usize, mut row: impl FnMut(usize) -> Vec<f32>) -> Rows {
    Rows::new(dim, (0..count).flat_map(&mut row).collect())
}

fn scaled(row: Vec<f32>, by: f64) -> Vec<f32> {
    row.into_iter().map(|value| (f64::from(value) * by) as f32).collect()
}

fn sum(a: &[f32], b: &[f32], by: f32) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a + by * b).collect()
}

fn positive(random: &mut Random) -> Vec<f32> {
    random.normals(DIM).into_iter().map(f32::abs).collect()
}

/// Clusters of a hundred.
fn clusters(random: &mut Random, count: usize, spread: f32) -> Rows {
    let places: Vec<Vec<f32>> = (0..count.div_ceil(100)).map(|_| random.normals(DIM)).collect();
    rows(DIM, count, |number| sum(&places[number % places.len()], &random.normals(DIM), spread))
}

/// Records of positive numbers, queries of negative ones.
pub(super) fn other_sign() -> Set {
    let mut random = Random::new(101);
    let records = rows(DIM, COUNT, |_| positive(&mut random));
    let queries = rows(DIM, QUERIES, |_| scaled(positive(&mut random), -1.0));
    Set { name: "other_sign", metric: Metric::Dot, records, queries }
}

/// Records in eight of the directions, nearly; queries that lie in others.
pub(super) fn other_plane() -> Set {
    let mut random = Random::new(102);
    let axes = random.axes(DIM, DIM);
    let within = |random: &mut Random, first: usize, axes: &[Vec<f32>]| {
        let mut row = random.normals(DIM).into_iter().map(|value| 0.02 * value).collect::<Vec<f32>>();
        for axis in &axes[first..first + 8] {
            row = sum(&row, axis, random.normal() as f32);
        }
        row
    };
    let records = rows(DIM, COUNT, |_| within(&mut random, 0, &axes));
    let queries = rows(DIM, QUERIES, |number| {
        // Half of them beside the plane of the records, half in quite another one.
        if number % 2 == 0 {
            let (inside, outside) = (within(&mut random, 0, &axes), within(&mut random, 8, &axes));
            sum(&inside, &outside, 0.7)
        } else {
            within(&mut random, 20, &axes)
        }
    });
    Set { name: "other_plane", metric: Metric::L2, records, queries }
}

/// As texts ask for pictures: each kind of vector in a cone of its own, and what they have in common along a few
/// directions.
pub(super) fn modality_gap() -> Set {
    let mut random = Random::new(103);
    let (of_records, of_queries) = (random.normals(DIM), random.normals(DIM));
    let shared = random.axes(12, DIM);
    let mut draw = |cone: &[f32], own: f32| {
        let mut row = scaled(cone.to_vec(), 0.9);
        row = sum(&row, &random.normals(DIM), own);
        for axis in &shared {
            row = sum(&row, axis, 1.5 * random.normal() as f32);
        }
        normalise(&mut row);
        row
    };
    let records = rows(DIM, COUNT, |_| draw(&of_records, 0.2));
    let queries = rows(DIM, QUERIES, |_| draw(&of_queries, 0.5));
    Set { name: "modality_gap", metric: Metric::Cosine, records, queries }
}

/// All but twenty records are alike; the queries are about the twenty.
pub(super) fn twenty_apart() -> Set {
    let mut random = Random::new(104);
    let place = scaled(random.normals(DIM), 6.0);
    let records = rows(DIM, COUNT, |number| match number % (COUNT / 20) {
        7 => sum(&place, &random.normals(DIM), 0.3),
        _ => random.normals(DIM),
    });
    let queries = rows(DIM, QUERIES, |_| sum(&place, &random.normals(DIM), 0.4));
    Set { name: "twenty_apart", metric: Metric::L2, records, queries }
}

/// Nearly all records are near-copies of a few; the queries are about the others.
pub(super) fn near_copies() -> Set {
    let mut random = Random::new(105);
    let places: Vec<Vec<f32>> = (0..15).map(|_| random.normals(DIM)).collect();
    let records = rows(DIM, COUNT, |number| match number % 40 {
        at @ 0..15 => sum(&places[at], &random.normals(DIM), 1e-4),
        at @ 15..38 => sum(&places[at % 15], &random.normals(DIM), 1e-3),
        _ => random.normals(DIM),
    });
    let queries = rows(DIM, QUERIES, |_| random.normals(DIM));
    Set { name: "near_copies", metric: Metric::L2, records, queries }
}

/// Lengths whose squares `f32` does not have: too small.
pub(super) fn tiny_norms() -> Set {
    let mut random = Random::new(106);
    let records = clusters(&mut random, COUNT, 0.4);
    let tiny = |rows_of: Rows| rows(DIM, rows_of.len(), |number| scaled(rows_of.row(number).to_vec(), 1e-25));
    let (records, queries) = (tiny(records), tiny(clusters(&mut random, QUERIES, 0.4)));
    Set { name: "tiny_norms", metric: Metric::Dot, records, queries }
}

/// Too large.
pub(super) fn huge_norms() -> Set {
    let mut random = Random::new(107);
    let records = clusters(&mut random, COUNT, 0.4);
    let huge = |rows_of: Rows| rows(DIM, rows_of.len(), |number| scaled(rows_of.row(number).to_vec(), 1e25));
    let (records, queries) = (huge(records), huge(clusters(&mut random, QUERIES, 0.4)));
    Set { name: "huge_norms", metric: Metric::Dot, records, queries }
}

/// All queries are one record and noise, from very little to more than there is of the record.
pub(super) fn around_one() -> Set {
    let mut random = Random::new(108);
    let records = clusters(&mut random, COUNT, 0.4);
    let one = records.row(17).to_vec();
    let queries = rows(DIM, QUERIES, |number| sum(&one, &random.normals(DIM), 0.02 * 1.04f32.powi(number as i32)));
    Set { name: "around_one", metric: Metric::Cosine, records, queries }
}

/// Queries of a single direction each, where records have all.
pub(super) fn one_hot() -> Set {
    let mut random = Random::new(109);
    let records = clusters(&mut random, COUNT, 0.4);
    let queries = rows(DIM, QUERIES, |number| {
        let mut row = vec![0.0; DIM];
        row[number % DIM] = if number % 2 == 0 { 1.0 } else { -1.0 };
        row[number * 7 % DIM] += (number / DIM) as f32;
        row
    });
    Set { name: "one_hot", metric: Metric::Cosine, records, queries }
}

/// Positive records of very unequal lengths, by inner product; negative queries, for which the shortest are the best.
pub(super) fn heavy_tails() -> Set {
    let mut random = Random::new(110);
    let records = rows(DIM, COUNT, |_| {
        let length = (1.2 * random.normal()).exp();
        scaled(positive(&mut random), length)
    });
    let queries = rows(DIM, QUERIES, |number| match number % 2 {
        0 => scaled(positive(&mut random), -1.0),
        _ => random.normals(DIM),
    });
    Set { name: "heavy_tails", metric: Metric::Dot, records, queries }
}
