//! Finishes a graph once all nodes are in it: makes every node reachable, and orders the nodes so that neighbours lie
//! near each other.

use super::beam::{Beam, Near};
use super::build::{Builder, DEGREE};
use crate::kernel::SignedCodes;

/// Nodes among which one is sought that can take an orphan without giving up a neighbour.
const HOSTS: usize = 64;

/// Makes every node of the lowest layer reachable from node 0: each that no walk leads to, an *orphan*, becomes a
/// neighbour of the nearest node that a walk does lead to. Returns how many there were. (Graphs over unnormalised inner
/// products lose nodes otherwise.)
pub(super) fn link_orphans(builder: &mut Builder<'_>) -> usize {
    let count = builder.layers[0].links.len();
    let mut reached = vec![false; count];
    let mut orphans = 0;
    reach(builder, 0, &mut reached);
    let (mut beam, mut query) = (Beam::default(), SignedCodes::default());
    for orphan in 0..count as u32 {
        if reached[orphan as usize] {
            continue;
        }
        orphans += 1;
        let mut near: Vec<Near> = builder.search(&mut beam, &mut query, orphan, HOSTS).to_vec();
        near.retain(|near| reached[near.node as usize]);
        let links = &mut builder.layers[0].links;
        let roomy = |near: &&Near| links[near.node as usize].len() < DEGREE;
        let host = near.iter().find(roomy).or(near.first()).map_or(0, |near| near.node) as usize;
        if links[host].len() >= DEGREE
            && let Some(given_up) = links[host].pop()
        {
            // The neighbour given up is now reached through the orphan, whose own last neighbour no walk needs.
            let own = &mut links[orphan as usize];
            own.retain(|&other| other != given_up);
            own.truncate(DEGREE - 1);
            own.push(given_up);
        }
        links[host].push(orphan);
        reach(builder, orphan, &mut reached);
    }
    orphans
}

/// Marks all nodes that can be reached from a node.
fn reach(builder: &Builder<'_>, from: u32, reached: &mut [bool]) {
    let mut open = vec![from];
    reached[from as usize] = true;
    while let Some(node) = open.pop() {
        for &next in &builder.layers[0].links[node as usize] {
            if !std::mem::replace(&mut reached[next as usize], true) {
                open.push(next);
            }
        }
    }
}

/// Returns the nodes in an order in which each comes soon after one of its neighbours: breadth first, from node 0.
pub(super) fn walk_order(links: &[Vec<u32>]) -> Vec<u32> {
    let (mut order, mut seen) = (Vec::with_capacity(links.len()), vec![false; links.len()]);
    for start in 0..links.len() as u32 {
        if std::mem::replace(&mut seen[start as usize], true) {
            continue;
        }
        order.push(start);
        let mut at = order.len() - 1;
        while at < order.len() {
            for &next in &links[order[at] as usize] {
                if !std::mem::replace(&mut seen[next as usize], true) {
                    order.push(next);
                }
            }
            at += 1;
        }
    }
    order
}
