//! Indexes of a collection: built on request, kept beside the segments, used by queries that allow an approximate answer.

use super::Collection;
use crate::error::Result;
use crate::index::graph::Graph;
use crate::index::lists::Lists;
use crate::index::plain::PlainIndex;
use crate::index::{Curve, ViewRows};
use crate::store::{RAW, Segment, Snapshot, ViewFile};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Fewest records of a segment that get an index: fewer are scanned before a walk through a graph would have begun.
const WORTH: u32 = 1_000;

/// A kind of index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexKind {
    /// A navigable graph over plain vectors.
    Hnsw,
    /// Plain vectors in lists, each near one centroid: built in a fraction of the time that a graph takes and in little memory, and read
    /// from front to back, so that it suits collections larger than memory; slower to search.
    Ivf,
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
    /// Records that the index knows: those of exactly one row.
    pub rows: usize,
    /// Bytes of its file.
    pub bytes: u64,
    /// The recall that it measured of itself when it was built.
    pub curve: Curve,
    /// How long building took; nothing when it was there already.
    pub built: Option<Duration>,
}

impl IndexKind {
    /// All kinds.
    pub const ALL: [IndexKind; 2] = [IndexKind::Hnsw, IndexKind::Ivf];

    /// Its name: `hnsw`, `ivf`.
    pub fn name(self) -> &'static str {
        match self {
            IndexKind::Hnsw => "hnsw",
            IndexKind::Ivf => "ivf",
        }
    }

    /// The index of this kind that a segment has.
    fn of(self, snapshot: &Snapshot, segment: &Segment, view: Option<&ViewFile>) -> Option<PlainIndex> {
        match self {
            IndexKind::Hnsw => snapshot.artefact::<Graph>(segment, view).map(PlainIndex::Graph),
            IndexKind::Ivf => snapshot.artefact::<Lists>(segment, view).map(PlainIndex::Lists),
        }
    }
}

impl Collection {
    /// Builds an index over each segment of enough records, where there is none yet. Records that are still in the log are written
    /// out first. Queries of one row that ask for a [recall](crate::Query::recall) then use it. An index knows the records of exactly one row; others
    /// are scanned beside it.
    ///
    /// It lasts as long as the segment: a compaction that joins segments builds it again for what it wrote, see
    /// [`Collection::indexes`]. Time, of one core, for each record of 384 numbers: some 0.3 ms ([`IndexKind::Hnsw`]) or 0.06 ms ([`IndexKind::Ivf`]), by all
    /// threads of the rayon pool.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown view, [`Error::Corrupt`] for a damaged one, and those of flushing. An index that cannot be written is kept in
    /// memory. Damaged records are left out.
    pub fn build_index(&self, view: &str, kind: IndexKind) -> Result<Vec<IndexInfo>> {
        if self.store.is_writable() {
            self.store.flush()?;
        }
        self.build_missing(view, kind)
    }

    fn build_missing(&self, view: &str, kind: IndexKind) -> Result<Vec<IndexInfo>> {
        let snapshot = self.snapshot()?;
        let rows = ViewRows::open(&snapshot, view)?;
        let mut infos = Vec::new();
        for (number, segment) in worthy(&snapshot) {
            let (begun, known) = (Instant::now(), kind.of(&snapshot, segment, rows.view()));
            let there = known.is_some();
            let index = match known {
                Some(index) => index,
                None => {
                    let plain = rows.plain(number)?;
                    if plain.records().len() < WORTH as usize {
                        continue;
                    }
                    let (metric, view) = (rows.metric()?, rows.view());
                    match kind {
                        IndexKind::Hnsw => PlainIndex::Graph(
                            snapshot.build_artefact(segment, view, &|out| Graph::build(&plain, metric, out))?,
                        ),
                        IndexKind::Ivf => PlainIndex::Lists(
                            snapshot.build_artefact(segment, view, &|out| Lists::build(&plain, metric, out))?,
                        ),
                    }
                }
            };
            let built = (!there).then(|| begun.elapsed());
            infos.push(IndexInfo { built, ..info(kind, number, segment, &index) });
        }
        Ok(infos)
    }

    /// The views, `raw` among them, over which there are indexes, and their kinds. A damaged view has none.
    pub(crate) fn indexed(&self) -> Vec<(String, IndexKind)> {
        let views: Vec<String> = match self.snapshot() {
            Ok(snapshot) => std::iter::once(RAW).chain(snapshot.view_names()).map(str::to_owned).collect(),
            Err(_) => Vec::new(),
        };
        let mut indexed = Vec::new();
        for view in views {
            for IndexInfo { kind, .. } in self.indexes(&view).unwrap_or_default() {
                if !indexed.contains(&(view.clone(), kind)) {
                    indexed.push((view.clone(), kind));
                }
            }
        }
        indexed
    }

    /// Builds such indexes where there are none. One that cannot be built costs speed and no answer, so nobody needs to hear of it here.
    pub(crate) fn index_again(&self, indexed: &[(String, IndexKind)], keep_going: &dyn Fn() -> bool) {
        for (view, kind) in indexed.iter().take_while(|_| keep_going()) {
            let _ = self.build_missing(view, *kind);
        }
    }

    /// The indexes that there are over a view.
    ///
    /// # Errors
    /// As [`Collection::build_index`].
    pub fn indexes(&self, view: &str) -> Result<Vec<IndexInfo>> {
        let snapshot = self.snapshot()?;
        let view = if view == RAW { None } else { Some(snapshot.view(view)?) };
        let known = worthy(&snapshot).flat_map(|(number, segment)| {
            let of = |kind: IndexKind| Some((kind, kind.of(&snapshot, segment, view.map(Arc::as_ref))?));
            IndexKind::ALL.into_iter().filter_map(of).map(move |(kind, index)| info(kind, number, segment, &index))
        });
        Ok(known.collect())
    }
}

fn worthy(snapshot: &Snapshot) -> impl Iterator<Item = (u32, &Segment)> {
    let segments = (0..).zip(snapshot.segments()).map(|(number, part)| (number, &*part.segment));
    segments.filter(|(_, segment)| segment.is_sealed() && segment.damage().is_none() && segment.records() >= WORTH)
}

fn info(kind: IndexKind, segment: u32, of: &Segment, index: &PlainIndex) -> IndexInfo {
    IndexInfo {
        segment,
        kind,
        records: of.records(),
        rows: index.table().len(),
        bytes: index.table().sections.size(),
        curve: index.curve().clone(),
        built: None,
    }
}
