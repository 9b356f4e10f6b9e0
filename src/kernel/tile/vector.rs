//! Sixteen numbers that are computed with at once.

use super::{LANES, Lanes};

/// Sixteen numbers in registers.
///
/// Methods are inlined into the function that enables their instructions; implementors are made only below such a
/// function, on a machine that has them.
pub(super) trait Vector: Copy {
    /// Groups of query rows in one step: at most 4.
    const GROUPS: usize;

    fn splat(value: f32) -> Self;
    fn load(lanes: &Lanes) -> Self;
    fn store(self, lanes: &mut Lanes);
    fn add(self, other: Self) -> Self;
    /// `self * factor + summand`, rounded once or twice.
    fn mul_add(self, factor: Self, summand: Self) -> Self;
    fn max(self, other: Self) -> Self;
    /// A bit for each number that is not below the other.
    fn reaches(self, other: Self) -> u16;
}

/// Plain numbers, for the compiler to make of what it can.
impl Vector for [f32; LANES] {
    const GROUPS: usize = 1;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        [value; LANES]
    }

    #[inline(always)]
    fn load(lanes: &Lanes) -> Self {
        lanes.0
    }

    #[inline(always)]
    fn store(self, lanes: &mut Lanes) {
        lanes.0 = self;
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        std::array::from_fn(|lane| self[lane] + other[lane])
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, summand: Self) -> Self {
        // Not `f32::mul_add`: a call of a function, where the machine cannot.
        std::array::from_fn(|lane| self[lane] * factor[lane] + summand[lane])
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        std::array::from_fn(|lane| if other[lane] > self[lane] { other[lane] } else { self[lane] })
    }

    #[inline(always)]
    fn reaches(self, other: Self) -> u16 {
        (0..LANES).fold(0, |bits, lane| bits | u16::from(self[lane] >= other[lane]) << lane)
    }
}
