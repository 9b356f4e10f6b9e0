//! Tests what only this room can see: which nodes are neighbours.

use super::*;
use crate::matrix::StoredMatrix;
use crate::store::in_memory;
use std::borrow::Cow;

const DIM: usize = 24;

/// Numbers that look random: nearly standard normal (the sum of twelve uniform ones).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0
    }

    fn uniform(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(1);
        (mixed(u64::from(self.0 as u32)) >> 40) as f32 / (1 << 24) as f32
    }
}

/// Returns the positions that a walk leads to, and how many rows it compared.
fn walk(graph: &Hnsw, query: &Sq8Query, efs: &[usize]) -> (Vec<u32>, u64) {
    let mut walk = graph.walk(query);
    let before = walk.beam.compared;
    let near = efs.iter().map(|&ef| walk.near(ef).unwrap()).last().unwrap();
    (near, walk.beam.compared - before)
}

fn graph(metric: Metric, rows: &[Vec<f32>]) -> Hnsw {
    let count = rows.len() as u32;
    let read = |record: u32| Ok(StoredMatrix::trusted(1, DIM, Cow::Borrowed(rows[record as usize].as_slice())));
    let plain = Rows::new(Box::new(read), count, (0..count).collect(), DIM);
    in_memory(count, &|out: &mut SectionsWriter<'_>| Hnsw::build(&plain, metric, &[], out)).unwrap()
}

/// Returns how many nodes can be reached along the links of the lowest layer, from the node that searches begin at.
fn reachable(graph: &Hnsw) -> usize {
    let links: &[u32] = graph.table.sections.numbers(section::NEIGHBOURS).unwrap();
    let lists = Neighbours { links, degree: DEGREE };
    let mut seen = vec![false; lists.nodes()];
    let mut open = vec![0];
    seen[0] = true;
    while let Some(node) = open.pop() {
        for &next in lists.of(node) {
            if !std::mem::replace(&mut seen[next as usize], true) {
                open.push(next);
            }
        }
    }
    seen.into_iter().filter(|seen| *seen).count()
}

#[test]
fn every_node_can_be_reached_however_unequal_the_rows_are() {
    let mut noise = Noise(0);
    let mut skewed: Vec<Vec<f32>> = (0..1_500)
        .map(|_| {
            let length = (1.5 * noise.next()).exp();
            (0..DIM).map(|_| length * noise.next()).collect()
        })
        .collect();
    skewed[17].iter_mut().for_each(|value| *value *= 1_000.0);
    // Crowds of equal rows: each crowd would fill the lists of its own rows.
    let crowds: Vec<Vec<f32>> = (0..1_200).map(|number| vec![(number % 20 + 1) as f32 * 0.1; DIM]).collect();
    let zeros = vec![vec![0.0; DIM]; 300];
    for metric in [Metric::Dot, Metric::Cosine, Metric::L2] {
        for (name, rows, nodes) in [("skewed", &skewed, 1_500), ("crowds", &crowds, 20), ("zeros", &zeros, 1)] {
            // Cosine does not tell crowds along one direction apart.
            let nodes = if metric == Metric::Cosine && name == "crowds" { 1 } else { nodes };
            let graph = graph(metric, rows);
            assert_eq!(reachable(&graph), nodes, "{name} by {}", metric.name());
            let every = walk(&graph, &Sq8Query::new(metric, &rows[3]), &[rows.len()]).0;
            assert_eq!(every, (0..rows.len() as u32).collect::<Vec<_>>(), "{name}: twins of all nodes");
        }
    }
}

#[test]
fn rows_that_codes_cannot_tell_apart_cost_one_comparison_together() {
    let mut noise = Noise(7);
    let places: Vec<Vec<f32>> = (0..30).map(|_| (0..DIM).map(|_| noise.next()).collect()).collect();
    for near in [0.0, 1e-6] {
        let rows: Vec<Vec<f32>> = (0..3_000)
            .map(|number| places[number % 30].iter().map(|value| value * (1.0 + near * noise.uniform())).collect())
            .collect();
        for metric in [Metric::Dot, Metric::Cosine, Metric::L2] {
            let graph = graph(metric, &rows);
            let nodes = graph.twins().unwrap().nodes();
            // Here and there a rounding tells almost equal rows apart.
            assert!(nodes == 30 || near > 0.0 && nodes <= 600, "{nodes} nodes by {}", metric.name());
            let (found, compared) = walk(&graph, &Sq8Query::new(metric, &places[4]), &[10]);
            assert!(compared <= nodes as u64 + 100, "{compared} rows compared");
            let records = graph.table.records().unwrap();
            let own = found.iter().filter(|&&position| records[position as usize] % 30 == 4).count();
            assert!(own == 100 || near > 0.0, "all hundred of them: {own}");
        }
    }
}

#[test]
fn a_walk_done_again_with_a_larger_width_finds_what_one_finds_at_once() {
    let mut noise = Noise(3);
    let rows: Vec<Vec<f32>> = (0..2_000).map(|_| (0..DIM).map(|_| noise.next()).collect()).collect();
    let graph = graph(Metric::L2, &rows);
    for _ in 0..50 {
        let query: Vec<f32> = (0..DIM).map(|_| noise.next()).collect();
        let query = Sq8Query::new(Metric::L2, &query);
        assert_eq!(walk(&graph, &query, &[10, 40, 80]).0, walk(&graph, &query, &[80]).0);
    }
}

#[test]
fn lengths_far_from_one_are_no_other_graph() {
    let mut noise = Noise(5);
    let rows: Vec<Vec<f32>> = (0..1_500).map(|_| (0..DIM).map(|_| noise.next()).collect()).collect();
    // Powers of two change no rounding. By L2 the squares have to be within the range of `f32` too.
    let powers = [(Metric::Dot, [-90, 90]), (Metric::Cosine, [-90, 90]), (Metric::L2, [-50, 50])];
    for (metric, powers) in powers {
        let links = |graph: &Hnsw| graph.table.sections.bytes(section::NEIGHBOURS).unwrap().to_vec();
        let usual = graph(metric, &rows);
        for power in powers {
            let times = |rows: &[f32]| rows.iter().map(|value| value * 2f32.powi(power)).collect::<Vec<f32>>();
            let scaled = graph(metric, &rows.iter().map(|row| times(row)).collect::<Vec<_>>());
            assert!(links(&usual) == links(&scaled), "{} times 2^{power}", metric.name());
            let (a, b) = (Sq8Query::new(metric, &rows[9]), Sq8Query::new(metric, &times(&rows[9])));
            assert_eq!(walk(&usual, &a, &[40]).0, walk(&scaled, &b, &[40]).0);
        }
    }
}
