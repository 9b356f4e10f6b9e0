//! What a run needs to go on after it was interrupted: a checkpoint folder with the optimiser's state beside the
//! network.

use super::adamw::Moments;
use super::step::{Optimiser, internal};
use super::{Epoch, STATE, Settings};
use crate::embed::checkpoint::read_json;
use crate::embed::checkpoint::save::{Stored, json_file, safetensors_file};
use crate::embed::wav2vec2::Trainable;
use crate::error::{Error, Result};
use crate::matrix::Precision;
use candle_core::Device;
use serde_json::{Map, json};
use std::path::{Path, PathBuf};

const OPTIMISER: &str = "optimizer.safetensors";
const PREFIX: &str = "checkpoint-";

/// Where a run stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct State {
    /// Epochs that are complete.
    pub(super) epochs: Vec<Epoch>,
    /// Sum of the losses of the steps since.
    pub(super) loss: f64,
    /// Index of the best epoch.
    pub(super) best: Option<usize>,
}

/// Writes `checkpoint-STEP` in `out` and removes the ones before it.
pub(super) fn write(
    out: &Path,
    network: &Trainable,
    optimiser: &Optimiser,
    state: &State,
    settings: &Settings,
) -> Result<()> {
    let dir = out.join(format!("{PREFIX}{}", optimiser.steps));
    network.save(&dir, Precision::F32)?;
    let mut moments = Vec::new();
    let mut steps = Map::new();
    for (parameter, known) in network.parameters().iter().zip(&optimiser.moments) {
        let Some(known) = known else { continue };
        steps.insert(parameter.name().to_owned(), known.steps.into());
        for (which, values) in [("first", &known.first), ("second", &known.second)] {
            // In the order in use: it is read by the same network only.
            let name = format!("{}.{which}", parameter.name());
            moments.push(Stored { name, shape: vec![values.len()], values: values.clone() });
        }
    }
    safetensors_file(&dir.join(OPTIMISER), moments, Precision::F32)?;
    let json = json!({
        "global_step": optimiser.steps,
        "settings": settings.to_json(),
        "epochs": state.epochs.iter().map(Epoch::to_json).collect::<Vec<_>>(),
        "loss": state.loss,
        "best": state.best,
        "parameter_steps": steps,
    });
    // Last: a checkpoint with this file is whole.
    json_file(&dir.join(STATE), &json)?;
    for (_, other) in checkpoints(out)?.into_iter().filter(|(_, other)| *other != dir) {
        std::fs::remove_dir_all(&other).map_err(|e| Error::io(&other, "remove", e))?;
    }
    Ok(())
}

/// Brings a network and its optimiser to the newest whole checkpoint in `out`; `None` when there is none.
///
/// # Errors
/// [`Error::Invalid`] when the run had other settings, [`Error::Unusable`] when the checkpoint is damaged.
pub(super) fn read(
    out: &Path,
    network: &Trainable,
    optimiser: &mut Optimiser,
    settings: &Settings,
) -> Result<Option<State>> {
    let whole = checkpoints(out)?.into_iter().filter(|(_, dir)| dir.join(STATE).exists());
    let Some((_, dir)) = whole.max() else { return Ok(None) };
    let path = dir.join(STATE);
    let json = read_json(&path)?;
    if json["settings"] != settings.to_json() {
        let why = format!("was begun with {}, not {}: give another folder", json["settings"], settings.to_json());
        return Err(Error::invalid(format!("the run in {}", out.display()), why));
    }
    let damaged = |what: &str| Error::unusable(&path, format!("`{what}` is missing or malformed"));
    let epochs = json["epochs"].as_array().ok_or_else(|| damaged("epochs"))?;
    let epochs = epochs.iter().map(|epoch| Epoch::from_json(epoch).ok_or_else(|| damaged("epochs")));
    let state = State {
        epochs: epochs.collect::<Result<_>>()?,
        loss: json["loss"].as_f64().ok_or_else(|| damaged("loss"))?,
        best: json["best"].as_u64().map(|best| best as usize),
    };
    optimiser.steps = json["global_step"].as_u64().ok_or_else(|| damaged("global_step"))? as usize;
    let moments = candle_core::safetensors::load(dir.join(OPTIMISER), &Device::Cpu).map_err(internal)?;
    for (parameter, known) in network.parameters().iter().zip(&mut optimiser.moments) {
        let Some(steps) = json["parameter_steps"][parameter.name()].as_u64() else { continue };
        let values = |which| {
            let name = format!("{}.{which}", parameter.name());
            let tensor = moments.get(&name).filter(|tensor| tensor.elem_count() == parameter.tensor().elem_count());
            tensor.ok_or_else(|| damaged(&name))?.to_vec1::<f32>().map_err(internal)
        };
        *known = Some(Moments { steps: steps as u32, first: values("first")?, second: values("second")? });
    }
    network.load(&dir)?;
    Ok(Some(state))
}

/// The checkpoints in a folder, by step.
fn checkpoints(out: &Path) -> Result<Vec<(usize, PathBuf)>> {
    let entries = match std::fs::read_dir(out) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(out, "read", error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Error::io(out, "read", e))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(step) = name.and_then(|name| name.strip_prefix(PREFIX)).and_then(|step| step.parse().ok()) {
            found.push((step, path));
        }
    }
    Ok(found)
}
