//! Integer inner products of coded rows: one byte a number, exact sums.
//!
//! A record's number `c` in -127..=127 is kept as the byte `c + 128`, a query's as a signed byte: that is what
//! `vpdpbusd` multiplies. The 128 is taken out once for each query, not once for each record; only ARM, which has no
//! products of unsigned with signed bytes, takes it out of each byte. Rows are padded with codes of 0 to a multiple of
//! [`STRIDE`] bytes. Sums are exact for any length.

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod dotprod;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod vnni;

use super::Level;

/// Rows take a multiple of this many bytes: a cache line, and one register of 512 bits.
pub const STRIDE: usize = 64;

/// Bytes after which sums of 32 bits are gathered into 64: eight of them take at most 2 * 255 * 128 for every 16 bytes.
const BLOCK: usize = 1 << 18;

/// Bytes of a row up to which the whole sum fits 32 bits: 255 * 128 for each.
#[cfg(target_arch = "x86_64")]
const SHORT: usize = 1 << 16;

/// A query's row in signed bytes.
#[derive(Clone, Debug, Default)]
pub struct SignedCodes {
    /// Padded to a multiple of [`STRIDE`]: what the kernels below read is always there.
    values: Vec<i8>,
    /// How many of them were given.
    len: usize,
    /// What the records' 128 adds to every sum.
    surplus: i64,
}

impl SignedCodes {
    /// Takes the codes of a row, of any length.
    pub fn new(values: Vec<i8>) -> SignedCodes {
        let mut codes = SignedCodes { values, len: 0, surplus: 0 };
        codes.pad();
        codes
    }

    /// Takes a record's row as the query, padded or not.
    pub fn set_row(&mut self, row: &[u8]) {
        self.values.clear();
        self.values.extend(row.iter().map(|&code| (code ^ 128) as i8));
        self.pad();
    }

    fn pad(&mut self) {
        self.len = self.values.len();
        self.values.resize(self.len.next_multiple_of(STRIDE), 0);
        self.surplus = 128 * self.values.iter().map(|&value| i64::from(value)).sum::<i64>();
    }

    /// Bytes of a padded row of records: the length that is the fastest.
    #[cfg_attr(not(test), allow(dead_code))] // tests ask
    pub fn stride(&self) -> usize {
        self.values.len()
    }

    /// The inner product with one row of records, of [`SignedCodes::stride`] bytes or of as many as there were numbers.
    ///
    /// # Panics
    /// When the row has another length.
    pub fn dot(&self, row: &[u8]) -> i64 {
        if row.len() != self.values.len() {
            return dot_at(Level::current(), self, &self.padded(row));
        }
        dot_at(Level::current(), self, row)
    }

    /// The inner products with four rows, as fast as the memory brings them.
    ///
    /// # Panics
    /// When a row has another length than those that [`SignedCodes::dot`] takes.
    pub fn dot4(&self, rows: [&[u8]; 4]) -> [i64; 4] {
        if rows.iter().any(|row| row.len() != self.values.len()) {
            return rows.map(|row| self.dot(row));
        }
        dot4_at(Level::current(), self, rows)
    }

    /// The inner products of two queries with eight rows, which are read once for both, side by side: memory brings
    /// several rows at a time faster than one after the other.
    ///
    /// # Panics
    /// When a row has another length than those that [`SignedCodes::dot`] of both queries takes.
    pub fn dot8_both(&self, other: &SignedCodes, rows: [&[u8]; 8]) -> [[i64; 8]; 2] {
        if other.values.len() != self.values.len() || rows.iter().any(|row| row.len() != self.values.len()) {
            return [rows.map(|row| self.dot(row)), rows.map(|row| other.dot(row))];
        }
        dot8_at(Level::current(), [self, other], rows)
    }

    /// A row that was not padded, as the kernels need it.
    fn padded(&self, row: &[u8]) -> Vec<u8> {
        assert_eq!(row.len(), self.len, "rows of different lengths");
        let mut padded = row.to_vec();
        padded.resize(self.values.len(), 128);
        padded
    }
}

/// [`SignedCodes::dot`] of a row as long as the query, with the instructions of a level not above the machine's.
fn dot_at(level: Level, query: &SignedCodes, row: &[u8]) -> i64 {
    let (values, surplus) = (&query.values[..], query.surplus);
    match level {
        // SAFETY: the level was found on this machine; the lengths are equal and multiples of STRIDE.
        #[cfg(target_arch = "x86_64")]
        Level::Vnni | Level::Amx => blocks(values, row, |a, b| unsafe { vnni::dot(a, b) }) - surplus,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 | Level::AvxVnni | Level::Avx512 => {
            // SAFETY: as above.
            blocks(values, row, |a, b| unsafe { avx2::dot(a, b) }) - surplus
        }
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Level::Dotprod => blocks(values, row, |a, b| unsafe { dotprod::dots::<1, 1, 4>([a], [b]) }[0][0]),
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Level::Neon => blocks(values, row, |a, b| unsafe { neon::dots::<1, 1, 4>([a], [b]) }[0][0]),
        Level::Scalar => blocks(values, row, scalar) - surplus,
    }
}

fn dot4_at(level: Level, query: &SignedCodes, rows: [&[u8]; 4]) -> [i64; 4] {
    let values = &query.values[..];
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Vnni | Level::Amx if values.len() <= BLOCK => {
            // SAFETY: the features were found on this machine; the lengths are equal and multiples of STRIDE.
            let sums = unsafe { vnni::dot4(values, rows) };
            sums.map(|sum| sum - query.surplus)
        }
        #[cfg(target_arch = "aarch64")]
        Level::Dotprod if values.len() <= BLOCK => {
            // SAFETY: as above.
            let [sums] = unsafe { dotprod::dots::<1, 4, 2>([values], rows) };
            sums
        }
        #[cfg(target_arch = "aarch64")]
        Level::Neon if values.len() <= BLOCK => {
            // SAFETY: as above.
            let [sums] = unsafe { neon::dots::<1, 4, 2>([values], rows) };
            sums
        }
        _ => rows.map(|row| dot_at(level, query, row)),
    }
}

fn dot8_at(level: Level, queries: [&SignedCodes; 2], rows: [&[u8]; 8]) -> [[i64; 8]; 2] {
    let values = queries.map(|query| &query.values[..]);
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Vnni | Level::Amx if values[0].len() <= BLOCK => {
            // SAFETY: the features were found on this machine; the lengths are equal and multiples of STRIDE.
            let sums = unsafe { vnni::dot8_both(values, rows) };
            [sums[0].map(|sum| sum - queries[0].surplus), sums[1].map(|sum| sum - queries[1].surplus)]
        }
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Level::Dotprod if values[0].len() <= BLOCK => unsafe { dotprod::dots::<2, 8, 1>(values, rows) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Level::Neon if values[0].len() <= BLOCK => unsafe { neon::dots::<2, 8, 1>(values, rows) },
        _ => queries.map(|query| rows.map(|row| dot_at(level, query, row))),
    }
}

fn blocks(query: &[i8], row: &[u8], dot: impl Fn(&[i8], &[u8]) -> i64) -> i64 {
    if query.len() <= BLOCK {
        return dot(query, row);
    }
    query.chunks(BLOCK).zip(row.chunks(BLOCK)).map(|(query, row)| dot(query, row)).sum()
}

fn scalar(query: &[i8], row: &[u8]) -> i64 {
    query.iter().zip(row).map(|(&query, &row)| i64::from(i32::from(query) * i32::from(row))).sum()
}

/// Asks the machine to bring these bytes into its second cache: it waits for many more lines there than in its first,
/// and a walk through a graph asks for some hundred at a time (twice as fast on the machines measured).
#[inline]
pub fn prefetch<T>(values: &[T]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        let start = values.as_ptr().cast::<i8>();
        for at in (0..std::mem::size_of_val(values)).step_by(64) {
            // SAFETY: within the slice; a prefetch has no effect beyond the caches.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(start.add(at)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wanted(query: &[i8], row: &[u8]) -> i64 {
        query.iter().zip(row).map(|(&q, &r)| i64::from(q) * (i64::from(r) - 128)).sum()
    }

    proptest! {
        #[test]
        fn sums_are_exact(query in prop::collection::vec(any::<i8>(), 1..700), seed in any::<u8>()) {
            let codes = SignedCodes::new(query.clone());
            let row: Vec<u8> = (0..codes.stride()).map(|at| (at as u8).wrapping_mul(seed)).collect();
            // Another query and other rows: each sum is that of its own.
            let other = SignedCodes::new(query.iter().rev().copied().collect());
            let rows: Vec<Vec<u8>> = (0..8).map(|turn| row.iter().map(|&code| code.rotate_left(turn)).collect()).collect();
            let rows: [&[u8]; 8] = std::array::from_fn(|at| &rows[at][..]);
            let both = [&codes, &other].map(|codes| rows.map(|row| wanted(&codes.values, row)));
            prop_assert_eq!(codes.dot(&row), both[0][0]);
            for level in Level::available() {
                prop_assert_eq!(rows.map(|row| dot_at(level, &codes, row)), both[0], "{:?}", level);
                let four = dot4_at(level, &codes, [rows[4], rows[5], rows[6], rows[7]]);
                prop_assert_eq!(&four[..], &both[0][4..], "{:?}", level);
                prop_assert_eq!(dot8_at(level, [&codes, &other], rows), both, "{:?}", level);
            }
        }
    }

    proptest! {
        #[test]
        fn rows_of_any_length_are_taken_and_none_is_read_beyond_its_end(row in prop::collection::vec(any::<u8>(), 0..400)) {
            let own: i64 = row.iter().map(|&code| (i64::from(code) - 128).pow(2)).sum();
            let mut codes = SignedCodes::default();
            codes.set_row(&row);
            // Of a box exactly as long: a tool that watches reads sees one beyond it.
            let row = row.into_boxed_slice();
            prop_assert_eq!(codes.dot(&row), own);
            prop_assert_eq!(codes.dot4([&row; 4]), [own; 4]);
            prop_assert_eq!(codes.dot8_both(&codes, [&row; 8]), [[own; 8]; 2]);
            let padded = codes.padded(&row);
            prop_assert_eq!(codes.dot8_both(&codes, std::array::from_fn(|at| if at == 3 { &row[..] } else { &padded })), [[own; 8]; 2]);
            let longer = vec![0; codes.stride() + 1];
            for wrong in [&longer[..], &longer[..codes.stride().saturating_sub(1)]] {
                let refused = std::panic::catch_unwind(|| codes.dot(wrong)).is_err();
                prop_assert_eq!(refused, wrong.len() != row.len() && wrong.len() != codes.stride());
            }
        }
    }

    #[test]
    fn the_longest_sums_do_not_overflow() {
        for values in [vec![-128i8; 3 << 20], vec![127; (1 << 20) + 1]] {
            for len in [BLOCK, values.len()] {
                let codes = SignedCodes::new(values[..len].to_vec());
                for row in [vec![255; codes.stride()], vec![0; codes.stride()]] {
                    let wanted = wanted(&codes.values, &row);
                    for level in Level::available() {
                        assert_eq!(dot_at(level, &codes, &row), wanted, "{level:?}");
                        assert_eq!(dot4_at(level, &codes, [&row; 4]), [wanted; 4], "{level:?}");
                        assert_eq!(dot8_at(level, [&codes; 2], [&row; 8]), [[wanted; 8]; 2], "{level:?}");
                    }
                }
            }
        }
    }
}
