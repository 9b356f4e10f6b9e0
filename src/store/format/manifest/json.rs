//! The JSON in a manifest, converted straight from and to its structs, so that a large one takes no more memory than
//! its content. Reading trusts nothing: bytes with correct sums may still come from elsewhere.

use super::{CollectionEntry, Manifest};
use crate::limits;
use crate::record::{self, Schema};
use crate::store::layout::Sixteen;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

type Read<T> = Result<T, String>;

pub(crate) fn read(body: &[u8], database: Sixteen, generation: u64) -> Read<Manifest> {
    let mut manifest: Manifest = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    (manifest.database, manifest.generation) = (database, generation);
    let dims: HashMap<u64, u64> =
        manifest.collections.iter().map(|entry| (entry.id, entry.schema.dim as u64)).collect();
    for segment in &mut manifest.segments {
        let missing = || format!("segment {} belongs to no collection", segment.file.name);
        segment.dim = *dims.get(&segment.collection).ok_or_else(missing)?;
    }
    check(&manifest)?;
    Ok(manifest)
}

/// Checks what must hold between the parts.
fn check(manifest: &Manifest) -> Read<()> {
    let next_records = manifest.collections.iter().map(|collection| collection.next_record);
    let counters = [manifest.generation, manifest.next_no, manifest.last_seq, manifest.first_log()];
    let counters = counters.into_iter().chain(next_records);
    if let Some(counter) = counters.max().filter(|counter| *counter > limits::COUNTER) {
        return Err(format!("a counter at {counter}: impossible"));
    }
    if manifest.first_log() > manifest.next_no {
        return Err(format!("the log begins at {}, but the next number is {}", manifest.first_log(), manifest.next_no));
    }
    let given = manifest.files().map(|(_, file)| file.no()).chain(manifest.collections.iter().map(|entry| entry.id));
    if let Some(no) = given.max().filter(|no| *no >= manifest.next_no) {
        return Err(format!("number {no} is in use, but the next one is {}", manifest.next_no));
    }
    check_names(&manifest.collections)?;
    for segment in &manifest.segments {
        check_file_name(&segment.file.name, ".oseg")?;
        if let Some(set) = &segment.deletes {
            check_file_name(&set.file.name, ".odel")?;
            if set.count > u64::from(segment.records) {
                return Err("more records deleted than a segment has".into());
            }
        }
    }
    manifest.left.iter().try_for_each(|name| check_file_name(name, ".oseg"))?;
    let mut files = HashSet::new();
    match manifest.files().find(|(name, _)| !files.insert(name.clone())) {
        Some((name, _)) => Err(format!("{name} is there twice")),
        None => Ok(()),
    }
}

fn check_names(collections: &[CollectionEntry]) -> Read<()> {
    let (mut names, mut ids) = (HashSet::new(), HashSet::new());
    for collection in collections {
        record::check_name("collection", &collection.name).map_err(|error| error.to_string())?;
        if !names.insert(&collection.name) || !ids.insert(collection.id) {
            return Err(format!("collection `{}` is there twice", collection.name));
        }
        let mut views = HashSet::new();
        for view in &collection.views {
            record::check_name("view", &view.name).map_err(|error| error.to_string())?;
            check_file_name(&view.file.name, ".oview")?;
            if !views.insert(&view.name) {
                return Err(format!("view `{}` is there twice", view.name));
            }
        }
    }
    Ok(())
}

/// Refuses every name of a file that is not the store's own, so that no path leads out of the database.
fn check_file_name(name: &str, ending: &str) -> Read<()> {
    match super::numbers_of(name, ending) {
        Some(_) => Ok(()),
        None => Err(format!("{name:?} is no name of a {ending} file")),
    }
}

/// Reads a key that must be there, though it may be `null`.
pub(crate) fn required<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Option::deserialize(from)
}

/// Sums and identities, as hexadecimal digits.
pub(crate) mod sixteen {
    use super::*;
    use crate::store::layout::{from_hex, hex};

    pub(crate) fn serialize<S: Serializer>(bytes: &Sixteen, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Sixteen, D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        from_hex(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is not 32 hexadecimal digits")))
    }
}

/// A schema, in the same form as in segments.
pub(crate) mod schema {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(schema: &Schema, to: S) -> Result<S::Ok, S::Error> {
        schema.to_json().serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Schema, D::Error> {
        Schema::from_json(&serde_json::Value::deserialize(from)?).map_err(D::Error::custom)
    }
}
