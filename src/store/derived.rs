//! Rows of a view over one segment, in memory or in a file that may vanish at any time.
//!
//! A derived file is good if its sums fit *and* it names this segment's and this view's root; anything else about it is
//! ignored and it is built anew. So it needs no sync, no manifest and no pin. It is checked in full when it is opened (at
//! the speed of memory), because an answer must not fail half-way for what can be rebuilt.
//!
//! A record that cannot be read has no rows, and says why when it is asked for them; the others have theirs. Then the
//! rows stay in memory, because a file of them could not say so.

use super::container::{Container, Counts, Expected, Identity, SectionEntry, Writer};
use super::files::{DERIVED, Files, TEMPORARY};
use super::layout::{Kind, Sixteen, section};
use super::{Access, Segment, ViewFile, damage::Damage};
use crate::error::{Error, Result};
use crate::matrix::{Matrix, MatrixView};
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Bytes of rows built before they are written.
const CHUNK_BYTES: usize = 16 << 20;
/// Most records built before their rows are written.
const CHUNK_RECORDS: usize = 8_192;

/// Gives record `n`'s rows in the view.
pub type Build<'a> = dyn Fn(u32) -> Result<Matrix> + Sync + 'a;

/// Rows of every record of a segment in one view, in order of the records.
#[derive(Debug)]
pub struct DerivedRows {
    dim: usize,
    /// First row of each record, and the end.
    starts: Vec<usize>,
    values: Values,
    /// Records that have no rows here because they cannot be read.
    damaged: BTreeMap<u32, Damage>,
}

#[derive(Debug)]
enum Values {
    Memory(Vec<f32>),
    File(Box<Container>, SectionEntry),
}

impl DerivedRows {
    /// Numbers in a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Rows of record `n` among all rows.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such record.
    pub fn range(&self, n: u32) -> Result<Range<usize>> {
        match self.starts.get(n as usize..).and_then(|starts| starts.get(..2)) {
            Some(bounds) => Ok(bounds[0]..bounds[1]),
            None => Err(Error::invalid("record number", format!("{n}: the segment has {}", self.starts.len() - 1))),
        }
    }

    /// All rows of all records.
    ///
    /// # Errors
    /// None in practice: the bytes were checked when the file was opened.
    pub fn all(&self) -> Result<MatrixView<'_>> {
        let rows = self.starts.last().copied().unwrap_or(0);
        Ok(MatrixView::trusted(rows, self.dim, self.values()?))
    }

    /// The rows of record `n`.
    ///
    /// # Errors
    /// As [`DerivedRows::range`], and the damage that kept the record's rows from being made.
    pub fn matrix(&self, n: u32) -> Result<MatrixView<'_>> {
        if let Some(damage) = self.damaged.get(&n) {
            return Err(damage.error());
        }
        let rows = self.range(n)?;
        let values = &self.values()?[rows.start * self.dim..rows.end * self.dim];
        Ok(MatrixView::trusted(rows.len(), self.dim, values))
    }

    fn values(&self) -> Result<&[f32]> {
        match &self.values {
            Values::Memory(values) => Ok(values),
            Values::File(file, place) => floats(file, *place),
        }
    }
}

/// A mapped section as numbers.
fn floats(file: &Container, place: SectionEntry) -> Result<&[f32]> {
    match file.read_section(place)? {
        Cow::Borrowed(bytes) => {
            bytemuck::try_cast_slice(bytes).map_err(|_| file.corrupt(place.offset, "misaligned rows"))
        }
        Cow::Owned(_) => Err(file.corrupt(place.offset, "rows that are not mapped")),
    }
}

/// Derived rows that were asked for, by the root of the view.
#[derive(Debug, Default)]
pub(crate) struct RowsCache(Mutex<HashMap<Sixteen, Slot>>);

type Slot = Arc<Remembered>;

/// The rows of one view once there are any, and whose turn it is to bring them.
#[derive(Debug, Default)]
struct Remembered {
    rows: OnceLock<Arc<DerivedRows>>,
    turn: Mutex<()>,
}

impl RowsCache {
    fn slot(&self, view: Sixteen) -> Slot {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(view).or_default().clone()
    }

    /// Forgets the rows of views that are gone.
    pub(crate) fn retain(&self, views: &HashSet<Sixteen>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|view, _| views.contains(view));
    }
}

/// Where derived rows come from and go to.
#[derive(Debug)]
pub(crate) struct Derived {
    files: Files,
    access: Access,
    database: Sixteen,
    /// Whether files may be written.
    writable: AtomicBool,
}

/// The name of the file with the rows of view `view` over segment `segment`.
fn name_of(segment: u64, view: u64) -> String {
    format!("{segment:016x}-{view:016x}-rows.odrv")
}

/// Numbers of the segment and view that a derived file's name says.
pub(crate) fn numbers_of(name: &str) -> Option<(u64, u64)> {
    let mut parts = name.strip_suffix("-rows.odrv")?.split('-').map(super::manifest::sixteen_digits);
    let numbers = (parts.next()??, parts.next()??);
    parts.next().is_none().then_some(numbers)
}

impl Derived {
    pub(crate) fn new(files: Files, access: Access, database: Sixteen, writable: bool) -> Derived {
        Derived { files, access, database, writable: AtomicBool::new(writable) }
    }

    /// From now on rows that have no file are kept in memory. One that is being written is finished; that harms nobody.
    pub(crate) fn stop_writing(&self) {
        self.writable.store(false, Ordering::Relaxed);
    }

    /// The rows of a view over a segment: remembered, else from the file, else built.
    ///
    /// Of several threads one builds and the others wait; but a thread of a rayon pool must not wait, because it may
    /// itself be needed for the building, so it builds for itself.
    pub(crate) fn rows(&self, segment: &Segment, view: &ViewFile, build: &Build<'_>) -> Result<Arc<DerivedRows>> {
        let slot = segment.rows.slot(view.root);
        if let Some(rows) = slot.rows.get() {
            return Ok(rows.clone());
        }
        let _turn = match slot.turn.try_lock() {
            Ok(turn) => turn,
            Err(_) if rayon::current_thread_index().is_some() => return self.load_or_build(segment, view, build),
            Err(_) => slot.turn.lock().unwrap_or_else(PoisonError::into_inner),
        };
        if let Some(rows) = slot.rows.get() {
            return Ok(rows.clone());
        }
        let rows = self.load_or_build(segment, view, build)?;
        Ok(slot.rows.get_or_init(|| rows).clone())
    }

    fn load_or_build(&self, segment: &Segment, view: &ViewFile, build: &Build<'_>) -> Result<Arc<DerivedRows>> {
        // Records in the log will be in a file before long; until then their rows are made when they are asked for.
        let Some((name, identity)) = self.file_of(segment, view) else {
            return build_in_memory(segment.records(), build).map(Arc::new);
        };
        if let Ok(rows) = self.load(&name, segment.records(), &identity) {
            return Ok(Arc::new(rows));
        }
        if self.writable.load(Ordering::Relaxed) && self.build_file(&name, &identity, segment.records(), build)? {
            // What cannot be read back is built in memory, like what cannot be written.
            if let Ok(rows) = self.load(&name, segment.records(), &identity) {
                return Ok(Arc::new(rows));
            }
        }
        build_in_memory(segment.records(), build).map(Arc::new)
    }

    /// Name and identity of the file with the rows of a view over a segment; none for records in the log.
    pub(crate) fn file_of(&self, segment: &Segment, view: &ViewFile) -> Option<(String, Identity)> {
        let entry = segment.entry()?;
        let identity = Identity {
            database: self.database,
            file: [0; 16],
            segment: entry.uuid,
            segment_root: entry.file.root,
            view_root: view.root,
        };
        Some((format!("{DERIVED}/{}", name_of(entry.file.no(), view.no)), identity))
    }

    /// Opens and checks a derived file in full.
    pub(crate) fn load(&self, name: &str, records: u32, identity: &Identity) -> Result<DerivedRows> {
        let expected = Expected { kind: Kind::Rows, database: self.database, sealed: None };
        let file = Container::open(&self.files, name, self.access, &expected, None)?;
        if file.identity() != identity {
            return Err(file.corrupt(0, "rows of another segment or view"));
        }
        file.check_all()?;
        let place = file.section(section::MATRICES)?;
        let table = file.section(section::ROW_OFFSETS)?;
        let wrong = |what: &str| file.corrupt(table.offset, what);
        let starts = file.read_section(table)?;
        let starts: Vec<usize> =
            starts.as_chunks::<8>().0.iter().map(|start| u64::from_le_bytes(*start) as usize).collect();
        let dim = usize::try_from(file.counts().dim).map_err(|_| wrong("impossible dimension"))?;
        let values = starts.last().and_then(|rows| rows.checked_mul(dim)?.checked_mul(4));
        if table.length != (u64::from(records) + 1) * 8
            || starts.first() != Some(&0)
            || !starts.is_sorted()
            || values.map(|bytes| bytes as u64) != Some(place.length)
            || dim == 0
        {
            return Err(wrong("row offsets that contradict the rows"));
        }
        let values = match self.access {
            Access::Map => Values::File(Box::new(file), place),
            Access::Read => {
                let bytes = file.read_section(place)?;
                Values::Memory(crate::matrix::Precision::F32.decode(&bytes))
            }
        };
        let rows = DerivedRows { dim, starts, values, damaged: BTreeMap::new() };
        match rows.values()?.par_chunks(1 << 16).all(|values| values.iter().all(|value| value.is_finite())) {
            true => Ok(rows),
            false => Err(Error::corrupt(self.files.path(name), place.offset, "a row that is not finite")),
        }
    }

    /// Builds rows into a file, chunk after chunk, so that they never lie in the heap together. False when the file could
    /// not be written, or would lack a record.
    fn build_file(&self, name: &str, identity: &Identity, records: u32, build: &Build<'_>) -> Result<bool> {
        static ATTEMPTS: AtomicU64 = AtomicU64::new(0);
        let attempt = ATTEMPTS.fetch_add(1, Ordering::Relaxed);
        let temporary = format!("{name}.{}-{attempt}{TEMPORARY}", std::process::id());
        let created = self.files.create(&temporary).and_then(|file| Writer::new(file, Kind::Rows, identity));
        let Ok(mut out) = created else { return Ok(false) };
        let mut starts = vec![0_u64];
        let begun = out.begin(section::MATRICES, 1);
        let built = begun.and_then(|()| {
            in_chunks(records, build, |_, matrix| {
                let matrix = matrix.map_err(|damage| damage.error())?;
                starts.push(starts.last().unwrap_or(&0) + matrix.rows() as u64);
                out.append(bytemuck::cast_slice(matrix.values()))
            })
        });
        let written = built.map(|dim| {
            out.end();
            let table: Vec<u8> = starts.iter().flat_map(|start| start.to_le_bytes()).collect();
            out.section(section::ROW_OFFSETS, &table)?;
            let rows = starts.last().copied().unwrap_or(0);
            out.finish(Counts { records: u64::from(records), rows, dim: dim as u64 })
        });
        match written.and_then(|finished| finished.and_then(|_| self.files.rename(&temporary, name))) {
            Ok(()) => Ok(true),
            Err(error) => {
                // Best effort: a leftover is swept when the database is opened for writing the next time.
                let _ = self.files.remove(&temporary);
                match Damage::try_from(error) {
                    Ok(_) | Err(Error::Io { .. } | Error::DiskFull { .. }) => Ok(false),
                    Err(other) => Err(other),
                }
            }
        }
    }
}

fn build_in_memory(records: u32, build: &Build<'_>) -> Result<DerivedRows> {
    let (mut starts, mut values, mut damaged) = (vec![0], Vec::new(), BTreeMap::new());
    let dim = in_chunks(records, build, |n, matrix| {
        let mut rows = 0;
        match matrix {
            Ok(matrix) => {
                rows = matrix.rows();
                values.extend_from_slice(matrix.values());
            }
            Err(damage) => drop(damaged.insert(n, damage)),
        }
        starts.push(starts.last().unwrap_or(&0) + rows);
        Ok(())
    })?;
    Ok(DerivedRows { dim, starts, values: Values::Memory(values), damaged })
}

/// Builds records in parallel and hands them over in order, each with its rows or the damage that keeps them from being
/// made; gives the dimension that all have, 1 when none has any.
fn in_chunks(
    records: u32,
    build: &Build<'_>,
    mut take: impl FnMut(u32, Result<Matrix, Damage>) -> Result<()>,
) -> Result<usize> {
    if records == 0 {
        return Err(Error::invalid("segment", "no records to derive rows from"));
    }
    let threads = rayon::current_num_threads();
    let (mut chunk, mut at, mut dim) = (threads, 0, None);
    while at < records {
        let end = records.min(at.saturating_add(u32::try_from(chunk).unwrap_or(u32::MAX)));
        let attempt = |n| match build(n).map_err(Damage::try_from) {
            Ok(matrix) => Ok(Ok(matrix)),
            Err(Ok(damage)) => Ok(Err(damage)),
            Err(Err(error)) => Err(error),
        };
        let built: Vec<Result<Matrix, Damage>> = (at..end).into_par_iter().map(attempt).collect::<Result<_>>()?;
        let (count, mut bytes) = (built.len(), 0);
        for (n, matrix) in (at..).zip(built) {
            if let Ok(matrix) = &matrix {
                bytes += matrix.values().len() * 4;
                if *dim.get_or_insert(matrix.dim()) != matrix.dim() {
                    return Err(Error::mismatch("rows of a view", format!("{dim:?} numbers"), matrix.dim()));
                }
            }
            take(n, matrix)?;
        }
        chunk = (CHUNK_BYTES / (bytes / count).max(1)).clamp(threads, CHUNK_RECORDS.max(threads));
        at = end;
    }
    Ok(dim.unwrap_or(1))
}
