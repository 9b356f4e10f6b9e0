//! Transforms rows so that their inner product ranks as the metric does.

use crate::score::Metric;

/// What a row becomes: for `Dot` it stays; for `Cosine` it is scaled to length 1; for `L2` it is moved by an origin and
/// gets one coordinate more, since `-|q - d|^2 / 2 = <q, d> - |d|^2 / 2` apart from what depends on the query row
/// alone.
#[derive(Clone, Debug)]
pub(super) struct Space {
    metric: Metric,
    /// For `L2` the middle of the rows, and their usual length from there, by which the last coordinate is scaled to
    /// weigh like the others; zeros otherwise.
    origin: Vec<f32>,
}

impl Space {
    /// Makes the space for rows of `dim` numbers; only `L2` looks at the sample of them.
    pub(super) fn fit(metric: Metric, dim: usize, sample: &[f32]) -> Space {
        let mut origin = vec![0.0; width(metric, dim)];
        if let (Metric::L2, [middle @ .., scale]) = (metric, &mut origin[..]) {
            let count = (sample.len() / dim).max(1) as f64;
            let mut sums = vec![0.0f64; dim];
            for row in sample.chunks_exact(dim) {
                sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
            }
            middle.iter_mut().zip(sums).for_each(|(middle, sum)| *middle = (sum / count) as f32);
            let squares: f64 = sample.chunks_exact(dim).map(|row| squared_distance(row, middle)).sum();
            *scale = if squares > 0.0 { finite((squares / count).sqrt()) } else { 1.0 };
        }
        Space { metric, origin }
    }

    /// Returns the space of this origin; `None` when it cannot be one.
    pub(super) fn new(metric: Metric, origin: Vec<f32>) -> Option<Space> {
        let scaled = metric != Metric::L2 || origin.last().is_some_and(|scale| *scale > 0.0);
        (scaled && origin.iter().all(|value| value.is_finite())).then_some(Space { metric, origin })
    }

    pub(super) fn metric(&self) -> Metric {
        self.metric
    }

    pub(super) fn origin(&self) -> &[f32] {
        &self.origin
    }

    /// Returns the dimension of this space.
    pub(super) fn width(&self) -> usize {
        self.origin.len()
    }

    /// Returns the dimension of the rows that go in.
    pub(super) fn dim(&self) -> usize {
        self.origin.len() - usize::from(self.metric == Metric::L2)
    }

    /// Puts rows of records, transformed, into `out`.
    pub(super) fn records(&self, rows: &[f32], out: &mut Vec<f32>) {
        self.put(rows, out, |squares, scale| -0.5 * squares / scale);
    }

    /// Puts rows of a query, transformed, into `out`.
    pub(super) fn queries(&self, rows: &[f32], out: &mut Vec<f32>) {
        self.put(rows, out, |_, scale| scale);
    }

    /// Puts transformed rows into `out`. For `L2`, `last` returns the last coordinate, given the squared distance from
    /// the origin and the scale.
    fn put(&self, rows: &[f32], out: &mut Vec<f32>, last: impl Fn(f64, f64) -> f64) {
        out.clear();
        match (self.metric, &self.origin[..]) {
            (Metric::L2, [middle @ .., scale]) => {
                for row in rows.chunks_exact(middle.len()) {
                    out.extend(
                        row.iter().zip(middle).map(|(value, middle)| finite(f64::from(*value) - f64::from(*middle))),
                    );
                    out.push(finite(last(squared_distance(row, middle), f64::from(*scale))));
                }
            }
            (Metric::Cosine, _) => {
                for row in rows.chunks_exact(self.width()) {
                    let length = row.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt();
                    let factor = if length > 0.0 { 1.0 / length } else { 0.0 };
                    out.extend(row.iter().map(|value| (f64::from(*value) * factor) as f32));
                }
            }
            _ => out.extend_from_slice(rows),
        }
    }
}

/// Returns the dimension of the space for rows of `dim` numbers.
pub(super) fn width(metric: Metric, dim: usize) -> usize {
    dim + usize::from(metric == Metric::L2)
}

fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
}

/// Returns the nearest finite number; what is beyond `f32` only ranks badly.
pub(super) fn finite(value: f64) -> f32 {
    value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
}
