//! The learning rate: up from 0 over the warm-up, then down to 0, both in straight lines.

/// The learning rate at each step of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The rate after the warm-up.
    pub peak: f64,
    /// Steps until then; the first has rate 0 unless there are none.
    pub warmup: usize,
    /// Steps in all.
    pub total: usize,
}

impl Schedule {
    /// The rate of step `step`, from 0.
    pub fn rate(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.peak * step as f64 / self.warmup as f64;
        }
        self.peak * self.total.saturating_sub(step) as f64 / self.total.saturating_sub(self.warmup).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_from_nothing_and_never_reaches_it_again() {
        let schedule = Schedule { peak: 2.0, warmup: 2, total: 6 };
        assert_eq!((0..6).map(|step| schedule.rate(step)).collect::<Vec<_>>(), [0.0, 1.0, 2.0, 1.5, 1.0, 0.5]);
        let at_once = Schedule { peak: 2.0, warmup: 0, total: 2 };
        assert_eq!((at_once.rate(0), at_once.rate(1)), (2.0, 1.0));
    }
}
