//! Finding and opening embedders by name.

#[cfg(feature = "models")]
use super::wav2vec2::{Classifier, Trainable};
use super::{Embedder, LogMel};
use crate::download::Progress;
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// Name of the embedder that needs no model: [`LogMel`].
pub const LOG_MEL: &str = "logmel";

/// Name of the small network that comes with this library (with the feature `models`).
pub const MINI: &str = "mini";

/// Name of the embedder to use where none is chosen: [`MINI`] with the feature `models`, otherwise [`LOG_MEL`].
pub const DEFAULT: &str = if cfg!(feature = "models") { MINI } else { LOG_MEL };

/// The layer of [`MINI`] that is used where none is named: the one that searches best.
#[cfg(feature = "models")]
const MINI_LAYER: &str = "mean";

/// A checkpoint of a network that [`locate`] has found and that can be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The folder that holds it; `None` for [`MINI`], which is part of the library.
    pub folder: Option<PathBuf>,
    /// A sentence that its user should read: that the hub could not be asked for a newer version, say.
    pub remark: Option<String>,
}

/// Opens an embedder by name: [`LOG_MEL`], or a checkpoint as [`locate`] finds it.
///
/// `layer` chooses which of a network's layers gives the rows. Of wav2vec2 and HuBERT it is `features` (the default),
/// `projected`, `mean`, or the number of a hidden state, from 0 (the input of the first layer); the default of
/// [`MINI`] is `mean`. Of Whisper it is `last`.
///
/// # Errors
/// Those of [`locate`] and [`Located::embedder`].
///
/// # Examples
///
/// ```
/// use otolith::embed::{self, LOG_MEL};
///
/// let embedder = embed::open(LOG_MEL, None)?;
/// assert_eq!((embedder.identity(), embedder.dim(), embedder.sample_rate()), ("logmel-64", 64, 16_000));
/// # Ok::<(), otolith::Error>(())
/// ```
pub fn open(model: &str, layer: Option<&str>) -> Result<Box<dyn Embedder>> {
    if model == LOG_MEL {
        return Ok(Box::new(LogMel::new()));
    }
    locate(model, &|_| {})?.embedder(layer)
}

/// Finds a checkpoint by its name: [`MINI`], a directory, or a model of the Hugging Face hub (`owner/name`, with
/// `@revision` where it is not `main`), which is fetched into the hub's cache unless it is there. `on_progress` is
/// called while it is fetched.
///
/// # Errors
/// [`Error::NotFound`] when it is none of them; [`Error::Unusable`] for a name of the hub in a build without the
/// feature `hub`; what the download returns.
pub fn locate(model: &str, on_progress: &dyn Fn(Progress<'_>)) -> Result<Located> {
    let folder = Path::new(model);
    if model == MINI {
        return Ok(Located { folder: None, remark: None });
    }
    if folder.is_dir() {
        return Ok(Located { folder: Some(folder.to_owned()), remark: assumed(folder) });
    }
    if folder.symlink_metadata().is_ok() {
        return Err(Error::unusable(folder, "not a directory: give the one that holds config.json and weights"));
    }
    let Located { folder, remark } = hub(model, on_progress)?;
    let remark = remark.or_else(|| assumed(folder.as_deref()?));
    Ok(Located { folder, remark })
}

/// Says what is assumed of a wav2vec2 or HuBERT checkpoint that does not tell how its samples are prepared. Anything
/// else that is wrong with the folder is reported when it is opened.
#[cfg(feature = "models")]
fn assumed(folder: &Path) -> Option<String> {
    use super::checkpoint::{Preprocessor, read_json};
    let silent = matches!(Preprocessor::find(folder), Ok(None))
        && read_json(&folder.join("config.json")).is_ok_and(|json| json["model_type"] != "whisper");
    silent.then(|| "no preprocessor_config.json: 16 kHz and normalised samples are assumed".to_owned())
}

#[cfg(not(feature = "models"))]
fn assumed(_folder: &Path) -> Option<String> {
    None
}

/// Makes the error that says what a model can be.
fn not_found(model: &str) -> Error {
    let others =
        [LOG_MEL, MINI, "a directory that holds config.json and weights", "owner/name on the Hugging Face hub"];
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
    Ok(Located { folder: Some(found.folder), remark: found.remark })
}

#[cfg(not(feature = "hub"))]
fn hub(model: &str, _on_progress: &dyn Fn(Progress<'_>)) -> Result<Located> {
    match model.split('/').count() {
        2 => Err(Error::unusable(model, "no such directory, and this otolith was built without the feature `hub`")),
        _ => Err(not_found(model)),
    }
}

#[cfg(feature = "models")]
impl Located {
    /// Opens a wav2vec2 or HuBERT checkpoint.
    ///
    /// # Errors
    /// [`Error::Unusable`] for one that is damaged or of another kind.
    fn checkpoint(&self) -> Result<super::checkpoint::Checkpoint> {
        match &self.folder {
            Some(folder) => super::checkpoint::Checkpoint::open(folder),
            None => super::checkpoint::Checkpoint::mini(),
        }
    }

    /// Opens the checkpoint as a classifier: one that was fine-tuned to name classes.
    ///
    /// # Errors
    /// [`Error::Unusable`] for a checkpoint that is damaged, of another kind or without a head, [`Error::Invalid`]
    /// for one whose outputs are no classes.
    pub fn classifier(&self) -> Result<Classifier> {
        Classifier::of(self.checkpoint()?)
    }

    /// Opens the checkpoint to be trained to tell the classes `labels` apart. It gets a new head, drawn from `seed`,
    /// unless it has one for these classes. `frozen` keeps the convolution encoder as it is.
    ///
    /// # Errors
    /// [`Error::Unusable`] for a checkpoint that is damaged or of another kind, [`Error::Invalid`] for one that
    /// cannot be trained.
    pub fn trainable(&self, labels: &[String], frozen: bool, seed: u64) -> Result<Trainable> {
        Trainable::of(self.checkpoint()?, labels, frozen, seed)
    }

    /// Returns whether the checkpoint is of a kind that can be trained.
    pub fn is_trainable(&self) -> bool {
        self.checkpoint().is_ok_and(|checkpoint| !checkpoint.config.conv_pos_batch_norm)
    }

    /// Opens the checkpoint as an embedder whose rows come from `layer` (see [`open`]).
    ///
    /// # Errors
    /// [`Error::Unusable`] for a checkpoint that is damaged or of another kind, [`Error::Invalid`] for a layer that
    /// it does not have.
    pub fn embedder(&self, layer: Option<&str>) -> Result<Box<dyn Embedder>> {
        if let Some(folder) = &self.folder
            && super::checkpoint::read_json(&folder.join("config.json"))?["model_type"] == "whisper"
        {
            return whisper(folder, layer);
        }
        let layer = layer.unwrap_or(if self.folder.is_none() { MINI_LAYER } else { "features" });
        Ok(Box::new(super::wav2vec2::Wav2Vec2::of(self.checkpoint()?, layer.parse()?)?))
    }
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
impl Located {
    /// Opens no checkpoint: this build lacks the feature `models`.
    ///
    /// # Errors
    /// [`Error::Unusable`], always.
    pub fn embedder(&self, _layer: Option<&str>) -> Result<Box<dyn Embedder>> {
        let name = self.folder.clone().unwrap_or_else(|| MINI.into());
        Err(Error::unusable(name, "this otolith was built without the feature `models`"))
    }
}

/// Returns whether the rows of the embedder with this [identity](Embedder::identity) cover so little sound that they
/// gain by the rows around them (see [`recipes`](crate::pipeline::recipes)).
pub fn has_short_rows(identity: &str) -> bool {
    identity == LogMel::IDENTITY
}
