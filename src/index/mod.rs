//! Ways of finding the best records of a view: today the exact scan.
//!
//! *Rows* are what a view makes of a record (`rows.rs`); a *place* is where a record lies in a snapshot. All that an
//! index keeps on disk is derived: it may be missing or broken, which costs speed and never an answer. A record that is
//! itself damaged is left out and named, and the others are found as if it were not there.

mod candidates;
mod curve;
pub(crate) mod exact;
mod rows;
mod top;

pub use candidates::Candidates;
pub use curve::{Curve, CurveEntry};
pub(crate) use rows::{Place, ViewRows};
pub use top::{Ranked, Top};

use crate::error::Result;
use crate::filter::Filter;
use crate::store::{Segment, Snapshot, Unreadable};
use rayon::prelude::*;
use roaring::RoaringBitmap;
use std::sync::Arc;

/// Records to be looked at.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// In order of segments and records.
    pub(crate) readable: Vec<Place>,
    /// Those that may belong among them, but cannot be read.
    pub(crate) unreadable: Vec<Unreadable>,
}

/// The live records that meet the filter. Each segment remembers the answers to its latest filters, so that one asked
/// again reads no fields.
pub(crate) fn places(snapshot: &Snapshot, filter: Option<&Filter>) -> Result<Places> {
    let filter: Option<(&Filter, Arc<str>)> = filter.map(|filter| (filter, filter.to_string().into()));
    let mut places = Places { readable: Vec::with_capacity(snapshot.len()), unreadable: Vec::new() };
    for (number, part) in snapshot.segments().iter().enumerate() {
        let segment = number as u32; // at most limits::SEGMENTS
        if let Some(unreadable) = part.unreadable()? {
            places.unreadable.push(unreadable);
            continue;
        }
        let live = (0..part.segment.records()).filter(|record| !part.deleted.contains(*record));
        match &filter {
            None => places.readable.extend(live.map(|record| Place { segment, record })),
            Some((filter, text)) => {
                let (matching, unreadable) =
                    part.segment.matches.get(text, &part.deleted, || ask(&part.segment, filter, live.collect()))?;
                places.readable.extend(matching.iter().map(|record| Place { segment, record }));
                places.unreadable.extend(unreadable);
            }
        }
    }
    Ok(places)
}

/// Which of these records meet the filter, and which cannot be asked.
fn ask(segment: &Segment, filter: &Filter, live: Vec<u32>) -> Result<(RoaringBitmap, Vec<Unreadable>)> {
    let answers = live.par_iter().filter_map(|&record| match segment.fields(record) {
        Ok(fields) => filter.matches(&fields).then_some(Ok(record)),
        Err(error) => Some(Err((record, error))),
    });
    let (mut matching, mut unreadable) = (RoaringBitmap::new(), Vec::new());
    for answer in answers.collect::<Vec<_>>() {
        match answer {
            Ok(record) => {
                matching.insert(record);
            }
            Err((record, error)) => unreadable.push(segment.unreadable(record, error)?),
        }
    }
    Ok((matching, unreadable))
}
