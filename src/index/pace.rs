//! How long things take here and now: the planner's own measurements.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Weight of the newest measurement.
const NEWEST: f64 = 0.125;
/// Items from which on a measurement says something.
const ENOUGH: u64 = 32;

/// Nanoseconds that one item takes: a guess at first, then the running mean of what was measured.
#[derive(Debug)]
pub(crate) struct Pace(AtomicU64);

impl Pace {
    /// Begins with a guess.
    pub(crate) fn new(nanoseconds: f64) -> Pace {
        Pace(AtomicU64::new(nanoseconds.to_bits()))
    }

    /// What so many items will take, in nanoseconds.
    pub(crate) fn of(&self, items: f64) -> f64 {
        items * f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    /// Takes a measurement. Of several at once one may be lost, which does no harm.
    pub(crate) fn note(&self, items: u64, took: Duration) {
        if items >= ENOUGH {
            let known = f64::from_bits(self.0.load(Ordering::Relaxed));
            let measured = took.as_nanos() as f64 / items as f64;
            // An interruption is no news of the machine's speed.
            let measured = measured.min(4.0 * known);
            self.0.store((known + NEWEST * (measured - known)).to_bits(), Ordering::Relaxed);
        }
    }
}
