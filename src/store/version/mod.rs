//! A version: everything one manifest names, open for reading, and the pin that keeps it on disk.
//!
//! A version is made of a manifest and of what the log holds since (`replay`); a `draft` is the next version, made in
//! memory from changes. A `snapshot` is what readers get of a version.

pub(crate) mod change;
pub(crate) mod collections;
pub(crate) mod draft;
pub(crate) mod merge_policy;
pub(crate) mod replay;
pub(crate) mod snapshot;
mod staged;

use self::collections::Collections;
use crate::error::{Error, Result};
use crate::record::Schema;
use crate::store::Access;
use crate::store::Segment;
use crate::store::ViewFile;
use crate::store::files::hold::Holding;
use crate::store::files::{File, Files, is_missing};
use crate::store::format::damage::{Damage, Unreadable};
use crate::store::format::deletes;
use crate::store::format::manifest::{self, CollectionEntry, DeletesEntry, Manifest, SEGMENT_ROOM, SegmentEntry};
use crate::store::format::view_file;
use crate::store::layout::Sixteen;
use crate::store::segment::{Lookup, MemoryRecord};
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

/// Most attempts of a reader to open the newest manifest while writers keep replacing it.
const ATTEMPTS: usize = 200;
/// Most segments that the records of a collection in the log become.
const NEW_SEGMENTS: usize = 2;

/// One consistent state of a database. While it is held, its files stay on disk, even if other processes write.
#[derive(Clone, Debug)]
pub struct Version {
    /// Number of the publish whose files it reads.
    pub generation: u64,
    /// Number of the last commit in it.
    pub seq: u64,
    /// Collections by name.
    pub collections: Collections,
    /// What was published; commits since then are in `collections` only.
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) pin: Arc<Pin>,
}

/// The open manifest with a shared lock on it, which the kernel drops when the process ends.
#[derive(Debug)]
pub(crate) struct Pin(File);

/// One collection in a [`Version`].
#[derive(Clone, Debug)]
pub struct CollectionVersion {
    /// Its number; a collection dropped and made again gets another.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// What its records share.
    pub schema: Schema,
    /// Views that can be used, by name. See [`CollectionVersion::view`].
    pub views: BTreeMap<String, Arc<ViewFile>>,
    /// Segments: files first, then those in memory with what was committed since.
    pub segments: Vec<SegmentRef>,
    /// Live records.
    pub records: u64,
    /// The next number for a record without an id.
    pub(crate) next_record: u64,
    damaged_views: BTreeMap<String, Damage>,
}

/// A segment and which of its records are deleted.
#[derive(Clone, Debug)]
pub struct SegmentRef {
    /// The segment, in a file or in memory.
    pub segment: Arc<Segment>,
    /// Numbers of its deleted records.
    pub deleted: Arc<RoaringBitmap>,
    /// The file of the delete set as of the last publish; more may have been deleted since.
    saved: Option<Arc<DeletesEntry>>,
}

impl SegmentRef {
    pub(crate) fn new(
        segment: Arc<Segment>,
        saved: Option<Arc<DeletesEntry>>,
        deleted: Arc<RoaringBitmap>,
    ) -> SegmentRef {
        SegmentRef { segment, deleted, saved }
    }

    /// Returns the file of the delete set, as of the last publish.
    pub(crate) fn saved(&self) -> Option<&DeletesEntry> {
        self.saved.as_deref()
    }

    /// Returns whether the delete set is as in its file. Delete sets only grow, so one of the same size is the same.
    pub(crate) fn is_saved(&self) -> bool {
        self.deleted.len() == self.saved.as_ref().map_or(0, |saved| saved.count)
    }

    /// Returns the live records, when they are in memory.
    pub(crate) fn live_memory(&self) -> impl Iterator<Item = &Arc<MemoryRecord>> {
        let records = self.segment.memory().map_or(&[][..], |memory| memory.records());
        let live = |(n, record)| (!self.deleted.contains(n)).then_some(record);
        (0..).zip(records).filter_map(live)
    }

    /// Returns the numbers of the live records, for whoever copies them: what could not be read must not count as
    /// copied.
    ///
    /// # Errors
    /// The damage of a file that cannot be used as a whole.
    pub fn numbers(&self) -> Result<impl Iterator<Item = u32>> {
        match self.segment.damage() {
            Some(damage) => Err(damage),
            None => Ok((0..self.segment.records()).filter(|n| !self.deleted.contains(*n))),
        }
    }

    /// Returns how many records are live.
    pub fn live(&self) -> u64 {
        u64::from(self.segment.announced()).saturating_sub(self.deleted.len())
    }
}

impl CollectionVersion {
    pub(crate) fn empty(id: u64, name: String, schema: Schema) -> CollectionVersion {
        CollectionVersion {
            id,
            name,
            schema,
            views: BTreeMap::new(),
            segments: Vec::new(),
            records: 0,
            next_record: 1,
            damaged_views: BTreeMap::new(),
        }
    }

    /// Returns the most bytes that it takes in the next manifest. Records in memory become two segments: those in an
    /// open file, and the others.
    pub(crate) fn room(&self) -> u64 {
        let sealed = self.segments.iter().filter(|part| part.segment.is_sealed()).count();
        let segments = sealed + if sealed < self.segments.len() { NEW_SEGMENTS } else { 0 };
        let views: u64 = self.view_names().map(manifest::view_room).sum();
        manifest::collection_room(&self.name, &self.schema) + views + segments as u64 * SEGMENT_ROOM
    }

    /// Returns the most bytes that new records add to that.
    pub(crate) fn room_of_records(&self) -> u64 {
        let has_some = self.segments.iter().any(|part| part.segment.memory().is_some());
        if has_some { 0 } else { NEW_SEGMENTS as u64 * SEGMENT_ROOM }
    }

    pub(crate) fn drop_view(&mut self, name: &str) {
        self.views.remove(name);
        self.damaged_views.remove(name);
    }

    /// Returns the view of that name.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when its file is damaged, [`Error::NotFound`] when there is none.
    pub fn view(&self, name: &str) -> Result<&Arc<ViewFile>> {
        match (self.views.get(name), self.damaged_views.get(name)) {
            (Some(view), _) => Ok(view),
            (None, Some(damage)) => Err(damage.error()),
            (None, None) => Err(Error::not_found("view", name, self.views.keys())),
        }
    }

    /// Returns the names of all views, damaged ones included.
    pub fn view_names(&self) -> impl Iterator<Item = &str> {
        self.views.keys().chain(self.damaged_views.keys()).map(String::as_str)
    }

    /// Returns where the live record with this id is: index of its segment, and number in it.
    ///
    /// # Errors
    /// As [`Segment::find`].
    pub fn find(&self, id: &str) -> Result<Option<(usize, u32)>> {
        match lookup(&self.segments, id, |at| &self.segments[at].deleted)? {
            Lookup::At(place) => Ok(Some(place)),
            Lookup::Absent => Ok(None),
            Lookup::Unknown(damage) => Err(damage.error()),
        }
    }
}

/// Looks for the live record with this id, newest segments first; `deleted` returns the delete set of a segment.
pub(crate) fn lookup<'d>(
    segments: &[SegmentRef],
    id: &str,
    deleted: impl Fn(usize) -> &'d RoaringBitmap,
) -> Result<Lookup<(usize, u32)>> {
    let mut answer = Lookup::Absent;
    for (at, part) in segments.iter().enumerate().rev() {
        match part.segment.lookup(id)? {
            Lookup::At(record) if !deleted(at).contains(record) => return Ok(Lookup::At((at, record))),
            Lookup::At(_) | Lookup::Absent => {}
            Lookup::Unknown(damage) => answer = Lookup::Unknown(damage),
        }
    }
    Ok(answer)
}

/// Opens the newest manifest and pins it. Also returns whether its flags forbid writing.
pub(crate) fn newest(files: &Files) -> Result<(Manifest, bool, Pin)> {
    for _ in 0..ATTEMPTS {
        let generation = generations(files)?.last().copied();
        let Some(generation) = generation else {
            return Err(Error::not_found("database", files.root().display().to_string(), [""; 0]));
        };
        if let Some(pin) = pin(files, generation)? {
            let (manifest, no_writing) = Manifest::read(&pin.0, generation)?;
            return Ok((manifest, no_writing, pin));
        }
        sleep(Duration::from_millis(1));
    }
    let error = io::Error::new(io::ErrorKind::TimedOut, "every manifest was replaced before it could be locked");
    Err(Error::io(files.root(), "open", error))
}

/// Returns the generations that have a manifest, ascending.
pub(crate) fn generations(files: &Files) -> Result<Vec<u64>> {
    Ok(files.list("")?.iter().filter_map(|name| manifest::generation_of(name)).collect())
}

/// Returns whether no later generation than this one has a manifest.
pub(crate) fn is_newest(files: &Files, generation: u64) -> Result<bool> {
    Ok(generations(files)?.last() == Some(&generation))
}

/// Opens and pins one manifest; none when it is being removed.
pub(crate) fn pin(files: &Files, generation: u64) -> Result<Option<Pin>> {
    let file = match files.open(&manifest::name_of(generation)) {
        Err(error) if crate::store::files::is_missing(&error) => return Ok(None),
        opened => opened?,
    };
    // The file must have this name, not just any: a copy made of hard links gives it others.
    let pinned = file.try_lock(false)? && files.holding(&manifest::name_of(generation), &file)? == Holding::Same;
    Ok(pinned.then_some(Pin(file)))
}

impl Pin {
    /// Pins a manifest that is about to get its name.
    pub(crate) fn new(file: File) -> Result<Pin> {
        match file.try_lock(false)? {
            true => Ok(Pin(file)),
            false => Err(Error::io(file.path(), "lock", io::ErrorKind::WouldBlock.into())),
        }
    }

    /// Returns the manifest's file.
    pub(crate) fn file(&self) -> &File {
        &self.0
    }
}

impl Version {
    /// Returns the collection of that name.
    pub(crate) fn collection(&self, name: &str) -> Result<&Arc<CollectionVersion>> {
        self.collections.get(name).ok_or_else(|| Error::not_found("collection", name, self.collections.keys()))
    }

    /// Returns the same files with other collections on top, as of commit `seq`.
    pub(crate) fn with(&self, seq: u64, collections: Collections) -> Version {
        let (manifest, pin) = (self.manifest.clone(), self.pin.clone());
        Version { generation: self.generation, seq, collections, manifest, pin }
    }

    /// Returns whether its manifest still has its name.
    pub(crate) fn is_in_place(&self, files: &Files) -> Result<bool> {
        let manifest = self.pin.file();
        Ok(files.holding(&manifest::name_of(self.generation), manifest)? == Holding::Same)
    }

    /// Checks that the directory still is the one that this version, the newest, was written to or read from.
    pub(crate) fn check_place(&self, files: &Files) -> Result<()> {
        files.check_place()?;
        files.check_name(&manifest::name_of(self.generation), self.pin.file())?;
        // Another writer may have got past the lock (on a network, say); its commits must not be lost to this one.
        if is_newest(files, self.generation)? {
            return Ok(());
        }
        let cause = "another process has published meanwhile".to_owned();
        Err(Error::Poisoned { path: files.root().to_path_buf(), cause })
    }

    /// Returns whether this one comes after another: later files, or later commits on the same ones.
    pub(crate) fn is_after(&self, other: &Version) -> bool {
        (self.generation, self.seq) > (other.generation, other.seq)
    }

    /// Opens every file that the manifest names, except those that `previous` has open already.
    pub(crate) fn load(
        files: &Files,
        access: Access,
        manifest: Manifest,
        pin: Pin,
        previous: Option<&Version>,
    ) -> Result<Version> {
        let loader = Loader::new(files, access, manifest.database, previous);
        // The manifest counts live records, because it knows their number even where a file is damaged.
        let mut segments: HashMap<u64, (u64, Vec<SegmentRef>)> = HashMap::new();
        for entry in &manifest.segments {
            let (records, parts) = segments.entry(entry.collection).or_default();
            *records += entry.live();
            parts.push(loader.segment(entry)?);
        }
        let mut collections = Collections::default();
        for entry in &manifest.collections {
            let (records, parts) = segments.remove(&entry.id).unwrap_or_default();
            collections.put(loader.collection(entry, records, parts)?);
        }
        let (generation, seq) = (manifest.generation, manifest.last_seq);
        Ok(Version { generation, seq, collections, manifest: Arc::new(manifest), pin: Arc::new(pin) })
    }

    /// Returns the damage in a file that was written just now, as `new` says by its name.
    pub(crate) fn damage_in(&self, new: impl Fn(&str) -> bool) -> Option<Error> {
        let segments = self.segments().filter(|part| {
            let entry = part.segment.entry();
            entry.is_some_and(|entry| new(&entry.file.name)) || part.saved().is_some_and(|saved| new(&saved.file.name))
        });
        let mut views = self.manifest.collections.iter().flat_map(|collection| {
            let damaged = self.collections.get(&collection.name).map(|version| &version.damaged_views);
            let new = collection.views.iter().filter(|view| new(&view.file.name));
            new.filter_map(move |view| damaged?.get(&view.name))
        });
        segments.filter_map(|part| part.segment.damage()).next().or_else(|| views.next().map(Damage::error))
    }

    /// Returns all segments of all collections.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &SegmentRef> {
        self.collections.values().flat_map(|collection| &collection.segments)
    }
}

struct Loader<'a> {
    files: &'a Files,
    access: Access,
    database: Sixteen,
    /// By file names of the segment and its delete set.
    segments: HashMap<(&'a str, Option<&'a str>), &'a SegmentRef>,
    bare: HashMap<&'a str, &'a SegmentRef>,
    views: HashMap<Sixteen, &'a Arc<ViewFile>>,
}

impl<'a> Loader<'a> {
    fn new(files: &'a Files, access: Access, database: Sixteen, previous: Option<&'a Version>) -> Loader<'a> {
        let known = || previous.into_iter().flat_map(|version| version.segments());
        let name = |part: &'a SegmentRef| part.segment.entry().map(|entry| entry.file.name.as_str());
        let saved = known().filter(|part| part.is_saved());
        let views = previous.into_iter().flat_map(|version| version.collections.values());
        Loader {
            files,
            access,
            database,
            segments: saved
                .filter_map(|part| Some(((name(part)?, part.saved().map(|saved| saved.file.name.as_str())), part)))
                .collect(),
            bare: known().filter_map(|part| Some((name(part)?, part))).collect(),
            views: views.flat_map(|collection| collection.views.values()).map(|view| (view.root, view)).collect(),
        }
    }

    fn segment(&self, entry: &SegmentEntry) -> Result<SegmentRef> {
        let deletes = entry.deletes.as_ref();
        let key = (entry.file.name.as_str(), deletes.map(|deletes| deletes.file.name.as_str()));
        if let Some(part) = self.segments.get(&key) {
            return Ok((*part).clone());
        }
        let segment = match self.bare.get(entry.file.name.as_str()) {
            Some(part) => part.segment.clone(),
            None => Arc::new(Segment::open(self.files, self.access, self.database, entry)?),
        };
        let deleted = match deletes.map(|deletes| deletes::read(self.files, self.database, entry, deletes)) {
            None => RoaringBitmap::new(),
            Some(Ok(deleted)) => deleted,
            // Without its delete set a segment would bring deleted records back, so it answers with the damage.
            Some(Err(error)) => {
                let segment = Arc::new(Segment::damaged(self.files, entry, Damage::try_from(error)?));
                return Ok(SegmentRef::new(segment, deletes.cloned().map(Arc::new), Arc::default()));
            }
        };
        Ok(SegmentRef::new(segment, deletes.cloned().map(Arc::new), Arc::new(deleted)))
    }

    fn collection(
        &self,
        entry: &CollectionEntry,
        records: u64,
        segments: Vec<SegmentRef>,
    ) -> Result<CollectionVersion> {
        let (mut views, mut damaged_views) = (BTreeMap::new(), BTreeMap::new());
        for view in &entry.views {
            // A view that was in the log is read again from its file.
            match self.views.get(&view.file.root).filter(|known| known.name == view.name && known.logged.is_none()) {
                Some(known) => {
                    views.insert(view.name.clone(), (*known).clone());
                }
                None => match view_file::read(self.files, self.database, view) {
                    Ok(read) => {
                        views.insert(view.name.clone(), Arc::new(read));
                    }
                    Err(error) => {
                        damaged_views.insert(view.name.clone(), Damage::try_from(error)?);
                    }
                },
            }
        }
        let roots: HashSet<Sixteen> = views.values().map(|view| view.root).collect();
        segments.iter().for_each(|part| part.segment.derived.retain(&roots));
        Ok(CollectionVersion {
            id: entry.id,
            name: entry.name.clone(),
            schema: entry.schema.clone(),
            views,
            records,
            next_record: entry.next_record,
            segments,
            damaged_views,
        })
    }
}

/// Loads the newest version, with the commits in the log.
pub(crate) fn newest_of(files: &Files, access: Access, known: Option<&Version>) -> Result<(Version, replay::Replay)> {
    loop {
        let (manifest, _, pin) = match newest(files) {
            Err(error) if is_missing(&error) => return Err(missing(files.root())),
            newest => newest?,
        };
        let generation = manifest.generation;
        let known = known.filter(|known| known.manifest.database == manifest.database);
        let version = Version::load(files, access, manifest, pin, known)?;
        let mut replay = replay::Replay::new(&version, access);
        match replay.catch_up(files, &version) {
            Ok(next) => return Ok((next.unwrap_or(version), replay)),
            // A writer has published meanwhile and begun another log.
            Err(_) if !is_newest(files, generation)? => {}
            Err(error) => return Err(error),
        }
    }
}

/// Makes the error that there is no database.
pub(crate) fn missing(path: &std::path::Path) -> Error {
    Error::not_found("database", path.display().to_string(), [""; 0])
}

/// Opens the files of a database that must exist.
pub(crate) fn at(vfs: Arc<dyn crate::store::vfs::Vfs>, path: &std::path::Path) -> Result<Files> {
    crate::threads::ready();
    Files::new(vfs, path).map_err(|error| if is_missing(&error) { missing(path) } else { error })
}

impl SegmentRef {
    /// Returns all live records as unreadable, if damage of their file or its delete set keeps all from being read.
    pub(crate) fn unreadable(&self) -> Result<Option<Unreadable>> {
        // Without a delete set that can be read, the manifest still knows how many it held.
        let records = self.live().min(self.segment.entry().map_or(u64::MAX, |entry| entry.live()));
        self.segment.damage().map(|error| Unreadable::new(None, records, error)).transpose()
    }
}
