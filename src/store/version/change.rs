//! What a commit changes, and what it gives back.

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
        /// A name that is free.
        name: String,
        /// What its records share.
        schema: Schema,
    },
    /// Removes a collection with its records and views.
    DropCollection {
        /// Its name.
        name: String,
    },
    /// Writes records; one with the id of another replaces it, in the same batch too.
    Upsert {
        /// Where.
        collection: String,
        /// What; records without an id get the next number.
        records: Vec<Record>,
    },
    /// Removes records.
    Delete {
        /// Where.
        collection: String,
        /// Ids; absent ones are counted as such and are no error.
        ids: Vec<String>,
    },
    /// Adds a view to a collection.
    CreateView {
        /// Where.
        collection: String,
        /// A name that is free.
        name: String,
        /// A small JSON value that comes back with the view.
        settings: Value,
        /// Its fitted steps.
        sections: Vec<Section>,
    },
    /// Removes a view.
    DropView {
        /// Where.
        collection: String,
        /// Its name.
        name: String,
    },
}

/// What a commit did.
#[derive(Debug)]
pub struct Committed {
    /// The state that it made.
    #[cfg_attr(not(test), allow(dead_code))] // tests ask
    pub version: Arc<Version>,
    /// For each [`Change::Upsert`] the ids of its records, in their order, numbered ones filled in.
    pub ids: Vec<Vec<String>>,
    /// For each [`Change::Delete`] how many of its ids existed.
    pub deleted: Vec<u64>,
}
