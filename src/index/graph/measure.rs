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
const WIDTHS: [u64; 20] = [10, 12, 14, 17, 20, 24, 28, 34, 40, 48, 56, 68, 80, 112, 160, 224, 320, 448, 640, 1_280];
/// Mean recall beyond which no wider search is measured.
const ENOUGH: f64 = 0.999;
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
    let truths: Vec<Vec<u32>> = (inside..records.len())
        .into_par_iter()
        .map(|node| exact(builder, rows, metric, &records[..inside], records[node]))
        .collect::<Result<_>>()?;
    let mut entries = Vec::new();
    for width in WIDTHS {
        let ask = |(beam, query): &mut (Beam, SignedCodes), (node, truth): (usize, &Vec<u32>)| {
            let before = beam.compared;
            let found = builder.search(beam, query, node as u32, width as usize);
            let mut near: Vec<u32> = found.iter().map(|near| near.node).collect();
            near.sort_unstable();
            let recall = HITS.map(|k| {
                let wanted = &truth[..truth.len().min(k as usize)];
                let found = wanted.iter().filter(|node| near.binary_search(node).is_ok()).count();
                found as f64 / wanted.len().max(1) as f64
            });
            ((beam.compared - before) as f64, recall)
        };
        let asked: Vec<(f64, [f64; HITS.len()])> =
            (inside..records.len()).into_par_iter().zip(&truths).map_init(Default::default, ask).collect();
        let compared = asked.iter().map(|(compared, _)| compared).sum::<f64>() / asked.len().max(1) as f64;
        let mut enough = !asked.is_empty();
        for (which, k) in HITS.into_iter().enumerate().filter(|&(_, k)| k as usize <= inside) {
            let recalls: Vec<f64> = asked.iter().map(|(_, recall)| recall[which]).collect();
            let entry = CurveEntry::new(k, width, &recalls, compared);
            enough &= entry.mean >= ENOUGH;
            if k <= width {
                entries.push(entry);
            }
        }
        if enough {
            break;
        }
    }
    Ok(Curve::new(entries))
}

/// The nodes that are most like a record, best first: as many as are measured.
fn exact(builder: &Builder<'_>, rows: &Rows<'_>, metric: Metric, records: &[u32], record: u32) -> Result<Vec<u32>> {
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
