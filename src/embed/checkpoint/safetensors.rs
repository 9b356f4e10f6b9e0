//! The safetensors format: 8 bytes of header length, a JSON header of names to type, shape and range, then the bytes.

use super::JSON_BYTES;
use super::weights::{Dtype, Origin, Place, row_major};
use crate::error::{Error, Result};
use crate::matrix::Precision;
use serde_json::Value;

/// Every tensor that the header names.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read, [`Error::Unusable`] when its header is not one or a tensor reaches outside
/// the file.
pub(super) fn index(file: &Origin) -> Result<Vec<(String, Place)>> {
    let path = file.path();
    let length = file.length().map_err(|e| Error::io(path, "open", e))?;
    let prefix = file.read(0, 8).map_err(|e| Error::io(path, "read", e))?;
    let header = prefix.first_chunk().map_or(u64::MAX, |prefix| u64::from_le_bytes(*prefix));
    if header > JSON_BYTES || header > length.saturating_sub(8) {
        return Err(Error::unusable(
            path,
            format!("not safetensors: a header of {header} bytes in a file of {length}"),
        ));
    }
    let text = file.read(8, header as usize).map_err(|e| Error::io(path, "read", e))?;
    let json: Value =
        serde_json::from_slice(&text).map_err(|e| Error::unusable(path, format!("not safetensors: header: {e}")))?;
    let entries = json.as_object().ok_or_else(|| Error::unusable(path, "not safetensors: header is not an object"))?;
    let data = 8 + header;
    entries
        .iter()
        .filter(|(name, _)| *name != "__metadata__")
        .map(|(name, entry)| match place(file, entry, data, length - data) {
            Some(place) => Ok((name.clone(), place)),
            None => Err(Error::unusable(path, format!("tensor `{name}`: type, shape and range do not fit: {entry}"))),
        })
        .collect()
}

fn place(file: &Origin, entry: &Value, data: u64, available: u64) -> Option<Place> {
    let numbers = |name: &str| -> Option<Vec<u64>> { entry[name].as_array()?.iter().map(Value::as_u64).collect() };
    let dtype = match entry["dtype"].as_str()? {
        "F64" => Dtype::Double,
        "F32" => Dtype::Float(Precision::F32),
        "F16" => Dtype::Float(Precision::F16),
        "BF16" => Dtype::Float(Precision::BF16),
        _ => Dtype::Other,
    };
    let [start, end] = numbers("data_offsets")?.try_into().ok()?;
    if start > end || end > available {
        return None;
    }
    let shape: Vec<usize> = numbers("shape")?.into_iter().map(usize::try_from).collect::<Result<_, _>>().ok()?;
    let elements = shape.iter().try_fold(1_usize, |product, dim| product.checked_mul(*dim))?;
    if dtype != Dtype::Other && elements.checked_mul(dtype.bytes()) != usize::try_from(end - start).ok() {
        return None;
    }
    let strides = row_major(&shape);
    Some(Place { file: file.clone(), start: data + start, dtype, shape, strides })
}
