//! Indexes of a collection: built on request, kept beside the segments, used by queries that allow an approximate answer.

use super::{Collection, candidates};
use crate::error::{Error, Result};
use crate::index::graph::Graph;
use crate::index::{Curve, Place, ViewRows};
use crate::store::{SectionsWriter, Segment, Snapshot};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Fewest records of a segment that get an index: fewer are scanned before a walk through a graph would have begun.
const WORTH: u32 = 1_000;

/// A kind of index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexKind {
    /// A navigable graph over plain vectors.
    Hnsw,
    /// For records of several rows: which of them are likely to score best by MaxSim.
    Candidates,
}

/// An index over one segment.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexInfo {
    /// Number of the segment among those of the collection.
    pub segment: u32,
    /// What it is.
    pub kind: IndexKind,
    /// Records in the segment, deleted ones included.
    pub records: u32,
    /// Records that the index knows: those of exactly one row, of candidates those of any.
    pub rows: usize,
    /// Bytes of its file.
    pub bytes: u64,
    /// The recall that it measured of itself when it was built.
    pub curve: Curve,
    /// How long building took; nothing when it was there already.
    pub built: Option<Duration>,
}

impl IndexKind {
    /// Its name: `hnsw`, `candidates`.
    pub fn name(self) -> &'static str {
        match self {
            IndexKind::Hnsw => "hnsw",
            IndexKind::Candidates => "candidates",
        }
    }
}

impl Collection {
    /// Builds an index over each segment of enough records, where there is none yet. Records that are still in the log are written
    /// out first. Queries that ask for a [recall](crate::Query::recall) then use it: those of one row a graph, which knows the records of
    /// exactly one row (others are scanned beside it), and those of several rows candidates.
    ///
    /// It lasts as long as the segment: a compaction that joins segments builds it again for what it wrote, see
    /// [`Collection::indexes`]. Time: some 0.3 ms of one core a record of 384 numbers, by all threads of the rayon pool.
    ///
    /// # Errors
    /// [`Error::Invalid`] when this kind is for other records than the view has. [`Error::NotFound`] for an unknown view, [`Error::Corrupt`] for a damaged one, and those of flushing. An index that cannot be written is kept in
    /// memory. Damaged records are left out.
    pub fn build_index(&self, view: &str, kind: IndexKind) -> Result<Vec<IndexInfo>> {
        if self.store.is_writable() {
            self.store.flush()?;
        }
        let snapshot = self.snapshot()?;
        let rows = ViewRows::open(&snapshot, view)?;
        kind.check(&snapshot, &rows)?;
        if kind == IndexKind::Candidates {
            return candidates::build(&snapshot, &rows);
        }
        let mut infos = Vec::new();
        for (number, segment) in worthy(&snapshot, WORTH) {
            let (begun, known) = (Instant::now(), snapshot.artefact::<Graph>(segment, rows.view()));
            let there = known.is_some();
            let graph = match known {
                Some(graph) => graph,
                None => {
                    let plain = rows.plain(number)?;
                    if plain.records().len() < WORTH as usize {
                        continue;
                    }
                    let metric = rows.metric()?;
                    let build = |out: &mut SectionsWriter<'_>| Graph::build(&plain, metric, out);
                    snapshot.build_artefact(segment, rows.view(), &build)?
                }
            };
            let built = (!there).then(|| begun.elapsed());
            infos.push(IndexInfo { built, ..info(number, segment, &graph) });
        }
        Ok(infos)
    }

    /// The indexes that there are over a view.
    ///
    /// # Errors
    /// As [`Collection::build_index`].
    pub fn indexes(&self, view: &str) -> Result<Vec<IndexInfo>> {
        let snapshot = self.snapshot()?;
        let view = if view == crate::store::RAW { None } else { Some(snapshot.view(view)?.as_ref()) };
        let known = worthy(&snapshot, WORTH).filter_map(|(number, segment)| {
            let graph: Arc<Graph> = snapshot.artefact(segment, view)?;
            Some(info(number, segment, &graph))
        });
        Ok(known.chain(candidates::known(&snapshot, view)).collect())
    }
}

impl IndexKind {
    /// Refuses an index that would know no record of the view.
    fn check(self, snapshot: &Snapshot, rows: &ViewRows<'_>) -> Result<()> {
        let mut others = false;
        for (segment, part) in worthy(snapshot, 1) {
            for record in 0..part.records() {
                match rows.matrix(Place { segment, record }).map_or(0, |matrix| matrix.view().rows()) {
                    0 => {}
                    count if (count == 1) == (self != IndexKind::Candidates) => return Ok(()),
                    _ => others = true,
                }
            }
        }
        match (others, self) {
            (false, _) => Ok(()),
            (true, IndexKind::Candidates) => Err(Error::invalid(
                "candidates",
                "no record has several rows here: build hnsw, which is for records of one",
            )),
            (true, IndexKind::Hnsw) => Err(Error::invalid(
                "hnsw",
                "no record has exactly one row here: build candidates, which are for records of several",
            )),
        }
    }
}

/// The segments that may have an index over so many records at least.
pub(super) fn worthy(snapshot: &Snapshot, records: u32) -> impl Iterator<Item = (u32, &Segment)> {
    let segments = (0..).zip(snapshot.segments()).map(|(number, part)| (number, &*part.segment));
    segments.filter(move |(_, part)| part.is_sealed() && part.damage().is_none() && part.records() >= records)
}

fn info(segment: u32, of: &Segment, graph: &Graph) -> IndexInfo {
    IndexInfo {
        segment,
        kind: IndexKind::Hnsw,
        records: of.records(),
        rows: graph.table.len(),
        bytes: graph.table.sections.size(),
        curve: graph.curve.clone(),
        built: None,
    }
}
