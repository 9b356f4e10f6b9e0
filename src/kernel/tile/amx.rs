//! Matrix registers (AMX), of sixteen rows of 64 bytes: one instruction multiplies the rows of one, bytes of sixteen
//! record rows, by the columns of another, bytes of sixteen query rows, and adds to 256 sums in a third. Sums are
//! stored, and vectors of 512 bits do the rest. (Doing that for one pair of groups while the next is multiplied, or
//! between its steps, was no faster.)
//!
//! Sums cannot be shifted between two products, so there are several where numbers have more than a byte:
//! - of a query for [planes](super::largest) two. The first 64 numbers of a row are 256 times an upper byte and a lower
//!   one, the others are one byte, and all are multiples of a power of two, the row's own, that makes the others fit
//!   (compare [`super::bytes`]). One sum is of the upper bytes, one of the rest;
//! - of numbers of 16 bits, those of records rounded on the way, three: of upper bytes with upper ones, of upper with
//!   lower ones and the other way round, and of lower with lower ones.

use super::bytes::Part;
use super::{Block, LANES, Scaling, Source, Words};
use std::arch::asm;
use std::arch::x86_64::*;
use std::sync::OnceLock;

/// Words of a row that one product takes.
const STEP: usize = 16;
/// Bits that upper bytes are shifted by.
const UPPER: u32 = 8;
/// Record rows of a register.
const ROWS: usize = 16;
/// Bytes of a register.
const REGISTER: usize = 1024;

/// Whether the machine has matrix registers for bytes, and the system lets this process use them, which Linux wants to
/// be asked for.
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

/// The parts of rows of so many words.
pub(super) fn parts(width: usize) -> Vec<Part> {
    let lower = STEP + 1;
    let shifted = lower + width.next_multiple_of(STEP) + 1;
    vec![
        Part { row: 0, query: 0, len: width.min(STEP) },
        Part { row: 0, query: lower, len: width },
        // Nothing more, but sums are shifted to the row's unit.
        Part { row: 0, query: shifted, len: 0 },
    ]
}

/// Bits by which the numbers of a row are shifted, so that all but the first fit a byte.
fn shift(numbers: impl Iterator<Item = f64>) -> u32 {
    let largest = numbers.skip(4 * STEP).fold(0.0f64, |most, number| most.max(number.abs()));
    (0..UPPER).find(|&shift| (largest / f64::from(1u32 << shift)).round_ties_even() <= 127.0).unwrap_or(UPPER)
}

/// Rounds the numbers of a row, of at most [`SHORT_SIZE`](super::SHORT_SIZE), to such as [`pack`] keeps.
pub(super) fn round(numbers: &mut [f64]) {
    let unit = f64::from(1u32 << shift(numbers.iter().copied()));
    numbers.iter_mut().for_each(|number| *number = (*number / unit).round_ties_even() * unit);
}

/// Puts the numbers of a row, rounded by [`round`], into words.
pub(super) fn pack(row: &[i16]) -> Vec<u32> {
    let shift = shift(row.iter().map(|&number| f64::from(number)));
    let words = |numbers: &[i16], byte: &dyn Fn(i16) -> u8| {
        let mut bytes: Vec<u8> = numbers.iter().map(|&number| byte(number >> shift)).collect();
        bytes.resize(bytes.len().next_multiple_of(4 * STEP), 0);
        bytes.as_chunks::<4>().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect::<Vec<u32>>()
    };
    let mut all = words(&row[..row.len().min(4 * STEP)], &upper);
    all.push(UPPER);
    all.extend(words(row, &|number| number as u8));
    all.extend([shift, (128 * row.iter().map(|&number| i32::from(number)).sum::<i32>()) as u32]);
    all
}

/// Runs a block of whole numbers, those of the query in bytes as [`pack`] lays them.
///
/// # Safety
/// [`is_there`] was true, and the machine has AVX-512 with BW.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn run(block: Block<'_>) {
    let Source::Unsigned { bytes, stride } = block.rows else { unreachable!("rows of another kind") };
    let Block { query, width, count, best, .. } = block;
    let (groups, of_group, steps) = (best.len(), query.len() / best.len().max(1), width.div_ceil(STEP));
    assert!(of_group == STEP + steps * STEP + 3 && bytes.len() >= (count * stride).saturating_sub(stride) + 4 * width);
    if count == 0 {
        return;
    }
    let mut most = vec![Words([i32::MIN as u32; LANES]); groups];
    // Rows that can be read to the end of the last step.
    let reach = 4 * STEP * steps;
    let readable = bytes.len().checked_sub(reach).map_or(0, |rest| count.min(rest / stride + 1));
    let tall = groups == 1;
    let taken = if tall { 4 } else { 2 };
    let (mut copies, mut sums) = (Vec::new(), [const { Sums::<4>::new() }; 2]);
    let _registers = Registers::new();
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
        // The next rows are asked for while these are multiplied, some at a time.
        let mut ahead = first + taken * ROWS;
        let some = (taken * ROWS).div_ceil(groups.div_ceil(2));
        for group in (0..groups).step_by(2) {
            let pair = [group, (group + 1).min(groups - 1)];
            let upper = pair.map(|group| query[group * of_group..][..of_group].as_ptr());
            let lower = upper.map(|upper| upper.wrapping_add(STEP + 1));
            // SAFETY: rows of each of the registers can be read to the end of the last step, from `bytes` or `copies`,
            // and a group has a step of upper bytes, and then as many as a row. The registers are set up.
            unsafe {
                for ((query, steps), sums) in [(upper, 1), (lower, steps)].into_iter().zip(&mut sums) {
                    match tall {
                        true => multiply_tall(rows, apart, query[0], steps, sums),
                        false => multiply_wide([rows[0], rows[1]], apart, query, steps, sums),
                    }
                }
            }
            for row in ahead..ahead + some {
                prefetch(bytes.as_ptr().wrapping_add(row * stride), 4 * width);
            }
            ahead += some;
            raise(&mut most, [&sums[0], &sums[1]], if tall { [0; 4] } else { [pair[0], pair[1], pair[0], pair[1]] });
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

/// Runs a block of whole numbers of 16 bits, those of the query as [`pack_short`] lays them.
///
/// # Safety
/// As [`run`].
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn run_short(block: Block<'_>) {
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
    let mut sums = Sums::<6>::new();
    let _registers = Registers::new();
    for first in (0..count).step_by(2 * ROWS) {
        // The last rows, some of them once more.
        let starts = [first, first + ROWS].map(|start| start.min(count.saturating_sub(ROWS)));
        let rows = starts.iter().flat_map(|&start| start..start + ROWS);
        for (row, halves) in rows.zip(halves.chunks_exact_mut(2 * steps)) {
            if row < count {
                split(&values[row * dim..][..dim], factors[row], halves.split_at_mut(steps));
            }
        }
        let rows = [0, ROWS].map(|row| halves[row * 2 * steps..].as_ptr().cast::<u8>());
        for group in 0..groups {
            let of_group = query[2 * group * of_half..].as_ptr();
            // SAFETY: there are sixteen rows of twice as many steps from each pointer on, and twice as many of the group.
            // The registers are set up.
            unsafe { multiply_halves(rows, stride, of_group, steps, &mut sums) };
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
pub(super) fn pack_short(row: &[i16]) -> Vec<u32> {
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

/// A number without its lower byte, which is signed, in units of 256.
fn upper(number: i16) -> u8 {
    ((i32::from(number) - i32::from(number as i8)) >> UPPER) as u8
}

/// Rounds numbers, times a factor, to whole ones, and divides these into upper bytes and lower ones. Of each 64 the
/// words are in the order in which instructions that narrow numbers leave them: those of the 1st, 5th, 9th and 13th four
/// numbers, then of the 2nd, 6th, and so on.
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

/// What registers of sums are stored to: of each a row for each record row, of one sum for each query row of a group.
#[repr(C, align(64))]
struct Sums<const N: usize>([[Words; ROWS]; N]);

impl<const N: usize> Sums<N> {
    const fn new() -> Self {
        Sums([[Words([0; LANES]); ROWS]; N])
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

/// The matrix registers while they are in use. Compiled code has no use for them, and does not keep them.
struct Registers;

impl Registers {
    fn new() -> Registers {
        /// All of sixteen rows of 64 bytes.
        #[repr(C, align(64))]
        struct Shapes([u8; 64]);
        const SHAPES: Shapes = {
            let mut shapes = [0; 64];
            shapes[0] = 1;
            let mut at = 0;
            while at < 8 {
                shapes[16 + 2 * at] = 64;
                shapes[48 + at] = ROWS as u8;
                at += 1;
            }
            Shapes(shapes)
        };
        // SAFETY: reads 64 bytes; only a machine that has the registers comes here.
        unsafe { asm!("ldtilecfg [{}]", in(reg) SHAPES.0.as_ptr(), options(nostack, readonly, preserves_flags)) };
        Registers
    }
}

impl Drop for Registers {
    fn drop(&mut self) {
        // SAFETY: no sums are wanted any more. Without this the system would save them with every change of threads.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
    }
}

/// Sums of products of 2 times 16 record rows with 2 groups, over some steps: of the first rows with both groups, then
/// of the second ones.
///
/// # Safety
/// The registers are set up; sixteen rows from each pointer on, and the steps of both groups, can be read.
#[inline(always)]
unsafe fn multiply_wide(
    rows: [*const u8; 2],
    stride: usize,
    query: [*const Words; 2],
    steps: usize,
    sums: &mut Sums<4>,
) {
    // SAFETY: as promised by the caller; four registers of 1,024 bytes are stored.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "tileloadd tmm6, [{query0} + {line}]",
            "tileloadd tmm4, [{rows0} + {stride}]",
            "tileloadd tmm7, [{query1} + {line}]",
            "tdpbusd tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{rows1} + {stride}]",
            "tdpbusd tmm1, tmm4, tmm7",
            "tdpbusd tmm2, tmm5, tmm6",
            "tdpbusd tmm3, tmm5, tmm7",
            "add {rows0}, 64",
            "add {rows1}, 64",
            "add {query0}, {register}",
            "add {query1}, {register}",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{sums} + {line}], tmm0",
            "tilestored [{sums} + {line} + {register}], tmm1",
            "tilestored [{sums} + {line} + 2 * {register}], tmm2",
            "tilestored [{sums} + {line} + 3 * {register}], tmm3",
            rows0 = inout(reg) rows[0] => _,
            rows1 = inout(reg) rows[1] => _,
            query0 = inout(reg) query[0] => _,
            query1 = inout(reg) query[1] => _,
            steps = inout(reg) steps => _,
            sums = in(reg) sums.0.as_mut_ptr(),
            stride = in(reg) stride,
            line = in(reg) 64usize,
            register = const REGISTER,
            options(nostack)
        );
    }
}

/// The same of 4 times 16 record rows with one group.
///
/// # Safety
/// As [`multiply_wide`].
#[inline(always)]
unsafe fn multiply_tall(rows: [*const u8; 4], stride: usize, query: *const Words, steps: usize, sums: &mut Sums<4>) {
    // SAFETY: as promised by the caller; four registers of 1,024 bytes are stored.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "tileloadd tmm7, [{query} + {line}]",
            "tileloadd tmm4, [{rows0} + {stride}]",
            "tdpbusd tmm0, tmm4, tmm7",
            "tileloadd tmm5, [{rows1} + {stride}]",
            "tdpbusd tmm1, tmm5, tmm7",
            "tileloadd tmm6, [{rows2} + {stride}]",
            "tdpbusd tmm2, tmm6, tmm7",
            "tileloadd tmm4, [{rows3} + {stride}]",
            "tdpbusd tmm3, tmm4, tmm7",
            "add {rows0}, 64",
            "add {rows1}, 64",
            "add {rows2}, 64",
            "add {rows3}, 64",
            "add {query}, {register}",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{sums} + {line}], tmm0",
            "tilestored [{sums} + {line} + {register}], tmm1",
            "tilestored [{sums} + {line} + 2 * {register}], tmm2",
            "tilestored [{sums} + {line} + 3 * {register}], tmm3",
            rows0 = inout(reg) rows[0] => _,
            rows1 = inout(reg) rows[1] => _,
            rows2 = inout(reg) rows[2] => _,
            rows3 = inout(reg) rows[3] => _,
            query = inout(reg) query => _,
            steps = inout(reg) steps => _,
            sums = in(reg) sums.0.as_mut_ptr(),
            stride = in(reg) stride,
            line = in(reg) 64usize,
            register = const REGISTER,
            options(nostack)
        );
    }
}

/// Sums of products of 2 times 16 record rows with one group, both with as many steps of upper bytes and then of lower
/// ones: of upper bytes with upper ones, of upper with lower and lower with upper, of lower with lower, each of the
/// first rows and then of the second ones.
///
/// # Safety
/// As [`multiply_wide`].
#[inline(always)]
unsafe fn multiply_halves(rows: [*const u8; 2], stride: usize, query: *const Words, steps: usize, sums: &mut Sums<6>) {
    // SAFETY: as promised by the caller; six registers of 1,024 bytes are stored.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "tilezero tmm4",
            "tilezero tmm5",
            "2:",
            "tileloadd tmm7, [{query} + {line}]",
            "tileloadd tmm6, [{rows0} + {stride}]",
            "tdpbssd tmm0, tmm6, tmm7",
            "tileloadd tmm6, [{rows1} + {stride}]",
            "tdpbssd tmm1, tmm6, tmm7",
            "tileloadd tmm6, [{lower0} + {stride}]",
            "tdpbssd tmm2, tmm6, tmm7",
            "tileloadd tmm6, [{lower1} + {stride}]",
            "tdpbssd tmm3, tmm6, tmm7",
            "tileloadd tmm7, [{lower} + {line}]",
            "tdpbssd tmm5, tmm6, tmm7",
            "tileloadd tmm6, [{rows0} + {stride}]",
            "tdpbssd tmm2, tmm6, tmm7",
            "tileloadd tmm6, [{lower0} + {stride}]",
            "tdpbssd tmm4, tmm6, tmm7",
            "tileloadd tmm6, [{rows1} + {stride}]",
            "tdpbssd tmm3, tmm6, tmm7",
            "add {rows0}, 64",
            "add {rows1}, 64",
            "add {lower0}, 64",
            "add {lower1}, 64",
            "add {query}, {register}",
            "add {lower}, {register}",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{sums} + {line}], tmm0",
            "tilestored [{sums} + {line} + {register}], tmm1",
            "tilestored [{sums} + {line} + 2 * {register}], tmm2",
            "tilestored [{sums} + {line} + 3 * {register}], tmm3",
            "tilestored [{sums} + {line} + 4 * {register}], tmm4",
            "tilestored [{sums} + {line} + 5 * {register}], tmm5",
            rows0 = inout(reg) rows[0] => _,
            rows1 = inout(reg) rows[1] => _,
            lower0 = inout(reg) rows[0].wrapping_add(64 * steps) => _,
            lower1 = inout(reg) rows[1].wrapping_add(64 * steps) => _,
            query = inout(reg) query => _,
            lower = inout(reg) query.wrapping_add(STEP * steps) => _,
            steps = inout(reg) steps => _,
            sums = in(reg) sums.0.as_mut_ptr(),
            stride = in(reg) stride,
            line = in(reg) 64usize,
            register = const REGISTER,
            options(nostack)
        );
    }
}
