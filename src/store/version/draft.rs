//! The next version while it is being made: changes are applied in memory and checked; no file is touched.

use super::change::Change;
use super::collections::Collections;
use super::staged::Staged;
use super::{CollectionVersion, SegmentRef, Version};
use crate::error::{Error, Result};
use crate::limits;
use crate::matrix::MatrixView;
use crate::pipeline::Section;
use crate::random::{unique, unique_bytes};
use crate::record::{self, Fields, Record, Schema};
use crate::store::ViewFile;
use crate::store::format::log::{Commit, Operation};
use crate::store::format::manifest::LEFT_ROOM;
use crate::store::format::view_file;
use crate::store::layout::Sixteen;
use crate::store::segment::{Body, Lookup, MemoryRecord, Values};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// A version that differs from another by the changes applied so far.
#[derive(Debug)]
pub(crate) struct Draft {
    database: Sixteen,
    generation: u64,
    /// Number of the commit that these changes make.
    pub seq: u64,
    /// The next number for a file or collection.
    pub next_no: u64,
    /// Most bytes that the collections took in a manifest before.
    room_before: u64,
    /// The collections, without the records in `staged`.
    collections: Collections,
    /// What changes, by collection number.
    staged: BTreeMap<u64, Staged>,
    /// Numbers of dropped collections that were there before.
    pub dropped: Vec<u64>,
    /// Bytes of their segments.
    pub dropped_bytes: u64,
    pub ids: Vec<Vec<String>>,
    pub deleted: Vec<u64>,
    /// Whether anything changed.
    pub changed: bool,
    /// Whether collections or views are created or dropped.
    pub structural: bool,
}

/// Ids that the changes of a commit name in one collection, if records without an id could be given the same.
#[derive(Debug, Default)]
struct Named {
    /// Above every named number that is small enough for counting to continue from it.
    floor: u64,
    /// Named ids whose numbers are too large to count on from.
    others: BTreeSet<String>,
}

impl Named {
    fn note<'a>(all: &mut HashMap<String, Named>, collection: &str, ids: impl Iterator<Item = &'a String>) {
        let own = all.entry(collection.to_owned()).or_default();
        for (id, number) in ids.filter_map(|id| Some((id, record::number_of(id)?))) {
            if number < limits::NUMBERED {
                own.floor = own.floor.max(number + 1);
            } else {
                own.others.insert(id.clone());
            }
        }
    }
}

impl Draft {
    /// Begins without changes.
    pub(crate) fn new(base: &Version, next_no: u64) -> Draft {
        Draft {
            database: base.manifest.database,
            generation: base.generation,
            seq: base.seq,
            next_no,
            room_before: base.collections.room(),
            collections: base.collections.clone(),
            staged: BTreeMap::new(),
            dropped: Vec::new(),
            dropped_bytes: 0,
            ids: Vec::new(),
            deleted: Vec::new(),
            changed: false,
            structural: false,
        }
    }

    /// Returns the next number for a file or collection.
    pub(crate) fn number(&mut self) -> u64 {
        self.next_no += 1;
        self.next_no - 1
    }

    /// Applies all changes of a commit. `reserved` holds, by collection, a number above those that running bulk loads
    /// have named.
    pub(crate) fn apply(&mut self, changes: Vec<Change>, reserved: &BTreeMap<u64, u64>) -> Result<()> {
        let mut named: HashMap<String, Named> = HashMap::new();
        for change in &changes {
            match change {
                Change::Upsert { collection, records } => {
                    Named::note(&mut named, collection, records.iter().filter_map(|record| record.id.as_ref()));
                }
                Change::Delete { collection, ids } => Named::note(&mut named, collection, ids.iter()),
                _ => {}
            }
        }
        for change in changes {
            match change {
                Change::CreateCollection { name, schema } => self.create_collection(name, schema)?,
                Change::DropCollection { name } => self.drop_collection(&name)?,
                Change::Upsert { collection, records } => {
                    let named = named.entry(collection.clone()).or_default();
                    self.upsert(&collection, records, named, reserved)?;
                }
                Change::Delete { collection, ids } => self.delete(&collection, &ids)?,
                Change::CreateView { collection, name, settings, sections } => {
                    self.create_view(&collection, &name, &settings, &sections)?;
                }
                Change::DropView { collection, name } => self.drop_view(&collection, &name)?,
            }
        }
        Ok(())
    }

    /// Refuses a commit that could be acknowledged but not published: whatever the log holds must fit the next
    /// manifest, which has at most `room` bytes and counters of a limited range. Changes that need no more room than
    /// before are allowed.
    pub(crate) fn check_room(&self, room: u64, left: usize) -> Result<()> {
        let records = self.staged.iter().filter(|(_, staged)| staged.pending.iter().any(Option::is_some));
        let records = records.filter_map(|(id, _)| self.collections.of_number(*id));
        let records: u64 = records.map(|collection| collection.room_of_records()).sum();
        let needed = self.collections.room() + records;
        if needed <= self.room_before {
            return Ok(());
        }
        if needed + left as u64 * LEFT_ROOM > room {
            let why = format!(
                "names, settings and segments of {} collections need more than the {room} bytes of a manifest: drop or \
                 compact some, or begin another database",
                self.collections.len()
            );
            return Err(Error::invalid("database", why));
        }
        let counters = [self.seq, self.next_no, self.generation];
        match counters.iter().any(|counter| *counter >= limits::COUNTER - limits::LAST_COUNTS) {
            true => Err(Error::invalid("database", "its counters are at their end: copy its records into a new one")),
            false => Ok(()),
        }
    }

    fn collection(&self, name: &str) -> Result<&Arc<CollectionVersion>> {
        self.collections.get(name).ok_or_else(|| Error::not_found("collection", name, self.collections.keys()))
    }

    fn create_collection(&mut self, name: String, schema: Schema) -> Result<()> {
        record::check_name("collection", &name)?;
        schema.check()?;
        if self.collections.contains_key(&name) {
            return Err(Error::Exists { what: "collection", name });
        }
        let collection = CollectionVersion::empty(self.number(), name, schema);
        self.staged(&collection).created = true;
        self.collections.put(collection);
        (self.changed, self.structural) = (true, true);
        Ok(())
    }

    fn drop_collection(&mut self, name: &str) -> Result<()> {
        let collection = self.collection(name)?.clone();
        self.collections.remove(name);
        let staged = self.staged.remove(&collection.id);
        if !staged.is_some_and(|staged| staged.created) {
            self.dropped.push(collection.id);
            let entries = collection.segments.iter().filter_map(|part| part.segment.entry());
            self.dropped_bytes += entries.map(|entry| entry.file.bytes).sum::<u64>();
        }
        (self.changed, self.structural) = (true, true);
        Ok(())
    }

    fn upsert(
        &mut self,
        collection: &str,
        records: Vec<Record>,
        named: &Named,
        reserved: &BTreeMap<u64, u64>,
    ) -> Result<()> {
        let collection = self.collection(collection)?.clone();
        let seq = self.seq;
        self.changed |= !records.is_empty();
        let staged = self.staged(&collection);
        let reserved = reserved.get(&collection.id).copied().unwrap_or(0);
        staged.next_record = staged.next_record.max(named.floor).max(reserved);
        let mut ids = Vec::with_capacity(records.len());
        for (at, record) in records.into_iter().enumerate() {
            let name = record.id.clone();
            let put = || -> Result<String> {
                record.check(&collection.schema)?;
                let id = match record.id {
                    Some(id) => id,
                    None => staged.number(&collection.segments, &named.others)?,
                };
                let rows = record.matrix.rows();
                let values = Values::of(record.matrix.into_values(), collection.schema.precision)?;
                let record = MemoryRecord { seq, id: id.clone(), fields: record.fields, rows, values };
                staged.put(&collection.segments, record)?;
                Ok(id)
            };
            ids.push(put().map_err(|error| error.of_record(at, name.as_deref()))?);
        }
        self.ids.push(ids);
        Ok(())
    }

    fn delete(&mut self, collection: &str, ids: &[String]) -> Result<()> {
        let collection = self.collection(collection)?.clone();
        let staged = self.staged(&collection);
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

    fn create_view(&mut self, collection: &str, name: &str, settings: &Value, sections: &[Section]) -> Result<()> {
        record::check_name("view", name)?;
        view_file::check(sections)?;
        let mut collection = CollectionVersion::clone(self.collection(collection)?);
        let dim = collection.schema.dim;
        // The collection may have been dropped and made anew while the view was being fitted.
        if let Some(found) = settings["input_dim"].as_u64().filter(|found| *found != dim as u64) {
            return Err(Error::mismatch(format!("view `{name}`"), format!("rows of {dim} numbers"), found));
        }
        if collection.view_names().any(|view| view == name) {
            return Err(Error::Exists { what: "view", name: name.to_owned() });
        }
        let numbers = (self.number(), unique(), unique_bytes());
        let view = ViewFile::stage(self.database, numbers, name, settings, sections);
        let view = view.map_err(|error| Error::invalid(format!("view `{name}`"), error.to_string()))?;
        collection.views.insert(name.to_owned(), Arc::new(view));
        self.staged(&collection).new_views.insert(name.to_owned());
        self.collections.put(collection);
        (self.changed, self.structural) = (true, true);
        Ok(())
    }

    fn drop_view(&mut self, collection: &str, name: &str) -> Result<()> {
        let mut collection = CollectionVersion::clone(self.collection(collection)?);
        if !collection.view_names().any(|view| view == name) {
            return Err(Error::not_found("view", name, collection.view_names()));
        }
        collection.drop_view(name);
        let staged = self.staged(&collection);
        if !staged.new_views.remove(name) {
            staged.gone_views.insert(name.to_owned());
        }
        self.collections.put(collection);
        (self.changed, self.structural) = (true, true);
        Ok(())
    }

    fn staged(&mut self, collection: &CollectionVersion) -> &mut Staged {
        self.staged.entry(collection.id).or_insert_with(|| Staged::new(collection))
    }

    /// Applies a commit from a log. `body` returns a matrix that lies in a segment file.
    pub(crate) fn replay(
        &mut self,
        commit: &Commit,
        body: &mut dyn FnMut(&Operation<'_>) -> Result<Option<Body>>,
    ) -> Result<()> {
        self.seq = commit.seq;
        self.changed = true;
        let mut current = None;
        for operation in commit.operations()? {
            match operation {
                Operation::CreateCollection { .. } | Operation::DropCollection { .. } => {
                    self.replay_collection(commit, &operation)?;
                    continue;
                }
                Operation::Collection { id, next_record } => {
                    let missing = || commit.corrupt("a collection that is not there");
                    let found = self.collections.of_number(id).ok_or_else(missing)?.clone();
                    if next_record > limits::COUNTER {
                        return Err(commit.corrupt("a number for a record that cannot be"));
                    }
                    self.staged(&found).next_record = next_record;
                    current = Some(found);
                    continue;
                }
                _ => {}
            }
            let collection = current.as_ref().ok_or_else(|| commit.corrupt("a record of no collection"))?;
            if let Operation::CreateView { .. } | Operation::DropView { .. } = operation {
                self.replay_view(commit, collection.id, &operation)?;
                continue;
            }
            let staged = self.staged(collection);
            let (schema, segments) = (&collection.schema, &collection.segments);
            let fits = |rows: u64, bytes: u64| {
                let wanted = rows.checked_mul(schema.dim as u64);
                wanted.and_then(|values| values.checked_mul(schema.precision.bytes() as u64)) == Some(bytes)
            };
            let (id, fields, rows, values) = match &operation {
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

    fn replay_collection(&mut self, commit: &Commit, operation: &Operation<'_>) -> Result<()> {
        match operation {
            Operation::CreateCollection { id, name, schema } => {
                let schema = serde_json::from_slice(schema).map_err(|_| commit.corrupt("a schema that is no JSON"))?;
                let schema = Schema::from_json(&schema).map_err(|error| commit.corrupt(&error.to_string()))?;
                if self.collections.contains_key(name)
                    || self.collections.of_number(*id).is_some()
                    || *id >= limits::COUNTER
                {
                    return Err(commit.corrupt("a collection that is there already"));
                }
                self.next_no = self.next_no.max(id + 1);
                self.collections.put(CollectionVersion::empty(*id, (*name).to_owned(), schema));
            }
            Operation::DropCollection { id } => {
                let missing = || commit.corrupt("a collection that is not there");
                let name = self.collections.of_number(*id).ok_or_else(missing)?.name.clone();
                self.collections.remove(&name);
                self.staged.remove(id);
            }
            _ => {}
        }
        Ok(())
    }

    fn replay_view(&mut self, commit: &Commit, collection: u64, operation: &Operation<'_>) -> Result<()> {
        let missing = || commit.corrupt("a collection that is not there");
        let mut collection = CollectionVersion::clone(self.collections.of_number(collection).ok_or_else(missing)?);
        match operation {
            Operation::CreateView { name, number, random, file } => {
                if collection.view_names().any(|view| view == *name) || *number >= limits::COUNTER {
                    return Err(commit.corrupt("a view that is there already"));
                }
                let view = ViewFile::logged(self.database, (*number, *random), name, file.to_vec());
                let view = view.map_err(|error| commit.corrupt(&error.to_string()))?;
                self.next_no = self.next_no.max(number + 1);
                collection.views.insert(view.name.clone(), Arc::new(view));
            }
            Operation::DropView { name } => collection.drop_view(name),
            _ => {}
        }
        self.collections.put(collection);
        Ok(())
    }

    /// Replaces segments by others with the same live records; the caller makes sure that no records are staged.
    pub(crate) fn replace_segments(&mut self, name: &str, old: &HashSet<Sixteen>, new: Vec<SegmentRef>) {
        let Some(collection) = self.collections.get(name) else { return };
        let mut changed = CollectionVersion::clone(collection);
        let goes = |part: &SegmentRef| part.segment.entry().is_some_and(|entry| old.contains(&entry.uuid));
        let at = changed.segments.iter().position(goes).unwrap_or(0);
        changed.segments.retain(|part| !goes(part));
        changed.segments.splice(at..at, new);
        self.collections.put(changed);
    }

    /// Adds whole segments of new records to a collection; older records with the same ids are removed.
    pub(crate) fn add_segments(
        &mut self,
        to: &CollectionVersion,
        new: Vec<SegmentRef>,
        reserved: &BTreeMap<u64, u64>,
    ) -> Result<()> {
        let now = self.collection(&to.name)?;
        if now.id != to.id {
            return Err(Error::not_found("collection", &to.name, [""; 0]));
        }
        let mut changed = CollectionVersion::clone(now);
        let mut staged = Staged::new(&changed);
        staged.next_record = staged.next_record.max(reserved.get(&to.id).copied().unwrap_or(0));
        for part in &new {
            for n in part.numbers()? {
                staged.remove(&changed.segments, part.segment.id(n)?)?;
            }
        }
        staged.take_out(&mut changed);
        changed.records += new.iter().map(SegmentRef::live).sum::<u64>();
        changed.segments.splice(..0, new);
        self.collections.put(changed);
        self.changed = true;
        Ok(())
    }

    /// Returns the new records, each with the number of its collection.
    pub(crate) fn new_records(&mut self) -> impl Iterator<Item = (u64, &mut MemoryRecord)> {
        let staged = self.staged.iter_mut();
        staged.flat_map(|(id, staged)| staged.pending.iter_mut().flatten().map(|record| (*id, record)))
    }

    /// Returns the collection of that number.
    pub(crate) fn collection_of(&self, id: u64) -> Option<&Arc<CollectionVersion>> {
        self.collections.of_number(id)
    }

    /// Returns all changes as the payload of a log frame.
    pub(crate) fn payload(&self) -> Result<Vec<u8>> {
        let mut payload = Vec::new();
        self.dropped.iter().for_each(|id| Operation::DropCollection { id: *id }.write(&mut payload));
        for (id, staged) in &self.staged {
            if let Some(collection) = self.collections.of_number(*id) {
                staged.write(collection, &mut payload)?;
            }
        }
        Ok(payload)
    }

    /// Returns the collections with all changes.
    pub(crate) fn finish(self, root: &Path) -> Collections {
        let mut collections = self.collections;
        for (id, staged) in self.staged {
            if let Some(collection) = collections.of_number(id) {
                let mut changed = CollectionVersion::clone(collection);
                staged.finish(&mut changed, root);
                collections.put(changed);
            }
        }
        collections
    }
}
