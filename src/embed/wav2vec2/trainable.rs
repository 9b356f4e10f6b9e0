//! A network with a classification head whose tensors are variables: a pass with noise, and checkpoints out.

use super::encoder::{States, dropout};
use super::initial::Initial;
use super::loader::{Loader, Training, internal};
use super::noise::{Noise, Place};
use super::{Classifier, Layer, Parameter, Wav2Vec2, recipe};
use crate::embed::checkpoint::{Checkpoint, Config, Family, Preprocessor, Problem, Weights, save};
use crate::error::{Error, Result};
use crate::matrix::Precision;
use candle_core::{Device, Result as Computed, Tensor};
use serde_json::{Map, Value};
use std::path::Path;

/// What a pass begins with.
#[derive(Clone, Debug)]
pub enum Input {
    /// Prepared samples ([`Wav2Vec2::prepare`]), `[clips, samples]`; short clips are filled up with zeros.
    Samples(Tensor),
    /// What [`Wav2Vec2::conv`] made of them, `[clips, frames, channels]`: with a frozen convolution encoder it need be
    /// computed once only.
    Conv(Tensor),
}

/// A network that is trained.
#[derive(Debug)]
pub struct Trainable {
    classifier: Classifier,
    parameters: Vec<Parameter>,
    /// What masked frames are replaced by.
    mask_vector: Option<Tensor>,
    /// `config.json` as it will be saved.
    json: Map<String, Value>,
}

/// The convolution encoder's tensors.
const CONV_ENCODER: &str = "feature_extractor.";
const MASK_VECTOR: &str = "masked_spec_embed";

impl Trainable {
    /// Loads a checkpoint folder to be trained for `labels`. A head that was saved for the same labels goes on, any
    /// other is drawn from the seed. `frozen` keeps the convolution encoder as it is.
    ///
    /// # Errors
    /// As [`Wav2Vec2::open`]; [`Error::Invalid`] for networks that cannot be trained here, and for fewer than two
    /// labels.
    pub fn open(dir: &Path, labels: &[String], frozen: bool, seed: u64) -> Result<Trainable> {
        Trainable::of(Checkpoint::open(dir)?, labels, frozen, seed)
    }

    /// Loads a checkpoint to be trained, likewise.
    ///
    /// # Errors
    /// As [`Trainable::open`].
    #[doc(hidden)]
    pub fn of(checkpoint: Checkpoint, labels: &[String], frozen: bool, seed: u64) -> Result<Trainable> {
        let Checkpoint { json, preprocessor, weights, .. } = checkpoint;
        Trainable::build(json, preprocessor, labels, Some(weights), frozen, seed)
    }

    /// A network as a `config.json` with this content describes it, drawn from the seed.
    ///
    /// # Errors
    /// [`Error::Unusable`] for a configuration that makes no sense, and as [`Trainable::open`].
    #[doc(hidden)]
    pub fn random(json: Value, labels: &[String], seed: u64) -> Result<Trainable> {
        let preprocessor = Preprocessor { sampling_rate: 16_000, do_normalize: true, return_attention_mask: false };
        Trainable::build(json, preprocessor, labels, None, false, seed)
    }

    fn build(
        json: Value,
        preprocessor: Preprocessor,
        labels: &[String],
        weights: Option<Weights>,
        frozen: bool,
        seed: u64,
    ) -> Result<Trainable> {
        if labels.len() < 2 {
            return Err(Error::invalid("labels", format!("a classifier needs two classes at least, found {labels:?}")));
        }
        let path = Path::new("config.json");
        let saved = Config::from_json(path, &json)?;
        let goes_on = saved.labels == labels && saved.problem == Problem::SingleLabel;
        let Value::Object(mut json) = json else { return Err(Error::unusable(path, "not a JSON object")) };
        let id = |(id, label): (usize, &String)| (id.to_string(), Value::from(label.as_str()));
        json.insert("id2label".into(), labels.iter().enumerate().map(id).collect::<Map<_, _>>().into());
        let number = |(id, label): (usize, &String)| (label.clone(), Value::from(id));
        json.insert("label2id".into(), labels.iter().enumerate().map(number).collect::<Map<_, _>>().into());
        json.remove("num_labels");
        json.remove("problem_type"); // whatever the head was for, it is trained to choose one class
        let config = Config { labels: labels.to_vec(), problem: Problem::SingleLabel, ..saved };
        let class = match config.family {
            Family::Wav2Vec2 => "Wav2Vec2",
            Family::Hubert => "Hubert",
        };
        json.insert("architectures".into(), vec![format!("{class}ForSequenceClassification")].into());

        let has = |name| weights.as_ref().is_some_and(|weights| weights.has(name));
        let mut anew = Vec::new();
        if !(goes_on && has("classifier.weight")) {
            anew.extend(save::HEAD);
        }
        if !has(MASK_VECTOR) {
            anew.push(MASK_VECTOR);
        }
        let frozen = frozen.then_some(CONV_ENCODER);
        let training = Training { initial: Initial::new(seed, &config), anew, frozen, parameters: Vec::new() };
        let recipe = recipe(&config, &preprocessor, Layer::Mean);
        let mut loader = Loader::with(weights, Some(training), &recipe);
        let width = config.hidden_size;
        let has_mask_vector = config.regularisation.has_mask_vector();
        let model = Wav2Vec2::build(config, preprocessor, Layer::Mean, &mut loader)?;
        let classifier = Classifier::build(model, &mut loader)?;
        let mask_vector = has_mask_vector.then(|| loader.tensor(MASK_VECTOR, &[width])).transpose()?;
        Ok(Trainable { classifier, parameters: loader.into_parameters(), mask_vector, json })
    }

    /// Samples a second of the clips that it takes.
    pub fn sample_rate(&self) -> u32 {
        self.classifier.sample_rate()
    }

    /// The network with its head; it sees every change of the variables.
    #[doc(hidden)]
    pub fn classifier(&self) -> &Classifier {
        &self.classifier
    }

    /// Every tensor, in the order of a pass.
    #[doc(hidden)]
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Whether the convolution encoder is frozen.
    #[doc(hidden)]
    pub fn is_conv_frozen(&self) -> bool {
        self.parameters
            .iter()
            .any(|parameter| parameter.name().starts_with(CONV_ENCODER) && parameter.variable().is_none())
    }

    /// Hidden states of a batch, with noise. Of clip `i` the first `kept[i]` frames count; without `kept` all do.
    ///
    /// # Errors
    /// [`Error::Invalid`] for tensors that do not fit, or spans longer than a clip.
    #[doc(hidden)]
    pub fn states(&self, input: &Input, kept: Option<&[usize]>, noise: &mut dyn Noise) -> Result<States> {
        let model = self.classifier.model();
        let conv = match input {
            Input::Samples(samples) => model.feature_extractor.forward_for_training(samples).map_err(internal)?,
            Input::Conv(conv) => conv.clone(),
        };
        let projected = model.project(&model.features(&conv)?)?;
        let projected = dropout(projected, noise, Place::FeatureProjection).map_err(internal)?;
        let masked = self.masked(projected, kept, noise)?;
        let encoder = model.encoder.as_ref().ok_or_else(|| model.not_loaded("transformer"))?;
        encoder.forward(&masked, kept, noise).map_err(internal)
    }

    /// Scores `[clips, classes]` of a batch, with noise.
    ///
    /// # Errors
    /// As [`Trainable::states`].
    #[doc(hidden)]
    pub fn logits(&self, input: &Input, kept: Option<&[usize]>, noise: &mut dyn Noise) -> Result<Tensor> {
        self.classifier.logits(&self.states(input, kept, noise)?, kept)
    }

    /// SpecAugment: spans of frames become the learned vector, spans of features 0.
    fn masked(&self, x: Tensor, kept: Option<&[usize]>, noise: &mut dyn Noise) -> Result<Tensor> {
        let (clips, frames, width) = x.dims3().map_err(internal)?;
        let all = vec![frames; clips];
        let frames_masked = noise.masked_frames(frames, kept.unwrap_or(&all))?;
        let features_masked = noise.masked_features(clips, width)?;
        let flags = |masked: Vec<bool>, shape: (usize, usize, usize)| -> Computed<Tensor> {
            Tensor::from_vec(
                masked.into_iter().map(|masked| f32::from(u8::from(masked))).collect(),
                shape,
                &Device::Cpu,
            )
        };
        let replaced = |x: Tensor| -> Computed<Tensor> {
            let x = match (frames_masked, &self.mask_vector) {
                (Some(masked), Some(vector)) => {
                    let masked = flags(masked, (clips, frames, 1))?;
                    let left = x.broadcast_mul(&masked.affine(-1.0, 1.0)?)?;
                    (left + masked.broadcast_mul(&vector.reshape((1, 1, width))?)?)?
                }
                _ => x,
            };
            match features_masked {
                Some(masked) => x.broadcast_mul(&flags(masked, (clips, 1, width))?.affine(-1.0, 1.0)?),
                None => Ok(x),
            }
        };
        replaced(x).map_err(internal)
    }

    /// Replaces every variable by what a checkpoint folder of the same network holds.
    ///
    /// # Errors
    /// [`Error::Unusable`] or [`Error::Mismatch`] when it is damaged or another network's.
    pub fn load(&self, dir: &Path) -> Result<()> {
        let weights = Weights::open(dir, self.classifier.model().config().family.name())?;
        for parameter in self.parameters.iter().filter(|parameter| parameter.variable().is_some()) {
            parameter.set(weights.tensor(parameter.name(), parameter.shape())?)?;
        }
        Ok(())
    }

    /// Writes `config.json`, `preprocessor_config.json` and `model.safetensors` into a folder, each under a temporary
    /// name first: a checkpoint in the common layout, with the tensor names of today
    /// (`parametrizations.weight.original0`).
    ///
    /// # Errors
    /// [`Error::Io`] when writing fails.
    pub fn save(&self, dir: &Path, precision: Precision) -> Result<()> {
        let mut json = self.json.clone();
        json.remove("torch_dtype");
        let name = match precision {
            Precision::F32 => "float32",
            Precision::F16 => "float16",
            Precision::BF16 => "bfloat16",
        };
        json.insert("dtype".into(), name.into());
        let family = self.classifier.model().config().family;
        let tensors = self.parameters.iter().map(|parameter| {
            Ok(save::Stored {
                name: save::full_name(parameter.name(), family),
                shape: parameter.shape().to_vec(),
                values: parameter.values()?,
            })
        });
        save::folder(
            dir,
            &Value::Object(json),
            self.classifier.model().preprocessor(),
            tensors.collect::<Result<Vec<_>>>()?,
            precision,
        )
    }
}
