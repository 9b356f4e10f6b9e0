//! Whole numbers of a query in bytes.
//!
//! A number of up to 16 bits takes part in products of bytes in one or two pieces. A row is divided into blocks of
//! words. In the first one, where numbers need to be precise, a number is 256 times an upper byte and a lower one, both
//! signed, which meet the record's bytes one after the other. In each of the others numbers are multiples of a power of
//! two, the row's own, and a byte says of which: they take half as long. So rows are best whose first numbers are the
//! largest, and the others the smaller the further back they are.
//!
//! Sums are made of the coarsest numbers first: the upper bytes, then the blocks from front to back, then the lower
//! bytes; before each of these *parts* the sums are shifted to its unit. All of that is modulo 2^32, and so exact
//! wherever the whole sum is below 2^31.

use std::ops::Range;

/// Words of four bytes at which blocks begin, and another one ends. Shifts take as long as a word or two.
const BLOCKS: [usize; 5] = [4, 10, 18, 34, 66];
/// Bits that upper bytes are shifted by: numbers of at most [`SHORT_SIZE`](super::SHORT_SIZE) need no more.
const UPPER: u32 = 8;

/// Words of a record row that are multiplied by words of a query row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Of a record row, the first one.
    pub(super) row: usize,
    /// Of a query row, the first one. The one before it, where this is not the first part, says by how many bits to
    /// shift sums.
    pub(super) query: usize,
    pub(super) len: usize,
}

/// The parts of rows of so many words.
pub(super) fn parts(width: usize) -> Vec<Part> {
    let blocks = blocks(width);
    let mut query = 0;
    let part = |block: &Range<usize>| {
        let part = Part { row: block.start, query, len: block.len() };
        query += block.len() + 1;
        part
    };
    blocks.iter().chain(blocks.first()).map(part).collect()
}

/// The blocks of rows of so many words.
fn blocks(width: usize) -> Vec<Range<usize>> {
    let starts = std::iter::once(0).chain(BLOCKS).take_while(|&start| start < width);
    let ends = BLOCKS.into_iter().take_while(|&end| end < width).chain([width]);
    starts.zip(ends).map(|(start, end)| start..end).collect()
}

/// Bits to shift the bytes of each block but the first by, given its largest number; falling from front to back.
fn shifts(largest: impl DoubleEndedIterator<Item = f64>) -> Vec<u32> {
    let mut shift = 0;
    let of_block = |largest: f64| {
        while shift < UPPER && (largest / f64::from(1u32 << shift)).round_ties_even() > 127.0 {
            shift += 1;
        }
        shift
    };
    let mut shifts: Vec<u32> = largest.rev().map(of_block).collect();
    shifts.reverse();
    shifts
}

/// The same for numbers of a row.
fn shifts_of(blocks: &[Range<usize>], number: impl Fn(usize) -> f64) -> Vec<u32> {
    let largest =
        |block: &Range<usize>| (4 * block.start..4 * block.end).fold(0.0f64, |most, at| most.max(number(at).abs()));
    shifts(blocks.iter().skip(1).map(largest))
}

/// Rounds the numbers of a row, of at most [`SHORT_SIZE`](super::SHORT_SIZE), to such as [`pack`] keeps, the first `up`
/// of them, all of the first block, upwards.
pub(super) fn round(numbers: &mut [f64], up: usize) {
    let blocks = blocks(numbers.len().div_ceil(4));
    assert!(up <= 4 * BLOCKS[0], "numbers of another block");
    let shifts = shifts_of(&blocks, |at| numbers.get(at).copied().unwrap_or_default());
    let units = std::iter::once(1.0).chain(shifts.into_iter().map(|shift| f64::from(1u32 << shift)));
    for (block, unit) in blocks.iter().zip(units) {
        let end = numbers.len().min(4 * block.end);
        round_to(unit, &mut numbers[4 * block.start..end], if block.start == 0 { up } else { 0 });
    }
}

/// Rounds numbers to multiples of a unit, the first `up` of them upwards.
pub(super) fn round_to(unit: f64, numbers: &mut [f64], up: usize) {
    let (first, others) = numbers.split_at_mut(up.min(numbers.len()));
    first.iter_mut().for_each(|number| *number = (*number / unit).ceil() * unit);
    others.iter_mut().for_each(|number| *number = (*number / unit).round_ties_even() * unit);
}

/// Puts the numbers of a row, rounded by [`round`], into words.
pub(super) fn pack(row: &[i16]) -> Vec<u32> {
    let number = |at: usize| row.get(at).map_or(0, |&number| i32::from(number));
    let blocks = blocks(row.len().div_ceil(4));
    let Some((first, others)) = blocks.split_first() else { return Vec::new() };
    let shifts = shifts_of(&blocks, |at| f64::from(number(at)));
    let mut words = Vec::new();
    let mut part = |shift: Option<u32>, block: &Range<usize>, byte: &dyn Fn(i32) -> i32| {
        words.extend(shift);
        words.extend(
            block.clone().map(|word| u32::from_le_bytes([0, 1, 2, 3].map(|at| byte(number(4 * word + at)) as u8))),
        );
    };
    let lower = |number: i32| i32::from(number as i8);
    part(None, first, &|number| (number - lower(number)) >> UPPER);
    let mut unit = UPPER;
    for (block, shift) in others.iter().zip(shifts) {
        part(Some(unit - shift), block, &|number| number >> shift);
        unit = shift;
    }
    part(Some(unit), first, &lower);
    words.push((128 * row.iter().map(|&number| i32::from(number)).sum::<i32>()) as u32);
    words
}

/// Takes 128 from each byte, and puts four of them into a word.
#[inline(always)]
pub(super) fn sign(bytes: &[u8], quads: &mut [u32]) {
    let signed: &mut [u8] = bytemuck::cast_slice_mut(quads);
    signed.iter_mut().zip(bytes).for_each(|(signed, &byte)| *signed = byte ^ 128);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a row's words stand for, by the order in which they are multiplied.
    fn unpacked(words: &[u32], width: usize) -> Vec<i64> {
        let mut numbers = vec![0i64; 4 * width];
        for (at, part) in parts(width).into_iter().enumerate() {
            if at > 0 {
                numbers.iter_mut().for_each(|number| *number <<= words[part.query - 1]);
            }
            let bytes: &[i8] = bytemuck::cast_slice(&words[part.query..part.query + part.len]);
            numbers[4 * part.row..].iter_mut().zip(bytes).for_each(|(number, &byte)| *number += i64::from(byte));
        }
        numbers
    }

    #[test]
    fn a_row_is_what_its_words_stand_for() {
        for len in (1..300).chain([4_096]) {
            for (largest, fall) in [(32_000.0, 1.0), (32_000.0, 0.97), (32_000.0, 0.8), (127.4, 1.0), (0.4, 1.0)] {
                let given =
                    |at: usize| largest * f64::powi(fall, at as i32) * ((at * 7919 % 2003) as f64 / 1001.0 - 1.0);
                let given: Vec<f64> = (0..len).map(given).collect();
                let mut rounded = given.clone();
                round(&mut rounded, 0);
                let mut again = rounded.clone();
                round(&mut again, 0);
                assert_eq!(again, rounded);
                let given_all = &given;
                for (at, (given, rounded)) in given.iter().zip(&rounded).enumerate() {
                    // Numbers of its block and of those behind it say how precise it is.
                    let block = blocks(len.div_ceil(4)).into_iter().find(|block| 4 * block.end > at).unwrap();
                    let most = given_all[4 * block.start..].iter().fold(0.0f64, |most, number| most.max(number.abs()));
                    let unit = if block.start == 0 { 1.0 } else { (most / 127.0 * 2.0).max(1.0) };
                    assert!((given - rounded).abs() <= unit / 2.0, "{at} of {len}: {given} is {rounded}");
                }
                let row: Vec<i16> = rounded.iter().map(|&number| number as i16).collect();
                let words = pack(&row);
                let width = len.div_ceil(4);
                let last = parts(width).pop().unwrap();
                assert_eq!(words.len(), last.query + last.len + 1);
                let mut numbers = unpacked(&words, width);
                assert!(numbers.split_off(len).iter().all(|&number| number == 0));
                assert!(numbers.iter().zip(&row).all(|(&number, &wanted)| number == i64::from(wanted)));
                assert_eq!(
                    words.last().map(|&sum| sum as i32),
                    Some(128 * row.iter().map(|&n| i32::from(n)).sum::<i32>())
                );
            }
        }
    }
}
