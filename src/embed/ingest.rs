//! Sound files into a collection: found, embedded in parallel, committed in batches.
//!
//! A record's id is the file's path below the argument it was found under, with `/` between folders. A file that is there
//! already, with the same samples, mixed the same way, and the same embedder, is not embedded again, wherever it lies now. A file that
//! has changed replaces its record; one whose id is that of another file with another sound is refused unless it is to do so. A file
//! that cannot be used is reported, and the others go in.

use super::{Embedder, Sound};
use crate::audio::{Mix, folder};
use crate::collection::Collection;
use crate::database::Database;
use crate::error::{Error, Result};
use crate::record::{Record, Schema};
use crate::store::Snapshot;
use crate::threads;
use rayon::prelude::*;
use serde_json::Value;
use std::fs;
use std::path::{self, Path};

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
    Err(Error::mismatch("model", format!("the collection's, {made_by}"), embedder.identity()))
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
    /// Whether a sound replaces that of another file whose record has its id.
    pub replace: bool,
}

/// What became of the files.
#[derive(Debug, Default)]
pub struct Report {
    /// Files that were not there.
    pub added: usize,
    /// Files whose records were there, with other samples, class or channel.
    pub replaced: usize,
    /// Files that were there already.
    pub skipped: usize,
    /// Files that could not be used, with the reason.
    pub failed: Vec<(String, String)>,
    /// What the user should know of files that were added.
    pub remarks: Vec<(String, String)>,
}

/// What is made of a file.
struct Made {
    record: Record,
    /// What its user should know of the file.
    remarks: Vec<String>,
    /// Whether it takes the place of another record.
    replaces: bool,
}

impl Ingest<'_> {
    /// Adds the files, telling of each.
    ///
    /// # Errors
    /// Those of writing; a file that cannot be used is no error but counted in the report.
    pub fn run(&self, sounds: &[SoundFile], tell: &(dyn Fn(Event<'_>) + Sync)) -> Result<Report> {
        threads::ready();
        let mut report = Report::default();
        for batch in batches(sounds) {
            let snapshot = self.collection.snapshot()?;
            let embedded: Vec<Result<Option<Made>>> = batch
                .par_iter()
                .map(|sound| {
                    let record = self.record(sound, &snapshot);
                    match &record {
                        Err(error) => tell(Event::Failed(error)),
                        Ok(Some(made)) => {
                            made.remarks.iter().for_each(|remark| tell(Event::Remark(&sound.path, remark)));
                        }
                        Ok(None) => {}
                    }
                    tell(Event::Done);
                    record
                })
                .collect();
            let (mut records, mut replaced) = (Vec::new(), 0);
            for (sound, outcome) in batch.iter().zip(embedded) {
                match outcome {
                    Ok(Some(made)) => {
                        let file = sound.path.display().to_string();
                        report.remarks.extend(made.remarks.into_iter().map(|remark| (file.clone(), remark)));
                        replaced += usize::from(made.replaces);
                        records.push(made.record);
                    }
                    Ok(None) => report.skipped += 1,
                    Err(error) => report.failed.push((sound.path.display().to_string(), error.to_string())),
                }
            }
            let written = self.collection.upsert(records)?.len();
            report.added += written - replaced;
            report.replaced += replaced;
        }
        Ok(report)
    }

    /// What is made of a file, or `None` when it is there already.
    fn record(&self, file: &SoundFile, known: &Snapshot) -> Result<Option<Made>> {
        let sound = Sound::read_mixed(&file.path, self.embedder.sample_rate(), self.mix)?;
        let hash = format!("{:032x}", sound.hash());
        let class = self.class_from_folder.then(|| folder_of(&file.path)).flatten();
        let place = path::absolute(&file.path).map_err(|error| Error::io(&file.path, "look up", error))?;
        let place = folder::text(place.as_os_str());
        let old = known.entry(&file.id)?;
        if let Some(old) = &old {
            let fields = old.fields()?;
            let text = |name: &str| fields.get(name).and_then(Value::as_str);
            let same_sound = text("hash") == Some(&hash);
            let as_mixed = text("channel") == self.channel().as_deref();
            if same_sound && as_mixed && class.as_ref().is_none_or(|class| text("class") == Some(class)) {
                return Ok(None);
            }
            if !same_sound && !self.replace && !is_same_file(text("file"), &place) {
                return Err(taken(file, text("file")));
            }
        }
        let embedded = sound.embed(self.embedder)?;
        let mut record = Record::new(file.id.clone(), embedded.matrix)
            .field("file", place)
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
        Ok(Some(Made { record, remarks: embedded.remarks, replaces: old.is_some() }))
    }

    /// What stands in the field `channel`: nothing where channels are mixed as usual.
    fn channel(&self) -> Option<String> {
        (self.mix != Mix::Mean).then(|| self.mix.to_string())
    }
}

/// Whether what a record says of its file leads to this place, also by links or from the folder that the process is in.
fn is_same_file(known: Option<&str>, place: &str) -> bool {
    let leads_to = |path: &str| fs::canonicalize(path).ok();
    known.is_some_and(|known| known == place || leads_to(known).is_some_and(|real| Some(real) == leads_to(place)))
}

/// The error of a file whose id is that of a record with another sound.
fn taken(file: &SoundFile, by: Option<&str>) -> Error {
    let by = by.map_or_else(|| "a record that names no file".to_owned(), |by| format!("the sound of {by}"));
    let why = format!(
        "its id `{}` is that of {by}, which stays: give a folder above both, so that ids tell them apart, or have that record replaced",
        file.id
    );
    Error::unusable(&file.path, why)
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
