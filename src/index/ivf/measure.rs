//! Measures how much of the exact answer is in how many lists: for rows that no centroid was made of, and for queries
//! that the caller gave.

use super::{Nearest, Places, Rows};
use crate::error::Result;
use crate::index::curve::{Curve, CurveSource};
use crate::index::questions::{Questions, Signs};
use crate::index::sq8::Sq8;
use crate::index::truth::{ENOUGH, HITS, Truth};
use crate::matrix::StoredMatrix;
use crate::score::Metric;
use rayon::prelude::*;

/// Numbers of lists that are measured; after them the last two, doubled again and again, up to all lists.
const PROBES: [u64; 6] = [1, 2, 3, 4, 6, 8];

/// Questions, whose true answers are collected while the rows of all lists go by.
pub(super) struct Asking<'a> {
    rows: Vec<(CurveSource, StoredMatrix<'a>)>,
    truths: Vec<Truth>,
}

impl<'a> Asking<'a> {
    pub(super) fn new<'r: 'a, 'q: 'a>(
        metric: Metric,
        rows: &Rows<'r>,
        records: &[u32],
        queries: &[StoredMatrix<'q>],
    ) -> Result<Asking<'a>> {
        let own = records.iter().map(|&record| Some(record)).chain(queries.iter().map(|_| None));
        let asking = records.iter().map(|&record| Ok((CurveSource::Records, rows.matrix(record)?)));
        let given = queries.iter().map(|query| Ok((CurveSource::Queries, query.clone())));
        let asking = asking.chain(given).collect::<Result<Vec<_>>>()?;
        let truths = asking.iter().zip(own).map(|((_, row), own)| Truth::new(metric, row.view(), own));
        Ok(Asking { truths: truths.collect::<Result<_>>()?, rows: asking })
    }

    /// Compares the questions with the rows at the positions from `first` on.
    pub(super) fn look_at(&self, codes: Sq8<'_>, rows: &Rows<'_>, records: &[u32], first: u32) -> Result<()> {
        self.truths.par_iter().try_for_each(|truth| truth.look_at(codes, rows, records, first))
    }

    /// Returns how much of the answers is found, by how many lists are looked into.
    pub(super) fn curve(self, places: Places<'_>, starts: &[u64]) -> Result<Curve> {
        let answers = self.rows.par_iter().zip(self.truths).map(|((source, row), truth)| {
            (*source, Answer::new(places.ask(row.view().row(0), starts, usize::MAX), truth, starts))
        });
        let answers: Vec<(CurveSource, Answer)> = answers.collect();
        let mut measured = Vec::new();
        for source in [CurveSource::Records, CurveSource::Queries] {
            let own: Vec<&Answer> = answers.iter().filter(|(of, _)| *of == source).map(|(_, answer)| answer).collect();
            measured.extend(measure(source, &own, starts.len() - 1));
        }
        Ok(Curve::new(measured))
    }
}

/// Returns what the questions of one source found, for each number of hits, and how many rows they compared in the
/// mean.
fn measure(source: CurveSource, answers: &[&Answer], lists: usize) -> Vec<(Questions, Vec<f64>)> {
    let hits: Vec<u64> =
        HITS.into_iter().filter(|&k| answers.iter().all(|answer| answer.ranks.len() as u64 >= k)).collect();
    let (mut settings, mut compared) = (Vec::new(), Vec::new());
    for probes in probes(lists) {
        let total: u64 = answers.iter().map(|answer| answer.rows[probes as usize - 1]).sum();
        settings.push(probes);
        compared.push(total as f64 / answers.len().max(1) as f64);
        let mean = |k: u64| {
            answers.iter().map(|answer| answer.found(k, probes) as f64 / k as f64).sum::<f64>() / answers.len() as f64
        };
        if !answers.is_empty() && hits.iter().all(|&k| mean(k) >= ENOUGH) {
            break;
        }
    }
    let one = |k: u64| {
        let found = |answer: &&Answer| {
            (answer.signs, settings.iter().map(|&probes| answer.found(k, probes)).collect::<Vec<usize>>())
        };
        (Questions::new(source, k, settings.clone(), answers.iter().map(found).collect()), compared.clone())
    };
    hits.into_iter().map(one).collect()
}

/// Returns 1, 2, 3, 4, 6, 8, 12, 16, .. and the number of all lists.
fn probes(lists: usize) -> impl Iterator<Item = u64> {
    let doubles = (1..).flat_map(|times| [6u64, 8].map(|probes| probes << times));
    let lists = lists as u64;
    PROBES.into_iter().chain(doubles).take_while(move |probes| *probes < lists).chain((lists > 0).then_some(lists))
}

/// Where the answer to one question lies.
struct Answer {
    signs: Signs,
    /// Of each hit, best first: how many lists are nearer than the one that it is in.
    ranks: Vec<u32>,
    /// How many rows are in the nearest 1, 2, 3, .. lists.
    rows: Vec<u64>,
}

impl Answer {
    /// Finds the lists that hold the true answer. `nearest`: all lists, in order.
    fn new(nearest: Nearest<'_>, truth: Truth, starts: &[u64]) -> Answer {
        let lists = &nearest.lists;
        let mut ranks_of_lists = vec![0; lists.len()];
        (0..).zip(lists).for_each(|(rank, &list)| ranks_of_lists[list as usize] = rank);
        let list_of = |position: u32| starts.partition_point(|&start| start <= u64::from(position)) - 1;
        let ranks = truth.finish().into_iter().map(|position| ranks_of_lists[list_of(position)]).collect();
        let rows = lists.iter().scan(0, |rows, &list| {
            *rows += starts[list as usize + 1] - starts[list as usize];
            Some(*rows)
        });
        Answer { signs: nearest.signs(), ranks, rows: rows.collect() }
    }

    /// Returns how many of the first `k` hits are in the nearest `probes` lists.
    fn found(&self, k: u64, probes: u64) -> usize {
        self.ranks[..k as usize].iter().filter(|&&rank| u64::from(rank) < probes).count()
    }
}
