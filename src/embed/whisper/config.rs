//! What `config.json` and the preprocessor's file say of a Whisper encoder.

use super::log_mel::{FIELD, HOP, RATE};
use crate::embed::checkpoint::{Fields, Preprocessor, read_json};
use crate::error::Result;
use std::path::Path;

/// Most rows of a window, which every published model has: 30 s. Attention takes memory with its square.
const POSITIONS: u64 = 1_500;

/// Most attention heads, three times those of the largest published model.
const HEADS: u64 = 64;

/// Most mel bands; published models have 80 or 128.
const BANDS: u64 = 1_024;

/// The shape of the encoder, checked. Missing fields take the values of the smallest published model.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Mel bands of its input.
    pub num_mel_bins: usize,
    /// Rows of a window.
    pub max_source_positions: usize,
    /// Dimension.
    pub d_model: usize,
    /// Layers of the transformer.
    pub encoder_layers: usize,
    /// Attention heads of a layer.
    pub encoder_attention_heads: usize,
    /// Width inside the feed-forward block.
    pub encoder_ffn_dim: usize,
}

impl Config {
    /// Reads and checks both files of a folder; the second may be absent.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when one cannot be read, [`Error::Unusable`](crate::Error::Unusable) when a
    /// field is malformed or asks for what is not built.
    pub fn read(dir: &Path) -> Result<Config> {
        let path = dir.join("config.json");
        let fields = Fields { path: &path, json: &read_json(&path)? };
        let upto = |name, default, most| fields.get(name).map_or(Ok(default), |value| fields.number(name, value, most));
        let config = Config {
            num_mel_bins: upto("num_mel_bins", 80, BANDS)?,
            max_source_positions: upto("max_source_positions", 1_500, POSITIONS)?,
            d_model: fields.count("d_model", 384)?,
            encoder_layers: fields.count("encoder_layers", 4)?,
            encoder_attention_heads: upto("encoder_attention_heads", 6, HEADS)?,
            encoder_ffn_dim: fields.count("encoder_ffn_dim", 1_536)?,
        };
        for (name, wanted) in [("model_type", "whisper"), ("activation_function", "gelu")] {
            let found = fields.text(name, if name == "model_type" { "" } else { wanted })?;
            if found != wanted {
                return Err(fields.refuse(format!("{name} is `{found}`, supported is `{wanted}`")));
            }
        }
        let (width, heads) = (config.d_model, config.encoder_attention_heads);
        if !width.is_multiple_of(heads) {
            return Err(fields.refuse(format!("d_model {width} does not divide into encoder_attention_heads {heads}")));
        }
        config.check_preprocessor(dir)?;
        Ok(config)
    }

    /// The preprocessor's fields have no freedom beside the network's: each is as expected, or absent.
    fn check_preprocessor(&self, dir: &Path) -> Result<()> {
        let Some((path, json)) = Preprocessor::find(dir)? else { return Ok(()) };
        let fields = Fields { path: &path, json: &json };
        let wanted = [
            ("feature_size", self.num_mel_bins),
            ("sampling_rate", RATE as usize),
            ("hop_length", HOP),
            ("n_fft", FIELD),
            ("n_samples", self.mel_frames() * HOP),
            ("nb_max_frames", self.mel_frames()),
            ("dither", 0),
        ];
        for (name, wanted) in wanted {
            if let Some(value) = fields.get(name).filter(|value| value.as_f64() != Some(wanted as f64)) {
                return Err(fields.refuse(format!("{name} is {value}, supported for this model is {wanted}")));
            }
        }
        Ok(())
    }

    /// Frames of a window before the second convolution halves them.
    pub(super) fn mel_frames(&self) -> usize {
        2 * self.max_source_positions
    }
}
