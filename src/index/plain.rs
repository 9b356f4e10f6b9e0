//! One interface to the indexes over plain vectors, graph or lists: a recall curve, a cost, and the rows near a query.

use super::hnsw::{Hnsw, Walk};
use super::ivf::{Ivf, Nearest};
use super::recall::Recall;
use super::sq8::Sq8Query;
use super::table::Sq8Table;
use crate::error::Result;
use crate::score::Metric;
use std::sync::Arc;

/// An index over the plain vectors of one segment in one view.
#[derive(Clone, Debug)]
pub(crate) enum PlainIndex {
    Hnsw(Arc<Hnsw>),
    Ivf(Arc<Ivf>),
}

/// A query's row, as numbers and as codes.
#[derive(Clone, Copy)]
pub(crate) struct PlainQuery<'a> {
    pub(crate) metric: Metric,
    pub(crate) row: &'a [f32],
    pub(crate) coded: &'a Sq8Query,
}

impl PlainIndex {
    /// Returns the codes of all its rows.
    pub(crate) fn table(&self) -> &Sq8Table {
        match self {
            PlainIndex::Hnsw(graph) => &graph.table,
            PlainIndex::Ivf(lists) => &lists.table,
        }
    }

    /// Returns what is known of its recall.
    pub(crate) fn recall(&self) -> &Recall {
        match self {
            PlainIndex::Hnsw(graph) => &graph.recall,
            PlainIndex::Ivf(lists) => &lists.recall,
        }
    }

    /// Returns how many nanoseconds a search takes that compares so many rows.
    pub(crate) fn cost(&self, compared: f64) -> f64 {
        match self {
            PlainIndex::Hnsw(graph) => graph.walking.of(compared),
            PlainIndex::Ivf(lists) => lists.cost(compared),
        }
    }

    /// Starts a search; `setting` is the effort that [`Asking::look`] will be called with first.
    ///
    /// # Errors
    /// None in practice: what it reads was checked when it was loaded.
    pub(crate) fn ask<'a>(&'a self, query: PlainQuery<'a>, setting: u64) -> Result<Asking<'a>> {
        match self {
            PlainIndex::Hnsw(graph) => Ok(Asking::Hnsw(graph.walk(query.coded))),
            PlainIndex::Ivf(lists) => Ok(Asking::Ivf(lists.ask(query.metric, query.row, size(setting))?)),
        }
    }
}

/// A search of an index, which can go on with more effort.
pub(crate) enum Asking<'a> {
    Hnsw(Walk<'a>),
    Ivf(Nearest<'a>),
}

impl Asking<'_> {
    /// Returns the positions of the rows that this setting leads to, which may be the nearest ones. No setting may be
    /// smaller than one before.
    ///
    /// # Errors
    /// As [`PlainIndex::ask`].
    pub(crate) fn look(&mut self, setting: u64) -> Result<Vec<u32>> {
        match self {
            Asking::Hnsw(walk) => walk.near(size(setting)),
            Asking::Ivf(nearest) => Ok(nearest.positions(size(setting))),
        }
    }
}

fn size(setting: u64) -> usize {
    usize::try_from(setting).unwrap_or(usize::MAX)
}
