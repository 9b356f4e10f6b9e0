//! Model checkpoints in the common layout of the wav2vec2 family: a folder with `config.json`, `preprocessor_config.json`
//! and weights.
//!
//! [`Config`] and [`Preprocessor`] are what the two JSON files say, checked; [`Weights`] finds tensors by name in
//! `model.safetensors`, its shards, or `pytorch_model.bin`, and hands them out as `f32`. Opening reads headers only (a few
//! hundred kilobytes); each tensor is read when it is asked for, so what is not needed costs nothing.
//!
//! Nothing in a checkpoint is trusted: no code in a pickle is ever run (an allow-list of three callables is *recognised*,
//! everything else refused), no file is mapped, every size is checked against the length of its file and against the
//! configuration before memory is taken.

mod archive;
mod config;
mod pickle;
mod preprocessor;
mod safetensors;
pub mod save;
mod weights;

#[cfg(feature = "whisper")]
pub(super) use config::Fields;
pub use config::{Config, ConvLayer, Family, FeatureNorm, Generation, Regularisation};
pub use preprocessor::Preprocessor;
pub use weights::Weights;

use crate::error::{Error, Result};
use crate::outside;
use serde_json::Value;
use std::path::Path;

/// The files of a checkpoint, opened: what it says of itself, and where its tensors lie.
#[derive(Debug)]
pub struct Checkpoint {
    /// `config.json` as it is.
    pub json: Value,
    /// What that says, checked.
    pub config: Config,
    /// How samples are prepared.
    pub preprocessor: Preprocessor,
    /// The tensors.
    pub weights: Weights,
}

impl Checkpoint {
    /// Opens a folder.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Unusable`] naming the file or field that is missing or malformed.
    pub fn open(dir: &Path) -> Result<Checkpoint> {
        let path = dir.join("config.json");
        let json = read_json(&path)?;
        let config = Config::from_json(&path, &json)?;
        let preprocessor = Preprocessor::read(&dir.join("preprocessor_config.json"))?;
        let weights = Weights::open(dir, config.family.name())?;
        Ok(Checkpoint { json, config, preprocessor, weights })
    }

    /// The miniature that comes with this library.
    ///
    /// # Errors
    /// None that could be expected.
    pub fn mini() -> Result<Checkpoint> {
        let dir = Path::new("(bundled)/mini");
        let parse = |name: &str, text: &str| {
            serde_json::from_str::<Value>(text).map_err(|e| Error::unusable(dir.join(name), format!("not JSON: {e}")))
        };
        let json = parse("config.json", include_str!("../mini/config.json"))?;
        let config = Config::from_json(&dir.join("config.json"), &json)?;
        let preprocessor = parse("preprocessor_config.json", include_str!("../mini/preprocessor_config.json"))?;
        let preprocessor = Preprocessor::from_json(&dir.join("preprocessor_config.json"), &preprocessor)?;
        let weights = Weights::bundled(dir, include_bytes!("../mini/model.safetensors"), config.family.name())?;
        Ok(Checkpoint { json, config, preprocessor, weights })
    }
}

/// Largest JSON file or header that is read: real ones stay below 1 MB, and a parsed value takes many times its text.
const JSON_BYTES: u64 = 16 << 20;

/// Reads a JSON object.
pub(crate) fn read_json(path: &Path) -> Result<Value> {
    let value: Value = serde_json::from_slice(&outside::read(path, JSON_BYTES)?)
        .map_err(|e| Error::unusable(path, format!("not JSON: {e}")))?;
    if value.is_object() { Ok(value) } else { Err(Error::unusable(path, "not a JSON object")) }
}
