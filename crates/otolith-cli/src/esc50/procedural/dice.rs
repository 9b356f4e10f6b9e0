//! Random numbers with a promised stream: the same seed gives the same sounds in every release.

use otolith::random::unit_f32;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// Draws of one source or one take; each has a stream of its own, so that sounds do not depend on the order they are
/// made in.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// The dice number `stream` of a seed.
    pub(super) fn new(seed: u64, stream: u64) -> Dice {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(stream);
        Dice(random)
    }

    /// Uniform in 0..1.
    pub(super) fn unit(&mut self) -> f32 {
        unit_f32(&mut self.0)
    }

    /// Uniform between two ends.
    pub(super) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Uniform in the logarithm between two positive ends: for frequencies and times.
    pub(super) fn octaves(&mut self, low: f32, high: f32) -> f32 {
        low * (high / low).powf(self.unit())
    }

    /// True with this probability.
    pub(super) fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// One of `0..count`.
    pub(super) fn below(&mut self, count: usize) -> usize {
        ((self.unit() * count as f32) as usize).min(count - 1)
    }

    /// A value somewhat off: `value` times a factor within `spread` of 1.
    pub(super) fn about(&mut self, value: f32, spread: f32) -> f32 {
        value * self.between(1.0 - spread, 1.0 + spread)
    }

    /// The time in seconds to the next of events that come at random, `rate` a second on average.
    pub(super) fn wait(&mut self, rate: f32) -> f32 {
        -(1.0 - self.unit()).ln() / rate
    }
}
