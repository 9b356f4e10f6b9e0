//! Embedders by name.

use super::{Embedder, LogMel};
use crate::error::{Error, Result};
use std::path::Path;

/// Name of the embedder that needs no model.
pub const LOG_MEL: &str = "logmel";

/// Opens an embedder: [`LOG_MEL`], or a directory with a wav2vec2 or HuBERT checkpoint and one of its layers
/// (`features`, `projected`, `mean`, or a number).
///
/// # Errors
/// [`Error::NotFound`] when there is no such directory, [`Error::Unusable`] for a checkpoint that is damaged or of another
/// kind, [`Error::Invalid`] for a layer that it does not have.
pub fn open(model: &str, layer: &str) -> Result<Box<dyn Embedder>> {
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
fn checkpoint(folder: &Path, layer: &str) -> Result<Box<dyn Embedder>> {
    Ok(Box::new(super::wav2vec2::Wav2Vec2::open(folder, layer.parse()?)?))
}

#[cfg(not(feature = "models"))]
fn checkpoint(folder: &Path, _layer: &str) -> Result<Box<dyn Embedder>> {
    Err(Error::unusable(folder, "this otolith was built without the feature `models`"))
}
