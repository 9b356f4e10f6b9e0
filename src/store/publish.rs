//! A publish: files first, then the manifest that names them.
//!
//! 1. Segments, delete sets and view files are written under names of their own, each synced, then their directories.
//! 2. `manifest-<g+1>.tmp` is written and synced, renamed to `manifest-<g+1>`, and the directory is synced: the commit.
//!    Manifests that are no longer needed lose their names by the same sync.
//!
//! A cut before the renaming is durable leaves generation g and files that nothing names; after it, g+1 and every file it
//! names, because these were synced, names included, before. Everything that could fail for another reason (opening the new
//! files, pinning) is done before the renaming.

use super::Store;
use super::container::{Finished, Identity};
use super::draft::{Draft, Staged, random, random_sixteen};
use super::files::{File, SEG, TEMPORARY, VIEW};
use super::manifest::{DeletesEntry, FileEntry, SegmentEntry, ViewEntry, name_of};
use super::segment::{SegmentWriter, StoredRecord};
use super::version::{self, Pin, SegmentRef, Version};
use super::{deletes, fold, gc, view_file};
use crate::error::{Error, Result};
use crate::limits;
use crate::matrix::Precision;
use crate::record::{Record, Schema};
use roaring::RoaringBitmap;
use serde_json::json;
use std::io;
use std::sync::Arc;

/// Why a publish stopped, and what that means.
pub(super) enum Stop {
    /// Nothing happened, and the next publish may succeed.
    Refused(Error),
    /// Nothing of it will ever be seen, but it is unknown what the disk holds: write no more.
    Poison(Error),
    /// It may have taken place: write no more.
    Unknown(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        match error {
            Error::Io { operation: "write", .. } => Stop::Poison(error),
            other => Stop::Refused(other),
        }
    }
}

type Step<T> = Result<T, Stop>;

/// Writes the files of one draft.
pub(super) struct Publisher<'a> {
    store: &'a Store,
    draft: Draft<'a>,
    /// Files made so far, to be removed when it comes to nothing.
    made: Vec<String>,
}

impl<'a> Publisher<'a> {
    pub(super) fn new(store: &'a Store, draft: Draft<'a>) -> Publisher<'a> {
        Publisher { store, draft, made: Vec::new() }
    }

    /// Carries the draft out. Also says what came of removing old manifests, which is no part of it.
    pub(super) fn run(mut self) -> Step<(Version, Result<()>)> {
        let done = self.write_files().and_then(|()| self.commit());
        if let Err(Stop::Refused(_)) = done {
            for name in &self.made {
                // What cannot be removed is swept by a later collection.
                let _ = self.store.files.remove(name);
            }
        }
        done
    }

    fn create(&mut self, name: String) -> Result<File> {
        let file = self.store.files.create(&name)?;
        self.made.push(name);
        Ok(file)
    }

    fn identity(&self) -> Identity {
        Identity { database: self.draft.manifest.database, file: random_sixteen(), ..Identity::default() }
    }

    fn write_files(&mut self) -> Step<()> {
        self.draft.manifest.generation += 1;
        self.draft.manifest.last_seq += 1;
        for (collection, staged) in std::mem::take(&mut self.draft.records) {
            self.write_records(collection, staged)?;
        }
        if self.draft.manifest.segments.len() > limits::SEGMENTS {
            return Err(Stop::Refused(Error::invalid("database", format!("more than {} segments", limits::SEGMENTS))));
        }
        for view in std::mem::take(&mut self.draft.views) {
            let no = self.draft.number();
            let name = format!("{no:016x}-{:016x}.oview", random());
            let identity = self.identity();
            let file = self.create(format!("{VIEW}/{name}"))?;
            let written = view_file::write(file, &identity, &view.name, &view.settings, &view.sections)?;
            let file = seal(written, name)?;
            let mut collections = self.draft.manifest.collections.iter_mut();
            if let Some(entry) = collections.find(|entry| entry.id == view.collection) {
                entry.views.push(ViewEntry { name: view.name, file });
            }
        }
        for dir in [SEG, VIEW] {
            if self.made.iter().any(|name| name.starts_with(dir)) {
                self.store.files.sync_dir(dir).map_err(Stop::Poison)?;
            }
        }
        Ok(())
    }

    /// Writes the new segment of a collection, folding small ones into it, and the delete sets that changed.
    fn write_records(&mut self, collection: u64, staged: Staged) -> Step<()> {
        let mut parts = self.draft.segments(collection).to_vec();
        for (at, deleted) in staged.deleted {
            parts[at].deleted = Arc::new(deleted);
        }
        parts.retain(|part| part.live() > 0 || part.segment.is_suspect());
        let new: Vec<(String, Record)> = staged.pending.into_iter().flatten().collect();
        let written = if new.is_empty() { None } else { Some(self.write_segment(collection, &mut parts, &new)?) };
        let mut entries = Vec::with_capacity(parts.len() + 1);
        for part in &parts {
            entries.push(self.entry_of(part)?);
        }
        entries.extend(written);
        let segments = &mut self.draft.manifest.segments;
        segments.retain(|segment| segment.collection != collection);
        segments.extend(entries);
        Ok(())
    }

    /// The entry of a segment that stays, with a new delete set if it has another than before.
    fn entry_of(&mut self, part: &SegmentRef) -> Step<SegmentEntry> {
        let uuid = part.segment.uuid();
        let known = self.draft.manifest.segments.iter().find(|entry| entry.uuid == uuid);
        let mut entry = known.unwrap_or(part.segment.entry()).clone();
        let count = entry.deletes.as_ref().map_or(0, |deletes| deletes.count);
        // Delete sets only grow, so one of the same size is the same; that of a damaged segment cannot change.
        if part.deleted.len() == count || part.segment.is_suspect() && part.deleted.is_empty() {
            return Ok(entry);
        }
        let name = format!("{:016x}-{:016x}.odel", entry.file.no(), self.draft.manifest.generation);
        let identity = Identity { segment: uuid, segment_root: part.segment.root(), ..self.identity() };
        let file = self.create(format!("{SEG}/{name}"))?;
        let file = seal(deletes::write(file, &identity, &part.deleted)?, name)?;
        entry.deletes = Some(DeletesEntry { file, count: part.deleted.len() });
        Ok(entry)
    }

    /// Writes new records into one segment, with the small segments at the end of `parts`, which are taken out of it.
    fn write_segment(
        &mut self,
        collection: u64,
        parts: &mut Vec<SegmentRef>,
        new: &[(String, Record)],
    ) -> Step<SegmentEntry> {
        let Some(entry) = self.draft.manifest.collections.iter().find(|entry| entry.id == collection) else {
            return Err(Stop::Refused(Error::not_found("collection", collection.to_string(), [""; 0])));
        };
        let schema = entry.schema.clone();
        let about = json!({"collection": entry.name, "id": collection, "schema": schema.to_json()}).to_string();
        let width = schema.precision.bytes();
        let data_bytes = new.iter().map(|(id, record)| (id.len() + record.matrix.values().len() * width) as u64).sum();
        loop {
            let weights: Vec<_> = parts.iter().map(fold::weight).collect();
            let kept = parts.len() - fold::choose(&weights, fold::weight_of(data_bytes, new.len() as u64));
            let no = self.draft.number();
            let name = format!("{no:016x}-{:016x}.oseg", random());
            let identity = self.identity();
            let file = self.create(format!("{SEG}/{name}"))?;
            let mut out = SegmentWriter::new(file, &identity, &about)?;
            if let Err(error) = parts[kept..].iter().try_for_each(|part| copy_live(part, &mut out)) {
                let damaged = parts[kept..].iter().any(|part| part.segment.is_suspect());
                // Damage in an old record is no reason to refuse a new one: the segment stays as it is.
                if damaged { continue } else { return Err(error.into()) }
            }
            for (id, record) in new {
                push(&mut out, self.draft.manifest.last_seq, id, record, &schema)?;
            }
            let (finished, written) = out.finish(schema.dim as u64)?;
            parts.truncate(kept);
            return Ok(SegmentEntry {
                collection,
                file: seal(finished, name)?,
                uuid: identity.file,
                data_bytes: written.data_bytes,
                records: written.records,
                rows: written.rows,
                min_seq: written.min_seq,
                max_seq: written.max_seq,
                deletes: None,
            });
        }
    }

    /// Makes the draft the current state.
    fn commit(&mut self) -> Step<(Version, Result<()>)> {
        let files = &self.store.files;
        let manifest = self.draft.manifest.clone();
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
        let pin = Pin::new(file)?;
        let version = Version::load(files, self.store.access, manifest, pin, Some(self.draft.current))?;
        let new = |name: &str| self.made.iter().any(|made| made.ends_with(name));
        if let Some(damage) = version.damage_in(new) {
            let error = io::Error::other(damage.to_string());
            return Err(Stop::Refused(Error::io(files.root(), "read back", error)));
        }
        // Whoever got past the lock (it may be on a network) must not lose a commit to this one.
        if version::generations(files)?.last() != Some(&self.draft.current.generation) {
            return Err(Stop::Poison(Error::unusable(files.root(), "has been written by another process meanwhile")));
        }
        let retired = gc::retire(files, 1);
        files.rename(&temporary, &name).map_err(Stop::Unknown)?;
        files.sync_dir("").map_err(Stop::Unknown)?;
        version.pin.file().protect();
        Ok((version, retired))
    }
}

/// Makes a written file durable; its name is not yet.
fn seal(finished: Finished, name: String) -> Step<FileEntry> {
    finished.file.sync().map_err(Stop::Poison)?;
    finished.file.protect();
    Ok(FileEntry { name, bytes: finished.bytes, root: finished.root })
}

/// Copies the live records of a segment as they are; marks it when one cannot be read.
fn copy_live(part: &SegmentRef, out: &mut SegmentWriter) -> Result<()> {
    let deleted: &RoaringBitmap = &part.deleted;
    for n in (0..part.segment.records()).filter(|n| !deleted.contains(*n)) {
        if let Err(error) = part.segment.with_stored(n, |record| out.push(record)) {
            if matches!(error, Error::Corrupt { .. } | Error::Io { operation: "read", .. }) {
                part.segment.mark_suspect();
            }
            return Err(error);
        }
    }
    Ok(())
}

fn push(out: &mut SegmentWriter, seq: u64, id: &str, record: &Record, schema: &Schema) -> Result<()> {
    let values = record.matrix.values();
    let mut narrowed = Vec::new();
    let matrix = match schema.precision {
        Precision::F32 => bytemuck::cast_slice(values),
        other => {
            other.encode(values, &mut narrowed)?;
            &narrowed[..]
        }
    };
    out.push(&StoredRecord {
        seq,
        id,
        fields: record.fields.to_json().as_bytes(),
        rows: record.matrix.rows() as u64,
        dim: schema.dim as u32,
        precision: schema.precision,
        matrix,
    })
}
