//! One collection at one moment: what a reader holds while writers go on.

use crate::error::{Error, Result};
use crate::matrix::StoredMatrix;
use crate::record::{Fields, Record, Schema};
use crate::store::Build;
use crate::store::CollectionVersion;
use crate::store::DerivedRows;
use crate::store::Segment;
use crate::store::SegmentRef;
use crate::store::Version;
use crate::store::ViewFile;
use crate::store::derived::{Artefact, Derived, Make};
use crate::store::layout::Sixteen;
use std::sync::Arc;

/// Name of the view that every collection has: the rows as they were given.
pub const RAW: &str = "raw";

/// One version of a collection. Cheap to clone. While one lives, the files it reads stay on disk, even after the
/// collection or the database was dropped. It does not keep the database locked for writing.
#[derive(Clone)]
pub struct Snapshot {
    derived: Arc<Derived>,
    version: Arc<Version>,
    collection: Arc<CollectionVersion>,
}

impl Snapshot {
    /// Takes collection `name` of a version.
    pub(crate) fn new(derived: &Arc<Derived>, version: Arc<Version>, name: &str) -> Result<Snapshot> {
        let collection = version.collection(name)?.clone();
        Ok(Snapshot { derived: Arc::clone(derived), version, collection })
    }

    /// Returns the number of the manifest that the version is based on. It grows whenever commits are written out into
    /// files, not with each commit: two snapshots of the same generation may differ.
    pub fn generation(&self) -> u64 {
        self.version.generation
    }

    /// Returns what tells this state from others: identity of the database, name of the collection, generation, and
    /// number of the last commit.
    pub(crate) fn identity(&self) -> (Sixteen, &str, u64, u64) {
        let Version { generation, seq, manifest, .. } = &*self.version;
        (manifest.database, &self.collection.name, *generation, *seq)
    }

    /// Returns dimension, metric and precision of all records, and what made their rows.
    pub fn schema(&self) -> &Schema {
        &self.collection.schema
    }

    /// Returns how many records there are.
    pub fn len(&self) -> usize {
        self.collection.records as usize
    }

    /// Returns whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Finds the record of that id, without reading its parts yet.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it is not found, but damage may hide it.
    pub fn entry(&self, id: &str) -> Result<Option<Entry<'_>>> {
        let found = self.collection.find(id)?;
        Ok(found.map(|(part, number)| Entry { segment: &self.collection.segments[part].segment, number }))
    }

    /// Returns the record of that id, with its matrix copied out.
    ///
    /// # Errors
    /// As [`Snapshot::entry`], and [`Error::Corrupt`] when the record lies in a damaged block.
    pub fn get(&self, id: &str) -> Result<Option<Record>> {
        self.entry(id)?.map(|entry| entry.to_record()).transpose()
    }

    /// Returns all records, older segments first, without reading any of them yet. One entry stands for all records of
    /// a file that cannot be used as a whole, and answers every question with the damage: see [`Entry::records`].
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        self.collection.segments.iter().flat_map(|part| {
            let unusable = part.segment.damage().is_some() && part.live() > 0;
            (0..part.segment.records())
                .filter(|number| !part.deleted.contains(*number))
                .chain(unusable.then_some(0))
                .map(|number| Entry { segment: &part.segment, number })
        })
    }

    /// Does what `Store::rows` does.
    pub(crate) fn rows(&self, segment: &Segment, view: &ViewFile, build: &Build<'_>) -> Result<Arc<DerivedRows>> {
        self.derived.rows(segment, view, build)
    }

    /// Returns an artefact of a segment and, where it needs one, a view: remembered, or loaded from its file. Cheap
    /// enough for every query, even when there is none: that is remembered until it is built here or a new manifest is
    /// read.
    pub(crate) fn artefact<A: Artefact>(&self, segment: &Segment, view: Option<&ViewFile>) -> Option<Arc<A>> {
        self.derived.get(segment, view)
    }

    /// Whether artefacts that are built get files; otherwise they are kept in memory.
    pub(crate) fn keeps_artefacts(&self) -> bool {
        self.derived.is_writable()
    }

    /// Does the same as [`Snapshot::artefact`], but builds the artefact where there is none: into a file, or in memory
    /// where none can be written.
    /// `make` must not ask for the same artefact; it may be called twice.
    ///
    /// # Errors
    /// Those of `make`, and [`Error::Corrupt`] when [`Artefact::read`] refuses what it made.
    pub(crate) fn build_artefact<A: Artefact>(
        &self,
        segment: &Segment,
        view: Option<&ViewFile>,
        make: &Make<'_>,
    ) -> Result<Arc<A>> {
        self.derived.get_or_build(segment, view, make)
    }

    /// Builds the artefact even if there is one.
    ///
    /// # Errors
    /// As [`Snapshot::build_artefact`].
    pub(crate) fn rebuild_artefact<A: Artefact>(
        &self,
        segment: &Segment,
        view: Option<&ViewFile>,
        make: &Make<'_>,
    ) -> Result<Arc<A>> {
        self.derived.rebuild(segment, view, make)
    }

    pub(crate) fn segments(&self) -> &[SegmentRef] {
        &self.collection.segments
    }

    /// Returns the names of all views, damaged ones included.
    pub(crate) fn view_names(&self) -> impl Iterator<Item = &str> {
        self.collection.view_names()
    }

    /// Returns the settings and parameters of view `name`.
    pub(crate) fn view(&self, name: &str) -> Result<&Arc<ViewFile>> {
        self.collection.view(name).map_err(|error| match error {
            Error::NotFound { .. } => {
                Error::not_found("view", name, std::iter::once(RAW).chain(self.collection.view_names()))
            }
            other => other,
        })
    }
}

/// A record of a snapshot, whose parts are read only when they are asked for.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    segment: &'a Segment,
    number: u32,
}

impl<'a> Entry<'a> {
    /// Returns how many records it stands for: 1, or all live ones of a file of which none can be read.
    pub fn records(&self) -> u64 {
        self.segment.behind()
    }

    /// Returns its id.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it lies in a damaged block; likewise for the other parts.
    pub fn id(&self) -> Result<&'a str> {
        self.segment.id(self.number)
    }

    /// Returns its fields.
    ///
    /// # Errors
    /// As [`Entry::id`].
    pub fn fields(&self) -> Result<Fields> {
        self.named(self.segment.fields(self.number))
    }

    /// Returns the number of its rows.
    ///
    /// # Errors
    /// As [`Entry::id`].
    pub fn rows(&self) -> Result<usize> {
        self.named(self.segment.rows(self.number))
    }

    /// Returns its matrix, borrowed from the file where it is stored as `f32`.
    ///
    /// # Errors
    /// As [`Entry::id`].
    pub fn matrix(&self) -> Result<StoredMatrix<'a>> {
        self.named(self.segment.matrix(self.number))
    }

    /// Returns the whole record, copied out.
    ///
    /// # Errors
    /// As [`Entry::id`].
    pub fn to_record(&self) -> Result<Record> {
        let matrix = self.matrix()?.into_matrix();
        Ok(Record { id: Some(self.id()?.to_owned()), matrix, fields: self.fields()? })
    }

    /// Adds to an error of damage which record it hit.
    fn named<T>(&self, read: Result<T>) -> Result<T> {
        read.or_else(|error| Err(self.segment.unreadable(self.number, error)?.error()))
    }
}
