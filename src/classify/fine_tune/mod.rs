//! Fine-tuning: a wav2vec2 network trained to tell classes apart, as the original library's trainer does it.
//!
//! **Words.** A *batch* of clips gives one mean loss; the gradients of `accumulation` batches make a *step* of the
//! optimiser; an *epoch* sees every training clip once, in an order of its own, and ends with an evaluation on the
//! validation clips. A *shard* is a few clips of equal length that go through the network together; shards of a batch run on
//! different cores, and nothing is ever padded.
//!
//! **In and out.** [`fine_tune`] takes a [`Trainable`](crate::embed::wav2vec2::Trainable) and a [`Corpus`] of labelled
//! clips, moves the network's variables, and keeps the weights of the best epoch. Losses, gradient norms, weights and logits
//! are those of the original, to rounding (`tests/training.rs` follows it step by step). Equal seeds give equal weights, for
//! any number of threads, and also when a run is interrupted and goes on.
//!
//! **Costs.** Backwards takes about twice the time of forwards. A frozen convolution encoder is computed once for each clip
//! and kept in memory (up to 3 GiB). Weights and the optimiser's state take 16 bytes a parameter, a checkpoint 12 on disk.

mod adamw;
mod corpus;
mod run;
mod schedule;
mod state;
mod step;

pub use corpus::{Clips, Corpus};
pub use run::{Prediction, Trained, fine_tune, mean_states, predict};
pub use step::TrainingStep;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub use {
    adamw::{AdamW, Moments, decays},
    schedule::Schedule,
    step::{Gradients, Optimiser, Shard, gradients},
};

use super::Epoch;
use crate::error::{Error, Result};
use serde_json::{Value, json};

/// The file of a checkpoint that a run goes on from.
const STATE: &str = "trainer_state.json";

/// Which weights the network has in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Those of the epoch with the best accuracy, the earliest of equals: the validation clips choose.
    Best,
    /// Those of the last epoch: the validation clips only watch.
    Last,
}

/// How to train. The defaults are the tutorial's, but for the number of epochs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Times that every clip is seen.
    pub epochs: usize,
    /// Clips of a batch.
    pub batch: usize,
    /// Batches of a step.
    pub accumulation: usize,
    /// Highest learning rate.
    pub rate: f64,
    /// Share of the steps in which the rate rises.
    pub warmup: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Longest gradient; 0 for any.
    pub clip: f64,
    /// Seed of orders and noise.
    pub seed: u64,
    /// Which weights to keep.
    pub keep: Keep,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            epochs: 5,
            batch: 8,
            accumulation: 1,
            rate: 5e-5,
            warmup: 0.1,
            weight_decay: 0.0,
            clip: 1.0,
            seed: 0,
            keep: Keep::Best,
        }
    }
}

impl Settings {
    fn check(&self) -> Result<()> {
        let refused = if self.epochs == 0 || self.batch == 0 || self.accumulation == 0 {
            "epochs, batch and accumulation are at least 1"
        } else if !(self.rate > 0.0 && self.rate.is_finite()) {
            "the learning rate is a number above 0"
        } else if !(0.0..=1.0).contains(&self.warmup) {
            "the warm-up is a share of the steps, from 0 to 1"
        } else if !(self.weight_decay >= 0.0 && self.clip >= 0.0) {
            "weight decay and clipping are not below 0"
        } else {
            return Ok(());
        };
        Err(Error::invalid("training settings", refused))
    }

    fn to_json(self) -> Value {
        json!({
            "epochs": self.epochs, "batch": self.batch, "accumulation": self.accumulation, "rate": self.rate,
            "warmup": self.warmup, "weight_decay": self.weight_decay, "clip": self.clip, "seed": self.seed,
            "keep": if self.keep == Keep::Best { "best" } else { "last" },
        })
    }
}

/// What happens while a run goes on.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// An epoch begins, or goes on from step `first`.
    Epoch {
        /// From 1.
        number: usize,
        /// Steps that it has.
        steps: usize,
        /// Steps of it that were done before.
        first: usize,
    },
    /// A step is done.
    Step(TrainingStep),
    /// Some clips are evaluated.
    Evaluated {
        /// How many more.
        clips: usize,
        /// Of how many in all.
        of: usize,
    },
    /// An epoch is done.
    Epochs(&'a Epoch),
}
