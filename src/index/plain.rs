//! Indexes over plain vectors, whichever kind: a curve, a cost, and rows that are near a query.

use super::codes::CodedQuery;
use super::graph::{Graph, Walk};
use super::lists::{Lists, Nearest};
use super::recall::Recall;
use super::table::CodeTable;
use crate::error::Result;
use crate::score::Metric;
use std::sync::Arc;

/// An index over the plain vectors of one segment in one view.
#[derive(Clone, Debug)]
pub(crate) enum PlainIndex {
    Graph(Arc<Graph>),
    Lists(Arc<Lists>),
}

/// A query's row, in numbers and in codes.
#[derive(Clone, Copy)]
pub(crate) struct PlainQuery<'a> {
    pub(crate) metric: Metric,
    pub(crate) row: &'a [f32],
    pub(crate) coded: &'a CodedQuery,
}

impl PlainIndex {
    /// The codes of all its rows.
    pub(crate) fn table(&self) -> &CodeTable {
        match self {
            PlainIndex::Graph(graph) => &graph.table,
            PlainIndex::Lists(lists) => &lists.table,
        }
    }

    /// What is known of its recall.
    pub(crate) fn recall(&self) -> &Recall {
        match self {
            PlainIndex::Graph(graph) => &graph.recall,
            PlainIndex::Lists(lists) => &lists.recall,
        }
    }

    /// Nanoseconds that a search takes which compares with so many rows.
    pub(crate) fn cost(&self, compared: f64) -> f64 {
        match self {
            PlainIndex::Graph(graph) => graph.walking.of(compared),
            PlainIndex::Lists(lists) => lists.cost(compared),
        }
    }

    /// Begins to ask it; `setting` is the one that will be looked at first.
    ///
    /// # Errors
    /// None in practice: what it reads was checked when it was loaded.
    pub(crate) fn ask<'a>(&'a self, query: PlainQuery<'a>, setting: u64) -> Result<Asking<'a>> {
        match self {
            PlainIndex::Graph(graph) => Ok(Asking::Graph(graph.walk(query.coded))),
            PlainIndex::Lists(lists) => Ok(Asking::Lists(lists.ask(query.metric, query.row, size(setting))?)),
        }
    }
}

/// An index that is being asked, with more and more effort.
pub(crate) enum Asking<'a> {
    Graph(Walk<'a>),
    Lists(Nearest<'a>),
}

impl Asking<'_> {
    /// The positions of rows that may be the nearest ones, as many as this setting leads to; no smaller than one before.
    ///
    /// # Errors
    /// As [`PlainIndex::ask`].
    pub(crate) fn look(&mut self, setting: u64) -> Result<Vec<u32>> {
        match self {
            Asking::Graph(walk) => walk.near(size(setting)),
            Asking::Lists(nearest) => Ok(nearest.positions(size(setting))),
        }
    }
}

fn size(setting: u64) -> usize {
    usize::try_from(setting).unwrap_or(usize::MAX)
}
