//! How samples are prepared: a section of `processor_config.json`, as transformers 5 writes it, or else
//! `preprocessor_config.json`, as those before did. Both may be absent.

use super::{is_there, read_json};
use crate::error::{Error, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Sections of `processor_config.json` that say it, the first that is there.
const SECTIONS: [&str; 2] = ["feature_extractor", "audio_processor"];

/// What a checkpoint says of its samples, checked. Only single-channel sound is supported; padding is the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preprocessor {
    /// Samples per second that the model was trained on.
    pub sampling_rate: u32,
    /// Whether each clip is brought to mean 0 and variance 1.
    pub do_normalize: bool,
    /// Whether the model was trained with padded frames masked out of its attention.
    pub return_attention_mask: bool,
}

impl Preprocessor {
    /// Reads and checks what a checkpoint folder says, or takes the original's defaults (16 kHz, normalised, no mask)
    /// when it says nothing.
    ///
    /// # Errors
    /// [`Error::Io`] when a file exists and cannot be read, [`Error::Unusable`] when a field is malformed.
    pub fn read(dir: &Path) -> Result<Preprocessor> {
        let (path, json) = Preprocessor::find(dir)?.unwrap_or_else(|| (dir.to_path_buf(), serde_json::json!({})));
        Preprocessor::from_json(&path, &json)
    }

    /// What a checkpoint folder says, as it is, and in which file. The section of `processor_config.json` goes before
    /// the file of its own, as it does in the original.
    pub(in crate::embed) fn find(dir: &Path) -> Result<Option<(PathBuf, Value)>> {
        let (all, own) = (dir.join("processor_config.json"), dir.join("preprocessor_config.json"));
        if is_there(&all) {
            let mut json = read_json(&all)?;
            for name in SECTIONS {
                match json[name].take() {
                    Value::Null => {}
                    section @ Value::Object(_) => return Ok(Some((all, section))),
                    other => return Err(Error::unusable(all, format!("{name} is {other}, not an object"))),
                }
            }
        }
        if is_there(&own) {
            let json = read_json(&own)?;
            return Ok(Some((own, json)));
        }
        Ok(None)
    }

    /// What such a file with this content says; `path` names it in errors.
    pub(super) fn from_json(path: &Path, json: &Value) -> Result<Preprocessor> {
        let field = |name| json.get(name).filter(|value| !value.is_null());
        let refuse = |name, wanted| {
            let found = field(name).map(ToString::to_string).unwrap_or_default();
            Error::unusable(path, format!("{name} is {found}, supported is {wanted}"))
        };
        let flag = |name, default| {
            field(name).map_or(Ok(default), |value| value.as_bool().ok_or_else(|| refuse(name, "true or false")))
        };
        let sampling_rate = field("sampling_rate").map_or(Some(16_000), |value| {
            value.as_u64().filter(|rate| (1_000..=1_000_000).contains(rate)).map(|rate| rate as u32)
        });
        if field("feature_size").is_some_and(|value| value.as_u64() != Some(1)) {
            return Err(refuse("feature_size", "1"));
        }
        Ok(Preprocessor {
            sampling_rate: sampling_rate.ok_or_else(|| refuse("sampling_rate", "1000 to 1000000"))?,
            do_normalize: flag("do_normalize", true)?,
            return_attention_mask: flag("return_attention_mask", false)?,
        })
    }
}
