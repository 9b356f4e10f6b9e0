//! The raw frames of a data set, embedded once and kept in a collection.

use super::data_set::{ClipFile, DataSet};
use super::progress::Progress;
use super::protocol;
use otolith::Collection;
use otolith::Database;
use otolith::Snapshot;
use otolith::audio::Clip;
use otolith::embed::{Embedder, embed_clip};
use otolith::{Error, Result};
use otolith::{Record, ingest};
use rayon::prelude::*;
use serde_json::Value;
use std::collections::HashSet;
use xxhash_rust::xxh3::xxh3_128;

/// Name of the collection that holds the frames.
pub const COLLECTION: &str = "clips";

/// Length of every clip: longer ones are cut, shorter ones are filled up with silence.
pub const CLIP_SECONDS: f64 = 5.0;

/// Clips embedded and committed together.
const BATCH: usize = 100;

/// Brings the collection of a database into line with a data set: embeds the clips that are new or changed, deletes
/// those that are gone, and starts anew when the rows were made by another embedder.
///
/// # Errors
/// Those of reading, embedding and writing.
pub(super) fn store(
    set: &DataSet,
    embedder: &dyn Embedder,
    db: &Database,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Collection> {
    let collection = collection_for(embedder, db)?;
    let names: HashSet<&str> = set.clips.iter().map(|clip| clip.name.as_str()).collect();
    let gone: Vec<String> = collection
        .snapshot()?
        .iter()
        .map(|entry| entry.id().map(str::to_owned))
        .filter(|id| id.as_ref().is_ok_and(|id| !names.contains(id.as_str())))
        .collect::<Result<_>>()?;
    if !gone.is_empty() {
        collection.delete(gone)?;
    }
    let splits = protocol::splits(set).unwrap_or_else(|_| vec![None; set.clips.len()]);
    progress(Progress::Begin { what: "embedding", steps: set.clips.len() });
    let numbers: Vec<usize> = (0..set.clips.len()).collect();
    for batch in numbers.chunks(BATCH) {
        let snapshot = collection.snapshot()?;
        let records: Vec<Option<Record>> = batch
            .par_iter()
            .map(|&number| {
                let clip = &set.clips[number];
                let fields = [
                    ("class", Value::from(set.classes[clip.class].as_str())),
                    ("fold", clip.fold.into()),
                    ("split", splits[number].map(|split| split.name()).into()),
                    ("source", clip.source.as_str().into()),
                ];
                let record = embed(clip, fields, embedder, &snapshot)?;
                progress(Progress::Step);
                Ok(record)
            })
            .collect::<Result<_>>()?;
        collection.upsert(records.into_iter().flatten())?;
    }
    progress(Progress::End);
    Ok(collection)
}

/// The collection of the frames, anew when those in it are another embedder's.
fn collection_for(embedder: &dyn Embedder, db: &Database) -> Result<Collection> {
    match db.collection(COLLECTION) {
        Err(Error::NotFound { .. }) => {}
        Ok(collection) if ingest::check_same(&collection.schema()?, embedder).is_err() => {
            db.drop_collection(COLLECTION)?;
        }
        found => return found,
    }
    ingest::collection_for(db, COLLECTION, embedder)
}

/// The record of a clip, or `None` where the collection has it already: the same samples and the same fields.
fn embed<const N: usize>(
    clip: &ClipFile,
    fields: [(&str, Value); N],
    embedder: &dyn Embedder,
    known: &Snapshot,
) -> Result<Option<Record>> {
    let rate = embedder.sample_rate();
    let samples = Clip::read(&clip.path, rate)?.padded_or_cut((CLIP_SECONDS * f64::from(rate)) as usize);
    let hash = format!("{:032x}", xxh3_128(bytemuck::cast_slice(&samples.samples)));
    if let Some(old) = known.entry(&clip.name)? {
        let old = old.fields()?;
        let same_samples = old.get("hash").and_then(Value::as_str) == Some(&hash);
        if same_samples && fields.iter().all(|(name, value)| old.get(*name) == Some(value)) {
            return Ok(None);
        }
    }
    let mut record = Record::new(clip.name.clone(), embed_clip(embedder, &samples)?).field("hash", hash);
    for (name, value) in fields {
        record = record.field(name, value);
    }
    Ok(Some(record))
}
