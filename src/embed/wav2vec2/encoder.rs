//! The transformer: frames to hidden states.

use super::layers::{LayerNorm, Linear};
use super::loader::Loader;
use super::noise::{Noise, Place};
use super::ops;
use super::positional::PositionalConvEmbedding;
use crate::embed::checkpoint::Config;
use crate::error::Result;
use candle_core::{Device, Result as Computed, Tensor};

/// Multi-head attention; in the checkpoint `encoder.layers.N.attention`.
#[derive(Debug)]
struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    heads: usize,
}

impl Attention {
    fn load(loader: &mut Loader, name: &str, config: &Config) -> Result<Attention> {
        let width = config.hidden_size;
        let mut linear = |part: &str| Linear::load(loader, &format!("{name}.{part}"), width, width);
        Ok(Attention {
            q_proj: linear("q_proj")?,
            k_proj: linear("k_proj")?,
            v_proj: linear("v_proj")?,
            out_proj: linear("out_proj")?,
            heads: config.num_attention_heads,
        })
    }

    /// `x` `[batch, rows, width]`; of clip `i` only the first `kept[i]` rows are keys.
    fn forward(&self, x: &Tensor, kept: Option<&[usize]>, noise: &mut dyn Noise, layer: usize) -> Computed<Tensor> {
        let (batch, rows, width) = x.dims3()?;
        let size = width / self.heads;
        let q = (self.q_proj.forward(x)? * (size as f64).powf(-0.5))?;
        let (k, v) = (self.k_proj.forward(x)?, self.v_proj.forward(x)?);
        let factors = noise.dropout(Place::Attention(layer), &[batch, self.heads, rows, rows]);
        let x = self.out_proj.forward(&ops::attention(&q, &k, &v, self.heads, kept, factors)?)?;
        dropout(x, noise, Place::AttentionOutput(layer))
    }
}

/// In the checkpoint `encoder.layers.N.feed_forward`.
#[derive(Debug)]
struct FeedForward {
    intermediate_dense: Linear,
    output_dense: Linear,
}

impl FeedForward {
    fn load(loader: &mut Loader, name: &str, config: &Config) -> Result<FeedForward> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        Ok(FeedForward {
            intermediate_dense: Linear::load(loader, &format!("{name}.intermediate_dense"), width, inner)?,
            output_dense: Linear::load(loader, &format!("{name}.output_dense"), inner, width)?,
        })
    }

    fn forward(&self, x: &Tensor, noise: &mut dyn Noise, layer: usize) -> Computed<Tensor> {
        let x = ops::gelu(&self.intermediate_dense.forward(x)?)?;
        let x = self.output_dense.forward(&dropout(x, noise, Place::Activation(layer))?)?;
        dropout(x, noise, Place::FeedForwardOutput(layer))
    }
}

/// In the checkpoint `encoder.layers.N`.
#[derive(Debug)]
struct EncoderLayer {
    attention: Attention,
    layer_norm: LayerNorm,
    feed_forward: FeedForward,
    final_layer_norm: LayerNorm,
}

impl EncoderLayer {
    fn load(loader: &mut Loader, name: &str, config: &Config) -> Result<EncoderLayer> {
        let width = config.hidden_size;
        Ok(EncoderLayer {
            attention: Attention::load(loader, &format!("{name}.attention"), config)?,
            layer_norm: LayerNorm::load(loader, &format!("{name}.layer_norm"), width, config)?,
            feed_forward: FeedForward::load(loader, &format!("{name}.feed_forward"), config)?,
            final_layer_norm: LayerNorm::load(loader, &format!("{name}.final_layer_norm"), width, config)?,
        })
    }

    /// The same parts in the two orders: norms before each block (`stable`) or after it.
    fn forward(
        &self,
        x: &Tensor,
        kept: Option<&[usize]>,
        stable: bool,
        noise: &mut dyn Noise,
        layer: usize,
    ) -> Computed<Tensor> {
        if stable {
            let x = (x + self.attention.forward(&self.layer_norm.forward(x)?, kept, noise, layer)?)?;
            &x + self.feed_forward.forward(&self.final_layer_norm.forward(&x)?, noise, layer)?
        } else {
            let x = self.layer_norm.forward(&(x + self.attention.forward(x, kept, noise, layer)?)?)?;
            self.final_layer_norm.forward(&(&x + self.feed_forward.forward(&x, noise, layer)?)?)
        }
    }
}

/// Multiplies by what the noise says.
pub(super) fn dropout(x: Tensor, noise: &mut dyn Noise, place: Place) -> Computed<Tensor> {
    match noise.dropout(place, x.dims()) {
        Some(factors) => &x * Tensor::from_vec(factors, x.shape(), &Device::Cpu)?,
        None => Ok(x),
    }
}

/// What a pass through the transformer gives, each `[batch, rows, width]`.
#[derive(Clone, Debug)]
pub struct States {
    /// State 0 is the input of the first layer, state `n` the output of layer `n`, never normed afterwards.
    pub states: Vec<Tensor>,
    /// The last state, and for a pre-norm encoder of full depth its norm: the last hidden state.
    pub last: Tensor,
}

/// In the checkpoint `encoder`.
#[derive(Debug)]
pub(super) struct Encoder {
    pos_conv_embed: PositionalConvEmbedding,
    /// After the positional step in the post-norm encoder, after the last layer in the pre-norm one, where it is absent
    /// unless all layers are loaded.
    layer_norm: Option<LayerNorm>,
    layers: Vec<EncoderLayer>,
    stable: bool,
}

impl Encoder {
    /// The first `depth` layers.
    pub(super) fn load(loader: &mut Loader, config: &Config, depth: usize) -> Result<Encoder> {
        let stable = config.do_stable_layer_norm;
        let pos_conv_embed = PositionalConvEmbedding::load(loader, config)?;
        let layer_norm = (!stable || depth == config.num_hidden_layers)
            .then(|| LayerNorm::load(loader, "encoder.layer_norm", config.hidden_size, config))
            .transpose()?;
        let layers = (0..depth).map(|n| EncoderLayer::load(loader, &format!("encoder.layers.{n}"), config));
        let layers = layers.collect::<Result<_>>()?;
        Ok(Encoder { pos_conv_embed, layer_norm, layers, stable })
    }

    /// `x` is the projected features `[batch, rows, width]`; of each clip only the first `kept` rows count, the others
    /// are silenced and seen by no row.
    pub(super) fn forward(&self, x: &Tensor, kept: Option<&[usize]>, noise: &mut dyn Noise) -> Computed<States> {
        let x = match kept {
            Some(kept) => x.broadcast_mul(&kept_frames(kept, x.dim(1)?)?)?,
            None => x.clone(),
        };
        let norm = |x: Tensor| self.layer_norm.as_ref().map_or(Ok(x.clone()), |norm| norm.forward(&x));
        let mut h = (&x + self.pos_conv_embed.forward(&x)?)?;
        if !self.stable {
            h = norm(h)?;
        }
        h = dropout(h, noise, Place::Encoder)?;
        let mut states = vec![h.clone()];
        for (number, layer) in self.layers.iter().enumerate() {
            if !noise.skips(number) {
                h = layer.forward(&h, kept, self.stable, noise, number)?;
            }
            states.push(h.clone());
        }
        let last = if self.stable { norm(h)? } else { h };
        Ok(States { states, last })
    }
}

/// `[batch, rows, 1]`: 1 for the first `kept[i]` rows of clip `i`, 0 for the others.
pub(super) fn kept_frames(kept: &[usize], rows: usize) -> Computed<Tensor> {
    let flags = kept.iter().flat_map(|kept| (0..rows).map(move |row| if row < *kept { 1_f32 } else { 0.0 }));
    Tensor::from_iter(flags.collect::<Vec<_>>(), &Device::Cpu)?.reshape((kept.len(), rows, 1))
}
