//! The safetensors format: 8 bytes of header length, a JSON header of names to type, shape and range, then the bytes.
//!
//! The header is judged by the format's own crate: every range has the size that type and shape say, and the ranges lie
//! end to end. That the last one ends with the file is checked here, where the length is known without reading it all.

use super::weights::{Dtype, Origin, Place, row_major};
use super::{JSON_BYTES, instead};
use crate::error::{Error, Result};
use crate::matrix::Precision;
use ::safetensors::tensor::{Dtype as Stored, Metadata};

/// Every tensor that the header names.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read, [`Error::Unusable`] when its header is not one, or the tensors are not
/// all of the file and nothing else.
pub(super) fn index(file: &Origin) -> Result<Vec<(String, Place)>> {
    let refuse = |why: String| Error::unusable(file.path(), format!("not whole safetensors: {why}"));
    let length = file.length()?;
    let head = file.read(0, length.min(64) as usize)?;
    let header = head.first_chunk().map_or(u64::MAX, |prefix| u64::from_le_bytes(*prefix));
    if header > JSON_BYTES || header > length.saturating_sub(8) {
        let why = match instead(&head) {
            Some(what) => what.to_owned(),
            None if header == u64::MAX => format!("a file of {length} bytes"),
            None => format!("a header of {header} bytes in a file of {length}: fetch it again"),
        };
        return Err(refuse(why));
    }
    let text = file.read(8, header as usize)?;
    let metadata: Metadata = serde_json::from_slice(&text).map_err(|e| refuse(format!("header: {e}")))?;
    let data = 8 + header;
    if metadata.data_len() as u64 != length - data {
        let told = metadata.data_len() as u64;
        return Err(refuse(format!("its tensors have {told} bytes, the file has {} for them", length - data)));
    }
    let place = |(name, info): (String, &::safetensors::tensor::TensorInfo)| {
        let dtype = match info.dtype {
            Stored::F64 => Dtype::Double,
            Stored::F32 => Dtype::Float(Precision::F32),
            Stored::F16 => Dtype::Float(Precision::F16),
            Stored::BF16 => Dtype::Float(Precision::BF16),
            _ => Dtype::Other,
        };
        let (start, shape) = (data + info.data_offsets.0 as u64, info.shape.clone());
        (name, Place { file: file.clone(), start, dtype, strides: row_major(&shape), shape })
    };
    Ok(metadata.tensors().into_iter().map(place).collect())
}
