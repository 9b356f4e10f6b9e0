//! Sound files into a collection: found, embedded in parallel, committed in batches.
//!
//! A record's id is the file's path below the argument it was found under, with `/` between folders. A file that is there
//! already, with the same samples, mixed the same way, and the same embedder, is not embedded again. A file that cannot be
//! used is reported, and the others go in.

use super::{Embedder, Sound};
use crate::audio::{Mix, folder};
use crate::collection::Collection;
use crate::database::Database;
use crate::error::{Error, Result};
use crate::record::{Record, Schema};
use crate::store::Snapshot;
use rayon::prelude::*;
use serde_json::Value;
use std::fs;
use std::path::Path;

pub use crate::audio::folder::{Found, LeftOut, SoundFile, find as find_sounds};

/// Files embedded side by side and committed together, at most.
const BATCH: usize = 32;

/// Bytes of files in a batch, unless one file alone has more: an hour of MP3. What is held in memory is their rows.
const BATCH_BYTES: u64 = 64 << 20;

/// The collection of that name for rows of this embedder, created when missing.
///
/// # Errors
/// [`Error::Mismatch`] when it holds rows of another embedder, and those of creating it.
pub fn collection_for(db: &Database, name: &str, embedder: &dyn Embedder) -> Result<Collection> {
    let collection = match db.collection(name) {
        Err(Error::NotFound { .. }) => {
            let schema =
                Schema::new(embedder.dim()).rows_per_second(embedder.rows_per_second()).embedder(embedder.identity());
            return db.create_collection(name, schema);
        }
        other => other?,
    };
    check_same(&collection.schema()?, embedder)?;
    Ok(collection)
}

/// Refuses to mix rows of different embedders.
///
/// # Errors
/// [`Error::Mismatch`] naming both.
pub fn check_same(schema: &Schema, embedder: &dyn Embedder) -> Result<()> {
    let made_by = schema.embedder.as_deref().unwrap_or("no model (imported rows)");
    if made_by == embedder.identity() {
        return Ok(());
    }
    Err(Error::mismatch(
        "model (choose it with --model and --layer)",
        format!("the collection's, {made_by}"),
        embedder.identity(),
    ))
}

/// Something that happened while files were added.
pub enum Event<'a> {
    /// One more file is done.
    Done,
    /// A file could not be used.
    Failed(&'a Error),
    /// A file was used, but its user should know something of it.
    Remark(&'a Path, &'a str),
}

/// How files are added.
pub struct Ingest<'a> {
    /// Where they go.
    pub collection: &'a Collection,
    /// What makes rows of them.
    pub embedder: &'a dyn Embedder,
    /// Whether the folder that a file lies in is its class.
    pub class_from_folder: bool,
    /// What becomes of several channels.
    pub mix: Mix,
}

/// What became of the files.
#[derive(Debug, Default)]
pub struct Report {
    /// Files added, or replaced since their samples had changed.
    pub added: usize,
    /// Files that were there already.
    pub skipped: usize,
    /// Files that could not be used, with the reason.
    pub failed: Vec<(String, String)>,
    /// What the user should know of files that were added.
    pub remarks: Vec<(String, String)>,
}

/// The record of a file, and what its user should know of the file.
type Made = (Record, Vec<String>);

impl Ingest<'_> {
    /// Adds the files, telling of each.
    ///
    /// # Errors
    /// Those of writing; a file that cannot be used is no error but counted in the report.
    pub fn run(&self, sounds: &[SoundFile], tell: &(dyn Fn(Event<'_>) + Sync)) -> Result<Report> {
        let mut report = Report::default();
        for batch in batches(sounds) {
            let snapshot = self.collection.snapshot()?;
            let embedded: Vec<Result<Option<Made>>> = batch
                .par_iter()
                .map(|sound| {
                    let record = self.record(sound, &snapshot);
                    match &record {
                        Err(error) => tell(Event::Failed(error)),
                        Ok(Some((_, remarks))) => {
                            remarks.iter().for_each(|remark| tell(Event::Remark(&sound.path, remark)));
                        }
                        Ok(None) => {}
                    }
                    tell(Event::Done);
                    record
                })
                .collect();
            let mut records = Vec::new();
            for (sound, outcome) in batch.iter().zip(embedded) {
                match outcome {
                    Ok(Some((record, remarks))) => {
                        let file = sound.path.display().to_string();
                        report.remarks.extend(remarks.into_iter().map(|remark| (file.clone(), remark)));
                        records.push(record);
                    }
                    Ok(None) => report.skipped += 1,
                    Err(error) => report.failed.push((sound.path.display().to_string(), error.to_string())),
                }
            }
            report.added += records.len();
            self.collection.upsert(records)?;
        }
        Ok(report)
    }

    /// What is made of a file, or `None` when it is there already.
    fn record(&self, file: &SoundFile, known: &Snapshot) -> Result<Option<Made>> {
        let sound = Sound::read_mixed(&file.path, self.embedder.sample_rate(), self.mix)?;
        let hash = format!("{:032x}", sound.hash());
        let class = self.class_from_folder.then(|| folder_of(&file.path)).flatten();
        if let Some(old) = known.entry(&file.id)? {
            let fields = old.fields()?;
            let same = |name: &str, value: &str| fields.get(name).and_then(Value::as_str) == Some(value);
            let as_mixed = fields.get("channel").and_then(Value::as_str) == self.channel().as_deref();
            if same("hash", &hash) && as_mixed && class.as_ref().is_none_or(|class| same("class", class)) {
                return Ok(None);
            }
        }
        let embedded = sound.embed(self.embedder)?;
        let mut record = Record::new(file.id.clone(), embedded.matrix)
            .field("file", folder::text(file.path.as_os_str()))
            .field("seconds", embedded.seconds)
            .field("sample_rate", embedded.sample_rate)
            .field("rows_per_second", embedded.rows_per_second)
            .field("hash", hash)
            .field("model", self.embedder.identity());
        if let Some(class) = class {
            record = record.field("class", class);
        }
        if let Some(channel) = self.channel() {
            record = record.field("channel", channel);
        }
        Ok(Some((record, embedded.remarks)))
    }

    /// What stands in the field `channel`: nothing where channels are mixed as usual.
    fn channel(&self) -> Option<String> {
        (self.mix != Mix::Mean).then(|| self.mix.to_string())
    }
}

/// Cuts the list into batches by number and size of files. A file that cannot be looked at counts as empty; reading it will tell.
fn batches(sounds: &[SoundFile]) -> Vec<&[SoundFile]> {
    let mut batches = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, sound) in sounds.iter().enumerate() {
        let size = fs::metadata(&sound.path).map_or(0, |file| file.len());
        if at - start == BATCH || (at > start && bytes + size > BATCH_BYTES) {
            batches.push(&sounds[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += size;
    }
    batches.push(&sounds[start..]);
    batches
}

/// The name of the folder that a file lies in.
fn folder_of(path: &Path) -> Option<String> {
    Some(folder::text(path.parent()?.file_name()?))
}
