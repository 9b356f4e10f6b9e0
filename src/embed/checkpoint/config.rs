//! `config.json`: the shape of the network. Missing fields take the family's defaults; what is not built is refused.

use crate::error::{Error, Result};
use serde_json::Value;
use std::path::Path;

/// Largest width or count that is accepted, some 30 times that of the largest published model: 30 seconds of rows so
/// wide take 400 MB.
const LARGEST: u64 = 1 << 16;

/// Widest convolution kernel of the feature encoder; published models have 10. Its square is the size of a covariance.
const KERNEL: u64 = 1_024;

/// Most convolution layers; published models have 7.
const CONV_LAYERS: usize = 64;

/// Most samples that two frames may see; published models have 720. A window of 1,500 frames of half as many samples
/// each takes 200 MB.
const SPAN: usize = 1 << 16;

/// Most numbers between two convolutions while a block of frames goes through them: 1 GiB. Published models have 2
/// million.
const ACTIVATIONS: usize = 1 << 28;

/// Most numbers in the tensors that the rows need, twice those of the largest published model: 16 GiB.
const PARAMETERS: u64 = 1 << 32;

/// Frames that go through the convolutions at once: as fast as any number from 32 to 256, and bounds the memory of a
/// clip (12 MB of activations at 512 channels).
pub(in crate::embed) const BLOCK: usize = 64;

/// Which architecture the checkpoint was saved from. Both compute the same; a few switches exist for HuBERT only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `wav2vec2`
    Wav2Vec2,
    /// `hubert`
    Hubert,
}

impl Family {
    /// The `model_type`, which is also the prefix of tensor names in models saved with a head.
    pub fn name(self) -> &'static str {
        match self {
            Family::Wav2Vec2 => "wav2vec2",
            Family::Hubert => "hubert",
        }
    }
}

/// The norm inside the convolution encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeatureNorm {
    /// After layer 0 only, each channel over the whole clip.
    Group,
    /// After every layer, over the channels of each time step.
    Layer,
}

/// The generation of the library that saved the checkpoint: it decides what the last hidden state means in a weighted
/// sum of states of the pre-norm encoder (normed up to 4, raw from 5 on).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// `transformers_version` begins with `4.`, or there is none.
    Normed,
    /// Any later version.
    Raw,
}

/// What the outputs of the classification head are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Scores of classes of which one is right; also when `problem_type` is absent.
    SingleLabel,
    /// Scores of classes each of which is right or wrong by itself.
    MultiLabel,
    /// Values of something that is measured.
    Regression,
}

/// One convolution of the feature encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvLayer {
    /// Output channels.
    pub dim: usize,
    /// Kernel width in steps of its input.
    pub kernel: usize,
    /// Stride in steps of its input.
    pub stride: usize,
}

/// What `config.json` says, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The architecture.
    pub family: Family,
    /// Width of the transformer.
    pub hidden_size: usize,
    /// Number of transformer layers.
    pub num_hidden_layers: usize,
    /// Attention heads of a layer.
    pub num_attention_heads: usize,
    /// Width inside the feed-forward block.
    pub intermediate_size: usize,
    /// Epsilon of every layer norm outside the convolution encoder.
    pub layer_norm_eps: f64,
    /// The norm inside the convolution encoder.
    pub feat_extract_norm: FeatureNorm,
    /// The convolution encoder, first layer first; never empty.
    pub conv_layers: Vec<ConvLayer>,
    /// Whether the convolutions have a bias.
    pub conv_bias: bool,
    /// Kernel width of the positional convolution, in frames.
    pub num_conv_pos_embeddings: usize,
    /// Channel groups of the positional convolution.
    pub num_conv_pos_embedding_groups: usize,
    /// Whether norms stand before (`true`) or after each block of the transformer.
    pub do_stable_layer_norm: bool,
    /// Whether there is a layer norm before the projection.
    pub feat_proj_layer_norm: bool,
    /// Whether the positional convolution has a batch norm in place of the weight norm.
    pub conv_pos_batch_norm: bool,
    /// Whether the classification head averages all hidden states.
    pub use_weighted_layer_sum: bool,
    /// Width of the classification head's projection.
    pub classifier_proj_size: usize,
    /// Class names in order, or numbers as text when the file names none.
    pub labels: Vec<String>,
    /// What the outputs of the classification head are.
    pub problem: Problem,
    /// Who saved it.
    pub generation: Generation,
    /// What is random while training.
    pub regularisation: Regularisation,
}

/// What is random while training; none of it matters afterwards. Shares are from 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Regularisation {
    /// Share of numbers dropped behind the feature projection.
    pub feat_proj_dropout: f64,
    /// Share dropped at the input of the transformer and at the output of its blocks.
    pub hidden_dropout: f64,
    /// Share of attention weights dropped.
    pub attention_dropout: f64,
    /// Share dropped inside the feed-forward blocks.
    pub activation_dropout: f64,
    /// Chance of a layer to be skipped.
    pub layerdrop: f64,
    /// Whether spans of frames and features are masked.
    pub apply_spec_augment: bool,
    /// Share of frames masked, overlaps counted twice.
    pub mask_time_prob: f64,
    /// Frames of a span.
    pub mask_time_length: usize,
    /// Least spans of a clip.
    pub mask_time_min_masks: usize,
    /// Share of features masked, overlaps counted twice.
    pub mask_feature_prob: f64,
    /// Features of a span.
    pub mask_feature_length: usize,
    /// Least spans of features of a clip.
    pub mask_feature_min_masks: usize,
}

impl Regularisation {
    /// Whether the checkpoint has a vector for masked frames (`masked_spec_embed`).
    pub fn has_mask_vector(&self) -> bool {
        self.mask_time_prob > 0.0 || self.mask_feature_prob > 0.0
    }
}

impl Config {
    /// What a `config.json` with this content says; `path` names it in errors.
    ///
    /// # Errors
    /// [`Error::Unusable`] when a field is malformed or asks for what is not built.
    pub fn from_json(path: &Path, json: &Value) -> Result<Config> {
        let fields = Fields { path, json };
        let family = match fields.text("model_type", "")? {
            "wav2vec2" => Family::Wav2Vec2,
            "hubert" => Family::Hubert,
            other => {
                let named =
                    fields.json["architectures"][0].as_str().map(|name| format!(" ({name})")).unwrap_or_default();
                return Err(
                    fields.refuse(format!("model_type is `{other}`{named}: supported are `wav2vec2` and `hubert`"))
                );
            }
        };
        let hubert = family == Family::Hubert;
        let config = Config {
            family,
            hidden_size: fields.count("hidden_size", 768)?,
            num_hidden_layers: fields.count("num_hidden_layers", 12)?,
            num_attention_heads: fields.count("num_attention_heads", 12)?,
            intermediate_size: fields.count("intermediate_size", 3_072)?,
            layer_norm_eps: fields.epsilon("layer_norm_eps", 1e-5)?,
            feat_extract_norm: match fields.text("feat_extract_norm", "group")? {
                "group" => FeatureNorm::Group,
                "layer" => FeatureNorm::Layer,
                other => {
                    return Err(
                        fields.refuse(format!("feat_extract_norm is `{other}`: supported are `group` and `layer`"))
                    );
                }
            },
            conv_layers: fields.conv_layers()?,
            conv_bias: fields.flag("conv_bias", false)?,
            num_conv_pos_embeddings: fields.count("num_conv_pos_embeddings", 128)?,
            num_conv_pos_embedding_groups: fields.count("num_conv_pos_embedding_groups", 16)?,
            do_stable_layer_norm: fields.flag("do_stable_layer_norm", false)?,
            feat_proj_layer_norm: !hubert || fields.flag("feat_proj_layer_norm", true)?,
            conv_pos_batch_norm: hubert && fields.flag("conv_pos_batch_norm", false)?,
            use_weighted_layer_sum: fields.flag("use_weighted_layer_sum", false)?,
            classifier_proj_size: fields.count("classifier_proj_size", 256)?,
            labels: fields.labels()?,
            problem: match fields.text("problem_type", "single_label_classification")? {
                "single_label_classification" => Problem::SingleLabel,
                "multi_label_classification" => Problem::MultiLabel,
                "regression" => Problem::Regression,
                other => return Err(fields.refuse(format!("problem_type is `{other}`, which is none"))),
            },
            generation: match fields.text("transformers_version", "4.")? {
                version if version.starts_with("4.") => Generation::Normed,
                _ => Generation::Raw,
            },
            regularisation: fields.regularisation()?,
        };
        fields.refuse_what_is_not_built()?;
        if config.span().is_none() {
            return Err(fields.refuse(format!("conv_kernel and conv_stride reach further than {SPAN} samples")));
        }
        for (what, divisor) in
            [("attention heads", config.num_attention_heads), ("groups", config.num_conv_pos_embedding_groups)]
        {
            if !config.hidden_size.is_multiple_of(divisor) {
                let width = config.hidden_size;
                return Err(fields.refuse(format!("hidden_size {width} does not divide into {divisor} {what}")));
            }
        }
        if config.activations() > ACTIVATIONS {
            let many = config.activations();
            return Err(
                fields.refuse(format!("conv_dim and conv_stride ask for {many} numbers at once, not {ACTIVATIONS}"))
            );
        }
        if config.parameters() > PARAMETERS {
            return Err(
                fields.refuse(format!("a network of {} numbers: the largest is {PARAMETERS}", config.parameters()))
            );
        }
        Ok(config)
    }

    /// Numbers in the widest output of a convolution while a block of frames goes through.
    fn activations(&self) -> usize {
        let mut rows = BLOCK;
        let numbers = self.conv_layers.iter().rev().map(|layer| {
            let numbers = rows.saturating_mul(layer.dim);
            rows = (rows - 1) * layer.stride + layer.kernel;
            numbers
        });
        numbers.max().unwrap_or(0)
    }

    /// Numbers in the large tensors. No product overflows: widths have 16 bits, kernels and layers fewer.
    fn parameters(&self) -> u64 {
        let [width, inner, layers, taps, groups] = [
            self.hidden_size,
            self.intermediate_size,
            self.num_hidden_layers,
            self.num_conv_pos_embeddings,
            self.num_conv_pos_embedding_groups,
        ]
        .map(|count| count as u64);
        let mut inputs = 1;
        let convolutions = self.conv_layers.iter().map(|layer| {
            let numbers = inputs * (layer.dim * layer.kernel) as u64;
            inputs = layer.dim as u64;
            numbers
        });
        let convolutions: u64 = convolutions.sum();
        convolutions + inputs * width + width / groups * width * taps + layers * width * (4 * width + 2 * inner)
    }

    /// Width of the convolution encoder's output.
    pub fn conv_dim(&self) -> usize {
        self.conv_layers.last().map_or(0, |layer| layer.dim)
    }

    /// Samples from a frame to the next.
    pub fn hop(&self) -> usize {
        self.conv_layers.iter().map(|layer| layer.stride).product()
    }

    /// Samples that one frame sees.
    pub fn receptive_field(&self) -> usize {
        self.samples(1)
    }

    /// Samples that `frames` frames see; at least one frame.
    pub(crate) fn samples(&self, frames: usize) -> usize {
        self.conv_layers.iter().rev().fold(frames, |length, layer| (length - 1) * layer.stride + layer.kernel)
    }

    /// Samples that two frames see, so both hop and receptive field; `None` beyond the most that is built.
    fn span(&self) -> Option<usize> {
        let span = self
            .conv_layers
            .iter()
            .rev()
            .try_fold(2_usize, |length, layer| (length - 1).checked_mul(layer.stride)?.checked_add(layer.kernel))?;
        (span <= SPAN).then_some(span)
    }

    /// Frames that `samples` samples give: 0 when they are fewer than the receptive field.
    pub fn frames(&self, samples: usize) -> usize {
        self.conv_layers.iter().fold(samples, |length, layer| match length.checked_sub(layer.kernel) {
            Some(rest) => rest / layer.stride + 1,
            None => 0,
        })
    }
}

/// Typed access to the fields of one JSON object, with errors that name file and field.
pub(in crate::embed) struct Fields<'a> {
    pub(in crate::embed) path: &'a Path,
    pub(in crate::embed) json: &'a Value,
}

impl<'a> Fields<'a> {
    pub(in crate::embed) fn refuse(&self, why: impl Into<String>) -> Error {
        Error::unusable(self.path, why)
    }

    /// A field that is there and not null.
    pub(in crate::embed) fn get(&self, name: &str) -> Option<&'a Value> {
        self.json.get(name).filter(|value| !value.is_null())
    }

    pub(in crate::embed) fn text(&self, name: &str, default: &'static str) -> Result<&'a str> {
        match self.get(name) {
            None => Ok(default),
            Some(value) => value.as_str().ok_or_else(|| self.refuse(format!("{name} is {value}, not text"))),
        }
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool> {
        match self.get(name) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| self.refuse(format!("{name} is {value}, not true or false"))),
        }
    }

    pub(in crate::embed) fn count(&self, name: &str, default: usize) -> Result<usize> {
        self.get(name).map_or(Ok(default), |value| self.number(name, value, LARGEST))
    }

    pub(in crate::embed) fn number(&self, name: &str, value: &Value, largest: u64) -> Result<usize> {
        match value.as_u64() {
            Some(number) if (1..=largest).contains(&number) => Ok(number as usize),
            _ => Err(self.refuse(format!("{name} is {value}, not a whole number from 1 to {largest}"))),
        }
    }

    fn epsilon(&self, name: &str, default: f64) -> Result<f64> {
        let value = match self.get(name) {
            None => return Ok(default),
            Some(value) => value.as_f64().filter(|eps| (0.0..1.0).contains(eps)),
        };
        value.ok_or_else(|| self.refuse(format!("{name} is not a number from 0 to 1")))
    }

    fn share(&self, name: &str, default: f64) -> Result<f64> {
        let value = match self.get(name) {
            None => return Ok(default),
            Some(value) => value.as_f64().filter(|share| (0.0..1.0).contains(share)),
        };
        value.ok_or_else(|| self.refuse(format!("{name} is not a number from 0 up to 1")))
    }

    fn regularisation(&self) -> Result<Regularisation> {
        let least = |name, default: u64| match self.get(name) {
            None => Ok(default as usize),
            Some(value) => match value.as_u64() {
                Some(number) if number <= LARGEST => Ok(number as usize),
                _ => Err(self.refuse(format!("{name} is {value}, not a whole number from 0 to {LARGEST}"))),
            },
        };
        Ok(Regularisation {
            feat_proj_dropout: self.share("feat_proj_dropout", 0.0)?,
            hidden_dropout: self.share("hidden_dropout", 0.1)?,
            attention_dropout: self.share("attention_dropout", 0.1)?,
            activation_dropout: self.share("activation_dropout", 0.1)?,
            layerdrop: self.share("layerdrop", 0.1)?,
            apply_spec_augment: self.flag("apply_spec_augment", true)?,
            mask_time_prob: self.share("mask_time_prob", 0.05)?,
            mask_time_length: self.count("mask_time_length", 10)?,
            mask_time_min_masks: least("mask_time_min_masks", 2)?,
            mask_feature_prob: self.share("mask_feature_prob", 0.0)?,
            mask_feature_length: self.count("mask_feature_length", 10)?,
            mask_feature_min_masks: least("mask_feature_min_masks", 0)?,
        })
    }

    fn list(&self, name: &str, default: &[usize], largest: u64) -> Result<Vec<usize>> {
        let Some(value) = self.get(name) else { return Ok(default.to_vec()) };
        let items = value.as_array().ok_or_else(|| self.refuse(format!("{name} is not a list")))?;
        items.iter().map(|item| self.number(name, item, largest)).collect()
    }

    fn conv_layers(&self) -> Result<Vec<ConvLayer>> {
        let dims = self.list("conv_dim", &[512; 7], LARGEST)?;
        let kernels = self.list("conv_kernel", &[10, 3, 3, 3, 3, 2, 2], KERNEL)?;
        let strides = self.list("conv_stride", &[5, 2, 2, 2, 2, 2, 2], LARGEST)?;
        if dims.len() != kernels.len() || dims.len() != strides.len() {
            let (d, k, s) = (dims.len(), kernels.len(), strides.len());
            return Err(self.refuse(format!("conv_dim, conv_kernel and conv_stride have {d}, {k} and {s} entries")));
        }
        if !(1..=CONV_LAYERS).contains(&dims.len()) {
            return Err(self.refuse(format!("{} convolution layers: supported are 1 to {CONV_LAYERS}", dims.len())));
        }
        let layers = dims.into_iter().zip(kernels).zip(strides);
        Ok(layers.map(|((dim, kernel), stride)| ConvLayer { dim, kernel, stride }).collect())
    }

    /// `id2label` in the order of its keys, which are numbers as text; else as many numbers as `num_labels` says.
    fn labels(&self) -> Result<Vec<String>> {
        let Some(value) = self.get("id2label") else {
            return Ok((0..self.count("num_labels", 2)?).map(|id| id.to_string()).collect());
        };
        let map = value.as_object().ok_or_else(|| self.refuse("id2label is not an object"))?;
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
            _ => None,
        };
        let label = |id: usize| map.get(&id.to_string()).and_then(text);
        (0..map.len())
            .map(|id| label(id).ok_or_else(|| self.refuse(format!("id2label has no text for `{id}`"))))
            .collect()
    }

    fn refuse_what_is_not_built(&self) -> Result<()> {
        for name in ["hidden_act", "feat_extract_activation"] {
            let activation = self.text(name, "gelu")?;
            if activation != "gelu" {
                return Err(self.refuse(format!("{name} is `{activation}`: supported is `gelu`, the exact form")));
            }
        }
        if self.flag("add_adapter", false)? || self.get("adapter_attn_dim").is_some() {
            return Err(
                self.refuse("the model has adapters (add_adapter, adapter_attn_dim): supported are models without")
            );
        }
        Ok(())
    }
}
