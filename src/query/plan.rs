//! Which way each segment is searched: decided anew for every query, from what is there, what is asked, and what it costs.

use super::{Approximation, ByHand, Effort, Search};
use crate::error::Result;
use crate::index::exact::{Gathered, rescore, scan};
use crate::index::hnsw::Hnsw;
use crate::index::ivf::Ivf;
use crate::index::plain::{Asking, PlainIndex, PlainQuery};
use crate::index::questions::{NO_CONTRAST, Signs, Verdict, nearness};
use crate::index::sq8::Sq8Query;
use crate::index::table::Sq8Table;
use crate::index::{Curve, Place, Selected, Selection};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

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
    /// What was done.
    pub way: Way,
    /// Why that, in words.
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
        /// How many lists, or more than there are.
        nprobe: u64,
    },
    /// Records of several rows were ranked by an estimate, and this many of them scored.
    Candidates {
        /// Records scored.
        count: u64,
    },
}

impl Way {
    /// Whether every record was looked at.
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

/// What there is to search the plain vectors of a segment by: indexes, or the codes alone.
enum Means {
    Indexes(Vec<PlainIndex>),
    Sq8(Arc<Sq8Table>),
}

impl Means {
    fn table(&self) -> &Sq8Table {
        match self {
            Means::Indexes(indexes) => indexes[0].table(), // there is one at least
            Means::Sq8(table) => table,
        }
    }

    fn indexes(&self) -> &[PlainIndex] {
        match self {
            Means::Indexes(indexes) => indexes,
            Means::Sq8(_) => &[],
        }
    }
}

/// A decision.
pub(super) struct Choice {
    pub(super) way: Way,
    pub(super) why: Cow<'static, str>,
    /// Mean recall at this effort, if not every record is looked at.
    pub(super) recall: Option<(f64, f64)>,
    /// Whether the query is like those that it was measured by.
    pub(super) like: bool,
}

impl Choice {
    pub(super) fn exact(way: Way, why: impl Into<Cow<'static, str>>) -> Choice {
        Choice { way, why: why.into(), recall: None, like: true }
    }
}

/// A way to find some of a segment's records by an index.
struct Approach<'i> {
    index: &'i PlainIndex,
    /// The index's knob, if all records were selected.
    setting: u64,
    /// The part of them that is.
    share: f64,
    /// Nanoseconds.
    cost: f64,
    recall: (f64, f64),
    /// Selected records that it should lead to at least.
    wanted: u64,
}

impl Approach<'_> {
    /// A setting that leads to as many selected rows as this one if all were.
    fn scaled(&self, setting: u64) -> u64 {
        (setting as f64 / self.share).ceil() as u64
    }

    fn way(&self, setting: u64) -> Way {
        match self.index {
            PlainIndex::Hnsw(_) => Way::Hnsw { ef: setting },
            PlainIndex::Ivf(_) => Way::Ivf { nprobe: setting },
        }
    }
}

/// What an index led to.
enum Looked {
    Enough {
        way: Way,
        /// Those that are selected.
        positions: Vec<u32>,
        recall: (f64, f64),
        /// Whether the query is like those that recall was measured by.
        like: bool,
    },
    /// Too little to go by, and why.
    TooLittle(Cow<'static, str>),
}

impl Search<'_> {
    /// Looks at what is selected, and hands what may be among the best to `gathered`.
    pub(super) fn look(&self, selection: &Selection, gathered: &Gathered) -> Result<(Plan, Option<Approximation>)> {
        // Several rows against several: the rows themselves, of all records or of candidates.
        let coded = (self.prepared.rows() == 1).then(|| Sq8Query::new(self.metric, self.query.row(0)));
        let (mut plan, mut interval) = (Plan::default(), None);
        let mut by_rows: Vec<Place> = Vec::new();
        for selected in selection.segments.iter().filter(|selected| selected.count() > 0) {
            let means = match &coded {
                Some(query) => self.means(selected)?.map(|means| (means, query)),
                None => None,
            };
            let choice = match &means {
                None if coded.is_some() => {
                    by_rows.extend(selected.places());
                    Choice::exact(Way::Rows, "few numbers, or rows of many records")
                }
                None => {
                    let (choice, records) = self.likely(selected);
                    by_rows.extend(records.into_iter().map(|record| Place { segment: selected.segment, record }));
                    choice
                }
                Some((means, query)) => {
                    let others = means.table().others.iter().filter(|&record| selected.contains(record));
                    by_rows.extend(others.map(|record| Place { segment: selected.segment, record }));
                    self.look_by(means, query, selected, gathered)?
                }
            };
            let Choice { way, why, recall, like } = choice;
            if let Some((low, high)) = recall {
                // Of a query unlike those that were asked nothing was measured.
                let (low, high) = if like { (low, high) } else { (0.0, 1.0) };
                let (lowest, highest, all_like) = interval.unwrap_or((1.0, high, true));
                interval = Some((low.min(lowest), high.max(highest), like && all_like));
            }
            plan.segments.push(SegmentPlan { segment: selected.segment, records: selected.count(), way, why });
        }
        scan(self.rows, &by_rows, self.prepared, gathered);
        let target = if let Effort::Recall(target) = self.effort { Some(target) } else { None };
        Ok((plan, interval.map(|(low, high, like)| Approximation { target, low, high, like })))
    }

    /// What there is to search a segment by; its codes are made when they are worth it and there is none.
    fn means(&self, selected: &Selected) -> Result<Option<Means>> {
        let (segment, view) = (&self.snapshot.segments()[selected.segment as usize].segment, self.rows.view());
        let graph = self.snapshot.artefact::<Hnsw>(segment, view).map(PlainIndex::Hnsw);
        let lists = self.snapshot.artefact::<Ivf>(segment, view).map(PlainIndex::Ivf);
        // Only a forged file is of another dimension.
        let fits = |table: &Sq8Table| table.dim() == self.query.dim();
        let indexes: Vec<PlainIndex> = graph.into_iter().chain(lists).filter(|index| fits(index.table())).collect();
        if !indexes.is_empty() {
            return Ok(Some(Means::Indexes(indexes)));
        }
        Ok(self.rows.codes(selected.segment)?.filter(|table| fits(table)).map(Means::Sq8))
    }

    fn look_by(&self, means: &Means, query: &Sq8Query, selected: &Selected, gathered: &Gathered) -> Result<Choice> {
        let (approach, why) = match self.choose(means, selected) {
            Ok(chosen) => chosen,
            Err(why) => {
                self.look_at_codes(means.table(), query, selected, gathered)?;
                return Ok(Choice::exact(Way::Sq8, why));
            }
        };
        let why = match self.near(&approach, query, selected)? {
            Looked::Enough { way, positions, recall, like } => {
                self.rescore(approach.index.table(), query, Some(&positions), selected, gathered)?;
                return Ok(Choice { way, why, recall: Some(recall), like });
            }
            Looked::TooLittle(why) => why,
        };
        self.look_at_codes(means.table(), query, selected, gathered)?;
        Ok(Choice::exact(Way::Sq8, why))
    }

    /// The cheapest index that is sure enough, if it is cheaper than looking at all codes; and why, or why not.
    fn choose<'i>(
        &self,
        means: &'i Means,
        selected: &Selected,
    ) -> Result<(Approach<'i>, Cow<'static, str>), Cow<'static, str>> {
        let Some(k) = self.k else { return Err("every record above a score".into()) };
        if self.effort.is_exact() {
            return Err("exact".into());
        }
        let (by_hand, indexes) = (matches!(self.effort, Effort::ByHand(_)), means.indexes());
        let approaches = indexes.iter().filter_map(|index| self.approach(index, k as u64, selected));
        let Some(best) = approaches.min_by(|a, b| a.cost.total_cmp(&b.cost)) else {
            return Err(match (indexes, self.effort) {
                ([_, ..], Effort::Recall(target)) => {
                    format!("no setting measured has recall {target} for {k} hits").into()
                }
                ([_, ..], Effort::ByHand(_)) => "no index of a kind whose effort was given".into(),
                _ => "no index over this segment".into(),
            });
        };
        let scan = means.table().scanning.of(selected.count() as f64);
        let ((low, high), cost_us, scan_us) = (best.recall, best.cost / 1e3, scan / 1e3);
        let why = format!("recall {low:.3} to {high:.3} measured; index {cost_us:.0} us, codes {scan_us:.0} us");
        match by_hand && selected.is_all() || best.cost < scan {
            true => Ok((best, why.into())),
            false => Err(why.into()),
        }
    }

    /// How an index would be asked; nothing when no setting that it measured is sure enough.
    fn approach<'i>(&self, index: &'i PlainIndex, k: u64, selected: &Selected) -> Option<Approach<'i>> {
        let curve = index.recall().curve();
        let setting = match self.effort {
            Effort::Exact => return None,
            Effort::ByHand(ByHand { ef, nprobe, .. }) => match index {
                PlainIndex::Hnsw(_) => ef? as u64,
                PlainIndex::Ivf(_) => nprobe? as u64,
            },
            Effort::Recall(target) => curve.setting(k, target)?,
        };
        // A graph's setting is a number of rows, which should include the hits. With lists it is what they hold in the mean, of which few can be far less.
        let (setting, wanted) = match index {
            PlainIndex::Hnsw(_) => (setting.max(k), (setting / 2).max(k)),
            PlainIndex::Ivf(_) if selected.is_all() => (setting.max(1), k),
            PlainIndex::Ivf(_) => (setting.max(1), (curve.compared(setting) / 2.0) as u64),
        };
        // Among all rows it must lead to as many that are selected as it would lead to rows if all were.
        let share = (selected.count() as f64 / index.table().len().max(1) as f64).min(1.0);
        // Rows whose codes prove nothing are looked at in any case.
        let cost = index.cost(curve.compared(setting) / share + index.table().without_bound.len() as f64);
        Some(Approach {
            index,
            setting,
            share,
            cost,
            recall: curve.interval(k, setting),
            wanted: wanted.max(k).min(selected.count()),
        })
    }

    /// Asks an index with as much effort as queries like this one take, or says why none is enough.
    fn near(&self, approach: &Approach<'_>, coded: &Sq8Query, selected: &Selected) -> Result<Looked> {
        let Approach { index, share, recall, wanted, .. } = *approach;
        let query = PlainQuery { metric: self.metric, row: self.query.row(0), coded };
        let k = self.k.unwrap_or_default() as u64;
        if self.is_rechecked(index.recall(), share) {
            return self.ask_both(approach, query, selected).map(Looked::TooLittle);
        }
        let curve = index.recall().curve();
        let mut asking = index.ask(query, approach.scaled(approach.setting))?;
        let (mut setting, mut may_look_again) = (approach.setting, matches!(index, PlainIndex::Hnsw(_)));
        let (mut positions, like, is_known) = loop {
            let positions = asking.look(approach.scaled(setting))?;
            let target = if let Effort::Recall(target) = self.effort { target } else { 0.0 };
            let signs = |k| self.signs(index, &asking, k, selected.segment).unwrap_or([f64::NAN, NO_CONTRAST]);
            let (verdict, is_known) = curve.judge(k, (setting, target), may_look_again, signs);
            let next = match verdict {
                Verdict::Enough => break (positions, is_known || target > 0.0, is_known),
                Verdict::Unlike if target == 0.0 => break (positions, false, true),
                Verdict::Unlike => return Ok(Looked::TooLittle(unlike(&curve, signs(k.max(1))[0], k))),
                Verdict::Never => {
                    return Ok(Looked::TooLittle(
                        "queries like this one find too little by any setting measured".into(),
                    ));
                }
                Verdict::LookAgain(_) if target == 0.0 => break (positions, false, true),
                Verdict::LookAgain(next) => {
                    may_look_again = false;
                    next
                }
                Verdict::At(next) => next,
            };
            if index.cost(curve.compared(next) / share) >= index.table().scanning.of(selected.count() as f64) {
                return Ok(Looked::TooLittle("queries like this one take more effort than all codes do".into()));
            }
            setting = next;
        };
        let way = approach.way(approach.scaled(setting));
        let table = index.table();
        if !table.without_bound.is_empty() {
            positions.extend(&table.without_bound);
            positions.sort_unstable();
            positions.dedup();
        }
        let looked = positions.len();
        if !selected.is_all() {
            let records = table.records()?;
            positions.retain(|&position| selected.contains(records[position as usize]));
        }
        let wanted = match index {
            PlainIndex::Ivf(_) if !selected.is_all() => wanted.max(fewest(looked as f64 * share)),
            _ => wanted,
        };
        if (positions.len() as u64) < wanted {
            // Much fewer than was counted on: what the filter keeps lies elsewhere.
            let why = format!("{way} led to {} of the {wanted} records it should", positions.len());
            return Ok(Looked::TooLittle(why.into()));
        }
        let recall = match self.effort {
            // Shown by queries like this one alone.
            Effort::Recall(target) if !is_known => (target, 1.0),
            _ if setting == approach.setting => recall,
            _ => curve.interval(k, setting),
        };
        Ok(Looked::Enough { way, positions, recall, like })
    }

    /// Answers a query exactly, to note what the index leads to of it; says how much that is.
    fn ask_both(
        &self,
        approach: &Approach<'_>,
        query: PlainQuery<'_>,
        selected: &Selected,
    ) -> Result<Cow<'static, str>> {
        let (index, table) = (approach.index, approach.index.table());
        let gathered = Gathered::new(self.k, None);
        self.look_at_codes(table, query.coded, selected, &gathered)?;
        let truth = self.finish(gathered).hits;
        let truth: Vec<u32> = truth.iter().filter_map(|(_, place)| table.position(place.record)).collect();
        let mut asking = index.ask(query, approach.scaled(approach.setting))?;
        let found = self.led_to(index.recall(), &truth, |setting| asking.look(approach.scaled(setting)))?;
        let signs = self.signs(index, &asking, self.k.unwrap_or_default() as u64, selected.segment);
        Ok(self.note(index.recall(), approach.setting, signs, found))
    }

    /// How the query looks from an index that was asked, for so many hits.
    fn signs(&self, index: &PlainIndex, asking: &Asking<'_>, k: u64, segment: u32) -> Option<Signs> {
        match asking {
            Asking::Ivf(nearest) => Some(nearest.signs()),
            Asking::Hnsw(walk) => {
                let position = walk.kth(usize::try_from(k).ok()?)?;
                let record = *index.table().records().ok()?.get(position as usize)?;
                let matrix = self.rows.matrix(Place { segment, record }).ok()?;
                let (query, norm) = (self.query.row(0), self.prepared.norms()[0]);
                Some([nearness(self.metric, query, norm, matrix.view().row(0)), NO_CONTRAST])
            }
        }
    }

    fn look_at_codes(
        &self,
        table: &Sq8Table,
        query: &Sq8Query,
        selected: &Selected,
        gathered: &Gathered,
    ) -> Result<()> {
        let begun = Instant::now();
        if selected.is_all() {
            self.rescore(table, query, None, selected, gathered)?;
        } else {
            let mut positions: Vec<u32> = selected.iter().filter_map(|record| table.position(record)).collect();
            positions.sort_unstable();
            self.rescore(table, query, Some(&positions), selected, gathered)?;
        }
        table.scanning.note(selected.count(), begun.elapsed());
        Ok(())
    }

    /// Bounds the rows at these positions, all when `None`, and scores those that may be among the best.
    fn rescore(
        &self,
        table: &Sq8Table,
        query: &Sq8Query,
        positions: Option<&[u32]>,
        selected: &Selected,
        gathered: &Gathered,
    ) -> Result<()> {
        let count = positions.map_or(table.len(), <[u32]>::len);
        let (candidates, excluded) = table.codes()?.candidates(query, positions, self.k, gathered.top.threshold());
        gathered.exclude(count - candidates.len(), excluded);
        let (records, segment) = (table.records()?, selected.segment);
        let place = |position: u32| Place { segment, record: records[position as usize] };
        rescore(self.rows, &candidates, place, self.prepared, gathered);
        Ok(())
    }
}

/// Fewest of the rows looked at that are selected where so many should be, if what is selected lies here as elsewhere: four fifths, less what chance
/// takes from a small number.
fn fewest(expected: f64) -> u64 {
    (0.8 * expected - 1.6 * expected.sqrt()).ceil() as u64 // none below 0
}

/// Why nothing is known of a query.
fn unlike(curve: &Curve, nearness: f64, k: u64) -> Cow<'static, str> {
    let (least, most) = curve.nearness(k).unwrap_or_default();
    let why = "unlike the queries that recall was measured by";
    format!("{why}: its nearness is {nearness:.3e}, theirs {least:.3e} to {most:.3e}").into()
}
