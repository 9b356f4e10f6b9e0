//! From one sample rate to another, without delay.
//!
//! rubato's FFT resampler with a Blackman-Harris-squared window: overlap-add of fixed blocks, so that a sound cut into
//! any pieces gives the same samples as in one go. Output sample m lies at time m / `to`, input sample n at n / `from`.
//! Outside the sound there is silence.

use crate::error::{Error, Result};
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};

/// Shortest block in input samples. The filter is as long as the block: shorter ones miss 60 dB against the references.
const BLOCK: usize = 4_096;

pub(super) struct Resampler {
    fft: Fft<f64>,
    from: u64,
    to: u64,
    /// The block being filled; its capacity is the block's length.
    input: Vec<f64>,
    block: usize,
    output: Vec<f64>,
    /// Output samples of the filter's delay still to be dropped.
    delay: usize,
    /// Input samples taken, output samples given.
    taken: u64,
    given: u64,
}

impl Resampler {
    /// From `from` to `to` Hz, both within [`RATES`](super::RATES).
    pub(super) fn new(from: u32, to: u32) -> Result<Resampler> {
        let shared = gcd(from, to);
        let (step_in, step_out) = ((from / shared) as usize, (to / shared) as usize);
        let mut steps = BLOCK.div_ceil(step_in);
        // The delay is half a block: of an odd block it would be a fraction of a sample.
        if step_in % 2 == 1 || step_out % 2 == 1 {
            steps = steps.next_multiple_of(2);
        }
        let (from_hz, to_hz, block) = (from as usize, to as usize, steps * step_in);
        let window = WindowFunction::BlackmanHarris2;
        let fft = Fft::new_custom(from_hz, to_hz, block, 1, 1, window, FixedSync::Both)
            .map_err(|error| Error::invalid("resampling", error.to_string()))?;
        Ok(Resampler {
            from: u64::from(from),
            to: u64::from(to),
            input: Vec::with_capacity(block),
            block,
            output: vec![0.0; steps * step_out],
            delay: fft.output_delay(),
            fft,
            taken: 0,
            given: 0,
        })
    }

    /// Takes samples and appends what is ready.
    pub(super) fn push(&mut self, mut samples: &[f32], out: &mut Vec<f32>) -> Result<()> {
        self.taken += samples.len() as u64;
        while !samples.is_empty() {
            let (now, later) = samples.split_at(samples.len().min(self.block - self.input.len()));
            self.input.extend(now.iter().map(|sample| f64::from(*sample)));
            samples = later;
            if self.input.len() == self.block {
                self.turn(out)?;
            }
        }
        Ok(())
    }

    /// Appends the rest: as many samples in all as the sound lasts, rounded up.
    pub(super) fn finish(&mut self, out: &mut Vec<f32>) -> Result<()> {
        let wanted = (self.taken * self.to).div_ceil(self.from);
        while self.given < wanted {
            self.input.resize(self.block, 0.0);
            self.turn(out)?;
        }
        out.truncate(out.len() - (self.given - wanted) as usize);
        self.given = wanted;
        Ok(())
    }

    /// Filters one full block.
    fn turn(&mut self, out: &mut Vec<f32>) -> Result<()> {
        let frames = self.output.len();
        let wrong = |error: String| Error::invalid("resampling", error);
        let input = InterleavedSlice::new(&self.input, 1, self.block).map_err(|error| wrong(error.to_string()))?;
        let mut output =
            InterleavedSlice::new_mut(&mut self.output, 1, frames).map_err(|error| wrong(error.to_string()))?;
        self.fft.process_into_buffer(&input, &mut output, None).map_err(|error| wrong(error.to_string()))?;
        self.input.clear();
        let dropped = self.delay.min(frames);
        self.delay -= dropped;
        out.extend(self.output[dropped..].iter().map(|sample| *sample as f32));
        self.given += (frames - dropped) as u64;
        Ok(())
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
