//! Records that are likely to be among the best by MaxSim, to be scored exactly afterwards.
//!
//! **How.** A row is approximated by the centroid nearest to it, or one about as near, and a record by the set of its
//! rows' centroids and one row more, its *rest*: the mean of what its rows have beyond their centroids. So the score is
//! estimated as
//! ```text
//! sum over query rows q of (largest <q, c> of the record's centroids c)  +  weight * <sum of the query rows, rest>
//! ```
//! The first term needs a table of all query rows against all centroids, made once a query, and then for each record
//! the largest of a few numbers for each query row. The weight, 0 (then no rests are kept), 1/2 or 1, is the one that
//! finds most when records serve as queries. `space.rs` makes an inner product of every metric, `build.rs` finds
//! centroids and codes, `search.rs` estimates, `measure.rs` says how good that is.
//!
//! This is the centroid interaction of PLAID (Santhanam et al., 2022, section 4) with the rest as a second stage.
//! Chosen by measuring: the share of the true best 10 among 20, 80 and 320 candidates, by rows x dim of a record.
//!
//! | | bytes | 125 x 96 whitened: 20, 80, 320 | 249 x 64 log-mel: 20, 80, 320 | 249 x 512 synthetic: 20, 80, 320 |
//! |---|---|---|---|---|
//! | mean of the rows | 4 dim | .48 .60 .81 | .35 .49 .70 | .94 .99 1 |
//! | centroids, 256 | 50 to 80 | .35 .70 .93 | .37 .68 .99 | .35 .66 .96 |
//! | centroids, 1,024 | 80 to 105 | .53 .80 .96 | .62 .94 1 | .65 .83 .97 |
//! | and half of the rest | + 4 dim | .56 .86 .99 | .46 .84 .98 | .88 1 1 |
//! | and all of the rest | + 4 dim | .54 .85 .99 | .32 .73 .96 | .95 1 1 |
//! | fixed-dimensional encodings (MUVERA, 2024), 10,240 numbers | 40,960 | .48 .73 .87 | .25 .51 .82 | .84 .99 1 |
//!
//! **Costs.** A search: `query rows x centroids x dim` multiplications, and for each record a pass over `query rows x
//! codes` bytes and one inner product; no row of a record is read. Building: the rows are read three times and more,
//! for a sample (at most 64 MiB), codes (centroids lie in cells, so that a row meets a part of them, see
//! [`cells`](crate::pipeline::cells)) and the scans that measure the recall; it holds what it writes: a row and about
//! 150 bytes a record. Where even half of the records as candidates would not do, few questions are asked.
//!
//! One thread of a busy machine, on 1,980 clips of ESC-50: milliseconds a query for the best 10, and the recall of 20
//! queries that were not records, at the setting that the measured curve gave for the recall asked for:
//!
//! | | exact scan | 0.9 | 0.95 | 0.99 |
//! |---|---|---|---|---|
//! | 125 x 96 whitened | 99 | 10 (.905, 128 candidates) | 14 (.955, 192) | 30 (1, 512) |
//! | 125 x 448 centred | 569 | 51 (.930, 96) | 67 (.965, 128) | 122 (.995, 256) |
//! | 249 x 64 log-mel | 468 | 28 (.900, 64) | 35 (.970, 96) | 99 (1, 384) |
//!
//! **On disk** (kind Centroids): ABOUT, JSON `{"metric": ..}`; CENTROIDS, f32: a row for the origin of the space, then
//! the centroids, all `DIM` numbers long and one more for `l2`; MATRICES, f32: a rest for each record, weighted, or
//! nothing; LIST_STARTS, u64: where each record's codes begin, and the end; CODES, u16: rising numbers of centroids;
//! CURVE.
//!
//! **Not here.** The exact scores of the candidates, and whether candidates are used at all.

#[cfg(any(test, feature = "testing"))]
mod alone;
mod build;
mod measure;
mod search;
mod space;
#[cfg(test)]
mod tests;

use super::recall::Recall;
use super::{Curve, CurveSource};
use crate::error::{Error, Result};
use crate::matrix::{MatrixView, StoredMatrix};
use crate::store::layout::{Kind, section};
use crate::store::{Artefact, Counts, Sections};
use roaring::RoaringBitmap;
pub(crate) use search::Estimated;
use search::Parts;
use space::Space;
use std::sync::Arc;

/// A function that returns the rows of the record with this number.
pub(crate) type Rows<'r> = dyn Fn(u32) -> Result<StoredMatrix<'r>> + Sync + 'r;

/// Codes of a run of records, and what is needed to compare a query with them.
#[derive(Debug)]
pub struct Candidates {
    sections: Sections,
    space: Space,
    recall: Recall,
    /// Records that have no codes: those of no rows, and those that could not be read.
    others: RoaringBitmap,
}

impl Candidates {
    /// Estimates the score of every record in `allowed` (of all when `None`), less those in `deleted` and those without
    /// rows. The records are not in order yet.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when the query's rows have another dimension than the records'.
    pub(crate) fn ask(
        &self,
        query: MatrixView<'_>,
        allowed: Option<&RoaringBitmap>,
        deleted: &RoaringBitmap,
    ) -> Result<Estimated> {
        if query.dim() != self.space.dim() {
            return Err(Error::mismatch("query", format!("rows of {}", self.space.dim()), query.dim()));
        }
        let [estimated] = self.parts()?.ask([1.0], query, allowed, deleted);
        Ok(estimated)
    }

    /// Returns what is known of its recall; the setting is the number of candidates.
    pub fn curve(&self) -> Arc<Curve> {
        self.recall.curve()
    }

    pub(crate) fn recall(&self) -> &Recall {
        &self.recall
    }

    /// Returns the number of records of the segment.
    pub(crate) fn records(&self) -> u32 {
        self.sections.counts().records as u32 // a segment's records are counted in 32 bits
    }

    /// Returns the records that it never names: those of no rows, and those that could not be read.
    pub(crate) fn others(&self) -> &RoaringBitmap {
        &self.others
    }

    /// Returns how many bytes all that it keeps takes.
    pub fn size(&self) -> u64 {
        self.sections.size()
    }

    fn parts(&self) -> Result<Parts<'_>> {
        let rows: &[f32] = self.sections.numbers(section::CENTROIDS)?;
        Ok(Parts {
            space: &self.space,
            centroids: &rows[self.space.width()..],
            rests: self.sections.numbers(section::MATRICES)?,
            starts: self.sections.numbers(section::LIST_STARTS)?,
            codes: self.sections.numbers(section::CODES)?,
        })
    }
}

impl Artefact for Candidates {
    const KIND: Kind = Kind::Centroids;

    fn read(sections: Sections) -> Result<Candidates> {
        let about: serde_json::Value = serde_json::from_slice(sections.bytes(section::ABOUT)?).unwrap_or_default();
        let metric = about["metric"].as_str().and_then(|name| name.parse().ok());
        let metric = metric.ok_or_else(|| sections.corrupt(section::ABOUT, "no metric"))?;
        let Counts { records, dim, .. } = sections.counts();
        let rows: &[f32] = sections.numbers(section::CENTROIDS)?;
        let width = usize::try_from(dim).ok().and_then(|dim| dim.checked_add(space::width(metric, 0)));
        let origin = width.filter(|width| *width > 0).and_then(|width| rows.get(..width));
        let space = origin.and_then(|origin| Space::new(metric, origin.to_vec()));
        let space = space.ok_or_else(|| sections.corrupt(section::CENTROIDS, "no origin"))?;
        let curve = Curve::from_bytes(sections.bytes(section::CURVE)?, sections.bytes(section::QUESTIONS)?);
        let curve = curve.map_err(|what| sections.corrupt(section::CURVE, what))?;
        let has = |source| curve.entries().iter().any(|entry| entry.source == source);
        if has(CurveSource::Records) && !has(CurveSource::Pieces) {
            return Err(sections.corrupt(section::CURVE, "recall that was measured without pieces of records"));
        }
        let mut candidates = Candidates { sections, space, recall: Recall::new(curve), others: RoaringBitmap::new() };
        candidates.check(records)?;
        let parts = candidates.parts()?;
        candidates.others = (0..parts.records()).filter(|record| parts.codes_of(*record).is_empty()).collect();
        Ok(candidates)
    }
}

impl Candidates {
    /// Checks everything that [`Parts`] relies on.
    fn check(&self, records: u64) -> Result<()> {
        let wrong = |section, what| Err(self.sections.corrupt(section, what));
        let Parts { space, centroids, rests, starts, codes, .. } = self.parts()?;
        let (width, count) = (space.width(), centroids.len() / space.width());
        if !centroids.len().is_multiple_of(width) || !centroids.iter().all(|value| value.is_finite()) {
            return wrong(section::CENTROIDS, "centroids that are none");
        }
        let fits = usize::try_from(records).ok().and_then(|records| records.checked_mul(width)) == Some(rests.len());
        if !(fits || rests.is_empty()) || !rests.iter().all(|value| value.is_finite()) {
            return wrong(section::MATRICES, "rests that are none");
        }
        let ends = starts.first() == Some(&0) && starts.last() == Some(&(codes.len() as u64));
        if starts.len() as u64 != records.saturating_add(1) || !ends || !starts.is_sorted() {
            return wrong(section::LIST_STARTS, "codes that belong to no record");
        }
        if codes.iter().any(|code| usize::from(*code) >= count) {
            return wrong(section::CODES, "a code without a centroid");
        }
        Ok(())
    }
}
