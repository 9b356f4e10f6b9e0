//! The recall that an index measured of itself: how much of the exact answer it found at each setting, and with which
//! queries this was measured.
//!
//! A *setting* is the one knob of an index (candidates, `ef`, lists looked at); more of it never finds less. At build
//! some records serve as queries, and their answers at each setting are compared with the exact scan's. The curve keeps
//! the mean of recall@k over them and its standard deviation, so that a search can ask for a recall and get the
//! cheapest setting that has it with confidence: at tens of queries the mean is close enough to normal that the true
//! one lies within `mean ± 1.645 * deviation / sqrt(queries)` nine times of ten, and above its lower end 19 times
//! of 20. (The interval in use is a little wider: few queries that all found everything prove little.)
//!
//! This holds for queries like those that it was measured with, the *questions*. So these are kept too: how *near* each
//! was to what the index holds (`questions.rs`), and what it found at each setting. A query is judged by its own
//! nearness, see [`Curve::judge`].

use super::questions::{Asked, Questions, Signs, Verdict};
use crate::store::layout::curve_entry;

/// Standard errors on either side of a mean within which the true one lies nine times of ten.
const CONFIDENCE: f64 = 1.645;

/// Returns how far a mean over so many queries can be off. It allows for half a query that found nothing and is missing
/// among these.
pub(super) fn error(deviation: f64, queries: f64) -> f64 {
    (CONFIDENCE * deviation).hypot(0.5 / queries.sqrt()) / queries.sqrt()
}

/// Bytes of one entry in a file.
const ENTRY: usize = curve_entry::BYTES;

/// Measured recall by number of hits wanted and setting.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// By source, then by rising `k`, then by rising setting; no two have all three in common.
    entries: Vec<CurveEntry>,
    /// The questions of each source and `k`, in the order of the entries.
    questions: Vec<Questions>,
}

/// Which queries recall was measured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CurveSource {
    /// Records that the index did not know yet, or that were left out of their own answers.
    Records,
    /// Queries that the caller gave ([`build_index_with`](crate::Collection::build_index_with)).
    Queries,
    /// Pieces of records, shorter or less varied than records are (of [candidates](crate::IndexKind::Candidates)). They
    /// say something only about queries like them.
    Pieces,
    /// Queries that were also answered exactly ([`Query::recheck`](crate::Query::recheck)), since the index was loaded.
    Asked,
}

impl std::fmt::Display for CurveSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl CurveSource {
    /// Returns its name: `records`, `queries`, `pieces`, `asked`.
    pub fn name(self) -> &'static str {
        match self {
            CurveSource::Records => "records",
            CurveSource::Queries => "queries",
            CurveSource::Pieces => "pieces",
            CurveSource::Asked => "asked",
        }
    }
}

/// Recall at one setting.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct CurveEntry {
    /// Which queries it was measured with.
    pub source: CurveSource,
    /// How many hits were wanted: this is recall at `k`.
    pub k: u64,
    /// The index's effort: `ef`, `nprobe`, or the number of candidates.
    pub setting: u64,
    /// Mean recall, from 0 to 1.
    pub mean: f64,
    /// Its standard deviation from query to query.
    pub deviation: f64,
    /// How many queries it was measured with.
    pub queries: u64,
    /// Comparisons that a query took in the mean, of the kind that the index makes.
    pub compared: f64,
}

impl CurveEntry {
    /// Returns the interval in which the true mean lies nine times of ten.
    fn interval(&self) -> (f64, f64) {
        let error = error(self.deviation, self.queries as f64);
        ((self.mean - error).max(0.0), (self.mean + error).min(1.0))
    }

    /// Returns whether recall is at least `target` with confidence, as far as this source has a say: rechecked queries
    /// need not prove it again but may disprove it.
    fn promises(&self, target: f64) -> bool {
        let (low, high) = self.interval();
        match self.source {
            CurveSource::Records | CurveSource::Queries => low >= target,
            CurveSource::Pieces => true,
            CurveSource::Asked => high >= target,
        }
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
    /// Makes a curve of questions, each with the comparisons that a query took at each setting in the mean.
    pub(crate) fn new(questions: Vec<(Questions, Vec<f64>)>) -> Curve {
        let mut questions: Vec<_> = questions.into_iter().filter(|(questions, _)| questions.tell()).collect();
        questions.sort_by_key(|(questions, _)| (questions.source, questions.k));
        let entries = questions.iter().flat_map(|(questions, compared)| questions.entries(compared)).collect();
        Curve { entries, questions: questions.into_iter().map(|(questions, _)| questions).collect() }
    }

    /// Returns this curve with further questions added.
    pub(super) fn with(&self, questions: Vec<(Questions, Vec<f64>)>) -> Curve {
        let Curve { mut entries, questions: mut all } = Curve::new(questions);
        entries.extend_from_slice(&self.entries);
        all.extend_from_slice(&self.questions);
        entries.sort_by_key(|entry| (entry.source, entry.k, entry.setting));
        all.sort_by_key(|questions| (questions.source, questions.k));
        Curve { entries, questions: all }
    }

    /// Returns the settings at which records measured the recall of so many hits, or of the next larger number.
    pub(super) fn settings(&self, k: u64) -> Vec<u64> {
        let measured =
            self.around(k).filter(|group| group[0].source == CurveSource::Records).last().unwrap_or_default();
        measured.iter().map(|entry| entry.setting).collect()
    }

    /// Returns all that was measured, by source, rising `k` and setting.
    pub fn entries(&self) -> &[CurveEntry] {
        &self.entries
    }

    /// Returns the smallest setting at which recall@k is `target` or more with confidence, for the queries of every
    /// source; between two measured `k` the larger of their settings. `None` when no setting reaches it, or when no `k`
    /// that large was measured.
    pub fn setting(&self, k: u64, target: f64) -> Option<u64> {
        let reached =
            |entries: &[CurveEntry]| entries.iter().find(|entry| entry.promises(target)).map(|entry| entry.setting);
        self.around(k).map(reached).try_fold(None, |largest, setting| Some(largest.max(Some(setting?))))?
    }

    /// Judges by the questions whether a query has recall `target` at a setting. `signs` returns how the query looks
    /// from the index, for each `k` measured; `may_look_again` says whether more effort, not made yet, may find it
    /// nearer. Also returns whether the query is like the records or the given queries, so that the measured recall
    /// holds for it.
    pub(crate) fn judge(
        &self,
        k: u64,
        (setting, target): (u64, f64),
        may_look_again: bool,
        signs: impl Fn(u64) -> Signs,
    ) -> (Verdict, bool) {
        let is_around = |questions: &&Questions| {
            self.around(k).any(|group| (group[0].source, group[0].k) == (questions.source, questions.k))
        };
        let verdict = |sources: [CurveSource; 2], must_prove: bool| {
            let of = self.questions.iter().filter(is_around).filter(|of| sources.contains(&of.source));
            // A query that is more varied than all pieces is not like a piece.
            let of = of.filter(|of| must_prove || of.source != CurveSource::Pieces || !of.is_beyond(signs(of.k)));
            let judge = |questions: &Questions| {
                questions.judge(Asked { signs: signs(questions.k), setting, target, may_look_again, must_prove })
            };
            of.map(judge).max()
        };
        let measured = verdict([CurveSource::Records, CurveSource::Queries], false).unwrap_or(Verdict::Unlike);
        let is_known = measured >= Verdict::Enough;
        // If only pieces or rechecked queries are like the query, these alone must prove its recall.
        let others = verdict([CurveSource::Pieces, CurveSource::Asked], !is_known);
        (others.map_or(measured, |others| others.max(measured)), is_known)
    }

    /// Returns the smallest and the largest nearness of the questions, for people to read.
    pub(crate) fn nearness(&self, k: u64) -> Option<(f64, f64)> {
        let above =
            self.questions.iter().filter(|of| of.k >= k && of.source != CurveSource::Pieces).map(Questions::range);
        above.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    /// Returns how many comparisons a query takes at a setting: as measured at the next one at or above it, else in
    /// proportion to the largest.
    pub fn compared(&self, setting: u64) -> f64 {
        let above = self.entries.iter().filter(|entry| entry.setting >= setting).min_by_key(|entry| entry.setting);
        let most = self.entries.iter().max_by_key(|entry| entry.setting);
        match (above, most) {
            (Some(entry), _) => entry.compared,
            (None, Some(entry)) => entry.compared * setting as f64 / entry.setting as f64,
            (None, None) => setting as f64,
        }
    }

    /// Returns the interval in which recall@k lies nine times of ten, at a setting measured or not; between two
    /// measured `k` one that holds both of theirs.
    pub fn interval(&self, k: u64, setting: u64) -> (f64, f64) {
        let of_one = |entries: &[CurveEntry]| {
            let below = entries.iter().rfind(|entry| entry.setting <= setting);
            let above = entries.iter().find(|entry| entry.setting >= setting);
            (below.map_or(0.0, |entry| entry.interval().0), above.map_or(1.0, |entry| entry.interval().1))
        };
        let wider = |a: (f64, f64), b: (f64, f64)| (a.0.min(b.0), a.1.max(b.1));
        let of = |sources: [CurveSource; 2]| {
            let groups = self.around(k).filter(move |group| sources.contains(&group[0].source));
            groups.map(of_one).reduce(wider)
        };
        let measured = of([CurveSource::Records, CurveSource::Queries]).unwrap_or((0.0, 1.0));
        // Rechecked queries count only where they prove less; few of them would merely leave more open.
        of([CurveSource::Asked; 2])
            .filter(|asked| asked.1 < measured.0)
            .map_or(measured, |asked| wider(asked, measured))
    }

    /// Returns, for each source, the entries of `k` itself, or of the nearest measured `k` on either side; nothing for
    /// a source that measured no `k` that large.
    fn around(&self, k: u64) -> impl Iterator<Item = &[CurveEntry]> {
        let sources = self.entries.chunk_by(|a, b| a.source == b.source);
        sources.flat_map(move |entries| {
            let groups = || entries.chunk_by(|a, b| a.k == b.k);
            let above = groups().find(|group| group[0].k >= k);
            // For a `k` below the smallest measured one, that one alone has to do.
            let below = above.and_then(|above| groups().rfind(|group| group[0].k <= k && group[0].k != above[0].k));
            let below = below.filter(|_| above.is_some_and(|above| above[0].k != k));
            below.into_iter().chain(above)
        })
    }

    /// Returns the curve for a file: 56 bytes an entry (source, k, setting, mean, deviation, queries, compared;
    /// little-endian).
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let words = self.entries.iter().flat_map(|entry| {
            let (mean, deviation, compared) =
                (entry.mean.to_bits(), entry.deviation.to_bits(), entry.compared.to_bits());
            [entry.source as u64, entry.k, entry.setting, mean, deviation, entry.queries, compared]
        });
        words.flat_map(u64::to_le_bytes).collect()
    }

    /// Returns the questions for a file.
    pub(crate) fn questions_to_bytes(&self) -> Vec<u8> {
        self.questions.iter().flat_map(Questions::to_bytes).collect()
    }

    /// Reads what [`Curve::to_bytes`] and [`Curve::questions_to_bytes`] returned.
    ///
    /// # Errors
    /// What is wrong with the bytes, in words.
    pub(crate) fn from_bytes(bytes: &[u8], mut questions: &[u8]) -> Result<Curve, &'static str> {
        let (entries, []) = bytes.as_chunks::<ENTRY>() else {
            return Err("a recall curve of a broken length");
        };
        let word = |entry: &[u8; ENTRY], at: usize| {
            entry[8 * at..][..8].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
        };
        let entry = |entry: &[u8; ENTRY]| {
            let sources = [CurveSource::Records, CurveSource::Queries, CurveSource::Pieces];
            let source = sources.into_iter().find(|&source| source as u64 == word(entry, 0));
            Some(CurveEntry {
                source: source?,
                k: word(entry, 1),
                setting: word(entry, 2),
                mean: f64::from_bits(word(entry, 3)),
                deviation: f64::from_bits(word(entry, 4)),
                queries: word(entry, 5),
                compared: f64::from_bits(word(entry, 6)),
            })
        };
        let entries: Option<Vec<CurveEntry>> = entries.iter().map(entry).collect();
        let entries =
            entries.filter(|entries| entries.iter().all(CurveEntry::is_sound)).ok_or("a recall that is none")?;
        if !entries.is_sorted_by(|a, b| (a.source, a.k, a.setting) < (b.source, b.k, b.setting)) {
            return Err("a recall curve out of order");
        }
        let groups = entries.chunk_by(|a, b| (a.source, a.k) == (b.source, b.k));
        let groups = groups.map(|group| Questions::from_bytes(group, &mut questions));
        let groups = groups.collect::<Option<_>>().filter(|_| questions.is_empty());
        Ok(Curve { questions: groups.ok_or("questions that the recall was not measured by")?, entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::questions::NO_CONTRAST;

    /// A hundred questions: at each setting `full` of them found everything, the others nothing.
    fn asked(k: u64, settings: &[(u64, usize)]) -> (Questions, Vec<f64>) {
        let found = |at: usize| settings.iter().map(|&(_, full)| if at < full { k as usize } else { 0 }).collect();
        let questions = (0..100).map(|at| ([at as f64, NO_CONTRAST], found(at))).collect();
        let settings: Vec<u64> = settings.iter().map(|&(setting, _)| setting).collect();
        (Questions::new(CurveSource::Records, k, settings.clone(), questions), vec![500.0; settings.len()])
    }

    fn curve() -> Curve {
        Curve::new(vec![asked(10, &[(16, 80), (32, 95), (64, 99)]), asked(1, &[(16, 96), (32, 100)])])
    }

    /// How far the mean may be off if so many answers of a hundred are full.
    fn off(full: f64) -> f64 {
        error((full * (100.0 - full) / 100.0 / 99.0).sqrt(), 100.0)
    }

    #[test]
    fn the_least_setting_whose_lower_end_reaches_the_target_is_chosen() {
        let curve = curve();
        assert_eq!(curve.setting(10, 0.7), Some(16));
        assert_eq!(curve.setting(10, 0.9), Some(32), "0.95 less 0.036");
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
        assert_eq!(curve.setting(5, 0.7), Some(16));
        assert_eq!(curve.setting(5, 0.95), Some(64));
        assert_eq!(curve.setting(5, 0.99), None, "k = 1 alone reaches it");
        assert_eq!(curve.interval(5, 32), (curve.interval(10, 32).0, curve.interval(1, 32).1));
    }

    #[test]
    fn an_interval_uses_the_measured_settings_around() {
        let curve = curve();
        assert_eq!(curve.interval(10, 32), (0.95 - off(95.0), 0.95 + off(95.0)));
        assert_eq!(curve.interval(10, 40).0, curve.interval(10, 32).0);
        assert_eq!(curve.interval(10, 40).1, curve.interval(10, 64).1);
        assert_eq!(curve.interval(10, 8).0, 0.0);
        assert_eq!(curve.interval(10, 100), (curve.interval(10, 64).0, 1.0));
        assert_eq!(curve.interval(11, 64), (0.0, 1.0));
    }

    #[test]
    fn queries_that_were_given_count_beside_the_records() {
        let mut both = vec![asked(10, &[(16, 99), (32, 100)]), asked(10, &[(16, 40), (32, 99)])];
        both[1].0.source = CurveSource::Queries;
        let curve = Curve::new(both);
        assert_eq!(curve.setting(10, 0.9), Some(32), "the records alone would do with 16");
        assert_eq!(Curve::from_bytes(&curve.to_bytes(), &curve.questions_to_bytes()), Ok(curve));
    }

    #[test]
    fn few_questions_prove_little() {
        let of = |count: usize| {
            let questions = (0..count).map(|at| ([at as f64, NO_CONTRAST], vec![10])).collect();
            Curve::new(vec![(Questions::new(CurveSource::Records, 10, vec![16], questions), vec![1.0])])
                .interval(10, 16)
                .0
        };
        assert!(of(5) < 0.91 && of(20) < 0.98 && of(500) > 0.998);
    }

    #[test]
    fn bytes_give_the_curve_again_and_broken_ones_an_error() {
        let curve = curve();
        let (bytes, questions) = (curve.to_bytes(), curve.questions_to_bytes());
        assert_eq!(bytes.len(), 5 * ENTRY);
        assert_eq!(Curve::from_bytes(&bytes, &questions), Ok(curve));
        assert_eq!(Curve::from_bytes(&[], &[]), Ok(Curve::default()));
        assert!(Curve::from_bytes(&bytes[1..], &questions).is_err());
        for wrong in [&questions[1..], &[&questions[..], &[0]].concat(), &[]] {
            assert!(Curve::from_bytes(&bytes, wrong).is_err());
        }
        let swapped = [&bytes[ENTRY..2 * ENTRY], &bytes[..ENTRY]].concat();
        assert_eq!(Curve::from_bytes(&swapped, &questions), Err("a recall curve out of order"));
        for (word, value) in [
            (0, 3),
            (1, 0),
            (2, 0),
            (3, f64::NAN.to_bits()),
            (3, 2f64.to_bits()),
            (4, u64::MAX),
            (5, 0),
            (6, f64::INFINITY.to_bits()),
        ] {
            let mut broken = bytes.clone();
            broken[8 * word..][..8].copy_from_slice(&u64::to_le_bytes(value));
            assert_eq!(Curve::from_bytes(&broken, &questions), Err("a recall that is none"), "word {word}");
        }
    }
}
