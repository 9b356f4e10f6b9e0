//! Several rows against several: all records of a segment, or those that an index holds likely to be among the best.

use super::plan::{Choice, MOSTLY, Way};
use super::{Effort, Search};
use crate::index::candidates::Estimated;
use crate::index::exact::{Gathered, scan};
use crate::index::questions::Verdict;
use crate::index::{Candidates, Place, Selected};
use std::borrow::Cow;
use std::sync::Arc;

impl Search<'_> {
    /// Which records of a segment are to be scored, and why these.
    pub(super) fn likely(&self, selected: &Selected) -> (Choice, Vec<u32>) {
        match self.estimate(selected) {
            Ok(chosen) => chosen,
            Err(why) => (Choice::exact(Way::Rows, why), selected.iter().collect()),
        }
    }

    /// The records likely to be among the best, or why all are to be scored. Of a filtered segment as many are taken as of a whole one:
    /// they are chosen among those that meet the filter, of which they are a larger share.
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
            Effort::Budget(setting) => (Some(setting as u64), 0.0),
            Effort::Exact => (None, 1.0),
        };
        let setting = setting.ok_or("no number of candidates measured has this recall for so many hits")?;
        let is_half = |count: u64| count >= selected.count().div_ceil(2);
        let half = |count: u64| format!("{count} candidates are half of the records or more");
        if is_half(setting.max(k)) {
            return Err(half(setting.max(k)).into());
        }
        let (allowed, deleted) = selected.bitmaps();
        // Only a forged file is of another dimension.
        let estimated = candidates.ask(self.query, allowed, &deleted);
        let mut estimated = estimated.map_err(|_| "the index is of other rows")?;
        let signs = estimated.signs();
        if let (Effort::Recall(_), Some(share)) = (self.effort, self.recheck)
            && selected.count() as f64 >= MOSTLY * f64::from(candidates.records())
            && recall.is_due(share)
        {
            let found = self.found_among(&mut estimated, &recall.settings(k), selected);
            let at = recall.settings(k).iter().position(|&other| other >= setting).unwrap_or_default();
            let has = found.get(at).copied().unwrap_or_default();
            recall.note(k, signs, found);
            return Err(format!("asked exactly as well, as a share of queries is: the index has {has} of {k}").into());
        }
        let (verdict, is_known) = curve.judge(k, (setting, target), false, |_| signs);
        let (setting, like) = match verdict {
            // An effort given by hand is nothing that those like it were asked for.
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
        // Records of no rows cost nothing, and damaged ones are to be named.
        records.extend(candidates.others().iter().filter(|&record| selected.contains(record)));
        // What is not known of all queries was shown by those like this one.
        let (low, high) = if is_known || target == 0.0 { curve.interval(k, count) } else { (target, 1.0) };
        let why = format!("recall {low:.3} to {high:.3} measured").into();
        Ok((Choice { way: Way::Candidates { count }, why, recall: Some((low, high)), like }, records))
    }

    /// Answers a query exactly, to see how much of it is among so many candidates each time.
    fn found_among(&self, estimated: &mut Estimated, settings: &[u64], selected: &Selected) -> Vec<usize> {
        let gathered = Gathered::new(self.k, None);
        let places: Vec<Place> = selected.places().collect();
        scan(self.rows, &places, self.prepared, &gathered);
        let truth = gathered.finish(|place| self.segment(place).id(place.record).ok()).hits;
        let most = settings.last().map_or(0, |&setting| setting as usize);
        let first = estimated.first(most);
        let lacking = self.k.unwrap_or_default().saturating_sub(truth.len());
        let both = |&setting: &u64| {
            let first = &first[..first.len().min(setting as usize)];
            // An answer that is shorter than `k` lacks nothing.
            lacking + truth.iter().filter(|(_, place)| first.contains(&place.record)).count()
        };
        settings.iter().map(both).collect()
    }
}
