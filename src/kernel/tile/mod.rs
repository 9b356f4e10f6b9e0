//! Inner products of a block of record rows with a block of query rows, and each query row's best so far, in one pass.
//!
//! Query rows are [packed](PackedRows) sixteen to a group, one to a lane, so that one number of a record row meets
//! sixteen query rows at once and a maximum over record rows is a maximum of vectors. The driver here is generic over
//! [`Vector`]; the files beside it say what a vector is on each instruction set. A step holds the sums of some record
//! rows times some groups in registers:
//!
//! | level | step | 249 x 249 x 64 | 125 x 125 x 96 | 249 x 249 x 512 |
//! |---|---|---|---|---|
//! | `avx512` | 6 rows x 4 groups | 98 | 102 | 104 |
//! | `avx2` | 6 rows x 1 group | 98 | 96 | 97 |
//! | `scalar` | 4 rows x 1 group | 31 | 32 | 31 |
//! | the `gemm` crate, without maxima | | 93 | 94 | 75 |
//!
//! GFLOP/s of one thread of an AMD EPYC with AVX-512 (Zen 4, whose 512-bit operations take two turns: about 110 at
//! most), median of 150 interleaved runs by the thread's own clock on a loaded machine. `cargo bench
//! -p otolith --bench maxsim` repeats it by the wall clock; there `drop` is a tile with the norms and the
//! bound, 4 to 7 % more.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod vector;

use super::dot::CHUNK;
use super::level::Level;
use crate::matrix::MatrixView;
use std::ops::Range;
use vector::Vector;

/// Query rows in a group.
pub const LANES: usize = 16;

/// One number for each query row of a group, aligned as the widest vectors like it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub struct Lanes(pub [f32; LANES]);

/// Rows of a query, sixteen side by side: lane `i % 16` of `lanes[i / 16 * dim + k]` is number `k` of row `i`. Rows
/// of zeros fill the last group.
#[derive(Clone, Debug)]
pub struct PackedRows {
    dim: usize,
    lanes: Vec<Lanes>,
}

impl PackedRows {
    /// Copies the rows.
    pub fn new(matrix: MatrixView<'_>) -> PackedRows {
        let dim = matrix.dim();
        let mut lanes = vec![Lanes([0.0; LANES]); matrix.rows().div_ceil(LANES) * dim];
        for (index, row) in matrix.iter().enumerate() {
            let group = &mut lanes[index / LANES * dim..][..dim];
            group.iter_mut().zip(row).for_each(|(lanes, &value)| lanes.0[index % LANES] = value);
        }
        PackedRows { dim, lanes }
    }

    /// Groups of rows, the last one perhaps not full.
    pub fn groups(&self) -> usize {
        self.lanes.len() / self.dim
    }
}

/// Rows of a record, and what their inner products `p` become: `p * scale + offset`.
#[derive(Clone, Copy, Debug)]
pub struct ScaledRows<'a> {
    /// The numbers, row after row.
    pub values: &'a [f32],
    /// A factor for each row.
    pub scales: &'a [f32],
    /// A summand for each row.
    pub offsets: &'a [f32],
}

/// Fills `out[row * groups.len() + group]` with the scaled inner products of each record row and each query row of
/// those groups, and raises `best[group]` to the largest of them.
///
/// # Panics
/// When the slices' lengths do not fit each other.
pub fn tile(query: &PackedRows, groups: Range<usize>, rows: ScaledRows<'_>, out: &mut [Lanes], best: &mut [Lanes]) {
    tile_at(Level::current(), query, groups, rows, out, best);
}

/// [`tile`] with the instructions of a level that is not above the machine's.
fn tile_at(
    level: Level,
    query: &PackedRows,
    groups: Range<usize>,
    rows: ScaledRows<'_>,
    out: &mut [Lanes],
    best: &mut [Lanes],
) {
    let (dim, count) = (query.dim, rows.scales.len());
    assert!(rows.values.len() == count * dim && rows.offsets.len() == count, "rows of another length");
    assert!(out.len() == count * groups.len() && best.len() == groups.len(), "the tile has another size");
    let block = Block { query: &query.lanes[groups.start * dim..groups.end * dim], dim, rows, out, best };
    match level {
        Level::Scalar => block.run::<[f32; LANES], 4>(),
        // SAFETY: `Level` names only what the machine has.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2::run(block) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512::run(block) },
    }
}

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
fn reaching_at(level: Level, tile: &[Lanes], cuts: &[Lanes], found: &mut Vec<Reaching>) {
    assert!(!cuts.is_empty() && tile.len().is_multiple_of(cuts.len()), "the tile has another width");
    found.clear();
    match level {
        Level::Scalar => find::<[f32; LANES]>(tile, cuts, found),
        // SAFETY: `Level` names only what the machine has.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2::reaching(tile, cuts, found) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512::reaching(tile, cuts, found) },
    }
}

#[inline(always)]
fn find<V: Vector>(tile: &[Lanes], cuts: &[Lanes], found: &mut Vec<Reaching>) {
    for (row, values) in tile.chunks_exact(cuts.len()).enumerate() {
        for (group, (values, cut)) in values.iter().zip(cuts).enumerate() {
            let lanes = V::load(values).reaches(V::load(cut));
            if lanes != 0 {
                found.push(Reaching { at: row * cuts.len() + group, lanes });
            }
        }
    }
}

/// What a tile is computed from and into. The lengths fit each other.
struct Block<'a> {
    query: &'a [Lanes],
    dim: usize,
    rows: ScaledRows<'a>,
    out: &'a mut [Lanes],
    best: &'a mut [Lanes],
}

impl Block<'_> {
    /// Steps through the block, `R` record rows at a time and then one by one. The record is read once, the query
    /// (which stays in the second-level cache) once for every `R` rows.
    #[inline(always)]
    fn run<V: Vector, const R: usize>(mut self) {
        let count = self.rows.scales.len();
        for start in (0..self.dim).step_by(CHUNK) {
            let columns = start..self.dim.min(start + CHUNK);
            let whole = count - count % R;
            for row in (0..whole).step_by(R) {
                self.strip::<V, R>(row, columns.clone());
            }
            for row in whole..count {
                self.strip::<V, 1>(row, columns.clone());
            }
        }
    }

    /// `R` record rows against all groups.
    #[inline(always)]
    fn strip<V: Vector, const R: usize>(&mut self, row: usize, columns: Range<usize>) {
        let mut group = 0;
        while group < self.best.len() {
            let step = V::GROUPS.min(self.best.len() - group);
            match step {
                4 => self.step::<V, R, 4>(row, group, columns.clone()),
                3 => self.step::<V, R, 3>(row, group, columns.clone()),
                2 => self.step::<V, R, 2>(row, group, columns.clone()),
                _ => self.step::<V, R, 1>(row, group, columns.clone()),
            }
            group += step.min(4);
        }
    }

    /// `R` record rows against `G` groups: their sums stay in registers over these columns.
    #[inline(always)]
    fn step<V: Vector, const R: usize, const G: usize>(&mut self, row: usize, group: usize, columns: Range<usize>) {
        let (dim, len) = (self.dim, columns.len());
        let query: [&[Lanes]; G] = std::array::from_fn(|g| &self.query[(group + g) * dim + columns.start..][..len]);
        let rows: [&[f32]; R] = std::array::from_fn(|r| &self.rows.values[(row + r) * dim + columns.start..][..len]);
        let mut sums = [[V::splat(0.0); G]; R];
        for k in 0..len {
            let mut numbers = [V::splat(0.0); G];
            for (numbers, query) in numbers.iter_mut().zip(&query) {
                *numbers = V::load(&query[k]);
            }
            for (sums, row) in sums.iter_mut().zip(&rows) {
                let value = V::splat(row[k]);
                for (sum, &numbers) in sums.iter_mut().zip(&numbers) {
                    *sum = numbers.mul_add(value, *sum);
                }
            }
        }
        for (row, sums) in (row..).zip(sums) {
            let out = &mut self.out[row * self.best.len() + group..][..G];
            let best = &mut self.best[group..][..G];
            for ((out, best), mut sum) in out.iter_mut().zip(best).zip(sums) {
                if columns.start > 0 {
                    sum = sum.add(V::load(out));
                }
                if columns.end == dim {
                    sum = sum.mul_add(V::splat(self.rows.scales[row]), V::splat(self.rows.offsets[row]));
                    V::load(best).max(sum).store(best);
                }
                sum.store(out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|k| ((k * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
    }

    #[test]
    fn every_level_gives_all_products_and_their_maxima() {
        for (queries, count, dim) in [
            (1, 1, 1),
            (16, 6, 3),
            (17, 7, 64),
            (33, 4, 5),
            (49, 13, 2),
            (70, 3, 2500),
            (20, 7, 2500),
            (130, 12, 40),
            (5, 0, 4),
        ] {
            let (query, values) = (numbers(queries * dim, 1), numbers(count * dim, 2));
            let (scales, offsets) = (numbers(count, 3), numbers(count, 4));
            let packed = PackedRows::new(MatrixView::new(queries, dim, &query).unwrap());
            let rows = ScaledRows { values: &values, scales: &scales, offsets: &offsets };
            for level in Level::available() {
                // The last groups only, as a caller with a wide query asks for them.
                let groups = packed.groups() / 2..packed.groups();
                let mut out = vec![Lanes([9.0; LANES]); count * groups.len()];
                let mut best = vec![Lanes([-0.5; LANES]); groups.len()];
                tile_at(level, &packed, groups.clone(), rows, &mut out, &mut best);
                for query_row in groups.start * LANES..queries {
                    let (group, lane) = (query_row / LANES - groups.start, query_row % LANES);
                    let mut largest = -0.5f32;
                    for row in 0..count {
                        let found = out[row * groups.len() + group].0[lane];
                        let (a, b) = (&query[query_row * dim..][..dim], &values[row * dim..][..dim]);
                        let product =
                            super::super::ordered::dot(a, b) * f64::from(scales[row]) + f64::from(offsets[row]);
                        let error = (f64::from(found) - product).abs();
                        assert!(error < 1e-6 * dim as f64, "{level:?} {queries} x {count} x {dim}: off by {error}");
                        largest = largest.max(found);
                    }
                    assert_eq!(best[group].0[lane], largest, "{level:?} {queries} x {count} x {dim}");
                }
            }
        }
    }

    #[test]
    fn every_level_finds_what_reaches_its_cut() {
        let lanes = |seed| Lanes(numbers(LANES, seed).try_into().unwrap());
        let tile: Vec<Lanes> =
            (0..35).map(|seed| if seed % 3 == 0 { Lanes([-9.0; LANES]) } else { lanes(seed) }).collect();
        let cuts: Vec<Lanes> = (100..105).map(lanes).chain([tile[5], Lanes([f32::INFINITY; LANES])]).collect();
        let mut expected = Vec::new();
        for (at, values) in tile.iter().enumerate() {
            let reach = |lane: &usize| values.0[*lane] >= cuts[at % cuts.len()].0[*lane];
            let lanes = (0..LANES).filter(reach).fold(0, |bits, lane| bits | 1 << lane);
            expected.extend(Some(Reaching { at, lanes }).filter(|_| lanes != 0));
        }
        assert!(expected.contains(&Reaching { at: 5, lanes: u16::MAX }), "a value reaches a cut equal to it");
        for level in Level::available() {
            let mut found = vec![Reaching { at: 0, lanes: 1 }];
            reaching_at(level, &tile, &cuts, &mut found);
            assert_eq!(found, expected, "{level:?}");
        }
    }
}
