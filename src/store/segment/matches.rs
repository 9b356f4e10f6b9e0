//! Which records of a segment met a filter: remembered, because a segment never changes and filters are asked again.

use crate::error::Result;
use crate::store::format::damage::Unreadable;
use roaring::RoaringBitmap;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Filters remembered for each segment.
const REMEMBERED: usize = 16;

/// The latest filters and what they found in one segment. The text stands for the filter: this room knows records only.
#[derive(Debug, Default)]
pub(crate) struct Matches(Mutex<VecDeque<Arc<Found>>>);

#[derive(Debug)]
struct Found {
    filter: Arc<str>,
    /// Records that were deleted when it was asked, and so not looked at.
    unknown: Arc<RoaringBitmap>,
    matching: RoaringBitmap,
}

impl Matches {
    /// Whether nothing is remembered: nothing was asked yet, or there is damage.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The records that meet the filter and are not in `deleted`, and those that cannot be asked; `ask` finds both
    /// where they are not remembered. Where there is damage nothing is, so that it is told each time.
    pub(crate) fn get(
        &self,
        filter: &Arc<str>,
        deleted: &Arc<RoaringBitmap>,
        ask: impl FnOnce() -> Result<(RoaringBitmap, Vec<Unreadable>)>,
    ) -> Result<(RoaringBitmap, Vec<Unreadable>)> {
        let remembered = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // An older snapshot may have records that a later one did not ask about any more.
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
