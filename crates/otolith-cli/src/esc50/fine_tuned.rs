//! The other arm: a network fine-tuned on the records of a round, and what its hidden states are worth in search.

use super::data_set::DataSet;
use super::protocol::Round;
use otolith::Result;
use otolith::audio::Clip;
use otolith::classify::Epoch;
use otolith::classify::fine_tune::{
    Clips, Corpus, Keep, Prediction, Progress, Settings, fine_tune, mean_states, predict,
};
use otolith::embed::Located;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

/// The sounds of a data set as clips to learn from.
pub struct Sounds<'a> {
    /// The set.
    pub set: &'a DataSet,
    /// Samples a second.
    pub rate: u32,
    /// Samples of each clip, filled up with silence or cut; `None` for as many as it has.
    pub samples: Option<usize>,
}

impl Clips for Sounds<'_> {
    fn count(&self) -> usize {
        self.set.clips.len()
    }

    fn name(&self, clip: usize) -> String {
        self.set.clips[clip].name.clone()
    }

    fn label(&self, clip: usize) -> usize {
        self.set.clips[clip].class
    }

    fn samples(&self, clip: usize) -> Result<Vec<f32>> {
        let sound = Clip::read(&self.set.clips[clip].path, self.rate)?;
        Ok(match self.samples {
            Some(samples) => sound.padded_or_cut(samples).samples,
            None => sound.samples,
        })
    }
}

/// How the networks of a comparison are trained.
pub struct FineTuning {
    /// The network to begin with.
    pub model: Located,
    /// How long and how fast. The weights of the last epoch are kept: choosing among epochs would need clips that are
    /// neither searched for nor learnt from.
    pub settings: Settings,
    /// Most rounds; the others are left out, and the table's number of queries says so.
    pub rounds: usize,
    /// Where each round keeps its network, and goes on after an interruption.
    pub out: Option<PathBuf>,
}

/// What a round's network says.
pub(super) struct Tuned {
    /// The epochs of its training.
    pub(super) epochs: Vec<Epoch>,
    /// The classes of the queries.
    pub(super) predictions: Vec<Prediction>,
    /// The mean of the last hidden state of each query, then of each record.
    pub(super) rows: Vec<Vec<f32>>,
}

impl FineTuning {
    /// Trains on the records of a round, the convolution encoder frozen.
    pub(super) fn round(
        &self,
        set: &DataSet,
        corpus: &Corpus<'_>,
        round: &Round,
        progress: &(dyn Fn(Progress<'_>) + Sync),
    ) -> Result<Tuned> {
        let network = self.model.trainable(&set.classes, true, self.settings.seed)?;
        let settings = Settings { keep: Keep::Last, ..self.settings };
        let out = self.out.as_ref().map(|out| out.join(round.name.replace(' ', "-")));
        let stop = AtomicBool::new(false);
        let parts = (&round.fit[..], &round.queries[..]);
        let outcome = fine_tune(&network, corpus, parts, &settings, out.as_deref(), &stop, progress)?;
        let predictions = predict(&network, corpus, &round.queries, progress)?;
        let clips: Vec<usize> = round.queries.iter().chain(&round.records).copied().collect();
        let rows = mean_states(&network, corpus, &clips)?;
        Ok(Tuned { epochs: outcome.epochs, predictions, rows })
    }
}
