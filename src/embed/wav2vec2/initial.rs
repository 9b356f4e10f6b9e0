//! Values to begin training with, drawn as the original implementation draws them.

use crate::embed::checkpoint::Config;
use crate::random::unit;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use xxhash_rust::xxh3::xxh3_64;

/// Standard deviation of the weights of linear maps (`initializer_range`).
const DEVIATION: f64 = 0.02;

/// Draws tensors by name: each name has a stream of its own, so the order in which they are asked for is free.
#[derive(Debug)]
pub(super) struct Initial {
    seed: u64,
    /// Entries of `layer_weights`.
    states: usize,
    /// The gain of each tap of the positional convolution: the norm that its direction is drawn with, so that the
    /// weight begins as the direction.
    gain: f64,
}

impl Initial {
    pub(super) fn new(seed: u64, config: &Config) -> Initial {
        let taps = config.num_conv_pos_embeddings * config.num_conv_pos_embedding_groups;
        let gain = 2.0 * (config.hidden_size as f64 / taps as f64).sqrt();
        Initial { seed, states: config.num_hidden_layers + 1, gain }
    }

    /// Values of a tensor, row-major: norms begin as the identity, convolutions by He et al. 2015, linear maps with
    /// small normal weights, biases at 0.
    pub(super) fn draw(&self, name: &str, shape: &[usize]) -> Vec<f32> {
        let count = shape.iter().product();
        let mut draws = ChaCha8Rng::seed_from_u64(self.seed ^ xxh3_64(name.as_bytes()));
        let fan_in: usize = shape.iter().skip(1).product();
        if name == "layer_weights" {
            return vec![1.0 / self.states as f32; count];
        }
        if name == "masked_spec_embed" {
            return (0..count).map(|_| unit(&mut draws) as f32).collect();
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
            return (0..count).map(|_| ((unit(&mut draws) * 2.0 - 1.0) * reach) as f32).collect();
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
        (0..count).map(|_| (normal(&mut draws) * deviation) as f32).collect()
    }
}

/// The standard normal (Box and Muller 1958).
fn normal(draws: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - unit(draws)).ln()).sqrt();
    radius * (std::f64::consts::TAU * unit(draws)).cos()
}
