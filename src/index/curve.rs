//! The recall that an index measured of itself: at which setting it found how much of the exact answer.
//!
//! A *setting* is the one knob of an index (candidates, `ef`, lists looked at); more of it never finds less. At build
//! some records serve as queries, and their answers at each setting are compared with the exact scan's. The curve
//! keeps the mean of recall@k over them and its standard deviation, so that a search can ask for a recall and get the
//! cheapest setting that has it with confidence: the mean is normal enough at tens of queries for
//! `mean ± 1.645 * deviation / sqrt(queries)` to hold it nine times of ten, and to lie above its lower end 19 times
//! of 20.

use crate::store::layout::curve_entry;

/// Standard errors on either side of a mean within which the true one lies nine times of ten.
const CONFIDENCE: f64 = 1.645;

/// Bytes of one entry in a file.
const ENTRY: usize = curve_entry::BYTES;

/// Measured recall by number of hits wanted and setting.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// By rising `k`, and for one `k` by rising setting; no two are of the same `k` and setting.
    entries: Vec<CurveEntry>,
}

/// Recall at one setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CurveEntry {
    /// Hits wanted: recall@k.
    pub k: u64,
    /// The index's knob.
    pub setting: u64,
    /// Mean recall, from 0 to 1.
    pub mean: f64,
    /// Its standard deviation from query to query.
    pub deviation: f64,
    /// Queries measured.
    pub queries: u64,
    /// Comparisons of the index's own kind that a query took, in the mean.
    pub compared: f64,
}

impl CurveEntry {
    /// Mean and deviation of these recalls, which took so many comparisons each.
    pub fn new(k: u64, setting: u64, recalls: &[f64], compared: f64) -> CurveEntry {
        let count = recalls.len() as f64;
        let mean = recalls.iter().sum::<f64>() / count.max(1.0);
        let squares: f64 = recalls.iter().map(|recall| (recall - mean) * (recall - mean)).sum();
        // of a sample: divided by one less than it holds
        let deviation = (squares / (count - 1.0).max(1.0)).sqrt();
        CurveEntry { k, setting, mean, deviation, queries: recalls.len() as u64, compared }
    }

    /// Where the true mean lies, nine times of ten.
    fn interval(&self) -> (f64, f64) {
        let error = CONFIDENCE * self.deviation / (self.queries as f64).sqrt();
        ((self.mean - error).max(0.0), (self.mean + error).min(1.0))
    }

    fn is_sound(&self) -> bool {
        let share = 0.0..=1.0;
        self.k > 0
            && self.setting > 0
            && self.queries > 0
            && share.contains(&self.mean)
            && share.contains(&self.deviation)
            && self.compared.is_finite()
            && self.compared >= 0.0
    }
}

impl Curve {
    /// Puts what was measured in order; of two entries of the same `k` and setting the first stays.
    pub fn new(mut entries: Vec<CurveEntry>) -> Curve {
        entries.retain(CurveEntry::is_sound);
        entries.sort_by_key(|entry| (entry.k, entry.setting));
        entries.dedup_by_key(|entry| (entry.k, entry.setting));
        Curve { entries }
    }

    /// All that was measured, by rising `k` and setting.
    pub fn entries(&self) -> &[CurveEntry] {
        &self.entries
    }

    /// The least setting at which recall@k is `target` or more with confidence; between two measured `k` the larger of
    /// theirs. None when no setting reaches it, or when no `k` that large was measured.
    pub fn setting(&self, k: u64, target: f64) -> Option<u64> {
        let reached = |entries: &[CurveEntry]| {
            entries.iter().find(|entry| entry.interval().0 >= target).map(|entry| entry.setting)
        };
        self.around(k).map(reached).try_fold(None, |largest, setting| Some(largest.max(Some(setting?))))?
    }

    /// Comparisons that a query takes at a setting: of the nearest one measured at or above it, else of the largest in proportion.
    pub fn compared(&self, setting: u64) -> f64 {
        let above = self.entries.iter().filter(|entry| entry.setting >= setting).min_by_key(|entry| entry.setting);
        let most = self.entries.iter().max_by_key(|entry| entry.setting);
        match (above, most) {
            (Some(entry), _) => entry.compared,
            (None, Some(entry)) => entry.compared * setting as f64 / entry.setting as f64,
            (None, None) => setting as f64,
        }
    }

    /// Between which recalls recall@k lies, nine times of ten, at a setting measured or not; between two measured `k`
    /// the wider of theirs.
    pub fn interval(&self, k: u64, setting: u64) -> (f64, f64) {
        let of_one = |entries: &[CurveEntry]| {
            let below = entries.iter().rfind(|entry| entry.setting <= setting);
            let above = entries.iter().find(|entry| entry.setting >= setting);
            (below.map_or(0.0, |entry| entry.interval().0), above.map_or(1.0, |entry| entry.interval().1))
        };
        let wider = |a: (f64, f64), b: (f64, f64)| (a.0.min(b.0), a.1.max(b.1));
        self.around(k).map(of_one).reduce(wider).unwrap_or((0.0, 1.0))
    }

    /// What was measured of the nearest `k` on either side, or of `k` itself; nothing beyond the largest.
    fn around(&self, k: u64) -> impl Iterator<Item = &[CurveEntry]> {
        let groups = || self.entries.chunk_by(|a, b| a.k == b.k);
        let above = groups().find(|group| group[0].k >= k);
        // Below the least measured `k` that one alone has to do.
        let below = above.and_then(|above| groups().rfind(|group| group[0].k <= k && group[0].k != above[0].k));
        let below = below.filter(|_| above.is_some_and(|above| above[0].k != k));
        below.into_iter().chain(above)
    }

    /// The curve for a file: 48 bytes an entry (k, setting, mean, deviation, queries, compared; little-endian).
    pub fn to_bytes(&self) -> Vec<u8> {
        let words = self.entries.iter().flat_map(|entry| {
            let (mean, deviation, compared) =
                (entry.mean.to_bits(), entry.deviation.to_bits(), entry.compared.to_bits());
            [entry.k, entry.setting, mean, deviation, entry.queries, compared]
        });
        words.flat_map(u64::to_le_bytes).collect()
    }

    /// Reads what [`Curve::to_bytes`] gave.
    ///
    /// # Errors
    /// What is wrong with the bytes, in words.
    pub fn from_bytes(bytes: &[u8]) -> Result<Curve, &'static str> {
        let (entries, []) = bytes.as_chunks::<ENTRY>() else {
            return Err("a recall curve of a broken length");
        };
        let word = |entry: &[u8; ENTRY], at: usize| {
            entry[8 * at..][..8].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
        };
        let entries: Vec<CurveEntry> = entries
            .iter()
            .map(|entry| CurveEntry {
                k: word(entry, 0),
                setting: word(entry, 1),
                mean: f64::from_bits(word(entry, 2)),
                deviation: f64::from_bits(word(entry, 3)),
                queries: word(entry, 4),
                compared: f64::from_bits(word(entry, 5)),
            })
            .collect();
        if !entries.iter().all(CurveEntry::is_sound) {
            return Err("a recall that is none");
        }
        if !entries.is_sorted_by(|a, b| (a.k, a.setting) < (b.k, b.setting)) {
            return Err("a recall curve out of order");
        }
        Ok(Curve { entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(k: u64, setting: u64, mean: f64, deviation: f64) -> CurveEntry {
        CurveEntry { k, setting, mean, deviation, queries: 100, compared: 500.0 }
    }

    fn curve() -> Curve {
        Curve::new(vec![
            entry(10, 64, 0.99, 0.02),
            entry(1, 16, 0.96, 0.2),
            entry(1, 32, 1.0, 0.0),
            entry(10, 16, 0.8, 0.1),
            entry(10, 32, 0.95, 0.1),
        ])
    }

    #[test]
    fn the_least_setting_whose_lower_end_reaches_the_target_is_chosen() {
        let curve = curve();
        assert_eq!(curve.setting(10, 0.75), Some(16));
        assert_eq!(curve.setting(10, 0.9), Some(32), "0.95 - 0.01645");
        assert_eq!(curve.setting(10, 0.95), Some(64), "a mean of 0.95 is no confidence");
        assert_eq!(curve.setting(10, 0.99), None);
        assert_eq!(curve.setting(1, 0.9), Some(16));
        assert_eq!(curve.setting(0, 0.9), Some(16));
        assert_eq!(curve.setting(11, 0.1), None, "nothing is known of a larger k");
        assert_eq!(Curve::default().setting(1, 0.0), None);
    }

    #[test]
    fn between_two_measured_k_both_must_reach_the_target() {
        let curve = curve();
        assert_eq!(curve.setting(5, 0.75), Some(16));
        assert_eq!(curve.setting(5, 0.95), Some(64));
        assert_eq!(curve.setting(5, 0.99), None, "k = 1 alone reaches it");
        assert_eq!(curve.interval(5, 32), (curve.interval(10, 32).0, curve.interval(1, 32).1));
    }

    #[test]
    fn an_interval_uses_the_measured_settings_around() {
        let curve = curve();
        assert_eq!(curve.interval(10, 32), (0.95 - 0.01645, 0.95 + 0.01645));
        assert_eq!(curve.interval(10, 40).0, curve.interval(10, 32).0);
        assert_eq!(curve.interval(10, 40).1, curve.interval(10, 64).1);
        assert_eq!(curve.interval(10, 8).0, 0.0);
        assert_eq!(curve.interval(10, 100), (curve.interval(10, 64).0, 1.0));
        assert_eq!(curve.interval(11, 64), (0.0, 1.0));
    }

    #[test]
    fn mean_and_deviation_are_those_of_a_sample() {
        let entry = CurveEntry::new(10, 16, &[1.0, 0.5, 0.0], 7.0);
        assert_eq!((entry.mean, entry.deviation, entry.queries), (0.5, 0.5, 3));
        assert_eq!(CurveEntry::new(10, 16, &[0.5], 7.0).deviation, 0.0);
        assert!(Curve::new(vec![CurveEntry::new(10, 16, &[], 7.0)]).entries().is_empty(), "measured on nothing");
    }

    #[test]
    fn bytes_give_the_curve_again_and_broken_ones_an_error() {
        let curve = curve();
        let bytes = curve.to_bytes();
        assert_eq!(bytes.len(), 5 * ENTRY);
        assert_eq!(Curve::from_bytes(&bytes), Ok(curve));
        assert_eq!(Curve::from_bytes(&[]), Ok(Curve::default()));
        assert!(Curve::from_bytes(&bytes[1..]).is_err());
        let swapped = [&bytes[ENTRY..2 * ENTRY], &bytes[..ENTRY]].concat();
        assert_eq!(Curve::from_bytes(&swapped), Err("a recall curve out of order"));
        for (word, value) in [
            (0, 0),
            (1, 0),
            (2, f64::NAN.to_bits()),
            (2, 2f64.to_bits()),
            (3, u64::MAX),
            (4, 0),
            (5, f64::INFINITY.to_bits()),
        ] {
            let mut broken = bytes.clone();
            broken[8 * word..][..8].copy_from_slice(&u64::to_le_bytes(value));
            assert_eq!(Curve::from_bytes(&broken), Err("a recall that is none"), "word {word}");
        }
    }
}
