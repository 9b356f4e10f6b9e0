//! Matrix registers (AMX), of sixteen rows of 64 bytes: one instruction multiplies the rows of one, bytes of sixteen
//! record rows, by the columns of another, bytes of sixteen query rows, and adds to 256 sums in a third. Sums are
//! stored, and vectors of 512 bits do the rest. (Doing that for one pair of groups while the next is multiplied, or
//! between its steps, was no faster.)
//!
//! Sums cannot be shifted between two products, so there are several where numbers have more than a byte:
//! - of a query for [planes](super::largest) two. The first 64 numbers of a row, and all of a short row, are 256 times
//!   an upper byte and a lower one, the others are one byte, and all are multiples of a power of two, the row's own,
//!   that makes the others fit (compare [`super::bytes`]). One sum is of the upper bytes, one of the rest;
//! - of numbers of 16 bits, those of records rounded on the way, three: of upper bytes with upper ones, of upper with
//!   lower ones and the other way round, and of lower with lower ones.

pub(super) mod bytes;
mod multiply;
pub(super) mod short;
#[cfg(test)]
mod tests;

use super::{Block, LANES, Source, Words};
use bytes::upper_steps;
use multiply::{Registers, Sums};
use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

/// Words of a row that one product takes.
const STEP: usize = 16;
/// Bits that upper bytes are shifted by.
const UPPER: u32 = 8;
/// Record rows of a register.
const ROWS: usize = 16;

/// Whether the machine has matrix registers for bytes, and the system lets this process use them, which Linux wants to
/// be asked for. After that it takes no alternative signal stack that is too small for them, whoever wants to set one
/// up; so it is asked only where the registers are to be used.
pub(in crate::kernel) fn is_there() -> bool {
    static THERE: OnceLock<bool> = OnceLock::new();
    *THERE.get_or_init(|| {
        let leaves = __cpuid(0).eax;
        // Tiles, and products of bytes.
        let wanted = 1 << 24 | 1 << 25;
        leaves >= 7 && __cpuid_count(7, 0).edx & wanted == wanted && is_permitted()
    })
}

#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    /// `ARCH_REQ_XCOMP_PERM` and the component of the processor's state that registers are in, of `arch_prctl(2)`.
    const REQUEST: libc::c_ulong = 0x1023;
    const TILE_DATA: libc::c_ulong = 18;
    // SAFETY: asks for a permission; no pointer is passed. Fails on a system that does not know it.
    unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST, TILE_DATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// A number without its lower byte, which is signed, in units of 256.
fn upper(number: i16) -> u8 {
    ((i32::from(number) - i32::from(number as i8)) >> UPPER) as u8
}

/// Runs a block of whole numbers, those of the query in bytes as [`bytes::pack`] lays them.
///
/// # Safety
/// [`is_there`] was true, and the machine has AVX-512 with BW.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn run(block: Block<'_>) {
    let Source::Unsigned { bytes, stride } = block.rows else { unreachable!("rows of another kind") };
    let Block { query, width, count, best, .. } = block;
    let (groups, of_group, steps) = (best.len(), query.len() / best.len().max(1), width.div_ceil(STEP));
    let upper_steps = upper_steps(steps);
    assert!(
        of_group == (upper_steps + steps) * STEP + 3
            && bytes.len() >= (count * stride).saturating_sub(stride) + 4 * width
    );
    if count == 0 {
        return;
    }
    let mut most = vec![Words([i32::MIN as u32; LANES]); groups];
    // Rows that can be read to the end of the last step.
    let reach = 4 * STEP * steps;
    let readable = bytes.len().checked_sub(reach).map_or(0, |rest| count.min(rest / stride + 1));
    let tall = groups == 1;
    let taken = if tall { 4 } else { 2 };
    let (mut copies, mut sums) = (Vec::new(), [const { MaybeUninit::<Sums<4>>::uninit() }; 2]);
    // SAFETY: as promised by the caller.
    let _registers = unsafe { Registers::new() };
    for first in (0..count).step_by(taken * ROWS) {
        // The last rows, some of them once more: a maximum stays.
        let starts: [usize; 4] =
            std::array::from_fn(|at| (first + ROWS * (at % taken)).min(count.saturating_sub(ROWS)));
        let is_within = count >= ROWS && count.min(first + taken * ROWS) <= readable;
        let (rows, apart) = if is_within {
            (starts.map(|start| bytes[start * stride..].as_ptr()), stride)
        } else {
            copies.clear();
            for row in starts.iter().take(taken).flat_map(|&start| start..start + ROWS) {
                let row = &bytes[row.min(count - 1) * stride..];
                copies.extend_from_slice(&row[..row.len().min(reach)]);
                copies.resize(copies.len().next_multiple_of(reach), 0);
            }
            (std::array::from_fn(|at| copies[at % taken * ROWS * reach..].as_ptr()), reach)
        };
        // The next rows are asked for while these are multiplied, some at every step: all at once would have to wait.
        let ahead = count.min(first + taken * ROWS);
        let all_steps = (upper_steps + steps) * groups.div_ceil(2);
        let mut step = 0;
        for group in (0..groups).step_by(2) {
            let pair = [group, (group + 1).min(groups - 1)];
            let of_pair = pair.map(|group| query[group * of_group..][..of_group].as_ptr());
            let parts = [(0, upper_steps), (upper_steps * STEP + 1, steps)];
            for ((start, steps), sums) in parts.into_iter().zip(&mut sums) {
                // SAFETY: the registers are set up.
                unsafe { multiply::clear() };
                for k in 0..steps {
                    let rows = rows.map(|row| row.wrapping_add(4 * STEP * k));
                    let words = of_pair.map(|words| words.wrapping_add(start + STEP * k));
                    // SAFETY: rows of each of the registers can be read to the end of the last step, from `bytes` or
                    // `copies`, and a group has steps of upper bytes, and then as many as a row. The registers are
                    // set up.
                    unsafe {
                        match tall {
                            true => multiply::tall(rows, apart, words[0]),
                            false => multiply::wide([rows[0], rows[1]], apart, words),
                        }
                    }
                    let rows_of = |step| ahead + taken * ROWS * step / all_steps;
                    for row in rows_of(step)..rows_of(step + 1) {
                        prefetch(bytes.as_ptr().wrapping_add(row * stride), 4 * width);
                    }
                    step += 1;
                }
                // SAFETY: the registers are set up.
                unsafe { Sums::store(sums) };
            }
            // SAFETY: both were stored just now.
            let sums = unsafe { [sums[0].assume_init_ref(), sums[1].assume_init_ref()] };
            raise(&mut most, sums, if tall { [0; 4] } else { [pair[0], pair[1], pair[0], pair[1]] });
        }
    }
    for ((best, most), words) in best.iter_mut().zip(&most).zip(query.chunks(of_group)) {
        // SAFETY: all three are 64 aligned bytes.
        unsafe {
            let [shift, surplus] = [&words[of_group - 2], &words[of_group - 1]].map(|words| load(words));
            let sums = _mm512_sub_epi32(_mm512_sllv_epi32(load(most), shift), surplus);
            let largest = _mm512_max_ps(_mm512_load_ps(best.0.as_ptr()), _mm512_cvtepi32_ps(sums));
            _mm512_store_ps(best.0.as_mut_ptr(), largest);
        }
    }
}

/// Raises the largest sums of groups.
#[target_feature(enable = "avx512f")]
#[inline]
fn raise(most: &mut [Words], [upper, lower]: [&Sums<4>; 2], groups: [usize; 4]) {
    for ((upper, lower), group) in upper.0.iter().zip(&lower.0).zip(groups) {
        let mut largest = load(&most[group]);
        for (upper, lower) in upper.iter().zip(lower) {
            let sums = _mm512_add_epi32(_mm512_slli_epi32::<UPPER>(load(upper)), load(lower));
            largest = _mm512_max_epi32(largest, sums);
        }
        // SAFETY: 64 aligned bytes.
        unsafe { _mm512_store_si512(most[group].0.as_mut_ptr().cast(), largest) };
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(words: &Words) -> __m512i {
    // SAFETY: 64 aligned bytes.
    unsafe { _mm512_load_si512(words.0.as_ptr().cast()) }
}

/// Asks for some bytes to be brought into the second cache.
#[inline(always)]
fn prefetch(from: *const u8, bytes: usize) {
    for at in (0..bytes + 63).step_by(64) {
        // SAFETY: a prefetch has no effect beyond the caches, wherever it points.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.wrapping_add(at.min(bytes - 1)).cast()) };
    }
}
