//! What is random in a pass while training: dropout, SpecAugment (Park et al. 2019) and LayerDrop (Fan et al. 2019).

use crate::embed::checkpoint::Regularisation;
use crate::error::{Error, Result};
use crate::random::unit;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Where numbers are dropped, in the order of a pass; layers from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// After the feature projection's linear map.
    FeatureProjection,
    /// At the input of the first layer.
    Encoder,
    /// The weights of attention of a layer.
    Attention(usize),
    /// The output of attention, before it is added.
    AttentionOutput(usize),
    /// Inside the feed-forward block, after its GELU.
    Activation(usize),
    /// The output of the feed-forward block, before it is added.
    FeedForwardOutput(usize),
}

/// What a pass drops, masks and skips. The methods are asked in the order of the pass; by default nothing happens, as
/// in evaluation.
pub trait Noise {
    /// What each number of a tensor is multiplied by, 0 or 1 / (1 - p); `None` where nothing is dropped.
    fn dropout(&mut self, _place: Place, _shape: &[usize]) -> Option<Vec<f32>> {
        None
    }

    /// Which frames of each clip are replaced by the learned vector, `[clips, frames]`; of clip `i` only `kept[i]`
    /// count.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a span is longer than the clip.
    fn masked_frames(&mut self, _frames: usize, _kept: &[usize]) -> Result<Option<Vec<bool>>> {
        Ok(None)
    }

    /// Which features of each clip are set to 0 in all its frames, `[clips, width]`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a span is longer than the width.
    fn masked_features(&mut self, _clips: usize, _width: usize) -> Result<Option<Vec<bool>>> {
        Ok(None)
    }

    /// Whether a layer passes its input on as it is.
    fn skips(&mut self, _layer: usize) -> bool {
        false
    }
}

/// No noise.
#[derive(Clone, Copy, Debug)]
pub struct Still;

impl Noise for Still {}

/// Noise as a checkpoint's configuration asks for it, drawn from seeds.
#[derive(Debug)]
pub struct Drawn {
    settings: Regularisation,
    /// What all shards of a batch have in common: skipped layers, and how spans are rounded.
    shared: ChaCha8Rng,
    own: ChaCha8Rng,
}

impl Drawn {
    /// The noise of shard `shard` of a batch. Shards of a batch are given the same `seed`, batches different ones.
    pub fn new(settings: &Regularisation, seed: u64, shard: u64) -> Drawn {
        let stream = |number| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(number);
            rng
        };
        Drawn { settings: settings.clone(), shared: stream(0), own: stream(shard + 1) }
    }

    /// Masks of `clips` clips of `length` positions, of which `kept` count.
    fn masks(
        &mut self,
        length: usize,
        kept: &[usize],
        share: f64,
        span: usize,
        least: usize,
    ) -> Result<Option<Vec<bool>>> {
        let rounding = unit(&mut self.shared);
        let count = |kept| spans(length, kept, share, span, least, rounding);
        if span > length {
            return Err(Error::invalid(
                "masking",
                format!("spans of {span} do not fit {length} positions: lower mask_*_length, or use longer clips"),
            ));
        }
        if count(length) == 0 {
            return Ok(None);
        }
        let mut masked = vec![false; kept.len() * length];
        for (clip, kept) in masked.chunks_exact_mut(length).zip(kept) {
            // Distinct starting points, by the first steps of Fisher and Yates's shuffle.
            let mut starts: Vec<usize> = (0..(kept + 1).saturating_sub(span)).collect();
            for drawn in 0..count(*kept).min(starts.len()) {
                let other = drawn + (unit(&mut self.own) * (starts.len() - drawn) as f64) as usize;
                starts.swap(drawn, other);
                clip[starts[drawn]..][..span].fill(true);
            }
        }
        Ok(Some(masked))
    }
}

impl Noise for Drawn {
    fn dropout(&mut self, place: Place, shape: &[usize]) -> Option<Vec<f32>> {
        let share = match place {
            Place::FeatureProjection => self.settings.feat_proj_dropout,
            Place::Attention(_) => self.settings.attention_dropout,
            Place::Activation(_) => self.settings.activation_dropout,
            Place::Encoder | Place::AttentionOutput(_) | Place::FeedForwardOutput(_) => self.settings.hidden_dropout,
        };
        if share == 0.0 {
            return None;
        }
        let below = (share * f64::from(u32::MAX)) as u32;
        let kept = (1.0 / (1.0 - share)) as f32;
        let count = shape.iter().product();
        Some((0..count).map(|_| if self.own.next_u32() < below { 0.0 } else { kept }).collect())
    }

    fn masked_frames(&mut self, frames: usize, kept: &[usize]) -> Result<Option<Vec<bool>>> {
        let Regularisation { apply_spec_augment, mask_time_prob, mask_time_length, mask_time_min_masks, .. } =
            self.settings;
        if !apply_spec_augment || mask_time_prob == 0.0 {
            return Ok(None);
        }
        self.masks(frames, kept, mask_time_prob, mask_time_length, mask_time_min_masks)
    }

    fn masked_features(&mut self, clips: usize, width: usize) -> Result<Option<Vec<bool>>> {
        let Regularisation {
            apply_spec_augment, mask_feature_prob, mask_feature_length, mask_feature_min_masks, ..
        } = self.settings;
        if !apply_spec_augment || mask_feature_prob == 0.0 {
            return Ok(None);
        }
        self.masks(width, &vec![width; clips], mask_feature_prob, mask_feature_length, mask_feature_min_masks)
    }

    fn skips(&mut self, _layer: usize) -> bool {
        self.settings.layerdrop > 0.0 && unit(&mut self.shared) < self.settings.layerdrop
    }
}

/// How many spans of `span` positions mask a `share` of the `kept` ones among `length`, rounded down after adding
/// `rounding`, from 0 up to 1.
fn spans(length: usize, kept: usize, share: f64, span: usize, least: usize, rounding: f64) -> usize {
    let wanted = ((share * kept as f64 / span as f64 + rounding) as usize).max(least);
    let wanted = if wanted * span > length { length / span } else { wanted };
    wanted.min((kept + 1).saturating_sub(span))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_spans_is_that_of_the_original() {
        let cases: Vec<serde_json::Value> = serde_json::from_str(include_str!("mask_span_counts.json")).unwrap();
        assert_eq!(cases.len(), 40);
        for case in cases {
            let count = |name: &str| case[name].as_u64().unwrap() as usize;
            let number = |name: &str| case[name].as_f64().unwrap();
            let found = spans(
                count("frames"),
                count("valid_frames"),
                number("prob"),
                count("length"),
                count("min_masks"),
                number("epsilon"),
            );
            assert_eq!(found, count("spans"), "{case}");
        }
    }

    #[test]
    fn masks_and_dropout_have_the_share_they_are_asked_for() {
        let settings = Regularisation {
            feat_proj_dropout: 0.0,
            hidden_dropout: 0.25,
            attention_dropout: 0.0,
            activation_dropout: 0.0,
            layerdrop: 0.5,
            apply_spec_augment: true,
            mask_time_prob: 0.2,
            mask_time_length: 5,
            mask_time_min_masks: 0,
            mask_feature_prob: 0.0,
            mask_feature_length: 10,
            mask_feature_min_masks: 0,
        };
        let mut noise = Drawn::new(&settings, 7, 0);
        assert!(noise.dropout(Place::Attention(0), &[9]).is_none());
        let factors = noise.dropout(Place::Encoder, &[100, 100]).unwrap();
        let dropped = factors.iter().filter(|factor| **factor == 0.0).count();
        assert!((2_300..2_700).contains(&dropped), "{dropped}");
        assert!(factors.iter().all(|factor| *factor == 0.0 || (factor - 4.0 / 3.0).abs() < 1e-6));
        let masked = noise.masked_frames(200, &[200, 100]).unwrap().unwrap();
        let count = |clip: &[bool]| clip.iter().filter(|masked| **masked).count();
        assert!((20..=45).contains(&count(&masked[..200])), "{}", count(&masked[..200]));
        assert!((8..=25).contains(&count(&masked[200..300])) && count(&masked[300..]) == 0);
        assert!(noise.masked_frames(4, &[4]).unwrap_err().to_string().contains("mask_"));
        // Shards of a batch skip the same layers, batches others.
        let skips = |seed, shard| {
            let mut noise = Drawn::new(&settings, seed, shard);
            (0..64).map(|layer| noise.skips(layer)).collect::<Vec<_>>()
        };
        assert_eq!(skips(1, 0), skips(1, 1));
        assert_ne!(skips(1, 0), skips(2, 0));
    }
}
