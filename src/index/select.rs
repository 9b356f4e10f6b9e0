//! Which records a search is about: per segment the live ones that meet the filter.

use super::rows::Place;
use crate::error::Result;
use crate::filter::{FieldIndex, Filter};
use crate::record::Fields;
use crate::store::{Segment, SegmentRef, Snapshot, Unreadable};
use rayon::prelude::*;
use roaring::RoaringBitmap;
use std::borrow::Cow;
use std::sync::Arc;

/// The records that a search looks at.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// By segment, in order; segments that cannot be read are left out.
    pub(crate) segments: Vec<Selected>,
    /// Records that may belong to the selection but cannot be read.
    pub(crate) unreadable: Vec<Unreadable>,
}

/// The selected records of one segment.
#[derive(Debug)]
pub(crate) struct Selected {
    /// Number of the segment in its snapshot.
    pub(crate) segment: u32,
    /// How many records the segment has.
    all: u32,
    records: Records,
}

#[derive(Debug)]
enum Records {
    /// All records of the segment but these.
    Except(Arc<RoaringBitmap>),
    Only(RoaringBitmap),
}

impl Selected {
    /// Returns how many records are selected.
    pub(crate) fn count(&self) -> u64 {
        match &self.records {
            Records::Except(deleted) => u64::from(self.all) - deleted.len(),
            Records::Only(records) => records.len(),
        }
    }

    /// Returns whether every record of the segment is selected.
    pub(crate) fn is_all(&self) -> bool {
        self.count() == u64::from(self.all)
    }

    /// Returns whether a record is selected.
    pub(crate) fn contains(&self, record: u32) -> bool {
        match &self.records {
            Records::Except(deleted) => !deleted.contains(record),
            Records::Only(records) => records.contains(record),
        }
    }

    /// Returns the numbers of the selected records, rising.
    pub(crate) fn iter(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        match &self.records {
            Records::Except(deleted) if deleted.is_empty() => Box::new(0..self.all),
            Records::Except(deleted) => Box::new((0..self.all).filter(|record| !deleted.contains(*record))),
            Records::Only(records) => Box::new(records.iter()),
        }
    }

    /// Returns the selected records as places.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> + '_ {
        self.iter().map(|record| Place { segment: self.segment, record })
    }

    /// Returns the selection as bitmaps: the only records that are selected, if it lists them, and the records that are
    /// not, if it has all others.
    pub(crate) fn bitmaps(&self) -> (Option<&RoaringBitmap>, Cow<'_, RoaringBitmap>) {
        match &self.records {
            Records::Except(deleted) => (None, Cow::Borrowed(deleted)),
            Records::Only(records) => (Some(records), Cow::default()),
        }
    }

    /// Keeps only the records for which `stays` returns true.
    pub(crate) fn retain(&mut self, mut stays: impl FnMut(u32) -> bool) {
        self.records = Records::Only(self.iter().filter(|&record| stays(record)).collect());
    }
}

/// Returns the live records that meet the filter. Each segment remembers the answers to its latest filters, so that a
/// repeated filter reads no fields.
pub(crate) fn select(snapshot: &Snapshot, filter: Option<&Filter>) -> Result<Selection> {
    let filter: Option<(&Filter, Arc<str>)> = filter.map(|filter| (filter, filter.to_string().into()));
    let mut selection = Selection { segments: Vec::with_capacity(snapshot.segments().len()), unreadable: Vec::new() };
    for (segment, part) in (0..).zip(snapshot.segments()) {
        if let Some(unreadable) = part.unreadable()? {
            selection.unreadable.push(unreadable);
            continue;
        }
        let all = part.segment.records();
        let records = match &filter {
            None => Records::Except(part.deleted.clone()),
            Some((filter, text)) => {
                let live = || (0..all).filter(|record| !part.deleted.contains(*record)).collect();
                let find = || match look_up(snapshot, part, filter) {
                    Some(matching) => Ok((matching, Vec::new())),
                    None => ask(&part.segment, filter, live()),
                };
                let (matching, unreadable) = part.segment.matches.get(text, &part.deleted, find)?;
                selection.unreadable.extend(unreadable);
                Records::Only(matching)
            }
        };
        selection.segments.push(Selected { segment, all, records });
    }
    Ok(selection)
}

/// Finds the records that meet the filter by their ids and the segment's field index; `None` when that index is needed
/// and cannot be used.
fn look_up(snapshot: &Snapshot, part: &SegmentRef, filter: &Filter) -> Option<RoaringBitmap> {
    let (_, fields) = filter.asks();
    let index = if fields { Some(FieldIndex::of(snapshot, &part.segment)?) } else { None };
    Some(filter.select(&*part.segment, index.as_deref()).ok()? - &*part.deleted)
}

/// Checks these records one by one: returns those that meet the filter, and those that cannot be read.
fn ask(segment: &Segment, filter: &Filter, live: Vec<u32>) -> Result<(RoaringBitmap, Vec<Unreadable>)> {
    let (ids, fields) = filter.asks();
    let asked = |record| -> Result<bool> {
        let id = if ids { segment.id(record)? } else { "" };
        let fields = if fields { segment.fields(record)? } else { Fields::default() };
        Ok(filter.matches(id, &fields))
    };
    let answers = live.par_iter().filter_map(|&record| match asked(record) {
        Ok(passes) => passes.then_some(Ok(record)),
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
