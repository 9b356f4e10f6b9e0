//! Checkpoints out, in the layout that they are read from.

use super::{Family, Preprocessor};
use crate::error::{Error, Result};
use crate::matrix::Precision;
use crate::outside;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

/// A tensor to be written.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its name in the file.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its numbers, row-major.
    pub values: Vec<f32>,
}

/// What the names of a classification head's tensors begin with.
pub(crate) const HEAD: [&str; 3] = ["projector.", "classifier.", "layer_weights"];

/// The name in a file of today of a tensor whose name has no prefix and the older form.
pub(crate) fn full_name(name: &str, family: Family) -> String {
    let name = name
        .replace("conv.weight_g", "conv.parametrizations.weight.original0")
        .replace("conv.weight_v", "conv.parametrizations.weight.original1");
    if HEAD.iter().any(|head| name.starts_with(head)) { name } else { format!("{}.{name}", family.name()) }
}

/// Writes a checkpoint folder; it is made when missing.
///
/// # Errors
/// [`Error::Io`] when writing fails, [`Error::Invalid`] when a number does not fit the precision.
pub(crate) fn folder(
    dir: &Path,
    config: &Value,
    preprocessor: &Preprocessor,
    tensors: Vec<Stored>,
    precision: Precision,
) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, "create", e))?;
    let preprocessor = json!({
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "sampling_rate": preprocessor.sampling_rate,
        "do_normalize": preprocessor.do_normalize,
        "return_attention_mask": preprocessor.return_attention_mask,
        "feature_size": 1,
        "padding_side": "right",
        "padding_value": 0.0,
    });
    safetensors_file(&dir.join("model.safetensors"), tensors, precision)?;
    json_file(&dir.join("preprocessor_config.json"), &preprocessor)?;
    json_file(&dir.join("config.json"), config)
}

/// Writes a JSON file under a temporary name, then renames it: a file of that name is always whole.
///
/// # Errors
/// [`Error::Io`] when writing fails.
pub fn json_file(path: &Path, json: &Value) -> Result<()> {
    write(path, format!("{json:#}\n").as_bytes())
}

/// Writes tensors as safetensors, likewise, with the metadata that loaders of the original library want.
///
/// # Errors
/// [`Error::Io`] when writing fails, [`Error::Invalid`] when a number does not fit the precision.
pub fn safetensors_file(path: &Path, tensors: Vec<Stored>, precision: Precision) -> Result<()> {
    let dtype = match precision {
        Precision::F32 => Dtype::F32,
        Precision::F16 => Dtype::F16,
        Precision::BF16 => Dtype::BF16,
    };
    let encoded = tensors.into_iter().map(|tensor| {
        let mut bytes = Vec::new();
        precision.encode(&tensor.values, &mut bytes)?;
        Ok((tensor.name, tensor.shape, bytes))
    });
    let encoded = encoded.collect::<Result<Vec<_>>>()?;
    let refuse = |e: safetensors::SafeTensorError| Error::invalid("tensors", e.to_string());
    let views = encoded.iter().map(|(name, shape, bytes)| Ok((name, TensorView::new(dtype, shape.clone(), bytes)?)));
    let views = views.collect::<std::result::Result<Vec<_>, _>>().map_err(refuse)?;
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(refuse)?;
    write(path, &bytes)
}

/// Writes under a temporary name, syncs, and renames.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let temporary = Path::new(&name);
    let mut file = outside::create(temporary)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|e| Error::io(temporary, "write", e))?;
    std::fs::rename(temporary, path).map_err(|e| Error::io(path, "rename", e))
}
