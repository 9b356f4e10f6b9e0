//! Bulk loading: writes records straight into sealed segments, which one publish at the end makes visible.

use super::publish::{Attempt, Stop};
use super::staged_segments::StagedSegments;
use crate::error::{Error, Result};
use crate::limits;
use crate::record::{self, Record};
use crate::store::segment::{Lookup, MemoryRecord, Segment, Values};
use crate::store::shared::Shared;
use crate::store::version::draft::Draft;
use crate::store::version::{CollectionVersion, SegmentRef};
use roaring::RoaringBitmap;
use std::collections::HashSet;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// A bulk load: writes records into segments of their own; see [`Collection::bulk_load`](crate::Collection::bulk_load).
/// If it is dropped before [`BulkLoad::finish`], nothing is left of it.
///
/// Heap: 1 MiB, and ids, fields and 80 bytes for each record of the segment being written, at most 32 MiB.
#[must_use = "nothing is there before `finish`"]
pub struct BulkLoad {
    shared: Arc<Shared>,
    collection: Arc<CollectionVersion>,
    staged: StagedSegments,
    /// Hashes of the ids in the segment being written.
    hashes: HashSet<u64>,
    seq: u64,
    records: u64,
}

impl BulkLoad {
    /// Begins a bulk load into a collection.
    pub(crate) fn new(shared: &Arc<Shared>, collection: &str) -> Result<BulkLoad> {
        let seq = shared.writer()?.newest.seq + 1;
        let collection = shared.version().collection(collection)?.clone();
        Ok(BulkLoad {
            staged: StagedSegments::new(shared, &collection),
            shared: shared.clone(),
            collection,
            hashes: HashSet::new(),
            seq,
            records: 0,
        })
    }

    /// Adds a record, which needs an id of its own. Of several with the same id, in the load or in the collection, the
    /// last stays; a repeated id begins another segment, so many of them make many segments.
    ///
    /// # Errors
    /// As [`Collection::upsert`](crate::Collection::upsert). After an error of the environment the load cannot go on.
    pub fn push(&mut self, record: Record) -> Result<()> {
        let schema = &self.collection.schema;
        let named = |error: Error| error.of_record(self.records as usize, record.id.as_deref());
        record.check(schema).map_err(named)?;
        let Some(id) = record.id else {
            return Err(Error::invalid("record", "a bulk load numbers none: give each an id, or use `upsert`"));
        };
        reserve(&self.shared, self.collection.id, &id)?;
        let (rows, hash) = (record.matrix.rows(), xxh3_64(id.as_bytes()));
        let values = Values::of(record.matrix.into_values(), schema.precision)?;
        let record = MemoryRecord { seq: self.seq, id, fields: record.fields, rows, values };
        let (fields, matrix) = (record.fields.to_json(), record.values.bytes()?);
        let stored = record.stored(schema.dim, schema.precision, &fields, &matrix);
        let mut push = || -> Attempt<()> {
            if !self.hashes.insert(hash) {
                self.staged.seal()?;
                self.hashes.clear();
                self.hashes.insert(hash);
            }
            self.staged.push(&stored)
        };
        let pushed = push();
        self.records += 1;
        pushed.map_err(|stop| self.shared.stopped(stop))
    }

    /// Makes all records visible in one commit, durably, and returns how many were loaded.
    ///
    /// # Errors
    /// As [`Collection::upsert`](crate::Collection::upsert); then no record was loaded, unless the outcome is unknown.
    pub fn finish(mut self) -> Result<u64> {
        if self.records == 0 {
            return Ok(0);
        }
        let done = self.install();
        self.staged.keep_unless(matches!(done, Err(Stop::Refused(_))));
        done.map_err(|stop| self.shared.stopped(stop))?;
        Ok(self.records)
    }

    fn install(&mut self) -> Attempt<()> {
        let segments = self.staged.finish()?;
        let mut new = Vec::with_capacity(segments.len());
        for (at, segment) in segments.iter().enumerate() {
            let deleted = overwritten(segment, &segments[at + 1..])?;
            new.push(SegmentRef::new(segment.clone(), None, Arc::new(deleted)));
        }
        let mut writer = self.shared.writer()?;
        let newest = writer.newest.clone();
        let mut draft = Draft::new(&newest, writer.next_no);
        draft.seq += 1;
        draft.add_segments(&self.collection, new, &writer.reserved)?;
        draft.check_room(self.shared.tuning.manifest_bytes, writer.left())?;
        self.shared.try_publish(&mut writer, draft)
    }
}

/// Makes sure that no record that is numbered from now on gets this id.
fn reserve(shared: &Shared, collection: u64, id: &str) -> Result<()> {
    if let Some(number) = record::number_of(id).filter(|number| *number < limits::NUMBERED) {
        let mut writer = shared.writer()?;
        let reserved = writer.reserved.entry(collection).or_default();
        *reserved = (*reserved).max(number + 1);
    }
    Ok(())
}

/// Returns the records of a segment whose ids are in later segments too.
fn overwritten(segment: &Segment, later: &[Arc<Segment>]) -> Result<RoaringBitmap> {
    let mut deleted = RoaringBitmap::new();
    for n in 0..segment.records() {
        let id = segment.id(n)?;
        for other in later {
            if let Lookup::At(_) = other.lookup(id)? {
                deleted.insert(n);
                break;
            }
        }
    }
    Ok(deleted)
}
