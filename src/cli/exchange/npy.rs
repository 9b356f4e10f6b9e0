//! `.npy` arrays in and out, by the `npyz` crate, streaming.

use super::create_whole;
use crate::error::{Error, Result};
use crate::matrix::{Matrix, MatrixView};
use npyz::{DType, DTypeError, Deserialize, NpyHeader, Order, TypeChar, TypeRead, WriterBuilder};
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

/// Longest header that is read: numpy itself stops at 10,000 bytes.
const HEADER_BYTES: u64 = 64 << 10;

/// Most brackets in a header: an array of numbers has three pairs, and the parser recurses into each.
const HEADER_BRACKETS: usize = 32;

type Bytes = BufReader<Box<dyn Read>>;
/// Reads so many values from the bytes and puts them behind those that are there.
type Decode = Box<dyn FnMut(&mut Bytes, usize, &mut Vec<f32>) -> io::Result<()>>;

/// An array being read from its beginning; values come as `f32` whatever they are in the file.
pub(in crate::cli) struct ArrayReader {
    /// The file, and the array in it where there are several: what errors begin with.
    place: String,
    shape: Vec<usize>,
    bytes: Bytes,
    decode: Decode,
}

impl ArrayReader {
    /// Opens an array of floats in C order.
    pub(in crate::cli) fn open(path: &Path) -> Result<ArrayReader> {
        let file = File::open(path).map_err(|error| Error::io(path, "open", error))?;
        let length = file.metadata().map_err(|error| Error::io(path, "read", error))?.len();
        ArrayReader::new(path.display().to_string(), Box::new(file), length)
    }

    /// Begins to read an array of `length` bytes, header included.
    pub(super) fn new(place: String, source: Box<dyn Read>, length: u64) -> Result<ArrayReader> {
        let refuse = |why: String| Error::unusable(&place, why);
        let mut bytes = BufReader::new(source);
        let text = header_text(&mut bytes).map_err(|error| refuse(format!("no .npy array ({error})")))?;
        let header = NpyHeader::from_reader(&text[..]).map_err(|error| refuse(format!("no .npy array ({error})")))?;
        if header.order() != Order::C && header.shape().len() > 1 {
            return Err(refuse("Fortran order: save it with numpy.ascontiguousarray".to_owned()));
        }
        let (width, decode) = decoder(&header.dtype()).map_err(&refuse)?;
        // The numbers were bounded with the header, so this cannot overflow.
        let expected = text.len() as u64 + header.shape().iter().product::<u64>() * width;
        if length != expected {
            let shape = header.shape();
            return Err(refuse(format!("{length} bytes, where an array of shape {shape:?} takes {expected}")));
        }
        let shape = header.shape().iter().map(|&n| usize::try_from(n)).collect::<Result<Vec<_>, _>>();
        let shape = shape.map_err(|_| refuse("larger than this machine's memory".to_owned()))?;
        Ok(ArrayReader { place, shape, bytes, decode })
    }

    /// Lengths of the axes.
    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The next `rows x dim` values.
    pub(super) fn next_matrix(&mut self, rows: usize, dim: usize) -> Result<Matrix> {
        let length = rows * dim;
        // Grows as values arrive: a compressed array may promise more than it has.
        let mut values = Vec::with_capacity(length.min(1 << 20));
        (self.decode)(&mut self.bytes, length, &mut values).map_err(|error| self.refuse(error))?;
        Matrix::from_rows(rows, dim, values).map_err(|error| self.refuse(error))
    }

    /// Makes sure that nothing follows, and that the sum of an archive fits.
    pub(super) fn finish(&mut self) -> Result<()> {
        match self.bytes.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.refuse("more bytes than its archive says")),
            Err(error) => Err(self.refuse(error)),
        }
    }

    /// The whole array as one matrix; an array of one axis is one row.
    pub(in crate::cli) fn into_matrix(mut self) -> Result<Matrix> {
        let matrix = match *self.shape {
            [dim] => self.next_matrix(1, dim)?,
            [rows, dim] => self.next_matrix(rows, dim)?,
            _ => {
                let axes = self.shape.len();
                return Err(self.refuse(format!("{axes} axes: a matrix has two (rows, numbers in a row)")));
            }
        };
        self.finish()?;
        Ok(matrix)
    }

    fn refuse(&self, why: impl ToString) -> Error {
        Error::unusable(&self.place, why.to_string())
    }
}

/// The bytes before the values, bounded before the parser sees them.
fn header_text(bytes: &mut impl Read) -> io::Result<Vec<u8>> {
    let wrong = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    let mut text = vec![0; 10];
    bytes.read_exact(&mut text)?;
    if !text.starts_with(b"\x93NUMPY") {
        return wrong("it does not begin as one");
    }
    let length = if text[6] == 1 {
        u64::from(u16::from_le_bytes([text[8], text[9]]))
    } else {
        text.resize(12, 0);
        bytes.read_exact(&mut text[10..])?;
        u64::from(u32::from_le_bytes([text[8], text[9], text[10], text[11]]))
    };
    if length > HEADER_BYTES {
        return wrong("its header is too long");
    }
    let start = text.len();
    bytes.take(length).read_to_end(&mut text)?;
    if (text.len() - start) as u64 != length {
        return wrong("it ends in its header");
    }
    if text[start..].iter().filter(|byte| b"([{".contains(byte)).count() > HEADER_BRACKETS {
        return wrong("its header is no list of three things");
    }
    // All numbers in it, multiplied, are a bound of everything that is computed from them: type width and axes.
    let digits = text[start..].split(|byte| !byte.is_ascii_digit()).filter(|run| !run.is_empty());
    let number = |run: &[u8]| std::str::from_utf8(run).ok()?.parse::<u64>().ok();
    let product = digits.map(|run| number(run).map(|n| n.max(1))).try_fold(1_u64, |all, n| all.checked_mul(n?));
    match product {
        Some(product) if product < 1 << 60 => Ok(text),
        _ => wrong("it says to be larger than any file"),
    }
}

/// Width in bytes of a value, and how values are read.
fn decoder(dtype: &DType) -> Result<(u64, Decode), String> {
    fn of<T: Deserialize + 'static>(dtype: &DType, narrow: fn(T) -> f32) -> Result<Decode, String> {
        let one = T::reader(dtype).map_err(|error: DTypeError| error.to_string())?;
        Ok(Box::new(move |bytes, count, values| {
            for _ in 0..count {
                values.push(narrow(one.read_one(&mut *bytes)?));
            }
            Ok(())
        }))
    }
    let width = match dtype {
        DType::Plain(plain) if plain.type_char() == TypeChar::Float => plain.size_field(),
        _ => 0,
    };
    let decode = match width {
        2 => of::<npyz::half::f16>(dtype, f32::from),
        4 => of::<f32>(dtype, |value| value),
        8 => of::<f64>(dtype, |value| value as f32),
        _ => Err(format!("holds {}: floats of 2, 4 or 8 bytes are read", dtype.descr())),
    };
    Ok((width, decode?))
}

/// Writes one matrix as `f32`, shape `(rows, dim)`.
pub(in crate::cli) fn write_matrix(path: &Path, matrix: MatrixView<'_>) -> Result<()> {
    create_whole(path, |out| write(out, &[matrix.rows(), matrix.dim()], [Ok(matrix.values())]).map_err(at(path)))
}

/// Why an array could not be written.
pub(super) enum Stopped {
    /// The records could not be read.
    Records(Error),
    /// The file could not be written.
    File(io::Error),
}

/// The error of an array that was to be written to `path`.
pub(super) fn at(path: &Path) -> impl Fn(Stopped) -> Error + '_ {
    move |stopped| match stopped {
        Stopped::Records(error) => error,
        Stopped::File(error) => Error::io(path, "write", error),
    }
}

/// Writes records one after another as one `f32` array of that shape.
pub(super) fn write<V: AsRef<[f32]>>(
    out: impl Write,
    shape: &[usize],
    records: impl IntoIterator<Item = Result<V>>,
) -> Result<(), Stopped> {
    let shape: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
    let options = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(out);
    let mut array = options.begin_nd().map_err(Stopped::File)?;
    for values in records {
        array.extend(values.map_err(Stopped::Records)?.as_ref().iter().copied()).map_err(Stopped::File)?;
    }
    array.finish().map_err(Stopped::File)
}
