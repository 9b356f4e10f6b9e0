//! Embedders by name.

use super::{Embedder, LogMel};
use crate::download::Progress;
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// Name of the embedder that needs no model.
pub const LOG_MEL: &str = "logmel";

/// A checkpoint on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The folder that holds it.
    pub folder: PathBuf,
    /// What its user should know: that the hub could not be asked whether there is a newer one, say.
    pub remark: Option<String>,
}

/// Opens an embedder: [`LOG_MEL`], or a checkpoint as [`locate`] finds it and one of its layers (`features`, `projected`,
/// `mean`, or a number).
///
/// # Errors
/// Those of [`locate`]; [`Error::Unusable`] for a checkpoint that is damaged or of another kind, [`Error::Invalid`] for a
/// layer that it does not have.
pub fn open(model: &str, layer: &str) -> Result<Box<dyn Embedder>> {
    if model == LOG_MEL {
        return Ok(Box::new(LogMel::new()));
    }
    open_checkpoint(&locate(model, &|_| {})?.folder, layer)
}

/// Finds a checkpoint by its name: a directory, or else a model of the Hugging Face hub (`owner/name`, with `@revision` where
/// it is not `main`), which is fetched into the hub's cache unless it is there.
///
/// # Errors
/// [`Error::NotFound`] when it is neither; [`Error::Unusable`] for a name of the hub in a build without the feature `hub`;
/// what the download gives.
pub fn locate(model: &str, on_progress: &dyn Fn(Progress<'_>)) -> Result<Located> {
    let folder = Path::new(model);
    if folder.is_dir() {
        return Ok(Located { folder: folder.to_owned(), remark: None });
    }
    hub(model, on_progress)
}

/// What a model can be.
fn not_found(model: &str) -> Error {
    let others = [LOG_MEL, "a directory that holds config.json and weights", "owner/name on the Hugging Face hub"];
    Error::not_found("model", model, others)
}

#[cfg(feature = "hub")]
fn hub(model: &str, on_progress: &dyn Fn(Progress<'_>)) -> Result<Located> {
    use crate::download::Hub;
    let id = model.parse().map_err(|_| not_found(model))?;
    let found = Hub::from_env()?.checkpoint(&id, on_progress).map_err(|error| match error {
        Error::Download { url, why } => Error::Download { url, why: format!("{why} (no directory `{model}` either)") },
        error => error,
    })?;
    Ok(Located { folder: found.folder, remark: found.remark })
}

#[cfg(not(feature = "hub"))]
fn hub(model: &str, _on_progress: &dyn Fn(Progress<'_>)) -> Result<Located> {
    match model.split('/').count() {
        2 => Err(Error::unusable(model, "no such directory, and this otolith was built without the feature `hub`")),
        _ => Err(not_found(model)),
    }
}

/// Opens the embedder of a checkpoint in a folder, as [`open`].
///
/// # Errors
/// Those of [`open`].
#[cfg(feature = "models")]
pub fn open_checkpoint(folder: &Path, layer: &str) -> Result<Box<dyn Embedder>> {
    Ok(Box::new(super::wav2vec2::Wav2Vec2::open(folder, layer.parse()?)?))
}

/// Opens no checkpoint: that takes the feature `models`.
///
/// # Errors
/// [`Error::Unusable`], always.
#[cfg(not(feature = "models"))]
pub fn open_checkpoint(folder: &Path, _layer: &str) -> Result<Box<dyn Embedder>> {
    Err(Error::unusable(folder, "this otolith was built without the feature `models`"))
}
