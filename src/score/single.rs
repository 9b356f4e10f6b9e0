//! One row against one row: there is no best row to choose, so records are scored side by side.

use super::Metric;
use super::prepared::{Outcome, PreparedQuery, Scaling};
use super::reference::cosine;
use crate::kernel;
use crate::kernel::ordered::{self, LANES};
use crate::matrix::MatrixView;

impl PreparedQuery {
    /// Scores records of one row each for a query of one row, as [`PreparedQuery::score`] does: hands `found` each
    /// index with its outcome, once, in any order. Sums run eight side by side, and fewer records take as long as
    /// eight: give eight or more at a time.
    ///
    /// # Panics
    /// When the query or a record has another number of rows, or the dimensions differ.
    pub fn score_rows(&self, records: &[MatrixView<'_>], threshold: f64, mut found: impl FnMut(usize, Outcome)) {
        assert_eq!(self.rows(), 1, "a query of more rows than one");
        assert!(records.iter().all(|record| record.rows() == 1), "a record of another number of rows");
        let (mut waiting, mut count) = ([0; LANES], 0);
        for (index, &record) in records.iter().enumerate() {
            // Every score reaches minus infinity, so a bound would drop nothing.
            let every = threshold == f64::NEG_INFINITY;
            match if every { None } else { self.upper_of_row(record.row(0)).filter(|&upper| upper < threshold) } {
                Some(upper) => found(index, Outcome::Below { upper }),
                None => {
                    waiting[count] = index;
                    count += 1;
                }
            }
            if count == LANES || (count > 0 && index + 1 == records.len()) {
                // Lanes beyond the count hold other records, whose scores are ignored.
                let scores = self.score_lanes(waiting.map(|index| records[index].row(0)));
                for (&index, score) in waiting[..count].iter().zip(scores) {
                    found(index, Outcome::Exact { score });
                }
                count = 0;
            }
        }
    }

    /// Returns the most that a row can score, as far as `f32` tells; `None` where no bound holds.
    fn upper_of_row(&self, row: &[f32]) -> Option<f64> {
        let Scaling { square, scale, offset } = self.ordinary.then(|| self.scaling(row))??;
        let value = kernel::dot(self.query.view().row(0), row) as f32 * scale as f32 + offset;
        Some(self.bound.of_record(self.bound.longest(square)).of_score(&self.norms, std::iter::once(value)))
    }

    /// Returns the reference's scores of [`LANES`] rows.
    fn score_lanes(&self, rows: [&[f32]; LANES]) -> [f64; LANES] {
        let query = self.query.view().row(0);
        let pairs = rows.map(|row| (query, row));
        let similarities = match self.metric {
            Metric::Dot => ordered::dots(pairs),
            Metric::Cosine => {
                let (dots, squares) = (ordered::dots(pairs), ordered::dots(rows.map(|row| (row, row))));
                std::array::from_fn(|lane| cosine(dots[lane], self.norms[0], squares[lane].sqrt()))
            }
            Metric::L2 => ordered::squared_distances(pairs).map(|distance| 0.0 - distance),
        };
        similarities.map(|similarity| 0.0 + similarity) // a sum of one, begun at 0
    }
}
