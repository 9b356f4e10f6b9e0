//! Queries that are answered exactly as well, so that an index learns what it leads to of them.

use super::{Effort, Search};
use crate::index::exact::{Found, Gathered};
use crate::index::questions::Signs;
use crate::index::recall::Recall;
use std::borrow::Cow;

/// The share of the records that a filter and deletions have to leave for a query to tell of the others.
const MOSTLY: f64 = 0.5;

impl Search<'_> {
    /// Whether it is the turn of this query, in a segment of whose records this share is selected.
    pub(super) fn is_rechecked(&self, recall: &Recall, selected: f64) -> bool {
        let Some(share) = self.recheck.filter(|_| matches!(self.effort, Effort::Recall(_))) else { return false };
        selected >= MOSTLY && recall.is_due(share)
    }

    pub(super) fn finish(&self, gathered: Gathered) -> Found {
        gathered.finish(|place| self.segment(place).id(place.record).ok())
    }

    /// How many of the best `truth` an index leads to at each setting that it measured; `look` tells what it leads to
    /// at one.
    pub(super) fn led_to<E>(
        &self,
        recall: &Recall,
        truth: &[u32],
        mut look: impl FnMut(u64) -> Result<Vec<u32>, E>,
    ) -> Result<Vec<usize>, E> {
        let k = self.k.unwrap_or_default();
        // An answer that is shorter than `k` lacks nothing.
        let lacking = k.saturating_sub(truth.len());
        let of_setting = |setting| {
            let mut found = look(setting)?;
            found.sort_unstable();
            Ok(lacking + truth.iter().filter(|best| found.binary_search(best).is_ok()).count())
        };
        recall.settings(k as u64).into_iter().map(of_setting).collect()
    }

    /// Notes what an index leads to of a query that looks so; says how much it would have been at `setting`.
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
