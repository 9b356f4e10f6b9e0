//! Queries of several rows: which records of a segment are scored, all of them or those that an index holds likely to
//! be among the best.

use super::Search;
use super::effort::Effort;
use super::plan::{Choice, Way};
use crate::index::exact::{Gathered, scan};
use crate::index::questions::Verdict;
use crate::index::{Candidates, Selected};
use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;

impl Search<'_> {
    /// Returns which records of a segment are to be scored, and why these.
    pub(super) fn likely(&self, selected: &Selected) -> (Choice, Vec<u32>) {
        match self.estimate(selected) {
            Ok(chosen) => chosen,
            Err(why) => (Choice::exact(Way::Rows, why), selected.iter().collect()),
        }
    }

    /// Returns the records likely to be among the best, or why all are to be scored. Of a filtered segment as many are
    /// taken as of a whole one: they are chosen among those that meet the filter, so they are a larger share of these.
    fn estimate(&self, selected: &Selected) -> Result<(Choice, Vec<u32>), Cow<'static, str>> {
        if self.effort.is_exact() {
            return Err("exact".into());
        }
        let Some(k) = self.k.map(|k| k as u64) else { return Err("every record above a score".into()) };
        let segment = &self.snapshot.segments()[selected.segment as usize].segment;
        let candidates: Option<Arc<Candidates>> = self.snapshot.artefact(segment, self.rows.view());
        let candidates = candidates.ok_or("no index over this segment")?;
        let (curve, recall) = (candidates.curve(), candidates.recall());
        let (setting, target) = match self.effort {
            Effort::Recall(target) => (curve.setting(k, target), target),
            Effort::ByHand(by_hand) => (by_hand.candidates.map(|count| count as u64), 0.0),
            Effort::Exact => (None, 1.0),
        };
        let setting = setting.ok_or(match self.effort {
            Effort::ByHand(_) => "no index of a kind whose effort was given",
            _ => "no number of candidates measured has this recall for so many hits",
        })?;
        let is_half = |count: u64| count >= selected.count().div_ceil(2);
        let half = |count: u64| format!("{count} candidates are half of the records or more");
        if is_half(setting.max(k)) {
            return Err(half(setting.max(k)).into());
        }
        let (allowed, deleted) = selected.bitmaps();
        // Only a forged file has another dimension.
        let estimated = candidates.ask(self.query, allowed, &deleted);
        let mut estimated = estimated.map_err(|_| "the index is of other rows")?;
        let signs = estimated.signs();
        if self.is_rechecked(recall, selected.count() as f64 / f64::from(candidates.records())) {
            let gathered = Gathered::new(self.k, None, None);
            scan(self.rows, &selected.places().collect::<Vec<_>>(), self.prepared, &gathered);
            let truth: Vec<u32> = self.finish(gathered).hits.iter().map(|(_, place)| place.record).collect();
            let look = |setting: u64| Ok::<_, Infallible>(estimated.first(setting as usize));
            let Ok(found) = self.led_to(recall, &truth, look);
            return Err(self.note(recall, setting, Some(signs), found));
        }
        let (verdict, is_known) = curve.judge(k, (setting, target), false, |_| signs);
        let (setting, like) = match verdict {
            // An effort set by hand has no target that the questions could reach: only known queries are like them.
            Verdict::Enough => (setting, is_known || target > 0.0),
            Verdict::At(next) => (next, true),
            _ if target == 0.0 => (setting, false),
            Verdict::Never => {
                return Err("queries like this one find too little by any number of candidates measured".into());
            }
            Verdict::Unlike | Verdict::LookAgain(_) => {
                return Err("unlike the queries that recall was measured by".into());
            }
        };
        let count = setting.max(k);
        if is_half(count) {
            return Err(half(count).into());
        }
        let mut records = estimated.first(count as usize);
        // Records of no rows cost nothing, and damaged ones have to be named.
        records.extend(candidates.others().iter().filter(|&record| selected.contains(record)));
        // Where the recall of all questions does not hold, those like this query have reached the target.
        let (low, high) = if is_known || target == 0.0 { curve.interval(k, count) } else { (target, 1.0) };
        let why = format!("recall {low:.3} to {high:.3} measured").into();
        Ok((Choice { way: Way::Candidates { count }, why, recall: Some((low, high)), like }, records))
    }
}
