//! Remembers which records of a segment met a filter, because a segment never changes and filters are used again.

use crate::error::Result;
use crate::store::format::damage::Unreadable;
use roaring::RoaringBitmap;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Filters remembered for each segment.
const REMEMBERED: usize = 16;

/// The latest filters, by their text, and the records of one segment that met them.
#[derive(Debug, Default)]
pub(crate) struct Matches(Mutex<VecDeque<Arc<Found>>>);

#[derive(Debug)]
struct Found {
    filter: Arc<str>,
    /// Records that were deleted when the filter was asked, and so not tested.
    unknown: Arc<RoaringBitmap>,
    matching: RoaringBitmap,
}

impl Matches {
    /// Returns whether nothing is remembered: nothing was asked yet, or there is damage.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Returns the records that meet the filter and are not in `deleted`, and those that cannot be read; `ask` finds
    /// both if they are not remembered. A result with damage is not remembered, so that the damage is reported each
    /// time.
    pub(crate) fn get(
        &self,
        filter: &Arc<str>,
        deleted: &Arc<RoaringBitmap>,
        ask: impl FnOnce() -> Result<(RoaringBitmap, Vec<Unreadable>)>,
    ) -> Result<(RoaringBitmap, Vec<Unreadable>)> {
        let remembered = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // An older snapshot may hold records that were already deleted when a later one asked.
        let serves = |found: &&Arc<Found>| found.filter == *filter && found.unknown.is_subset(deleted);
        let found = remembered().iter().find(serves).cloned();
        if let Some(found) = found {
            return Ok((&found.matching - &**deleted, Vec::new()));
        }
        let (matching, unreadable) = ask()?;
        if !unreadable.is_empty() {
            return Ok((matching, unreadable));
        }
        let found = Found { filter: filter.clone(), unknown: deleted.clone(), matching: matching.clone() };
        let mut remembered = remembered();
        remembered.retain(|found| found.filter != *filter);
        if remembered.len() == REMEMBERED {
            remembered.pop_front();
        }
        remembered.push_back(Arc::new(found));
        Ok((matching, unreadable))
    }
}
