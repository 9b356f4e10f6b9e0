//! Lists what can be saved, by the newest manifest that can be read or by the files themselves.

use super::report::{LostSegment, LostView, RepairReport, Revived};
use crate::error::{Error, Result};
use crate::record::{Schema, check_name};
use crate::store::files::{Files, SEG, VIEW};
use crate::store::format::container::{Container, Counts, Expected};
use crate::store::format::log::{self, Commit, Cursor, Operation};
use crate::store::format::manifest::{DeletesEntry, FileEntry, Manifest, Packed, SegmentEntry, ViewEntry, numbers_of};
use crate::store::format::{deletes, view_file};
use crate::store::layout::{self, Kind, Sixteen, footer, header, section};
use crate::store::upkeep::verify::Finding;
use crate::store::version::{self, Pin};
use crate::store::{Access, ViewFile, segment};
use roaring::RoaringBitmap;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};

/// A view that the log creates or drops: its collection, its name, and the view if it is created.
type LoggedView = (u64, String, Option<ViewFile>);

/// Everything that a repair goes through.
pub(crate) struct Catalog {
    pub database: Sixteen,
    /// Collections by number.
    pub collections: BTreeMap<u64, Known>,
    /// Segments of all collections, oldest first.
    pub parts: Vec<Part>,
    pub views: Vec<Saved>,
    /// The commits in the log, oldest first.
    pub commits: Vec<Commit>,
    /// Indexes of the commits of each collection.
    pub commits_of: HashMap<u64, Vec<usize>>,
    /// Keep a running writer from removing the files.
    _pins: Vec<Pin>,
}

/// A collection.
pub(crate) struct Known {
    pub name: String,
    /// Its name before, if a younger collection has that name.
    pub was: Option<String>,
    pub schema: Schema,
}

/// A segment and which of its records are known to be deleted.
pub(crate) struct Part {
    pub entry: SegmentEntry,
    pub deleted: RoaringBitmap,
}

/// A view that is whole.
pub(crate) struct Saved {
    pub collection: u64,
    pub file: ViewFile,
}

impl Catalog {
    pub(crate) fn read(files: &Files, report: &mut RepairReport) -> Result<Catalog> {
        let (base, pins) = base(files, report)?;
        report.generation = base.as_ref().map(|base| base.generation);
        let strays = match base.is_some() && report.manifests.is_empty() {
            true => Strays::default(),
            false => Strays::list(files, base.as_ref())?,
        };
        if base.is_none() && report.manifests.is_empty() && strays.segments.is_empty() {
            return Err(Error::not_found("database", files.root().display().to_string(), [""; 0]));
        }
        let database = base.as_ref().map_or_else(|| strays.database(files), |base| Ok(base.database))?;
        let mut catalog = Catalog {
            database,
            collections: BTreeMap::new(),
            parts: Vec::new(),
            views: Vec::new(),
            commits: Vec::new(),
            commits_of: HashMap::new(),
            _pins: pins,
        };
        let logged = catalog.logs(files, base.as_ref(), report)?;
        if let Some(base) = &base {
            for collection in &base.collections {
                catalog.know(collection.id, &collection.name, &collection.schema);
            }
        }
        for entry in base.iter().flat_map(|base| &base.segments) {
            let deleted = catalog.deleted(files, entry, &strays, report)?;
            catalog.parts.push(Part { entry: entry.clone(), deleted });
        }
        // A segment that was still growing has no footer; the log knows what is in it.
        for name in strays.segments.iter().filter(|name| !logged.contains(*name) || sealed(files, SEG, name).is_ok()) {
            match catalog.describe(files, name) {
                Ok(entry) => {
                    let deleted = catalog.deleted(files, &entry, &strays, report)?;
                    catalog.parts.push(Part { entry, deleted });
                }
                Err(error) => report.segments.push(LostSegment {
                    collection: None,
                    records: None,
                    damage: Finding::new(error, false)?,
                }),
            }
        }
        let (dropped, logged_views) = catalog.names_in_log(report)?;
        catalog.collections.retain(|id, _| !dropped.contains(id));
        catalog.parts.retain(|part| !dropped.contains(&part.entry.collection));
        catalog.name_apart();
        for collection in base.iter().flat_map(|base| &base.collections) {
            if dropped.contains(&collection.id) {
                continue;
            }
            for view in &collection.views {
                match view_file::read(files, database, view) {
                    Ok(file) => catalog.save(collection.id, file),
                    Err(error) => report.views.push(LostView {
                        collection: Some(catalog.name_of(collection.id)),
                        name: Some(view.name.clone()),
                        damage: Finding::new(error, false)?,
                    }),
                }
            }
        }
        for name in &strays.views {
            catalog.stray_view(files, name, report)?;
        }
        for (collection, name, view) in logged_views.into_iter().filter(|(of, ..)| !dropped.contains(of)) {
            match view {
                Some(view) => catalog.save(collection, view),
                None => catalog.views.retain(|view| view.collection != collection || view.file.name != name),
            }
        }
        Ok(catalog)
    }

    /// Reads the logs of the base and later ones, and returns the names of the segments that they name.
    fn logs(&mut self, files: &Files, base: Option<&Manifest>, report: &mut RepairReport) -> Result<HashSet<String>> {
        let (first, mut seq) = base.map_or((0, 0), |base| (base.first_log(), base.last_seq));
        let mut logged = HashSet::new();
        for number in Cursor::logs(files, first)? {
            match log::salvage(files, &self.database, number, &mut seq) {
                Ok((commits, damage)) => {
                    self.commits.extend(commits);
                    report.logs.extend(damage.map(|error| Finding::new(error, false)).transpose()?);
                }
                Err(error) => report.logs.push(Finding::new(error, false)?),
            }
        }
        for commit in &self.commits {
            match commit.operations() {
                Ok(operations) => logged.extend(operations.iter().filter_map(|operation| match operation {
                    Operation::UpsertDirect { place, .. } => Some(segment::name_of(place.number, place.random)),
                    _ => None,
                })),
                Err(error) => report.logs.push(Finding::new(error, false)?),
            }
        }
        Ok(logged)
    }

    /// Reads from the log which collections and views were created and dropped, and adds the created collections.
    /// Returns the dropped collections, and the views in order of their operations.
    fn names_in_log(&mut self, report: &mut RepairReport) -> Result<(HashSet<u64>, Vec<LoggedView>)> {
        let (mut dropped, mut views) = (HashSet::new(), Vec::new());
        let commits = std::mem::take(&mut self.commits);
        for (at, commit) in commits.iter().enumerate() {
            let mut current = 0;
            for operation in commit.operations().unwrap_or_default() {
                match operation {
                    Operation::CreateCollection { id, name, schema } => {
                        let schema = serde_json::from_slice(schema).unwrap_or_default();
                        match Schema::from_json(&schema) {
                            Ok(schema) => self.know(id, name, &schema),
                            Err(error) => {
                                report.logs.push(Finding::new(commit.corrupt(&error.to_string()), false)?);
                            }
                        }
                    }
                    Operation::DropCollection { id } => drop(dropped.insert(id)),
                    Operation::Collection { id, .. } => {
                        current = id;
                        let commits = self.commits_of.entry(id).or_default();
                        if commits.last() != Some(&at) {
                            commits.push(at);
                        }
                    }
                    Operation::CreateView { name, number, random, file } => {
                        match ViewFile::logged(self.database, (number, random), name, file.to_vec()) {
                            Ok(view) => views.push((current, name.to_owned(), Some(view))),
                            Err(error) => {
                                report.logs.push(Finding::new(commit.corrupt(&error.to_string()), false)?);
                            }
                        }
                    }
                    Operation::DropView { name } => views.push((current, name.to_owned(), None)),
                    _ => {}
                }
            }
        }
        self.commits = commits;
        Ok((dropped, views))
    }

    pub(crate) fn name_of(&self, collection: u64) -> String {
        self.collections.get(&collection).map_or_else(|| collection.to_string(), |known| known.name.clone())
    }

    fn know(&mut self, id: u64, name: &str, schema: &Schema) {
        let known = || Known { name: name.to_owned(), was: None, schema: schema.clone() };
        self.collections.entry(id).or_insert_with(known);
    }

    /// Renames collections that had the same name one after the other; the youngest keeps it.
    fn name_apart(&mut self) {
        let mut taken = HashSet::new();
        for (id, known) in self.collections.iter_mut().rev() {
            if !taken.insert(known.name.clone()) {
                let mut names = (0..).map(|more| format!("collection-{id}{}", "'".repeat(more)));
                let name = names.find(|name| taken.insert(name.clone()));
                known.was = name.map(|name| std::mem::replace(&mut known.name, name));
            }
        }
    }

    /// Makes the entry of a segment that no manifest names, from what its file says.
    fn describe(&mut self, files: &Files, name: &str) -> Result<SegmentEntry> {
        let path = format!("{SEG}/{name}");
        let (file, counts) = sealed(files, SEG, name)?;
        let expected = Expected { kind: Kind::Segment, database: self.database, sealed: None };
        let open = Container::open(files, &path, Access::Read, &expected, None)?;
        let place = open.section(section::ABOUT)?;
        let wrong = |what: &str| open.corrupt(place.offset, format!("which collection it belongs to is lost: {what}"));
        let about: Value = serde_json::from_slice(&open.read_section(place)?).map_err(|_| wrong("no JSON"))?;
        let (id, collection) = match (about["id"].as_u64(), about["collection"].as_str()) {
            (Some(id), Some(name)) if check_name("collection", name).is_ok() => (id, name),
            _ => return Err(wrong("no number and name")),
        };
        let schema = Schema::from_json(&about["schema"]).map_err(|error| wrong(&error.to_string()))?;
        self.know(id, collection, &schema);
        Ok(SegmentEntry {
            collection: id,
            kind: Packed::Packed,
            dim: schema.dim as u64,
            file,
            uuid: open.identity().file,
            data_bytes: 0,
            records: u32::try_from(counts.records).map_err(|_| wrong("too many records"))?,
            rows: counts.rows,
            min_seq: 0,
            max_seq: 0,
            deletes: None,
        })
    }

    /// Returns the records of a segment that are known to be deleted: by the delete set that the manifest names, if
    /// that is certain to be the last one, else by the youngest that can be read.
    fn deleted(
        &self,
        files: &Files,
        entry: &SegmentEntry,
        strays: &Strays,
        report: &mut RepairReport,
    ) -> Result<RoaringBitmap> {
        let mut damage = None;
        if !strays.searched {
            let Some(set) = &entry.deletes else { return Ok(RoaringBitmap::new()) };
            match deletes::read(files, self.database, entry, set) {
                Ok(deleted) => return Ok(deleted),
                Err(error) => damage = Some(Finding::new(error, false)?),
            }
        }
        let (mut deleted, mut found) = (RoaringBitmap::new(), false);
        for name in delete_sets(files, entry.file.no())? {
            let read = sealed(files, SEG, &name).and_then(|(file, counts)| {
                deletes::read(files, self.database, entry, &DeletesEntry { file, count: counts.records })
            });
            match read {
                Ok(set) => {
                    (deleted, found) = (set, true);
                    break;
                }
                Err(error) => damage = damage.or(Some(Finding::new(error, false)?)),
            }
        }
        // A delete set that the manifest names and that is missing is lost as well.
        if let (None, false, Some(set)) = (&damage, found, &entry.deletes) {
            let path = files.path(&format!("{SEG}/{}", set.file.name));
            damage = Some(Finding::new(Error::corrupt(path, None, "the file is missing"), false)?);
        }
        if let Some(damage) = damage {
            report.revived.push(Revived {
                collection: self.name_of(entry.collection),
                segment: files.path(&format!("{SEG}/{}", entry.file.name)),
                deleted: entry.deletes.as_ref().map(|set| set.count),
                known: deleted.len(),
                damage,
            });
        }
        Ok(deleted)
    }

    /// Adds a view; of two with one name the later stays.
    fn save(&mut self, collection: u64, file: ViewFile) {
        self.views.retain(|view| view.collection != collection || view.file.name != file.name);
        self.views.push(Saved { collection, file });
    }

    /// Adds a view that no manifest names. Its file does not say which collection it belongs to, so there must be
    /// exactly one whose rows fit.
    fn stray_view(&mut self, files: &Files, name: &str, report: &mut RepairReport) -> Result<()> {
        let mut known = None;
        let read = sealed(files, VIEW, name).and_then(|(file, _)| {
            let expected = Expected { kind: Kind::View, database: self.database, sealed: None };
            let open = Container::open(files, &format!("{VIEW}/{name}"), Access::Read, &expected, None)?;
            let place = open.section(section::ABOUT)?;
            let about: Value = serde_json::from_slice(&open.read_section(place)?).unwrap_or_default();
            let name = about["name"].as_str().filter(|name| check_name("view", name).is_ok());
            let name = name.ok_or_else(|| open.corrupt(place.offset, "its name is lost"))?.to_owned();
            known = Some(name.clone());
            let view = view_file::read(files, self.database, &ViewEntry { name, file })?;
            let fits = |known: &Known| view.settings["input_dim"].as_u64() == Some(known.schema.dim as u64);
            let mut homes = self.collections.iter().filter(|(_, known)| fits(known)).map(|(id, _)| *id);
            match (homes.next(), homes.next()) {
                (Some(home), None) => Ok((home, view)),
                _ => Err(open.corrupt(place.offset, "nobody can tell any more which collection it belongs to")),
            }
        });
        match read {
            Ok((home, view)) => self.save(home, view),
            Err(error) => {
                let damage = Finding::new(error, false)?;
                report.views.push(LostView { collection: None, name: known, damage });
            }
        }
        Ok(())
    }
}

/// Returns the newest manifest that can be read, and pins on all there are. Newer damaged ones are reported.
fn base(files: &Files, report: &mut RepairReport) -> Result<(Option<Manifest>, Vec<Pin>)> {
    let mut pins = Vec::new();
    for generation in version::generations(files)? {
        match version::pin(files, generation) {
            Ok(pin) => pins.extend(pin.map(|pin| (generation, pin))),
            Err(error) => report.manifests.push(Finding::new(error, false)?),
        }
    }
    let mut base = None;
    for (generation, pin) in pins.iter().rev() {
        match Manifest::read(pin.file(), *generation) {
            Ok((manifest, _)) => {
                base = Some(manifest);
                break;
            }
            // A newer format is no damage, and an older manifest is not what its owner wants.
            Err(error @ Error::Version { .. }) => return Err(error),
            Err(error) => report.manifests.push(Finding::new(error, false)?),
        }
    }
    Ok((base, pins.into_iter().map(|(_, pin)| pin).collect()))
}

/// Files that no readable manifest names, and that may be newer than the base.
#[derive(Default)]
struct Strays {
    /// Whether there was a reason to look for any.
    searched: bool,
    segments: Vec<String>,
    views: Vec<String>,
}

impl Strays {
    fn list(files: &Files, base: Option<&Manifest>) -> Result<Strays> {
        let next_no = base.map_or(0, |base| base.next_no);
        let newer = |dir: &str, ending: &str| -> Result<Vec<String>> {
            let names = files.list_if_there(dir)?.into_iter();
            Ok(names.filter(|name| numbers_of(name, ending).is_some_and(|(no, _)| no >= next_no)).collect())
        };
        Ok(Strays { searched: true, segments: newer(SEG, ".oseg")?, views: newer(VIEW, ".oview")? })
    }

    /// Returns the identity of the database that most of the segments say they belong to.
    fn database(&self, files: &Files) -> Result<Sixteen> {
        let mut votes: HashMap<Sixteen, usize> = HashMap::new();
        for name in &self.segments {
            let head = files.open(&format!("{SEG}/{name}")).and_then(|file| file.read(0, header::BYTES as u64));
            let Ok(head) = head else { continue };
            let head = head.as_bytes();
            if header::CRC.number(head) == u64::from(crc32fast::hash(&head[..header::CRC.offset])) {
                *votes.entry(header::DATABASE.sixteen(head)).or_default() += 1;
            }
        }
        Ok(votes
            .into_iter()
            .max_by_key(|(database, count)| (*count, *database))
            .map_or([0; 16], |(database, _)| database))
    }
}

/// Returns the names of the delete sets of a segment, youngest first.
fn delete_sets(files: &Files, segment: u64) -> Result<Vec<String>> {
    let mut names = files.list_if_there(SEG)?;
    names.retain(|name| numbers_of(name, ".odel").is_some_and(|(no, _)| no == segment));
    names.reverse(); // sorted by generation
    Ok(names)
}

/// Returns length, root and counts of a file from its own footer, which is all there is without a manifest.
fn sealed(files: &Files, dir: &str, name: &str) -> Result<(FileEntry, Counts)> {
    let file = files.open(&format!("{dir}/{name}"))?;
    let bytes = file.bytes()?;
    let wrong = |what: &str| Error::corrupt(file.path(), bytes.saturating_sub(footer::BYTES as u64), what);
    let at = bytes.checked_sub(footer::BYTES as u64).ok_or_else(|| wrong("too short for a footer"))?;
    let end = file.read(at, footer::BYTES as u64)?;
    let end = end.as_bytes();
    let sum = u64::from(crc32fast::hash(&end[..footer::CRC.offset]));
    if footer::MAGIC.of(end) != layout::FOOTER_MAGIC || footer::CRC.number(end) != sum {
        return Err(wrong("the footer is damaged or not there"));
    }
    let counts =
        Counts { records: footer::RECORDS.number(end), rows: footer::ROWS.number(end), dim: footer::DIM.number(end) };
    Ok((FileEntry { name: name.to_owned(), bytes, root: footer::ROOT.sixteen(end) }, counts))
}
