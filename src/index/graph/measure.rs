//! How much of the exact answer a graph finds: asked by rows that are not in it yet, so that they are strangers as queries are.

use super::Rows;
use super::beam::Beam;
use super::build::Builder;
use crate::error::Result;
use crate::index::curve::{Curve, CurveEntry};
use crate::index::truth::{ENOUGH, HITS, Truth};
use crate::kernel::SignedCodes;
use crate::score::Metric;
use rayon::prelude::*;

/// Widths of the search that are measured.
const WIDTHS: [u64; 20] = [10, 12, 14, 17, 20, 24, 28, 34, 40, 48, 56, 68, 80, 112, 160, 224, 320, 448, 640, 1_280];

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
    let truth = Truth::new(metric, rows, record)?;
    truth.look_at(builder.codes().first(records.len()), rows, records, 0)?;
    Ok(truth.finish())
}
