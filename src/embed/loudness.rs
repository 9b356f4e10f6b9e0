//! Mean and deviation of a sound, measured in one pass and constant memory.

/// Mean and standard deviation of all samples of a sound (biased: divided by the number of samples).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loudness {
    /// The mean, which is near 0 for most recordings.
    pub mean: f64,
    /// The standard deviation; 0 for silence.
    pub deviation: f64,
}

impl Loudness {
    /// Measures these samples; without any, the result is that of silence.
    pub fn of(samples: &[f32]) -> Loudness {
        let mut meter = Meter::default();
        meter.push(samples);
        meter.loudness()
    }
}

/// Sums samples one by one, so that the result does not depend on how they were cut into blocks. The sums are of the
/// distance to the first sample: constant sounds have a deviation of exactly 0, and an offset costs no digits.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter {
    samples: u64,
    first: f64,
    sum: f64,
    squares: f64,
}

impl Meter {
    pub(super) fn push(&mut self, samples: &[f32]) {
        if self.samples == 0 {
            self.first = samples.first().map_or(0.0, |first| f64::from(*first));
        }
        for sample in samples {
            let distance = f64::from(*sample) - self.first;
            self.sum += distance;
            self.squares += distance * distance;
        }
        self.samples += samples.len() as u64;
    }

    pub(super) fn samples(&self) -> u64 {
        self.samples
    }

    pub(super) fn loudness(&self) -> Loudness {
        let count = self.samples.max(1) as f64;
        let mean = self.sum / count;
        let variance = (self.squares / count - mean * mean).max(0.0);
        Loudness { mean: self.first + mean, deviation: variance.sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_do_not_change_the_loudness_and_two_passes_agree_with_it() {
        let samples: Vec<f32> = (0..10_000).map(|n| (n as f32 * 0.37).sin() * 0.1 + 0.4).collect();
        let once = Loudness::of(&samples);
        let mut meter = Meter::default();
        samples.chunks(313).for_each(|block| meter.push(block));
        assert_eq!(meter.loudness(), once);
        let mean = samples.iter().map(|x| f64::from(*x)).sum::<f64>() / 1e4;
        let variance = samples.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / 1e4;
        assert!((once.mean - mean).abs() < 1e-13 && (once.deviation - variance.sqrt()).abs() < 1e-13);
    }

    #[test]
    fn a_constant_sound_has_no_deviation() {
        assert_eq!(Loudness::of(&[0.3; 1_000]), Loudness { mean: f64::from(0.3_f32), deviation: 0.0 });
        assert_eq!(Loudness::of(&[]), Loudness { mean: 0.0, deviation: 0.0 });
    }
}
