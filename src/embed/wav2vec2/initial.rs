//! Values to begin training with, drawn as the original implementation draws them.

use crate::embed::checkpoint::Config;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use xxhash_rust::xxh3::xxh3_64;

/// Standard deviation of the weights of linear maps (`initializer_range`).
const DEVIATION: f64 = 0.02;

/// Draws tensors by name: each name has a stream of its own, so the order in which they are asked for is free.
#[derive(Debug)]
pub(super) struct Initial {
    seed: u64,
    /// Entries of `layer_weights`.
    states: usize,
    /// The gain of each tap of the positional convolution: the norm that its direction is drawn with, so that the weight
    /// begins as the direction.
    gain: f64,
}

impl Initial {
    pub(super) fn new(seed: u64, config: &Config) -> Initial {
        let taps = config.num_conv_pos_embeddings * config.num_conv_pos_embedding_groups;
        let gain = 2.0 * (config.hidden_size as f64 / taps as f64).sqrt();
        Initial { seed, states: config.num_hidden_layers + 1, gain }
    }

    /// Values of a tensor, row-major: norms begin as the identity, convolutions by He et al. 2015, linear maps with small
    /// normal weights, biases at 0.
    pub(super) fn draw(&self, name: &str, shape: &[usize]) -> Vec<f32> {
        let count = shape.iter().product();
        let mut stream = Stream::new(self.seed, name);
        let fan_in: usize = shape.iter().skip(1).product();
        if name == "layer_weights" {
            return vec![1.0 / self.states as f32; count];
        }
        if name == "masked_spec_embed" {
            return (0..count).map(|_| stream.uniform() as f32).collect();
        }
        if name.ends_with("weight_g") {
            return vec![self.gain as f32; count];
        }
        let bias = name.ends_with(".bias");
        if name.contains("layer_norm") {
            return vec![if bias { 0.0 } else { 1.0 }; count];
        }
        if name.starts_with("feature_projection.") && !bias {
            let reach = (1.0 / fan_in as f64).sqrt();
            return (0..count).map(|_| ((stream.uniform() * 2.0 - 1.0) * reach) as f32).collect();
        }
        if bias {
            return vec![0.0; count];
        }
        let deviation = match shape {
            // The positional convolution: its fan counts all channels, whatever its groups.
            [width, _, taps] if name.contains("pos_conv_embed") => 2.0 * (1.0 / (taps * width) as f64).sqrt(),
            [_, _, _] => (2.0 / fan_in as f64).sqrt(),
            _ => DEVIATION,
        };
        (0..count).map(|_| (stream.normal() * deviation) as f32).collect()
    }
}

/// A stream of random numbers for one tensor.
struct Stream(ChaCha8Rng);

impl Stream {
    fn new(seed: u64, name: &str) -> Stream {
        Stream(ChaCha8Rng::seed_from_u64(seed ^ xxh3_64(name.as_bytes())))
    }

    /// From 0 up to 1, without 1.
    fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The standard normal (Box and Muller 1958).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}
