//! Every level beside plain sums.

use super::packed::whole_layout;
use super::reaching::reaching_at;
use super::*;
use crate::matrix::MatrixView;

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
        let rows = ScaledRows { values: &values, scales: &scales, offsets: &offsets, factors: &[] };
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
                    let product = super::super::ordered::dot(a, b) * f64::from(scales[row]) + f64::from(offsets[row]);
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
fn products_of_whole_numbers_are_exact_at_every_level() {
    for (queries, count, dim) in
        [(1, 1, 1), (16, 6, 3), (17, 37, 64), (33, 70, 5), (70, 16, 4096), (49, 13, 2), (130, 31, 41), (5, 0, 4)]
    {
        let (query, values) = (numbers(queries * dim, 1), numbers(count * dim, 2));
        // As long as rows may be, and the first one of zeros.
        let longest = |rows: &[f32]| -> Vec<f32> {
            let norms = rows.chunks(dim).map(|row| super::super::ordered::dot(row, row).sqrt());
            norms.enumerate().map(|(n, norm)| if n == 0 { 0.0 } else { (32_000.0 / norm) as f32 }).collect()
        };
        let (own, factors) = (longest(&query), longest(&values));
        let (scales, offsets) = (numbers(count, 3), numbers(count, 4));
        let rows = ScaledRows { values: &values, scales: &scales, offsets: &offsets, factors: &factors };
        for level in Level::available() {
            let packed = PackedRows::short_at(level, MatrixView::new(queries, dim, &query).unwrap(), &own);
            let groups = packed.groups() / 2..packed.groups();
            let mut out = vec![Lanes([9.0; LANES]); count * groups.len()];
            let mut best = vec![Lanes([-0.5; LANES]); groups.len()];
            tile_at(level, &packed, groups.clone(), rows, &mut out, &mut best);
            for query_row in groups.start * LANES..queries {
                let (group, lane) = (query_row / LANES - groups.start, query_row % LANES);
                let mut largest = -0.5f32;
                for row in 0..count {
                    let found = out[row * groups.len() + group].0[lane];
                    let whole = |value: f32, factor: f32| f64::from(value * factor).round_ties_even();
                    let (a, b) = (&query[query_row * dim..][..dim], &values[row * dim..][..dim]);
                    let terms = a.iter().zip(b).map(|(&a, &b)| whole(a, own[query_row]) * whole(b, factors[row]));
                    let (sum, unit) = (terms.sum::<f64>(), packed.units[query_row / LANES].0[lane]);
                    let product = sum * f64::from(unit) * f64::from(scales[row]);
                    let error = (f64::from(found) - product - f64::from(offsets[row])).abs();
                    assert!(error <= 5e-7 * (product.abs() + 1.0), "{level:?} {queries} x {count} x {dim}: {error}");
                    largest = largest.max(found);
                }
                assert_eq!(best[group].0[lane], largest, "{level:?} {queries} x {count} x {dim}");
            }
        }
    }
}

/// Those of whole numbers for [`largest`].
#[cfg(target_arch = "x86_64")]
const LAYOUTS: [Layout; 3] = [Layout::Pairs, Layout::Bytes, Layout::Tiles];
/// The same.
#[cfg(not(target_arch = "x86_64"))]
const LAYOUTS: [Layout; 2] = [Layout::Pairs, Layout::Bytes];

#[test]
fn first_numbers_are_rounded_upwards_in_every_layout() {
    for layout in LAYOUTS {
        for dim in [8, 40, 130, 192, 193, 584] {
            for largest in [0.0, 1.0, 900.0, 31_000.0] {
                // Numbers behind the first ones that decide to what all, or those of a block, are rounded.
                let number = |at: usize| match at {
                    0..8 => 0.37 + 3_999.9 * at as f64,
                    _ => largest * ((at * 7919 % 2003) as f64 / 1001.0 - 1.0),
                };
                let given: Vec<f64> = (0..dim).map(number).collect();
                let mut rounded = given.clone();
                PackedRows::round_in(layout, &mut rounded, 8);
                for (at, (given, rounded)) in given.iter().zip(&rounded).enumerate() {
                    let (least, most) = if at < 8 { (0.0, 256.0) } else { (-128.0, 128.0) };
                    let off = rounded - given;
                    assert!((least..=most).contains(&off), "{layout:?} {dim} {largest}: {at} is off by {off}");
                }
                let row: Vec<i16> = rounded.iter().map(|&number| number as i16).collect();
                let packed = PackedRows::whole_in(layout, std::iter::once(row));
                // Its products with rows of ones but for one number.
                for at in [0, 7, dim - 1] {
                    let stride = dim.next_multiple_of(4);
                    let mut bytes = vec![129; stride];
                    bytes[at] = 255;
                    let sum: f64 = rounded.iter().sum::<f64>() + 126.0 * rounded[at];
                    for level in Level::available() {
                        let mut best = [Lanes([f32::NEG_INFINITY; LANES])];
                        let rows = ByteRows { bytes: &bytes, stride, count: 1 };
                        largest_at(level, &packed, 0..1, rows, &mut best);
                        assert_eq!(best[0].0[0], sum as f32, "{level:?} {layout:?} {dim}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_largest_products_of_bytes_are_exact_in_every_layout_at_every_level() {
    const EXTREMES: [i16; 9] = [-32_768, 32_639, 32_512, -32_639, -128, 128, 127, -127, 0];
    for queries in 1..=40 {
        for (dim, count, room) in
            [(1, 1, 1), (queries, 5, 0), (37, 6, 3), (64, 16, 64), (262, 7, 0), (120, 75, 8), (64, 40, 0)]
        {
            let stride = (dim + room as usize).next_multiple_of(4);
            let extreme = |row: usize, k: usize| match queries % 4 {
                0 => (EXTREMES[row % 9], [1, 255, 0][k % 3]),
                1 => (EXTREMES[(row + k) % 9], [255, 1, 128, 127, 129][(row + k) % 5]),
                _ => (((row * 7919 + k * 104_729) % 65_279) as i16, ((row * 31 + k * 17 + queries) % 256) as u8),
            };
            let whole = |row: usize, k: usize| extreme(row, k).0.min(32_639);
            let bytes: Vec<u8> = (0..count * stride).map(|at| extreme(at / stride, at % stride).1).collect();
            for layout in LAYOUTS {
                let row = |row: usize| {
                    let mut numbers: Vec<f64> = (0..dim).map(|k| f64::from(whole(row, k))).collect();
                    if layout != Layout::Pairs {
                        let most = f64::from(SHORT_SIZE);
                        numbers.iter_mut().for_each(|number| *number = number.clamp(-most, most));
                        PackedRows::round_in(layout, &mut numbers, 0);
                    }
                    numbers.into_iter().map(|number| number as i16).collect::<Vec<i16>>()
                };
                let rows: Vec<Vec<i16>> = (0..queries).map(row).collect();
                let packed = PackedRows::whole_in(layout, rows.iter().cloned());
                let groups = packed.groups() / 2..packed.groups();
                for level in Level::available() {
                    let mut best = vec![Lanes([f32::NEG_INFINITY; LANES]); groups.len()];
                    // With and without something behind the last row.
                    let behind = (queries + dim) % 2 * 64;
                    let mut bytes = bytes.clone();
                    bytes.resize(bytes.len() + behind, 255);
                    let of_record = ByteRows { bytes: &bytes, stride, count };
                    largest_at(level, &packed, groups.clone(), of_record, &mut best);
                    for query in groups.start * LANES..queries {
                        let product = |row: &[u8]| -> i64 {
                            let term = |(k, &byte): (usize, &u8)| i64::from(rows[query][k]) * (i64::from(byte) - 128);
                            row.iter().take(dim).enumerate().map(term).sum()
                        };
                        let largest = bytes.chunks(stride).take(count).map(product).max().unwrap();
                        let found = best[query / LANES - groups.start].0[query % LANES];
                        assert_eq!(found, largest as f32, "{level:?} {layout:?} {queries} x {count} x {dim}");
                    }
                }
            }
        }
    }
}

#[test]
fn rows_are_packed_as_the_level_multiplies_them() {
    for level in Level::available() {
        let layout = match level.name() {
            "dotprod" | "avx_vnni" | "vnni" => Layout::Bytes,
            "amx" => Layout::Tiles,
            _ => Layout::Pairs,
        };
        assert_eq!(whole_layout(level), layout);
    }
}

#[test]
fn every_level_finds_what_reaches_its_cut() {
    let lanes = |seed| Lanes(numbers(LANES, seed).try_into().unwrap());
    let tile: Vec<Lanes> = (0..35).map(|seed| if seed % 3 == 0 { Lanes([-9.0; LANES]) } else { lanes(seed) }).collect();
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
