//! How rows of a query for planes lie in bytes.

use super::{STEP, UPPER, upper};
use crate::kernel::tile::bytes::{Part, round_to};

/// Most steps of a row of which all numbers have two bytes.
const SHORT_STEPS: usize = 3;

/// Steps of a row's words of which there are upper bytes: all of a short row, the first one of another.
pub(super) fn upper_steps(steps: usize) -> usize {
    if steps <= SHORT_STEPS { steps } else { 1 }
}

/// The parts of rows of so many words.
pub(in crate::kernel::tile) fn parts(width: usize) -> Vec<Part> {
    let upper = STEP * upper_steps(width.div_ceil(STEP));
    let lower = upper + 1;
    let shifted = lower + width.next_multiple_of(STEP) + 1;
    vec![
        Part { row: 0, query: 0, len: width.min(upper) },
        Part { row: 0, query: lower, len: width },
        // Nothing more, but sums are shifted to the row's unit.
        Part { row: 0, query: shifted, len: 0 },
    ]
}

/// The largest number of a row of which there is no upper byte.
fn largest_byte(numbers: impl ExactSizeIterator<Item = f64>) -> f64 {
    let steps = numbers.len().div_ceil(4 * STEP);
    numbers.skip(4 * STEP * upper_steps(steps)).fold(0.0f64, |most, number| most.max(number.abs()))
}

/// Bits by which the numbers of a row are shifted, so that those of which there is no upper byte fit one.
fn shift(numbers: impl ExactSizeIterator<Item = f64>) -> u32 {
    let largest = largest_byte(numbers);
    (0..UPPER).find(|&shift| (largest / f64::from(1u32 << shift)).round_ties_even() <= 127.0).unwrap_or(UPPER)
}

/// A factor of at most 1 that makes the numbers of a row, of at most [`SHORT_SIZE`](crate::kernel::SHORT_SIZE), fit
/// with one bit less to shift by, and so more precise.
pub(in crate::kernel::tile) fn fit(numbers: impl ExactSizeIterator<Item = f64>) -> f64 {
    let largest = largest_byte(numbers);
    let shifts = (0..UPPER).map(|shift| 127.0 * f64::from(1u32 << shift));
    shifts.rev().find(|&most| most < largest).map_or(1.0, |most| most / largest)
}

/// Rounds the numbers of a row, of at most [`SHORT_SIZE`](crate::kernel::SHORT_SIZE), to such as [`pack`] keeps, the
/// first `up` of them, of which there are upper bytes, upwards.
pub(in crate::kernel::tile) fn round(numbers: &mut [f64], up: usize) {
    assert!(up <= 4 * STEP, "numbers of another step");
    let unit = f64::from(1u32 << shift(numbers.iter().copied()));
    round_to(unit, numbers, up);
}

/// Puts the numbers of a row, rounded by [`round`], into words.
pub(in crate::kernel::tile) fn pack(row: &[i16]) -> Vec<u32> {
    let shift = shift(row.iter().map(|&number| f64::from(number)));
    let words = |numbers: &[i16], byte: &dyn Fn(i16) -> u8| {
        let mut bytes: Vec<u8> = numbers.iter().map(|&number| byte(number >> shift)).collect();
        bytes.resize(bytes.len().next_multiple_of(4 * STEP), 0);
        bytes.as_chunks::<4>().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect::<Vec<u32>>()
    };
    let of_upper = 4 * STEP * upper_steps(row.len().div_ceil(4 * STEP));
    let mut all = words(&row[..row.len().min(of_upper)], &upper);
    all.push(UPPER);
    all.extend(words(row, &|number| number as u8));
    all.extend([shift, (128 * row.iter().map(|&number| i32::from(number)).sum::<i32>()) as u32]);
    all
}
