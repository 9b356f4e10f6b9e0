//! An entry of a zip archive, unpacked and summed while it is read. The `zip` crate reads the directory; inflating is
//! `flate2`'s. Each entry is read through a handle of its own, so that entries stream whatever the archive's size.

use otolith::outside;
use otolith::{Error, Result};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use zip::CompressionMethod;
use zip::read::ZipFile;

/// Where an entry lies, and what it must add up to.
pub(crate) struct Packed {
    start: u64,
    stored: u64,
    /// Bytes once it is unpacked, as the directory says.
    pub(crate) length: u64,
    method: CompressionMethod,
    sum: u32,
}

impl Packed {
    /// What the directory says of an entry; an error in words when it cannot be read.
    pub(crate) fn of<R: Read>(entry: &ZipFile<'_, R>) -> Result<Packed, String> {
        if entry.encrypted() {
            return Err("is encrypted".to_owned());
        }
        let method = entry.compression();
        if !matches!(method, CompressionMethod::STORE | CompressionMethod::DEFLATE) {
            return Err(format!("is compressed by {method}: stored and deflated are read"));
        }
        let start = entry.data_start().ok_or_else(|| "has no place".to_owned())?;
        Ok(Packed { start, stored: entry.compressed_size(), length: entry.size(), method, sum: entry.crc32() })
    }

    /// Its bytes, unpacked. Where they end, a sum that does not fit is an error.
    ///
    /// # Errors
    /// Those of opening the archive; [`Error::Unusable`] when it is no regular file any more.
    pub(crate) fn open(&self, archive: &Path) -> Result<Box<dyn Read>> {
        let mut file = outside::open(archive)?;
        file.seek(SeekFrom::Start(self.start)).map_err(|error| Error::io(archive, "read", error))?;
        let bytes = BufReader::new(file.take(self.stored));
        Ok(match self.method {
            CompressionMethod::DEFLATE => Box::new(Summed::new(flate2::bufread::DeflateDecoder::new(bytes), self.sum)),
            _ => Box::new(Summed::new(bytes, self.sum)),
        })
    }
}

/// From how many unpacked bytes on an archive must not be many times smaller.
const SUSPECT_BYTES: u64 = 1 << 30;

/// Unpacked bytes for each packed one that numbers worth keeping do not reach: zeros make a thousand of one.
const SUSPECT_RATIO: u64 = 200;

/// Refuses an archive that would unpack to a multiple of itself that nobody would have packed on purpose, before it is
/// unpacked; why, in words.
pub(crate) fn check_ratio(packed: u64, unpacked: u64) -> Result<(), String> {
    if unpacked < SUSPECT_BYTES || unpacked / SUSPECT_RATIO <= packed {
        return Ok(());
    }
    Err(format!(
        "{packed} bytes that unpack to {unpacked}: such archives are made to fill disks; if this one is not, unpack it yourself \
         and import the .npy files"
    ))
}

/// Bytes whose sum must be right where they end.
struct Summed<R> {
    inner: R,
    sum: crc32fast::Hasher,
    expected: u32,
}

impl<R> Summed<R> {
    fn new(inner: R, expected: u32) -> Summed<R> {
        Summed { inner, sum: crc32fast::Hasher::new(), expected }
    }
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.sum.update(&buffer[..count]);
        if count == 0 && !buffer.is_empty() && self.sum.clone().finalize() != self.expected {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its CRC-32 does not fit: the archive is damaged"));
        }
        Ok(count)
    }
}
