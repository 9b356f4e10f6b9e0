//! Fine-tuning: a wav2vec2 network is trained to tell classes apart, as the trainer of transformers does it.
//!
//! **Words.** A *batch* of clips gives one mean loss; the gradients of `accumulation` batches make a *step* of the
//! optimiser; an *epoch* sees every training clip once, in an order of its own, and ends with an evaluation on the
//! validation clips. A *shard* is a few clips of equal length that go through the network together; shards of a batch
//! run on different cores, and nothing is ever padded.
//!
//! **In and out.** [`fine_tune`] takes a [`Trainable`](crate::classify::Trainable) and a [`Corpus`] of labelled
//! clips, changes the network's weights, and keeps those of the best epoch. Losses, gradient norms, weights and
//! logits are those of the original trainer, to rounding (`tests/training.rs` follows it step by step). Equal seeds
//! give equal weights, for any number of threads, and also when a run is interrupted and goes on.
//!
//! **Costs.** The backward pass takes about twice the time of the forward pass. What a frozen convolution encoder
//! makes of a clip is computed once and kept in memory (up to 3 GiB). Weights and the optimiser's state take 16 bytes
//! a parameter, a checkpoint 12 on disk.

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

/// The file of a checkpoint from which an interrupted run goes on.
const STATE: &str = "trainer_state.json";

/// Which weights the network has when a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Those of the epoch with the best accuracy, the earliest of equals: the validation clips choose.
    Best,
    /// Those of the last epoch: the validation clips only measure.
    Last,
}

/// How to train. The defaults are those of the tutorial that the experiment repeats, but for fewer epochs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// How many times every training clip is seen, at least 1.
    pub epochs: usize,
    /// Clips in a batch, at least 1.
    pub batch: usize,
    /// Batches whose gradients make one step, at least 1.
    pub accumulation: usize,
    /// Learning rate at the end of the warm-up, its highest.
    pub rate: f64,
    /// Share of the steps during which the learning rate rises from 0, from 0 to 1; after it the rate falls to 0.
    pub warmup: f64,
    /// Weight decay of AdamW, not below 0.
    pub weight_decay: f64,
    /// Longest gradient: a longer one is scaled down to this norm. 0 for any.
    pub clip: f64,
    /// Seed of the orders of clips and of all noise.
    pub seed: u64,
    /// Which weights the network has in the end.
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

/// What a run reports while it goes on.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// An epoch begins, or goes on from step `first`.
    Epoch {
        /// Number of the epoch, from 1.
        number: usize,
        /// Steps in the epoch.
        steps: usize,
        /// Steps of it that an earlier run has done.
        first: usize,
    },
    /// A step of the optimiser is done.
    Step(TrainingStep),
    /// Some more clips have been evaluated.
    Evaluated {
        /// How many more.
        clips: usize,
        /// How many there are in all.
        of: usize,
    },
    /// An epoch is done and has been evaluated.
    Epochs(&'a Epoch),
}
