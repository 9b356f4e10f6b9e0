//! Ways of finding the best records of a view: today the exact scan.
//!
//! *Rows* are what a view makes of a record (`rows.rs`); a *place* is where a record lies in a snapshot. All that an
//! index keeps on disk is derived: it may be missing or broken, which costs speed and never an answer.

pub(crate) mod exact;
mod rows;
mod top;

pub(crate) use rows::{Place, ViewRows};
pub use top::{Ranked, Top};

use crate::error::Result;
use crate::filter::Filter;
use crate::store::Snapshot;
use rayon::prelude::*;
use roaring::RoaringBitmap;
use std::sync::Arc;

/// The live records that meet the filter, in order of segments and records. Each segment remembers
/// the answers to its latest filters, so that one asked again reads no fields.
pub(crate) fn places(snapshot: &Snapshot, filter: Option<&Filter>) -> Result<Vec<Place>> {
    let filter: Option<(&Filter, Arc<str>)> = filter.map(|filter| (filter, filter.to_string().into()));
    let mut places = Vec::with_capacity(snapshot.len());
    for (number, part) in snapshot.segments().iter().enumerate() {
        let segment = number as u32; // at most limits::SEGMENTS
        let live = (0..part.segment.records()).filter(|record| !part.deleted.contains(*record));
        match &filter {
            None => places.extend(live.map(|record| Place { segment, record })),
            Some((filter, text)) => {
                let matching = part.segment.matches.get(text, &part.deleted, || {
                    let live: Vec<u32> = live.collect();
                    let kept = live.par_iter().filter_map(|&record| match part.segment.fields(record) {
                        Ok(fields) => filter.matches(&fields).then_some(Ok(record)),
                        Err(error) => Some(Err(error)),
                    });
                    Ok(RoaringBitmap::from_iter(kept.collect::<Result<Vec<_>>>()?))
                })?;
                places.extend(matching.iter().map(|record| Place { segment, record }));
            }
        }
    }
    Ok(places)
}
