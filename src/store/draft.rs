//! The next version while it is being thought out: changes are applied in memory and checked; no file is touched.

use super::change::Change;
use super::fold;
use super::layout::Sixteen;
use super::log::{Commit, Operation};
use super::segment::{Body, Lookup, Memory, MemoryRecord, Segment, Values};
use super::version::{self, CollectionVersion, SegmentRef, Version};
use super::view_file;
use crate::error::{Error, Result};
use crate::limits;
use crate::matrix::MatrixView;
use crate::pipeline::Section;
use crate::record::{self, Fields, Record};
use roaring::RoaringBitmap;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// A version that differs from another by the changes applied so far.
#[derive(Debug)]
pub(super) struct Draft {
    /// Number of the commit that the changes are.
    pub seq: u64,
    /// The next number for a file or collection.
    pub next_no: u64,
    /// As they are without `records`.
    collections: BTreeMap<String, Arc<CollectionVersion>>,
    /// Records coming and going, by collection number.
    records: BTreeMap<u64, Staged>,
    pub views: Vec<StagedView>,
    pub ids: Vec<Vec<String>>,
    pub deleted: Vec<u64>,
    /// Whether there is anything new.
    pub changed: bool,
    /// Whether collections or views come or go, which only a manifest can say.
    pub structural: bool,
}

/// Records of one collection that come and go.
#[derive(Debug, Default)]
struct Staged {
    /// New records in order of arrival; none where a later one took its place.
    pending: Vec<Option<MemoryRecord>>,
    by_id: HashMap<String, usize>,
    /// Delete sets that change, by the place of their segments.
    deleted: BTreeMap<usize, RoaringBitmap>,
    /// Ids of records that go and are not written again.
    gone: BTreeSet<String>,
    /// How many records leave the segments.
    removed: u64,
    next_record: u64,
}

/// A view to be written.
#[derive(Debug)]
pub(super) struct StagedView {
    pub collection: u64,
    pub name: String,
    pub settings: Value,
    pub sections: Vec<Section>,
}

impl Draft {
    /// Nothing changed yet.
    pub(super) fn new(base: &Version, next_no: u64) -> Draft {
        Draft {
            seq: base.seq,
            next_no,
            collections: base.collections.clone(),
            records: BTreeMap::new(),
            views: Vec::new(),
            ids: Vec::new(),
            deleted: Vec::new(),
            changed: false,
            structural: false,
        }
    }

    /// The next number for a file or collection.
    pub(super) fn number(&mut self) -> u64 {
        self.next_no += 1;
        self.next_no - 1
    }

    pub(super) fn apply(&mut self, change: Change) -> Result<()> {
        match change {
            Change::CreateCollection { name, schema } => self.create_collection(name, schema),
            Change::DropCollection { name } => self.drop_collection(&name),
            Change::Upsert { collection, records } => self.upsert(&collection, records),
            Change::Delete { collection, ids } => self.delete(&collection, &ids),
            Change::CreateView { collection, name, settings, sections } => {
                self.create_view(&collection, name, settings, sections)
            }
            Change::DropView { collection, name } => self.drop_view(&collection, &name),
        }
    }

    fn collection(&self, name: &str) -> Result<&Arc<CollectionVersion>> {
        self.collections.get(name).ok_or_else(|| Error::not_found("collection", name, self.collections.keys()))
    }

    fn create_collection(&mut self, name: String, schema: record::Schema) -> Result<()> {
        record::check_name("collection", &name)?;
        schema.check()?;
        if self.collections.contains_key(&name) {
            return Err(Error::Exists { what: "collection", name });
        }
        let id = self.number();
        self.collections.insert(name.clone(), Arc::new(CollectionVersion::empty(id, name, schema)));
        (self.changed, self.structural) = (true, true);
        Ok(())
    }

    fn drop_collection(&mut self, name: &str) -> Result<()> {
        let id = self.collection(name)?.id;
        self.collections.remove(name);
        self.records.remove(&id);
        self.views.retain(|view| view.collection != id);
        (self.changed, self.structural) = (true, true);
        Ok(())
    }

    fn upsert(&mut self, collection: &str, records: Vec<Record>) -> Result<()> {
        let collection = self.collection(collection)?.clone();
        let staged = Staged::of(&mut self.records, &collection);
        self.changed |= !records.is_empty();
        let mut ids = Vec::with_capacity(records.len());
        for record in records {
            record.check(&collection.schema)?;
            let id = match record.id {
                Some(id) => id,
                None => loop {
                    let id = format!("{:020}", staged.next_record);
                    staged.next_record += 1;
                    // A user may have given that very id to a record of his own.
                    let free = !matches!(staged.find(&collection.segments, &id)?, Lookup::At(_));
                    if free && !staged.by_id.contains_key(&id) {
                        break id;
                    }
                },
            };
            let rows = record.matrix.rows();
            let values = Values::of(record.matrix.into_values(), collection.schema.precision)?;
            ids.push(id.clone());
            let record = MemoryRecord { seq: self.seq, id, fields: record.fields, rows, values };
            staged.put(&collection.segments, record)?;
        }
        self.ids.push(ids);
        Ok(())
    }

    fn delete(&mut self, collection: &str, ids: &[String]) -> Result<()> {
        let collection = self.collection(collection)?.clone();
        let staged = Staged::of(&mut self.records, &collection);
        let mut existed = 0;
        for id in ids {
            match staged.delete(&collection.segments, id)? {
                Lookup::At(()) => existed += 1,
                Lookup::Absent => {}
                Lookup::Unknown(damage) => return Err(damage.error()),
            }
        }
        self.changed |= existed > 0;
        self.deleted.push(existed);
        Ok(())
    }

    fn create_view(&mut self, collection: &str, name: String, settings: Value, sections: Vec<Section>) -> Result<()> {
        record::check_name("view", &name)?;
        view_file::check(&sections)?;
        let entry = self.collection(collection)?;
        let (id, dim) = (entry.id, entry.schema.dim);
        // The collection may have been dropped and made anew while the view was being fitted.
        if let Some(found) = settings["input_dim"].as_u64().filter(|found| *found != dim as u64) {
            return Err(Error::mismatch(format!("view `{name}`"), format!("rows of {dim} numbers"), found));
        }
        let staged = self.views.iter().any(|view| view.collection == id && view.name == name);
        if staged || entry.view_names().any(|view| view == name) {
            return Err(Error::Exists { what: "view", name });
        }
        self.views.push(StagedView { collection: id, name, settings, sections });
        (self.changed, self.structural) = (true, true);
        Ok(())
    }

    fn drop_view(&mut self, collection: &str, name: &str) -> Result<()> {
        let mut entry = CollectionVersion::clone(self.collection(collection)?);
        let before = entry.view_names().count() + self.views.len();
        self.views.retain(|view| view.collection != entry.id || view.name != name);
        entry.drop_view(name);
        if entry.view_names().count() + self.views.len() == before {
            return Err(Error::not_found("view", name, entry.view_names()));
        }
        self.collections.insert(collection.to_owned(), Arc::new(entry));
        (self.changed, self.structural) = (true, true);
        Ok(())
    }

    /// Applies a commit from a log. `body` gives a matrix that lies in a segment file.
    pub(super) fn replay(
        &mut self,
        commit: &Commit,
        body: &mut dyn FnMut(&Operation<'_>) -> Result<Option<Body>>,
    ) -> Result<()> {
        self.seq = commit.seq;
        self.changed = true;
        let mut collection = None;
        for operation in commit.operations()? {
            if let Operation::Collection { id, next_record } = operation {
                let missing = || commit.corrupt("a collection that is not there");
                let found = self.collection_of(id).ok_or_else(missing)?.clone();
                if next_record > limits::COUNTER {
                    return Err(commit.corrupt("a number for a record that cannot be"));
                }
                Staged::of(&mut self.records, &found).next_record = next_record;
                collection = Some(found);
                continue;
            }
            let collection = collection.as_ref().ok_or_else(|| commit.corrupt("a record of no collection"))?;
            let staged = Staged::of(&mut self.records, collection);
            let (schema, segments) = (&collection.schema, &collection.segments);
            let fits = |rows: u64, bytes: u64| {
                let wanted = rows.checked_mul(schema.dim as u64);
                wanted.and_then(|values| values.checked_mul(schema.precision.bytes() as u64)) == Some(bytes)
            };
            let (id, fields, rows, values) = match &operation {
                Operation::Collection { .. } => continue,
                Operation::Delete { id } => {
                    staged.delete(segments, id)?;
                    continue;
                }
                Operation::Upsert { id, fields, rows, matrix } if fits(*rows, matrix.len() as u64) => {
                    let values = Values::stored(matrix, schema.precision);
                    if let Values::Floats(values) = &values {
                        let checked = MatrixView::new(*rows as usize, schema.dim, values);
                        checked.map_err(|error| commit.corrupt(&error.to_string()))?;
                    }
                    (id, fields, *rows, values)
                }
                Operation::UpsertDirect { id, fields, rows, matrix_bytes, .. } if fits(*rows, *matrix_bytes) => {
                    let body = body(&operation)?.ok_or_else(|| commit.corrupt("a matrix that is nowhere"))?;
                    (id, fields, *rows, Values::Direct(Box::new(body)))
                }
                _ => return Err(commit.corrupt("a matrix of another length than its rows")),
            };
            let fields = Fields::from_json(fields).ok_or_else(|| commit.corrupt("fields that are no JSON object"))?;
            let id = (*id).to_owned();
            staged.put(segments, MemoryRecord { seq: commit.seq, id, fields, rows: rows as usize, values })?;
        }
        Ok(())
    }

    /// Puts segments with the same live records in the place of others; the caller sees to it that no records are staged.
    pub(super) fn replace_segments(&mut self, name: &str, old: &HashSet<Sixteen>, new: Vec<SegmentRef>) {
        let Some(collection) = self.collections.get(name) else { return };
        let mut changed = CollectionVersion::clone(collection);
        let goes = |part: &SegmentRef| part.segment.entry().is_some_and(|entry| old.contains(&entry.uuid));
        let at = changed.segments.iter().position(goes).unwrap_or(0);
        changed.segments.retain(|part| !goes(part));
        changed.segments.splice(at..at, new);
        self.collections.insert(name.to_owned(), Arc::new(changed));
    }

    /// Adds whole segments of new records to a collection; those with the same ids go.
    pub(super) fn add_segments(&mut self, to: &CollectionVersion, new: Vec<SegmentRef>) -> Result<()> {
        let now = self.collection(&to.name)?;
        if now.id != to.id {
            return Err(Error::not_found("collection", &to.name, [""; 0]));
        }
        let mut changed = CollectionVersion::clone(now);
        let mut staged = Staged { next_record: changed.next_record, ..Staged::default() };
        for part in &new {
            for n in part.numbers()? {
                staged.remove(&changed.segments, part.segment.id(n)?)?;
            }
        }
        staged.take_out(&mut changed);
        changed.records += new.iter().map(SegmentRef::live).sum::<u64>();
        changed.segments.splice(..0, new);
        self.collections.insert(to.name.clone(), Arc::new(changed));
        (self.changed, self.structural) = (true, true);
        Ok(())
    }

    /// New records, with the number of their collection.
    pub(super) fn new_records(&mut self) -> impl Iterator<Item = (u64, &mut MemoryRecord)> {
        let staged = self.records.iter_mut();
        staged.flat_map(|(id, staged)| staged.pending.iter_mut().flatten().map(|record| (*id, record)))
    }

    /// The collection of that number.
    pub(super) fn collection_of(&self, id: u64) -> Option<&Arc<CollectionVersion>> {
        version::of_number(&self.collections, id)
    }

    /// What records come and go, as the log says it.
    pub(super) fn payload(&self) -> Result<Vec<u8>> {
        let mut payload = Vec::new();
        for (id, staged) in &self.records {
            Operation::Collection { id: *id, next_record: staged.next_record }.write(&mut payload);
            staged.gone.iter().for_each(|id| Operation::Delete { id }.write(&mut payload));
            for record in staged.pending.iter().flatten() {
                let fields = record.fields.to_json();
                let (id, fields, rows) = (record.id.as_str(), fields.as_bytes(), record.rows as u64);
                match &record.values {
                    Values::Direct(body) => {
                        let (matrix_bytes, place) = (body.bytes(), body.place().clone());
                        Operation::UpsertDirect { id, fields, rows, matrix_bytes, place }.write(&mut payload);
                    }
                    values => Operation::Upsert { id, fields, rows, matrix: &values.bytes()? }.write(&mut payload),
                }
            }
        }
        Ok(payload)
    }

    /// The collections with all changes. New records become a segment in memory; small ones are merged.
    pub(super) fn finish(self, root: &Path) -> BTreeMap<String, Arc<CollectionVersion>> {
        let mut collections = self.collections;
        let mut records = self.records;
        for collection in collections.values_mut() {
            if let Some(staged) = records.remove(&collection.id) {
                let mut changed = CollectionVersion::clone(collection);
                staged.finish(&mut changed, root);
                *collection = Arc::new(changed);
            }
        }
        collections
    }
}

impl Staged {
    fn of<'s>(all: &'s mut BTreeMap<u64, Staged>, collection: &CollectionVersion) -> &'s mut Staged {
        let next_record = collection.next_record;
        all.entry(collection.id).or_insert_with(|| Staged { next_record, ..Staged::default() })
    }

    /// Where the record with this id is among the segments, unless it was removed.
    fn find(&self, segments: &[SegmentRef], id: &str) -> Result<Lookup<(usize, u32)>> {
        version::lookup(segments, id, |at| self.deleted.get(&at).unwrap_or(&segments[at].deleted))
    }

    /// Adds a record in the place of the one with its id. What damage hides is no reason to refuse it: it counts as not
    /// there.
    fn put(&mut self, segments: &[SegmentRef], record: MemoryRecord) -> Result<()> {
        self.remove(segments, &record.id)?;
        self.gone.remove(&record.id);
        self.by_id.insert(record.id.clone(), self.pending.len());
        self.pending.push(Some(record));
        Ok(())
    }

    fn delete(&mut self, segments: &[SegmentRef], id: &str) -> Result<Lookup<()>> {
        let removed = self.remove(segments, id)?;
        if matches!(removed, Lookup::At(())) {
            self.gone.insert(id.to_owned());
        }
        Ok(removed)
    }

    /// Removes the record with this id, wherever it is; `Absent` when there is none.
    fn remove(&mut self, segments: &[SegmentRef], id: &str) -> Result<Lookup<()>> {
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

    /// Lets the records go that do.
    fn take_out(self, collection: &mut CollectionVersion) {
        collection.next_record = self.next_record;
        for (at, deleted) in self.deleted {
            collection.segments[at].deleted = Arc::new(deleted);
        }
        collection.records = collection.records.saturating_sub(self.removed);
        collection.segments.retain(|part| part.live() > 0 || part.segment.memory().is_none());
    }

    fn finish(mut self, collection: &mut CollectionVersion, root: &Path) {
        let new = std::mem::take(&mut self.pending);
        let new: Vec<Arc<MemoryRecord>> = new.into_iter().flatten().map(Arc::new).collect();
        self.take_out(collection);
        if new.is_empty() {
            return;
        }
        collection.records += new.len() as u64;
        let segments = &mut collection.segments;
        let weights: Vec<_> =
            segments.iter().map(|part| part.segment.memory().map(|_| fold::weight_of(0, part.live()))).collect();
        let kept = segments.len() - fold::choose(&weights, fold::weight_of(0, new.len() as u64));
        let mut records: Vec<Arc<MemoryRecord>> = Vec::new();
        for part in segments.drain(kept..) {
            records.extend(part.live_memory().cloned());
        }
        records.extend(new);
        let memory = Memory::new(&collection.schema, records);
        segments.push(SegmentRef::new(Arc::new(Segment::of_memory(root, memory)), None, Arc::default()));
    }
}

/// A number that nobody else draws: the standard library's per-process random keys, and a counter.
pub(super) fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    use std::sync::atomic::{AtomicU64, Ordering};
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now();
    RandomState::new().hash_one((now, std::process::id(), DRAWN.fetch_add(1, Ordering::Relaxed)))
}

/// Sixteen random bytes.
pub(super) fn random_sixteen() -> Sixteen {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&random().to_le_bytes());
    bytes[8..].copy_from_slice(&random().to_le_bytes());
    bytes
}
