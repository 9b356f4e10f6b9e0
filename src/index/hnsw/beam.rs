//! Best-first search in one layer of a graph: it keeps a pool of the nearest nodes met so far, and looks next at the
//! neighbours of the nearest one whose neighbours it has not looked at (Malkov and Yashunin, *Efficient and robust
//! approximate nearest neighbor search using Hierarchical Navigable Small World graphs*, algorithm 2).

use crate::index::sq8::Sq8;
use crate::kernel::SignedCodes;

/// Which nodes a search has met: a byte each, which counts only if it holds the present stamp, so that forgetting them
/// all costs nothing but every 255th time.
#[derive(Debug, Default)]
struct Marks {
    stamps: Vec<u8>,
    stamp: u8,
}

impl Marks {
    fn forget(&mut self, nodes: usize) {
        if self.stamps.len() != nodes || self.stamp == u8::MAX {
            self.stamps.clear();
            self.stamps.resize(nodes, 0);
            self.stamp = 0;
        }
        self.stamp += 1;
    }

    /// Marks a node, and returns whether this is the first time.
    fn mark(&mut self, node: u32) -> bool {
        let stamp = &mut self.stamps[node as usize];
        std::mem::replace(stamp, self.stamp) != self.stamp
    }
}

/// A node met, and how near it is: larger is nearer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Near {
    pub(super) key: f32,
    pub(super) node: u32,
}

impl Near {
    /// Orders nearer nodes first, equally near ones by number.
    pub(super) fn order(&self, other: &Near) -> std::cmp::Ordering {
        other.key.total_cmp(&self.key).then(self.node.cmp(&other.node))
    }
}

/// Working memory of one search, kept for the next.
#[derive(Debug, Default)]
pub(super) struct Beam {
    marks: Marks,
    pool: Vec<Near>,
    /// Of each in the pool, whether its neighbours were looked at.
    left: Vec<bool>,
    fresh: Vec<u32>,
    /// Rows compared since this was made.
    pub(super) compared: u64,
}

/// The query that nodes are compared with, and their codes.
#[derive(Clone, Copy)]
pub(super) struct Probe<'a> {
    pub(super) codes: Sq8<'a>,
    pub(super) query: &'a SignedCodes,
    /// The value of one unit of the query's codes, and the unit of the keys.
    pub(super) scale: f32,
    pub(super) unit: f32,
    /// While a graph by inner product is built: the further coordinate that makes all rows equally long, of the nodes
    /// and of the query.
    pub(super) lift: Option<(&'a [f32], f32)>,
}

impl Probe<'_> {
    fn key(&self, row: usize, product: i64) -> f32 {
        let key = self.codes.value(row, product, self.scale, self.unit);
        match self.lift {
            None => key,
            Some((lifts, lift)) => key + lifts[row] * lift,
        }
    }

    pub(super) fn keys(&self, rows: &[u32], mut found: impl FnMut(Near)) {
        let (fours, rest) = rows.as_chunks::<4>();
        for nodes in fours {
            let products = self.query.dot4(nodes.map(|node| self.codes.row(node as usize)));
            for (&node, product) in nodes.iter().zip(products) {
                found(Near { key: self.key(node as usize, product), node });
            }
        }
        for &node in rest {
            found(Near { key: self.key(node as usize, self.query.dot(self.codes.row(node as usize))), node });
        }
    }
}

/// The neighbours of each node in one layer.
pub(super) trait Links {
    /// Returns the number of nodes of the layer.
    fn nodes(&self) -> usize;
    /// Returns the neighbours of a node.
    fn of(&self, node: u32) -> &[u32];
    /// Prefetches the list of a node's neighbours.
    fn prefetch(&self, _node: u32) {}
}

impl Beam {
    /// Returns the `ef` nearest nodes that a walk from `starts` meets, nearest first.
    pub(super) fn search(&mut self, links: &impl Links, probe: &Probe<'_>, starts: &[u32], ef: usize) -> &[Near] {
        self.marks.forget(links.nodes());
        self.pool.clear();
        self.left.clear();
        self.fresh.clear();
        self.fresh.extend(starts.iter().filter(|&&start| self.marks.mark(start)));
        self.take(probe, ef);
        let mut at = 0;
        while at < self.pool.len() {
            if self.left[at] {
                at += 1;
                continue;
            }
            self.left[at] = true;
            let node = self.pool[at].node;
            self.fresh.clear();
            for &next in links.of(node) {
                if self.marks.mark(next) {
                    probe.codes.prefetch(next as usize);
                    self.fresh.push(next);
                }
            }
            // Most likely the next to be looked at.
            if let Some(next) = self.pool.get(at + 1) {
                links.prefetch(next.node);
            }
            at = self.take(probe, ef).min(at + 1);
        }
        &self.pool
    }

    /// Returns the pool of the latest search, nearest first.
    pub(super) fn pool(&self) -> &[Near] {
        &self.pool
    }

    /// Compares the fresh nodes and puts the near ones into the pool; returns the first place that changed.
    fn take(&mut self, probe: &Probe<'_>, ef: usize) -> usize {
        let (pool, left) = (&mut self.pool, &mut self.left);
        self.compared += self.fresh.len() as u64;
        let mut first = usize::MAX;
        probe.keys(&self.fresh, |near| {
            if pool.len() >= ef {
                if pool.last().is_none_or(|last| near.order(last).is_gt()) {
                    return;
                }
                pool.pop();
                left.pop();
            }
            let place = pool.partition_point(|other| other.order(&near).is_lt());
            pool.insert(place, near);
            left.insert(place, false);
            first = first.min(place);
        });
        first
    }

    /// Goes from `start` to ever nearer neighbours, and returns the node that has none nearer. `row_of` gives each
    /// node's row.
    pub(super) fn climb(&mut self, links: &impl Links, probe: &Probe<'_>, row_of: &[u32], start: u32) -> u32 {
        let mut best = Near { key: f32::NEG_INFINITY, node: start };
        let (mut node, mut rows) = (start, Vec::with_capacity(64));
        probe.keys(&[row_of[start as usize]], |near| best.key = near.key);
        loop {
            let next = links.of(node);
            rows.clear();
            rows.extend(next.iter().map(|&next| row_of[next as usize]));
            rows.iter().for_each(|&row| probe.codes.prefetch(row as usize));
            self.compared += rows.len() as u64;
            let mut at = 0;
            probe.keys(&rows, |near| {
                let near = Near { key: near.key, node: next[at] };
                at += 1;
                if near.order(&best).is_lt() {
                    best = near;
                }
            });
            if best.node == node {
                return node;
            }
            node = best.node;
        }
    }
}
