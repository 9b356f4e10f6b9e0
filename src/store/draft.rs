//! The next version while it is being thought out: changes are applied in memory and checked; no file is touched.

use super::change::Change;
use super::layout::Sixteen;
use super::manifest::{CollectionEntry, Manifest};
use super::segment::Lookup;
use super::version::{self, CollectionVersion, SegmentRef, Version};
use super::view_file;
use crate::error::{Error, Result};
use crate::pipeline::Section;
use crate::record::{self, Record};
use roaring::RoaringBitmap;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A version that differs from the current one by the changes applied so far.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub current: &'a Version,
    pub manifest: Manifest,
    /// Records coming and going, by collection number.
    pub records: BTreeMap<u64, Staged>,
    pub views: Vec<StagedView>,
    pub ids: Vec<Vec<String>>,
    pub deleted: Vec<u64>,
    pub changed: bool,
}

/// Records of one collection that come and go.
#[derive(Debug, Default)]
pub(super) struct Staged {
    /// New records in order of arrival; none where a later one took its place.
    pub pending: Vec<Option<(String, Record)>>,
    by_id: HashMap<String, usize>,
    /// Delete sets that change, by the place of their segments.
    pub deleted: BTreeMap<usize, RoaringBitmap>,
}

/// A view to be written.
#[derive(Debug)]
pub(super) struct StagedView {
    pub collection: u64,
    pub name: String,
    pub settings: Value,
    pub sections: Vec<Section>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(current: &'a Version) -> Draft<'a> {
        Draft {
            current,
            manifest: current.manifest.clone(),
            records: BTreeMap::new(),
            views: Vec::new(),
            ids: Vec::new(),
            deleted: Vec::new(),
            changed: false,
        }
    }

    /// The next number for a file or collection.
    pub(super) fn number(&mut self) -> u64 {
        self.manifest.next_no += 1;
        self.manifest.next_no - 1
    }

    /// The segments that a collection has now.
    pub(super) fn segments(&self, collection: u64) -> &'a [SegmentRef] {
        segments_of(self.current, collection)
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

    fn create_collection(&mut self, name: String, schema: record::Schema) -> Result<()> {
        record::check_name("collection", &name)?;
        schema.check()?;
        if self.manifest.collections.iter().any(|collection| collection.name == name) {
            return Err(Error::Exists { what: "collection", name });
        }
        let id = self.number();
        self.manifest.collections.push(CollectionEntry { id, name, schema, next_record: 1, views: Vec::new() });
        self.changed = true;
        Ok(())
    }

    fn drop_collection(&mut self, name: &str) -> Result<()> {
        let at = self.manifest.collection(name)?;
        let id = self.manifest.collections.remove(at).id;
        self.manifest.segments.retain(|segment| segment.collection != id);
        self.records.remove(&id);
        self.views.retain(|view| view.collection != id);
        self.changed = true;
        Ok(())
    }

    fn upsert(&mut self, collection: &str, records: Vec<Record>) -> Result<()> {
        let at = self.manifest.collection(collection)?;
        let entry = &mut self.manifest.collections[at];
        let segments = segments_of(self.current, entry.id);
        let staged = self.records.entry(entry.id).or_default();
        self.changed |= !records.is_empty();
        let mut ids = Vec::with_capacity(records.len());
        for mut record in records {
            record.check(&entry.schema)?;
            let id = match record.id.take() {
                Some(id) => id,
                None => loop {
                    let id = format!("{:020}", entry.next_record);
                    entry.next_record += 1;
                    // A user may have given that very id to a record of his own.
                    if !staged.by_id.contains_key(&id) && !matches!(staged.find(segments, &id)?, Lookup::At(_)) {
                        break id;
                    }
                },
            };
            // What damage hides is no reason to refuse a record: it counts as not there.
            staged.remove(segments, &id)?;
            staged.by_id.insert(id.clone(), staged.pending.len());
            staged.pending.push(Some((id.clone(), record)));
            ids.push(id);
        }
        self.ids.push(ids);
        Ok(())
    }

    fn delete(&mut self, collection: &str, ids: &[String]) -> Result<()> {
        let at = self.manifest.collection(collection)?;
        let id = self.manifest.collections[at].id;
        let segments = segments_of(self.current, id);
        let staged = self.records.entry(id).or_default();
        let mut existed = 0;
        for id in ids {
            match staged.remove(segments, id)? {
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
        let at = self.manifest.collection(collection)?;
        let entry = &self.manifest.collections[at];
        let (id, dim) = (entry.id, entry.schema.dim);
        // The collection may have been dropped and made anew while the view was being fitted.
        if let Some(found) = settings["input_dim"].as_u64().filter(|found| *found != dim as u64) {
            return Err(Error::mismatch(format!("view `{name}`"), format!("rows of {dim} numbers"), found));
        }
        let staged = self.views.iter().any(|view| view.collection == id && view.name == name);
        if staged || entry.views.iter().any(|view| view.name == name) {
            return Err(Error::Exists { what: "view", name });
        }
        self.views.push(StagedView { collection: id, name, settings, sections });
        self.changed = true;
        Ok(())
    }

    fn drop_view(&mut self, collection: &str, name: &str) -> Result<()> {
        let at = self.manifest.collection(collection)?;
        let entry = &mut self.manifest.collections[at];
        let before = entry.views.len() + self.views.len();
        entry.views.retain(|view| view.name != name);
        self.views.retain(|view| view.collection != entry.id || view.name != name);
        if entry.views.len() + self.views.len() == before {
            return Err(Error::not_found("view", name, entry.views.iter().map(|view| &view.name)));
        }
        self.changed = true;
        Ok(())
    }
}

fn segments_of(current: &Version, collection: u64) -> &[SegmentRef] {
    let found = current.collections.values().find(|version| version.id == collection);
    found.map_or(&[], |version: &Arc<CollectionVersion>| &version.segments)
}

impl Staged {
    /// Where the record with this id is among the segments, unless it was removed.
    fn find(&self, segments: &[SegmentRef], id: &str) -> Result<Lookup<(usize, u32)>> {
        version::lookup(segments, id, |at| self.deleted.get(&at).unwrap_or(&segments[at].deleted))
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
                deleted.insert(record);
                Ok(Lookup::At(()))
            }
            Lookup::Absent => Ok(Lookup::Absent),
            Lookup::Unknown(damage) => Ok(Lookup::Unknown(damage)),
        }
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
