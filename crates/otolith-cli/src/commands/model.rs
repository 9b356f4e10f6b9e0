//! The options that choose an embedder, and the one that chooses a collection.

use super::download::Bar;
use super::output::Output;
use otolith::Result;
use otolith::embed::{self, Embedder, Located};
use std::path::{Path, PathBuf};

/// Name of the collection where none is given.
pub(super) const COLLECTION: &str = "clips";

#[derive(clap::Args)]
pub(super) struct ModelArgs {
    /// What makes rows of sound: `mini` (a small wav2vec2 that comes with the program), `logmel`, a directory with a
    /// wav2vec2, HuBERT or Whisper checkpoint, or the name of one on the Hugging Face hub (`owner/name`,
    /// `owner/name@revision`), which is downloaded into the hub's cache
    #[arg(long, value_name = "mini|logmel|DIR|HUB-ID", default_value = embed::DEFAULT)]
    pub(super) model: String,
    /// Which rows of a checkpoint: `features` (conv encoder; unless given; of the miniature `mean` is), `projected`, a
    /// layer's number, or `mean` of all layers; Whisper has `last`. Of a sound of more than 30 seconds `features` and
    /// `projected` are those of the whole at once; the layers see it in equal windows of up to 30 seconds each
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

    /// Opens the embedder, downloading it where it has to be.
    pub(super) fn open(&self, output: &Output) -> Result<Box<dyn Embedder>> {
        self.embedder(self.locate(output)?.as_ref())
    }

    /// The embedder of what [`ModelArgs::locate`] gave.
    pub(super) fn embedder(&self, located: Option<&Located>) -> Result<Box<dyn Embedder>> {
        match located {
            Some(located) => located.embedder(self.layer.as_deref()),
            None => embed::open(&self.model, self.layer.as_deref()),
        }
    }

    /// The checkpoint, downloaded where it has to be; `None` where the model has none.
    pub(super) fn locate(&self, output: &Output) -> Result<Option<Located>> {
        if self.model == embed::LOG_MEL {
            return Ok(None);
        }
        let bar = Bar::new(output);
        let located = embed::locate(&self.model, &|progress| bar.show(progress))?;
        drop(bar);
        if let Some(remark) = &located.remark {
            output.remark(format_args!("{}: {remark}", self.model));
        }
        Ok(Some(located))
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
