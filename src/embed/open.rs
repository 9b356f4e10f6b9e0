//! Embedders by name.

use super::{Embedder, LogMel};
use crate::error::{Error, Result};
use std::path::Path;

/// Name of the embedder that needs no model.
pub const LOG_MEL: &str = "logmel";

/// Opens an embedder: [`LOG_MEL`], or a directory with a checkpoint and one of its layers: of wav2vec2 and HuBERT
/// `features` (unless given), `projected`, `mean`, or a number; of Whisper `last`.
///
/// # Errors
/// [`Error::NotFound`] when there is no such directory, [`Error::Unusable`] for a checkpoint that is damaged or of another
/// kind, [`Error::Invalid`] for a layer that it does not have.
pub fn open(model: &str, layer: Option<&str>) -> Result<Box<dyn Embedder>> {
    if model == LOG_MEL {
        return Ok(Box::new(LogMel::new()));
    }
    let folder = Path::new(model);
    if !folder.is_dir() {
        return Err(Error::not_found("model", model, [LOG_MEL, "or a directory that holds config.json and weights"]));
    }
    checkpoint(folder, layer)
}

#[cfg(feature = "models")]
fn checkpoint(folder: &Path, layer: Option<&str>) -> Result<Box<dyn Embedder>> {
    if super::checkpoint::read_json(&folder.join("config.json"))?["model_type"] == "whisper" {
        return whisper(folder, layer);
    }
    Ok(Box::new(super::wav2vec2::Wav2Vec2::open(folder, layer.unwrap_or("features").parse()?)?))
}

#[cfg(feature = "whisper")]
fn whisper(folder: &Path, layer: Option<&str>) -> Result<Box<dyn Embedder>> {
    match layer {
        None | Some("last") => Ok(Box::new(super::whisper::Whisper::open(folder)?)),
        Some(other) => {
            Err(Error::invalid("layer", format!("Whisper gives `last`, its last hidden state, and no `{other}`")))
        }
    }
}

#[cfg(all(feature = "models", not(feature = "whisper")))]
fn whisper(folder: &Path, _layer: Option<&str>) -> Result<Box<dyn Embedder>> {
    Err(Error::unusable(folder, "a Whisper checkpoint: this otolith was built without the feature `whisper`"))
}

#[cfg(not(feature = "models"))]
fn checkpoint(folder: &Path, _layer: Option<&str>) -> Result<Box<dyn Embedder>> {
    Err(Error::unusable(folder, "this otolith was built without the feature `models`"))
}
