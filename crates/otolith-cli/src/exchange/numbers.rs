//! Numbers of any width and kind as `f32`, read piece by piece: memory is asked for as they arrive, never for what a
//! header says, and where there is none that is an error.

use npyz::{DType, Endianness, TypeChar};
use std::io::{self, Read};

/// Most numbers of one record, 4 GiB of `f32`: a record lies in memory as a whole.
pub(crate) const RECORD_NUMBERS: usize = 1 << 30;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 64 << 10;

/// How a number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    kind: Kind,
    big_endian: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bool,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    F16,
    F32,
    F64,
}

/// Why numbers could not be read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// The bytes could not.
    Io(io::Error),
    /// The number at this place cannot be kept, in words.
    Number(usize, String),
    /// There is no memory for so many bytes.
    Memory(usize),
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Unread {
        Unread::Io(error)
    }
}

impl Number {
    pub(crate) const F32: Number = Number { kind: Kind::F32, big_endian: false };
    pub(crate) const U8: Number = Number { kind: Kind::U8, big_endian: false };
    pub(crate) const I8: Number = Number { kind: Kind::I8, big_endian: false };

    /// What a type of numpy says; none for one that is no number, or of a width that no number here has.
    pub(crate) fn of(dtype: &DType) -> Option<Number> {
        let DType::Plain(plain) = dtype else { return None };
        let kind = match (plain.type_char(), plain.size_field()) {
            (TypeChar::Bool, 1) => Kind::Bool,
            (TypeChar::Int, 1) => Kind::I8,
            (TypeChar::Int, 2) => Kind::I16,
            (TypeChar::Int, 4) => Kind::I32,
            (TypeChar::Int, 8) => Kind::I64,
            (TypeChar::Uint, 1) => Kind::U8,
            (TypeChar::Uint, 2) => Kind::U16,
            (TypeChar::Uint, 4) => Kind::U32,
            (TypeChar::Uint, 8) => Kind::U64,
            (TypeChar::Float, 2) => Kind::F16,
            (TypeChar::Float, 4) => Kind::F32,
            (TypeChar::Float, 8) => Kind::F64,
            _ => return None,
        };
        Some(Number { kind, big_endian: plain.endianness() == Endianness::Big })
    }

    /// Bytes of one.
    pub(crate) fn width(self) -> usize {
        match self.kind {
            Kind::Bool | Kind::I8 | Kind::U8 => 1,
            Kind::I16 | Kind::U16 | Kind::F16 => 2,
            Kind::I32 | Kind::U32 | Kind::F32 => 4,
            Kind::I64 | Kind::U64 | Kind::F64 => 8,
        }
    }

    /// Whether it is an integer.
    pub(crate) fn is_integer(self) -> bool {
        !matches!(self.kind, Kind::Bool | Kind::F16 | Kind::F32 | Kind::F64)
    }

    /// Reads the next `count` numbers. Those that `f32` rounds are rounded.
    pub(crate) fn read(self, source: &mut (impl Read + ?Sized), count: usize) -> Result<Vec<f32>, Unread> {
        let mut numbers = Vec::new();
        let most = (PIECE_BYTES / self.width()).min(count);
        let mut piece = vec![0; most * self.width()];
        while numbers.len() < count {
            let next = most.min(count - numbers.len());
            if numbers.capacity() - numbers.len() < next {
                let room = next.max(numbers.len()).min(count - numbers.len());
                numbers
                    .try_reserve_exact(room)
                    .map_err(|_| Unread::Memory((numbers.len() + room) * size_of::<f32>()))?;
            }
            let bytes = &mut piece[..next * self.width()];
            source.read_exact(bytes)?;
            self.decode(bytes, &mut numbers)?;
        }
        Ok(numbers)
    }

    /// Reads the next `count` integers as text, digit by digit.
    pub(crate) fn read_text(self, source: &mut impl Read, count: usize) -> Result<Vec<String>, Unread> {
        let mut texts = Vec::new();
        let mut bytes = [0; 8];
        for _ in 0..count {
            let bytes = &mut bytes[..self.width()];
            source.read_exact(bytes)?;
            self.to_little_endian(bytes);
            let mut wide = [0; 8];
            wide[..bytes.len()].copy_from_slice(bytes);
            let (unsigned, unused) = (u64::from_le_bytes(wide), 64 - 8 * bytes.len() as u32);
            texts.push(match self.kind {
                Kind::I8 | Kind::I16 | Kind::I32 | Kind::I64 => {
                    ((unsigned << unused).cast_signed() >> unused).to_string()
                }
                _ => unsigned.to_string(),
            });
        }
        Ok(texts)
    }

    fn to_little_endian(self, bytes: &mut [u8]) {
        if self.big_endian {
            bytes.chunks_exact_mut(self.width()).for_each(<[u8]>::reverse);
        }
    }

    fn decode(self, bytes: &mut [u8], into: &mut Vec<f32>) -> Result<(), Unread> {
        /// Each of `N` bytes.
        fn each<const N: usize>(bytes: &[u8], into: &mut Vec<f32>, number: impl Fn([u8; N]) -> f32) {
            into.extend(bytes.as_chunks::<N>().0.iter().map(|bytes| number(*bytes)));
        }
        self.to_little_endian(bytes);
        match self.kind {
            Kind::Bool => each(bytes, into, |[byte]| f32::from(u8::from(byte != 0))),
            Kind::I8 => each(bytes, into, |[byte]| f32::from(byte.cast_signed())),
            Kind::U8 => each(bytes, into, |[byte]| f32::from(byte)),
            Kind::I16 => each(bytes, into, |bytes| f32::from(i16::from_le_bytes(bytes))),
            Kind::U16 => each(bytes, into, |bytes| f32::from(u16::from_le_bytes(bytes))),
            Kind::I32 => each(bytes, into, |bytes| i32::from_le_bytes(bytes) as f32),
            Kind::U32 => each(bytes, into, |bytes| u32::from_le_bytes(bytes) as f32),
            Kind::I64 => each(bytes, into, |bytes| i64::from_le_bytes(bytes) as f32),
            Kind::U64 => each(bytes, into, |bytes| u64::from_le_bytes(bytes) as f32),
            Kind::F16 => each(bytes, into, |bytes| npyz::half::f16::from_le_bytes(bytes).to_f32()),
            Kind::F32 => each(bytes, into, f32::from_le_bytes),
            Kind::F64 => {
                let before = into.len();
                each(bytes, into, |bytes| f64::from_le_bytes(bytes) as f32);
                let wide = bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes));
                let lost =
                    into[before..].iter().zip(wide).position(|(narrow, wide)| narrow.is_infinite() && wide.is_finite());
                if let Some(at) = lost {
                    let wide = f64::from_le_bytes(bytes.as_chunks::<8>().0[at]);
                    return Err(Unread::Number(before + at, format!("{wide:e}, and `f32` ends at 3.4e38")));
                }
            }
        }
        Ok(())
    }
}
