//! Which numbers of a tile reach their cuts.

#[cfg(target_arch = "aarch64")]
use super::neon;
use super::vector::Vector;
use super::{LANES, Lanes};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
use crate::kernel::level::{Floats, Level};

/// Numbers of a group that reach their cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reaching {
    /// Index of the group in the tile.
    pub at: usize,
    /// A bit for each lane.
    pub lanes: u16,
}

/// Finds the numbers of a tile that are not below their group's cuts, in the order of the tile. Few of a tile do, so
/// this is a pass over it and little else.
///
/// # Panics
/// When the tile is not made of rows of as many groups as there are cuts.
pub fn reaching(tile: &[Lanes], cuts: &[Lanes], found: &mut Vec<Reaching>) {
    reaching_at(Level::current(), tile, cuts, found);
}

/// [`reaching`] with the instructions of a level that is not above the machine's.
pub(super) fn reaching_at(level: Level, tile: &[Lanes], cuts: &[Lanes], found: &mut Vec<Reaching>) {
    assert!(!cuts.is_empty() && tile.len().is_multiple_of(cuts.len()), "the tile has another width");
    found.clear();
    match level.floats() {
        Floats::Scalar => find::<[f32; LANES]>(tile, cuts, found),
        // SAFETY: `Level` names only what the machine has.
        #[cfg(target_arch = "x86_64")]
        Floats::Avx2 => unsafe { avx2::reaching(tile, cuts, found) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Floats::Avx512 => unsafe { avx512::reaching(tile, cuts, found) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Floats::Neon => unsafe { neon::reaching(tile, cuts, found) },
    }
}

#[inline(always)]
pub(super) fn find<V: Vector>(tile: &[Lanes], cuts: &[Lanes], found: &mut Vec<Reaching>) {
    for (row, values) in tile.chunks_exact(cuts.len()).enumerate() {
        for (group, (values, cut)) in values.iter().zip(cuts).enumerate() {
            let lanes = V::load(values).reaches(V::load(cut));
            if lanes != 0 {
                found.push(Reaching { at: row * cuts.len() + group, lanes });
            }
        }
    }
}
