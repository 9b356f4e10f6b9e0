//! Numbers in a byte each, made before a search asks for them: they make exact searches faster.

use super::index::{IndexInfo, IndexKind, worthy};
use crate::error::{Error, Result};
use crate::index::planes::Planes;
use crate::index::table::Sq8Table;
use crate::index::{Curve, ViewRows};
use crate::matrix::Matrix;
use crate::store::{Segment, Snapshot, ViewFile};
use std::time::Instant;

/// Makes codes of plain vectors and planes of matrices, whichever records a segment has, where there are none yet.
pub(super) fn build(snapshot: &Snapshot, rows: &ViewRows<'_>, queries: &[Matrix]) -> Result<Vec<IndexInfo>> {
    if !queries.is_empty() {
        return Err(Error::invalid("queries", "sq8 serves exact searches, so there is no recall to measure"));
    }
    let mut infos = Vec::new();
    for (number, segment) in worthy(snapshot, 1) {
        let before = known_of(snapshot, number, segment, rows.view()).len();
        let begun = Instant::now();
        rows.codes(number)?;
        rows.make_planes(number)?;
        let built = Some(begun.elapsed());
        let known = known_of(snapshot, number, segment, rows.view());
        infos.extend(known.into_iter().map(|info| IndexInfo { built: built.filter(|_| before == 0), ..info }));
    }
    Ok(infos)
}

/// Returns what there is over a view.
pub(super) fn known(snapshot: &Snapshot, view: Option<&ViewFile>) -> impl Iterator<Item = IndexInfo> {
    worthy(snapshot, 1).flat_map(move |(number, segment)| known_of(snapshot, number, segment, view))
}

fn known_of(snapshot: &Snapshot, number: u32, segment: &Segment, view: Option<&ViewFile>) -> Vec<IndexInfo> {
    let info = |rows, bytes| IndexInfo {
        segment: number,
        kind: IndexKind::Sq8,
        records: segment.records(),
        rows,
        bytes,
        curve: Curve::default(),
        built: None,
    };
    let codes = snapshot.artefact::<Sq8Table>(segment, view).map(|codes| info(codes.len(), codes.sections.size()));
    let planes = snapshot.artefact::<Planes>(segment, view).map(|planes| info(planes.bounded(), planes.size()));
    codes.into_iter().chain(planes).collect()
}
