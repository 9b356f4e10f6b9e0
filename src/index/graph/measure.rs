//! How much of the exact answer a graph finds: asked by rows that are not in it yet, so that they are strangers as queries are.

use super::Rows;
use super::beam::Beam;
use super::build::Builder;
use crate::error::Result;
use crate::index::codes::CodedQuery;
use crate::index::curve::{Curve, CurveEntry};
use crate::kernel::SignedCodes;
use crate::score::{Metric, Outcome, PreparedQuery, Scratch};
use rayon::prelude::*;

/// Widths of the search that are measured.
const WIDTHS: [u64; 15] = [10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 448, 640, 896, 1_280];
/// Numbers of hits that are measured.
const HITS: [u64; 3] = [1, 10, 100];
/// Most rows that ask, and at most one in so many.
const QUERIES: usize = 500;
const SHARE: usize = 10;

/// How many rows ask.
pub(super) fn queries(rows: usize) -> usize {
    (rows / SHARE).min(QUERIES)
}

/// Asks the graph of the first nodes by the last `asking` ones.
pub(super) fn curve(
    builder: &Builder<'_>,
    rows: &Rows<'_>,
    metric: Metric,
    records: &[u32],
    asking: usize,
) -> Result<Curve> {
    let inside = records.len() - asking;
    let ask = |(beam, query): &mut (Beam, SignedCodes), node: usize| -> Result<Vec<(f64, [f64; HITS.len()])>> {
        let truth = exact(builder, rows, metric, &records[..inside], records[node])?;
        let mut at_width = Vec::with_capacity(WIDTHS.len());
        for width in WIDTHS {
            let before = beam.compared;
            let mut near: Vec<u32> =
                builder.search(beam, query, node as u32, width as usize).iter().map(|near| near.node).collect();
            near.sort_unstable();
            let recall = HITS.map(|k| {
                let wanted = &truth[..truth.len().min(k as usize)];
                let found = wanted.iter().filter(|node| near.binary_search(node).is_ok()).count();
                found as f64 / wanted.len().max(1) as f64
            });
            at_width.push(((beam.compared - before) as f64, recall));
        }
        Ok(at_width)
    };
    let asked: Vec<Vec<(f64, [f64; HITS.len()])>> =
        (inside..records.len()).into_par_iter().map_init(Default::default, ask).collect::<Result<_>>()?;
    let mut entries = Vec::new();
    for (at, width) in WIDTHS.into_iter().enumerate() {
        let compared = asked.iter().map(|widths| widths[at].0).sum::<f64>() / asked.len().max(1) as f64;
        for (which, k) in HITS.into_iter().enumerate().filter(|&(_, k)| k <= width && k as usize <= inside) {
            let recalls: Vec<f64> = asked.iter().map(|widths| widths[at].1[which]).collect();
            entries.push(CurveEntry::new(k, width, &recalls, compared));
        }
    }
    Ok(Curve::new(entries))
}

/// The nodes that are most like a record, best first: as many as are measured.
fn exact(
    builder: &Builder<'_>,
    rows: &Rows<'_>,
    metric: Metric,
    records: &[u32],
    record: u32,
) -> Result<Vec<u32>> {
    let most = HITS[HITS.len() - 1] as usize;
    let row = rows.matrix(record)?;
    let query = CodedQuery::new(metric, row.view().row(0));
    let (candidates, _) = builder.codes().first(records.len()).candidates(&query, None, Some(most), f64::NEG_INFINITY);
    let prepared = PreparedQuery::new(metric, row.view())?;
    let mut scratch = Scratch::default();
    let mut scored = Vec::with_capacity(candidates.len());
    for &(_, node) in &candidates {
        let other = rows.matrix(records[node as usize])?;
        if let Outcome::Exact { score } = prepared.score(other.view(), f64::NEG_INFINITY, &mut scratch) {
            scored.push((score, node));
        }
    }
    scored.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    Ok(scored.into_iter().take(most).map(|(_, node)| node).collect())
}
