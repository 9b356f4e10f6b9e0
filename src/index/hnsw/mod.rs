//! HNSW: a graph over plain vectors, kept as codes, that a search walks from sparse layers down to the full one. For
//! vectors of any length.
//!
//! It is built from the codes alone, over the geometry of the metric: angles by cosine, distances by L2, and by inner
//! product distances of rows that a further coordinate makes equally long (Bachrach and others, *Speeding up the Xbox
//! recommender system using a Euclidean transformation for inner-product spaces*), so that long rows do not swallow the
//! others. Every node can be reached.
//!
//! In a file nodes are numbered as a walk through the graph meets them (a *position*), so that neighbours lie near each
//! other, codes included. What a walk finds is bounded and scored like the candidates of an exact scan: the scores of
//! the hits and their order are exact, but something better may have been missed. How often that happens is measured
//! while the graph is built, with rows that are not in it yet.
//!
//! Costs of each row of 384 numbers: some 0.4 ms of one core to build; 16 bytes and a byte a number for its codes, 132
//! bytes for its links.

mod beam;
mod build;
mod measure;
mod twins;
mod whole;

use super::curve::{Curve, CurveSource};
use super::one_row::Rows;
use super::pace::Pace;
use super::recall::Recall;
use super::sq8::{CodeEntry, Sq8, Sq8Query, planes, power_of_two, stride};
use super::table::Sq8Table;
use super::truth;
use crate::error::{Error, Result};
use crate::kernel::{SignedCodes, ordered};
use crate::matrix::StoredMatrix;
use crate::random::mixed;
use crate::score::Metric;
use crate::store::layout::{Kind, section};
use crate::store::{Artefact, Counts, Sections, SectionsWriter};
use beam::{Beam, Links, Probe};
use build::{Builder, DEGREE, SPARSER, UPPER_DEGREE};
use measure::Measure;
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use twins::{Nodes, Twins};

/// Fills the rest of a list of neighbours that is not full.
const NONE: u32 = u32::MAX;
/// Most layers: enough for as many rows as a segment can have.
const LEVELS: u32 = 9;
/// Share of the rows that are no longer than the length to which the shorter ones are brought, by inner product.
const USUAL: f64 = 0.99;

/// A graph over the rows of one segment in one view.
#[derive(Debug)]
pub(crate) struct Hnsw {
    pub(crate) table: Sq8Table,
    /// Of each upper layer, from the top down: where its neighbours begin among the words of the levels, and its number
    /// of nodes.
    uppers: Vec<(usize, usize)>,
    pub(crate) recall: Recall,
    /// How long a walk takes for each row that it compares.
    pub(crate) walking: Pace,
    beams: Mutex<Vec<Beam>>,
}

impl Artefact for Hnsw {
    const KIND: Kind = Kind::Graph;

    fn read(sections: Sections) -> Result<Hnsw> {
        let table = Sq8Table::check(sections)?;
        let sections = &table.sections;
        let twins = Twins::new(sections.numbers(section::LIST_STARTS)?, table.len());
        let count = twins.map_err(|what| sections.corrupt(section::LIST_STARTS, what))?.nodes();
        let links: &[u32] = sections.numbers(section::NEIGHBOURS)?;
        if Some(links.len()) != count.checked_mul(DEGREE) || !are_links(links, count, DEGREE) {
            return Err(sections.corrupt(section::NEIGHBOURS, "neighbours that there are not"));
        }
        let uppers = read_levels(sections.numbers(section::LEVELS)?, count);
        let uppers = uppers.ok_or_else(|| sections.corrupt(section::LEVELS, "layers that contradict each other"))?;
        let curve = Curve::from_bytes(sections.bytes(section::CURVE)?, sections.bytes(section::QUESTIONS)?);
        let curve = curve.map_err(|what| sections.corrupt(section::CURVE, what))?;
        let walking = Pace::new(10.0 + 0.06 * sections.counts().dim as f64);
        Ok(Hnsw { uppers, recall: Recall::new(curve), walking, beams: Mutex::default(), table })
    }
}

fn are_links(links: &[u32], nodes: usize, degree: usize) -> bool {
    links.par_chunks(1 << 14).all(|links| links.iter().all(|&link| link == NONE || (link as usize) < nodes))
        && links.par_chunks(degree).with_min_len(1 << 10).all(|list| {
            let used = list.iter().take_while(|&&link| link != NONE).count();
            list[used..].iter().all(|&link| link == NONE)
        })
}

/// Checks the words of the levels and returns [`Hnsw::uppers`]. They are: how many upper layers; the nodes of each,
/// from the top down; the position of each of the lowest of these layers' nodes; then, layer by layer, the neighbours
/// of each node.
fn read_levels(words: &[u32], count: usize) -> Option<Vec<(usize, usize)>> {
    let levels = *words.first()? as usize;
    let sizes = words.get(1..1 + levels)?;
    let most = sizes.last().map_or(0, |&size| size as usize);
    let nodes = words.get(1 + levels..(1 + levels).checked_add(most)?)?;
    if !sizes.is_sorted() || sizes.contains(&0) || most > count || nodes.iter().any(|&node| node as usize >= count) {
        return None;
    }
    let mut start = 1 + levels + most;
    let mut uppers = Vec::with_capacity(levels);
    for &size in sizes {
        let end = start.checked_add((size as usize).checked_mul(UPPER_DEGREE)?)?;
        if !are_links(words.get(start..end)?, size as usize, UPPER_DEGREE) {
            return None;
        }
        uppers.push((start, size as usize));
        start = end;
    }
    (start == words.len()).then_some(uppers)
}

/// One layer as it lies in the file.
struct Neighbours<'a> {
    links: &'a [u32],
    degree: usize,
}

impl Links for Neighbours<'_> {
    fn nodes(&self) -> usize {
        self.links.len() / self.degree
    }

    fn of(&self, node: u32) -> &[u32] {
        let list = &self.links[node as usize * self.degree..][..self.degree];
        &list[..list.iter().position(|&link| link == NONE).unwrap_or(self.degree)]
    }

    fn prefetch(&self, node: u32) {
        crate::kernel::prefetch(&self.links[node as usize * self.degree..][..self.degree]);
    }
}

impl Hnsw {
    /// Starts a walk for a query.
    pub(crate) fn walk<'w>(&'w self, query: &'w Sq8Query) -> Walk<'w> {
        let beam = self.beams.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        Walk { graph: self, query: query.coarse(self.table.least_offset), beam }
    }

    fn twins(&self) -> Result<Twins<'_>> {
        Ok(Twins::known(self.table.sections.numbers(section::LIST_STARTS)?, self.table.len()))
    }

    /// Builds a graph over all records that have exactly one row, and measures it by some of them and by `queries` of
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
        let lengths = if metric == Metric::Dot { Some(Lengths::of(rows)?) } else { None };
        // The order in which rows are put into the graph. By inner product the longest rows are in most answers, so the
        // graph is measured with all of them in it: other rows serve as queries.
        let place = |&at: &usize| {
            let usual = lengths.as_ref().is_none_or(|lengths| lengths.squares[at] <= lengths.usual);
            let record = rows.records()[at];
            (std::cmp::Reverse(level(record)), usual, mixed(u64::from(record)), record)
        };
        let mut order: Vec<usize> = (0..rows.records().len()).collect();
        order.sort_by_cached_key(place);
        let records: Vec<u32> = order.iter().map(|&at| rows.records()[at]).collect();
        let (mut bytes, mut entries) = rows.encode(metric, &records)?;
        let wrong = |what| Error::invalid("graph", what);
        let (found, starts) = twins::find(Sq8::new(&bytes, &planes(&entries), rows.dim()).map_err(wrong)?);
        if !starts.is_empty() {
            order = found.iter().map(|&row| order[row as usize]).collect();
            entries = found.iter().map(|&row| entries[row as usize]).collect();
            let stride = stride(rows.dim());
            bytes = found.iter().flat_map(|&row| &bytes[row as usize * stride..][..stride]).copied().collect();
        }
        let records: Vec<u32> = order.iter().map(|&at| rows.records()[at]).collect();
        let in_planes = planes(&entries);
        let codes = Sq8::new(&bytes, &in_planes, rows.dim()).map_err(wrong)?;
        let twins = Twins::new(&starts, records.len()).map_err(wrong)?;
        let nodes = Nodes { codes, records: &records, twins };
        let top = records.first().map_or(0, |&record| level(record));
        let in_level = |&lowest: &u32| records[..nodes.count()].partition_point(|&record| level(record) >= lowest);
        let sizes: Vec<usize> = (0..=top).map(|lowest| in_level(&lowest)).collect();

        let unit = unit(metric, &entries, lengths.as_ref());
        let lengths = lengths.map(|lengths| lengths.of_nodes(&order[..nodes.count()], unit));
        let scaled: Vec<CodeEntry> = entries[..nodes.count()].iter().map(|entry| entry.times(unit)).collect();
        let scaled = planes(&scaled);
        let node_bytes = &bytes[..nodes.count() * stride(rows.dim())];
        let node_codes = Sq8::new(node_bytes, &scaled, rows.dim()).map_err(wrong)?;
        let (squares, lifts) = geometry(metric, node_codes, lengths);
        let mut builder = Builder::new(node_codes, squares, lifts, &sizes);
        (1..sizes.len()).rev().for_each(|level| builder.insert(level, sizes[level]));
        let asking = truth::queries(nodes.count()).min(nodes.count() - sizes.get(1).copied().unwrap_or(1));
        let inside = nodes.count() - asking;
        builder.insert(0, inside);
        builder.refine(0);
        builder.thin();
        let strangers = records[inside..nodes.count()].par_iter().map(|&record| rows.matrix(record));
        let strangers = strangers.collect::<Result<Vec<_>>>()?;
        let measure = |builder: &Builder<'_>, inside, source, asking: &[StoredMatrix<'_>]| {
            Measure { builder, rows, metric, nodes: &nodes, unit, inside }.ask(source, asking)
        };
        let mut measured = measure(&builder, inside, CurveSource::Records, &strangers)?;
        builder.insert(0, nodes.count());
        builder.thin();
        whole::link_orphans(&mut builder);
        measured.extend(measure(&builder, nodes.count(), CurveSource::Queries, queries)?);
        write(&builder, &nodes, &Curve::new(measured), out)?;
        Ok(rows.counts())
    }
}

/// A search for one query, which may be done again with a larger `ef`.
pub(crate) struct Walk<'w> {
    graph: &'w Hnsw,
    query: (&'w SignedCodes, f32, f32),
    beam: Beam,
}

impl Walk<'_> {
    /// Returns the positions of the `ef` nearest rows that the walk meets and of their twins, in order of position.
    ///
    /// # Errors
    /// None in practice: the sections were checked when they were read.
    pub(crate) fn near(&mut self, ef: usize) -> Result<Vec<u32>> {
        let (begun, graph, beam) = (Instant::now(), self.graph, &mut self.beam);
        let (codes, sections) = (graph.table.codes()?, &graph.table.sections);
        let (query, scale, unit) = self.query;
        let probe = Probe { codes, query, scale, unit, lift: None };
        let before = beam.compared;
        let links = Neighbours { links: sections.numbers(section::NEIGHBOURS)?, degree: DEGREE };
        let levels: &[u32] = sections.numbers(section::LEVELS)?;
        let most = graph.uppers.last().map_or(0, |&(_, size)| size);
        let tops = &levels[1 + graph.uppers.len()..][..most];
        let start = graph.uppers.iter().fold(0, |node, &(start, size)| {
            let links = &levels[start..][..size * UPPER_DEGREE];
            beam.climb(&Neighbours { links, degree: UPPER_DEGREE }, &probe, tops, node)
        });
        let start = tops.get(start as usize).copied().unwrap_or(0);
        beam.search(&links, &probe, &[start], ef);
        let mut near: Vec<u32> = beam.pool().iter().map(|near| near.node).collect();
        graph.walking.note(beam.compared - before, begun.elapsed());
        graph.twins()?.join(&mut near);
        near.sort_unstable();
        Ok(near)
    }

    /// Returns the position of the `k`-th nearest row met, or of the last one when fewer were.
    pub(crate) fn kth(&self, k: usize) -> Option<u32> {
        let pool = self.beam.pool();
        pool.get(k.max(1) - 1).or(pool.last()).map(|near| near.node)
    }
}

impl Drop for Walk<'_> {
    fn drop(&mut self) {
        let beam = std::mem::take(&mut self.beam);
        self.graph.beams.lock().unwrap_or_else(PoisonError::into_inner).push(beam);
    }
}

/// Writes the sections of a graph.
fn write(builder: &Builder<'_>, nodes: &Nodes<'_>, curve: &Curve, out: &mut SectionsWriter<'_>) -> Result<()> {
    let walked = whole::walk_order(&builder.layers[0].links);
    let mut positions = vec![0; walked.len()];
    (0..).zip(&walked).for_each(|(position, &node)| positions[node as usize] = position);
    let (order, starts) = nodes.twins.in_order(&walked);
    out.begin(section::CODES)?;
    order.iter().try_for_each(|&row| out.append(nodes.codes.row(row as usize)))?;
    out.end();
    let entries: Vec<CodeEntry> = order.iter().map(|&row| nodes.codes.entry(row as usize)).collect();
    out.section(section::CODE_ENTRIES, bytemuck::cast_slice(&planes(&entries)))?;
    let found: Vec<u32> = order.iter().map(|&row| nodes.records[row as usize]).collect();
    out.section(section::ORDER, bytemuck::cast_slice(&found))?;
    out.section(section::LIST_STARTS, bytemuck::cast_slice(&starts))?;
    out.begin(section::NEIGHBOURS)?;
    for &node in &walked {
        let links = builder.layers[0].links[node as usize].iter().map(|&link| positions[link as usize]);
        out.append(bytemuck::cast_slice(&list::<DEGREE>(links)))?;
    }
    out.end();
    let uppers = &builder.layers[1..];
    let mut levels = vec![uppers.len() as u32];
    levels.extend(uppers.iter().rev().map(|layer| layer.links.len() as u32));
    levels.extend(&positions[..uppers.first().map_or(0, |layer| layer.links.len())]);
    for links in uppers.iter().rev().flat_map(|layer| &layer.links) {
        levels.extend(list::<UPPER_DEGREE>(links.iter().copied()));
    }
    out.section(section::LEVELS, bytemuck::cast_slice(&levels))?;
    out.section(section::CURVE, &curve.to_bytes())?;
    out.section(section::QUESTIONS, &curve.questions_to_bytes())
}

/// Returns a list of neighbours as it lies in the file: filled up with [`NONE`].
fn list<const DEGREE: usize>(links: impl Iterator<Item = u32>) -> [u32; DEGREE] {
    let mut list = [NONE; DEGREE];
    list.iter_mut().zip(links).for_each(|(place, link)| *place = link);
    list
}

/// Returns the highest layer that a record is in, drawn from its number.
fn level(record: u32) -> u32 {
    let mut draws = mixed(u64::from(record.rotate_left(16) ^ 0x5bd1));
    let mut level = 0;
    while level + 1 < LEVELS && draws.is_multiple_of(SPARSER) {
        draws /= SPARSER;
        level += 1;
    }
    level
}

/// The lengths of rows.
struct Lengths<T> {
    /// The squared length of each row.
    squares: Vec<T>,
    /// The squared length that few rows exceed, by [`USUAL`].
    usual: T,
}

impl Lengths<f64> {
    fn of(rows: &Rows<'_>) -> Result<Lengths<f64>> {
        let square =
            |&record: &u32| rows.matrix(record).map(|row| ordered::dot(row.view().values(), row.view().values()));
        let squares = rows.records().par_iter().with_min_len(64).map(square).collect::<Result<Vec<f64>>>()?;
        let mut sorted = squares.clone();
        let usual = (sorted.len().saturating_sub(1) as f64 * USUAL) as usize;
        let usual = if sorted.is_empty() { 0.0 } else { *sorted.select_nth_unstable_by(usual, f64::total_cmp).1 };
        Ok(Lengths { squares, usual })
    }

    /// Returns the lengths of the rows at these places, in a unit in which they fit `f32`.
    fn of_nodes(&self, places: &[usize], unit: f64) -> Lengths<f32> {
        let square = |square: f64| (square * unit * unit).min(f64::from(f32::MAX)) as f32;
        Lengths { squares: places.iter().map(|&at| square(self.squares[at])).collect(), usual: square(self.usual) }
    }
}

/// Returns the power of two that makes most rows about as long as 1, so that the squares of their lengths are within
/// the range of `f32`.
fn unit(metric: Metric, entries: &[CodeEntry], lengths: Option<&Lengths<f64>>) -> f64 {
    let length = match (metric, lengths) {
        (_, Some(lengths)) => lengths.usual.sqrt(),
        (Metric::L2, None) => {
            let mut sizes: Vec<f32> = entries.iter().map(|entry| entry.size).collect();
            let middle = sizes.len() / 2;
            if sizes.is_empty() { 0.0 } else { f64::from(*sizes.select_nth_unstable_by(middle, f32::total_cmp).1) }
        }
        _ => 1.0,
    };
    if length > 0.0 { power_of_two(1.0 / length) } else { 1.0 }
}

/// Returns the squared length of each row as the graph sees it, and by inner product the further coordinate that brings
/// it to that length.
fn geometry(metric: Metric, codes: Sq8<'_>, lengths: Option<Lengths<f32>>) -> (Vec<f32>, Option<Vec<f32>>) {
    let entries = || (0..codes.len()).map(|row| codes.entry(row));
    match (metric, lengths) {
        (_, Some(Lengths { squares, usual })) => {
            let lifts = squares.iter().map(|square| (usual - square).max(0.0).sqrt()).collect();
            (squares.iter().map(|square| square.max(usual)).collect(), Some(lifts))
        }
        (Metric::L2, None) => (entries().map(|entry| -2.0 * entry.offset).collect(), None),
        (_, None) => (entries().map(|entry| entry.size * entry.size).collect(), None),
    }
}

#[cfg(test)]
mod tests;
