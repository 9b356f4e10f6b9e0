//! Segment files while they grow: large matrices are written straight to their place in one, and the log only says
//! where they are.
//!
//! A matrix that was written never changes, so the part of the file that commits have named is as good as sealed: this
//! process and others may map and read it.

use super::{SegmentWriter, StoredRecord, Written};
use crate::error::{Error, Result};
use crate::store::files::{File, Files, SEG};
use crate::store::format::container::{Finished, Identity};
use crate::store::format::log::Place;
use crate::store::layout::BLOCK_BYTES;
use crate::store::options::Access;
use crate::store::vfs::map::Region;
use std::borrow::Cow;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A segment file that is not sealed, open for reading.
#[derive(Debug)]
pub(crate) struct Growing {
    file: File,
    number: u64,
    random: u64,
    access: Access,
    /// The longest part that was mapped so far, and its length.
    mapped: Mutex<Option<(Region, u64)>>,
}

/// A matrix in a growing file.
#[derive(Debug)]
pub(crate) struct Body {
    growing: Arc<Growing>,
    bytes: u64,
    place: Place,
    region: OnceLock<Region>,
    checked: AtomicBool,
    finite: AtomicBool,
}

/// Returns the name of a segment file.
pub(crate) fn name_of(number: u64, random: u64) -> String {
    format!("{number:016x}-{random:016x}.oseg")
}

impl Growing {
    pub(crate) fn open(files: &Files, access: Access, number: u64, random: u64) -> Result<Arc<Growing>> {
        let file = files.open(&format!("{SEG}/{}", name_of(number, random)))?;
        Ok(Arc::new(Growing { file, number, random, access, mapped: Mutex::default() }))
    }

    /// Returns its name in the directory of segments.
    pub(crate) fn name(&self) -> String {
        name_of(self.number, self.random)
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Returns the first `end` bytes, mapped, if they are to be and can be.
    fn region(&self, end: u64) -> Result<Option<Region>> {
        if self.access == Access::Read {
            return Ok(None);
        }
        let mut mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        match &*mapped {
            Some((region, bytes)) if *bytes >= end => Ok(Some(region.clone())),
            _ => {
                // Map the whole file, so that later matrices need no mapping of their own; only what commits have named
                // is ever read.
                let bytes = self.file.bytes()?.max(end);
                let region = self.file.map(bytes)?;
                if let Some(region) = &region {
                    *mapped = Some((region.clone(), bytes));
                }
                Ok(region)
            }
        }
    }
}

impl Body {
    pub(crate) fn new(growing: Arc<Growing>, bytes: u64, place: Place) -> Body {
        Body {
            growing,
            bytes,
            place,
            region: OnceLock::new(),
            checked: AtomicBool::new(false),
            finite: AtomicBool::new(false),
        }
    }

    pub(crate) fn growing(&self) -> &Arc<Growing> {
        &self.growing
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the bytes, checked: once if they are mapped, else each time.
    pub(crate) fn read(&self) -> Result<Cow<'_, [u8]>> {
        let end = self.place.offset.checked_add(self.bytes).ok_or_else(|| self.corrupt("impossible place"))?;
        if self.region.get().is_none()
            && let Some(region) = self.growing.region(end).map_err(|error| self.cut(error))?
        {
            self.region.get_or_init(|| region);
        }
        let Some(region) = self.region.get() else {
            let words = self.growing.file.read(self.place.offset, self.bytes).map_err(|error| self.cut(error))?;
            self.check(words.as_bytes())?;
            return Ok(Cow::Owned(words.as_bytes().to_vec()));
        };
        let bytes = &region.as_bytes()[self.place.offset as usize..end as usize];
        if !self.checked.load(Ordering::Relaxed) {
            self.check(bytes)?;
            self.checked.store(true, Ordering::Relaxed);
        }
        Ok(Cow::Borrowed(bytes))
    }

    /// Turns the error of a file that ends too early into damage.
    fn cut(&self, error: Error) -> Error {
        match error {
            Error::Io { source, .. } if source.kind() == io::ErrorKind::UnexpectedEof => {
                self.corrupt("the file ends before this matrix does")
            }
            other => other,
        }
    }

    fn check(&self, bytes: &[u8]) -> Result<()> {
        for (piece, (bytes, sum)) in bytes.chunks(BLOCK_BYTES as usize).zip(&self.place.sums).enumerate() {
            if crc32fast::hash(bytes) != *sum {
                let from = self.place.offset + piece as u64 * BLOCK_BYTES;
                let what = format!("the CRC-32 of {} bytes is not the one in the log", bytes.len());
                return Err(Error::corrupt(self.growing.file.path(), from, what));
            }
        }
        Ok(())
    }

    /// Returns whether the file holds these bytes, read afresh and in pieces.
    pub(crate) fn is_whole(&self) -> Result<bool> {
        let reaches = self.place.offset.checked_add(self.bytes).is_some_and(|end| end <= i64::MAX as u64);
        if !reaches || self.growing.file.bytes()? < self.place.offset + self.bytes {
            return Ok(false);
        }
        for (piece, sum) in self.place.sums.iter().enumerate() {
            let from = piece as u64 * BLOCK_BYTES;
            let bytes = self.growing.file.read(self.place.offset + from, BLOCK_BYTES.min(self.bytes - from))?;
            if crc32fast::hash(bytes.as_bytes()) != *sum {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(crate) fn corrupt(&self, what: &str) -> Error {
        Error::corrupt(self.growing.file.path(), self.place.offset, what)
    }

    pub(crate) fn is_finite(&self) -> bool {
        self.finite.load(Ordering::Relaxed)
    }

    pub(crate) fn set_finite(&self) {
        self.finite.store(true, Ordering::Relaxed);
    }
}

/// A segment file that matrices are being appended to.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    out: SegmentWriter,
    growing: Arc<Growing>,
    identity: Identity,
    /// Whether something was appended since the file was last handed out for a sync.
    dirty: bool,
}

impl OpenSegment {
    /// Makes the file. Its name becomes durable when the caller syncs the directory.
    pub(crate) fn create(
        files: &Files,
        access: Access,
        (number, random): (u64, u64),
        identity: Identity,
        about: &str,
    ) -> Result<OpenSegment> {
        let file = files.create(&format!("{SEG}/{}", name_of(number, random)))?;
        let out = SegmentWriter::new(file, &identity, about)?;
        Ok(OpenSegment { out, growing: Growing::open(files, access, number, random)?, identity, dirty: false })
    }

    pub(crate) fn growing(&self) -> &Arc<Growing> {
        &self.growing
    }

    /// Returns the bytes of the file so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.out.offset()
    }

    /// Returns the file if it must be synced, which the caller does.
    pub(crate) fn take_dirty(&mut self) -> Option<Arc<Growing>> {
        std::mem::take(&mut self.dirty).then(|| self.growing.clone())
    }

    /// Appends the bytes of a matrix. After an error nothing more can be appended.
    pub(crate) fn append(&mut self, matrix: &[u8]) -> Result<Body> {
        let offset = self.out.body(matrix)?;
        self.dirty = true;
        let sums = matrix.chunks(BLOCK_BYTES as usize).map(crc32fast::hash).collect();
        let place = Place { number: self.growing.number, random: self.growing.random, offset, sums };
        let body = Body::new(self.growing.clone(), matrix.len() as u64, place);
        // The matrix of a record holds only finite numbers, so it need not be checked for them.
        body.finite.store(true, Ordering::Relaxed);
        Ok(body)
    }

    /// Writes what was appended to the file, so that readers see it. Nothing is synced.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.out.flush()
    }

    /// Adds a record whose matrix was appended before.
    pub(crate) fn enter(&mut self, record: &StoredRecord<'_>, body: &Body) -> Result<()> {
        self.out.enter(record, body.place.offset, body.bytes)
    }

    /// Writes tables and footer behind the matrices. Nothing is synced.
    pub(crate) fn finish(self, dim: u64) -> Result<(Finished, Written, Identity, String)> {
        let name = self.growing.name();
        let (finished, written) = self.out.finish(dim)?;
        Ok((finished, written, self.identity, name))
    }
}
