//! `.npy` arrays in and out, streaming. Headers are the `npyz` crate's matter.

use super::columns::Columns;
use super::create::create_whole;
use super::header;
use super::numbers::{Number, RECORD_NUMBERS, Unread};
use npyz::{DType, Endianness, NpyHeader, Order, TypeChar, WriterBuilder};
use otolith::{Error, Result};
use otolith::{Matrix, MatrixView};
use otolith::{limits, outside};
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::Path;

/// Longest header that is read: numpy itself stops at 10,000 bytes.
const HEADER_BYTES: u64 = 64 << 10;

/// Most brackets in a header: an array of numbers has three pairs, and the parser recurses into each.
const HEADER_BRACKETS: usize = 32;

/// Most bytes of an array by columns that is compressed: it is unpacked in memory.
const UNPACKED_BYTES: usize = 1 << 30;

/// An array being read from its beginning; numbers come as `f32` whatever they are in the file.
pub(crate) struct ArrayReader {
    /// The file, and the array in it where there are several: what errors begin with.
    place: String,
    shape: Vec<usize>,
    holds: Holds,
    source: Source,
    /// The next record.
    number: usize,
}

enum Holds {
    Numbers(Number),
    Text(Text),
}

/// Where values come from.
enum Source {
    /// In C order, one after another.
    Rows(BufReader<Box<dyn Read>>),
    /// In Fortran order.
    Columns(Columns),
}

impl ArrayReader {
    /// Opens an array of numbers.
    pub(crate) fn open(path: &Path) -> Result<ArrayReader> {
        let place = path.display().to_string();
        let failed = |error| Error::io(path, "read", error);
        let mut file = outside::open(path)?;
        let length = file.metadata().map_err(failed)?.len();
        let header = Header::read(&place, &mut file, length)?;
        let source = match header.by_columns {
            false => Source::Rows(BufReader::new(Box::new(file))),
            true => Source::Columns(header.columns(&place, Box::new(file))?),
        };
        Ok(header.reader(place, source))
    }

    /// Begins to read an array of `length` bytes, header included.
    pub(crate) fn new(place: String, source: Box<dyn Read>, length: u64) -> Result<ArrayReader> {
        let mut bytes = BufReader::new(source);
        let mut header = Header::read(&place, &mut bytes, length)?;
        let source = match header.by_columns {
            false => Source::Rows(bytes),
            true => {
                let hint = "(in Fortran order: numpy.ascontiguousarray turns it)";
                let unpacked = unpack(&mut bytes, header.bytes);
                let unpacked = unpacked.map_err(|why| Error::unusable(&place, format!("{why} {hint}")))?;
                header.start = 0;
                Source::Columns(header.columns(&place, Box::new(io::Cursor::new(unpacked)))?)
            }
        };
        Ok(header.reader(place, source))
    }

    /// Lengths of the axes.
    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Whether its values can be ids: integers or text.
    pub(crate) fn holds_ids(&self) -> bool {
        match self.holds {
            Holds::Text(..) => true,
            Holds::Numbers(number) => number.is_integer(),
        }
    }

    /// The values of an array of one axis as ids.
    pub(crate) fn into_ids(mut self) -> Result<Vec<String>> {
        let count = self.shape.iter().product();
        let Source::Rows(bytes) = &mut self.source else { return Err(self.refuse("ids have one axis")) };
        let ids = match self.holds {
            Holds::Numbers(number) => number.read_text(bytes, count).map_err(|unread| self.unread(unread, 0, 1))?,
            Holds::Text(text) => {
                let read =
                    |at| text.read(bytes).map_err(|error| Error::unusable(&self.place, format!("id {at}: {error}")));
                (0..count).map(read).collect::<Result<_>>()?
            }
        };
        self.finish()?;
        Ok(ids)
    }

    /// The matrix of the next record, `rows x dim`: the next entry of the first axis, where there are more than one.
    pub(crate) fn next_matrix(&mut self, rows: usize, dim: usize) -> Result<Matrix> {
        let Holds::Numbers(number) = self.holds else { return Err(self.refuse("holds text: numbers are read")) };
        let read = match &mut self.source {
            Source::Rows(bytes) => number.read(bytes, rows * dim),
            Source::Columns(columns) => columns.next_record(rows, dim),
        };
        let matrix =
            read.map_err(|unread| self.unread(unread, rows, dim)).and_then(|numbers| self.matrix(rows, dim, numbers));
        self.number += 1;
        matrix
    }

    /// Makes sure that nothing follows, and that the sum of an archive fits.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let Source::Rows(bytes) = &mut self.source else { return Ok(()) };
        match bytes.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.refuse("more bytes than its archive says")),
            Err(error) => Err(self.refuse(error)),
        }
    }

    /// The whole array as one matrix; an array of one axis is one row.
    pub(crate) fn into_matrix(mut self) -> Result<Matrix> {
        let (rows, dim) = match *self.shape {
            [dim] => (1, dim),
            [rows, dim] => (rows, dim),
            _ => {
                let axes = self.shape.len();
                return Err(self.refuse(format!("{axes} axes: a matrix has two (rows, numbers in a row)")));
            }
        };
        check_record(rows, dim).map_err(|why| self.refuse(why))?;
        self.shape = vec![1, rows, dim];
        let matrix = self.next_matrix(rows, dim)?;
        self.finish()?;
        Ok(matrix)
    }

    fn matrix(&self, rows: usize, dim: usize, numbers: Vec<f32>) -> Result<Matrix> {
        if let Some(at) = numbers.iter().position(|number| !number.is_finite()) {
            let why = format!("{}: every value must be finite", numbers[at]);
            return Err(self.unread(Unread::Number(at, why), rows, dim));
        }
        Matrix::from_rows(rows, dim, numbers).map_err(|error| self.refuse(error))
    }

    /// The error of a record, with its place.
    fn unread(&self, unread: Unread, rows: usize, dim: usize) -> Error {
        let record = match *self.shape {
            [count, _] if count > 1 => format!("row {}", self.number),
            [count, _, _] if count > 1 => format!("record {}, ", self.number),
            _ => String::new(),
        };
        match unread {
            Unread::Io(error) => {
                self.refuse(format!("{}: {error}", record.trim_end_matches(", ")).trim_start_matches(": "))
            }
            Unread::Memory(bytes) => self.refuse(format!("no memory for a record of {bytes} bytes and more")),
            Unread::Number(at, why) if rows > 1 || self.shape.len() == 3 || record.is_empty() => {
                self.refuse(format!("{record}row {}, column {} is {why}", at / dim, at % dim))
            }
            Unread::Number(at, why) => self.refuse(format!("{record}, column {at} is {why}")),
        }
    }

    fn refuse(&self, why: impl ToString) -> Error {
        Error::unusable(&self.place, why.to_string())
    }
}

/// Refuses a record that nobody could hold in memory, and one whose rows no collection takes.
pub(crate) fn check_record(rows: usize, dim: usize) -> Result<(), String> {
    if dim == 0 || dim > limits::DIM {
        return Err(format!("rows of {dim} numbers: 1 to {} are read", limits::DIM));
    }
    match rows.checked_mul(dim) {
        Some(numbers) if numbers <= RECORD_NUMBERS => Ok(()),
        _ => Err(format!(
            "a record of {rows} x {dim} numbers: at most {RECORD_NUMBERS} (4 GiB), because it lies in memory as a whole"
        )),
    }
}

/// What stands before the values.
struct Header {
    shape: Vec<usize>,
    holds: Holds,
    by_columns: bool,
    /// Bytes of the header, and of the values.
    start: usize,
    bytes: usize,
}

impl Header {
    fn read(place: &str, source: &mut impl Read, length: u64) -> Result<Header> {
        let refuse = |why: String| Error::unusable(place, why);
        let no_array = |error: io::Error| refuse(format!("no .npy array ({error})"));
        let text = header_text(source).map_err(no_array)?;
        let header = NpyHeader::from_reader(&header::usual(&text)[..]).map_err(no_array)?;
        let (holds, width) = holds(&header.dtype()).map_err(&refuse)?;
        // The numbers were bounded with the header, so this cannot overflow.
        let bytes = header.shape().iter().product::<u64>() * width as u64;
        let expected = text.len() as u64 + bytes;
        if length != expected {
            let shape = header.shape();
            return Err(refuse(format!("{length} bytes, where an array of shape {shape:?} takes {expected}")));
        }
        let shape = header.shape().iter().map(|&n| usize::try_from(n)).collect::<Result<Vec<_>, _>>();
        let too_large = || refuse("larger than this machine's memory".to_owned());
        let shape = shape.map_err(|_| too_large())?;
        let by_columns = header.order() != Order::C && shape.len() > 1;
        let bytes = usize::try_from(bytes).map_err(|_| too_large())?;
        Ok(Header { shape, holds, by_columns, start: text.len(), bytes })
    }

    fn columns(&self, place: &str, source: Box<dyn SeekRead>) -> Result<Columns> {
        let Holds::Numbers(number) = self.holds else {
            return Err(Error::unusable(place, "text in Fortran order: save it with numpy.ascontiguousarray"));
        };
        Ok(Columns::new(source, number, self.start as u64, &self.shape))
    }

    fn reader(self, place: String, source: Source) -> ArrayReader {
        ArrayReader { place, shape: self.shape, holds: self.holds, source, number: 0 }
    }
}

/// Bytes that can be read from any place.
pub(crate) trait SeekRead: Read + Seek {}

impl<T: Read + Seek> SeekRead for T {}

/// The values of an array that cannot be read from any place.
fn unpack(source: &mut impl Read, length: usize) -> Result<Vec<u8>, String> {
    if length > UNPACKED_BYTES {
        return Err(format!("{length} bytes, and {UNPACKED_BYTES} at most can be turned into rows"));
    }
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let next = (length - bytes.len()).min(bytes.len().max(1 << 16));
        bytes.try_reserve_exact(next).map_err(|_| format!("no memory for {length} bytes"))?;
        let before = bytes.len();
        source.by_ref().take(next as u64).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if bytes.len() - before < next {
            return Err("ends within its values".to_owned());
        }
    }
    Ok(bytes)
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
        // A character of a text takes four bytes, and a type that is named without its width eight at most.
        Some(product) if product < 1 << 58 => Ok(text),
        _ => wrong("it says to be larger than any file"),
    }
}

/// What an array holds, and how many bytes a value takes.
fn holds(dtype: &DType) -> Result<(Holds, usize), String> {
    if let Some(number) = Number::of(dtype) {
        return Ok((Holds::Numbers(number), number.width()));
    }
    if let DType::Plain(plain) = dtype {
        let length = usize::try_from(plain.size_field()).unwrap_or(usize::MAX);
        let big_endian = plain.endianness() == Endianness::Big;
        match plain.type_char() {
            TypeChar::UnicodeStr if length <= limits::ID_BYTES => {
                return Ok((Holds::Text(Text { length, wide: true, big_endian }), 4 * length));
            }
            TypeChar::ByteStr if length <= limits::ID_BYTES => {
                return Ok((Holds::Text(Text { length, wide: false, big_endian }), length));
            }
            TypeChar::Object => {
                let way_out = "save numbers: numpy.stack(list(array)).astype('float32'), and ids as astype(str)";
                return Err(format!("holds pickled Python objects, which are programs and not read: {way_out}"));
            }
            _ => {}
        }
    }
    let read = "floats of 2, 4 or 8 bytes, integers of 1 to 8 and bool are read";
    Err(format!("holds {}: {read} (numpy: astype('float32'))", dtype.descr()))
}

/// How text is stored.
#[derive(Clone, Copy)]
struct Text {
    /// Characters of each, with zeros behind those that are shorter.
    length: usize,
    /// Four bytes a character, else one, of UTF-8.
    wide: bool,
    big_endian: bool,
}

impl Text {
    fn read(self, source: &mut impl Read) -> io::Result<String> {
        let no_text = || io::Error::new(io::ErrorKind::InvalidData, "no text");
        let mut bytes = vec![0; if self.wide { 4 * self.length } else { self.length }];
        source.read_exact(&mut bytes)?;
        let text = match self.wide {
            false => String::from_utf8(bytes).map_err(|_| no_text())?,
            true => {
                let character = |bytes: &[u8; 4]| {
                    let code = u32::from_le_bytes(*bytes);
                    char::from_u32(if self.big_endian { code.swap_bytes() } else { code })
                };
                bytes.as_chunks().0.iter().map(character).collect::<Option<String>>().ok_or_else(no_text)?
            }
        };
        Ok(text.trim_end_matches('\0').to_owned())
    }
}

/// Writes one matrix as `f32`, shape `(rows, dim)`.
pub(crate) fn write_matrix(path: &Path, matrix: MatrixView<'_>) -> Result<()> {
    create_whole(path, |out| write(out, &[matrix.rows(), matrix.dim()], [Ok(matrix.values())]).map_err(at(path)))
}

/// Why an array could not be written.
pub(crate) enum Stopped {
    /// The records could not be read.
    Records(Error),
    /// The file could not be written.
    File(io::Error),
}

/// The error of an array that was to be written to `path`.
pub(crate) fn at(path: &Path) -> impl Fn(Stopped) -> Error + '_ {
    move |stopped| match stopped {
        Stopped::Records(error) => error,
        Stopped::File(error) => Error::io(path, "write", error),
    }
}

/// Writes records one after another as one `f32` array of that shape.
pub(crate) fn write<V: AsRef<[f32]>>(
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
