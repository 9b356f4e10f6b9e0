//! The encoder of Whisper (Radford et al. 2022): sound to its last hidden state, 50 rows a second.
//!
//! 16 kHz samples become log-mel frames (`log_mel`, 100 a second), two convolutions with exact GELUs halve their
//! number, positions are added, and a pre-norm transformer gives the rows. A window is 30 s, filled up with silence,
//! which the network sees as well: that is how it was trained, and why a short sound costs as much as a long one (some
//! 1.5 s of one core and 300 MB at the base size, 6 layers of 512). Rows of silence behind the sound are cut off.
//!
//! The transformer is candle-transformers' `VoxtralEncoder`: Voxtral's encoder is Whisper's. The module named `whisper`
//! there cannot be had without its decoder and computes GELU by the tanh formula, 1e-3 off in the result.
//! `VoxtralEncoder` has the exact one, except behind its convolutions; so these are computed here, see
//! [`Whisper::encode`].

mod config;
mod log_mel;

pub use config::Config;

use self::log_mel::{LogMel, RATE};
use super::checkpoint::Weights;
use super::wav2vec2::loader::Loader;
use super::{Embedder, Window};
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use candle_core::{DType, Device, Module, Result as Computed, Tensor};
use candle_nn::{Conv1d, Conv1dConfig, VarBuilder};
use candle_transformers::models::voxtral::{VoxtralEncoder, VoxtralEncoderConfig};
use std::collections::HashMap;
use std::path::Path;

/// Samples from a row to the next, and those that a row stands for.
const HOP: usize = 2 * log_mel::HOP;

/// Width of both convolutions.
const KERNEL: usize = 3;

/// A Whisper encoder as an [`Embedder`]. Its rows do not depend on the loudness of the whole sound.
#[derive(Debug)]
pub struct Whisper {
    config: Config,
    identity: String,
    log_mel: LogMel,
    conv1: Conv1d,
    conv2: Conv1d,
    /// `[rows, width]`
    embed_positions: Tensor,
    /// Everything behind the positions, by the names of the checkpoint without `encoder.`.
    transformer: HashMap<String, Tensor>,
}

impl Whisper {
    /// Loads the encoder from a checkpoint folder; there may be a decoder in it.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Unusable`] or [`Error::Mismatch`] naming the file, field or tensor that is missing,
    /// malformed or of another shape.
    pub fn open(dir: &Path) -> Result<Whisper> {
        let config = Config::read(dir)?;
        let (bands, width, inner) = (config.num_mel_bins, config.d_model, config.encoder_ffn_dim);
        // Everything that decides the rows and is not seen in the tensors. Never change it: collections remember the
        // hash.
        let recipe = format!("last\nheads {}", config.encoder_attention_heads);
        let mut loader = Loader::new(Weights::open(dir, "model")?, &recipe);
        let mut tensor = |name: &str, shape: &[usize]| loader.tensor(&format!("encoder.{name}"), shape);
        let mut conv = |name: &str, inputs, stride| -> Result<Conv1d> {
            let weight = tensor(&format!("{name}.weight"), &[width, inputs, KERNEL])?;
            let bias = tensor(&format!("{name}.bias"), &[width])?;
            Ok(Conv1d::new(weight, Some(bias), Conv1dConfig { padding: 1, stride, ..Default::default() }))
        };
        let (conv1, conv2) = (conv("conv1", bands, 1)?, conv("conv2", width, 2)?);
        let embed_positions = tensor("embed_positions.weight", &[config.max_source_positions, width])?;
        let mut transformer = HashMap::new();
        let mut take = |name: String, shape: &[usize]| -> Result<()> {
            transformer.insert(name.clone(), tensor(&name, shape)?);
            Ok(())
        };
        for layer in 0..config.encoder_layers {
            let name = |part: &str| format!("layers.{layer}.{part}");
            for norm in ["self_attn_layer_norm", "final_layer_norm"] {
                take(name(&format!("{norm}.weight")), &[width])?;
                take(name(&format!("{norm}.bias")), &[width])?;
            }
            for projection in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                take(name(&format!("self_attn.{projection}.weight")), &[width, width])?;
                if projection != "k_proj" {
                    take(name(&format!("self_attn.{projection}.bias")), &[width])?;
                }
            }
            for (linear, outputs, inputs) in [("fc1", inner, width), ("fc2", width, inner)] {
                take(name(&format!("{linear}.weight")), &[outputs, inputs])?;
                take(name(&format!("{linear}.bias")), &[outputs])?;
            }
        }
        take("layer_norm.weight".into(), &[width])?;
        take("layer_norm.bias".into(), &[width])?;
        // Convolutions of one band that give nothing.
        for (conv, inputs) in [("conv1", 1), ("conv2", width)] {
            for (part, shape) in [("weight", vec![width, inputs, KERNEL]), ("bias", vec![width])] {
                let zeros = Tensor::zeros(shape, DType::F32, &Device::Cpu).map_err(internal)?;
                transformer.insert(format!("{conv}.{part}"), zeros);
            }
        }
        let identity = format!("whisper/last/{:032x}", loader.digest());
        let log_mel = LogMel::new(bands, config.mel_frames());
        Ok(Whisper { config, identity, log_mel, conv1, conv2, embed_positions, transformer })
    }

    /// What the checkpoint says of itself.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The log-mel frames of a window of samples and the silence behind them, `[1, bands, frames]`. What is longer than
    /// a window is cut.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the transform fails.
    pub fn log_mel(&self, samples: &[f32]) -> Result<Tensor> {
        let shape = (1, self.config.num_mel_bins, self.config.mel_frames());
        Tensor::from_vec(self.log_mel.window(samples)?, shape, &Device::Cpu).map_err(internal)
    }

    /// The last hidden state of log-mel frames, `[1, rows, width]`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a tensor of another shape than [`Whisper::log_mel`] gives.
    pub fn encode(&self, log_mel: &Tensor) -> Result<Tensor> {
        self.states(log_mel).map_err(internal)
    }

    fn states(&self, log_mel: &Tensor) -> Computed<Tensor> {
        let frames = self.conv1.forward(log_mel)?.gelu_erf()?;
        let frames = self.conv2.forward(&frames)?.gelu_erf()?;
        let input = frames.transpose(1, 2)?.squeeze(0)?.add(&self.embed_positions)?;
        // `VoxtralEncoder` adds positions to the output of its convolutions. Here they give zeros, and what it takes
        // for positions is the sum of both. Tensors are shared, so making it anew costs nothing beside running it.
        let Config { max_source_positions, d_model, encoder_ffn_dim, encoder_layers, encoder_attention_heads, .. } =
            self.config;
        let mut tensors = self.transformer.clone();
        tensors.insert("embed_positions.weight".into(), input);
        let config = VoxtralEncoderConfig {
            num_mel_bins: 1,
            max_source_positions,
            hidden_size: d_model,
            intermediate_size: encoder_ffn_dim,
            num_hidden_layers: encoder_layers,
            num_attention_heads: encoder_attention_heads,
            ..Default::default()
        };
        let encoder = VoxtralEncoder::new(&config, VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu))?;
        encoder.forward(&Tensor::zeros((1, 1, self.config.mel_frames()), DType::F32, &Device::Cpu)?)
    }
}

impl Embedder for Whisper {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn sample_rate(&self) -> u32 {
        RATE
    }

    fn dim(&self) -> usize {
        self.config.d_model
    }

    fn hop(&self) -> usize {
        HOP
    }

    fn receptive_field(&self) -> usize {
        HOP
    }

    fn window_rows(&self) -> Option<usize> {
        Some(self.config.max_source_positions)
    }

    fn embed(&self, window: Window<'_>) -> Result<Matrix> {
        let (rows, most) = (window.samples.len() / HOP, self.config.max_source_positions);
        if !(1..=most).contains(&rows) {
            let expected = format!("{HOP} to {} samples", (most + 1) * HOP - 1);
            return Err(Error::mismatch("window of `whisper`", expected, window.samples.len()));
        }
        let states = self.encode(&self.log_mel(window.samples)?)?;
        let values = states.narrow(1, 0, rows).and_then(|states| states.flatten_all()?.to_vec1()).map_err(internal)?;
        Matrix::from_rows(rows, self.config.d_model, values)
    }
}

/// An error of the tensor library: shapes that do not fit each other, which the checks before should have caught.
fn internal(error: candle_core::Error) -> Error {
    Error::invalid("whisper", error.to_string())
}
