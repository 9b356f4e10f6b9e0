//! Plain vectors, one row a record: `.fvecs` and `.bvecs` (each vector behind its length), `.fbin`, `.u8bin` and
//! `.i8bin` (count and length once, then all vectors).
//!
//! ```text
//! vecs   dim i32 | values | dim i32 | values | ..
//! bin    count u32 | dim u32 | values | values | ..
//! ```
//! All little-endian. The length of the file must be exactly what these numbers say.

use super::npy::check_record;
use super::numbers::{Number, Unread};
use super::stack::{self, Ids};
use super::{Input, ids};
use indicatif::ProgressBar;
use otolith::Matrix;
use otolith::Snapshot;
use otolith::outside;
use otolith::{Error, Result};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// A file of vectors being read from its first.
struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    kind: Number,
    dim: usize,
    /// Whether each vector begins with its length.
    repeats_dim: bool,
    /// The next vector, and where it begins.
    number: u64,
    offset: u64,
}

impl Reader {
    fn open(path: &Path, kind: Number) -> Result<(Reader, u64)> {
        let file = outside::open(path)?;
        let bytes = file.metadata().map_err(|error| Error::io(path, "read", error))?.len();
        let file = BufReader::with_capacity(1 << 20, file);
        let path = path.to_owned();
        Ok((Reader { path, file, kind, dim: 0, repeats_dim: false, number: 0, offset: 0 }, bytes))
    }

    fn refuse(&self, why: impl Into<String>) -> Error {
        Error::unusable(&self.path, why)
    }

    fn unread(&self, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => self.refuse(format!("ends within vector {}", self.number)),
            _ => Error::io(&self.path, "read", error),
        }
    }

    fn number_u32(&mut self) -> Result<u32> {
        let mut bytes = [0; 4];
        self.file.read_exact(&mut bytes).map_err(|error| self.unread(error))?;
        self.offset += 4;
        Ok(u32::from_le_bytes(bytes))
    }

    fn check_dim(&self, dim: u32) -> Result<usize> {
        let refuse = |why| self.refuse(format!("byte {}: {why}", self.offset - 4));
        let found = usize::try_from(dim.cast_signed())
            .map_err(|_| refuse(format!("vectors of {} numbers", dim.cast_signed())))?;
        check_record(1, found).map_err(refuse)?;
        Ok(found)
    }

    fn next(&mut self) -> Result<Matrix> {
        let (number, offset) = (self.number, self.offset);
        let at = |what: String| format!("vector {number} at byte {offset}: {what}");
        if self.repeats_dim {
            let found = self.number_u32()?;
            if found as usize != self.dim {
                let what = format!("{} numbers, where those before have {}", found.cast_signed(), self.dim);
                return Err(self.refuse(at(what)));
            }
        }
        let numbers = self.kind.read(&mut self.file, self.dim).map_err(|unread| match unread {
            Unread::Io(error) => self.unread(error),
            Unread::Number(column, why) => self.refuse(at(format!("column {column} is {why}"))),
            Unread::Memory(bytes) => self.refuse(at(format!("no memory for {bytes} bytes"))),
        })?;
        self.offset += (self.dim * self.kind.width()) as u64;
        self.number += 1;
        if let Some(column) = numbers.iter().position(|number| !number.is_finite()) {
            let why = format!("column {column} is {}: every value must be finite", numbers[column]);
            return Err(self.refuse(at(why)));
        }
        Matrix::from_vector(numbers)
    }
}

/// Opens a file in which each vector stands behind its length.
pub(crate) fn open_vecs(path: &Path, kind: Number, ids: Ids<'_>) -> Result<Input> {
    let (mut reader, bytes) = Reader::open(path, kind)?;
    if bytes == 0 {
        return Err(reader.refuse("no vector in it"));
    }
    let dim = reader.number_u32()?;
    reader.dim = reader.check_dim(dim)?;
    let each = 4 + u64::from(dim) * kind.width() as u64;
    if bytes % each != 0 {
        let why = format!("{bytes} bytes, which is no whole number of vectors of {dim} numbers ({each} bytes each)");
        return Err(reader.refuse(why));
    }
    // Back to the start: the first vector is read as all others are.
    reader.file.rewind().map_err(|error| Error::io(path, "read", error))?;
    (reader.offset, reader.repeats_dim) = (0, true);
    stack::named(reader.dim, bytes / each, ids, move || reader.next())
}

/// Opens a file that says its count and length once.
pub(crate) fn open_bin(path: &Path, kind: Number, ids: Ids<'_>) -> Result<Input> {
    let (mut reader, bytes) = Reader::open(path, kind)?;
    if bytes < 8 {
        return Err(reader.refuse(format!("{bytes} bytes: count and length of the vectors take 8")));
    }
    let (count, dim) = (u64::from(reader.number_u32()?), reader.number_u32()?);
    let expected = u128::from(count) * u128::from(dim) * kind.width() as u128 + 8;
    if dim != 0 && u128::from(bytes) != expected {
        return Err(reader.refuse(format!("{bytes} bytes, where {count} vectors of {dim} numbers take {expected}")));
    }
    reader.dim = reader.check_dim(dim)?;
    stack::named(reader.dim, count, ids, move || reader.next())
}

/// Writes every vector behind its length.
pub(crate) fn write_vecs(snapshot: &Snapshot, path: &Path, bar: &ProgressBar) -> Result<()> {
    let dim = (snapshot.schema().dim as u32).to_le_bytes();
    write(snapshot, path, bar, &[], &dim)
}

/// Writes count and length, then all vectors.
pub(crate) fn write_bin(snapshot: &Snapshot, path: &Path, bar: &ProgressBar) -> Result<()> {
    let count = u32::try_from(snapshot.len()).map_err(|_| {
        Error::invalid(path.display().to_string(), "holds at most 4294967295 vectors: export to .fvecs")
    })?;
    let head = [count.to_le_bytes(), (snapshot.schema().dim as u32).to_le_bytes()].concat();
    write(snapshot, path, bar, &head, &[])
}

fn write(snapshot: &Snapshot, path: &Path, bar: &ProgressBar, head: &[u8], before_each: &[u8]) -> Result<()> {
    if let Some(rows) = stack::common_rows(snapshot)?.filter(|rows| *rows != 1) {
        let why = format!("holds vectors, and the records have {rows} rows: export to .npy or to a directory instead");
        return Err(Error::invalid(path.display().to_string(), why));
    }
    ids::write_with(snapshot, path, |out| {
        let failed = |error| Error::io(path, "write", error);
        out.write_all(head).map_err(failed)?;
        for entry in snapshot.iter() {
            let matrix = entry.matrix()?;
            out.write_all(before_each).map_err(failed)?;
            matrix.view().values().iter().try_for_each(|value| out.write_all(&value.to_le_bytes())).map_err(failed)?;
            bar.inc(1);
        }
        Ok(())
    })
}
