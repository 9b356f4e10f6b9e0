//! What a commit changes, and what it returns.

use crate::pipeline::Section;
use crate::record::{Record, Schema};
use crate::store::Version;
use serde_json::Value;
use std::sync::Arc;

/// One change; a commit carries out any number of them together or not at all.
#[derive(Clone, Debug)]
pub enum Change {
    /// Makes an empty collection.
    CreateCollection {
        /// Its name, which must be free.
        name: String,
        /// What its records share.
        schema: Schema,
    },
    /// Removes a collection with its records and views.
    DropCollection {
        /// Its name.
        name: String,
    },
    /// Adds records; a record replaces an earlier one with the same id, in the same batch too.
    Upsert {
        /// Name of the collection.
        collection: String,
        /// The records; those without an id get the next number as theirs.
        records: Vec<Record>,
    },
    /// Removes records.
    Delete {
        /// Name of the collection.
        collection: String,
        /// Ids of the records; absent ones are not counted and are no error.
        ids: Vec<String>,
    },
    /// Adds a view to a collection.
    CreateView {
        /// Name of the collection.
        collection: String,
        /// Its name, which must be free.
        name: String,
        /// A small JSON value that comes back with the view.
        settings: Value,
        /// Its fitted steps.
        sections: Vec<Section>,
    },
    /// Removes a view.
    DropView {
        /// Name of the collection.
        collection: String,
        /// Its name.
        name: String,
    },
}

/// What a commit did.
#[derive(Debug)]
pub struct Committed {
    /// The version that it made.
    #[cfg_attr(not(test), allow(dead_code))] // only tests read it
    pub version: Arc<Version>,
    /// For each [`Change::Upsert`] the ids of its records in their order, including those that the store gave.
    pub ids: Vec<Vec<String>>,
    /// For each [`Change::Delete`] how many of its ids existed.
    pub deleted: Vec<u64>,
}
