//! What is derived from a segment, or from a view over it, and can be rebuilt: rows, codes, indexes, fields in columns.
//!
//! # Words
//! An *artefact* is one such thing, of one [`Kind`]. Its *sections* are runs of bytes of which this module checks only
//! the sums; the module that the artefact belongs to reads what they mean ([`Artefact::read`]). Its *file* may vanish
//! or rot at any time, which costs time but makes no answer wrong: so it needs no sync, no manifest, no pin.
//!
//! # In and out
//! ```text
//! asked for -> remembered by the segment, else loaded, else built: into a file, or into memory
//! ```
//! A file is used if its sums fit, it names this segment's and this view's root, and the module of the artefact finds
//! nothing wrong with it; otherwise it is treated as missing. It is checked in full when it is loaded, because an
//! answer must not fail half-way for what can be rebuilt. An artefact is built in memory where no file may be written
//! (records in the log, a handle for reading), where writing one failed, and where it lacks something because of
//! damage, which a file could not record.
//!
//! # Costs
//! Remembered, also as missing: one lock and one lookup. Loading: every byte once, at the speed of memory; with
//! [`Access::Read`] it is copied. Building into a file: what the builder holds, and a buffer of 1 MiB.

mod rows;
mod sections;

pub use rows::{Build, DerivedRows};
pub(crate) use sections::{Sections, SectionsWriter};

use crate::error::{Error, Result};
use crate::store::Access;
use crate::store::Segment;
use crate::store::ViewFile;
use crate::store::files::{DERIVED, Files, TEMPORARY, is_missing};
use crate::store::format::container::{Counts, Identity, Writer};
use crate::store::format::damage::Damage;
use crate::store::format::manifest::{SegmentEntry, sixteen_digits};
use crate::store::layout::{Kind, Sixteen};
use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Something derived from a segment and, unless it is of raw rows or fields, from a view.
pub(crate) trait Artefact: Sized + Send + Sync + 'static {
    /// What it is; no two types have the same.
    const KIND: Kind;

    /// Reads the artefact from sections whose sums fit, which are of this very segment and view; [`Counts::records`]
    /// are the segment's. Checks everything else that an answer relies on.
    ///
    /// # Errors
    /// [`Error::Corrupt`], see [`Sections::corrupt`]: then it is built anew.
    fn read(sections: Sections) -> Result<Self>;
}

/// Writes the sections of an artefact and returns their counts; [`Counts::records`] must be the segment's. Called
/// again, to write into memory, when a file cannot be written.
pub(crate) type Make<'a> = dyn Fn(&mut SectionsWriter<'_>) -> Result<Counts> + 'a;

/// Loads, builds and keeps artefacts.
#[derive(Debug)]
pub(crate) struct Derived {
    files: Files,
    access: Access,
    database: Sixteen,
    /// Whether files may be written.
    writable: AtomicBool,
}

/// Says which artefact: the name of its file and what the file's header holds.
#[derive(Debug)]
pub(crate) struct Address {
    pub kind: Kind,
    pub name: String,
    pub identity: Identity,
    pub records: u32,
    /// Whether it may have a file; false for records in the log, which will soon be in another segment.
    sealed: bool,
}

/// Reads the name of a derived file: the numbers of segment and view (0 for no view), and the kind.
pub(crate) fn parse(name: &str) -> Option<(u64, u64, Kind)> {
    let mut parts = name.strip_suffix(".odrv")?.splitn(3, '-');
    let (segment, view) = (sixteen_digits(parts.next()?)?, sixteen_digits(parts.next()?)?);
    let kind = parts.next()?;
    let (kind, _) = Kind::DERIVED.iter().find(|(_, known)| *known == kind)?;
    Some((segment, view, *kind))
}

fn name_of(segment: u64, view: u64, kind: Kind) -> String {
    let kind = Kind::DERIVED.iter().find(|(known, _)| *known == kind).map_or("", |(_, name)| name);
    format!("{DERIVED}/{segment:016x}-{view:016x}-{kind}.odrv")
}

impl Derived {
    pub(crate) fn new(files: Files, access: Access, database: Sixteen, writable: bool) -> Derived {
        Derived { files, access, database, writable: AtomicBool::new(writable) }
    }

    /// Whether artefacts get files; otherwise they are kept in memory.
    pub(crate) fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Relaxed)
    }

    /// Stops writing files: from now on what has no file is kept in memory. A file that is being written is still
    /// finished, which harms nobody.
    pub(crate) fn stop_writing(&self) {
        self.writable.store(false, Ordering::Relaxed);
    }

    /// Returns the address of an artefact of a segment in a file; `view` is number and root of the view.
    pub(crate) fn address(&self, entry: &SegmentEntry, view: Option<(u64, Sixteen)>, kind: Kind) -> Address {
        let (view, view_root) = view.unwrap_or_default();
        let identity = Identity {
            database: self.database,
            file: [0; 16],
            segment: entry.uuid,
            segment_root: entry.file.root,
            view_root,
        };
        let name = name_of(entry.file.no(), view, kind);
        Address { kind, name, identity, records: entry.records, sealed: true }
    }

    fn address_of(&self, segment: &Segment, view: Option<&ViewFile>, kind: Kind) -> Address {
        match segment.entry() {
            Some(entry) => self.address(entry, view.map(|view| (view.no, view.root)), kind),
            None => {
                let identity = Identity { database: self.database, ..Identity::default() };
                let name = name_of(0, 0, kind);
                Address { kind, name, identity, records: segment.records(), sealed: false }
            }
        }
    }

    /// Returns an artefact that is remembered or in a file. That there is none is remembered too, until it is built or
    /// a new manifest is read.
    pub(crate) fn get<A: Artefact>(&self, segment: &Segment, view: Option<&ViewFile>) -> Option<Arc<A>> {
        let slot = segment.derived.slot::<A>(A::KIND, view);
        if let Some(known) = slot.known() {
            return known;
        }
        let turns = slot.turns();
        let _turn = turns.to_load();
        if let Some(known) = slot.known() {
            return known;
        }
        match self.load(&self.address_of(segment, view, A::KIND)) {
            Ok(loaded) => Some(slot.remember(Arc::new(loaded))),
            Err(_) => slot.remember_absence(),
        }
    }

    /// Returns an artefact that is remembered, else what `make` makes.
    ///
    /// Of several threads one makes it and the others wait. But a thread of a rayon pool must not wait, because the
    /// making may need that very thread, so it makes its own.
    fn get_or<A: Artefact>(
        &self,
        segment: &Segment,
        view: Option<&ViewFile>,
        make: impl FnOnce(&Address) -> Result<A>,
    ) -> Result<Arc<A>> {
        let slot = segment.derived.slot::<A>(A::KIND, view);
        if let Some(Some(known)) = slot.known() {
            return Ok(known);
        }
        let turns = slot.turns();
        let _turn = turns.to_build();
        if let Some(Some(known)) = slot.known() {
            return Ok(known);
        }
        Ok(slot.remember(Arc::new(make(&self.address_of(segment, view, A::KIND))?)))
    }

    /// Returns an artefact: remembered, else from its file, else built.
    pub(crate) fn get_or_build<A: Artefact>(
        &self,
        segment: &Segment,
        view: Option<&ViewFile>,
        make: &Make<'_>,
    ) -> Result<Arc<A>> {
        self.get_or(segment, view, |address| self.load_or_build(address, make))
    }

    /// Returns the rows of a view over a segment: remembered, else from the file, else built. A record that cannot be
    /// read has no rows: asking for them returns the damage. The others have theirs.
    pub(crate) fn rows(&self, segment: &Segment, view: &ViewFile, build: &Build<'_>) -> Result<Arc<DerivedRows>> {
        self.get_or(segment, Some(view), |address| {
            let damaged = RefCell::default();
            let make =
                |out: &mut SectionsWriter<'_>| rows::write(out, segment.records(), build, &mut damaged.borrow_mut());
            let rows: DerivedRows = self.load_or_build(address, &make)?;
            Ok(rows.without(damaged.into_inner()))
        })
    }

    /// Loads an artefact from its file.
    pub(crate) fn load<A: Artefact>(&self, address: &Address) -> Result<A> {
        A::read(self.sections(address)?)
    }

    /// Opens the sections of a file and checks everything that can be checked without knowing what they mean.
    pub(crate) fn sections(&self, address: &Address) -> Result<Sections> {
        match address.sealed {
            true => Sections::open(&self.files, self.access, address),
            false => Err(Error::corrupt(self.files.path(&address.name), None, "no file of records in the log")),
        }
    }

    fn load_or_build<A: Artefact>(&self, address: &Address, make: &Make<'_>) -> Result<A> {
        if let Ok(found) = self.load(address) {
            return Ok(found);
        }
        self.build_anew(address, make)
    }

    /// Builds an artefact even if there is one; whoever has the old one keeps it.
    pub(crate) fn rebuild<A: Artefact>(
        &self,
        segment: &Segment,
        view: Option<&ViewFile>,
        make: &Make<'_>,
    ) -> Result<Arc<A>> {
        let slot = segment.derived.slot::<A>(A::KIND, view);
        let turns = slot.turns();
        let _turn = turns.to_build();
        Ok(slot.replace(Arc::new(self.build_anew(&self.address_of(segment, view, A::KIND), make)?)))
    }

    fn build_anew<A: Artefact>(&self, address: &Address, make: &Make<'_>) -> Result<A> {
        if address.sealed && self.writable.load(Ordering::Relaxed) {
            match build(&self.files, address, make, true) {
                // What cannot be read back is built in memory, like what cannot be written.
                Ok(()) => {
                    if let Ok(found) = self.load(address) {
                        return Ok(found);
                    }
                }
                Err(error) => match Damage::try_from(error) {
                    Ok(_) | Err(Error::Io { .. } | Error::DiskFull { .. } | Error::Poisoned { .. }) => {}
                    Err(other) => return Err(other),
                },
            }
        }
        A::read(build_in_memory(self.files.root(), address, make)?)
    }
}

/// Builds the same file as on disk, in a file system in memory that is dropped with it.
fn build_in_memory(root: &Path, address: &Address, make: &Make<'_>) -> Result<Sections> {
    let files = Files::in_memory(root, DERIVED)?;
    build(&files, address, make, false)?;
    Sections::open(&files, Access::Map, address)
}

/// Builds an artefact of records that are in no store.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn in_memory<A: Artefact>(records: u32, make: &Make<'_>) -> Result<A> {
    let (kind, identity) = (A::KIND, Identity::default());
    let address = Address { kind, name: name_of(0, 0, kind), identity, records, sealed: false };
    A::read(build_in_memory(Path::new("memory"), &address, make)?)
}

/// Builds sections without a segment.
#[cfg(test)]
pub(crate) fn sections_of(kind: Kind, records: u32, make: &Make<'_>) -> Result<Sections> {
    let address = Address { kind, name: name_of(0, 0, kind), identity: Identity::default(), records, sealed: false };
    build_in_memory(Path::new("memory"), &address, make)
}

/// Builds a file under a temporary name and renames it when it is whole. `lasting` says whether others will see it.
fn build(files: &Files, address: &Address, make: &Make<'_>, lasting: bool) -> Result<()> {
    static ATTEMPTS: AtomicU64 = AtomicU64::new(0);
    let attempt = ATTEMPTS.fetch_add(1, Ordering::Relaxed);
    let temporary = format!("{}.{}-{attempt}{TEMPORARY}", address.name, std::process::id());
    let file = match files.create(&temporary) {
        // The directory may have been removed with all that was in it.
        Err(error) if is_missing(&error) => {
            files.create_dir(DERIVED)?;
            files.create(&temporary)
        }
        made => made,
    };
    let mut out = Writer::new(file?, address.kind, &address.identity)?;
    let written = make(&mut SectionsWriter::new(&mut out, lasting));
    let finished = written.and_then(|counts| out.finish(counts));
    finished.and_then(|_| files.rename(&temporary, &address.name)).inspect_err(|_| {
        // Best effort: a leftover is swept when the database is opened for writing the next time.
        let _ = files.remove(&temporary);
    })
}
