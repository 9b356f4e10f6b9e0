//! How much of the exact answer is in how many lists: asked by rows that no centroid was made of.

use super::{Places, Rows};
use crate::error::Result;
use crate::index::codes::Codes;
use crate::index::curve::{Curve, CurveEntry};
use crate::index::truth::{ENOUGH, HITS, Truth};
use crate::score::Metric;
use rayon::prelude::*;

/// Numbers of lists that are measured, the doubles of the last two after them, up to all lists.
const PROBES: [u64; 6] = [1, 2, 3, 4, 6, 8];

/// What some rows ask, while the rows of all lists go by.
pub(super) struct Questions<'a> {
    asking: &'a [u32],
    truths: Vec<Truth>,
}

impl<'a> Questions<'a> {
    pub(super) fn new(metric: Metric, rows: &Rows<'_>, asking: &'a [u32]) -> Result<Questions<'a>> {
        let truths = asking.par_iter().map(|&record| Truth::new(metric, rows, record)).collect::<Result<_>>()?;
        Ok(Questions { asking, truths })
    }

    /// Takes the rows at the positions from `first` on.
    pub(super) fn look_at(&self, codes: Codes<'_>, rows: &Rows<'_>, records: &[u32], first: u32) -> Result<()> {
        self.truths.par_iter().try_for_each(|truth| truth.look_at(codes, rows, records, first))
    }

    /// What was found of the answers, by how many lists are looked into.
    pub(super) fn curve(self, rows: &Rows<'_>, places: Places<'_>, starts: &[u64]) -> Result<Curve> {
        let answers = self.asking.par_iter().zip(self.truths);
        let answers: Vec<Answer> = answers
            .map(|(&record, truth)| {
                Ok(Answer::new(places.nearest(rows.matrix(record)?.view().row(0), usize::MAX), truth, starts))
            })
            .collect::<Result<_>>()?;
        let mut entries = Vec::new();
        for probes in probes(starts.len() - 1) {
            let total: u64 = answers.iter().map(|answer| answer.rows[probes as usize - 1]).sum();
            let compared = total as f64 / answers.len().max(1) as f64;
            let mut enough = !answers.is_empty();
            for k in HITS.into_iter().filter(|&k| answers.iter().all(|answer| answer.ranks.len() as u64 >= k)) {
                let recalls: Vec<f64> = answers.iter().map(|answer| answer.recall(k, probes)).collect();
                let entry = CurveEntry::new(k, probes, &recalls, compared);
                enough &= entry.mean >= ENOUGH;
                entries.push(entry);
            }
            if enough {
                break;
            }
        }
        Ok(Curve::new(entries))
    }
}

/// 1, 2, 3, 4, 6, 8, 12, 16, .., and all lists.
fn probes(lists: usize) -> impl Iterator<Item = u64> {
    let doubles = (1..).flat_map(|times| [6u64, 8].map(|probes| probes << times));
    let lists = lists as u64;
    PROBES.into_iter().chain(doubles).take_while(move |probes| *probes < lists).chain((lists > 0).then_some(lists))
}

/// Where the answer to one question lies.
struct Answer {
    /// Of each hit, best first: how many lists are nearer than the one that it is in.
    ranks: Vec<u32>,
    /// Rows in the nearest 1, 2, 3, .. lists.
    rows: Vec<u64>,
}

impl Answer {
    /// `lists` are all lists, nearest first.
    fn new(lists: Vec<u32>, truth: Truth, starts: &[u64]) -> Answer {
        let mut ranks_of_lists = vec![0; lists.len()];
        (0..).zip(&lists).for_each(|(rank, &list)| ranks_of_lists[list as usize] = rank);
        let list_of = |position: u32| starts.partition_point(|&start| start <= u64::from(position)) - 1;
        let ranks = truth.finish().into_iter().map(|position| ranks_of_lists[list_of(position)]).collect();
        let rows = lists.iter().scan(0, |rows, &list| {
            *rows += starts[list as usize + 1] - starts[list as usize];
            Some(*rows)
        });
        Answer { ranks, rows: rows.collect() }
    }

    fn recall(&self, k: u64, probes: u64) -> f64 {
        let found = self.ranks[..k as usize].iter().filter(|&&rank| u64::from(rank) < probes).count();
        found as f64 / k as f64
    }
}
