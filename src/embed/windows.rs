//! Cutting a sound into windows whose rows continue each other exactly.

use super::{Embedder, Loudness, Moments, Taps, Window};
use crate::error::{Error, Result};
use crate::matrix::Matrix;

/// Embeds a sound of known length window by window and gathers the rows.
///
/// All windows have equally many rows (the last may have fewer), as few windows as the embedder allows: a network never
/// sees a sliver at the end of a sound. The last also has the samples behind its last row, fewer than a hop: a network
/// that scales by the whole of what it sees gives a short sound the rows that it gives outside otolith.
pub(super) struct Windows<'a> {
    embedder: &'a dyn Embedder,
    whole: Loudness,
    moments: Option<Moments>,
    /// Samples of a full window, and from its beginning to that of the next.
    length: usize,
    stride: usize,
    /// Rows of the whole sound, of a full window, and so far.
    total: usize,
    full: usize,
    rows: usize,
    values: Vec<f32>,
}

impl<'a> Windows<'a> {
    /// For a sound of `samples` samples, with the moments that are [`wanted`] of it.
    pub(super) fn new(
        embedder: &'a dyn Embedder,
        samples: u64,
        whole: Loudness,
        moments: Option<Moments>,
    ) -> Result<Windows<'a>> {
        let (hop, field) = (embedder.hop(), embedder.receptive_field());
        let samples = usize::try_from(samples).map_err(|_| {
            Error::invalid("sound", format!("{samples} samples are more than this machine can address"))
        })?;
        let total = rows_of(samples.max(field), hop, field);
        let most = embedder.window_rows().unwrap_or(total).max(1);
        let rows = total.div_ceil(total.div_ceil(most));
        let length = (rows - 1) * hop + field;
        let values = Vec::with_capacity(total * embedder.dim());
        Ok(Windows { embedder, whole, moments, length, stride: rows * hop, total, full: rows, rows: 0, values })
    }

    /// Embeds the full windows at the beginning of `samples` that others follow; returns what the next begins with.
    pub(super) fn embed_full<'s>(&mut self, mut samples: &'s [f32]) -> Result<&'s [f32]> {
        while samples.len() >= self.length && self.rows + self.full < self.total {
            self.embed(&samples[..self.length])?;
            samples = &samples[self.stride.min(samples.len())..];
        }
        Ok(samples)
    }

    /// Embeds the rest of the sound and gives the matrix.
    pub(super) fn finish(mut self, rest: &[f32]) -> Result<Matrix> {
        let field = self.embedder.receptive_field();
        if rest.len() >= field {
            self.embed(rest)?;
        } else if self.rows == 0 {
            let mut filled = rest.to_vec();
            filled.resize(field, self.whole.mean as f32);
            self.embed(&filled)?;
        }
        Matrix::from_rows(self.rows, self.embedder.dim(), self.values)
    }

    fn embed(&mut self, samples: &[f32]) -> Result<()> {
        let expected = rows_of(samples.len(), self.embedder.hop(), self.embedder.receptive_field());
        let (is_part, moments) = (self.full < self.total, self.moments.as_ref());
        let matrix = self.embedder.embed(Window { samples, whole: self.whole, is_part, moments })?;
        if (matrix.rows(), matrix.dim()) != (expected, self.embedder.dim()) {
            return Err(Error::mismatch(
                format!("rows of `{}`", self.embedder.identity()),
                format!("{expected} x {}", self.embedder.dim()),
                format!("{} x {}", matrix.rows(), matrix.dim()),
            ));
        }
        self.rows += matrix.rows();
        self.values.extend_from_slice(matrix.values());
        Ok(())
    }
}

/// Of which rows the moments must be known of a sound of `samples` samples: of none when it is one window.
pub(super) fn wanted(embedder: &dyn Embedder, samples: u64) -> Option<Taps> {
    let (hop, field) = (embedder.hop() as u64, embedder.receptive_field() as u64);
    let rows = samples.checked_sub(field)? / hop + 1;
    embedder.taps().filter(|_| embedder.window_rows().is_some_and(|most| rows > most as u64))
}

/// Rows of `samples` samples, of which there are at least `field`.
fn rows_of(samples: usize, hop: usize, field: usize) -> usize {
    (samples - field) / hop + 1
}
