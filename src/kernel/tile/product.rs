//! How the words of two rows are multiplied and summed, for sixteen query rows at once.

use super::vector::Vector;
use super::{CHUNK, LANES, Lanes, Words};
use std::marker::PhantomData;

/// A kind of number on an instruction set.
///
/// Methods are inlined into the function that enables their instructions; they are called only below such a function,
/// on a machine that has them.
pub(super) trait Product {
    /// What the sums become.
    type Vector: Vector;
    /// A word of each query row.
    type Word: Copy;
    /// A word of a record row.
    type Row: Copy;
    type Sum: Copy;

    /// Groups of query rows in one step: at most 4.
    const GROUPS: usize;
    /// Words summed before the sum moves on.
    const CHUNK: usize;

    fn zero() -> Self::Sum;
    fn row(word: u32) -> Self::Row;
    fn load(words: &Words) -> Self::Word;
    fn add(sum: Self::Sum, query: Self::Word, row: Self::Row) -> Self::Sum;
    /// Shifts sums to the left, each by its own number of bits, where there are several [parts](super::bytes).
    #[inline(always)]
    fn shift(sum: Self::Sum, _: Self::Word) -> Self::Sum {
        sum
    }
    /// What a sum is, given the last word of the query's rows.
    fn value(sum: Self::Sum, last: Self::Word) -> Self::Vector;
    /// Raises the best of each group to what the sums of some record rows are.
    #[inline(always)]
    fn raise<const R: usize, const G: usize>(
        best: &mut [Self::Vector; G],
        sums: [[Self::Sum; G]; R],
        last: [Self::Word; G],
    ) {
        for sums in sums {
            for ((best, sum), last) in best.iter_mut().zip(sums).zip(last) {
                *best = best.max(Self::value(sum, last));
            }
        }
    }
}

/// Words of one number in `f32`.
pub(super) struct F32<V>(PhantomData<V>);

impl<V: Vector> Product for F32<V> {
    type Vector = V;
    type Word = V;
    type Row = V;
    type Sum = V;

    const GROUPS: usize = V::GROUPS;
    const CHUNK: usize = CHUNK;

    #[inline(always)]
    fn zero() -> V {
        V::splat(0.0)
    }

    #[inline(always)]
    fn row(word: u32) -> V {
        V::splat(f32::from_bits(word))
    }

    #[inline(always)]
    fn load(words: &Words) -> V {
        // SAFETY: both are 64 aligned bytes, and any bits are a number.
        V::load(unsafe { &*std::ptr::from_ref(words).cast::<Lanes>() })
    }

    #[inline(always)]
    fn add(sum: V, query: V, row: V) -> V {
        query.mul_add(row, sum)
    }

    #[inline(always)]
    fn value(sum: V, _: V) -> V {
        sum
    }
}

/// Words of two whole numbers of 16 bits. Their sums of 32 bits do not overflow: the rows' norms are at most
/// [`SHORT_SIZE`](super::SHORT_SIZE), and so every sum of products is at most its square (Cauchy-Schwarz).
pub(super) struct I16<S>(PhantomData<S>);

/// Plain numbers, for the compiler to make of what it can.
impl Product for I16<[i32; LANES]> {
    type Vector = [f32; LANES];
    type Word = [u32; LANES];
    type Row = u32;
    type Sum = [i32; LANES];

    const GROUPS: usize = 1;
    const CHUNK: usize = usize::MAX;

    #[inline(always)]
    fn zero() -> [i32; LANES] {
        [0; LANES]
    }

    #[inline(always)]
    fn row(word: u32) -> u32 {
        word
    }

    #[inline(always)]
    fn load(words: &Words) -> [u32; LANES] {
        words.0
    }

    #[inline(always)]
    fn add(sum: [i32; LANES], query: [u32; LANES], row: u32) -> [i32; LANES] {
        let both = |word: u32| (i32::from(word as i16), i32::from((word >> 16) as i16));
        std::array::from_fn(|lane| {
            let ((a, b), (c, d)) = (both(query[lane]), both(row));
            sum[lane] + a * c + b * d
        })
    }

    #[inline(always)]
    fn value(sum: [i32; LANES], _: [u32; LANES]) -> [f32; LANES] {
        sum.map(|sum| sum as f32)
    }
}

/// Words of four whole numbers in [bytes](super::bytes).
pub(super) struct I8<S>(PhantomData<S>);

/// Plain numbers: what this is where there is nothing better, and for tests.
impl Product for I8<[i32; LANES]> {
    type Vector = [f32; LANES];
    type Word = [u32; LANES];
    type Row = u32;
    type Sum = [i32; LANES];

    const GROUPS: usize = 1;
    const CHUNK: usize = usize::MAX;

    #[inline(always)]
    fn zero() -> [i32; LANES] {
        [0; LANES]
    }

    #[inline(always)]
    fn row(word: u32) -> u32 {
        word
    }

    #[inline(always)]
    fn load(words: &Words) -> [u32; LANES] {
        words.0
    }

    #[inline(always)]
    fn add(sum: [i32; LANES], query: [u32; LANES], row: u32) -> [i32; LANES] {
        let byte = |word: u32, at: u32| i32::from((word >> (8 * at)) as i8);
        std::array::from_fn(|lane| {
            (0..4).fold(sum[lane], |sum, at| sum.wrapping_add(byte(query[lane], at) * byte(row, at)))
        })
    }

    #[inline(always)]
    fn shift(sum: [i32; LANES], bits: [u32; LANES]) -> [i32; LANES] {
        std::array::from_fn(|lane| sum[lane] << bits[lane])
    }

    #[inline(always)]
    fn value(sum: [i32; LANES], _: [u32; LANES]) -> [f32; LANES] {
        sum.map(|sum| sum as f32)
    }
}
