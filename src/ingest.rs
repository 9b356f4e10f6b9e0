//! Adds sound files to a collection: finds them, embeds them in parallel and commits them in batches.
//!
//! A record's id is the file's path below the argument under which it was found, with `/` between folders; its fields
//! say what the file is (`file`, `seconds`, `sample_rate`, `rows_per_second`, `hash`, `model`, and `class` or `channel`
//! where they are wanted). A file whose record is there already, with the same samples, channel and class, is not
//! embedded again, even if it lies elsewhere now. A file that has changed replaces its record. A file whose id belongs
//! to another file with another sound is refused, unless [`Ingest::replace`] allows it. A file that cannot be used is
//! reported, and the others are added.
//!
//! # Examples
//!
//! ```
//! use otolith::audio::Clip;
//! use otolith::embed::LogMel;
//! use otolith::ingest::{Event, Ingest, collection_for, find_sounds};
//! # use otolith::Database;
//! # let folder = tempfile::tempdir()?;
//! # let recordings = folder.path().join("recordings");
//! # std::fs::create_dir_all(recordings.join("hum"))?;
//! # let samples: Vec<f32> = (0..16_000).map(|n| (n as f32 * 0.05).sin() * 0.5).collect();
//! # Clip { samples, rate: 16_000 }.write_wav(recordings.join("hum/low.wav"))?;
//! # let db = Database::open(folder.path().join("sounds.otolith"))?;
//!
//! let embedder = LogMel::new();
//! let clips = collection_for(&db, "clips", &embedder)?; // its schema follows from the embedder
//! let found = find_sounds(&[recordings])?;
//! let ingest = Ingest::new(&clips, &embedder).class_from_folder(true);
//! let report = ingest.run(&found.sounds, &|event| match event {
//!     Event::Done => eprint!("."),
//!     Event::Failed(error) => eprintln!("{error}"),
//!     Event::Remark(path, text) => eprintln!("{}: {text}", path.display()),
//! })?;
//! assert_eq!((report.added, report.failed.len()), (1, 0));
//! assert_eq!(clips.get("hum/low.wav")?.ok_or("added")?.fields["class"], "hum");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::audio::{Mix, folder};
use crate::collection::Collection;
use crate::database::Database;
use crate::embed::{Embedder, Sound};
use crate::error::{Error, Result};
use crate::record::{Record, Schema};
use crate::store::Snapshot;
use crate::threads;
use rayon::prelude::*;
use serde_json::Value;
use std::fs;
use std::path::{self, Path};

pub use crate::audio::folder::{Found, LeftOut, SoundFile, find as find_sounds};

/// The most files that are embedded in parallel and committed together.
const BATCH: usize = 32;

/// The most bytes of files in a batch, unless one file alone has more: an hour of MP3. Their rows are held in memory.
const BATCH_BYTES: u64 = 64 << 20;

/// Returns the collection called `name` for rows of this embedder, and creates it when it is missing: dimension, rows
/// per second and identity are the embedder's.
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

/// Checks that a collection's rows were made by this embedder, so that rows of different models are not mixed.
///
/// # Errors
/// [`Error::Mismatch`] naming both when they were not.
pub fn check_same(schema: &Schema, embedder: &dyn Embedder) -> Result<()> {
    let made_by = schema.embedder.as_deref().unwrap_or("no model (imported rows)");
    if made_by == embedder.identity() {
        return Ok(());
    }
    Err(Error::mismatch("model", format!("the collection's, {made_by}"), embedder.identity()))
}

/// Something that happened while files were added; see [`Ingest::run`].
pub enum Event<'a> {
    /// A file is done, whether it was added, skipped or failed.
    Done,
    /// A file could not be used, for this reason. The others are still added.
    Failed(&'a Error),
    /// The file at this path was used, but its user should read this remark.
    Remark(&'a Path, &'a str),
}

/// Describes how files are added; [`Ingest::run`] adds them. The [module](self) shows an example.
pub struct Ingest<'a> {
    /// The collection that gets the records.
    collection: &'a Collection,
    /// The embedder that makes their rows.
    embedder: &'a dyn Embedder,
    /// Whether the name of the folder that a file lies in becomes its field `class`.
    class_from_folder: bool,
    /// How several channels are mixed into one.
    mix: Mix,
    /// Whether a sound may replace the record of another file that has the same id.
    replace: bool,
}

/// Counts the files by what became of them.
#[derive(Debug, Default)]
pub struct Ingested {
    /// Files whose records are new.
    pub added: usize,
    /// Files whose records were there with other samples, class or channel, and were replaced.
    pub replaced: usize,
    /// Files whose records were there already.
    pub skipped: usize,
    /// Files that could not be used: path and reason.
    pub failed: Vec<(String, String)>,
    /// Files that were used, but with a remark: path and remark.
    pub remarks: Vec<(String, String)>,
}

/// The record made of a file, and what goes with it.
struct Made {
    record: Record,
    /// Remarks that the file's user should read.
    remarks: Vec<String>,
    /// Whether it takes the place of another record.
    replaces: bool,
}

impl<'a> Ingest<'a> {
    /// Prepares to add to `collection` with rows made by `embedder`: no classes, channels mixed into one, nothing
    /// replaced.
    pub fn new(collection: &'a Collection, embedder: &'a dyn Embedder) -> Ingest<'a> {
        Ingest { collection, embedder, class_from_folder: false, mix: Mix::default(), replace: false }
    }

    /// Sets whether the name of a file's folder becomes its field `class`.
    pub fn class_from_folder(mut self, wanted: bool) -> Self {
        self.class_from_folder = wanted;
        self
    }

    /// Sets what is used of a sound with several channels.
    pub fn mix(mut self, mix: Mix) -> Self {
        self.mix = mix;
        self
    }

    /// Sets whether a file may replace the record of another file's sound that has the same id.
    pub fn replace(mut self, allowed: bool) -> Self {
        self.replace = allowed;
        self
    }
}

impl Ingest<'_> {
    /// Adds the files, in parallel within a batch and one commit for each batch, and calls `tell` from any thread for
    /// each event.
    ///
    /// # Errors
    /// Those of writing. A file that cannot be used is not an error: it is in the report.
    pub fn run(&self, sounds: &[SoundFile], tell: &(dyn Fn(Event<'_>) + Sync)) -> Result<Ingested> {
        threads::ready();
        let mut report = Ingested::default();
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

    /// Makes the record of a file, or returns `None` when it is there already.
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

    /// Returns the value of the field `channel`, which is set only when channels are not mixed by [`Mix::Mean`].
    fn channel(&self) -> Option<String> {
        (self.mix != Mix::Mean).then(|| self.mix.to_string())
    }
}

/// Returns whether the path that a record names leads to this place, also by links or relative to the current folder.
fn is_same_file(known: Option<&str>, place: &str) -> bool {
    let leads_to = |path: &str| fs::canonicalize(path).ok();
    known.is_some_and(|known| known == place || leads_to(known).is_some_and(|real| Some(real) == leads_to(place)))
}

/// Makes the error for a file whose id belongs to a record with another sound.
fn taken(file: &SoundFile, by: Option<&str>) -> Error {
    let by = by.map_or_else(|| "a record that names no file".to_owned(), |by| format!("the sound of {by}"));
    let why = format!(
        "its id `{}` is that of {by}, which stays: give a folder above both, so that ids tell them apart, or have that record replaced",
        file.id
    );
    Error::unusable(&file.path, why)
}

/// Cuts the list into batches by number and size of files. A file whose size cannot be read counts as empty; reading it
/// will report the reason.
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

/// Returns the name of the folder that a file lies in.
fn folder_of(path: &Path) -> Option<String> {
    Some(folder::text(path.parent()?.file_name()?))
}
