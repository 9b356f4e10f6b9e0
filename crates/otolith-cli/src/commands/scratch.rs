//! A folder for the time of one command: the built-in sounds, a database that nobody asked to keep.

use crate::esc50::{DataSet, procedural};
use otolith::{Error, Result};
use std::path::{Path, PathBuf};

pub(super) struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    pub(super) fn new() -> Result<Scratch> {
        let folder = tempfile::Builder::new().prefix("otolith-").tempdir();
        Ok(Scratch { folder: folder.map_err(|error| Error::io(std::env::temp_dir(), "create a folder", error))? })
    }

    /// Where a database may lie until the command ends.
    pub(super) fn database(&self) -> PathBuf {
        self.folder("scratch.otolith")
    }

    /// Where a folder of that name may be made.
    pub(super) fn folder(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The set of sounds at `data`, or the built-in one.
    pub(super) fn data_set(&self, data: Option<&Path>, seed: u64) -> Result<DataSet> {
        let Some(data) = data else {
            let sounds = self.folder.path().join("procedural");
            return procedural::generate(&sounds, seed);
        };
        DataSet::load(data, seed)
    }
}
