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
    type Word: Copy;
    type Sum: Copy;

    /// Groups of query rows in one step: at most 4.
    const GROUPS: usize;
    /// Words summed before the sum moves on.
    const CHUNK: usize;

    fn zero() -> Self::Sum;
    /// The same word for every query row.
    fn splat(word: u32) -> Self::Word;
    fn load(words: &Words) -> Self::Word;
    fn add(sum: Self::Sum, query: Self::Word, row: Self::Word) -> Self::Sum;
    fn value(sum: Self::Sum) -> Self::Vector;
}

/// Words of one number in `f32`.
pub(super) struct F32<V>(PhantomData<V>);

impl<V: Vector> Product for F32<V> {
    type Vector = V;
    type Word = V;
    type Sum = V;

    const GROUPS: usize = V::GROUPS;
    const CHUNK: usize = CHUNK;

    #[inline(always)]
    fn zero() -> V {
        V::splat(0.0)
    }

    #[inline(always)]
    fn splat(word: u32) -> V {
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
    fn value(sum: V) -> V {
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
    type Sum = [i32; LANES];

    const GROUPS: usize = 1;
    const CHUNK: usize = usize::MAX;

    #[inline(always)]
    fn zero() -> [i32; LANES] {
        [0; LANES]
    }

    #[inline(always)]
    fn splat(word: u32) -> [u32; LANES] {
        [word; LANES]
    }

    #[inline(always)]
    fn load(words: &Words) -> [u32; LANES] {
        words.0
    }

    #[inline(always)]
    fn add(sum: [i32; LANES], query: [u32; LANES], row: [u32; LANES]) -> [i32; LANES] {
        let both = |word: u32| (i32::from(word as i16), i32::from((word >> 16) as i16));
        std::array::from_fn(|lane| {
            let ((a, b), (c, d)) = (both(query[lane]), both(row[lane]));
            sum[lane] + a * c + b * d
        })
    }

    #[inline(always)]
    fn value(sum: [i32; LANES]) -> [f32; LANES] {
        sum.map(|sum| sum as f32)
    }
}
