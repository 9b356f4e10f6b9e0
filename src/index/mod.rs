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

/// The live records that meet the filter, in order of segments and records.
pub(crate) fn places(snapshot: &Snapshot, filter: Option<&Filter>) -> Result<Vec<Place>> {
    let mut places = Vec::with_capacity(snapshot.len());
    for (number, part) in snapshot.segments().iter().enumerate() {
        let segment = number as u32; // at most limits::SEGMENTS
        let live = (0..part.segment.records()).filter(|record| !part.deleted.contains(*record));
        match filter {
            None => places.extend(live.map(|record| Place { segment, record })),
            Some(filter) => {
                let live: Vec<u32> = live.collect();
                let kept = live.par_iter().filter_map(|&record| match part.segment.fields(record) {
                    Ok(fields) => filter.matches(&fields).then_some(Ok(Place { segment, record })),
                    Err(error) => Some(Err(error)),
                });
                places.extend(kept.collect::<Result<Vec<_>>>()?);
            }
        }
    }
    Ok(places)
}
