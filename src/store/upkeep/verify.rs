//! Looks for damage in all files, without stopping at the first.
//!
//! Works on the files alone, which it reads and never maps, even beside a running writer: every manifest is pinned
//! while its files are checked. What no manifest names is listed, not judged.

use crate::error::{Error, Result};
use crate::matrix::MatrixView;
use crate::store::Access;
use crate::store::Options;
use crate::store::Segment;
use crate::store::derived::{self, Derived, DerivedRows};
use crate::store::files::{DERIVED, Files, SEG, VIEW, is_missing};
use crate::store::format::deletes;
use crate::store::format::log::{self, Cursor};
use crate::store::format::manifest::{FileEntry, Manifest, SegmentEntry};
use crate::store::format::view_file;
use crate::store::layout::{Kind, hex, root_of};
use crate::store::version::replay::Replay;
use crate::store::version::{self, CollectionVersion, Pin, Version};
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// How thoroughly to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Depth {
    /// Manifests, headers, footers, roots, lengths; delete sets and views in full.
    Metadata,
    /// Every byte, and what the bytes mean.
    Deep,
    /// As `Deep`, and derives every row again and compares it, bit for bit.
    Derived,
}

/// One damaged place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Path of the file.
    pub path: PathBuf,
    /// Place in it, in bytes from its start, when that is known.
    pub offset: Option<u64>,
    /// What is wrong with it there, for people to read.
    pub what: String,
    /// Whether it does no harm: a derived file that nobody will use, and that is rebuilt when it is next needed. (One
    /// that would be used and holds wrong rows does harm.)
    pub derived: bool,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verification {
    /// Every damaged place that was found; none in a sound database.
    pub findings: Vec<Finding>,
    /// How many files were checked.
    pub files: u64,
    /// How many bytes these have together.
    pub bytes: u64,
    /// Live records of the newest version that were checked.
    pub records: u64,
    /// Files that nothing names; a writer removes those whose names the store makes.
    pub orphans: Vec<PathBuf>,
}

impl Verification {
    /// Returns whether nothing is lost and no answer can be wrong.
    pub fn is_clean(&self) -> bool {
        self.findings.iter().all(|finding| finding.derived)
    }
}

/// Does what [`verify_path`] does, for files that are open.
pub(crate) fn verify(files: &Files, depth: Depth) -> Result<Verification> {
    let mut check =
        Check { files, depth, report: Verification::default(), seen: HashMap::new(), noted: HashSet::new() };
    let pins = check.pin_all()?;
    if pins.is_empty() && check.report.findings.is_empty() {
        return Err(Error::not_found("database", files.root().display().to_string(), [""; 0]));
    }
    let mut manifests = Vec::new();
    for (generation, pin) in pins {
        check.report.files += 1;
        check.report.bytes += pin.file().bytes()?;
        match Manifest::read(pin.file(), generation) {
            Ok((manifest, _)) => manifests.push((manifest, pin)),
            Err(error) => check.note(error, false)?,
        }
    }
    for (manifest, _) in &manifests {
        check.manifest(manifest)?;
    }
    if let Some((newest, _)) = manifests.last() {
        check.derived(newest)?;
    }
    // What the newest log holds can be checked only on top of the newest version.
    let logged = match manifests.pop() {
        None => Vec::new(),
        Some((newest, pin)) => {
            let kept: Vec<String> = newest.kept().collect();
            let logged = check.newest(newest, pin)?;
            kept.into_iter().chain(logged).collect()
        }
    };
    check.orphans(manifests.iter().flat_map(|(manifest, _)| manifest.kept()).chain(logged).collect())?;
    Ok(check.report)
}

/// Checks the database in a directory, even one that cannot be opened any more.
///
/// # Errors
/// [`Error::NotFound`] when there is none, [`Error::Io`] when it cannot be examined.
pub fn verify_path(path: &Path, options: Options, depth: Depth) -> Result<Verification> {
    verify(&version::at(options.vfs, path)?, depth)
}

struct Check<'a> {
    files: &'a Files,
    depth: Depth,
    report: Verification,
    /// Files that were checked already, with the entry that named them.
    seen: HashMap<String, FileEntry>,
    /// Findings that were noted already: every record in a damaged block meets the same one.
    noted: HashSet<(PathBuf, Option<u64>, String)>,
}

impl Check<'_> {
    /// Adds damage to the report; returns every other error.
    fn note(&mut self, error: Error, derived: bool) -> Result<()> {
        let found = Finding::new(error, derived)?;
        if self.noted.insert((found.path.clone(), found.offset, found.what.clone())) {
            self.report.findings.push(found);
        }
        Ok(())
    }

    /// Pins every manifest there is, oldest first.
    fn pin_all(&mut self) -> Result<Vec<(u64, Pin)>> {
        let mut pins = Vec::new();
        for generation in version::generations(self.files)? {
            match version::pin(self.files, generation) {
                Ok(pin) => pins.extend(pin.map(|pin| (generation, pin))),
                Err(error) => self.note(error, false)?,
            }
        }
        Ok(pins)
    }

    fn manifest(&mut self, manifest: &Manifest) -> Result<()> {
        for segment in &manifest.segments {
            self.segment(manifest, segment)?;
        }
        for view in manifest.collections.iter().flat_map(|collection| &collection.views) {
            if self.begin(format!("{VIEW}/{}", view.file.name), &view.file)?
                && let Err(error) = view_file::read(self.files, manifest.database, view)
            {
                self.note(error, false)?;
            }
        }
        Ok(())
    }

    /// Begins to check a file; returns false if it is missing or was checked before: manifests share most of their
    /// files.
    fn begin(&mut self, name: String, entry: &FileEntry) -> Result<bool> {
        if self.seen.insert(name.clone(), entry.clone()).is_some_and(|before| before == *entry) {
            return Ok(false);
        }
        self.report.files += 1;
        self.report.bytes += entry.bytes;
        match self.files.open(&name) {
            Err(error) if is_missing(&error) => {
                let what = format!("the file is missing: {} bytes with the root {}", entry.bytes, hex(&entry.root));
                self.note(Error::corrupt(self.files.path(&name), None, what), false)?;
                Ok(false)
            }
            Err(error) => self.note(error, false).map(|()| false),
            Ok(_) => Ok(true),
        }
    }

    fn segment(&mut self, manifest: &Manifest, entry: &SegmentEntry) -> Result<()> {
        if self.begin(format!("{SEG}/{}", entry.file.name), &entry.file)? {
            let segment = Segment::open(self.files, Access::Read, manifest.database, entry)?;
            let mut found = Vec::new();
            match self.depth {
                Depth::Metadata => found.extend(segment.damage()),
                Depth::Deep | Depth::Derived => segment.verify(&mut |error| found.push(error)),
            }
            for error in found {
                self.note(error, false)?;
            }
        }
        if let Some(set) = &entry.deletes
            && self.begin(format!("{SEG}/{}", set.file.name), &set.file)?
            && let Err(error) = deletes::read(self.files, manifest.database, entry, set)
        {
            self.note(error, false)?;
        }
        Ok(())
    }

    /// Checks the derived files of the newest version; those of older ones no longer matter.
    fn derived(&mut self, manifest: &Manifest) -> Result<()> {
        let derived = Derived::new(self.files.clone(), Access::Read, manifest.database, false);
        let segments: HashMap<u64, &SegmentEntry> =
            manifest.segments.iter().map(|segment| (segment.file.no(), segment)).collect();
        let views = manifest.collections.iter().flat_map(|collection| &collection.views);
        let views: HashMap<u64, &FileEntry> = views.map(|view| (view.file.no(), &view.file)).collect();
        for name in self.files.list_if_there(DERIVED)? {
            let Some((segment_no, view_no, kind)) = derived::parse(&name) else { continue };
            let view = views.get(&view_no).map(|file| (view_no, file.root));
            let segment = segments.get(&segment_no).filter(|_| view.is_some() || view_no == 0);
            let Some(segment) = segment else { continue };
            let address = derived.address(segment, view, kind);
            self.report.files += 1;
            match self.files.bytes_of(&address.name) {
                Ok(bytes) => self.report.bytes += bytes,
                Err(error) => {
                    self.note(error, true)?;
                    continue;
                }
            }
            // Only the modules above know what the sections of other kinds mean, and they use none that is wrong.
            let checked = match kind {
                Kind::Rows => derived.load::<DerivedRows>(&address).map(drop),
                _ => derived.sections(&address).map(drop),
            };
            if let Err(error) = checked {
                self.note(error, true)?;
            }
        }
        Ok(())
    }

    /// Lists the files that nothing names.
    fn orphans(&mut self, reachable: HashSet<String>) -> Result<()> {
        for dir in [SEG, VIEW] {
            for name in self.files.list_if_there(dir)?.into_iter().map(|name| format!("{dir}/{name}")) {
                if !reachable.contains(&name) {
                    self.report.orphans.push(self.files.path(&name));
                }
            }
        }
        Ok(())
    }

    /// Checks the log on top of the newest version; returns the segment files that it names. From `Deep` on, also
    /// checks that live ids are unique in each collection, and that matrices that the log names can be read.
    fn newest(&mut self, manifest: Manifest, pin: Pin) -> Result<Vec<String>> {
        let version = Version::load(self.files, Access::Read, manifest, pin, None)?;
        for number in Cursor::logs(self.files, version.manifest.first_log())? {
            self.report.files += 1;
            match self.files.bytes_of(&log::name_of(number)) {
                Ok(bytes) => self.report.bytes += bytes,
                Err(error) => self.note(error, false)?,
            }
        }
        let mut replay = Replay::new(&version, Access::Read);
        let version = match replay.catch_up(self.files, &version) {
            Ok(next) => next.unwrap_or(version),
            // A writer has published meanwhile; what was checked was whole.
            Err(_) if !version::is_newest(self.files, version.generation)? => version,
            Err(error) => {
                self.note(error, false)?;
                version
            }
        };
        if self.depth >= Depth::Deep {
            version.collections.values().try_for_each(|collection| self.ids(collection))?;
        }
        if self.depth == Depth::Derived {
            self.rows(&version)?;
        }
        Ok(replay.direct().map(|name| format!("{SEG}/{name}")).collect())
    }

    fn ids(&mut self, collection: &CollectionVersion) -> Result<()> {
        let mut ids = HashSet::new();
        for part in &collection.segments {
            for n in (0..part.segment.records()).filter(|n| !part.deleted.contains(*n)) {
                if part.segment.memory().is_some()
                    && let Err(error) = part.segment.matrix(n)
                {
                    self.note(error, false)?;
                }
                // Damage was noted when the segment was checked.
                let Ok(id) = part.segment.id(n) else { continue };
                self.report.records += 1;
                if !ids.insert(root_of(id.as_bytes())) {
                    let what = format!("record {n}: the id `{id}` is live in another segment too");
                    self.note(Error::corrupt(part.segment.path(), None, what), false)?;
                }
            }
        }
        Ok(())
    }

    /// Checks that derived rows are those that the views make of the records.
    fn rows(&mut self, version: &Version) -> Result<()> {
        let derived = Derived::new(self.files.clone(), Access::Read, version.manifest.database, false);
        for collection in version.collections.values() {
            for (part, view) in
                collection.segments.iter().flat_map(|part| collection.views.values().map(move |view| (part, view)))
            {
                let Some(entry) = part.segment.entry() else { continue };
                let address = derived.address(entry, Some((view.no, view.root)), Kind::Rows);
                // What cannot be loaded was noted before, or is not there.
                let Ok(rows) = derived.load::<DerivedRows>(&address) else { continue };
                let wrong = (0..part.segment.records()).into_par_iter().find_map_first(|n| {
                    let raw = part.segment.matrix(n).ok()?;
                    let same = view.derive(raw.view()).and_then(|made| Ok(is_same(made.view(), rows.matrix(n)?)));
                    match same {
                        Ok(true) => None,
                        Ok(false) => Some(format!("the rows of record {n} are not those that the view makes")),
                        Err(error) => Some(format!("the rows of record {n} cannot be made again: {error}")),
                    }
                });
                if let Some(what) = wrong {
                    self.note(Error::corrupt(self.files.path(&address.name), None, what), false)?;
                }
            }
        }
        Ok(())
    }
}

fn is_same(one: MatrixView<'_>, other: MatrixView<'_>) -> bool {
    let bits = |rows: MatrixView<'_>| rows.values().iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    one.rows() == other.rows() && bits(one) == bits(other)
}
