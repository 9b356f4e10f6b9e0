//! The options that choose an embedder, and the one that chooses a collection.

use crate::embed::{self, Embedder};
use crate::error::Result;
use std::path::{Path, PathBuf};

/// Name of the collection where none is given.
pub(super) const COLLECTION: &str = "clips";

#[derive(clap::Args)]
pub(super) struct ModelArgs {
    /// What makes rows of sound: `logmel`, or a directory with a wav2vec2, HuBERT or Whisper checkpoint
    #[arg(long, value_name = "logmel|DIR", default_value = "logmel")]
    pub(super) model: String,
    /// Which rows of a checkpoint: `features` (conv encoder; unless given), `projected`, a layer's number, or `mean` of all
    /// layers; Whisper has `last`
    #[arg(long, value_name = "features|projected|mean|N|last")]
    pub(super) layer: Option<String>,
}

impl ModelArgs {
    /// Name and layer of the opened model as they stand in results.
    pub(super) fn label(&self, embedder: &dyn Embedder) -> (String, Option<String>) {
        if self.model == embed::LOG_MEL {
            return (self.model.clone(), None);
        }
        let name = Path::new(&self.model).file_name().map(|name| name.to_string_lossy().into_owned());
        let layer = embedder.identity().split('/').nth(1).map(str::to_owned);
        (name.unwrap_or_else(|| self.model.clone()), layer)
    }

    pub(super) fn open(&self) -> Result<Box<dyn Embedder>> {
        embed::open(&self.model, self.layer.as_deref())
    }
}

#[derive(clap::Args)]
pub(super) struct Target {
    /// The database, a directory
    pub(super) db: PathBuf,
    /// The collection in it
    #[arg(long, short, value_name = "NAME", default_value = COLLECTION)]
    pub(super) collection: String,
}
