//! Numbers of 16 bits, those of records rounded on the way, as two bytes each.

use super::multiply::{self, Registers, Sums};
use super::{ROWS, STEP, UPPER, load, upper};
use crate::kernel::tile::{Block, LANES, Scaling, Source, Words};
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

/// Runs a block of whole numbers of 16 bits, those of the query as [`pack`] lays them.
///
/// # Safety
/// As [`super::run`].
#[target_feature(enable = "avx512f,avx512bw")]
pub(in crate::kernel::tile) unsafe fn run(block: Block<'_>) {
    let Source::Rounded { values, dim, factors } = block.rows else { unreachable!("rows of another kind") };
    let Block { query, count, scaling: Some(Scaling { units, scales, offsets }), out, best, .. } = block else {
        unreachable!("all products are wanted")
    };
    let groups = best.len();
    let steps = dim.div_ceil(4 * STEP);
    let of_half = steps * STEP;
    assert!(query.len() == 2 * of_half * groups && values.len() >= count * dim && factors.len() >= count);
    assert!(units.len() >= groups && scales.len() >= count && offsets.len() >= count && out.len() >= count * groups);
    // Upper bytes of a row, then lower ones.
    let stride = 2 * 4 * of_half;
    let mut halves = vec![Words([0; LANES]); 2 * ROWS * 2 * steps];
    let mut sums = MaybeUninit::<Sums<6>>::uninit();
    // SAFETY: as promised by the caller.
    let _registers = unsafe { Registers::new() };
    for first in (0..count).step_by(2 * ROWS) {
        // The last rows, some of them once more.
        let starts = [first, first + ROWS].map(|start| start.min(count.saturating_sub(ROWS)));
        let rows = starts.iter().flat_map(|&start| start..start + ROWS);
        for (row, halves) in rows.zip(halves.chunks_exact_mut(2 * steps)) {
            if row < count {
                split(&values[row * dim..][..dim], factors[row], halves.split_at_mut(steps));
            }
        }
        let rows = [0, ROWS].map(|row| halves[row * 2 * steps..].as_ptr());
        for group in 0..groups {
            let of_group = query[2 * group * of_half..][..2 * of_half].as_ptr();
            // SAFETY: there are sixteen rows of upper and of lower bytes from each pointer on, and as many steps of
            // both of the group. The registers are set up.
            let sums = unsafe {
                multiply::clear();
                let (upper, lower) = (rows.map(|row| row.cast()), rows.map(|row| row.wrapping_add(steps).cast()));
                multiply::halves(upper, lower, stride, [of_group, of_group.wrapping_add(of_half)], steps);
                Sums::store(&mut sums)
            };
            for (half, &start) in starts.iter().enumerate() {
                // SAFETY: pointers come from references to 64 aligned bytes.
                unsafe {
                    let unit = _mm512_load_ps(units[group].0.as_ptr());
                    let mut largest = _mm512_load_ps(best[group].0.as_ptr());
                    for (at, row) in (start..count.min(start + ROWS)).enumerate() {
                        let [both, mixed, lower] = [0, 2, 4].map(|which| load(&sums.0[which + half][at]));
                        let sum = _mm512_add_epi32(_mm512_slli_epi32::<UPPER>(both), mixed);
                        let sum = _mm512_add_epi32(_mm512_slli_epi32::<UPPER>(sum), lower);
                        let number = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), unit);
                        let (scale, offset) = (_mm512_set1_ps(scales[row]), _mm512_set1_ps(offsets[row]));
                        let number = _mm512_fmadd_ps(number, scale, offset);
                        largest = _mm512_max_ps(largest, number);
                        _mm512_store_ps(out[row * groups + group].0.as_mut_ptr(), number);
                    }
                    _mm512_store_ps(best[group].0.as_mut_ptr(), largest);
                }
            }
        }
    }
}

/// Puts numbers of 16 bits into words: upper bytes, then lower ones; in the order in which [`split`] has those of a
/// record.
pub(in crate::kernel::tile) fn pack(row: &[i16]) -> Vec<u32> {
    let number = |at: usize| row.get(at).copied().unwrap_or_default();
    let words = |byte: fn(i16) -> u8| {
        let word = move |word: usize| {
            let first = 4 * (word / STEP * STEP + word % 4 * 4 + word % STEP / 4);
            u32::from_le_bytes([0, 1, 2, 3].map(|at| byte(number(first + at))))
        };
        (0..row.len().div_ceil(4).next_multiple_of(STEP)).map(word)
    };
    words(upper).chain(words(|number| number as u8)).collect()
}

/// Rounds numbers, times a factor, to whole ones, and divides these into upper bytes and lower ones. Of each 64 the
/// words are in the order in which instructions that narrow numbers leave them: those of the 1st, 5th, 9th and 13th
/// four numbers, then of the 2nd, 6th, and so on.
#[target_feature(enable = "avx512f,avx512bw")]
fn split(row: &[f32], factor: f32, (upper, lower): (&mut [Words], &mut [Words])) {
    let factor = _mm512_set1_ps(factor);
    for ((numbers, upper), lower) in row.chunks(4 * STEP).zip(upper).zip(lower) {
        let whole = |at: usize| {
            let numbers = &numbers[numbers.len().min(at * LANES)..];
            let some = ((1u32 << numbers.len().min(LANES)) - 1) as u16;
            // SAFETY: reads no more numbers than there are.
            let numbers = unsafe { _mm512_maskz_loadu_ps(some, numbers.as_ptr()) };
            _mm512_cvtps_epi32(_mm512_mul_ps(numbers, factor))
        };
        let pairs = [_mm512_packs_epi32(whole(0), whole(1)), _mm512_packs_epi32(whole(2), whole(3))];
        let high = pairs.map(|pair| _mm512_srai_epi16::<UPPER>(_mm512_add_epi16(pair, _mm512_set1_epi16(128))));
        let low = pairs.map(|pair| _mm512_and_si512(pair, _mm512_set1_epi16(255)));
        // SAFETY: 64 aligned bytes each.
        unsafe {
            _mm512_store_si512(upper.0.as_mut_ptr().cast(), _mm512_packs_epi16(high[0], high[1]));
            _mm512_store_si512(lower.0.as_mut_ptr().cast(), _mm512_packus_epi16(low[0], low[1]));
        }
    }
}
