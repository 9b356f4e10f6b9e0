//! HNSW: a graph over plain vectors in codes, walked from a sparse layer down to the whole, for vectors of any length.
//!
//! Built from the codes alone, over the geometry of the metric: angles by cosine, distances by L2, and by inner product rows that a
//! further coordinate makes equally long (Bachrach and others, *Speeding up the Xbox recommender system using a Euclidean
//! transformation for inner-product spaces*), so that long rows do not swallow the others. Every node can be reached.
//!
//! In a file nodes are numbered as a walk through the graph meets them (a *position*), so that neighbours lie near each other, codes
//! included. What a walk finds is bounded and scored like the candidates of an exact scan: the order of the hits and their
//! scores are exact, only that nothing better was missed is not certain. How often something is, is measured while the graph is built, with
//! rows that are not in it yet.
//!
//! Costs: building some 0.3 ms of one core for each row of 384 numbers; 16 bytes and a byte a number for its codes, 132 bytes for its links.

mod beam;
mod build;
mod measure;
mod whole;

use super::codes::{CodeEntry, CodedQuery, Codes, planes};
use super::curve::Curve;
use super::one_row::Rows;
use super::pace::Pace;
use super::table::CodeTable;
use super::truth;
use crate::error::{Error, Result};
use crate::kernel::ordered;
use crate::score::Metric;
use crate::store::layout::{Kind, section};
use crate::store::{Artefact, Counts, Sections, SectionsWriter};
use beam::{Beam, Links, Probe};
use build::{Builder, DEGREE, SPARSER, UPPER_DEGREE};
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Stands where a list of neighbours has none left.
const NONE: u32 = u32::MAX;
/// Most layers: enough for as many rows as a segment can have.
const LEVELS: u32 = 9;
/// Share of the rows that are no longer than the length to which the shorter ones are brought.
const USUAL: f64 = 0.99;

/// A graph over the rows of one segment in one view.
#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) table: CodeTable,
    /// Where each upper layer's neighbours begin among the words of the levels, and its nodes; from the top down.
    uppers: Vec<(usize, usize)>,
    pub(crate) curve: Curve,
    /// What comparing with one row takes in a walk.
    pub(crate) walking: Pace,
    beams: Mutex<Vec<Beam>>,
}

impl Artefact for Graph {
    const KIND: Kind = Kind::Graph;

    fn read(sections: Sections) -> Result<Graph> {
        let table = CodeTable::check(sections)?;
        let (sections, count) = (&table.sections, table.len());
        let links: &[u32] = sections.numbers(section::NEIGHBOURS)?;
        if Some(links.len()) != count.checked_mul(DEGREE) || !are_links(links, count, DEGREE) {
            return Err(sections.corrupt(section::NEIGHBOURS, "neighbours that there are not"));
        }
        let uppers = read_levels(sections.numbers(section::LEVELS)?, count);
        let uppers = uppers.ok_or_else(|| sections.corrupt(section::LEVELS, "layers that contradict each other"))?;
        let curve = Curve::from_bytes(sections.bytes(section::CURVE)?);
        let curve = curve.map_err(|what| sections.corrupt(section::CURVE, what))?;
        let walking = Pace::new(10.0 + 0.06 * sections.counts().dim as f64);
        Ok(Graph { uppers, curve, walking, beams: Mutex::default(), table })
    }
}

fn are_links(links: &[u32], nodes: usize, degree: usize) -> bool {
    links.par_chunks(1 << 14).all(|links| links.iter().all(|&link| link == NONE || (link as usize) < nodes))
        && links.par_chunks(degree).with_min_len(1 << 10).all(|list| {
            let used = list.iter().take_while(|&&link| link != NONE).count();
            list[used..].iter().all(|&link| link == NONE)
        })
}

/// Words of the levels: how many upper layers; the nodes of each, from the top down; the position of each of the lowest of these
/// layers' nodes; then, layer by layer, the neighbours of each node.
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

/// One layer in the file.
struct Lists<'a> {
    links: &'a [u32],
    degree: usize,
}

impl Links for Lists<'_> {
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

impl Graph {
    /// Positions of the `width` nearest rows that a walk meets, in order of position.
    pub(crate) fn near(&self, query: &CodedQuery, width: usize) -> Result<Vec<u32>> {
        let (begun, codes, sections) = (Instant::now(), self.table.codes()?, &self.table.sections);
        let (query, scale) = query.coarse();
        let probe = Probe { codes, query, scale, lift: None };
        let mut beam = self.beams.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        let before = beam.compared;
        let levels: &[u32] = sections.numbers(section::LEVELS)?;
        let most = self.uppers.last().map_or(0, |&(_, size)| size);
        let tops = &levels[1 + self.uppers.len()..][..most];
        let start = self.uppers.iter().fold(0, |node, &(start, size)| {
            let links = &levels[start..][..size * UPPER_DEGREE];
            beam.climb(&Lists { links, degree: UPPER_DEGREE }, &probe, tops, node)
        });
        let start = tops.get(start as usize).copied().unwrap_or(0);
        let links = Lists { links: sections.numbers(section::NEIGHBOURS)?, degree: DEGREE };
        let mut near: Vec<u32> = beam.search(&links, &probe, &[start], width).iter().map(|near| near.node).collect();
        self.walking.note(beam.compared - before, begun.elapsed());
        self.beams.lock().unwrap_or_else(PoisonError::into_inner).push(beam);
        near.sort_unstable();
        Ok(near)
    }

    /// Builds a graph over all records that have exactly one row.
    ///
    /// # Errors
    /// Those of reading rows and of writing.
    pub(crate) fn build(rows: &Rows<'_>, metric: Metric, out: &mut SectionsWriter<'_>) -> Result<Counts> {
        let lengths = if metric == Metric::Dot { Some(lengths(rows)?) } else { None };
        // In the order in which they are put in. By inner product the longest rows are in most answers, so the graph is measured
        // with all of them in it: other rows ask.
        let place = |&at: &usize| {
            let usual = lengths.as_ref().is_none_or(|lengths| lengths.squares[at] <= lengths.usual);
            let record = rows.records()[at];
            (std::cmp::Reverse(level(record)), usual, mixed(record), record)
        };
        let mut order: Vec<usize> = (0..rows.records().len()).collect();
        order.sort_by_cached_key(place);
        let records: Vec<u32> = order.iter().map(|&at| rows.records()[at]).collect();
        let top = records.first().map_or(0, |&record| level(record));
        let sizes: Vec<usize> =
            (0..=top).map(|lowest| records.partition_point(|&record| level(record) >= lowest)).collect();
        let lengths = lengths.map(|Lengths { squares, usual }| {
            let squares = order.iter().map(|&at| squares[at]).collect();
            Lengths { squares, usual }
        });

        let (bytes, entries) = rows.encode(metric, &records)?;
        let in_planes = planes(&entries);
        let codes = Codes::new(&bytes, &in_planes, rows.dim()).map_err(|what| Error::invalid("graph", what))?;
        let (squares, lifts) = geometry(metric, codes, lengths);
        let mut builder = Builder::new(codes, squares, lifts, &sizes);
        (1..sizes.len()).rev().for_each(|level| builder.insert(level, sizes[level]));
        let asking = truth::queries(records.len()).min(records.len() - sizes.get(1).copied().unwrap_or(1));
        builder.insert(0, records.len() - asking);
        builder.refine(0);
        builder.thin();
        let curve = measure::curve(&builder, rows, metric, &records, asking)?;
        builder.insert(0, records.len());
        builder.thin();
        whole::link_orphans(&mut builder);

        let order = whole::walk_order(&builder.layers[0].links);
        let mut positions = vec![0; order.len()];
        (0..).zip(&order).for_each(|(position, &node)| positions[node as usize] = position);
        out.begin(section::CODES)?;
        order.iter().try_for_each(|&node| out.append(codes.row(node as usize)))?;
        out.end();
        let entries: Vec<CodeEntry> = order.iter().map(|&node| codes.entry(node as usize)).collect();
        out.section(section::CODE_ENTRIES, bytemuck::cast_slice(&planes(&entries)))?;
        let found: Vec<u32> = order.iter().map(|&node| records[node as usize]).collect();
        out.section(section::ORDER, bytemuck::cast_slice(&found))?;
        out.begin(section::NEIGHBOURS)?;
        for &node in &order {
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
        Ok(rows.counts())
    }
}

/// A list of neighbours as the file has it.
fn list<const DEGREE: usize>(links: impl Iterator<Item = u32>) -> [u32; DEGREE] {
    let mut list = [NONE; DEGREE];
    list.iter_mut().zip(links).for_each(|(place, link)| *place = link);
    list
}

/// A number that looks random and depends on the record's alone (the finaliser of SplitMix64).
fn mixed(record: u32) -> u64 {
    let mut word = (u64::from(record) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// The highest layer that a record is in.
fn level(record: u32) -> u32 {
    let mut draws = mixed(record.rotate_left(16) ^ 0x5bd1);
    let mut level = 0;
    while level + 1 < LEVELS && draws.is_multiple_of(SPARSER) {
        draws /= SPARSER;
        level += 1;
    }
    level
}

/// How long rows are.
struct Lengths {
    /// The squared length of each.
    squares: Vec<f32>,
    /// The one that few exceed.
    usual: f32,
}

fn lengths(rows: &Rows<'_>) -> Result<Lengths> {
    let square =
        |&record: &u32| rows.matrix(record).map(|row| ordered::dot(row.view().values(), row.view().values()) as f32);
    let squares = rows.records().par_iter().with_min_len(64).map(square).collect::<Result<Vec<f32>>>()?;
    let mut sorted = squares.clone();
    let usual = (sorted.len().saturating_sub(1) as f64 * USUAL) as usize;
    let usual = if sorted.is_empty() { 0.0 } else { *sorted.select_nth_unstable_by(usual, f32::total_cmp).1 };
    Ok(Lengths { squares, usual })
}

/// The squared length of each row as the graph sees it, and by inner product the coordinate that brings it there.
fn geometry(metric: Metric, codes: Codes<'_>, lengths: Option<Lengths>) -> (Vec<f32>, Option<Vec<f32>>) {
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
