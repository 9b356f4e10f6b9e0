//! Mean and covariance, over a whole sound, of the overlapping rows of samples that a network's first convolution
//! sees.

use crate::kernel::{self, Strided};

/// Describes rows of samples: `width` samples each, one every `stride` samples from the first on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taps {
    /// Samples in a row.
    pub width: usize,
    /// Samples from the beginning of a row to that of the next.
    pub stride: usize,
}

/// Mean and covariance of all rows of a sound that [`Taps`] describe.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// The mean row: `width` numbers.
    pub mean: Vec<f64>,
    /// The covariance: `width x width` numbers, row-major; biased, that is divided by the number of rows.
    pub covariance: Vec<f64>,
}

impl Moments {
    /// Measures all rows of these samples, of which there must be at least one.
    pub fn of(samples: &[f32], taps: Taps) -> Moments {
        let mut meter = RowMeter::new(taps);
        meter.push(samples);
        meter.moments()
    }

    /// Returns what the moments would be if `centre` were subtracted from all samples and the rest divided by
    /// `scale`.
    pub fn scaled(&self, centre: f64, scale: f64) -> Moments {
        Moments {
            mean: self.mean.iter().map(|mean| (mean - centre) / scale).collect(),
            covariance: self.covariance.iter().map(|product| product / (scale * scale)).collect(),
        }
    }
}

/// Samples that are processed together, in whatever pieces they come.
const BLOCK: usize = 1 << 16;

/// Sums rows, so that the result does not depend on how samples were cut into blocks. The sums are of the distance to
/// the first sample: the covariance is then not a small difference of large numbers.
pub(super) struct RowMeter {
    taps: Taps,
    centre: f64,
    rows: usize,
    sums: Vec<f64>,
    products: Vec<f64>,
    /// Samples whose rows are not all summed yet, less the centre.
    waiting: Vec<f64>,
    /// How many of the samples to come lie between two rows, where a stride is longer than a row.
    between: usize,
}

impl RowMeter {
    pub(super) fn new(taps: Taps) -> RowMeter {
        let (sums, products) = (vec![0.0; taps.width], vec![0.0; taps.width * taps.width]);
        RowMeter { taps, centre: f64::NAN, rows: 0, sums, products, waiting: Vec::new(), between: 0 }
    }

    pub(super) fn push(&mut self, samples: &[f32]) {
        if let (true, Some(first)) = (self.centre.is_nan(), samples.first()) {
            self.centre = f64::from(*first);
        }
        let mut rest = samples;
        while !rest.is_empty() {
            let between = self.between.min(rest.len());
            self.between -= between;
            let (taken, behind) = rest[between..].split_at((BLOCK - self.waiting.len()).min(rest.len() - between));
            self.waiting.extend(taken.iter().map(|sample| f64::from(*sample) - self.centre));
            rest = behind;
            if self.waiting.len() == BLOCK {
                self.add();
            }
        }
    }

    fn add(&mut self) {
        let Taps { width, stride } = self.taps;
        let Some(rest) = self.waiting.len().checked_sub(width) else { return };
        let rows = rest / stride + 1;
        let seen = Strided { values: &self.waiting, rows, cols: width, row_stride: stride, col_stride: 1 };
        kernel::product_f64(&mut self.sums, Strided::new(&vec![1.0; rows], 1, rows), seen, true);
        kernel::product_f64(&mut self.products, seen.transposed(), seen, true);
        self.rows += rows;
        let next = rows * stride;
        self.between = next.saturating_sub(self.waiting.len());
        self.waiting.drain(..next.min(self.waiting.len()));
    }

    pub(super) fn moments(mut self) -> Moments {
        self.add();
        let count = self.rows.max(1) as f64;
        let mean: Vec<f64> = self.sums.iter().map(|sum| sum / count).collect();
        let width = self.taps.width;
        let covariance = self.products.iter().enumerate();
        let covariance = covariance.map(|(at, sum)| sum / count - mean[at / width] * mean[at % width]).collect();
        Moments { mean: mean.iter().map(|mean| mean + self.centre).collect(), covariance }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_do_not_change_the_moments_and_a_naive_sum_agrees() {
        let samples: Vec<f32> =
            (0..200_003).map(|n| (n as f32 * 0.37).sin() * 0.1 + 0.4 + (n % 7) as f32 * 0.01).collect();
        for taps in [Taps { width: 10, stride: 5 }, Taps { width: 3, stride: 8 }, Taps { width: 1, stride: 1 }] {
            let Taps { width, stride } = taps;
            let rows: Vec<&[f32]> = samples.windows(width).step_by(stride).collect();
            let column = |a: usize| rows.iter().map(move |row| f64::from(row[a]));
            let mean: Vec<f64> = (0..width).map(|a| column(a).sum::<f64>() / rows.len() as f64).collect();
            let whole = Moments::of(&samples, taps);
            for a in 0..width {
                assert!((whole.mean[a] - mean[a]).abs() < 1e-10, "{taps:?}");
                for b in 0..width {
                    let products = column(a).zip(column(b)).map(|(x, y)| (x - mean[a]) * (y - mean[b]));
                    let covariance = products.sum::<f64>() / rows.len() as f64;
                    assert!((whole.covariance[a * width + b] - covariance).abs() < 1e-10, "{taps:?}");
                }
            }
            for block in [1, 7, 313, 70_000] {
                let mut meter = RowMeter::new(taps);
                samples.chunks(block).for_each(|block| meter.push(block));
                assert_eq!(meter.moments(), whole, "{taps:?}");
            }
        }
    }
}
