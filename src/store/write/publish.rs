//! A publish: files first, then the manifest that names them.
//!
//! 1. Records that so far are only in the log are written into segments; changed delete sets and new view files are
//!    written. All get new names; each file is synced, then their directories.
//! 2. `manifest-<g+1>.tmp` is written and synced, renamed to `manifest-<g+1>`, and the directory is synced: this is the
//!    commit. Manifests that are no longer needed lose their names by the same sync.
//!
//! A power cut before the rename is durable leaves generation g with its log, and files that nothing names; after it,
//! g+1 and every file it names, because these were synced before, names included. Everything that could fail for
//! another reason (opening the new files, pinning) is done before the rename.

use super::gc;
use crate::error::{Error, Result};
use crate::limits;
use crate::random::{unique, unique_bytes};
use crate::store::ViewFile;
use crate::store::files::{File, Files, SEG, TEMPORARY, VIEW};
use crate::store::format::container::{Finished, Identity};
use crate::store::format::deletes;
use crate::store::format::manifest::{
    CollectionEntry, DeletesEntry, FileEntry, Manifest, Packed, SegmentEntry, ViewEntry, name_of,
};
use crate::store::options::Access;
use crate::store::segment::{self, MemoryRecord, OpenSegment, SegmentWriter, Values, Written};
use crate::store::version::collections::Collections;
use crate::store::version::draft::Draft;
use crate::store::version::merge_policy;
use crate::store::version::{CollectionVersion, Pin, SegmentRef, Version};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Why a commit stopped, and what that means.
pub(crate) enum Stop {
    /// Nothing was changed, and the next commit may succeed.
    Refused(Error),
    /// Nothing of it will ever be seen, but it is unknown what the disk holds: nothing more is written.
    Poison(Error),
    /// It may have taken place: nothing more is written.
    Unknown(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        match error {
            Error::Io { operation: "write", .. } | Error::Poisoned { .. } => Stop::Poison(error),
            other => Stop::Refused(other),
        }
    }
}

pub(crate) type Attempt<T> = Result<T, Stop>;

/// Writes the files of one draft.
pub(crate) struct Publisher<'a> {
    files: &'a Files,
    access: Access,
    base: &'a Version,
    /// Open segments, which get sealed, by collection.
    open: BTreeMap<u64, OpenSegment>,
    /// Names of all segment files that the log names.
    direct: &'a BTreeSet<String>,
    seq: u64,
    next_no: u64,
    /// Files made so far, to be removed if the publish is refused.
    made: Vec<String>,
}

/// The result of a publish.
pub(crate) struct Published {
    pub version: Version,
    pub next_no: u64,
    /// The result of removing old manifests; the publish succeeds without it.
    pub retired: Result<()>,
}

impl<'a> Publisher<'a> {
    pub(crate) fn new(
        files: &'a Files,
        access: Access,
        base: &'a Version,
        open: BTreeMap<u64, OpenSegment>,
        direct: &'a BTreeSet<String>,
    ) -> Publisher<'a> {
        Publisher { files, access, base, open, direct, seq: 0, next_no: 0, made: Vec::new() }
    }

    /// Publishes the draft.
    pub(crate) fn run(mut self, draft: Draft) -> Attempt<Published> {
        (self.seq, self.next_no) = (draft.seq, draft.next_no);
        let collections = draft.finish(self.files.root());
        let done = self.write_files(&collections).and_then(|manifest| self.commit(manifest));
        if let Err(Stop::Refused(_)) = done {
            for name in &self.made {
                // What cannot be removed is removed by a later sweep.
                let _ = self.files.remove(name);
            }
        }
        done
    }

    /// Returns the next number for a file.
    fn number(&mut self) -> u64 {
        self.next_no += 1;
        self.next_no - 1
    }

    fn create(&mut self, name: String) -> Result<File> {
        let file = self.files.create(&name)?;
        self.made.push(name);
        Ok(file)
    }

    fn identity(&self) -> Identity {
        Identity { database: self.base.manifest.database, file: unique_bytes(), ..Identity::default() }
    }

    fn write_files(&mut self, collections: &Collections) -> Attempt<Manifest> {
        let mut segments = Vec::new();
        for collection in collections.values() {
            segments.extend(self.write_records(collection)?);
        }
        let base = self.base;
        let known: HashMap<u64, &CollectionEntry> =
            base.manifest.collections.iter().map(|entry| (entry.id, entry)).collect();
        let mut entries = Vec::with_capacity(collections.len());
        for collection in collections.values() {
            let mut entry = collection_entry(collection, known.get(&collection.id).copied());
            for view in collection.views.values() {
                if let Some(bytes) = &view.logged {
                    entry.views.push(self.write_view(view, bytes)?);
                }
            }
            entries.push(entry);
        }
        for dir in [SEG, VIEW] {
            let sealed = dir == SEG && !self.direct.is_empty();
            if sealed || self.made.iter().any(|name| name.starts_with(dir)) {
                self.files.sync_dir(dir).map_err(Stop::Poison)?;
            }
        }
        let sealed: BTreeSet<&String> = segments.iter().map(|segment: &SegmentEntry| &segment.file.name).collect();
        let left = self.direct.iter().filter(|name| !sealed.contains(name)).cloned().collect();
        Ok(Manifest {
            database: self.base.manifest.database,
            generation: self.base.generation + 1,
            logs_names: true,
            wal_first: Some(self.next_no),
            next_no: self.next_no,
            last_seq: self.seq,
            collections: entries,
            segments,
            left,
        })
    }

    /// Writes the file of a view that so far is only in the log.
    fn write_view(&mut self, view: &ViewFile, bytes: &[u8]) -> Attempt<ViewEntry> {
        let name = view.file_name();
        let file = self.create(format!("{VIEW}/{name}"))?;
        file.write_all_at(bytes, 0)?;
        let finished = Finished { file, bytes: bytes.len() as u64, root: view.root };
        Ok(ViewEntry { name: view.name.clone(), file: seal(finished, name)? })
    }

    /// Writes the records of a collection that are in memory, and changed delete sets; returns the entries of its
    /// segments.
    fn write_records(&mut self, collection: &CollectionVersion) -> Attempt<Vec<SegmentEntry>> {
        let records: Vec<&Arc<MemoryRecord>> = collection.segments.iter().flat_map(SegmentRef::live_memory).collect();
        let mut parts: Vec<SegmentRef> =
            collection.segments.iter().filter(|part| part.segment.memory().is_none()).cloned().collect();
        parts.retain(|part| part.live() > 0 || part.segment.is_suspect());
        let mut new = Vec::new();
        let (mut direct, mut packed) = (Vec::new(), records);
        if let Some(open) = self.open.remove(&collection.id) {
            let in_it = |record: &&Arc<MemoryRecord>| matches!(&record.values, Values::Direct(body) if Arc::ptr_eq(body.growing(), open.growing()));
            // A small one is merged like any other, so that a flush after every few records does not leave many
            // segments.
            if merge_policy::choose(&weights(&parts), weight_of(&packed)) == 0 {
                (direct, packed) = packed.into_iter().partition(in_it);
            }
            if !direct.is_empty() {
                new.push(self.seal_open(collection, open, &direct)?);
            }
        }
        if !packed.is_empty() {
            new.push(self.write_segment(collection, &mut parts, &packed)?);
        }
        let mut entries = Vec::with_capacity(parts.len() + new.len());
        for part in &parts {
            entries.extend(self.entry_of(part)?);
        }
        entries.extend(new);
        Ok(entries)
    }

    /// Seals an open segment: adds its records and finishes the file.
    fn seal_open(
        &mut self,
        collection: &CollectionVersion,
        mut open: OpenSegment,
        records: &[&Arc<MemoryRecord>],
    ) -> Attempt<SegmentEntry> {
        for record in records {
            let Values::Direct(body) = &record.values else { continue };
            let (fields, schema) = (record.fields.to_json(), &collection.schema);
            open.enter(&record.stored(schema.dim, schema.precision, &fields, &[]), body)?;
        }
        let (finished, written, identity, name) = open.finish(collection.schema.dim as u64)?;
        Ok(segment_entry(collection, seal(finished, name)?, identity, written))
    }

    /// Returns the entry of a segment that stays, with a new delete set if that has changed.
    fn entry_of(&mut self, part: &SegmentRef) -> Attempt<Option<SegmentEntry>> {
        let Some(known) = part.segment.entry() else { return Ok(None) };
        let mut entry = SegmentEntry { deletes: part.saved().cloned(), ..known.clone() };
        // The delete set of a damaged segment may be what is damaged; it cannot have changed.
        if part.is_saved() || part.segment.is_suspect() && part.deleted.is_empty() {
            return Ok(Some(entry));
        }
        let name = format!("{:016x}-{:016x}.odel", entry.file.no(), self.base.generation + 1);
        let identity = Identity { segment: entry.uuid, segment_root: entry.file.root, ..self.identity() };
        let file = self.create(format!("{SEG}/{name}"))?;
        let file = seal(deletes::write(file, &identity, &part.deleted)?, name)?;
        entry.deletes = Some(DeletesEntry { file, count: part.deleted.len() });
        Ok(Some(entry))
    }

    /// Writes records into one segment, together with small segments at the end of `parts`, which are taken out of
    /// `parts`.
    fn write_segment(
        &mut self,
        collection: &CollectionVersion,
        parts: &mut Vec<SegmentRef>,
        records: &[&Arc<MemoryRecord>],
    ) -> Attempt<SegmentEntry> {
        let mut folding = true;
        loop {
            let folded = if folding { merge_policy::choose(&weights(parts), weight_of(records)) } else { 0 };
            let kept = parts.len() - folded;
            let name = segment::name_of(self.number(), unique());
            match self.write_joined(collection, &name, &parts[kept..], records) {
                // Damage in an old record is no reason to refuse a new one: the segment stays as it is.
                Err(Stop::Refused(_)) if parts[kept..].iter().any(|part| part.segment.is_suspect()) => {}
                // Nor is a disk without room for a second copy of old records: the new ones are written alone.
                Err(Stop::Refused(Error::DiskFull { .. })) if folded > 0 => {
                    // Makes room for the next attempt; without inodes left there may be no such file.
                    let _ = self.files.remove(&format!("{SEG}/{name}"));
                    folding = false;
                }
                written => {
                    parts.truncate(kept);
                    return written;
                }
            }
        }
    }

    /// Writes a segment of the live records of others and of new records.
    fn write_joined(
        &mut self,
        collection: &CollectionVersion,
        name: &str,
        parts: &[SegmentRef],
        records: &[&Arc<MemoryRecord>],
    ) -> Attempt<SegmentEntry> {
        let schema = &collection.schema;
        let identity = self.identity();
        let file = self.create(format!("{SEG}/{name}"))?;
        let mut out = SegmentWriter::new(file, &identity, &segment_about(collection))?;
        parts.iter().try_for_each(|part| copy_live(part, &mut out))?;
        for record in records {
            let (fields, matrix) = (record.fields.to_json(), record.values.bytes()?);
            out.push(&record.stored(schema.dim, schema.precision, &fields, &matrix))?;
        }
        let (finished, written) = out.finish(schema.dim as u64)?;
        Ok(segment_entry(collection, seal(finished, name.to_owned())?, identity, written))
    }

    /// Writes the manifest and renames it, which makes it the current state.
    fn commit(&mut self, manifest: Manifest) -> Attempt<Published> {
        let files = self.files;
        let name = name_of(manifest.generation);
        let temporary = format!("{name}{TEMPORARY}");
        let bytes = manifest.encode();
        if bytes.len() as u64 > limits::MANIFEST_BYTES {
            let what = format!("names and settings of more than {} bytes", limits::MANIFEST_BYTES);
            return Err(Stop::Refused(Error::invalid("database", what)));
        }
        let file = self.create(temporary.clone())?;
        file.write_all_at(&bytes, 0)?;
        file.sync().map_err(Stop::Poison)?;
        // A database whose newest manifest contradicts itself could not be opened any more.
        let (manifest, _) =
            Manifest::read(&file, manifest.generation).map_err(|error| read_back(files.root(), error))?;
        let pin = Pin::new(file)?;
        // All new files are checked, whoever wrote them: this publish, commits before it, a compaction or a bulk load.
        let old: HashSet<&str> = self.base.manifest.files().map(|(_, file)| file.name.as_str()).collect();
        let version = Version::load(files, self.access, manifest, pin, Some(self.base))?;
        if let Some(damage) = version.damage_in(|name| !old.contains(name)) {
            return Err(Stop::Refused(read_back(files.root(), damage)));
        }
        self.base.check_place(files)?;
        let retired = gc::retire(files, 1);
        files.rename(&temporary, &name).map_err(Stop::Unknown)?;
        files.sync_dir("").map_err(Stop::Unknown)?;
        version.pin.file().protect();
        Ok(Published { version, next_no: self.next_no, retired })
    }
}

/// Makes the manifest's entry of a collection, without views that are in the log; `known` is the entry before.
fn collection_entry(collection: &CollectionVersion, known: Option<&CollectionEntry>) -> CollectionEntry {
    let stays = |view: &&ViewEntry| {
        let logged = collection.views.get(&view.name).is_some_and(|view| view.logged.is_some());
        !logged && collection.view_names().any(|name| name == view.name)
    };
    CollectionEntry {
        id: collection.id,
        name: collection.name.clone(),
        schema: collection.schema.clone(),
        next_record: collection.next_record,
        views: known.into_iter().flat_map(|entry| &entry.views).filter(stays).cloned().collect(),
    }
}

/// Makes the error that something written just now does not read back right.
pub(crate) fn read_back(path: &Path, error: Error) -> Error {
    Error::io(path, "read back", io::Error::other(error.to_string()))
}

/// Returns what a segment says of its collection, for repair without a manifest.
pub(crate) fn segment_about(collection: &CollectionVersion) -> String {
    let schema = collection.schema.to_json();
    json!({"collection": collection.name, "id": collection.id, "schema": schema}).to_string()
}

/// Makes the manifest's entry of a segment that was written just now.
pub(crate) fn segment_entry(
    collection: &CollectionVersion,
    file: FileEntry,
    identity: Identity,
    written: Written,
) -> SegmentEntry {
    SegmentEntry {
        collection: collection.id,
        kind: Packed::Packed,
        dim: collection.schema.dim as u64,
        file,
        uuid: identity.file,
        data_bytes: written.data_bytes,
        records: written.records,
        rows: written.rows,
        min_seq: written.min_seq,
        max_seq: written.max_seq,
        deletes: None,
    }
}

fn weights(parts: &[SegmentRef]) -> Vec<Option<u64>> {
    parts.iter().map(merge_policy::weight).collect()
}

fn weight_of(records: &[&Arc<MemoryRecord>]) -> u64 {
    let bytes = records.iter().map(|record| record.id.len() as u64 + record.values.length()).sum();
    merge_policy::weight_of(bytes, records.len() as u64)
}

/// Makes a written file durable, but not yet its name.
pub(crate) fn seal(finished: Finished, name: String) -> Attempt<FileEntry> {
    finished.file.sync().map_err(Stop::Poison)?;
    finished.file.protect();
    Ok(FileEntry { name, bytes: finished.bytes, root: finished.root })
}

/// Copies the live records of a segment as they are stored; marks the segment when one cannot be read.
fn copy_live(part: &SegmentRef, out: &mut SegmentWriter) -> Result<()> {
    for n in part.numbers()? {
        if let Err(error) = part.segment.with_stored(n, |record| out.push(record)) {
            if matches!(error, Error::Corrupt { .. } | Error::Io { operation: "read", .. }) {
                part.segment.mark_suspect();
            }
            return Err(error);
        }
    }
    Ok(())
}
