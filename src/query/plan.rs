//! Decides how each segment is searched, anew for every query: from the indexes it has, what is asked, and what each
//! way costs. Nothing is read or searched here; `execute.rs` carries it out.

use super::effort::{ByHand, Effort};
use crate::index::Curve;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// How an answer was found.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    /// The segments that have records to look at, in order.
    pub segments: Vec<SegmentPlan>,
}

/// How one segment was searched.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SegmentPlan {
    /// Number of the segment in its snapshot.
    pub segment: u32,
    /// Records in it that are live and meet the filter.
    pub records: u64,
    /// How the segment was searched.
    pub way: Way,
    /// Why it was searched in that way, for people to read.
    pub why: Cow<'static, str>,
}

/// Ways to search a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Way {
    /// Every record's rows were read. Exact.
    Rows,
    /// Every record's SQ8 codes were read, and the rows of those that might be among the best. Exact.
    Sq8,
    /// The graph of an HNSW index was searched.
    Hnsw {
        /// Rows kept on the way.
        ef: u64,
    },
    /// The lists of an IVF index that are nearest to the query were looked into.
    Ivf {
        /// How many lists; may be more than there are.
        nprobe: u64,
    },
    /// Records of several rows were ranked by an estimate, and this many of them scored.
    Candidates {
        /// Records scored.
        count: u64,
    },
}

impl Way {
    /// Returns whether every record was looked at.
    pub fn is_exact(self) -> bool {
        matches!(self, Way::Rows | Way::Sq8)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Rows => f.write_str("rows"),
            Way::Sq8 => f.write_str("sq8"),
            Way::Hnsw { ef } => write!(f, "hnsw, ef {ef}"),
            Way::Ivf { nprobe } => write!(f, "ivf, nprobe {nprobe}"),
            Way::Candidates { count } => write!(f, "candidates, {count}"),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for SegmentPlan { segment, records, way, why } in &self.segments {
            writeln!(f, "segment {segment}, {records} records: {way}; {why}")?;
        }
        Ok(())
    }
}

/// How one segment is to be searched, and why.
pub(super) struct Choice {
    pub(super) way: Way,
    pub(super) why: Cow<'static, str>,
    /// The interval in which the mean recall at this effort lies; `None` if every record is looked at.
    pub(super) recall: Option<(f64, f64)>,
    /// Whether the query is like those that the recall was measured with.
    pub(super) like: bool,
}

impl Choice {
    pub(super) fn exact(way: Way, why: impl Into<Cow<'static, str>>) -> Choice {
        Choice { way, why: why.into(), recall: None, like: true }
    }
}

/// A kind of index over plain vectors, each with an effort of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Hnsw,
    Ivf,
}

impl Kind {
    pub(super) fn way(self, setting: u64) -> Way {
        match self {
            Kind::Hnsw => Way::Hnsw { ef: setting },
            Kind::Ivf => Way::Ivf { nprobe: setting },
        }
    }
}

/// What the planner asks of an index of a segment, only where an index may answer at all.
pub(super) trait Offer {
    fn kind(&self) -> Kind;
    /// Returns what it measured of its recall.
    fn curve(&self) -> Arc<Curve>;
    /// Returns how many rows it holds.
    fn rows(&self) -> u64;
    /// Returns how many rows every search looks at beside those that the index leads to.
    fn without_bound(&self) -> u64;
    /// Returns how many nanoseconds a search takes that compares so many rows.
    fn cost(&self, compared: f64) -> f64;
}

/// What a query asks of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// Hits wanted; `None` for every record above a score.
    pub(super) k: Option<u64>,
    pub(super) effort: Effort,
    /// How many records the filter and deletions leave.
    pub(super) selected: u64,
    /// Whether these are all records of the segment.
    pub(super) is_all: bool,
    /// Nanoseconds that looking at the codes of all of them takes.
    pub(super) scan: f64,
}

/// How an index is to be searched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Approach {
    /// Its place among those offered.
    pub(super) index: usize,
    /// The effort that would do if all records were selected.
    pub(super) setting: u64,
    /// The share of the records that is selected.
    pub(super) share: f64,
    /// How many nanoseconds the search takes.
    cost: f64,
    /// The interval in which its mean recall lies at this effort.
    pub(super) recall: (f64, f64),
    /// Fewest selected records that it should lead to.
    pub(super) wanted: u64,
}

impl Approach {
    /// Returns the effort that leads to as many selected rows as `setting` would if all were selected.
    pub(super) fn scaled(&self, setting: u64) -> u64 {
        (setting as f64 / self.share).ceil() as u64
    }
}

/// Chooses the cheapest index that reaches the recall with confidence, if it is cheaper than looking at all codes; says
/// why, or why none. An effort set by hand is taken for a whole segment, whatever it costs.
pub(super) fn choose<O: Offer>(
    asked: &Asked,
    offers: &[O],
) -> Result<(Approach, Cow<'static, str>), Cow<'static, str>> {
    let Some(k) = asked.k else { return Err("every record above a score".into()) };
    if asked.effort.is_exact() {
        return Err("exact".into());
    }
    let approaches = offers.iter().enumerate().filter_map(|(index, offer)| approach(index, offer, k, asked));
    let Some(best) = approaches.min_by(|a, b| a.cost.total_cmp(&b.cost)) else {
        return Err(match (offers, asked.effort) {
            ([_, ..], Effort::Recall(target)) => format!("no setting measured has recall {target} for {k} hits").into(),
            ([_, ..], Effort::ByHand(_)) => "no index of a kind whose effort was given".into(),
            _ => "no index over this segment".into(),
        });
    };
    let ((low, high), cost_us, scan_us) = (best.recall, best.cost / 1e3, asked.scan / 1e3);
    let why = format!("recall {low:.3} to {high:.3} measured; index {cost_us:.0} us, codes {scan_us:.0} us");
    let is_by_hand = matches!(asked.effort, Effort::ByHand(_));
    match is_by_hand && asked.is_all || best.cost < asked.scan {
        true => Ok((best, why.into())),
        false => Err(why.into()),
    }
}

/// Returns how an index would be searched; `None` when no setting that it measured reaches the recall with confidence,
/// or none was given by hand for its kind.
fn approach(index: usize, offer: &impl Offer, k: u64, asked: &Asked) -> Option<Approach> {
    let (curve, kind) = (offer.curve(), offer.kind());
    let setting = match asked.effort {
        Effort::Exact => return None,
        Effort::ByHand(ByHand { ef, nprobe, .. }) => match kind {
            Kind::Hnsw => ef? as u64,
            Kind::Ivf => nprobe? as u64,
        },
        Effort::Recall(target) => curve.setting(k, target)?,
    };
    // `ef` is a number of rows, which should include the hits. Lists are counted by what they hold in the mean, but a
    // few lists can hold far less.
    let (setting, wanted) = match kind {
        Kind::Hnsw => (setting.max(k), (setting / 2).max(k)),
        Kind::Ivf if asked.is_all => (setting.max(1), k),
        Kind::Ivf => (setting.max(1), (curve.compared(setting) / 2.0) as u64),
    };
    // It must lead to as many selected rows as it would lead to rows if all were selected.
    let share = (asked.selected as f64 / offer.rows().max(1) as f64).min(1.0);
    // Rows whose codes give no bound are looked at in any case.
    let cost = offer.cost(curve.compared(setting) / share + offer.without_bound() as f64);
    let (recall, wanted) = (curve.interval(k, setting), wanted.max(k).min(asked.selected));
    Some(Approach { index, setting, share, cost, recall, wanted })
}

/// Returns the fewest selected rows to be content with where so many are expected, if those selected lie here as
/// elsewhere: four fifths, less what chance takes from a small number.
pub(super) fn fewest(expected: f64) -> u64 {
    (0.8 * expected - 1.6 * expected.sqrt()).ceil() as u64 // a number below 0 becomes 0
}

/// Says why nothing is known of a query's recall.
pub(super) fn unlike(curve: &Curve, nearness: f64, k: u64) -> Cow<'static, str> {
    let (least, most) = curve.nearness(k).unwrap_or_default();
    let why = "unlike the queries that recall was measured by";
    format!("{why}: its nearness is {nearness:.3e}, theirs {least:.3e} to {most:.3e}").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::CurveSource;
    use crate::index::questions::{NO_CONTRAST, Questions};

    /// An index of ten thousand rows: its kind, its curve, and how many nanoseconds it takes a row.
    struct Made(Kind, Arc<Curve>, f64);

    impl Offer for Made {
        fn kind(&self) -> Kind {
            self.0
        }

        fn curve(&self) -> Arc<Curve> {
            Arc::clone(&self.1)
        }

        fn rows(&self) -> u64 {
            10_000
        }

        fn without_bound(&self) -> u64 {
            0
        }

        fn cost(&self, compared: f64) -> f64 {
            self.2 * compared
        }
    }

    /// A curve of a hundred queries for ten hits: at each setting so many of them found everything, the others nothing.
    fn curve(settings: &[(u64, usize)], compared: &[f64]) -> Curve {
        let found = |at: usize| settings.iter().map(|&(_, full)| if at < full { 10 } else { 0 }).collect();
        let questions = (0..100).map(|at| ([at as f64, NO_CONTRAST], found(at))).collect();
        let settings: Vec<u64> = settings.iter().map(|&(setting, _)| setting).collect();
        Curve::new(vec![(Questions::new(CurveSource::Records, 10, settings, questions), compared.to_vec())])
    }

    #[test]
    fn the_cheapest_index_that_is_sure_enough_is_chosen_or_none() {
        let by_hand = |ef, nprobe| Effort::ByHand(ByHand { ef, nprobe, candidates: None });
        let (hnsw, ivf) = (curve(&[(16, 90), (64, 97)], &[200.0, 800.0]), curve(&[(4, 98)], &[1_900.0]));
        let offers = [Made(Kind::Hnsw, Arc::new(hnsw), 10.0), Made(Kind::Ivf, Arc::new(ivf), 1.0)];
        let asked = Asked { k: Some(10), effort: Effort::Recall(0.8), selected: 10_000, is_all: true, scan: 10_000.0 };
        let few = Asked { selected: 1_000, is_all: false, scan: 1_000.0, ..asked };
        let chosen = |asked: Asked, offers: &[Made]| match choose(&asked, offers) {
            Ok((approach, _)) => format!("{}", offers[approach.index].kind().way(approach.scaled(approach.setting))),
            Err(why) => why.into_owned(),
        };
        // What is asked, the indexes, and what is decided.
        let cases: [(Asked, &[Made], &str); 10] = [
            (asked, &offers, "ivf, nprobe 4"),
            (asked, &offers[..1], "hnsw, ef 16"),
            (Asked { scan: 1_500.0, ..asked }, &offers, "recall 0."),
            (Asked { effort: Effort::Recall(0.99), ..asked }, &offers[..1], "no setting measured has recall 0.99"),
            (Asked { effort: Effort::Exact, ..asked }, &offers, "exact"),
            (Asked { k: None, ..asked }, &offers, "every record above a score"),
            (asked, &[], "no index over this segment"),
            (Asked { effort: by_hand(Some(50), None), scan: 0.0, ..asked }, &offers, "hnsw, ef 50"),
            (Asked { effort: by_hand(None, None), ..asked }, &offers, "no index of a kind whose effort was given"),
            // A tenth is selected: this takes ten times the effort, which is more than looking at what is left.
            (few, &offers[..1], "recall 0."),
        ];
        for (number, (asked, offers, expected)) in cases.into_iter().enumerate() {
            let chosen = chosen(asked, offers);
            assert!(chosen.starts_with(expected), "case {number}: {chosen}");
        }
        assert_eq!(chosen(Asked { scan: 1e9, ..few }, &offers[..1]), "hnsw, ef 160");
    }
}
