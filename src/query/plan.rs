//! Which way each segment is searched: decided anew for every query, from what is there, what is asked, and what it costs.

use super::{Approximation, Effort, Search};
use crate::error::Result;
use crate::index::codes::CodedQuery;
use crate::index::exact::{Gathered, scan, settle};
use crate::index::graph::Graph;
use crate::index::table::CodeTable;
use crate::index::{Place, Selected, Selection};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// How an answer was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The segments that have records to look at, in order.
    pub segments: Vec<SegmentPlan>,
}

/// How one segment was searched.
#[derive(Clone, Debug, PartialEq)]
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
pub enum Way {
    /// Every record's rows were read. Exact.
    Rows,
    /// Every record's codes were read, and the rows of those that might be among the best. Exact.
    Codes,
    /// A graph was walked by a search of this width.
    Graph {
        /// Rows kept on the way; `ef`.
        width: u64,
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
        matches!(self, Way::Rows | Way::Codes)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Rows => f.write_str("rows"),
            Way::Codes => f.write_str("codes"),
            Way::Graph { width } => write!(f, "graph, width {width}"),
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

/// An index of a segment, or the codes alone.
enum Index {
    Graph(Arc<Graph>),
    Codes(Arc<CodeTable>),
}

impl Index {
    fn table(&self) -> &CodeTable {
        match self {
            Index::Graph(graph) => &graph.table,
            Index::Codes(table) => table,
        }
    }
}

/// A decision.
pub(super) struct Choice {
    pub(super) way: Way,
    pub(super) why: Cow<'static, str>,
    /// Mean recall at this effort, if not every record is looked at.
    pub(super) recall: Option<(f64, f64)>,
}

impl Choice {
    pub(super) fn exact(way: Way, why: impl Into<Cow<'static, str>>) -> Choice {
        Choice { way, why: why.into(), recall: None }
    }
}

impl Search<'_> {
    /// Looks at what is selected, and hands what may be among the best to `gathered`.
    pub(super) fn look(&self, selection: &Selection, gathered: &Gathered) -> Result<(Plan, Option<Approximation>)> {
        // Several rows against several: the rows themselves, of all records or of candidates.
        let coded = (self.prepared.rows() == 1).then(|| CodedQuery::new(self.metric, self.query.row(0)));
        let (mut plan, mut interval) = (Plan::default(), None);
        let mut by_rows: Vec<Place> = Vec::new();
        for selected in selection.segments.iter().filter(|selected| selected.count() > 0) {
            let index = match &coded {
                Some(query) => self.index(selected)?.map(|index| (index, query)),
                None => None,
            };
            let choice = match &index {
                None if coded.is_some() => {
                    by_rows.extend(selected.places());
                    Choice::exact(Way::Rows, "few numbers, or rows of many records")
                }
                None => {
                    let (choice, records) = self.likely(selected);
                    by_rows.extend(records.into_iter().map(|record| Place { segment: selected.segment, record }));
                    choice
                }
                Some((index, query)) => {
                    let others = index.table().others.iter().filter(|&record| selected.contains(record));
                    by_rows.extend(others.map(|record| Place { segment: selected.segment, record }));
                    self.look_by(index, query, selected, gathered)?
                }
            };
            let Choice { way, why, recall } = choice;
            if let Some((low, high)) = recall {
                let (lowest, highest) = interval.unwrap_or((1.0, high));
                interval = Some((low.min(lowest), high.max(highest)));
            }
            plan.segments.push(SegmentPlan { segment: selected.segment, records: selected.count(), way, why });
        }
        scan(self.rows, &by_rows, self.prepared, gathered);
        let target = if let Effort::Recall(target) = self.effort { Some(target) } else { None };
        Ok((plan, interval.map(|(low, high)| Approximation { target, low, high })))
    }

    /// What there is to search a segment by; its codes are made when they are worth it and there is none.
    fn index(&self, selected: &Selected) -> Result<Option<Index>> {
        let (segment, view) = (&self.snapshot.segments()[selected.segment as usize].segment, self.rows.view());
        if let Some(graph) = self.snapshot.artefact::<Graph>(segment, view) {
            return Ok(Some(Index::Graph(graph)));
        }
        Ok(self.rows.codes(selected.segment)?.map(Index::Codes))
    }

    fn look_by(&self, index: &Index, query: &CodedQuery, selected: &Selected, gathered: &Gathered) -> Result<Choice> {
        if let Index::Graph(graph) = index {
            let (choice, setting) = self.choose(graph, selected);
            let Way::Graph { width } = choice.way else {
                self.look_at_codes(&graph.table, query, selected, gathered)?;
                return Ok(choice);
            };
            let positions = self.walk(graph, query, width, selected)?;
            // Much fewer than was counted on: what the filter keeps lies elsewhere.
            let wanted = selected.count().min((setting / 2).max(self.k.unwrap_or(0) as u64));
            if positions.len() as u64 >= wanted {
                self.settle(&graph.table, query, Some(&positions), selected, gathered)?;
                return Ok(choice);
            }
            self.look_at_codes(&graph.table, query, selected, gathered)?;
            let why = format!("a walk of width {width} met {} of the {wanted} it should", positions.len());
            return Ok(Choice::exact(Way::Codes, why));
        }
        self.look_at_codes(index.table(), query, selected, gathered)?;
        let why = if self.effort == Effort::Exact { "exact" } else { "no index over this segment" };
        Ok(Choice::exact(Way::Codes, why))
    }

    /// A walk if it is sure enough and cheaper than looking at all codes.
    fn choose(&self, graph: &Graph, selected: &Selected) -> (Choice, u64) {
        let codes = |why: Cow<'static, str>| (Choice::exact(Way::Codes, why), 0);
        let Some(k) = self.k else { return codes("every record above a score".into()) };
        let setting = match self.effort {
            Effort::Exact => return codes("exact".into()),
            Effort::Budget(setting) => setting as u64,
            Effort::Recall(target) => match graph.curve.setting(k as u64, target) {
                None => return codes(format!("no width measured has recall {target} for {k} hits").into()),
                Some(setting) => setting,
            },
        };
        let setting = setting.max(k as u64);
        let (low, high) = graph.curve.interval(k as u64, setting);
        // Among all rows the walk must meet as many that are selected as it would meet rows if all were.
        let share = selected.count() as f64 / graph.table.len().max(1) as f64;
        let width = (setting as f64 / share.min(1.0)).ceil() as u64;
        let compared = graph.curve.compared(setting) / share.min(1.0);
        let (walk, scan) = (graph.walking.of(compared), graph.table.scanning.of(selected.count() as f64));
        let (walk_us, scan_us) = (walk / 1e3, scan / 1e3);
        let why = format!("recall {low:.3} to {high:.3} measured; walk {walk_us:.0} us, codes {scan_us:.0} us");
        let by_hand = matches!(self.effort, Effort::Budget(_)) && selected.is_all();
        match by_hand || walk < scan {
            true => (Choice { way: Way::Graph { width }, why: why.into(), recall: Some((low, high)) }, setting),
            false => codes(why.into()),
        }
    }

    /// Positions of the selected rows that a walk meets.
    fn walk(&self, graph: &Graph, query: &CodedQuery, width: u64, selected: &Selected) -> Result<Vec<u32>> {
        let mut near = graph.near(query, usize::try_from(width).unwrap_or(usize::MAX))?;
        if !selected.is_all() {
            let records = graph.table.records()?;
            near.retain(|&position| selected.contains(records[position as usize]));
        }
        Ok(near)
    }

    fn look_at_codes(
        &self,
        table: &CodeTable,
        query: &CodedQuery,
        selected: &Selected,
        gathered: &Gathered,
    ) -> Result<()> {
        let begun = Instant::now();
        if selected.is_all() {
            self.settle(table, query, None, selected, gathered)?;
        } else {
            let mut positions: Vec<u32> = selected.iter().filter_map(|record| table.position(record)).collect();
            positions.sort_unstable();
            self.settle(table, query, Some(&positions), selected, gathered)?;
        }
        table.scanning.note(selected.count(), begun.elapsed());
        Ok(())
    }

    /// Bounds the rows at these positions, all when `None`, and scores those that may be among the best.
    fn settle(
        &self,
        table: &CodeTable,
        query: &CodedQuery,
        positions: Option<&[u32]>,
        selected: &Selected,
        gathered: &Gathered,
    ) -> Result<()> {
        let count = positions.map_or(table.len(), <[u32]>::len);
        let (candidates, excluded) = table.codes()?.candidates(query, positions, self.k, gathered.top.threshold());
        gathered.exclude(count - candidates.len(), excluded);
        let (records, segment) = (table.records()?, selected.segment);
        let place = |position: u32| Place { segment, record: records[position as usize] };
        settle(self.rows, &candidates, place, self.prepared, gathered);
        Ok(())
    }
}
