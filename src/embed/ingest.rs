//! Sound files into a collection: found, embedded in parallel, committed in batches.
//!
//! A record's id is the file's path below the argument it was found under, with `/` between folders. A file that is there
//! already, with the same samples and the same embedder, is not embedded again. A file that cannot be used is reported, and
//! the others go in.

use super::{Embedder, Sound};
use crate::audio;
use crate::collection::Collection;
use crate::database::Database;
use crate::error::{Error, Result};
use crate::record::{Record, Schema};
use crate::store::Snapshot;
use rayon::prelude::*;
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Files embedded side by side and committed together, at most.
const BATCH: usize = 32;

/// Bytes of files in a batch, unless one file alone has more: an hour of MP3. What is held in memory is their rows.
const BATCH_BYTES: u64 = 64 << 20;

/// A sound file and the id of its record.
#[derive(Clone, Debug, PartialEq)]
pub struct SoundFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its path below the argument it was found under.
    pub id: String,
}

/// Finds the sound files that the arguments name: a file is itself, a directory all files in and below it that end like
/// sounds, in the order of their names.
///
/// # Errors
/// [`Error::Io`] when something cannot be read, [`Error::Unusable`] for a directory without sounds, [`Error::Invalid`] when two
/// files would get the same id.
pub fn find_sounds(arguments: &[PathBuf]) -> Result<Vec<SoundFile>> {
    let mut found = Vec::new();
    for argument in arguments {
        let kind = fs::metadata(argument).map_err(|error| Error::io(argument, "open", error))?;
        if !kind.is_dir() {
            let name = argument.file_name().unwrap_or(argument.as_os_str());
            found.push(SoundFile { path: argument.clone(), id: name.to_string_lossy().into_owned() });
            continue;
        }
        let before = found.len();
        walk(argument, "", &mut found)?;
        if found.len() == before {
            let endings = audio::ENDINGS.join(", ");
            return Err(Error::unusable(argument, format!("no sound file in or below it (looked for {endings})")));
        }
    }
    let mut first: HashMap<&str, &Path> = HashMap::new();
    for sound in &found {
        if let Some(other) = first.insert(&sound.id, &sound.path)
            && other != sound.path
        {
            let why =
                format!("is the id of both {} and {}: add their folders apart", other.display(), sound.path.display());
            return Err(Error::invalid(format!("`{}`", sound.id), why));
        }
    }
    Ok(found)
}

fn walk(folder: &Path, prefix: &str, found: &mut Vec<SoundFile>) -> Result<()> {
    let failed = |error| Error::io(folder, "list", error);
    let entries = fs::read_dir(folder).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let mut paths: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let id = format!("{prefix}{name}");
        // A link to a directory is not followed: it may lead back up.
        let kind = fs::symlink_metadata(&path).map_err(|error| Error::io(&path, "open", error))?;
        if kind.is_dir() {
            walk(&path, &format!("{id}/"), found)?;
        } else if audio::has_sound_ending(&path) {
            found.push(SoundFile { path, id });
        }
    }
    Ok(())
}

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
}

/// How files are added.
pub struct Ingest<'a> {
    /// Where they go.
    pub collection: &'a Collection,
    /// What makes rows of them.
    pub embedder: &'a dyn Embedder,
    /// Whether the folder that a file lies in is its class.
    pub class_from_folder: bool,
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
}

impl Ingest<'_> {
    /// Adds the files, telling of each.
    ///
    /// # Errors
    /// Those of writing; a file that cannot be used is no error but counted in the report.
    pub fn run(&self, sounds: &[SoundFile], tell: &(dyn Fn(Event<'_>) + Sync)) -> Result<Report> {
        let mut report = Report::default();
        for batch in batches(sounds) {
            let snapshot = self.collection.snapshot()?;
            let embedded: Vec<Result<Option<Record>>> = batch
                .par_iter()
                .map(|sound| {
                    let record = self.record(sound, &snapshot);
                    if let Err(error) = &record {
                        tell(Event::Failed(error));
                    }
                    tell(Event::Done);
                    record
                })
                .collect();
            let mut records = Vec::new();
            for (sound, outcome) in batch.iter().zip(embedded) {
                match outcome {
                    Ok(Some(record)) => records.push(record),
                    Ok(None) => report.skipped += 1,
                    Err(error) => report.failed.push((sound.path.display().to_string(), error.to_string())),
                }
            }
            report.added += records.len();
            self.collection.upsert(records)?;
        }
        Ok(report)
    }

    /// The record of a file, or `None` when it is there already.
    fn record(&self, file: &SoundFile, known: &Snapshot) -> Result<Option<Record>> {
        let sound = Sound::read(&file.path, self.embedder.sample_rate())?;
        let hash = format!("{:032x}", sound.hash());
        let class = self.class_from_folder.then(|| folder_of(&file.path)).flatten();
        if let Some(old) = known.entry(&file.id)? {
            let fields = old.fields()?;
            let same = |name: &str, value: &str| fields.get(name).and_then(Value::as_str) == Some(value);
            if same("hash", &hash) && class.as_ref().is_none_or(|class| same("class", class)) {
                return Ok(None);
            }
        }
        let embedded = sound.embed(self.embedder)?;
        let mut record = Record::new(file.id.clone(), embedded.matrix)
            .field("file", file.path.to_string_lossy().into_owned())
            .field("seconds", embedded.seconds)
            .field("sample_rate", embedded.sample_rate)
            .field("rows_per_second", embedded.rows_per_second)
            .field("hash", hash)
            .field("model", self.embedder.identity());
        if let Some(class) = class {
            record = record.field("class", class);
        }
        Ok(Some(record))
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
    let folder = path.parent()?.file_name()?;
    Some(folder.to_string_lossy().into_owned())
}
