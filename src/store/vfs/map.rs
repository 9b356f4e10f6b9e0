//! Bytes of a whole file as one slice: mapped, or in memory. The only `unsafe` of the store is here.

use bytemuck::{Pod, Zeroable, cast_slice};
use memmap2::Mmap;
use std::fs::File;
use std::io;
use std::sync::Arc;

/// Bytes in memory whose start is aligned to 64 bytes, as a section in a mapped file is, so that numbers can be read in
/// place.
#[derive(Clone, Debug, Default)]
pub struct Words {
    lines: Vec<Line>,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([u64; 8]);

// SAFETY: all bits zero is an array of zeros.
#[allow(unsafe_code)]
unsafe impl Zeroable for Line {}

// SAFETY: an array of numbers in the layout of C, as long as its alignment, so without padding; any bits are valid
// numbers.
#[allow(unsafe_code)]
unsafe impl Pod for Line {}

impl Words {
    /// Returns `bytes` zeros.
    ///
    /// # Errors
    /// [`io::ErrorKind::OutOfMemory`] when there is no room for them.
    pub fn zeroed(bytes: usize) -> io::Result<Words> {
        let mut words = Words::default();
        words.grow(bytes)?;
        Ok(words)
    }

    /// Grows to `bytes` with zeros; never shrinks.
    pub(crate) fn grow(&mut self, bytes: usize) -> io::Result<()> {
        if bytes > self.bytes {
            let count = bytes.div_ceil(size_of::<Line>());
            self.lines.try_reserve(count.saturating_sub(self.lines.len())).map_err(io::Error::other)?;
            self.lines.resize(count, Line::zeroed());
            self.bytes = bytes;
        }
        Ok(())
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &cast_slice(&self.lines)[..self.bytes]
    }

    /// Returns the bytes for writing.
    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.bytes]
    }
}

/// Permission to map a file, which only the store can give: it alone knows which files no longer change, and a slice of
/// one that does would change under whoever holds it.
#[derive(Clone, Copy, Debug)]
pub struct Unchanging(pub(crate) ());

/// A read-only slice of a file's bytes that stays valid as long as it is held, whatever happens to the file's name.
#[derive(Clone, Debug)]
pub struct Region(Held);

#[derive(Clone, Debug)]
enum Held {
    Map(Arc<Mmap>),
    Memory(Arc<Words>, usize),
}

impl Region {
    /// Maps the first `bytes` bytes of a file, which must be that long.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the file is shorter, or an error of the operating system.
    #[allow(unsafe_code)]
    pub(crate) fn map(file: &File, bytes: u64) -> io::Result<Region> {
        let len = usize::try_from(bytes).map_err(io::Error::other)?;
        if file.metadata()?.len() < bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if len == 0 {
            return Ok(Region::from(Words::default()));
        }
        // SAFETY: the mapping is read-only and its bytes do not change while it lives: the store maps only files that
        // it has finished and synced (or checks in full, for derived ones); no code of this crate writes to, truncates
        // or renames over such a file, and unlinking keeps the mapped pages. The length was compared with the file's
        // just above. Every bit pattern is a valid `u8`. A foreign program that edits files of a database is outside
        // the contract, which `storage-format.md` states.
        let map = unsafe { memmap2::MmapOptions::new().len(len).map(file)? };
        Ok(Region(Held::Map(Arc::new(map))))
    }

    /// Returns the first `bytes` bytes of shared memory.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when there are fewer.
    pub(crate) fn share(words: Arc<Words>, bytes: u64) -> io::Result<Region> {
        match usize::try_from(bytes).ok().filter(|bytes| *bytes <= words.bytes) {
            Some(bytes) => Ok(Region(Held::Memory(words, bytes))),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Held::Map(map) => map,
            Held::Memory(words, len) => &words.as_bytes()[..*len],
        }
    }
}

impl From<Words> for Region {
    fn from(words: Words) -> Region {
        let bytes = words.bytes;
        Region(Held::Memory(Arc::new(words), bytes))
    }
}
