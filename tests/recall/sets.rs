//! Ten sets of vectors: real ones, as they are and changed; sounds in three views; drawn ones of the kinds that graphs
//! find hard. Queries are drawn as the records are, and are none of them. A set is made in full size or small; there is
//! none where what it is made of is not there.

use super::numbers::{Random, Rows, normalise, read_halves};
use otolith::{Database, Metric};
use rayon::prelude::*;
use std::collections::HashSet;
use std::path::Path;

const QUERIES: usize = 500;

/// Vectors, and others to ask by.
pub(super) struct Set {
    pub(super) name: &'static str,
    pub(super) metric: Metric,
    pub(super) records: Rows,
    pub(super) queries: Rows,
}

fn pick(full: bool, large: usize, small: usize) -> usize {
    if full { large } else { small }
}

/// Embeddings of sentences.
fn text_rows(full: bool) -> Option<(Rows, Rows)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors");
    let read = |name: &str| {
        let path = folder.join(name);
        read_halves(&path).inspect_err(|error| eprintln!("SKIPPED: {}: {error}", path.display())).ok()
    };
    let (records, queries) = (read("base.f16.npy")?, read("queries.f16.npy")?);
    Some((records.first(pick(full, usize::MAX, 6_000)), queries.first(pick(full, usize::MAX, QUERIES))))
}

pub(super) fn texts(full: bool) -> Option<Set> {
    let (records, queries) = text_rows(full)?;
    Some(Set { name: "texts", metric: Metric::Dot, records, queries })
}

pub(super) fn centred_texts(full: bool) -> Option<Set> {
    let (records, queries) = text_rows(full)?;
    let mean = records.mean();
    Some(Set {
        name: "centred_texts",
        metric: Metric::Cosine,
        records: records.minus(&mean),
        queries: queries.minus(&mean),
    })
}

pub(super) fn principal_texts(full: bool) -> Option<Set> {
    let Set { records, queries, .. } = centred_texts(full)?;
    let axes = records.principal_axes(64, &mut Random::new(3));
    Some(Set {
        name: "principal_texts",
        metric: Metric::L2,
        records: records.onto(&axes),
        queries: queries.onto(&axes),
    })
}

/// Rows that a view makes of each sound: so many of each, at equal distances, or its only one. `raw` for frames.
fn sound_rows(view: &str, each: usize) -> Option<Rows> {
    let Some(path) = std::env::var_os("OTOLITH_ESC50_DB") else {
        eprintln!("SKIPPED: rows of the view `{view}`: OTOLITH_ESC50_DB names no database");
        return None;
    };
    let clips = Database::open_read_only(path).unwrap().collection("clips").unwrap();
    let snapshot = clips.snapshot().unwrap();
    let entries: Vec<_> = snapshot.iter().collect();
    let rows = entries.par_iter().map(|entry| {
        let matrix = clips.apply_view(view, entry.matrix().unwrap().view()).unwrap();
        let step = (matrix.rows() / each).max(1);
        matrix.view().iter().step_by(step).take(each).flatten().copied().collect::<Vec<f32>>()
    });
    let values = rows.collect::<Vec<_>>().concat();
    Some(Rows::new(if view == "raw" { snapshot.schema().dim } else { clips.view(view).unwrap().dim }, values))
}

fn sounds(name: &'static str, view: &str, each: usize, metric: Metric, split: usize) -> Option<Set> {
    let (records, queries) = sound_rows(view, each)?.split(split);
    // Silent frames are all alike.
    let bits = |row: &[f32]| row.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
    let known: HashSet<Vec<u32>> = records.iter().map(bits).collect();
    let queries = queries.iter().filter(|row| !known.contains(&bits(row))).flatten().copied().collect();
    let queries = Rows::new(records.dim(), queries);
    Some(Set { name, metric, records, queries })
}

pub(super) fn log_mel_frames(full: bool) -> Option<Set> {
    sounds("log_mel_frames", "raw", pick(full, 25, 4), Metric::L2, pick(full, 101, 17))
}

pub(super) fn whitened_frames(full: bool) -> Option<Set> {
    sounds("whitened_frames", "white", pick(full, 25, 4), Metric::Cosine, pick(full, 101, 17))
}

pub(super) fn codes(_: bool) -> Option<Set> {
    sounds("codes", "codes", 1, Metric::Cosine, 5)
}

/// Draws records, and queries after them, each by `row`.
fn drawn(dim: usize, records: usize, mut row: impl FnMut() -> Vec<f32>) -> (Rows, Rows) {
    let mut draw = |count: usize| Rows::new(dim, (0..count).flat_map(|_| row()).collect());
    (draw(records), draw(QUERIES))
}

/// Rows without any structure.
pub(super) fn even(dim: usize, count: usize, seed: u64) -> (Rows, Rows) {
    let mut random = Random::new(seed);
    drawn(dim, count, || random.normals(dim))
}

pub(super) fn gaussian(full: bool) -> Option<Set> {
    let (records, queries) = even(32, pick(full, 50_000, 8_000), 11);
    Some(Set { name: "gaussian", metric: Metric::L2, records, queries })
}

/// Clusters of 200 about places that lie three times as far from each other as their members.
pub(super) fn clustered(dim: usize, count: usize, seed: u64) -> (Rows, Rows) {
    let mut random = Random::new(seed);
    let places: Vec<Vec<f32>> = (0..count.div_ceil(200)).map(|_| random.normals(dim)).collect();
    drawn(dim, count, || {
        let place = &places[random.below(places.len())];
        place.iter().map(|value| value + 0.33 * random.normal() as f32).collect()
    })
}

pub(super) fn clustered_gaussian(full: bool) -> Option<Set> {
    let (records, queries) = clustered(128, pick(full, 50_000, 8_000), 12);
    Some(Set { name: "clustered_gaussian", metric: Metric::L2, records, queries })
}

/// Directions alike, lengths log-normal (sigma 1.5).
pub(super) fn skewed(count: usize, seed: u64) -> (Rows, Rows) {
    let mut random = Random::new(seed);
    drawn(64, count, || {
        let length = (1.5 * random.normal()).exp() as f32;
        let mut row = random.normals(64);
        normalise(&mut row);
        row.iter_mut().for_each(|value| *value *= length);
        row
    })
}

pub(super) fn skewed_norms(full: bool) -> Option<Set> {
    let (records, queries) = skewed(pick(full, 50_000, 8_000), 13);
    Some(Set { name: "skewed_norms", metric: Metric::Dot, records, queries })
}

/// Rows of length one from clusters of unequal sizes, each with axes of its own along which its spread decays.
pub(super) fn decaying_clusters(full: bool) -> Option<Set> {
    const DIM: usize = 128;
    let (records, clusters) = (pick(full, 100_000, 8_000), pick(full, 2_000, 160));
    let mut random = Random::new(14);
    let mut spectrum: Vec<f32> = (0..DIM).map(|axis| (axis as f32 + 2.0).powf(-0.9)).collect();
    let sum: f32 = spectrum.iter().sum();
    spectrum.iter_mut().for_each(|share| *share = (*share / sum).sqrt());
    let scaled = |random: &mut Random| spectrum.iter().map(|share| share * random.normal() as f32).collect();
    let centres: Vec<Vec<f32>> = (0..clusters).map(|_| scaled(&mut random)).collect();
    let spreads: Vec<Vec<f32>> = (0..clusters)
        .map(|_| {
            let spread = 0.4 + 0.5 * random.uniform() as f32;
            spectrum.iter().map(|share| spread * share * (0.35 * random.normal() as f32).exp()).collect()
        })
        .collect();
    // The k-th cluster is drawn in proportion to k^-0.6.
    let mut shares: Vec<f64> = (1..=clusters).map(|rank| (rank as f64).powf(-0.6)).collect();
    (1..clusters).for_each(|at| shares[at] += shares[at - 1]);
    let axes = random.axes(DIM, DIM);
    let (records, queries) = drawn(DIM, records, || {
        let draw = random.uniform() * shares[clusters - 1];
        let cluster = shares.partition_point(|&share| share <= draw);
        let mut row: Vec<f32> = centres[cluster].clone();
        row.iter_mut().zip(&spreads[cluster]).for_each(|(value, spread)| *value += spread * random.normal() as f32);
        normalise(&mut row);
        row
    });
    let (records, queries) = (records.onto(&axes), queries.onto(&axes));
    Some(Set { name: "decaying_clusters", metric: Metric::Cosine, records, queries })
}
