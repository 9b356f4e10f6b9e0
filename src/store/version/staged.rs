//! What one commit changes in one collection: records and views that are added and removed.

use super::merge_policy;
use super::{CollectionVersion, SegmentRef};
use crate::error::{Error, Result};
use crate::limits;
use crate::record::Record;
use crate::store::format::log::Operation;
use crate::store::segment::{Lookup, Memory, MemoryRecord, Segment, Values};
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

/// Changes of one collection.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    /// Whether this commit creates the collection.
    pub created: bool,
    /// Names of views that the commit creates; they are in the collection already.
    pub new_views: BTreeSet<String>,
    /// Names of views that the commit drops, if they were there before.
    pub gone_views: BTreeSet<String>,
    /// New records in order of arrival; none where a later change replaced or deleted one.
    pub pending: Vec<Option<MemoryRecord>>,
    by_id: HashMap<String, usize>,
    /// Delete sets that change, by the index of their segments.
    deleted: BTreeMap<usize, RoaringBitmap>,
    /// Ids of records that are deleted and not written again.
    gone: BTreeSet<String>,
    /// How many records of the segments are deleted.
    removed: u64,
    /// The next number for a record without an id.
    pub next_record: u64,
}

impl Staged {
    /// Begins without changes.
    pub(crate) fn new(collection: &CollectionVersion) -> Staged {
        Staged { next_record: collection.next_record, ..Staged::default() }
    }

    /// Returns an id for a record that has none: a number above all that were given, and that nobody named.
    pub(crate) fn number(&mut self, segments: &[SegmentRef], named: &BTreeSet<String>) -> Result<String> {
        loop {
            if self.next_record >= limits::COUNTER {
                return Err(Error::invalid("id", "all numbers have been given: give the record an id of its own"));
            }
            let id = Record::numbered_id(self.next_record);
            self.next_record += 1;
            // An earlier release, or somebody who named a number too large to count on from, may have left a record of
            // that id.
            let taken = named.contains(&id) || self.by_id.contains_key(&id);
            if !taken && !matches!(self.find(segments, &id)?, Lookup::At(_)) {
                return Ok(id);
            }
        }
    }

    /// Finds the record with this id in the segments, unless it was removed.
    fn find(&self, segments: &[SegmentRef], id: &str) -> Result<Lookup<(usize, u32)>> {
        super::lookup(segments, id, |at| self.deleted.get(&at).unwrap_or(&segments[at].deleted))
    }

    /// Adds a record, replacing the one with its id. If damage hides whether there is one, it counts as absent: that is
    /// no reason to refuse a record.
    pub(crate) fn put(&mut self, segments: &[SegmentRef], record: MemoryRecord) -> Result<()> {
        self.remove(segments, &record.id)?;
        self.gone.remove(&record.id);
        self.by_id.insert(record.id.clone(), self.pending.len());
        self.pending.push(Some(record));
        Ok(())
    }

    pub(crate) fn delete(&mut self, segments: &[SegmentRef], id: &str) -> Result<Lookup<()>> {
        let removed = self.remove(segments, id)?;
        if matches!(removed, Lookup::At(())) {
            self.gone.insert(id.to_owned());
        }
        Ok(removed)
    }

    /// Removes the record with this id, new or in a segment; `Absent` when there is none.
    pub(crate) fn remove(&mut self, segments: &[SegmentRef], id: &str) -> Result<Lookup<()>> {
        if let Some(at) = self.by_id.remove(id) {
            self.pending[at] = None;
            return Ok(Lookup::At(()));
        }
        match self.find(segments, id)? {
            Lookup::At((at, record)) => {
                let deleted = self.deleted.entry(at).or_insert_with(|| (*segments[at].deleted).clone());
                self.removed += u64::from(deleted.insert(record));
                Ok(Lookup::At(()))
            }
            Lookup::Absent => Ok(Lookup::Absent),
            Lookup::Unknown(damage) => Ok(Lookup::Unknown(damage)),
        }
    }

    /// Appends all changes to the payload of a log frame; `collection` is as it is without the records.
    pub(crate) fn write(&self, collection: &CollectionVersion, payload: &mut Vec<u8>) -> Result<()> {
        let (id, next_record) = (collection.id, self.next_record);
        if self.created {
            let schema = collection.schema.to_json().to_string();
            let (name, schema) = (collection.name.as_str(), schema.as_bytes());
            Operation::CreateCollection { id, name, schema }.write(payload);
        }
        Operation::Collection { id, next_record }.write(payload);
        self.gone_views.iter().for_each(|name| Operation::DropView { name }.write(payload));
        for name in &self.new_views {
            let Some(view) = collection.views.get(name) else { continue };
            let file = view.logged.as_deref().unwrap_or_default();
            Operation::CreateView { name, number: view.no, random: view.random, file }.write(payload);
        }
        self.gone.iter().for_each(|id| Operation::Delete { id }.write(payload));
        for record in self.pending.iter().flatten() {
            let fields = record.fields.to_json();
            let (id, fields, rows) = (record.id.as_str(), fields.as_bytes(), record.rows as u64);
            match &record.values {
                Values::Direct(body) => {
                    let (matrix_bytes, place) = (body.bytes(), body.place().clone());
                    Operation::UpsertDirect { id, fields, rows, matrix_bytes, place }.write(payload);
                }
                values => Operation::Upsert { id, fields, rows, matrix: &values.bytes()? }.write(payload),
            }
        }
        Ok(())
    }

    /// Marks the records that were removed as deleted in `collection`.
    pub(crate) fn take_out(self, collection: &mut CollectionVersion) {
        collection.next_record = self.next_record;
        for (at, deleted) in self.deleted {
            collection.segments[at].deleted = Arc::new(deleted);
        }
        collection.records = collection.records.saturating_sub(self.removed);
        collection.segments.retain(|part| part.live() > 0 || part.segment.memory().is_none());
    }

    /// Applies all changes of records to `collection`. New ones become a segment in memory; small ones are merged.
    pub(crate) fn finish(mut self, collection: &mut CollectionVersion, root: &Path) {
        let new = std::mem::take(&mut self.pending);
        let new: Vec<Arc<MemoryRecord>> = new.into_iter().flatten().map(Arc::new).collect();
        self.take_out(collection);
        if new.is_empty() {
            return;
        }
        collection.records += new.len() as u64;
        let segments = &mut collection.segments;
        let weights: Vec<_> = segments
            .iter()
            .map(|part| part.segment.memory().map(|_| merge_policy::weight_of(0, part.live())))
            .collect();
        let kept = segments.len() - merge_policy::choose(&weights, merge_policy::weight_of(0, new.len() as u64));
        let mut records: Vec<Arc<MemoryRecord>> = Vec::new();
        for part in segments.drain(kept..) {
            records.extend(part.live_memory().cloned());
        }
        records.extend(new);
        let memory = Memory::new(&collection.schema, records);
        segments.push(SegmentRef::new(Arc::new(Segment::of_memory(root, memory)), None, Arc::default()));
    }
}
