//! Indexes over records of several rows.

use super::index::{IndexInfo, IndexKind, made, worthy};
use crate::error::Result;
use crate::index::{Candidates, Curve, Place, ViewRows};
use crate::matrix::StoredMatrix;
use crate::store::{SectionsWriter, Segment, Snapshot, ViewFile};
use std::sync::Arc;
use std::time::Instant;

/// Fewest records of a segment that gets candidates: of fewer an exact scan takes moments, and half of them would be
/// needed.
const WORTH: u32 = 200;

/// Builds candidates over each segment of enough records, where there are none yet.
pub(super) fn build(snapshot: &Snapshot, rows: &ViewRows<'_>, queries: &[StoredMatrix<'_>]) -> Result<Vec<IndexInfo>> {
    let (metric, dim) = (rows.metric()?, rows.dim()?);
    let one = |(number, segment): (u32, &Segment)| {
        let begun = Instant::now();
        if let Some(candidates) = snapshot.artefact(segment, rows.view()).filter(|_| queries.is_empty()) {
            return Ok(info(number, segment, &candidates));
        }
        let matrix = |record| -> Result<StoredMatrix<'_>> { rows.matrix(Place { segment: number, record }) };
        let make =
            |out: &mut SectionsWriter<'_>| Candidates::build(&matrix, segment.records(), dim, metric, queries, out);
        let candidates = made(snapshot, segment, rows.view(), !queries.is_empty(), &make)?;
        Ok(IndexInfo { built: Some(begun.elapsed()), ..info(number, segment, &candidates) })
    };
    worthy(snapshot, WORTH).map(one).collect()
}

/// Returns the candidates that exist over a view.
pub(super) fn known(snapshot: &Snapshot, view: Option<&ViewFile>) -> impl Iterator<Item = IndexInfo> {
    worthy(snapshot, WORTH).filter_map(move |(number, segment)| {
        let candidates: Arc<Candidates> = snapshot.artefact(segment, view)?;
        Some(info(number, segment, &candidates))
    })
}

fn info(segment: u32, of: &Segment, candidates: &Candidates) -> IndexInfo {
    IndexInfo {
        segment,
        kind: IndexKind::Candidates,
        records: of.records(),
        rows: of.records() as usize - candidates.others().len() as usize,
        bytes: candidates.size(),
        curve: Curve::clone(&candidates.curve()),
        built: None,
    }
}
