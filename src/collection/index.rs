//! Indexes of a collection: built on request, kept beside the segments, used by queries that allow an approximate
//! answer.

use super::{Collection, candidates, sq8};
use crate::error::{Error, Result};
use crate::index::hnsw::Hnsw;
use crate::index::ivf::Ivf;
use crate::index::one_row::Rows;
use crate::index::plain::PlainIndex;
use crate::index::{Curve, Place, ViewRows};
use crate::matrix::{Matrix, StoredMatrix};
use crate::store::{Artefact, Counts, RAW, SectionsWriter, Segment, Snapshot, ViewFile};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Fewest records of a segment that gets an index: fewer are scanned before a walk through a graph would have begun.
const WORTH: u32 = 1_000;

/// A kind of index, and so which queries it serves: those of one row, or of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexKind {
    /// A navigable graph over plain vectors.
    Hnsw,
    /// Plain vectors in lists, each near one centroid: built in a fraction of the time that a graph takes and in little
    /// memory, and read from front to back, so that it suits collections larger than memory; slower to search.
    Ivf,
    /// For records of several rows: which of them are likely to score best by MaxSim.
    Candidates,
    /// SQ8 quantization: every number, or of matrices the leading coordinates of every row, in a byte. It serves exact
    /// searches, which make it by themselves once it is worth it; building it makes already the first one faster.
    Sq8,
}

/// An index over one segment.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct IndexInfo {
    /// Number of the segment among those of the collection.
    pub segment: u32,
    /// Which kind of index it is, and so which queries it serves.
    pub kind: IndexKind,
    /// Records in the segment, deleted ones included.
    pub records: u32,
    /// Records that the index knows: those of exactly one row; for candidates those of one row or more.
    pub rows: usize,
    /// Bytes of its file in `derived/`.
    pub bytes: u64,
    /// The recall that it measured of itself when it was built.
    pub curve: Curve,
    /// How long building took; `None` when it was there already.
    pub built: Option<Duration>,
}

impl IndexKind {
    /// All kinds, in the order in which they are listed.
    pub const ALL: [IndexKind; 4] = [IndexKind::Hnsw, IndexKind::Ivf, IndexKind::Candidates, IndexKind::Sq8];

    /// Returns its name: `hnsw`, `ivf`, `candidates`, `sq8`.
    pub fn name(self) -> &'static str {
        match self {
            IndexKind::Hnsw => "hnsw",
            IndexKind::Ivf => "ivf",
            IndexKind::Candidates => "candidates",
            IndexKind::Sq8 => "sq8",
        }
    }

    /// Returns the index of this kind over plain vectors that a segment has.
    fn plain(self, snapshot: &Snapshot, segment: &Segment, view: Option<&ViewFile>) -> Option<PlainIndex> {
        match self {
            IndexKind::Hnsw => snapshot.artefact::<Hnsw>(segment, view).map(PlainIndex::Hnsw),
            IndexKind::Ivf => snapshot.artefact::<Ivf>(segment, view).map(PlainIndex::Ivf),
            IndexKind::Candidates | IndexKind::Sq8 => None,
        }
    }
}

impl fmt::Display for IndexKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for IndexKind {
    type Err = Error;

    /// Reads the name of a kind.
    fn from_str(name: &str) -> Result<IndexKind> {
        let kind = IndexKind::ALL.into_iter().find(|kind| kind.name() == name);
        kind.ok_or_else(|| Error::invalid("index", format!("`{name}` is none of hnsw, ivf, candidates, sq8")))
    }
}

impl Collection {
    /// Builds an index over each segment of enough records, where there is none yet. Records that are still in the log
    /// are written out first. Queries that ask for a [recall](crate::Query::recall) then use it: those of one row a
    /// graph or lists, which know the records of exactly one row (others are scanned beside them), and those of several
    /// rows candidates.
    ///
    /// It lasts as long as the segment. [`Database::compact`](crate::Database::compact) builds it again for what it
    /// wrote; when the store by itself joins small segments or writes out the log, the new segments are scanned until
    /// this is called again. Building takes, for each record of 384 numbers, some 0.4 ms ([`IndexKind::Hnsw`]) or 0.06
    /// ms ([`IndexKind::Ivf`]) of one core, shared among all threads of the rayon pool.
    ///
    /// # Errors
    /// [`Error::Invalid`] when this kind is for other records than the view has. [`Error::NotFound`] for an unknown
    /// view, [`Error::Corrupt`] for a damaged one, and those of flushing. An index that cannot be written is kept in
    /// memory. Damaged records are left out.
    pub fn build_index(&self, view: &str, kind: IndexKind) -> Result<Vec<IndexInfo>> {
        self.build_index_with(view, kind, &[])
    }

    /// Does what [`Collection::build_index`] does, and measures recall also with these queries, given as raw rows as
    /// they would be to [`Collection::query`]. What an index measured with its records says nothing about queries that
    /// come from elsewhere, such as texts that ask for pictures: such a query is recognised and answered exactly,
    /// unless queries like it were among those given here. Some hundred of them are enough; measure with other ones
    /// afterwards.
    ///
    /// With queries, indexes that exist already are built anew. Those that a compaction builds are measured with
    /// records alone.
    ///
    /// # Errors
    /// As [`Collection::build_index`]; [`Error::Mismatch`] when rows do not fit the collection, [`Error::Invalid`] when
    /// the index serves queries of one row (in the view) and one has another number, or serves several and one has
    /// none.
    pub fn build_index_with(&self, view: &str, kind: IndexKind, queries: &[Matrix]) -> Result<Vec<IndexInfo>> {
        if self.store.is_writable() {
            self.store.flush()?;
        }
        self.build_missing(view, kind, queries)
    }

    fn build_missing(&self, view: &str, kind: IndexKind, queries: &[Matrix]) -> Result<Vec<IndexInfo>> {
        let snapshot = self.snapshot()?;
        let rows = ViewRows::open(&snapshot, view)?;
        if kind == IndexKind::Sq8 {
            return sq8::build(&snapshot, &rows, queries);
        }
        kind.check(&snapshot, &rows)?;
        let (metric, queries) = (rows.metric()?, kind.queries(&snapshot, &rows, queries)?);
        match kind {
            IndexKind::Candidates => candidates::build(&snapshot, &rows, &queries),
            IndexKind::Sq8 => Ok(Vec::new()), // built above
            IndexKind::Hnsw => build_plain(&snapshot, &rows, kind, !queries.is_empty(), &|segment, plain| {
                let make = |out: &mut SectionsWriter<'_>| Hnsw::build(plain, metric, &queries, out);
                made(&snapshot, segment, rows.view(), !queries.is_empty(), &make).map(PlainIndex::Hnsw)
            }),
            IndexKind::Ivf => build_plain(&snapshot, &rows, kind, !queries.is_empty(), &|segment, plain| {
                let make = |out: &mut SectionsWriter<'_>| Ivf::build(plain, metric, &queries, out);
                made(&snapshot, segment, rows.view(), !queries.is_empty(), &make).map(PlainIndex::Ivf)
            }),
        }
    }

    /// Returns the views, `raw` among them, that have indexes, and the kinds of these. A damaged view has none.
    pub(crate) fn indexed(&self) -> Vec<(String, IndexKind)> {
        let views: Vec<String> = match self.snapshot() {
            Ok(snapshot) => std::iter::once(RAW).chain(snapshot.view_names()).map(str::to_owned).collect(),
            Err(_) => Vec::new(),
        };
        let mut indexed = Vec::new();
        for view in views {
            for IndexInfo { kind, .. } in self.indexes(&view).unwrap_or_default() {
                // What exact searches use they make again.
                if kind != IndexKind::Sq8 && !indexed.contains(&(view.clone(), kind)) {
                    indexed.push((view.clone(), kind));
                }
            }
        }
        indexed
    }

    /// Builds these indexes where there are none. One that cannot be built costs speed but no answer, so its error is
    /// dropped.
    pub(crate) fn index_again(&self, indexed: &[(String, IndexKind)], keep_going: &dyn Fn() -> bool) {
        for (view, kind) in indexed.iter().take_while(|_| keep_going()) {
            let _ = self.build_missing(view, *kind, &[]);
        }
    }

    /// Returns the indexes that exist over a view.
    ///
    /// # Errors
    /// As [`Collection::build_index`].
    pub fn indexes(&self, view: &str) -> Result<Vec<IndexInfo>> {
        let snapshot = self.snapshot()?;
        let view = if view == RAW { None } else { Some(snapshot.view(view)?.as_ref()) };
        let known = worthy(&snapshot, WORTH).flat_map(|(number, segment)| {
            let of = |kind: IndexKind| Some((kind, kind.plain(&snapshot, segment, view)?));
            IndexKind::ALL.into_iter().filter_map(of).map(move |(kind, index)| info(kind, number, segment, &index))
        });
        Ok(known.chain(candidates::known(&snapshot, view)).chain(sq8::known(&snapshot, view)).collect())
    }
}

/// Returns an artefact, built if there is none, or `anew` in any case.
pub(super) fn made<A: Artefact>(
    snapshot: &Snapshot,
    segment: &Segment,
    view: Option<&ViewFile>,
    anew: bool,
    make: &dyn Fn(&mut SectionsWriter<'_>) -> Result<Counts>,
) -> Result<Arc<A>> {
    if anew { snapshot.rebuild_artefact(segment, view, make) } else { snapshot.build_artefact(segment, view, make) }
}

impl IndexKind {
    /// Turns queries into rows of the view; refuses those that this kind does not serve.
    fn queries<'q>(
        self,
        snapshot: &Snapshot,
        rows: &ViewRows<'_>,
        queries: &'q [Matrix],
    ) -> Result<Vec<StoredMatrix<'q>>> {
        let apply = |(number, query): (usize, &'q Matrix)| {
            let dim = snapshot.schema().dim;
            if query.dim() != dim {
                let found = format!("rows of {} in query {number}", query.dim());
                return Err(Error::mismatch("queries", format!("rows of {dim} numbers"), found));
            }
            let query = rows.apply(query.view())?;
            match (query.view().rows(), self) {
                (1.., IndexKind::Candidates) | (1, _) => Ok(query),
                (count, _) => Err(Error::invalid(
                    "queries",
                    format!("query {number} has {count} rows in this view, which {} is not for", self.name()),
                )),
            }
        };
        queries.iter().enumerate().map(apply).collect()
    }

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
            (true, _) => Err(Error::invalid(
                self.name(),
                "no record has exactly one row here: build candidates, which are for records of several",
            )),
        }
    }
}

/// Builds an index over plain vectors for each segment that is to have one and has none; for all of them if `anew`.
fn build_plain(
    snapshot: &Snapshot,
    rows: &ViewRows<'_>,
    kind: IndexKind,
    anew: bool,
    build: &dyn Fn(&Segment, &Rows<'_>) -> Result<PlainIndex>,
) -> Result<Vec<IndexInfo>> {
    let mut infos = Vec::new();
    for (number, segment) in worthy(snapshot, WORTH) {
        if let Some(index) = kind.plain(snapshot, segment, rows.view()).filter(|_| !anew) {
            infos.push(info(kind, number, segment, &index));
            continue;
        }
        let (begun, plain) = (Instant::now(), rows.plain(number)?);
        if plain.records().len() >= WORTH as usize {
            let index = build(segment, &plain)?;
            infos.push(IndexInfo { built: Some(begun.elapsed()), ..info(kind, number, segment, &index) });
        }
    }
    Ok(infos)
}

/// Returns the segments that may have an index: those in a file, undamaged, of at least so many records.
pub(super) fn worthy(snapshot: &Snapshot, records: u32) -> impl Iterator<Item = (u32, &Segment)> {
    let segments = (0..).zip(snapshot.segments()).map(|(number, part)| (number, &*part.segment));
    segments.filter(move |(_, part)| part.is_sealed() && part.damage().is_none() && part.records() >= records)
}

fn info(kind: IndexKind, segment: u32, of: &Segment, index: &PlainIndex) -> IndexInfo {
    IndexInfo {
        segment,
        kind,
        records: of.records(),
        rows: index.table().len(),
        bytes: index.table().sections.size(),
        curve: Curve::clone(&index.recall().curve()),
        built: None,
    }
}
