//! Fine-tuning: a wav2vec2 network trained to tell classes apart, as the original library's trainer does it.

mod adamw;
mod schedule;
mod step;

pub use adamw::{AdamW, Moments, decays};
pub use schedule::Schedule;
pub use step::{Gradients, Optimiser, Shard, Step, gradients};
