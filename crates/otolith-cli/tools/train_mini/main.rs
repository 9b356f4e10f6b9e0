//! Trains the bundled miniature: a wav2vec2 of the real architecture, from nothing, on procedurally generated sound
//! alone.
//!
//! ```text
//! cargo run --release --example train_mini -- train mini/          # the bundled one took the steps its card gives
//! cargo run --release --example train_mini -- measure mini/        # on classes of sound that it was not trained on
//! cargo run --release --example train_mini -- listen sounds/       # a WAV of each class
//! ```
//!
//! Batches hold several sounds of each of a number of classes. The loss is the cross-entropy of the class plus the
//! supervised contrastive loss (Khosla et al. 2020) of the pooled projections: `--contrast` weighs it, 0 leaves it out.
#![allow(clippy::print_stdout)]

mod first_layer;
mod loss;
mod measure;
mod sounds;

use clap::{Parser, Subcommand};
use otolith::classify::fine_tune::{AdamW, Gradients, Optimiser, Schedule};
use otolith::testing::embed::wav2vec2::{Drawn, Input, Trainable};
use otolith::{Error, Precision, Result};
use rayon::prelude::*;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train, and write a checkpoint folder
    Train(Train),
    /// Accuracy on the classes that training leaves out
    Measure {
        /// A checkpoint folder
        model: PathBuf,
    },
    /// Write a WAV of each class
    Listen {
        /// Where to
        dir: PathBuf,
    },
}

#[derive(clap::Args)]
struct Train {
    /// Where to write the checkpoint
    out: PathBuf,
    /// Steps
    #[arg(long, default_value_t = 2_100)]
    steps: usize,
    /// Sounds a step
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Sounds of a class in a batch
    #[arg(long, default_value_t = 4)]
    group: usize,
    /// Length of a sound
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Highest learning rate
    #[arg(long, default_value_t = 1e-3)]
    rate: f64,
    /// Weight of the contrastive loss beside the cross-entropy
    #[arg(long, default_value_t = 0.5)]
    contrast: f64,
    /// Seed of everything
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Sounds that go through the network together.
const SHARD: usize = 8;
/// Steps between two lines of progress, and between two checkpoints.
const REPORT: usize = 50;

/// The network: one frame every 640 samples (25 a second). The first convolution is as wide as a frame of a spectrogram
/// and begins as a bank of band-pass filters; training moves it.
fn config() -> Value {
    json!({
        "model_type": "wav2vec2",
        "hidden_size": 192, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 768,
        "conv_dim": [256, 192, 192], "conv_kernel": [400, 4, 4], "conv_stride": [160, 2, 2],
        "conv_bias": true, "feat_extract_norm": "layer", "do_stable_layer_norm": true,
        "num_conv_pos_embeddings": 32, "num_conv_pos_embedding_groups": 16,
        "feat_extract_activation": "gelu", "hidden_act": "gelu", "layer_norm_eps": 1e-5,
        "classifier_proj_size": 256, "use_weighted_layer_sum": false,
        "vocab_size": 32, "initializer_range": 0.02, "add_adapter": false,
        "feat_proj_dropout": 0.0, "hidden_dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0,
        "final_dropout": 0.0, "layerdrop": 0.0, "apply_spec_augment": true,
        "mask_time_prob": 0.1, "mask_time_length": 3, "mask_time_min_masks": 0,
        "mask_feature_prob": 0.0, "mask_feature_length": 10, "mask_feature_min_masks": 0,
        "transformers_version": "4.57.3",
    })
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Train(args) => train(&args),
        Command::Measure { model } => {
            let found = measure::held_out(&model)?;
            for (layer, accuracy) in found {
                println!("layer {layer}: nearest neighbour right for {accuracy:.3} of the sounds of unseen classes");
            }
            Ok(())
        }
        Command::Listen { dir } => listen(&dir),
    }
}

/// Whether a class is left out of training: every tenth, to measure with.
fn is_held_out(class: usize) -> bool {
    class % 10 == 9
}

fn train(args: &Train) -> Result<()> {
    let classes: Vec<usize> = (0..sounds::classes()).filter(|class| !is_held_out(*class)).collect();
    let labels: Vec<String> = classes.iter().map(|class| sounds::name(*class)).collect();
    let network = Trainable::random(config(), &labels, args.seed)?;
    first_layer::set(&network)?;
    let parameters = network.parameters();
    let numbers: usize = parameters.iter().map(|parameter| parameter.shape().iter().product::<usize>()).sum();
    println!("{numbers} numbers, {} classes, {} steps of {} sounds", classes.len(), args.steps, args.batch);
    let schedule = Schedule { peak: args.rate, warmup: args.steps / 20, total: args.steps };
    let adamw = AdamW { weight_decay: 0.01, ..AdamW::default() };
    let mut optimiser = Optimiser::new(parameters.len(), adamw, schedule, 1.0);
    let samples = (args.seconds * f64::from(sounds::RATE)) as usize;
    let (begin, mut loss, mut right) = (Instant::now(), 0.0, 0.0);
    for step in 0..args.steps {
        let numbers = draw(args, step, classes.len());
        let batch: Vec<(Input, Vec<u32>)> = numbers
            .par_chunks(SHARD)
            .enumerate()
            .map(|(shard, chosen)| {
                let seed = |at: usize| args.seed << 48 | (step * args.batch + shard * SHARD + at) as u64;
                let rendered =
                    chosen.iter().enumerate().map(|(at, class)| sounds::render(classes[*class], seed(at), samples));
                let prepared = rendered.flat_map(|sound| network.classifier().model().prepare(&sound).into_owned());
                let shape = (chosen.len(), samples);
                let input =
                    candle_core::Tensor::from_vec(prepared.collect::<Vec<f32>>(), shape, &candle_core::Device::Cpu);
                let labels = chosen.iter().map(|class| *class as u32).collect();
                Ok((Input::Samples(input.map_err(tensors)?), labels))
            })
            .collect::<Result<_>>()?;
        let settings = &network.classifier().model().config().regularisation;
        let noise = |shard: usize| Drawn::new(settings, args.seed << 32 | step as u64, shard as u64);
        let found = loss::gradients(&network, &batch, args.contrast, noise)?;
        loss += found.gradients.loss;
        right += found.right;
        optimiser.apply(parameters, &found.gradients)?;
        if (step + 1) % REPORT == 0 || step + 1 == args.steps {
            let done = step % REPORT + 1;
            let (loss_now, right_now) = (loss / done as f64, right / done as f64);
            println!(
                "{:5}  loss {loss_now:.4}  right {right_now:.3}  {:.0} s",
                step + 1,
                begin.elapsed().as_secs_f64()
            );
            (loss, right) = (0.0, 0.0);
            network.save(&args.out, Precision::F16)?;
        }
    }
    Ok(())
}

/// The classes of a batch: groups of sounds of one class.
fn draw(args: &Train, step: usize, classes: usize) -> Vec<usize> {
    let mut state = args.seed.wrapping_mul(0x9E37_79B9).wrapping_add(step as u64);
    let mut order: Vec<usize> = (0..classes).collect();
    for last in (1..classes).rev() {
        // splitmix64 (Steele, Lea and Flood 2014)
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        order.swap(last, ((z ^ (z >> 31)) % (last as u64 + 1)) as usize);
    }
    let groups = (args.batch / args.group).max(1);
    let spread = order.into_iter().cycle().take(groups);
    spread.flat_map(|class| std::iter::repeat_n(class, args.group)).collect()
}

fn listen(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, "create", e))?;
    for class in 0..sounds::classes() {
        let path = dir.join(format!("{class:03}-{}.wav", sounds::name(class)));
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: sounds::RATE,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let write = || -> hound::Result<()> {
            let mut writer = hound::WavWriter::create(&path, spec)?;
            for seed in 0..3 {
                for sample in sounds::render(class, seed, 3 * sounds::RATE as usize) {
                    writer.write_sample((sample * 32_767.0) as i16)?;
                }
            }
            writer.finalize()
        };
        write().map_err(|e| Error::invalid("sound", format!("{}: {e}", path.display())))?;
    }
    Ok(())
}

/// An error of the tensor library.
fn tensors(error: candle_core::Error) -> Error {
    Error::invalid("training", error.to_string())
}

/// Gradients that a batch gave, and the share of its sounds whose class came first.
struct Found {
    gradients: Gradients,
    right: f64,
}
