//! What a repair saved and what it could not.

use crate::error::{Error, Result};
use crate::store::format::damage::Damage;
use crate::store::upkeep::verify::Finding;
use std::path::PathBuf;

/// What a repair saved and what it could not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairReport {
    /// The generation of the manifest that was the base; none when there was no such manifest.
    pub generation: Option<u64>,
    /// Manifests newer than that one that cannot be read. If there are any, records that their commits deleted may be
    /// back.
    pub manifests: Vec<Finding>,
    /// Damage in the log; the commits in those places are lost.
    pub logs: Vec<Finding>,
    /// What is in the new database.
    pub collections: Vec<SavedCollection>,
    /// Records that are lost, one by one.
    pub records: Vec<LostRecord>,
    /// Segments that are lost with all their records.
    pub segments: Vec<LostSegment>,
    /// Views whose file or parameters could not be saved.
    pub views: Vec<LostView>,
    /// Segments whose deleted records are not known.
    pub revived: Vec<Revived>,
}

/// A collection in the new database.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SavedCollection {
    /// Name of the collection in the new database.
    pub name: String,
    /// Its name before, if a younger collection has that name.
    pub was: Option<String>,
    /// How many records were saved.
    pub records: u64,
    /// Names of the views that were saved.
    pub views: Vec<String>,
}

/// A record that is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LostRecord {
    /// Name of the collection that it was in.
    pub collection: String,
    /// Its id, where that can be read.
    pub id: Option<String>,
    /// Its number in the segment, counted from 0; none for a record in the log.
    pub number: Option<u32>,
    /// The damage that keeps it from being read.
    pub damage: Finding,
}

/// A segment that is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LostSegment {
    /// Its collection, if that is known.
    pub collection: Option<String>,
    /// Live records that the manifest said it had.
    pub records: Option<u64>,
    /// The damage that keeps it from being read.
    pub damage: Finding,
}

/// A view that is lost. It can be fitted again on the saved records.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LostView {
    /// Its collection, if that is known.
    pub collection: Option<String>,
    /// Name of the view, where that is known.
    pub name: Option<String>,
    /// The damage that keeps it from being read.
    pub damage: Finding,
}

/// A segment whose records were kept although its delete set cannot be read: deleted ones may be among them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Revived {
    /// Name of the collection that it was in.
    pub collection: String,
    /// Path of the segment.
    pub segment: PathBuf,
    /// How many of its records the manifest said were deleted.
    pub deleted: Option<u64>,
    /// How many of its records are still known to be deleted, from an older delete set.
    pub known: u64,
    /// The damage in the delete set.
    pub damage: Finding,
}

impl RepairReport {
    /// Returns whether the new database holds all that the old one did.
    pub fn is_complete(&self) -> bool {
        self.manifests.is_empty()
            && self.logs.is_empty()
            && self.records.is_empty()
            && self.segments.is_empty()
            && self.views.is_empty()
            && self.revived.is_empty()
    }
}

impl Finding {
    /// Turns damage into a finding; returns every other error.
    pub(crate) fn new(error: Error, derived: bool) -> Result<Finding> {
        let (path, offset, what) = Damage::try_from(error)?.into_parts();
        Ok(Finding { path, offset, what, derived })
    }
}
