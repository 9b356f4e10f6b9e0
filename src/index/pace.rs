//! How long an item of work takes on this machine: the planner's own measurements.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Weight of the newest measurement in the running mean.
const NEWEST: f64 = 0.125;
/// Fewest items for a measurement to count.
const ENOUGH: u64 = 32;

/// Nanoseconds that one item takes: a guess at first, then the running mean of what was measured.
#[derive(Debug)]
pub(crate) struct Pace(AtomicU64);

impl Pace {
    /// Starts from a guess.
    pub(crate) fn new(nanoseconds: f64) -> Pace {
        Pace(AtomicU64::new(nanoseconds.to_bits()))
    }

    /// Returns how many nanoseconds so many items will take.
    pub(crate) fn of(&self, items: f64) -> f64 {
        items * f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    /// Adds a measurement. Of several made at the same time one may be lost, which does no harm.
    pub(crate) fn note(&self, items: u64, took: Duration) {
        if items >= ENOUGH {
            let known = f64::from_bits(self.0.load(Ordering::Relaxed));
            let measured = took.as_nanos() as f64 / items as f64;
            // Capped, because an interruption says nothing about the machine's speed.
            let measured = measured.min(4.0 * known);
            self.0.store((known + NEWEST * (measured - known)).to_bits(), Ordering::Relaxed);
        }
    }
}
