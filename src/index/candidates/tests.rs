//! Tests what only this room can see: estimates against their definition, and bytes.

use super::*;
use crate::error::ErrorKind;
use crate::matrix::Matrix;
use crate::score::Metric;
use crate::store;
use proptest::prelude::*;
use rayon::ThreadPoolBuilder;
use std::borrow::Cow;

const SECTIONS: [u32; 7] = [
    section::ABOUT,
    section::CENTROIDS,
    section::MATRICES,
    section::LIST_STARTS,
    section::CODES,
    section::CURVE,
    section::QUESTIONS,
];

/// Returns records of up to `rows` rows, some of none, around twelve places.
fn matrices(seed: u32, records: usize, rows: usize, dim: usize) -> Vec<Matrix> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(9);
    let mut noise = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let places: Vec<Vec<f32>> = (0..12).map(|_| (0..dim).map(|_| 3.0 * noise()).collect()).collect();
    (0..records)
        .map(|record| {
            let rows = if record % 17 == 5 { 0 } else { 1 + (noise().abs() * rows as f32) as usize };
            let own: Vec<f32> = (0..dim).map(|_| noise()).collect();
            let values = (0..rows).flat_map(|_| {
                let place = &places[(noise().abs() * 12.0) as usize % 12];
                own.iter().zip(place).map(|(own, place)| own + place + 0.3 * noise()).collect::<Vec<f32>>()
            });
            let values = values.collect();
            Matrix::from_rows(rows, dim, values).unwrap()
        })
        .collect()
}

fn sections(candidates: &Candidates) -> Vec<Vec<u8>> {
    SECTIONS.iter().map(|section| candidates.sections.bytes(*section).unwrap().to_vec()).collect()
}

/// Returns the estimate as it is defined, and how far off eight bits can make it.
fn estimate(parts: &Parts<'_>, query: &Matrix, record: u32) -> (f64, f64) {
    let width = parts.space.width();
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let mut rows = Vec::new();
    parts.space.queries(query.values(), &mut rows);
    let (mut sum, mut widest) = (0.0, 0.0f64);
    for row in rows.chunks_exact(width) {
        let all: Vec<f64> = parts.centroids.chunks_exact(width).map(|centroid| dot(row, centroid)).collect();
        let (low, high) = (all.iter().copied().fold(f64::MAX, f64::min), all.iter().copied().fold(f64::MIN, f64::max));
        widest = widest.max(high - low);
        sum += parts.codes_of(record).iter().map(|code| all[usize::from(*code)]).fold(f64::MIN, f64::max);
        if !parts.rests.is_empty() {
            sum += dot(row, &parts.rests[record as usize * width..][..width]);
        }
    }
    (sum, query.rows() as f64 * (widest / 255.0 * 0.51 + 1e-5 * (1.0 + widest)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn records_are_ranked_by_the_estimate_as_it_is_defined(
        seed in 0u32..1000, records in 1usize..90, dim in 1usize..12, query in 0usize..90, metric in 0usize..3,
        deleted in proptest::collection::btree_set(0u32..100, 0..40),
        allowed in proptest::option::of(proptest::collection::btree_set(0u32..100, 0..60)),
        count in 0usize..100,
    ) {
        let matrices = matrices(seed, records, 90, dim);
        let candidates = Candidates::in_memory(&matrices, [Metric::Dot, Metric::Cosine, Metric::L2][metric]).unwrap();
        let parts = candidates.parts().unwrap();
        let query = &matrices[query % records];
        let deleted: RoaringBitmap = deleted.into_iter().collect();
        let allowed: Option<RoaringBitmap> = allowed.map(|allowed| allowed.into_iter().collect());
        let found = candidates.best(query.view(), count, allowed.as_ref(), &deleted).unwrap();
        let eligible: Vec<u32> = (0..records as u32)
            .filter(|record| matrices[*record as usize].rows() > 0 && !deleted.contains(*record))
            .filter(|record| allowed.as_ref().is_none_or(|allowed| allowed.contains(*record)))
            .collect();
        if query.rows() == 0 {
            prop_assert!(found.is_empty());
            return Ok(());
        }
        prop_assert_eq!(found.len(), count.min(eligible.len()));
        let mut rest = eligible.clone();
        rest.retain(|record| !found.contains(record));
        prop_assert_eq!(rest.len() + found.len(), eligible.len(), "each at most once, and only eligible ones");
        let estimates: Vec<(f64, f64)> = found.iter().map(|record| estimate(&parts, query, *record)).collect();
        for pair in estimates.windows(2) {
            prop_assert!(pair[0].0 >= pair[1].0 - pair[0].1 - pair[1].1, "{:?}", pair);
        }
        if let Some(last) = estimates.last() {
            for record in rest {
                let left_out = estimate(&parts, query, record);
                prop_assert!(last.0 >= left_out.0 - last.1 - left_out.1, "{:?} {:?}", last, left_out);
            }
        }
    }
}

#[test]
fn the_codes_of_a_record_are_the_centroids_nearest_to_its_rows() {
    for metric in [Metric::Dot, Metric::Cosine, Metric::L2] {
        let matrices = matrices(3, 60, 300, 7);
        let candidates = Candidates::in_memory(&matrices, metric).unwrap();
        let parts = candidates.parts().unwrap();
        assert!(parts.centroids.len() / parts.space.width() >= 64);
        let mut rows = Vec::new();
        for (record, matrix) in matrices.iter().enumerate() {
            parts.space.records(matrix.values(), &mut rows);
            let mut chosen = vec![false; parts.centroids.len() / parts.space.width()];
            for row in rows.chunks_exact(parts.space.width()) {
                let distance = |centroid: &[f32]| -> f64 {
                    centroid.iter().zip(row).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
                };
                let distances: Vec<f64> = parts.centroids.chunks_exact(row.len()).map(distance).collect();
                let nearest = distances.iter().copied().fold(f64::MAX, f64::min);
                let codes = parts.codes_of(record as u32).iter().map(|code| usize::from(*code));
                let taken = codes.filter(|code| distances[*code] <= nearest + 1e-4 * (1.0 + nearest));
                let taken: Vec<usize> = taken.collect();
                assert!(!taken.is_empty(), "{metric:?}: no code for a row");
                taken.into_iter().for_each(|code| chosen[code] = true);
            }
            let codes = parts.codes_of(record as u32);
            assert!(codes.is_sorted_by(|a, b| a < b), "distinct, rising");
            assert!(codes.iter().all(|code| chosen[usize::from(*code)]), "{metric:?}: a code for no row");
        }
    }
}

#[test]
fn one_two_and_eight_threads_build_the_same_bytes() {
    let matrices = matrices(1, 700, 40, 24);
    let built = [1, 2, 8].map(|threads| {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let candidates = Candidates::in_memory(&matrices, Metric::Cosine).unwrap();
            let query = matrices[1].view();
            (sections(&candidates), candidates.best(query, 700, None, &RoaringBitmap::new()).unwrap())
        })
    });
    assert!(built[0] == built[1] && built[0] == built[2]);
    assert!(!built[0].0[5].is_empty(), "with a curve");
}

/// Reads candidates from sections that may be anything.
fn read(counts: Counts, written: &[Vec<u8>]) -> Result<Candidates> {
    store::in_memory(counts.records as u32, &|out| {
        SECTIONS.iter().zip(written).try_for_each(|(section, bytes)| out.section(*section, bytes))?;
        Ok(counts)
    })
}

#[test]
fn sections_that_do_not_fit_each_other_are_refused_and_never_a_panic() {
    let matrices = matrices(2, 60, 20, 5);
    for metric in [Metric::Dot, Metric::L2] {
        let candidates = Candidates::in_memory(&matrices, metric).unwrap();
        let (written, counts) = (sections(&candidates), candidates.sections.counts());
        let again = read(counts, &written).unwrap();
        let best =
            |candidates: &Candidates| candidates.best(matrices[0].view(), 60, None, &RoaringBitmap::new()).unwrap();
        assert_eq!(best(&again), best(&candidates));
        for dim in [0, 4, 6, u64::MAX] {
            let read = read(Counts { dim, ..counts }, &written);
            // Another dimension may fit by chance where no rests are kept; then queries do not fit.
            let refused = read.map(|read| read.best(matrices[0].view(), 1, None, &RoaringBitmap::new()).map(drop));
            assert!(refused.and_then(|refused| refused).is_err(), "{metric:?} dim {dim}");
        }
        assert!(read(Counts { records: 59, ..counts }, &written).is_err());
        for at in 0..SECTIONS.len() {
            // The rests may be empty: that means that there are none.
            for length in [0, 1, written[at].len().saturating_sub(1), written[at].len() / 2] {
                let mut broken = written.clone();
                broken[at].truncate(length);
                if broken != written && !(at == 2 && length == 0) {
                    assert!(read(counts, &broken).is_err(), "{metric:?}: section {at} of {length} bytes");
                }
            }
            for byte in (0..written[at].len()).step_by(1 + written[at].len() / 97) {
                for flip in [0x01, 0x80, 0xff] {
                    let mut broken = written.clone();
                    broken[at][byte] ^= flip;
                    if let Ok(read) = read(counts, &broken) {
                        assert!(best(&read).len() <= 60);
                    }
                }
            }
        }
        for (at, bytes) in [(1, f32::NAN.to_le_bytes()), (2, f32::INFINITY.to_le_bytes()), (4, [0xff; 4])] {
            let mut broken = written.clone();
            if let Some(place) = broken[at].first_chunk_mut() {
                *place = bytes;
                assert!(read(counts, &broken).is_err(), "{metric:?}: section {at}");
            }
        }
    }
}

#[test]
fn a_damaged_record_is_left_out_where_nothing_lasts_and_other_errors_are_reported() {
    let matrices = matrices(4, 40, 20, 5);
    let rows = |error: fn() -> Error| {
        let matrices = &matrices;
        move |record: u32| match record {
            7 => Err(error()),
            _ => Ok(StoredMatrix::trusted(
                matrices[record as usize].rows(),
                5,
                Cow::Borrowed(matrices[record as usize].values()),
            )),
        }
    };
    let damaged = rows(|| Error::corrupt("file", None, "gone"));
    let candidates: Candidates =
        store::in_memory(40, &|out| Candidates::build(&damaged, 40, 5, Metric::Dot, &[], out)).unwrap();
    let found = candidates.best(matrices[7].view(), 40, None, &RoaringBitmap::new()).unwrap();
    assert!(!found.contains(&7) && found.len() == 36, "three of the others have no rows: {found:?}");
    let refused = rows(|| Error::invalid("record", "no"));
    let built: Result<Candidates> =
        store::in_memory(40, &|out| Candidates::build(&refused, 40, 5, Metric::Dot, &[], out));
    assert_eq!(built.unwrap_err().kind(), ErrorKind::Caller);
}

#[test]
fn numbers_near_the_end_of_their_range_are_no_trouble() {
    let huge =
        |sign: f32| Matrix::from_rows(2, 3, vec![sign * f32::MAX, f32::MAX, -f32::MAX, 1e-40, 0.0, 3e38]).unwrap();
    let matrices: Vec<Matrix> = (0..40).map(|record| huge(if record % 2 == 0 { 1.0 } else { -1.0 })).collect();
    for metric in [Metric::Dot, Metric::Cosine, Metric::L2] {
        let candidates = Candidates::in_memory(&matrices, metric).unwrap();
        assert_eq!(candidates.best(matrices[0].view(), 50, None, &RoaringBitmap::new()).unwrap().len(), 40);
    }
}
