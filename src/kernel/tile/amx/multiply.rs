//! The instructions. Registers 0 to 5 hold sums.

use super::ROWS;
use crate::kernel::tile::Words;
use std::arch::asm;
use std::mem::MaybeUninit;

/// Bytes of a register.
const REGISTER: usize = 1024;

/// What four registers of sums, or six, are stored to: of each a row for each record row, of one sum for each query row
/// of a group.
#[repr(C, align(64))]
pub(super) struct Sums<const N: usize>(pub(super) [[Words; ROWS]; N]);

impl<const N: usize> Sums<N> {
    /// Stores the registers.
    ///
    /// # Safety
    /// They are set up.
    #[inline(always)]
    pub(super) unsafe fn store(sums: &mut MaybeUninit<Self>) -> &Self {
        const { assert!(N == 4 || N == 6) };
        let at = sums.as_mut_ptr();
        // SAFETY: all 1,024 bytes of each of the registers are written.
        unsafe {
            asm!(
                "tilestored [{sums} + {line}], tmm0",
                "tilestored [{sums} + {line} + {register}], tmm1",
                "tilestored [{sums} + {line} + 2 * {register}], tmm2",
                "tilestored [{sums} + {line} + 3 * {register}], tmm3",
                sums = in(reg) at,
                line = in(reg) 64usize,
                register = const REGISTER,
                options(nostack, preserves_flags)
            );
            if N == 6 {
                asm!(
                    "tilestored [{sums} + {line} + 4 * {register}], tmm4",
                    "tilestored [{sums} + {line} + 5 * {register}], tmm5",
                    sums = in(reg) at,
                    line = in(reg) 64usize,
                    register = const REGISTER,
                    options(nostack, preserves_flags)
                );
            }
            sums.assume_init_ref()
        }
    }
}

/// How many rows, of how many bytes, each of the registers has.
#[repr(C, align(64))]
pub(super) struct Shapes(pub(super) [u8; 64]);

/// All of sixteen rows of 64 bytes.
const FULL: Shapes = {
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

impl Shapes {
    /// # Safety
    /// [`super::is_there`] was true.
    pub(super) unsafe fn current() -> Shapes {
        let mut shapes = Shapes([0; 64]);
        // SAFETY: writes 64 bytes; the machine has the registers.
        unsafe { asm!("sttilecfg [{}]", in(reg) shapes.0.as_mut_ptr(), options(nostack, preserves_flags)) };
        shapes
    }

    /// # Safety
    /// [`super::is_there`] was true, and these are shapes that it has.
    pub(super) unsafe fn set(&self) {
        // SAFETY: reads 64 bytes; the machine has the registers.
        unsafe { asm!("ldtilecfg [{}]", in(reg) self.0.as_ptr(), options(nostack, readonly, preserves_flags)) };
    }
}

/// The matrix registers while they are in use. Compiled code has no use for them, and does not keep them. But somebody
/// who uses them by hand may have called us, and counts on their shapes.
pub(super) struct Registers(Shapes);

impl Registers {
    /// # Safety
    /// [`super::is_there`] was true.
    pub(super) unsafe fn new() -> Registers {
        // SAFETY: as promised by the caller.
        unsafe {
            let before = Shapes::current();
            FULL.set();
            Registers(before)
        }
    }
}

impl Drop for Registers {
    fn drop(&mut self) {
        // SAFETY: no sums are wanted any more. Registers that are not released would be saved by the system with every
        // change of threads.
        unsafe {
            match self.0.0[0] {
                0 => asm!("tilerelease", options(nostack, nomem, preserves_flags)),
                _ => self.0.set(),
            }
        }
    }
}

/// Clears all sums.
///
/// # Safety
/// The registers are set up.
#[inline(always)]
pub(super) unsafe fn clear() {
    // SAFETY: as promised by the caller.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "tilezero tmm4",
            "tilezero tmm5",
            options(nostack, nomem, preserves_flags)
        );
    }
}

/// Adds the products of 2 times 16 record rows with 2 groups over a step: of the first rows with both groups, then of
/// the second ones.
///
/// # Safety
/// The registers are set up; a step of sixteen rows can be read from each pointer on, and one of each group.
#[inline(always)]
pub(super) unsafe fn wide(rows: [*const u8; 2], stride: usize, query: [*const Words; 2]) {
    // SAFETY: as promised by the caller.
    unsafe {
        asm!(
            "tileloadd tmm6, [{query0} + {line}]",
            "tileloadd tmm4, [{rows0} + {stride}]",
            "tileloadd tmm7, [{query1} + {line}]",
            "tdpbusd tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{rows1} + {stride}]",
            "tdpbusd tmm1, tmm4, tmm7",
            "tdpbusd tmm2, tmm5, tmm6",
            "tdpbusd tmm3, tmm5, tmm7",
            rows0 = in(reg) rows[0],
            rows1 = in(reg) rows[1],
            query0 = in(reg) query[0],
            query1 = in(reg) query[1],
            stride = in(reg) stride,
            line = in(reg) 64usize,
            options(nostack, readonly, preserves_flags)
        );
    }
}

/// The same of 4 times 16 record rows with one group.
///
/// # Safety
/// As [`wide`].
#[inline(always)]
pub(super) unsafe fn tall(rows: [*const u8; 4], stride: usize, query: *const Words) {
    // SAFETY: as promised by the caller.
    unsafe {
        asm!(
            "tileloadd tmm7, [{query} + {line}]",
            "tileloadd tmm4, [{rows0} + {stride}]",
            "tdpbusd tmm0, tmm4, tmm7",
            "tileloadd tmm5, [{rows1} + {stride}]",
            "tdpbusd tmm1, tmm5, tmm7",
            "tileloadd tmm6, [{rows2} + {stride}]",
            "tdpbusd tmm2, tmm6, tmm7",
            "tileloadd tmm4, [{rows3} + {stride}]",
            "tdpbusd tmm3, tmm4, tmm7",
            rows0 = in(reg) rows[0],
            rows1 = in(reg) rows[1],
            rows2 = in(reg) rows[2],
            rows3 = in(reg) rows[3],
            query = in(reg) query,
            stride = in(reg) stride,
            line = in(reg) 64usize,
            options(nostack, readonly, preserves_flags)
        );
    }
}

/// Adds the products of 2 times 16 record rows with one group over some steps, given the upper bytes and the lower ones
/// of all: of upper bytes with upper ones, of upper with lower and lower with upper, of lower with lower, each of the
/// first rows and then of the second ones. (The loop is here because around a step it was a third slower.)
///
/// # Safety
/// As [`wide`], for all the steps.
#[inline(always)]
pub(super) unsafe fn halves(
    upper: [*const u8; 2],
    lower: [*const u8; 2],
    stride: usize,
    query: [*const Words; 2],
    steps: usize,
) {
    // SAFETY: as promised by the caller.
    unsafe {
        asm!(
            "2:",
            "tileloadd tmm7, [{query_upper} + {line}]",
            "tileloadd tmm6, [{upper0} + {stride}]",
            "tdpbssd tmm0, tmm6, tmm7",
            "tileloadd tmm6, [{upper1} + {stride}]",
            "tdpbssd tmm1, tmm6, tmm7",
            "tileloadd tmm6, [{lower0} + {stride}]",
            "tdpbssd tmm2, tmm6, tmm7",
            "tileloadd tmm6, [{lower1} + {stride}]",
            "tdpbssd tmm3, tmm6, tmm7",
            "tileloadd tmm7, [{query_lower} + {line}]",
            "tdpbssd tmm5, tmm6, tmm7",
            "tileloadd tmm6, [{upper0} + {stride}]",
            "tdpbssd tmm2, tmm6, tmm7",
            "tileloadd tmm6, [{lower0} + {stride}]",
            "tdpbssd tmm4, tmm6, tmm7",
            "tileloadd tmm6, [{upper1} + {stride}]",
            "tdpbssd tmm3, tmm6, tmm7",
            "add {upper0}, 64",
            "add {upper1}, 64",
            "add {lower0}, 64",
            "add {lower1}, 64",
            "add {query_upper}, {register}",
            "add {query_lower}, {register}",
            "dec {steps}",
            "jnz 2b",
            upper0 = inout(reg) upper[0] => _,
            upper1 = inout(reg) upper[1] => _,
            lower0 = inout(reg) lower[0] => _,
            lower1 = inout(reg) lower[1] => _,
            query_upper = inout(reg) query[0] => _,
            query_lower = inout(reg) query[1] => _,
            steps = inout(reg) steps => _,
            stride = in(reg) stride,
            line = in(reg) 64usize,
            register = const REGISTER,
            options(nostack, readonly)
        );
    }
}
