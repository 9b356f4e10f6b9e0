//! The JSON in a manifest. Reading trusts nothing: it may be well summed and still come from elsewhere.

use super::{CollectionEntry, DeletesEntry, FileEntry, Manifest, SegmentEntry, ViewEntry};
use crate::limits;
use crate::record::{self, Schema};
use crate::store::layout::{Sixteen, from_hex, hex};
use serde_json::{Value, json};
use std::collections::HashSet;

type Read<T> = Result<T, String>;

pub(super) fn write(manifest: &Manifest) -> Value {
    let file = |file: &FileEntry| json!({"name": file.name, "bytes": file.bytes, "root": hex(&file.root)});
    let collections = manifest.collections.iter().map(|collection| {
        let views = collection.views.iter().map(|view| json!({"name": view.name, "file": file(&view.file)}));
        json!({
            "id": collection.id, "name": collection.name, "schema": collection.schema.to_json(),
            "next_record": collection.next_record, "views": views.collect::<Vec<_>>(),
        })
    });
    let segments = manifest.segments.iter().map(|segment| {
        let deletes = segment.deletes.as_ref().map(|set| json!({"file": file(&set.file), "count": set.count}));
        json!({
            "collection": segment.collection, "kind": "packed", "file": file(&segment.file), "uuid": hex(&segment.uuid),
            "data_bytes": segment.data_bytes, "records": segment.records, "rows": segment.rows,
            "min_seq": segment.min_seq, "max_seq": segment.max_seq, "deletes": deletes,
        })
    });
    json!({
        "wal_first": manifest.wal_first, "left": manifest.left, "next_no": manifest.next_no, "last_seq": manifest.last_seq,
        "collections": collections.collect::<Vec<_>>(), "segments": segments.collect::<Vec<_>>(),
    })
}

pub(super) fn read(value: &Value, database: Sixteen, generation: u64) -> Read<Manifest> {
    let wal_first = match value.get("wal_first") {
        Some(Value::Null) => None,
        _ => Some(number(value, "wal_first")?),
    };
    // Databases of before there was a log have no such key.
    let left = match value.get("left") {
        None => Vec::new(),
        Some(_) => list(value, "left")?.iter().map(left_name).collect::<Read<_>>()?,
    };
    let manifest = Manifest {
        database,
        generation,
        wal_first,
        left,
        next_no: number(value, "next_no")?,
        last_seq: number(value, "last_seq")?,
        collections: list(value, "collections")?.iter().map(collection).collect::<Read<_>>()?,
        segments: list(value, "segments")?.iter().map(segment).collect::<Read<_>>()?,
    };
    check(&manifest)?;
    Ok(manifest)
}

/// What must hold between the parts.
fn check(manifest: &Manifest) -> Read<()> {
    if manifest.segments.len() > limits::SEGMENTS {
        return Err(format!("{} segments: at most {} are possible", manifest.segments.len(), limits::SEGMENTS));
    }
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
    let mut names = HashSet::new();
    let mut ids = HashSet::new();
    for collection in &manifest.collections {
        if !names.insert(&collection.name) || !ids.insert(collection.id) {
            return Err(format!("collection `{}` is there twice", collection.name));
        }
        let mut views = HashSet::new();
        if let Some(twice) = collection.views.iter().find(|view| !views.insert(&view.name)) {
            return Err(format!("view `{}` is there twice", twice.name));
        }
    }
    if let Some(segment) = manifest.segments.iter().find(|segment| !ids.contains(&segment.collection)) {
        return Err(format!("segment {} belongs to no collection", segment.file.name));
    }
    let mut files = HashSet::new();
    match manifest.files().find(|(name, _)| !files.insert(name.clone())) {
        Some((name, _)) => Err(format!("{name} is there twice")),
        None => Ok(()),
    }
}

fn collection(value: &Value) -> Read<CollectionEntry> {
    let view =
        |value: &Value| Ok(ViewEntry { name: named("view", text(value, "name")?)?, file: file(value, ".oview")? });
    Ok(CollectionEntry {
        id: number(value, "id")?,
        name: named("collection", text(value, "name")?)?,
        schema: Schema::from_json(&value["schema"]).map_err(|error| error.to_string())?,
        next_record: number(value, "next_record")?,
        views: list(value, "views")?.iter().map(view).collect::<Read<_>>()?,
    })
}

fn segment(value: &Value) -> Read<SegmentEntry> {
    if value["kind"] != "packed" {
        return Err(format!("a segment of the unknown kind {}", value["kind"]));
    }
    let records = u32::try_from(number(value, "records")?).map_err(|_| "too many records in a segment")?;
    let deletes = match &value["deletes"] {
        Value::Null => None,
        set => Some(DeletesEntry { file: file(set, ".odel")?, count: number(set, "count")? }),
    };
    if deletes.as_ref().is_some_and(|deletes| deletes.count > u64::from(records)) {
        return Err("more records deleted than a segment has".into());
    }
    Ok(SegmentEntry {
        collection: number(value, "collection")?,
        file: file(value, ".oseg")?,
        uuid: sixteen(value, "uuid")?,
        data_bytes: number(value, "data_bytes")?,
        records,
        rows: number(value, "rows")?,
        min_seq: number(value, "min_seq")?,
        max_seq: number(value, "max_seq")?,
        deletes,
    })
}

/// A file under the key `file`. Its name is ours or it is refused, so that no path leads out of the database.
fn file(value: &Value, ending: &str) -> Read<FileEntry> {
    let value = &value["file"];
    let name = text(value, "name")?;
    check_file_name(name, ending)?;
    Ok(FileEntry { name: name.to_owned(), bytes: number(value, "bytes")?, root: sixteen(value, "root")? })
}

fn left_name(value: &Value) -> Read<String> {
    let name = value.as_str().ok_or("`left` holds something that is no text")?;
    check_file_name(name, ".oseg").map(|()| name.to_owned())
}

fn check_file_name(name: &str, ending: &str) -> Read<()> {
    match super::numbers_of(name, ending) {
        Some(_) => Ok(()),
        None => Err(format!("{name:?} is no name of a {ending} file")),
    }
}

fn named(what: &'static str, name: &str) -> Read<String> {
    record::check_name(what, name).map_err(|error| error.to_string())?;
    Ok(name.to_owned())
}

fn number(value: &Value, key: &str) -> Read<u64> {
    value[key].as_u64().ok_or_else(|| format!("`{key}` is missing or no number"))
}

fn text<'a>(value: &'a Value, key: &str) -> Read<&'a str> {
    value[key].as_str().ok_or_else(|| format!("`{key}` is missing or no text"))
}

fn list<'a>(value: &'a Value, key: &str) -> Read<&'a Vec<Value>> {
    value[key].as_array().ok_or_else(|| format!("`{key}` is missing or no list"))
}

fn sixteen(value: &Value, key: &str) -> Read<Sixteen> {
    from_hex(text(value, key)?).ok_or_else(|| format!("`{key}` is not 32 hexadecimal digits"))
}
