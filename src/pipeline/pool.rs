//! One row for a whole record: statistics of its columns, gathered block by block.

use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// A statistic of one column over all rows of a record, for [`Step::Pool`](super::Step::Pool). A record of one row
/// has no differences between rows: the statistics of them are then 0.
///
/// # Examples
///
/// ```
/// use otolith::pipeline::Statistic;
///
/// assert_eq!("quantile:0.9".parse::<Statistic>()?, Statistic::Quantile(0.9));
/// assert_eq!(Statistic::StdOfDifferences.to_string(), "std-of-differences");
/// # Ok::<(), otolith::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Statistic {
    /// The mean.
    Mean,
    /// The standard deviation (divided by the number of rows, not by one less).
    Std,
    /// The largest value.
    Max,
    /// The value below which this share (from 0 to 1) of the values lie, interpolated linearly between neighbours.
    Quantile(f32),
    /// The median: the quantile 0.5.
    Median,
    /// The standard deviation of the differences between successive rows.
    StdOfDifferences,
    /// The mean of the absolute differences between successive rows.
    MeanAbsDifference,
}

impl Statistic {
    /// Returns whether the statistic can be computed: a quantile must lie between 0 and 1.
    pub(super) fn is_sound(&self) -> bool {
        self.quantile().is_none_or(|part| (0.0..=1.0).contains(&part))
    }

    fn quantile(&self) -> Option<f32> {
        match self {
            Statistic::Quantile(part) => Some(*part),
            Statistic::Median => Some(0.5),
            _ => None,
        }
    }
}

impl fmt::Display for Statistic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Statistic::Mean => f.write_str("mean"),
            Statistic::Std => f.write_str("std"),
            Statistic::Max => f.write_str("max"),
            Statistic::Quantile(part) => write!(f, "quantile:{part}"),
            Statistic::Median => f.write_str("median"),
            Statistic::StdOfDifferences => f.write_str("std-of-differences"),
            Statistic::MeanAbsDifference => f.write_str("mean-abs-difference"),
        }
    }
}

impl FromStr for Statistic {
    type Err = Error;

    /// Reads the name that `Display` writes, such as `mean` or `quantile:0.9`.
    fn from_str(name: &str) -> Result<Statistic> {
        match name {
            "mean" => Ok(Statistic::Mean),
            "std" => Ok(Statistic::Std),
            "max" => Ok(Statistic::Max),
            "median" => Ok(Statistic::Median),
            "std-of-differences" => Ok(Statistic::StdOfDifferences),
            "mean-abs-difference" => Ok(Statistic::MeanAbsDifference),
            _ => name
                .strip_prefix("quantile:")
                .and_then(|part| part.parse().ok())
                .map(Statistic::Quantile)
                .filter(Statistic::is_sound)
                .ok_or_else(|| {
                    let known = "mean, std, max, median, quantile:P, std-of-differences, mean-abs-difference";
                    Error::invalid("statistic", format!("`{name}` is none of {known}"))
                }),
        }
    }
}

/// Gathers the statistics of a record, block by block; only quantiles need the rows to be kept.
pub(super) struct Pooling<'a> {
    statistics: &'a [Statistic],
    dim: usize,
    rows: usize,
    /// The first row: sums are taken about it, so that a large mean does not swallow a small deviation.
    first: Vec<f32>,
    last: Vec<f32>,
    values: Sums,
    differences: Sums,
    max: Vec<f32>,
    kept: Vec<f32>,
}

/// Per column: sum, sum of squares, sum of absolute values.
struct Sums {
    sum: Vec<f64>,
    squares: Vec<f64>,
    absolute: Vec<f64>,
}

impl Sums {
    fn new(dim: usize) -> Sums {
        Sums { sum: vec![0.0; dim], squares: vec![0.0; dim], absolute: vec![0.0; dim] }
    }

    /// Adds `row - from`. Absolute values are summed only where they are needed: this is the hot loop of pooled codes.
    fn add(&mut self, row: &[f32], from: &[f32], absolute: bool) {
        let columns = self.sum.iter_mut().zip(&mut self.squares).zip(row.iter().zip(from));
        for ((sum, squares), (value, from)) in columns {
            let value = f64::from(*value) - f64::from(*from);
            *sum += value;
            *squares += value * value;
        }
        if absolute {
            for (sum, (value, from)) in self.absolute.iter_mut().zip(row.iter().zip(from)) {
                *sum += (f64::from(*value) - f64::from(*from)).abs();
            }
        }
    }

    fn std(&self, count: usize) -> impl Iterator<Item = f32> {
        let count = count.max(1) as f64;
        self.sum.iter().zip(&self.squares).map(move |(sum, squares)| {
            let mean = sum / count;
            (squares / count - mean * mean).max(0.0).sqrt() as f32
        })
    }
}

impl<'a> Pooling<'a> {
    pub(super) fn new(statistics: &'a [Statistic], dim: usize) -> Pooling<'a> {
        Pooling {
            statistics,
            dim,
            rows: 0,
            first: Vec::new(),
            last: Vec::new(),
            values: Sums::new(dim),
            differences: Sums::new(dim),
            max: vec![f32::NEG_INFINITY; dim],
            kept: Vec::new(),
        }
    }

    /// Adds the next rows of the record.
    pub(super) fn push(&mut self, block: &[f32]) {
        let asks = |wanted: &[Statistic]| self.statistics.iter().any(|statistic| wanted.contains(statistic));
        let values = asks(&[Statistic::Mean, Statistic::Std]);
        let absolute = asks(&[Statistic::MeanAbsDifference]);
        let differences = absolute || asks(&[Statistic::StdOfDifferences]);
        if self.statistics.iter().any(|statistic| statistic.quantile().is_some()) {
            self.kept.extend_from_slice(block);
        }
        for row in block.chunks_exact(self.dim) {
            if self.rows == 0 {
                self.first.extend_from_slice(row);
            }
            if values {
                self.values.add(row, &self.first, false);
            }
            if differences {
                if self.rows > 0 {
                    self.differences.add(row, &self.last, absolute);
                }
                self.last.clear();
                self.last.extend_from_slice(row);
            }
            for (max, value) in self.max.iter_mut().zip(row) {
                *max = max.max(*value);
            }
            self.rows += 1;
        }
    }

    /// Returns the pooled row; empty when the record has no rows.
    pub(super) fn finish(mut self) -> Vec<f32> {
        let mut out = Vec::with_capacity(self.statistics.len() * self.dim);
        if self.rows == 0 {
            return out;
        }
        let rows = self.rows as f64;
        let pairs = self.rows - 1;
        let columns = self.sorted_columns();
        for statistic in self.statistics {
            match statistic {
                Statistic::Mean => out.extend(
                    self.values.sum.iter().zip(&self.first).map(|(sum, first)| (f64::from(*first) + sum / rows) as f32),
                ),
                Statistic::Std => out.extend(self.values.std(self.rows)),
                Statistic::Max => out.extend_from_slice(&self.max),
                Statistic::StdOfDifferences => out.extend(self.differences.std(pairs)),
                Statistic::MeanAbsDifference => {
                    out.extend(self.differences.absolute.iter().map(|sum| (sum / pairs.max(1) as f64) as f32));
                }
                Statistic::Median => out.extend(columns.chunks_exact(self.rows).map(|column| quantile(column, 0.5))),
                Statistic::Quantile(part) => {
                    out.extend(columns.chunks_exact(self.rows).map(|column| quantile(column, *part)));
                }
            }
        }
        out
    }

    /// Turns the kept rows into columns, each in ascending order.
    fn sorted_columns(&mut self) -> Vec<f32> {
        let kept = std::mem::take(&mut self.kept);
        let mut columns = Vec::with_capacity(kept.len());
        if !kept.is_empty() {
            for column in 0..self.dim {
                let start = columns.len();
                columns.extend(kept[column..].iter().step_by(self.dim));
                columns[start..].sort_unstable_by(f32::total_cmp);
            }
        }
        columns
    }
}

/// Interpolates linearly between the two neighbours of position `part * (n - 1)`.
fn quantile(ascending: &[f32], part: f32) -> f32 {
    let at = f64::from(part) * (ascending.len() - 1) as f64;
    let (below, above) = (ascending[at.floor() as usize], ascending[at.ceil() as usize]);
    (f64::from(below) + (f64::from(above) - f64::from(below)) * at.fract()) as f32
}
