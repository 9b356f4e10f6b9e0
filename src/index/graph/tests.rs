//! What only this room can see: who is next to whom.

use super::*;
use crate::matrix::StoredMatrix;
use crate::store::in_memory;
use std::borrow::Cow;

const DIM: usize = 24;

/// Numbers that look random: standard normal, nearly (the sum of twelve uniform ones).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0
    }

    fn uniform(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(1);
        (mixed(self.0 as u32) >> 40) as f32 / (1 << 24) as f32
    }
}

fn graph(metric: Metric, rows: &[Vec<f32>]) -> Graph {
    let count = rows.len() as u32;
    let read = |record: u32| Ok(StoredMatrix::trusted(1, DIM, Cow::Borrowed(rows[record as usize].as_slice())));
    let plain = Rows::new(Box::new(read), count, (0..count).collect(), DIM);
    in_memory(count, &|out: &mut SectionsWriter<'_>| Graph::build(&plain, metric, out)).unwrap()
}

/// How many nodes a walk along the links of the lowest layer can come to, from the node that searches begin at.
fn reachable(graph: &Graph) -> usize {
    let links: &[u32] = graph.table.sections.numbers(section::NEIGHBOURS).unwrap();
    let lists = Lists { links, degree: DEGREE };
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
    // Crowds of equal rows, of which each fills the lists of its own.
    let crowds: Vec<Vec<f32>> = (0..1_200).map(|number| vec![(number % 20 + 1) as f32 * 0.1; DIM]).collect();
    let zeros = vec![vec![0.0; DIM]; 300];
    for metric in [Metric::Dot, Metric::Cosine, Metric::L2] {
        for (name, rows) in [("skewed", &skewed), ("crowds", &crowds), ("zeros", &zeros)] {
            assert_eq!(reachable(&graph(metric, rows)), rows.len(), "{name} by {}", metric.name());
        }
    }
}
