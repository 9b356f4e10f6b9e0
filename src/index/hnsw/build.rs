//! Builds a graph: nodes are put into each layer in batches, each node of a batch linked to what a search among the
//! earlier ones finds, so that the graph is the same for any number of threads (Dobson and others, *Scaling Graph-Based
//! ANNS Algorithms to Billion-Size Datasets*, section 3). Neighbours are chosen so that none lies behind another as
//! seen from the node (Malkov and Yashunin, algorithm 4; the factor [`REACH`] is the alpha of Subramanya and others,
//! *DiskANN*).
//!
//! Nodes are numbered in the order in which they are put in, those of the higher layers first: a layer holds all nodes
//! below some number.

use super::beam::{Beam, Links, Near, Probe};
use crate::index::sq8::Sq8;
use crate::kernel::SignedCodes;
use rayon::prelude::*;

/// Neighbours of a node in the lowest layer.
pub(super) const DEGREE: usize = 32;
/// Neighbours of a node in the layers above.
pub(super) const UPPER_DEGREE: usize = 16;
/// One node in so many is in the next layer up, too.
pub(super) const SPARSER: u64 = 16;
/// Nodes that a search for neighbours keeps: at first, and when they are chosen again.
const WIDTH: usize = 64;
const SECOND_WIDTH: usize = 100;
/// A candidate lies behind a neighbour when its squared distance from it, times this, is less than that from the node.
/// Neighbours are chosen by the first factor, then by the second until there are as many as the degree.
const REACH: [f32; 2] = [1.0, 1.1];
/// Most neighbours that may gather at a node before it chooses among them.
const CROWD: usize = DEGREE + DEGREE / 2;
/// A batch has at most one node for so many that are in the layer already, and at most `BATCH`.
const BATCH_SHARE: usize = 16;
const BATCH: usize = 4_096;

/// A graph being built.
pub(super) struct Builder<'a> {
    /// Codes of the nodes, in a unit in which they are about as long as 1.
    codes: Sq8<'a>,
    /// Squared length of each row.
    squares: Vec<f32>,
    /// By inner product, the further coordinate that makes all rows equally long.
    lifts: Option<Vec<f32>>,
    /// From the lowest layer up.
    pub(super) layers: Vec<Layer>,
    /// 0, 1, 2, ..: a node of any layer is its own row here.
    rows: Vec<u32>,
}

/// One layer: the neighbours of the nodes put in so far.
pub(super) struct Layer {
    pub(super) links: Vec<Vec<u32>>,
    /// Nodes that will be in it.
    size: usize,
    degree: usize,
}

impl Links for Layer {
    fn nodes(&self) -> usize {
        self.size
    }

    fn of(&self, node: u32) -> &[u32] {
        &self.links[node as usize]
    }
}

/// Working memory of one thread.
#[derive(Default)]
struct Worker {
    beam: Beam,
    query: SignedCodes,
    other: SignedCodes,
}

impl<'a> Builder<'a> {
    /// Starts a graph without nodes. `sizes`: nodes of each layer, from the lowest up. `squares` and `lifts` as in
    /// [`Builder`].
    pub(super) fn new(codes: Sq8<'a>, squares: Vec<f32>, lifts: Option<Vec<f32>>, sizes: &[usize]) -> Builder<'a> {
        let layer = |(level, &size): (usize, &usize)| {
            let degree = if level == 0 { DEGREE } else { UPPER_DEGREE };
            Layer { links: Vec::with_capacity(size), size, degree }
        };
        let layers = sizes.iter().enumerate().map(layer).collect();
        Builder { codes, squares, lifts, layers, rows: (0..codes.len() as u32).collect() }
    }

    /// Puts the first `until` nodes into a layer; the layers above are complete.
    pub(super) fn insert(&mut self, level: usize, until: usize) {
        if self.layers[level].links.is_empty() {
            self.layers[level].links.push(Vec::new());
        }
        let mut at = self.layers[level].links.len();
        while at < until {
            let end = until.min(at + (at / BATCH_SHARE).clamp(1, BATCH));
            let nodes: Vec<u32> = (at as u32..end as u32).collect();
            let chosen = self.choose_for(level, &nodes, WIDTH);
            self.layers[level].links.resize(end, Vec::new());
            self.connect(level, &nodes, chosen);
            at = end;
        }
    }

    /// Chooses the neighbours of every node of a layer again, now that all are there.
    pub(super) fn refine(&mut self, level: usize) {
        let count = self.layers[level].links.len();
        for start in (0..count).step_by(BATCH) {
            let nodes: Vec<u32> = (start as u32..count.min(start + BATCH) as u32).collect();
            let chosen = self.choose_for(level, &nodes, SECOND_WIDTH);
            self.connect(level, &nodes, chosen);
        }
    }

    /// Cuts every list down to the degree of its layer.
    pub(super) fn thin(&mut self) {
        for level in 0..self.layers.len() {
            let layer = &self.layers[level];
            let thin = |worker: &mut Worker, node: usize| {
                let links = &layer.links[node];
                match links.len() > layer.degree {
                    true => self.choose(worker, node as u32, links, &[], layer.degree),
                    false => links.clone(),
                }
            };
            let thinned = (0..layer.links.len()).into_par_iter().map_init(Worker::default, thin).collect();
            self.layers[level].links = thinned;
        }
    }

    fn choose_for(&self, level: usize, nodes: &[u32], ef: usize) -> Vec<Vec<u32>> {
        let choose = |worker: &mut Worker, &node: &u32| {
            let layer = &self.layers[level];
            let mut beam = std::mem::take(&mut worker.beam);
            worker.query.set_row(self.codes.row(node as usize));
            let probe = self.probe(node, &worker.query);
            let start = self.descend(&mut beam, &probe, level);
            let near = beam.search(layer, &probe, &[start], ef);
            let known = layer.links.get(node as usize).map_or(&[][..], Vec::as_slice);
            let chosen = self.choose(worker, node, known, near, layer.degree);
            worker.beam = beam;
            chosen
        };
        nodes.par_iter().with_min_len(16).map_init(Worker::default, choose).collect()
    }

    /// Goes down the layers above, and returns the node where a search in a layer begins.
    fn descend(&self, beam: &mut Beam, probe: &Probe<'_>, level: usize) -> u32 {
        let above = self.layers[level + 1..].iter().rev();
        let start = above.fold(0, |start, layer| beam.climb(layer, probe, &self.rows, start));
        // A node of the layer above may not have been put into this one yet.
        if (start as usize) < self.layers[level].links.len() { start } else { 0 }
    }

    fn probe<'p>(&'p self, node: u32, query: &'p SignedCodes) -> Probe<'p> {
        let lift = self.lifts.as_ref().map(|lifts| (lifts.as_slice(), lifts[node as usize]));
        Probe { codes: self.codes, query, scale: self.codes.entry(node as usize).scale, unit: 1.0, lift }
    }

    /// Returns the squared distance of two rows, given the product of their codes.
    fn distance(&self, a: u32, b: u32, product: i64) -> f32 {
        let (a, b) = (a as usize, b as usize);
        let mut inner = product as f32 * (self.codes.entry(a).scale * self.codes.entry(b).scale);
        if let Some(lifts) = &self.lifts {
            inner += lifts[a] * lifts[b];
        }
        (self.squares[a] + self.squares[b] - 2.0 * inner).max(0.0)
    }

    fn distances(&self, query: &SignedCodes, node: u32, others: &[u32], mut found: impl FnMut(u32, f32) -> bool) {
        let (fours, rest) = others.as_chunks::<4>();
        for four in fours {
            let products = query.dot4(four.map(|other| self.codes.row(other as usize)));
            for (&other, product) in four.iter().zip(products) {
                if !found(other, self.distance(node, other, product)) {
                    return;
                }
            }
        }
        for &other in rest {
            let product = query.dot(self.codes.row(other as usize));
            if !found(other, self.distance(node, other, product)) {
                return;
            }
        }
    }

    /// Chooses at most `degree` neighbours among those that a node has and those that were found near it.
    fn choose(&self, worker: &mut Worker, node: u32, known: &[u32], near: &[Near], degree: usize) -> Vec<u32> {
        let mut all: Vec<u32> = known.iter().copied().chain(near.iter().map(|near| near.node)).collect();
        all.sort_unstable();
        all.dedup();
        all.retain(|&other| other != node);
        worker.query.set_row(self.codes.row(node as usize));
        let mut candidates: Vec<Near> = Vec::with_capacity(all.len());
        self.distances(&worker.query, node, &all, |node, distance| {
            candidates.push(Near { key: -distance, node });
            true
        });
        candidates.sort_unstable_by(Near::order);
        let mut chosen: Vec<u32> = Vec::with_capacity(degree);
        for reach in REACH {
            candidates.retain(|candidate| {
                if chosen.len() == degree {
                    return true;
                }
                worker.other.set_row(self.codes.row(candidate.node as usize));
                let mut behind = false;
                self.distances(&worker.other, candidate.node, &chosen, |_, distance| {
                    behind = reach * distance < -candidate.key;
                    !behind
                });
                if !behind {
                    chosen.push(candidate.node);
                }
                behind
            });
        }
        chosen
    }

    /// Links each node to its chosen neighbours, and these back to the node.
    fn connect(&mut self, level: usize, nodes: &[u32], chosen: Vec<Vec<u32>>) {
        let mut backward: Vec<(u32, u32)> =
            nodes.iter().zip(&chosen).flat_map(|(&node, links)| links.iter().map(move |&to| (to, node))).collect();
        for (&node, links) in nodes.iter().zip(chosen) {
            self.layers[level].links[node as usize] = links;
        }
        backward.par_sort_unstable();
        let layer = &self.layers[level];
        let crowd = layer.degree * CROWD / DEGREE;
        let groups: Vec<&[(u32, u32)]> = backward.chunk_by(|a, b| a.0 == b.0).collect();
        let joined: Vec<(u32, Vec<u32>)> = groups
            .par_iter()
            .with_min_len(16)
            .map_init(Worker::default, |worker, group| {
                let node = group[0].0;
                let mut links = layer.of(node).to_vec();
                links.extend(group.iter().map(|&(_, from)| from).filter(|from| !layer.of(node).contains(from)));
                if links.len() > crowd {
                    links = self.choose(worker, node, &links, &[], layer.degree);
                }
                (node, links)
            })
            .collect();
        for (node, links) in joined {
            self.layers[level].links[node as usize] = links;
        }
    }

    /// Returns the nodes of the lowest layer that are nearest to a node.
    pub(super) fn search<'b>(&self, beam: &'b mut Beam, query: &mut SignedCodes, node: u32, ef: usize) -> &'b [Near] {
        query.set_row(self.codes.row(node as usize));
        self.search_for(beam, query, self.codes.entry(node as usize).scale, ef)
    }

    /// Returns the nodes of the lowest layer that are nearest to a query's codes, one unit of which has the value
    /// `scale`.
    pub(super) fn search_for<'b>(&self, beam: &'b mut Beam, query: &SignedCodes, scale: f32, ef: usize) -> &'b [Near] {
        let probe = Probe { codes: self.codes, query, scale, unit: 1.0, lift: None };
        let start = self.descend(beam, &probe, 0);
        beam.search(&self.layers[0], &probe, &[start], ef)
    }
}
