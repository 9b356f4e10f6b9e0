//! Rechecked queries: they are also answered exactly, so that an index learns how much of the answer it leads to.

use super::{Effort, Search};
use crate::index::exact::{Found, Gathered};
use crate::index::questions::Signs;
use crate::index::recall::Recall;
use std::borrow::Cow;

/// Least share of the records that a filter and deletions have to leave for a query to say something about others.
const MOSTLY: f64 = 0.5;

impl Search<'_> {
    /// Returns whether this query is to be rechecked in a segment of whose records the share `selected` is selected.
    pub(super) fn is_rechecked(&self, recall: &Recall, selected: f64) -> bool {
        // An exact answer as well would not end in time.
        let may = matches!(self.effort, Effort::Recall(_)) && self.deadline.is_none();
        let Some(share) = self.recheck.filter(|_| may) else { return false };
        selected >= MOSTLY && recall.is_due(share)
    }

    pub(super) fn finish(&self, gathered: Gathered) -> Found {
        gathered.finish(|place| self.segment(place).id(place.record).ok())
    }

    /// Returns how many of the true hits `truth` an index leads to at each setting that it measured; `look` returns
    /// what it leads to at one.
    pub(super) fn led_to<E>(
        &self,
        recall: &Recall,
        truth: &[u32],
        mut look: impl FnMut(u64) -> Result<Vec<u32>, E>,
    ) -> Result<Vec<usize>, E> {
        let k = self.k.unwrap_or_default();
        // An answer that is shorter than `k` counts as if it were full.
        let lacking = k.saturating_sub(truth.len());
        let of_setting = |setting| {
            let mut found = look(setting)?;
            found.sort_unstable();
            Ok(lacking + truth.iter().filter(|best| found.binary_search(best).is_ok()).count())
        };
        recall.settings(k as u64).into_iter().map(of_setting).collect()
    }

    /// Notes how many hits an index finds for a query with these signs at each setting, and says how many at `setting`.
    pub(super) fn note(
        &self,
        recall: &Recall,
        setting: u64,
        signs: Option<Signs>,
        found: Vec<usize>,
    ) -> Cow<'static, str> {
        let k = self.k.unwrap_or_default();
        let at = recall.settings(k as u64).iter().position(|&other| other >= setting).unwrap_or_default();
        let has = found.get(at).copied().unwrap_or_default();
        if let Some(signs) = signs {
            recall.note(k as u64, signs, found);
        }
        format!("asked exactly as well, as a share of queries is: the index has {has} of {k}").into()
    }
}
