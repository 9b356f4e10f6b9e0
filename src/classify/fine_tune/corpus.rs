//! The clips to learn from, and what a frozen convolution encoder makes of them, computed once.

use super::step::{Shard, internal};
use crate::embed::wav2vec2::{Input, Trainable};
use crate::error::{Error, Result};
use candle_core::{Device, Tensor};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most clips in a shard: fixed, so that results do not depend on the number of threads.
const SHARD: usize = 4;

/// Most bytes of convolution outputs that are kept; those of further clips are computed again each time.
const CACHE: usize = 3 << 30;

/// Labelled sounds, numbered from 0. Implement it to train on clips from anywhere; they may be read from several
/// threads.
pub trait Clips: Sync {
    /// Returns how many clips there are.
    fn count(&self) -> usize;

    /// Returns the name of a clip, for messages of errors.
    fn name(&self, clip: usize) -> String;

    /// Returns the class of a clip: the index of its label among those of the network.
    fn label(&self, clip: usize) -> usize;

    /// Returns the mono samples of a clip, at the rate that the network takes.
    ///
    /// # Errors
    /// Those of reading it.
    fn samples(&self, clip: usize) -> Result<Vec<f32>>;
}

/// Clips, together with the convolution outputs that are known so far. Networks that share a frozen convolution
/// encoder may share a corpus.
pub struct Corpus<'a> {
    clips: &'a dyn Clips,
    conv: Vec<OnceLock<Tensor>>,
    cached: AtomicUsize,
}

impl<'a> Corpus<'a> {
    /// Makes a corpus of these clips. None is read yet.
    pub fn new(clips: &'a dyn Clips) -> Corpus<'a> {
        Corpus { conv: vec![OnceLock::new(); clips.count()], clips, cached: AtomicUsize::new(0) }
    }

    /// Returns the class of a clip.
    pub(super) fn label(&self, clip: usize) -> usize {
        self.clips.label(clip)
    }

    /// Returns what the convolution encoder makes of a clip, for a pass that wants no gradient of it.
    ///
    /// # Errors
    /// As [`super::predict`].
    pub(super) fn conv(&self, network: &Trainable, clip: usize) -> Result<Input> {
        Ok(Input::Conv(self.input(network, clip, false)?))
    }

    /// Groups the clips into shards: of equal length each, so that nothing is padded, and of at most [`SHARD`] clips.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a clip shorter than the network's receptive field, and those of reading.
    pub(super) fn shards(&self, network: &Trainable, clips: &[usize]) -> Result<Vec<Shard>> {
        let input = |clip: &usize| Ok((*clip, self.input(network, *clip, true)?));
        let mut inputs = clips.iter().map(input).collect::<Result<Vec<_>>>()?;
        // Stable: clips of equal length keep their order.
        inputs.sort_by_key(|(_, input)| input.dims()[1]);
        let mut shards: Vec<(Vec<usize>, Vec<Tensor>)> = Vec::new();
        for (clip, input) in inputs {
            match shards.last_mut() {
                Some((numbers, tensors)) if numbers.len() < SHARD && tensors[0].dims() == input.dims() => {
                    numbers.push(clip);
                    tensors.push(input);
                }
                _ => shards.push((vec![clip], vec![input])),
            }
        }
        let frozen = network.is_conv_frozen();
        let shards = shards.into_iter().map(|(numbers, tensors)| {
            let together = Tensor::cat(&tensors, 0).map_err(internal)?;
            let labels = numbers.iter().map(|clip| self.clips.label(*clip) as u32).collect();
            let input = if frozen { Input::Conv(together) } else { Input::Samples(together) };
            Ok(Shard { input, kept: None, labels })
        });
        shards.collect()
    }

    /// Returns prepared samples `[1, samples]`, or, where no gradient is wanted of them, convolution outputs `[1,
    /// frames, channels]`.
    fn input(&self, network: &Trainable, clip: usize, training: bool) -> Result<Tensor> {
        let frozen = network.is_conv_frozen();
        if let Some(conv) = self.conv[clip].get().filter(|_| frozen) {
            return Ok(conv.clone());
        }
        let model = network.classifier().model();
        let samples = self.clips.samples(clip)?;
        let least = model.config().receptive_field();
        if samples.len() < least {
            let why = format!("{} samples: the network needs {least} at least", samples.len());
            return Err(Error::invalid(format!("clip `{}`", self.clips.name(clip)), why));
        }
        let prepared = model.prepare(&samples);
        if training && !frozen {
            return Tensor::from_slice(&prepared, (1, prepared.len()), &Device::Cpu).map_err(internal);
        }
        let conv = model.conv(&prepared)?;
        let size = conv.elem_count() * size_of::<f32>();
        if frozen && self.cached.fetch_add(size, Ordering::Relaxed) + size <= CACHE {
            let _ = self.conv[clip].set(conv.clone()); // another thread may have been first, with the same numbers
        }
        Ok(conv)
    }
}
