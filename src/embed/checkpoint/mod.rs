//! Model checkpoints in the common layout of the wav2vec2 family: a folder with `config.json`, `processor_config.json`
//! or `preprocessor_config.json`, and weights.
//!
//! [`Config`] and [`Preprocessor`] are what the JSON files say, checked; [`Weights`] finds tensors by name in
//! `model.safetensors`, its shards, or `pytorch_model.bin`, and hands them out as `f32`. Opening reads headers only (a
//! few hundred kilobytes); each tensor is read when it is asked for, so what is not needed costs nothing.
//!
//! Nothing in a checkpoint is trusted: no code in a pickle is ever run (an allow-list of callables is *recognised*,
//! everything else refused), only regular files are opened, none is mapped, every size is checked against the length of
//! its file and against the configuration before memory is taken.

mod archive;
mod config;
mod pickle;
mod preprocessor;
mod safetensors;
pub mod save;
mod weights;

pub(super) use config::BLOCK;
#[cfg(any(test, feature = "testing"))]
pub use config::ConvLayer;
#[cfg(feature = "whisper")]
pub(super) use config::Fields;
pub use config::{Config, Family, FeatureNorm, Generation, Problem, Regularisation};
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
        let preprocessor = Preprocessor::read(dir)?;
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

/// Reads a JSON object; Windows' mark of UTF-8 may stand before it.
pub(crate) fn read_json(path: &Path) -> Result<Value> {
    let bytes = outside::read(path, JSON_BYTES)?;
    let value: Value = serde_json::from_slice(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes)).map_err(|e| {
        let why = instead(&bytes).map_or_else(|| e.to_string(), str::to_owned);
        Error::unusable(path, format!("not JSON: {why}"))
    })?;
    if value.is_object() { Ok(value) } else { Err(Error::unusable(path, "not a JSON object")) }
}

/// Whether a file of a checkpoint is there, be it a link that leads nowhere: opening that says so.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// What a file that cannot be read is in truth, told by its first bytes: what people often have in place of a model's
/// file.
fn instead(head: &[u8]) -> Option<&'static str> {
    let begins = |with: &[u8]| head.starts_with(with);
    let text = head.trim_ascii_start();
    if head.is_empty() {
        Some("an empty file")
    } else if begins(b"version https://git-lfs") || begins(b"version https://hawser") {
        Some(
            "a git-LFS pointer, which only stands for the file: run `git lfs pull` in its folder, or give the model as owner/name",
        )
    } else if text.starts_with(b"<") {
        Some("a web page: download the file that it shows")
    } else if begins(b"PK\x03\x04") {
        Some("a zip archive, as pytorch_model.bin is: give it that name if it is one")
    } else if begins(b"\x80\x02") {
        Some("a bare pickle, as written before 2020: save it again as safetensors")
    } else if begins(b"\x1f\x8b") {
        Some("compressed by gzip: unpack it")
    } else if begins(b"\x89HDF") {
        Some("HDF5: save the model as safetensors")
    } else if head.len() > 8 && head[8] == b'{' && head[4..8] == [0; 4] {
        Some("safetensors: give it the name model.safetensors")
    } else {
        None
    }
}
