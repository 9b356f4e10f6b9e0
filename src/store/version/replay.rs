//! Applies what the log holds since a manifest, in memory and up to the newest commit; readers do so again and again.

use super::Version;
use super::draft::Draft;
use crate::error::{Error, Result};
use crate::store::files::{Files, is_missing};
use crate::store::format::log::{Commit, Cursor, Operation, Place};
use crate::store::options::Access;
use crate::store::segment::{Body, Growing};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Follows the log of one generation.
#[derive(Debug)]
pub(crate) struct Replay {
    cursor: Cursor,
    access: Access,
    /// Segment files that commits have named, open as long as they may be named again.
    growing: BTreeMap<(u64, u64), Arc<Growing>>,
    /// Greater than every number that the log gave to a collection or view.
    pub(crate) next_no: u64,
    /// The matrices of a commit did not reach the disk: neither it nor any later one took place.
    ended: bool,
}

impl Replay {
    /// Starts before the first commit after the manifest of `version`.
    pub(crate) fn new(version: &Version, access: Access) -> Replay {
        let manifest = &version.manifest;
        let cursor = Cursor::new(manifest.database, manifest.first_log(), manifest.last_seq);
        Replay { cursor, access, growing: BTreeMap::new(), next_no: 0, ended: false }
    }

    /// Returns the version with all commits that were added since; none when there are none.
    pub(crate) fn catch_up(&mut self, files: &Files, base: &Version) -> Result<Option<Version>> {
        if self.ended {
            return Ok(None);
        }
        let mut draft = Draft::new(base, self.next_no);
        for commit in self.cursor.read(files)? {
            if !self.is_whole(files, &commit)? {
                self.ended = true;
                break;
            }
            let missing = |error| match error {
                Error::Io { path, .. } => {
                    Error::corrupt(path, None, format!("commit {} needs it: missing", commit.seq))
                }
                other => other,
            };
            draft.replay(&commit, &mut |operation| match self.body(files, operation) {
                Err(error) if is_missing(&error) => Err(missing(error)),
                body => body,
            })?;
        }
        if !draft.changed {
            return Ok(None);
        }
        self.next_no = draft.next_no;
        Ok(Some(base.with(draft.seq, draft.finish(files.root()))))
    }

    /// Returns the numbers of the logs that were read, and how many bytes of each hold commits.
    pub(crate) fn logs(&self) -> Vec<(u64, u64)> {
        self.cursor.extent().collect()
    }

    /// Returns the segment files that commits have named.
    pub(crate) fn growing(&self) -> Vec<Arc<Growing>> {
        self.growing.values().cloned().collect()
    }

    /// Returns the names of the segment files that commits have named.
    pub(crate) fn direct(&self) -> impl Iterator<Item = String> {
        self.growing.values().map(|growing| growing.name())
    }

    /// Returns whether all matrices of a commit that lie in segment files are whole. Of a commit known to be durable
    /// this is assumed: damage then costs one record, and is found when that is read.
    fn is_whole(&mut self, files: &Files, commit: &Commit) -> Result<bool> {
        if commit.seq <= self.cursor.durable {
            return Ok(true);
        }
        for operation in commit.operations()? {
            if !matches!(operation, Operation::UpsertDirect { .. }) {
                continue;
            }
            match self.body(files, &operation) {
                Ok(Some(body)) if body.is_whole()? => {}
                Ok(_) => return Ok(false),
                // The name of the segment file did not reach the disk.
                Err(error) if is_missing(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn body(&mut self, files: &Files, operation: &Operation<'_>) -> Result<Option<Body>> {
        let Operation::UpsertDirect { matrix_bytes, place, .. } = operation else { return Ok(None) };
        let growing = self.open(files, place)?;
        Ok(Some(Body::new(growing, *matrix_bytes, place.clone())))
    }

    fn open(&mut self, files: &Files, place: &Place) -> Result<Arc<Growing>> {
        let key = (place.number, place.random);
        if let Some(growing) = self.growing.get(&key) {
            return Ok(growing.clone());
        }
        let growing = Growing::open(files, self.access, place.number, place.random)?;
        self.growing.insert(key, growing.clone());
        Ok(growing)
    }
}
