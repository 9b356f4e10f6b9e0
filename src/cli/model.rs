//! The options that choose an embedder, and the one that chooses a collection.

use super::download::Bar;
use super::output::Output;
use crate::embed::{self, Embedder};
use crate::error::Result;
use std::path::{Path, PathBuf};

/// Name of the collection where none is given.
pub(super) const COLLECTION: &str = "clips";

#[derive(clap::Args)]
pub(super) struct ModelArgs {
    /// What makes rows of sound: `logmel`, a directory with a wav2vec2 or HuBERT checkpoint, or the name of one on the
    /// Hugging Face hub (`owner/name`, `owner/name@revision`), which is downloaded into the hub's cache
    #[arg(long, value_name = "logmel|DIR|HUB-ID", default_value = "logmel")]
    pub(super) model: String,
    /// Which rows of a checkpoint: `features` (conv encoder), `projected`, a layer's number, or `mean` of all layers
    #[arg(long, value_name = "features|projected|mean|N", default_value = "features")]
    pub(super) layer: String,
}

impl ModelArgs {
    /// Name and layer as they stand in results.
    pub(super) fn label(&self) -> (String, Option<String>) {
        if self.model == embed::LOG_MEL {
            return (self.model.clone(), None);
        }
        let name = Path::new(&self.model).file_name().map(|name| name.to_string_lossy().into_owned());
        (name.unwrap_or_else(|| self.model.clone()), Some(self.layer.clone()))
    }

    /// Opens the embedder, downloading it where it has to be.
    pub(super) fn open(&self, output: &Output) -> Result<Box<dyn Embedder>> {
        if self.model == embed::LOG_MEL {
            return embed::open(&self.model, &self.layer);
        }
        let bar = Bar::new(output);
        let located = embed::locate(&self.model, &|progress| bar.show(progress))?;
        drop(bar);
        if let Some(remark) = located.remark {
            output.remark(format_args!("{}: {remark}", self.model));
        }
        embed::open_checkpoint(&located.folder, &self.layer)
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
