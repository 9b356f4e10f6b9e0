//! Carries out what `plan.rs` decides: looks at codes, or searches an index and checks what it led to, and gathers what
//! may be among the best.

use super::effort::Effort;
use super::plan::{self, Approach, Asked, Choice, Kind, Offer, Plan, SegmentPlan, Way};
use super::{Approximation, Search};
use crate::error::Result;
use crate::index::exact::{BoundBy, Gathered, rescore, scan};
use crate::index::hnsw::Hnsw;
use crate::index::ivf::Ivf;
use crate::index::plain::{Asking, PlainIndex, PlainQuery};
use crate::index::planes::{self, Planes, Scores};
use crate::index::questions::{NO_CONTRAST, Signs, Verdict, nearness};
use crate::index::sq8::Sq8Query;
use crate::index::table::Sq8Table;
use crate::index::{Curve, Place, Selected, Selection};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

/// What the plain vectors of a segment can be searched by: indexes, or the codes alone.
enum Means {
    Indexes(Vec<PlainIndex>),
    Sq8(Arc<Sq8Table>),
}

impl Means {
    fn table(&self) -> &Sq8Table {
        match self {
            Means::Indexes(indexes) => indexes[0].table(), // there is at least one
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

/// What the search of an index led to.
enum Looked {
    Enough {
        way: Way,
        /// The positions of the selected rows that it led to.
        positions: Vec<u32>,
        recall: (f64, f64),
        /// Whether the query is like those that recall was measured with.
        like: bool,
    },
    /// It led to too little for an answer, and why.
    TooLittle(Cow<'static, str>),
}

impl Search<'_> {
    /// Searches the selected records, and hands those that may be among the best to `gathered`.
    pub(super) fn look(&self, selection: &Selection, gathered: &Gathered) -> Result<(Plan, Option<Approximation>)> {
        // Codes serve queries of one row. Those of several are compared with the rows themselves, of all records or of
        // candidates.
        let coded = (self.prepared.rows() == 1).then(|| Sq8Query::new(self.metric, self.query.row(0)));
        let (mut plan, mut interval) = (Plan::default(), None);
        let mut estimates: Vec<(Arc<Planes>, Scores)> = Vec::new();
        let mut by_rows: Vec<Place> = Vec::new();
        for selected in selection.segments.iter().filter(|selected| selected.count() > 0) {
            let (segment, records) = (selected.segment, selected.count());
            if gathered.is_late() {
                gathered.leave(BoundBy::Rows, records as usize, self.prepared.most());
                plan.segments.push(SegmentPlan { segment, records, way: Way::Rows, why: "the time was up".into() });
                continue;
            }
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
                    let (mut choice, mut records) = self.likely(selected);
                    if choice.way == Way::Rows
                        && let Some(why) = self.look_at_planes(selected, &mut records, gathered, &mut estimates)?
                    {
                        choice = Choice::exact(Way::Sq8, format!("{}; {why}", choice.why));
                    }
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
                // For a query unlike those that recall was measured with, nothing is known.
                let (low, high) = if like { (low, high) } else { (0.0, 1.0) };
                let (lowest, highest, all_like) = interval.unwrap_or((1.0, high, true));
                interval = Some((low.min(lowest), high.max(highest), like && all_like));
            }
            plan.segments.push(SegmentPlan { segment, records, way, why });
        }
        scan(self.rows, &by_rows, self.prepared, gathered);
        // Now it is known how good the best are.
        let kth = gathered.top.threshold();
        estimates.iter().filter(|_| !gathered.is_late()).for_each(|(planes, scores)| scores.note(planes, kth));
        let target = if let Effort::Recall(target) = self.effort { Some(target) } else { None };
        Ok((plan, interval.map(|(low, high, like)| Approximation { target, low, high, like })))
    }

    /// Returns what the plain vectors of a segment can be searched by. Codes are made when they are worth it and there
    /// are none, unless a deadline would have to wait for that.
    fn means(&self, selected: &Selected) -> Result<Option<Means>> {
        let (segment, view) = (&self.snapshot.segments()[selected.segment as usize].segment, self.rows.view());
        let graph = self.snapshot.artefact::<Hnsw>(segment, view).map(PlainIndex::Hnsw);
        let lists = self.snapshot.artefact::<Ivf>(segment, view).map(PlainIndex::Ivf);
        // Only a forged file has another dimension.
        let fits = |table: &Sq8Table| table.dim() == self.query.dim();
        let indexes: Vec<PlainIndex> = graph.into_iter().chain(lists).filter(|index| fits(index.table())).collect();
        if !indexes.is_empty() {
            return Ok(Some(Means::Indexes(indexes)));
        }
        let codes = match self.deadline {
            None => self.rows.codes(selected.segment)?,
            Some(_) => self.snapshot.artefact(segment, view),
        };
        Ok(codes.filter(|table| fits(table)).map(Means::Sq8))
    }

    /// Searches records of several rows by their planes, if that pays, and says how. Those that it dealt with are taken
    /// from `records`.
    fn look_at_planes(
        &self,
        selected: &Selected,
        records: &mut Vec<u32>,
        gathered: &Gathered,
        estimates: &mut Vec<(Arc<Planes>, Scores)>,
    ) -> Result<Option<String>> {
        let segment = &self.snapshot.segments()[selected.segment as usize].segment;
        let planes = match self.deadline {
            None => self.rows.planes(selected.segment)?,
            Some(_) => self.snapshot.artefact::<Planes>(segment, self.rows.view()),
        };
        // Only a forged file is of another dimension.
        let Some(planes) = planes.filter(|planes| planes.dim() == self.query.dim()) else { return Ok(None) };
        let search = planes::Search {
            planes: &planes,
            rows: self.rows,
            segment: selected.segment,
            query: self.query,
            metric: self.metric,
            prepared: self.prepared,
            k: self.k,
            gathered,
            together: self.together,
        };
        let (why, scores) = search.run(records)?;
        estimates.extend(scores.map(|scores| (Arc::clone(&planes), scores)));
        if why.is_some() {
            records.clear();
        }
        Ok(why)
    }

    fn look_by(&self, means: &Means, query: &Sq8Query, selected: &Selected, gathered: &Gathered) -> Result<Choice> {
        let why = match self.choose(means, selected) {
            Err(why) => why,
            Ok((approach, why)) => {
                let index = &means.indexes()[approach.index];
                match self.near(&approach, index, query, selected)? {
                    Looked::Enough { way, positions, recall, like } => {
                        self.rescore(index.table(), query, Some(&positions), selected, gathered)?;
                        return Ok(Choice { way, why, recall: Some(recall), like });
                    }
                    Looked::TooLittle(why) => why,
                }
            }
        };
        self.look_at_codes(means.table(), query, selected, gathered)?;
        Ok(Choice::exact(Way::Sq8, why))
    }

    /// Returns what the planner decides for a segment.
    fn choose(&self, means: &Means, selected: &Selected) -> Result<(Approach, Cow<'static, str>), Cow<'static, str>> {
        let asked = Asked {
            k: self.k.map(|k| k as u64),
            effort: self.effort,
            selected: selected.count(),
            is_all: selected.is_all(),
            scan: means.table().scanning.of(selected.count() as f64),
        };
        plan::choose(&asked, means.indexes())
    }

    /// Searches an index with as much effort as queries like this one take, or says why none is enough.
    fn near(&self, approach: &Approach, index: &PlainIndex, coded: &Sq8Query, selected: &Selected) -> Result<Looked> {
        let Approach { share, recall, wanted, .. } = *approach;
        let query = PlainQuery { metric: self.metric, row: self.query.row(0), coded };
        let k = self.k.unwrap_or_default() as u64;
        if self.is_rechecked(index.recall(), share) {
            return self.ask_both(approach, index, query, selected).map(Looked::TooLittle);
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
                Verdict::Unlike => return Ok(Looked::TooLittle(plan::unlike(&curve, signs(k.max(1))[0], k))),
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
        let way = index.kind().way(approach.scaled(setting));
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
            PlainIndex::Ivf(_) if !selected.is_all() => wanted.max(plan::fewest(looked as f64 * share)),
            _ => wanted,
        };
        if (positions.len() as u64) < wanted {
            // Far fewer than expected: what the filter keeps lies elsewhere.
            let why = format!("{way} led to {} of the {wanted} records it should", positions.len());
            return Ok(Looked::TooLittle(why.into()));
        }
        let recall = match self.effort {
            // Only the queries like this one show that it is reached.
            Effort::Recall(target) if !is_known => (target, 1.0),
            _ if setting == approach.setting => recall,
            _ => curve.interval(k, setting),
        };
        Ok(Looked::Enough { way, positions, recall, like })
    }

    /// Answers a query exactly, notes how much of that the index leads to, and says how much it is.
    fn ask_both(
        &self,
        approach: &Approach,
        index: &PlainIndex,
        query: PlainQuery<'_>,
        selected: &Selected,
    ) -> Result<Cow<'static, str>> {
        let table = index.table();
        let gathered = Gathered::new(self.k, None, None);
        self.look_at_codes(table, query.coded, selected, &gathered)?;
        let truth = self.finish(gathered).hits;
        let truth: Vec<u32> = truth.iter().filter_map(|(_, place)| table.position(place.record)).collect();
        let mut asking = index.ask(query, approach.scaled(approach.setting))?;
        let found = self.led_to(index.recall(), &truth, |setting| asking.look(approach.scaled(setting)))?;
        let signs = self.signs(index, &asking, self.k.unwrap_or_default() as u64, selected.segment);
        Ok(self.note(index.recall(), approach.setting, signs, found))
    }

    /// Returns how the query looks from an index that was searched, for so many hits.
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
        // A scan that was stopped says nothing of what a whole one takes.
        if !gathered.is_late() {
            table.scanning.note(selected.count(), begun.elapsed());
        }
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
        gathered.exclude(BoundBy::Sq8, count - candidates.len(), excluded);
        let (records, segment) = (table.records()?, selected.segment);
        let place = |position: u32| Place { segment, record: records[position as usize] };
        rescore(self.rows, &candidates, place, self.prepared, gathered);
        Ok(())
    }
}

impl Offer for PlainIndex {
    fn kind(&self) -> Kind {
        match self {
            PlainIndex::Hnsw(_) => Kind::Hnsw,
            PlainIndex::Ivf(_) => Kind::Ivf,
        }
    }

    fn curve(&self) -> Arc<Curve> {
        self.recall().curve()
    }

    fn rows(&self) -> u64 {
        self.table().len() as u64
    }

    fn without_bound(&self) -> u64 {
        self.table().without_bound.len() as u64
    }

    fn cost(&self, compared: f64) -> f64 {
        PlainIndex::cost(self, compared)
    }
}
