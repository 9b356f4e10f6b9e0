//! wav2vec2 and HuBERT: sound to frames of learned features, 50 a second, as in the papers (Baevski et al. 2020, Hsu et
//! al. 2021) and to the rounding error of the original implementation.
//!
//! A clip of 16 kHz samples is brought to mean 0 and variance 1, goes through a stack of strided convolutions (`conv`,
//! one frame every 320 samples), a layer norm (`extract_features`), a linear map to the transformer's width
//! (`projected`), and the transformer (hidden states 0 to N). [`Layer`] says where the rows are taken; what lies behind
//! it is neither loaded nor run. [`Wav2Vec2`] is the embedder; its steps are public, for those who train or look
//! inside, and [`Classifier`] puts the classification head on top.
//!
//! Words: a *sample* is one number of sound, a *frame* one row of the model, the *hop* the samples from a frame to the
//! next, the *receptive field* the samples that a frame sees.
//!
//! A sound of more than 1,500 frames (30 s) goes through the transformer in windows of equal length, of so many at
//! most. What comes before looks at the whole sound: its mean and variance, and the channel norm's. So `features` and
//! `projected` are the original's for a sound of any length; the layers' rows see less of it than there, where every
//! row sees all others and time grows with the square.
//!
//! Costs of 5 s of sound on one core with AVX-512 (2.6 GHz): 0.25 s for `features` at the standard size with some 15 MB
//! of activations, whatever the length; 0.5 s more for the base transformer, whose attention takes time with the square
//! of the window (30 s of sound: 1.5 s and 4.6 s). Everything runs on the calling thread, so embed clips in parallel.

mod classifier;
mod conv;
mod encoder;
mod initial;
mod layers;
pub(super) mod loader;
mod noise;
mod ops;
mod parameter;
mod positional;
mod trainable;

pub use classifier::Classifier;
pub use encoder::States;
#[cfg(any(test, feature = "testing"))]
pub use noise::Place;
pub use noise::{Drawn, Noise, Still};
pub use parameter::Parameter;
pub use trainable::{Input, Trainable};

use self::conv::FeatureExtractor;
use self::encoder::Encoder;
use self::layers::{LayerNorm, Linear};
use self::loader::{Loader, internal};
use super::checkpoint::{Checkpoint, Config, FeatureNorm, Preprocessor};
use super::{Embedder, Moments, Taps, Window};
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use candle_core::{Device, Tensor};
use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// Most frames at once: 30 s at the standard hop, where attention takes a fifth of the transformer's time.
const WINDOW_ROWS: usize = 1_500;

/// Where in the network the rows are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The convolution encoder's output behind the feature projection's layer norm (`extract_features`).
    Features,
    /// That, behind the projection's linear map.
    Projected,
    /// Hidden state `n`, from 0 (the input of the first layer) to N, the last hidden state.
    State(usize),
    /// The mean of states 0 to N - 1 and the last hidden state.
    Mean,
}

impl Layer {
    /// Refuses a layer that a network does not have.
    fn check(self, config: &Config) -> Result<()> {
        match self {
            Layer::State(n) if n > config.num_hidden_layers => {
                let last = config.num_hidden_layers;
                Err(Error::invalid("layer", format!("{n} is beyond {last}, the last of this model")))
            }
            _ => Ok(()),
        }
    }
}

impl FromStr for Layer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Layer> {
        match text {
            "features" => Ok(Layer::Features),
            "projected" => Ok(Layer::Projected),
            "mean" => Ok(Layer::Mean),
            number => number.parse().map(Layer::State).map_err(|_| {
                Error::invalid("layer", format!("`{text}` is none of features, projected, mean and a number"))
            }),
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layer::Features => f.write_str("features"),
            Layer::Projected => f.write_str("projected"),
            Layer::State(n) => write!(f, "{n}"),
            Layer::Mean => f.write_str("mean"),
        }
    }
}

/// In the checkpoint `feature_projection`.
#[derive(Debug)]
struct FeatureProjection {
    layer_norm: Option<LayerNorm>,
    projection: Option<Linear>,
}

/// A wav2vec2 or HuBERT network up to a [`Layer`], as an [`Embedder`].
#[derive(Debug)]
pub struct Wav2Vec2 {
    config: Config,
    preprocessor: Preprocessor,
    layer: Layer,
    identity: String,
    feature_extractor: FeatureExtractor,
    feature_projection: FeatureProjection,
    encoder: Option<Encoder>,
}

impl Wav2Vec2 {
    /// Loads a checkpoint folder as far as `layer` needs it.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Unusable`] or [`Error::Mismatch`] naming the file, field or tensor that is missing,
    /// malformed or of another shape; [`Error::Invalid`] for a layer beyond the last.
    pub fn open(dir: &Path, layer: Layer) -> Result<Wav2Vec2> {
        Wav2Vec2::of(Checkpoint::open(dir)?, layer)
    }

    /// Loads a checkpoint as far as `layer` needs it.
    ///
    /// # Errors
    /// As [`Wav2Vec2::open`].
    #[doc(hidden)]
    pub fn of(checkpoint: Checkpoint, layer: Layer) -> Result<Wav2Vec2> {
        Wav2Vec2::load(checkpoint, layer).map(|(model, _)| model)
    }

    /// The network, and the loader for what belongs on top.
    fn load(checkpoint: Checkpoint, layer: Layer) -> Result<(Wav2Vec2, Loader)> {
        let Checkpoint { config, preprocessor, weights, .. } = checkpoint;
        layer.check(&config)?;
        let mut loader = Loader::new(weights, &recipe(&config, &preprocessor, layer));
        let model = Wav2Vec2::build(config, preprocessor, layer, &mut loader)?;
        Ok((model, loader))
    }

    fn build(config: Config, preprocessor: Preprocessor, layer: Layer, loader: &mut Loader) -> Result<Wav2Vec2> {
        let depth = match layer {
            Layer::Features | Layer::Projected => None,
            Layer::State(n) => Some(n),
            Layer::Mean => Some(config.num_hidden_layers),
        };
        let feature_extractor = FeatureExtractor::load(loader, &config)?;
        let (channels, width) = (config.conv_dim(), config.hidden_size);
        let layer_norm = config
            .feat_proj_layer_norm
            .then(|| LayerNorm::load(loader, "feature_projection.layer_norm", channels, &config))
            .transpose()?;
        let projection = (layer != Layer::Features)
            .then(|| Linear::load(loader, "feature_projection.projection", channels, width))
            .transpose()?;
        let encoder = depth.map(|depth| Encoder::load(loader, &config, depth)).transpose()?;
        let identity = format!("{}/{layer}/{:032x}", config.family.name(), loader.digest());
        let feature_projection = FeatureProjection { layer_norm, projection };
        Ok(Wav2Vec2 { config, preprocessor, layer, identity, feature_extractor, feature_projection, encoder })
    }

    /// What the checkpoint's `config.json` says.
    #[doc(hidden)]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How it wants its samples prepared.
    #[doc(hidden)]
    pub fn preprocessor(&self) -> &Preprocessor {
        &self.preprocessor
    }

    /// Which layer of the network the rows are taken from.
    pub fn layer(&self) -> Layer {
        self.layer
    }

    /// A clip as the network wants it: mean 0 and variance 1 where the checkpoint asks for it.
    #[doc(hidden)]
    pub fn prepare<'a>(&self, samples: &'a [f32]) -> Cow<'a, [f32]> {
        match self.preprocessor.do_normalize {
            true => Cow::Owned(conv::normalise(samples)),
            false => Cow::Borrowed(samples),
        }
    }

    /// The convolution encoder's output for one clip of prepared samples, `[1, frames, channels]`.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when the clip is shorter than the receptive field.
    #[doc(hidden)]
    pub fn conv(&self, samples: &[f32]) -> Result<Tensor> {
        self.conv_within(samples, None)
    }

    /// The same for a part of a clip, where `whole` is what [`Embedder::taps`] asks for, of the prepared clip.
    fn conv_within(&self, samples: &[f32], whole: Option<&Moments>) -> Result<Tensor> {
        let frames = self.config.frames(samples.len());
        if frames == 0 {
            let (found, least) = (samples.len(), self.config.receptive_field());
            return Err(Error::mismatch("clip", format!("at least {least} samples"), found));
        }
        let values = self.feature_extractor.forward(samples, whole).map_err(internal)?;
        Tensor::from_vec(values, (1, frames, self.config.conv_dim()), &Device::Cpu).map_err(internal)
    }

    /// Of the convolution encoder's output the features, `[batch, frames, channels]`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a tensor of another shape.
    #[doc(hidden)]
    pub fn features(&self, conv: &Tensor) -> Result<Tensor> {
        match &self.feature_projection.layer_norm {
            Some(norm) => norm.forward(conv).map_err(internal),
            None => Ok(conv.clone()),
        }
    }

    /// Of the features the transformer's input, `[batch, frames, width]`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the model was opened for [`Layer::Features`], or for a tensor of another shape.
    #[doc(hidden)]
    pub fn project(&self, features: &Tensor) -> Result<Tensor> {
        let projection = self.feature_projection.projection.as_ref().ok_or_else(|| self.not_loaded("projection"))?;
        projection.forward(features).map_err(internal)
    }

    /// Hidden states of projected features. Of clip `i` the first `kept[i]` frames count (at least one); without `kept`
    /// all do.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the model was opened without its transformer, for a tensor of another shape, or for
    /// numbers of frames that do not fit it.
    #[doc(hidden)]
    pub fn encode(&self, projected: &Tensor, kept: Option<&[usize]>) -> Result<States> {
        let encoder = self.encoder.as_ref().ok_or_else(|| self.not_loaded("transformer"))?;
        let (batch, frames, _) = projected.dims3().map_err(internal)?;
        if let Some(kept) = kept.filter(|kept| kept.len() != batch || kept.iter().any(|k| !(1..=frames).contains(k))) {
            return Err(Error::invalid("kept frames", format!("{kept:?} do not fit {batch} clips of {frames} frames")));
        }
        encoder.forward(projected, kept, &mut Still).map_err(internal)
    }

    fn not_loaded(&self, what: &str) -> Error {
        Error::invalid("wav2vec2", format!("the {what} is not loaded: the model was opened for layer `{}`", self.layer))
    }

    /// The rows of one clip of prepared samples, or of a part of one, `[1, frames, dim]`.
    fn rows(&self, samples: &[f32], whole: Option<&Moments>) -> Result<Tensor> {
        let features = self.features(&self.conv_within(samples, whole)?)?;
        if self.layer == Layer::Features {
            return Ok(features);
        }
        let projected = self.project(&features)?;
        if self.layer == Layer::Projected {
            return Ok(projected);
        }
        let States { mut states, last } = self.encode(&projected, None)?;
        if self.layer != Layer::Mean {
            return Ok(last);
        }
        states.pop();
        states.push(last);
        Tensor::stack(&states, 0).and_then(|states| states.mean(0)).map_err(internal)
    }
}

/// Everything that decides the rows and is not seen in the tensors, for the identity. Never change the order or the
/// words: collections remember the hash.
fn recipe(config: &Config, preprocessor: &Preprocessor, layer: Layer) -> String {
    let mut recipe = format!(
        "{layer}\nrate {} normalize {}\nconv {:?} norm {} eps {:e}",
        preprocessor.sampling_rate,
        preprocessor.do_normalize,
        config.conv_layers.iter().map(|conv| (conv.dim, conv.kernel, conv.stride)).collect::<Vec<_>>(),
        match config.feat_extract_norm {
            FeatureNorm::Group => "group",
            FeatureNorm::Layer => "layer",
        },
        config.layer_norm_eps,
    );
    if !matches!(layer, Layer::Features | Layer::Projected) {
        let Config { num_hidden_layers, num_attention_heads, do_stable_layer_norm, .. } = config;
        recipe += &format!("\nlayers {num_hidden_layers} heads {num_attention_heads} stable {do_stable_layer_norm}");
    }
    recipe
}

impl Embedder for Wav2Vec2 {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn sample_rate(&self) -> u32 {
        self.preprocessor.sampling_rate
    }

    fn dim(&self) -> usize {
        if self.layer == Layer::Features { self.config.conv_dim() } else { self.config.hidden_size }
    }

    fn rows_per_second(&self) -> f64 {
        f64::from(self.sample_rate()) / self.hop() as f64
    }

    fn hop(&self) -> usize {
        self.config.hop()
    }

    fn receptive_field(&self) -> usize {
        self.config.receptive_field()
    }

    fn window_rows(&self) -> Option<usize> {
        Some(WINDOW_ROWS)
    }

    fn taps(&self) -> Option<Taps> {
        self.feature_extractor.taps()
    }

    fn embed(&self, window: Window<'_>) -> Result<Matrix> {
        let Window { samples, whole, is_part, moments } = window;
        let rows = if is_part && self.preprocessor.do_normalize {
            let (centre, spread) = (whole.mean, conv::spread(whole.deviation.powi(2)));
            let moments = moments.map(|moments| moments.scaled(centre, spread));
            self.rows(&conv::scaled(samples, centre, spread), moments.as_ref())?
        } else {
            self.rows(&self.prepare(samples), moments)?
        };
        let (_, frames, dim) = rows.dims3().map_err(internal)?;
        let values = rows.flatten_all().and_then(|rows| rows.to_vec1()).map_err(internal)?;
        Matrix::from_rows(frames, dim, values)
    }
}
