//! `pytorch_model.bin`: a zip archive of one pickle that names the tensors, and one entry of raw bytes per storage.

use super::instead;
use super::pickle::{self, Tensor};
use super::weights::{Origin, Place, span};
use crate::error::{Error, Result};
use crate::outside;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use zip::{CompressionMethod, ZipArchive, result::ZipError};

/// Largest pickle that is read: 420 tensors take 100 kB.
const PICKLE_BYTES: u64 = 4 << 20;

type Archive = ZipArchive<BufReader<File>>;

/// Every tensor of the state dictionary.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read, [`Error::Unusable`] when it is not such an archive, when its pickle
/// holds anything but tensors, or a tensor reaches outside its storage.
pub(super) fn index(path: &Path) -> Result<Vec<(String, Place)>> {
    let refuse = |why: String| Error::unusable(path, why);
    let file = outside::open(path)?;
    let length = file.metadata().map_err(|e| Error::io(path, "read", e))?.len();
    let mut head = Vec::new();
    (&file).take(64).read_to_end(&mut head).map_err(|e| Error::io(path, "read", e))?;
    if !head.starts_with(b"PK\x03\x04") {
        let what = instead(&head).unwrap_or("no kind of file that is known here");
        return Err(refuse(format!("not a zip archive: {what}")));
    }
    let broken = |e: ZipError| refuse(format!("damaged archive: {e}"));
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(broken)?;
    let stem = archive
        .file_names()
        .flatten()
        .find_map(|name| name.strip_suffix("/data.pkl").map(str::to_owned))
        .ok_or_else(|| refuse("no entry ends in /data.pkl".into()))?;
    if archive.index_for_name(&format!("{stem}/byteorder")).is_some()
        && read_entry(&mut archive, &format!("{stem}/byteorder"), 16).map_err(refuse)? != b"little"
    {
        return Err(refuse("saved on a big-endian machine: save it again as safetensors".into()));
    }
    let pickle = read_entry(&mut archive, &format!("{stem}/data.pkl"), PICKLE_BYTES).map_err(refuse)?;
    let tensors = pickle::state_dict(&pickle).map_err(|why| refuse(format!("data.pkl: {why}")))?;
    tensors
        .into_iter()
        .map(|(name, tensor)| match place(path, &mut archive, &stem, tensor, length) {
            Ok(place) => Ok((name, place)),
            Err(why) => Err(refuse(format!("tensor `{name}`: {why}"))),
        })
        .collect()
}

fn read_entry(archive: &mut Archive, name: &str, limit: u64) -> Result<Vec<u8>, String> {
    let entry = archive.by_name(name).map_err(|e| format!("entry `{name}`: {e}"))?;
    if entry.size() > limit {
        return Err(format!("entry `{name}` has {} bytes, more than {limit}", entry.size()));
    }
    let mut bytes = Vec::new();
    entry.take(limit).read_to_end(&mut bytes).map_err(|e| format!("entry `{name}`: {e}"))?;
    Ok(bytes)
}

fn place(path: &Path, archive: &mut Archive, stem: &str, tensor: Tensor<'_>, length: u64) -> Result<Place, String> {
    let name = format!("{stem}/data/{}", tensor.storage.key);
    let entry = archive.by_name(&name).map_err(|e| format!("entry `{name}`: {e}"))?;
    let (start, size) = (entry.data_start().ok_or("entry without a place")?, entry.size());
    if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
        return Err(format!("entry `{name}` is compressed or encrypted"));
    }
    if start.checked_add(size).is_none_or(|end| end > length) {
        return Err(format!("entry `{name}` reaches outside the file"));
    }
    let bytes = tensor.storage.dtype.bytes();
    let room = usize::try_from(size).unwrap_or(usize::MAX) / bytes;
    let elements = tensor.shape.iter().try_fold(1_usize, |product, dim| product.checked_mul(*dim));
    let end = span(&tensor.shape, &tensor.strides).and_then(|span| span.checked_add(tensor.offset));
    // More elements than storage would be an expanded view, which no weight is, and could ask for any amount of memory.
    if end.is_none_or(|end| end > room) || elements.is_none_or(|elements| elements > room) {
        return Err(format!("shape {:?} with strides {:?} is outside its storage", tensor.shape, tensor.strides));
    }
    Ok(Place {
        file: Origin::File(path.to_path_buf()),
        start: start + (tensor.offset * bytes) as u64,
        dtype: tensor.storage.dtype,
        shape: tensor.shape,
        strides: tensor.strides,
    })
}
