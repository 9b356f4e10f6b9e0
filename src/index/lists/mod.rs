//! IVF: plain vectors in lists, each of the rows nearest to one of some two times the root of n centroids. A search looks into the few
//! lists whose centroids are nearest to the query.
//!
//! The rows of a list lie one after the other as codes (a *position* is a row's place in the file), so a search reads runs of bytes, and an index
//! larger than memory is searched at the speed of the disk. What is in the lists looked into is bounded and scored like the candidates of an exact
//! scan: that nothing better lies in another list is not certain, and how often something does is measured while the lists are built, with rows
//! that no centroid was made of.
//!
//! `build.rs` makes lists, `measure.rs` asks them. A file has CODES, CODE_ENTRIES and ORDER as
//! every [`CodeTable`]; CENTROIDS, `lists x dim` numbers that queries are compared with; LIST_STARTS; CURVE. Its settings are numbers of lists.
//!
//! Costs: building `2 sqrt(n) x dim` multiplications for each row, most of them to find its list, and the curve; it holds 24 bytes a row, a sample of
//! at most 64 MiB, centroids and their sums (at most 48 MiB), and 16 MiB of codes, however long rows are. In the file a byte a number and 20 bytes a row.

mod build;
mod measure;
#[cfg(test)]
mod tests;

use super::curve::Curve;
use super::one_row::Rows;
use super::pace::Pace;
use super::table::CodeTable;
use crate::error::Result;
use crate::kernel::{self, prefetch};
use crate::pipeline::kmeans::half_squares;
use crate::score::Metric;
use crate::store::layout::{Kind, section};
use crate::store::{Artefact, Counts, Sections, SectionsWriter};
use std::time::Instant;

/// Lists over the rows of one segment in one view.
#[derive(Debug)]
pub(crate) struct Lists {
    pub(crate) table: CodeTable,
    /// Half of the squared length of each centroid.
    halves: Vec<f32>,
    pub(crate) curve: Curve,
    /// What comparing with one centroid takes.
    choosing: Pace,
}

impl Artefact for Lists {
    const KIND: Kind = Kind::Lists;

    fn read(sections: Sections) -> Result<Lists> {
        let table = CodeTable::check(sections)?;
        let (sections, dim) = (&table.sections, table.dim());
        let starts: &[u64] = sections.numbers(section::LIST_STARTS)?;
        if starts.first() != Some(&0) || !starts.is_sorted() || starts.last() != Some(&(table.len() as u64)) {
            return Err(sections.corrupt(section::LIST_STARTS, "lists that contradict the rows"));
        }
        let centroids: &[f32] = sections.numbers(section::CENTROIDS)?;
        if Some(centroids.len()) != (starts.len() - 1).checked_mul(dim) || !centroids.iter().all(|x| x.is_finite()) {
            return Err(sections.corrupt(section::CENTROIDS, "centroids of other lists, or that are no numbers"));
        }
        let curve = Curve::from_bytes(sections.bytes(section::CURVE)?);
        let curve = curve.map_err(|what| sections.corrupt(section::CURVE, what))?;
        let choosing = Pace::new(5.0 + 0.08 * dim as f64);
        Ok(Lists { halves: half_squares(centroids, dim), curve, choosing, table })
    }
}

impl Lists {
    /// Positions of all rows in the `probes` lists nearest to a query's row, those of the nearest list first.
    ///
    /// # Errors
    /// None in practice: the sections were checked when they were read.
    pub(crate) fn near(&self, metric: Metric, row: &[f32], probes: usize) -> Result<Vec<u32>> {
        let (begun, sections) = (Instant::now(), &self.table.sections);
        let places = Places { metric, centroids: sections.numbers(section::CENTROIDS)?, halves: &self.halves };
        let starts: &[u64] = sections.numbers(section::LIST_STARTS)?;
        let nearest = places.nearest(row, probes);
        self.choosing.note(self.halves.len() as u64, begun.elapsed());
        let positions = |list: u32| starts[list as usize] as u32..starts[list as usize + 1] as u32;
        Ok(nearest.into_iter().flat_map(positions).collect())
    }

    /// Nanoseconds that choosing lists and looking at so many codes in them takes.
    pub(crate) fn cost(&self, codes: f64) -> f64 {
        self.choosing.of(self.halves.len() as f64) + self.table.scanning.of(codes.min(self.table.len() as f64))
    }

    /// Builds lists of all records that have exactly one row.
    ///
    /// # Errors
    /// Those of reading rows and of writing.
    pub(crate) fn build(rows: &Rows<'_>, metric: Metric, out: &mut SectionsWriter<'_>) -> Result<Counts> {
        build::build(rows, metric, out)
    }
}

/// Centroids, as queries see them.
#[derive(Clone, Copy)]
struct Places<'a> {
    metric: Metric,
    centroids: &'a [f32],
    halves: &'a [f32],
}

impl Places<'_> {
    /// The numbers of the `count` lists nearest to a row, nearest first, equally near ones by number.
    fn nearest(&self, row: &[f32], count: usize) -> Vec<u32> {
        let mut nearness = Vec::with_capacity(self.halves.len());
        let mut centroids = self.centroids.chunks_exact(row.len()).peekable();
        for half in self.halves {
            let Some(centroid) = centroids.next() else { break };
            centroids.peek().iter().for_each(|next| prefetch(&next[..next.len().min(PREFETCHED)]));
            let half = if self.metric == Metric::L2 { f64::from(*half) } else { 0.0 };
            nearness.push(kernel::dot(row, centroid) - half);
        }
        let order = |a: &u32, b: &u32| nearness[*b as usize].total_cmp(&nearness[*a as usize]).then(a.cmp(b));
        let mut lists: Vec<u32> = (0..nearness.len() as u32).collect();
        if count < lists.len() {
            lists.select_nth_unstable_by(count, order);
            lists.truncate(count);
        }
        lists.sort_unstable_by(order);
        lists
    }
}

/// Numbers of a centroid that are asked for ahead of time; the rest of a longer one follows by itself.
const PREFETCHED: usize = 512;
