//! Which rows of a query matched which rows of a record, merged into runs.
//!
//! MaxSim lets every query row pick its best record row. Where successive query rows pick successive record rows,
//! they form a run: "seconds 0 to 4.9 of the query are seconds 312.4 to 317.3 of the record". A run may contain up to
//! [`GAP`] query rows that match elsewhere (a silent frame looks like any other); they do not count in its share.

use super::align::Alignment;
pub use crate::score::RowMatch;
use std::ops::Range;

/// Query rows that may match elsewhere without ending a run.
const GAP: usize = 4;

/// Says why a record is a hit: which rows of the query matched which of its rows. Asked for by
/// [`Query::explain`](crate::Query::explain), which shows an example.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// For each query row of the view, in order: the record row (of the view) that it matched best, and their
    /// similarity. The similarities add up to the score.
    pub matches: Vec<RowMatch>,
    /// The same merged into stretches, largest share first, counted in raw rows.
    pub runs: Vec<Run>,
    /// Where the query as a whole lies in the record; `None` in views whose rows stand for whole records.
    pub alignment: Option<Alignment>,
}

/// A stretch of the query that matches a stretch of the record, row after row.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Run {
    /// The raw rows of the query, counted from 0.
    pub query_rows: Range<usize>,
    /// The raw rows of the record, counted from 0.
    pub record_rows: Range<usize>,
    /// The query rows in seconds, where [`Schema::rows_per_second`](crate::Schema::rows_per_second) is set.
    pub query_seconds: Option<Range<f64>>,
    /// The record rows in seconds, likewise.
    pub record_seconds: Option<Range<f64>>,
    /// Sum of the similarities of the run's rows.
    pub score: f64,
    /// The share of the hit's score that the run makes up; 0 when that score is 0.
    pub share: f64,
}

/// A run that is being put together, counted in rows of the view.
struct Open {
    query: (usize, usize),
    /// The record row that the first query row matched.
    record: usize,
    low: usize,
    high: usize,
    score: f64,
}

impl Explanation {
    /// Explains a hit. `shift`: where the query lies best, by [`best_shift`](super::align::best_shift). `step`: raw
    /// rows from one row of the view to the next, `None` when a row stands for the whole record. `raw_rows`: how many
    /// the query has and how many the record.
    pub(super) fn new(
        matches: Vec<RowMatch>,
        shift: Option<(isize, f64)>,
        step: Option<usize>,
        raw_rows: (usize, usize),
        rows_per_second: Option<f64>,
    ) -> Explanation {
        let total: f64 = matches.iter().map(|row| row.similarity).sum();
        let stretch = |first: usize, last: usize, rows: usize| match step {
            Some(step) => (first * step).min(rows)..((last + 1) * step).min(rows),
            None => 0..rows,
        };
        let seconds =
            |rows: &Range<usize>| rows_per_second.map(|rate| rows.start as f64 / rate..rows.end as f64 / rate);
        let mut runs: Vec<Run> = merge(&matches)
            .into_iter()
            .map(|run| {
                let query_rows = stretch(run.query.0, run.query.1, raw_rows.0);
                let record_rows = stretch(run.low, run.high, raw_rows.1);
                Run {
                    query_seconds: seconds(&query_rows),
                    record_seconds: seconds(&record_rows),
                    query_rows,
                    record_rows,
                    score: run.score,
                    share: if total == 0.0 { 0.0 } else { run.score / total },
                }
            })
            .collect();
        runs.sort_by(|a, b| b.share.total_cmp(&a.share).then(a.query_rows.start.cmp(&b.query_rows.start)));
        let alignment = step.zip(shift).map(|(step, (shift, similarity))| {
            let start = shift.max(0) as usize * step;
            let record_rows = start..(start + raw_rows.0).min(raw_rows.1);
            Alignment { record_seconds: seconds(&record_rows), record_rows, similarity }
        });
        Explanation { matches, runs, alignment }
    }
}

/// Adds each query row to the run that it continues, the latest of several: at most [`GAP`] rows after the run's last,
/// and as far on in the record as in the query since the run began, give or take one row. (The distance is measured
/// from the beginning of the run, so that many query rows that all match one record row, as silent ones do, form no
/// run.)
fn merge(matches: &[RowMatch]) -> Vec<Open> {
    let mut done = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    for (row, found) in matches.iter().enumerate() {
        let (ended, going): (Vec<Open>, Vec<Open>) = open.into_iter().partition(|run| row - run.query.1 > GAP + 1);
        done.extend(ended);
        open = going;
        let continues = |run: &Open| {
            let expected = run.record + (row - run.query.0);
            found.record_row.abs_diff(expected) <= 1
        };
        match open.iter().rposition(continues) {
            Some(at) => {
                let mut run = open.remove(at);
                run.query.1 = row;
                run.low = run.low.min(found.record_row);
                run.high = run.high.max(found.record_row);
                run.score += found.similarity;
                open.push(run);
            }
            None => open.push(Open {
                query: (row, row),
                record: found.record_row,
                low: found.record_row,
                high: found.record_row,
                score: found.similarity,
            }),
        }
    }
    done.extend(open);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(rows: &[usize]) -> Vec<RowMatch> {
        rows.iter().map(|&record_row| RowMatch { record_row, similarity: 1.0 }).collect()
    }

    #[test]
    fn a_stretch_in_step_is_one_run_and_bears_a_stray_row() {
        let found =
            Explanation::new(matches(&[10, 11, 12, 99, 14, 15]), Some((10, 0.9)), Some(1), (6, 200), Some(50.0));
        assert_eq!(found.runs.len(), 2);
        assert_eq!(found.runs[0].query_rows, 0..6);
        assert_eq!(found.runs[0].record_rows, 10..16);
        assert_eq!(found.runs[0].record_seconds, Some(0.2..0.32));
        assert!((found.runs[0].share - 5.0 / 6.0).abs() < 1e-12);
        assert_eq!(found.runs[1].record_rows, 99..100);
        let whole = found.alignment.unwrap();
        assert_eq!((whole.record_rows, whole.record_seconds), (10..16, Some(0.2..0.32)));
    }

    #[test]
    fn rows_of_a_view_are_told_as_raw_rows() {
        let found = Explanation::new(matches(&[5, 6, 7]), Some((5, 1.0)), Some(2), (5, 30), None);
        assert_eq!((found.runs[0].query_rows.clone(), found.runs[0].record_rows.clone()), (0..5, 10..16));
        assert_eq!(found.alignment.unwrap().record_rows, 10..15);
        let whole = Explanation::new(matches(&[0]), Some((0, 1.0)), None, (249, 300), None);
        assert_eq!((whole.runs[0].query_rows.clone(), whole.runs[0].record_rows.clone()), (0..249, 0..300));
    }

    #[test]
    fn shares_of_all_runs_make_up_the_whole() {
        let found = Explanation::new(matches(&[3, 9, 4, 1, 1, 50, 51, 7]), None, Some(1), (8, 60), None);
        let sum: f64 = found.runs.iter().map(|run| run.share).sum();
        assert!((sum - 1.0).abs() < 1e-12);
        assert_eq!(found.runs.iter().map(|run| run.score).sum::<f64>(), 8.0);
    }
}
