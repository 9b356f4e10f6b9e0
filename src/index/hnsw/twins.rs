//! Rows that codes cannot tell apart share one node, that of the first of them. The others, its *twins*, are found
//! whenever it is.
//!
//! Among equal rows a graph knows no direction: every node would take the same few neighbours, and no walk would find
//! most of them.

use crate::index::sq8::{Sq8, power_of_two};
use std::collections::HashMap;
use std::ops::Range;
use xxhash_rust::xxh3::xxh3_128;

/// Which rows are twins of which node. Nodes are the first rows; behind them lie the twins of each in turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Twins<'a> {
    nodes: usize,
    /// Where the twins of each node begin among all twins, and the end; empty where there are none.
    starts: &'a [u64],
}

impl<'a> Twins<'a> {
    /// Takes the starts of so many rows, twins included, and checks them.
    ///
    /// # Errors
    /// What contradicts itself, in words.
    pub(super) fn new(starts: &'a [u64], rows: usize) -> Result<Twins<'a>, &'static str> {
        let Some(nodes) = starts.len().checked_sub(1) else { return Ok(Twins { nodes: rows, starts }) };
        let end = rows.checked_sub(nodes).map(|twins| twins as u64);
        match starts.first() == Some(&0) && starts.is_sorted() && starts.last().copied() == end {
            true => Ok(Twins { nodes, starts }),
            false => Err("twins of other rows"),
        }
    }

    /// Takes starts that [`Twins::new`] has checked before.
    pub(super) fn known(starts: &'a [u64], rows: usize) -> Twins<'a> {
        Twins { nodes: starts.len().checked_sub(1).unwrap_or(rows), starts }
    }

    /// Returns the number of nodes.
    pub(super) fn nodes(&self) -> usize {
        self.nodes
    }

    fn of(&self, node: usize) -> Range<usize> {
        if self.starts.is_empty() {
            return self.nodes..self.nodes;
        }
        self.nodes + self.starts[node] as usize..self.nodes + self.starts[node + 1] as usize
    }

    /// Returns where the twins of the first nodes end among all rows.
    pub(super) fn end(&self, nodes: usize) -> usize {
        self.nodes + self.starts.get(nodes).map_or(0, |&end| end as usize)
    }

    /// Appends the twins of the nodes in `rows`.
    pub(super) fn join(&self, rows: &mut Vec<u32>) {
        if !self.starts.is_empty() {
            for at in 0..rows.len() {
                rows.extend(self.of(rows[at] as usize).map(|row| row as u32));
            }
        }
    }

    /// Returns all rows with the nodes in another order, and the starts for that order.
    pub(super) fn in_order(&self, nodes: &[u32]) -> (Vec<u32>, Vec<u64>) {
        let (mut rows, mut starts) = (nodes.to_vec(), Vec::new());
        if !self.starts.is_empty() {
            starts.push(0);
            for &node in nodes {
                rows.extend(self.of(node as usize).map(|row| row as u32));
                starts.push((rows.len() - nodes.len()) as u64);
            }
        }
        (rows, starts)
    }
}

/// The rows that a graph is built of.
pub(super) struct Nodes<'a> {
    /// Codes of all rows, twins included.
    pub(super) codes: Sq8<'a>,
    /// The record that each row belongs to.
    pub(super) records: &'a [u32],
    pub(super) twins: Twins<'a>,
}

impl Nodes<'_> {
    /// Returns the number of nodes.
    pub(super) fn count(&self) -> usize {
        self.twins.nodes()
    }
}

/// Returns all rows, the nodes first, in their order, then their twins; and the starts of [`Twins`].
pub(super) fn find(codes: Sq8<'_>) -> (Vec<u32>, Vec<u64>) {
    let mut places: HashMap<(u128, u64), u32> = HashMap::with_capacity(codes.len());
    let (mut nodes, mut twins): (Vec<u32>, Vec<(u32, u32)>) = (Vec::with_capacity(codes.len()), Vec::new());
    for row in 0..codes.len() {
        let key = (xxh3_128(codes.row(row)), step(codes.entry(row).scale));
        let next = nodes.len() as u32;
        match *places.entry(key).or_insert(next) {
            node if node == next => nodes.push(row as u32),
            node => twins.push((node, row as u32)),
        }
    }
    if twins.is_empty() {
        return (nodes, Vec::new());
    }
    twins.sort_unstable();
    let count = nodes.len();
    let starts = (0..=count).map(|node| twins.partition_point(|twin| (twin.0 as usize) < node) as u64).collect();
    nodes.extend(twins.iter().map(|twin| twin.1));
    (nodes, starts)
}

/// Returns the step that a scale falls into: scales of one step differ by less than neighbouring codes of a number.
fn step(scale: f32) -> u64 {
    const STEPS: f64 = 256.0;
    let power = power_of_two(f64::from(scale));
    power.to_bits() | (f64::from(scale) / power * STEPS) as u64
}
