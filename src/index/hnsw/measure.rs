//! Measures how much of the exact answer a graph finds: for rows that are not in it yet, so that they are strangers to
//! it as queries are, and for queries that the caller gave.

use super::Rows;
use super::beam::Beam;
use super::build::Builder;
use super::twins::Nodes;
use crate::error::Result;
use crate::index::curve::CurveSource;
use crate::index::questions::{NO_CONTRAST, Questions, nearness};
use crate::index::sq8::Sq8Query;
use crate::index::truth::{ENOUGH, HITS, Truth};
use crate::kernel::ordered;
use crate::matrix::StoredMatrix;
use crate::score::Metric;
use rayon::prelude::*;

/// The values of `ef` that are measured.
const EFS: [u64; 20] = [10, 12, 14, 17, 20, 24, 28, 34, 40, 48, 56, 68, 80, 112, 160, 224, 320, 448, 640, 1_280];

/// A graph that is measured when the first nodes are in it.
pub(super) struct Measure<'m, 'r> {
    pub(super) builder: &'m Builder<'m>,
    pub(super) rows: &'m Rows<'r>,
    pub(super) metric: Metric,
    pub(super) nodes: &'m Nodes<'m>,
    /// The unit of the builder's numbers.
    pub(super) unit: f64,
    /// How many nodes are in it.
    pub(super) inside: usize,
}

/// A query, the rows that truly score best for it, and what searches found of them.
struct Question<'q> {
    row: &'q [f32],
    norm: f64,
    truth: Vec<u32>,
    coded: Sq8Query,
    /// How many hits of the true answer were found, by `k` and setting.
    found: [Vec<usize>; HITS.len()],
    /// The last node among the `k` nearest that the widest search found, for each `k`.
    last: [u32; HITS.len()],
}

impl Measure<'_, '_> {
    /// Searches for these rows with ever larger `ef`. Returns, for each `k`, the questions and how many rows each
    /// search compared in the mean.
    pub(super) fn ask(&self, source: CurveSource, asking: &[StoredMatrix<'_>]) -> Result<Vec<(Questions, Vec<f64>)>> {
        let mut questions: Vec<Question<'_>> =
            asking.par_iter().map(|row| self.question(row)).collect::<Result<_>>()?;
        let (mut settings, mut compared) = (Vec::new(), Vec::new());
        for ef in EFS {
            let ask = |beam: &mut Beam, question: &mut Question<'_>| {
                let before = beam.compared;
                self.search(beam, question, ef as usize);
                beam.compared - before
            };
            let total: u64 = questions.par_iter_mut().map_init(Beam::default, ask).sum();
            settings.push(ef);
            compared.push(total as f64 / asking.len().max(1) as f64);
            let mean = |which: usize| {
                let shares = questions.iter().map(|question| question.recall(which));
                shares.sum::<f64>() / asking.len() as f64
            };
            if !(0..HITS.len()).any(|which| self.is_measured(which) && mean(which) < ENOUGH) {
                break;
            }
        }
        let places = (0..HITS.len()).filter(|&which| self.is_measured(which));
        places
            .map(|which| {
                Ok((self.questions(source, which, &settings, &questions)?, compared_from(which, &settings, &compared)))
            })
            .collect()
    }

    fn is_measured(&self, which: usize) -> bool {
        HITS[which] as usize <= self.inside
    }

    fn question<'q>(&self, row: &'q StoredMatrix<'_>) -> Result<Question<'q>> {
        let (nodes, truth) = (self.nodes, Truth::new(self.metric, row.view(), None)?);
        for part in [0..self.inside, nodes.count()..nodes.twins.end(self.inside)] {
            let codes = nodes.codes.part(part.clone());
            truth.look_at(codes, self.rows, &nodes.records[part.clone()], part.start as u32)?;
        }
        let (coded, row) = (truth.query.clone(), row.view().row(0));
        Ok(Question {
            row,
            norm: ordered::dot(row, row).sqrt(),
            truth: truth.finish(),
            coded,
            found: Default::default(),
            last: Default::default(),
        })
    }

    fn search(&self, beam: &mut Beam, question: &mut Question<'_>, ef: usize) {
        let (query, scale) = question.coded.coarse_in(self.unit);
        let found = self.builder.search_for(beam, query, scale, ef);
        let mut near: Vec<u32> = found.iter().map(|near| near.node).collect();
        for (last, k) in question.last.iter_mut().zip(HITS) {
            *last = near.get(k as usize - 1).or(near.last()).copied().unwrap_or_default();
        }
        self.nodes.twins.join(&mut near);
        near.sort_unstable();
        for (counts, k) in question.found.iter_mut().zip(HITS) {
            let wanted = &question.truth[..question.truth.len().min(k as usize)];
            counts.push(wanted.iter().filter(|node| near.binary_search(node).is_ok()).count());
        }
    }

    /// Returns what was found for one `k`, at the settings that are no smaller.
    fn questions(
        &self,
        source: CurveSource,
        which: usize,
        settings: &[u64],
        asked: &[Question<'_>],
    ) -> Result<Questions> {
        let first = settings.partition_point(|&ef| ef < HITS[which]);
        let one = |question: &Question<'_>| {
            let last = self.rows.matrix(self.nodes.records[question.last[which] as usize])?;
            let nearness = nearness(self.metric, question.row, question.norm, last.view().row(0));
            Ok(([nearness, NO_CONTRAST], question.found[which][first..].to_vec()))
        };
        let asked = asked.par_iter().map(one).collect::<Result<_>>()?;
        Ok(Questions::new(source, HITS[which], settings[first..].to_vec(), asked))
    }
}

fn compared_from(which: usize, settings: &[u64], compared: &[f64]) -> Vec<f64> {
    compared[settings.partition_point(|&ef| ef < HITS[which])..].to_vec()
}

impl Question<'_> {
    fn recall(&self, which: usize) -> f64 {
        self.found[which].last().map_or(0.0, |&found| found as f64 / HITS[which] as f64)
    }
}
