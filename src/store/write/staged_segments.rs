//! Segments that compaction and bulk loading write beside the commits, for a publish that will name them. Until then
//! nothing names them, and they do not count.

use super::publish::{Attempt, Stop, read_back, seal, segment_about, segment_entry};
use crate::random::{unique, unique_bytes};
use crate::store::files::SEG;
use crate::store::format::container::Identity;
use crate::store::format::manifest::SegmentEntry;
use crate::store::options::Access;
use crate::store::segment::{self, Segment, SegmentWriter, StoredRecord};
use crate::store::shared::Shared;
use crate::store::version::CollectionVersion;
use std::sync::Arc;

/// A segment ends when it has this many bytes.
pub(crate) const LARGEST: u64 = 1 << 30;

/// Segments of one collection while they are being written.
#[derive(Debug)]
pub(crate) struct StagedSegments {
    shared: Arc<Shared>,
    collection: Arc<CollectionVersion>,
    open: Option<(SegmentWriter, Identity, String)>,
    entries: Vec<SegmentEntry>,
    /// Numbers of the files, known to the writer so that nobody takes them for garbage.
    numbers: Vec<u64>,
    names: Vec<String>,
    /// Whether a manifest may name the files by now.
    kept: bool,
}

impl StagedSegments {
    pub(crate) fn new(shared: &Arc<Shared>, collection: &Arc<CollectionVersion>) -> StagedSegments {
        let (shared, collection) = (shared.clone(), collection.clone());
        StagedSegments {
            shared,
            collection,
            open: None,
            entries: Vec::new(),
            numbers: Vec::new(),
            names: Vec::new(),
            kept: false,
        }
    }

    /// Appends a record; it goes into a new segment when the open one is full.
    pub(crate) fn push(&mut self, record: &StoredRecord<'_>) -> Attempt<()> {
        let most = self.shared.tuning.table_bytes;
        if self.open.as_ref().is_some_and(|(out, ..)| out.offset() >= LARGEST || out.waiting_bytes() as u64 >= most) {
            self.seal()?;
        }
        if let Some((out, ..)) = &mut self.open {
            return Ok(out.push(record)?);
        }
        let number = {
            let mut writer = self.shared.writer()?;
            writer.newest.check_place(&self.shared.files)?;
            let number = writer.number();
            writer.making.insert(number);
            number
        };
        self.numbers.push(number);
        let name = segment::name_of(number, unique());
        self.names.push(name.clone());
        let database = self.shared.version().manifest.database;
        let identity = Identity { database, file: unique_bytes(), ..Identity::default() };
        let file = self.shared.files.create(&format!("{SEG}/{name}"))?;
        let mut out = SegmentWriter::new(file, &identity, &segment_about(&self.collection))?;
        out.push(record)?;
        self.open = Some((out, identity, name));
        Ok(())
    }

    /// Ends the open segment.
    pub(crate) fn seal(&mut self) -> Attempt<()> {
        if let Some((out, identity, name)) = self.open.take() {
            let (finished, written) = out.finish(self.collection.schema.dim as u64)?;
            self.entries.push(segment_entry(&self.collection, seal(finished, name)?, identity, written));
        }
        Ok(())
    }

    /// Ends the last segment, makes the names durable, and opens all of them.
    pub(crate) fn finish(&mut self) -> Attempt<Vec<Arc<Segment>>> {
        self.seal()?;
        self.shared.files.sync_dir(SEG).map_err(Stop::Poison)?;
        self.read_back()
    }

    /// Opens the finished segments after checking every byte: nothing replaces a record before it was read back.
    pub(crate) fn read_back(&self) -> Attempt<Vec<Arc<Segment>>> {
        let (files, access) = (&self.shared.files, self.shared.access);
        let database = self.shared.version().manifest.database;
        let mut segments = Vec::new();
        for entry in &self.entries {
            let again = Segment::open(files, Access::Read, database, entry)?;
            if let Err(error) = again.check_sums() {
                return Err(Stop::Refused(read_back(again.path(), error)));
            }
            let segment = Segment::open(files, access, database, entry)?;
            if let Some(damage) = segment.damage() {
                return Err(Stop::Refused(read_back(segment.path(), damage)));
            }
            segments.push(Arc::new(segment));
        }
        Ok(segments)
    }

    /// Returns how many files are finished.
    pub(crate) fn segments(&self) -> usize {
        self.entries.len()
    }

    /// Returns the bytes of the finished files.
    pub(crate) fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.file.bytes).sum()
    }

    /// Keeps the files from here on, unless it is certain (`unnamed`) that no manifest names them.
    pub(crate) fn keep_unless(&mut self, unnamed: bool) {
        self.kept = !unnamed;
    }
}

impl Drop for StagedSegments {
    fn drop(&mut self) {
        self.open = None;
        let (shared, numbers) = (&self.shared, &self.numbers);
        if !self.kept {
            for name in &self.names {
                // What cannot be removed is swept later.
                let _ = shared.files.remove(&format!("{SEG}/{name}"));
            }
        }
        if let Ok(mut writer) = shared.unchecked_writer() {
            writer.making.retain(|number| !numbers.contains(number));
        }
    }
}
