//! IVF: plain vectors in lists, one for each of some `2 sqrt(n)` centroids, with the rows that are nearest to it. A
//! search looks into the few lists whose centroids are nearest to the query.
//!
//! The rows of a list lie one after the other as codes (a *position* is a row's place in the file), so a search reads
//! runs of bytes, and an index larger than memory is searched at the speed of the disk. The rows of the lists looked
//! into are bounded and scored like the candidates of an exact scan. Something better may lie in another list: how
//! often it does is measured while the lists are built, with rows that no centroid was made of.
//!
//! `build.rs` makes lists, `measure.rs` measures their recall. A file has CODES, CODE_ENTRIES and ORDER as every
//! [`Sq8Table`]; CENTROIDS, `lists x dim` numbers that queries are compared with; LIST_STARTS; CURVE. Its settings are
//! numbers of lists.
//!
//! Costs: building takes `2 sqrt(n) x dim` multiplications for each row, most of them to find its list, and the curve;
//! it holds 24 bytes a row, a sample of at most 64 MiB, centroids and their sums (at most 48 MiB), and 16 MiB of codes,
//! however long rows are. In the file a byte a number and 20 bytes a row.

mod build;
mod measure;
#[cfg(test)]
mod tests;

use super::curve::Curve;
use super::one_row::Rows;
use super::pace::Pace;
use super::questions::Signs;
use super::recall::Recall;
use super::sq8::power_of_two;
use super::table::Sq8Table;
use crate::error::Result;
use crate::kernel::{self, ordered, prefetch};
use crate::matrix::StoredMatrix;
use crate::pipeline::kmeans::half_squares;
use crate::score::Metric;
use crate::store::layout::{Kind, section};
use crate::store::{Artefact, Counts, Sections, SectionsWriter};
use std::borrow::Cow;
use std::time::Instant;

/// Lists over the rows of one segment in one view.
#[derive(Debug)]
pub(crate) struct Ivf {
    pub(crate) table: Sq8Table,
    /// Half of the squared length of each centroid.
    halves: Vec<f32>,
    pub(crate) recall: Recall,
    /// How long comparing with one centroid takes.
    choosing: Pace,
}

impl Artefact for Ivf {
    const KIND: Kind = Kind::Lists;

    fn read(sections: Sections) -> Result<Ivf> {
        let table = Sq8Table::check(sections)?;
        let (sections, dim) = (&table.sections, table.dim());
        let starts: &[u64] = sections.numbers(section::LIST_STARTS)?;
        if starts.first() != Some(&0) || !starts.is_sorted() || starts.last() != Some(&(table.len() as u64)) {
            return Err(sections.corrupt(section::LIST_STARTS, "lists that contradict the rows"));
        }
        let centroids: &[f32] = sections.numbers(section::CENTROIDS)?;
        if Some(centroids.len()) != (starts.len() - 1).checked_mul(dim) || !centroids.iter().all(|x| x.is_finite()) {
            return Err(sections.corrupt(section::CENTROIDS, "centroids of other lists, or that are no numbers"));
        }
        let curve = Curve::from_bytes(sections.bytes(section::CURVE)?, sections.bytes(section::QUESTIONS)?);
        let curve = curve.map_err(|what| sections.corrupt(section::CURVE, what))?;
        let choosing = Pace::new(5.0 + 0.08 * dim as f64);
        Ok(Ivf { halves: half_squares(centroids, dim), recall: Recall::new(curve), choosing, table })
    }
}

impl Ivf {
    /// Returns all lists in the order in which a query's row looks into them.
    ///
    /// # Errors
    /// None in practice: the sections were checked when they were read.
    pub(crate) fn ask(&self, metric: Metric, row: &[f32], probes: usize) -> Result<Nearest<'_>> {
        let (begun, sections) = (Instant::now(), &self.table.sections);
        let places = Places { metric, centroids: sections.numbers(section::CENTROIDS)?, halves: &self.halves };
        let starts: &[u64] = sections.numbers(section::LIST_STARTS)?;
        let nearest = places.ask(row, starts, probes);
        self.choosing.note(self.halves.len() as u64, begun.elapsed());
        Ok(nearest)
    }

    /// Returns how many nanoseconds it takes to choose lists and to look at so many codes in them.
    pub(crate) fn cost(&self, codes: f64) -> f64 {
        self.choosing.of(self.halves.len() as f64) + self.table.scanning.of(codes.min(self.table.len() as f64))
    }

    /// Builds lists of all records that have exactly one row, and measures them by some of these and by `queries` of
    /// one row.
    ///
    /// # Errors
    /// Those of reading rows and of writing.
    pub(crate) fn build(
        rows: &Rows<'_>,
        metric: Metric,
        queries: &[StoredMatrix<'_>],
        out: &mut SectionsWriter<'_>,
    ) -> Result<Counts> {
        build::build(rows, metric, queries, out)
    }
}

/// The centroids, and how queries are compared with them.
#[derive(Clone, Copy)]
struct Places<'a> {
    metric: Metric,
    centroids: &'a [f32],
    halves: &'a [f32],
}

impl<'a> Places<'a> {
    /// Ranks the lists that begin at `starts` by their nearness to a row: puts the first `probes` of them in order,
    /// others when they are asked for.
    fn ask(&self, row: &[f32], starts: &'a [u64], probes: usize) -> Nearest<'a> {
        // The row is scaled so that no product leaves the range of `f32`: by inner product and angle its length does
        // not change the order.
        let norm = ordered::dot(row, row).sqrt();
        let unit = if self.metric == Metric::L2 || norm == 0.0 { 1.0 } else { power_of_two(1.0 / norm) };
        let scaled: Cow<'_, [f32]> = match unit == 1.0 {
            true => row.into(),
            false => row.iter().map(|value| (f64::from(*value) * unit) as f32).collect(),
        };
        let mut nearness = Vec::with_capacity(self.halves.len());
        let mut centroids = self.centroids.chunks_exact(row.len()).peekable();
        for half in self.halves {
            let Some(centroid) = centroids.next() else { break };
            centroids.peek().iter().for_each(|next| prefetch(&next[..next.len().min(PREFETCHED)]));
            let half = if self.metric == Metric::L2 { f64::from(*half) } else { 0.0 };
            nearness.push(kernel::dot(&scaled, centroid) - half);
        }
        let near = |value: f64| match self.metric {
            Metric::L2 => -(norm * norm - 2.0 * value).max(0.0).sqrt(),
            _ if norm == 0.0 => f64::NAN,
            Metric::Dot | Metric::Cosine => value / (norm * unit),
        };
        let (lists, other) = ((0..nearness.len() as u32).collect(), nearness.len() / OTHER);
        let mut nearest = Nearest { starts, nearness, lists, sorted: 0, signs: [f64::NAN; 2] };
        nearest.sort(probes.max(other + 1));
        let of = |at: usize| nearest.lists.get(at).map_or(f64::NAN, |&list| near(nearest.nearness[list as usize]));
        nearest.signs = [of(0), of(0) - of(other)];
        nearest
    }
}

/// The lists, ranked by their nearness to a query.
pub(crate) struct Nearest<'a> {
    starts: &'a [u64],
    nearness: Vec<f64>,
    lists: Vec<u32>,
    /// How many of them are in order: the nearest ones, nearest first, equally near ones by number.
    sorted: usize,
    /// How near the query is to the nearest centroid, and how much nearer than to others.
    signs: Signs,
}

impl Nearest<'_> {
    fn sort(&mut self, count: usize) {
        let nearness = &self.nearness;
        let order = |a: &u32, b: &u32| nearness[*b as usize].total_cmp(&nearness[*a as usize]).then(a.cmp(b));
        if count > self.sorted {
            let rest = &mut self.lists[self.sorted..];
            let wanted = (count - self.sorted).min(rest.len());
            if wanted < rest.len() {
                rest.select_nth_unstable_by(wanted, order);
            }
            rest[..wanted].sort_unstable_by(order);
            self.sorted += wanted;
        }
    }

    /// Returns the positions of all rows in the nearest `probes` lists, those of the nearest list first.
    pub(crate) fn positions(&mut self, probes: usize) -> Vec<u32> {
        self.sort(probes);
        let of = |list: u32| self.starts[list as usize] as u32..self.starts[list as usize + 1] as u32;
        self.lists[..self.sorted.min(probes)].iter().flat_map(|&list| of(list)).collect()
    }

    /// Returns how near the query is to the nearest centroid, as [`nearness`](super::questions::nearness) counts it,
    /// and how much nearer that is than the first centroid behind the nearest eighth of all.
    pub(crate) fn signs(&self) -> Signs {
        self.signs
    }
}

/// The nearest centroid is compared with the first one behind the nearest `1 / OTHER` of all.
const OTHER: usize = 8;
/// Numbers of a centroid that are prefetched; the rest of a longer one follows by itself.
const PREFETCHED: usize = 512;
