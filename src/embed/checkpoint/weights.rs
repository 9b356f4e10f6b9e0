//! Tensors by name, whichever file holds them.

use super::{archive, is_there, read_json, safetensors};
use crate::error::{Error, Result};
use crate::matrix::Precision;
use crate::outside;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Most files that an index may name; published models have fewer than 10.
const SHARDS: usize = 1_024;

/// Storage type of a tensor in a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dtype {
    Double,
    Float(Precision),
    /// Integers and the like: counters that no network here reads.
    Other,
}

impl Dtype {
    pub(super) fn bytes(self) -> usize {
        match self {
            Dtype::Double => 8,
            Dtype::Float(precision) => precision.bytes(),
            Dtype::Other => 1,
        }
    }

    /// Little-endian values, narrowed or widened to `f32`.
    fn decode(self, bytes: &[u8]) -> Option<Vec<f32>> {
        match self {
            Dtype::Double => {
                Some(bytes.as_chunks::<8>().0.iter().map(|value| f64::from_le_bytes(*value) as f32).collect())
            }
            Dtype::Float(precision) => Some(precision.decode(bytes)),
            Dtype::Other => None,
        }
    }
}

/// What tensors are read from.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    File(PathBuf),
    /// A file inside the program.
    Bundled(&'static [u8]),
}

impl Origin {
    /// What it is called in errors.
    pub(super) fn path(&self) -> &Path {
        match self {
            Origin::File(path) => path,
            Origin::Bundled(_) => Path::new("(bundled)"),
        }
    }

    pub(super) fn length(&self) -> Result<u64> {
        match self {
            Origin::File(path) => {
                let about = outside::open(path)?.metadata();
                about.map(|about| about.len()).map_err(|e| Error::io(path, "read", e))
            }
            Origin::Bundled(bytes) => Ok(bytes.len() as u64),
        }
    }

    /// `count` bytes from `start` on. Memory is taken for what the machine can have, and filled with what arrives.
    pub(super) fn read(&self, start: u64, count: usize) -> Result<Vec<u8>> {
        let early = || Error::unusable(self.path(), format!("it ends before byte {start} + {count}: has it changed?"));
        match self {
            Origin::File(path) => {
                let failed = |e| Error::io(path, "read", e);
                let mut file = outside::open(path)?;
                file.seek(SeekFrom::Start(start)).map_err(failed)?;
                let mut bytes = Vec::new();
                let room = bytes.try_reserve_exact(count);
                room.map_err(|_| Error::unusable(path, format!("no memory for a tensor of {count} bytes")))?;
                file.take(count as u64).read_to_end(&mut bytes).map_err(failed)?;
                if bytes.len() == count { Ok(bytes) } else { Err(early()) }
            }
            Origin::Bundled(bytes) => {
                let start = usize::try_from(start).ok();
                let inside = start.and_then(|start| bytes.get(start..start.checked_add(count)?));
                inside.map(<[u8]>::to_vec).ok_or_else(early)
            }
        }
    }
}

/// Where a tensor lies. Whoever makes one has checked that `start .. start + span * bytes` is inside the file, and that
/// there are no more elements than the file has room for.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) file: Origin,
    /// Offset of the first element in bytes.
    pub(super) start: u64,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Distance between neighbours along each axis, in elements.
    pub(super) strides: Vec<usize>,
}

/// Row-major strides of a shape.
pub(super) fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1_usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis]);
    }
    strides
}

/// Elements from the first to the last of a strided tensor, both included; `None` when that overflows.
pub(super) fn span(shape: &[usize], strides: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().zip(strides).try_fold(1_usize, |span, (dim, stride)| span.checked_add((dim - 1).checked_mul(*stride)?))
}

impl Place {
    fn read(&self) -> Result<Vec<u8>> {
        let elements = span(&self.shape, &self.strides).unwrap_or(0);
        self.file.read(self.start, elements * self.dtype.bytes())
    }

    /// The elements of a span in row-major order.
    fn gather(&self, span: Vec<f32>) -> Vec<f32> {
        if self.strides == row_major(&self.shape) || span.is_empty() {
            return span;
        }
        let mut offsets = vec![0];
        for (dim, stride) in self.shape.iter().zip(&self.strides) {
            offsets = offsets.iter().flat_map(|offset| (0..*dim).map(move |at| offset + at * stride)).collect();
        }
        offsets.into_iter().map(|offset| span[offset]).collect()
    }
}

/// The tensors of a checkpoint folder, found but not yet read.
#[derive(Debug)]
pub struct Weights {
    /// What they are called in errors.
    dir: PathBuf,
    places: BTreeMap<String, Place>,
}

impl Weights {
    /// Finds the weights in a folder: the first of `model.safetensors`, `model.safetensors.index.json`,
    /// `pytorch_model.bin` and `pytorch_model.bin.index.json`. Names lose `prefix` and the point behind it, and the
    /// newer names of the weight norm (`parametrizations.weight.original0`, `original1`) become the older ones
    /// (`weight_g`, `weight_v`).
    ///
    /// # Errors
    /// [`Error::Unusable`] when there is none of the files, or one is malformed, or holds anything but tensors.
    pub fn open(dir: &Path, prefix: &str) -> Result<Weights> {
        Weights::of(dir, find(dir)?, prefix)
    }

    /// The weights of a safetensors file inside the program, called `name` in errors.
    pub(super) fn bundled(name: &Path, bytes: &'static [u8], prefix: &str) -> Result<Weights> {
        Weights::of(name, safetensors::index(&Origin::Bundled(bytes))?, prefix)
    }

    fn of(dir: &Path, found: Vec<(String, Place)>, prefix: &str) -> Result<Weights> {
        let mut places = BTreeMap::new();
        for (name, place) in found {
            let name = canonical(&name, prefix);
            let file = place.file.path().to_path_buf();
            if places.insert(name.clone(), place).is_some() {
                return Err(Error::unusable(file, format!("tensor `{name}` is there twice")));
            }
        }
        Ok(Weights { dir: dir.to_path_buf(), places })
    }

    /// Whether there is a tensor of that name.
    pub fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// Reads a tensor as `f32`, row-major.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when it is missing, has another shape, or is not a float; [`Error::Unusable`] when a number
    /// in it is none; [`Error::Io`] when reading fails.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let mismatch =
            |found: String| Error::mismatch(format!("{}: tensor `{name}`", self.dir.display()), describe(shape), found);
        let place = self.places.get(name).ok_or_else(|| mismatch("no tensor of that name".into()))?;
        if place.shape != shape {
            return Err(mismatch(describe(&place.shape)));
        }
        if place.dtype == Dtype::Other {
            return Err(mismatch("a type that is none of F64, F32, F16 and BF16".into()));
        }
        let values = place.gather(place.dtype.decode(&place.read()?).unwrap_or_default());
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => {
                Err(Error::unusable(place.file.path(), format!("tensor `{name}`: number {at} is {}", values[at])))
            }
            None => Ok(values),
        }
    }
}

fn describe(shape: &[usize]) -> String {
    let dims: Vec<String> = shape.iter().map(ToString::to_string).collect();
    format!("[{}]", dims.join(", "))
}

fn canonical(name: &str, prefix: &str) -> String {
    let bare = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.')).unwrap_or(name);
    bare.replace("parametrizations.weight.original0", "weight_g")
        .replace("parametrizations.weight.original1", "weight_v")
}

type Indexer = fn(&Path) -> Result<Vec<(String, Place)>>;

/// Every tensor of the folder with the name that its file gives it.
fn find(dir: &Path) -> Result<Vec<(String, Place)>> {
    let safetensors: Indexer = |path| safetensors::index(&Origin::File(path.to_path_buf()));
    let kinds: [(&str, Indexer); 2] = [("model.safetensors", safetensors), ("pytorch_model.bin", archive::index)];
    for (name, read) in kinds {
        let (whole, index) = (dir.join(name), dir.join(format!("{name}.index.json")));
        if is_there(&whole) {
            return read(&whole);
        }
        if is_there(&index) {
            return sharded(dir, &index, read);
        }
    }
    Err(Error::unusable(dir, "no weights: looked for model.safetensors, pytorch_model.bin and their .index.json"))
}

/// Tensors spread over several files, as an index of names to files says: everything in the files that it names.
fn sharded(dir: &Path, index: &Path, read: Indexer) -> Result<Vec<(String, Place)>> {
    let json = read_json(index)?;
    let refuse = |why: String| Error::unusable(index, why);
    let map = json["weight_map"].as_object().ok_or_else(|| refuse("no object `weight_map`".into()))?;
    let mut shards: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut found = Vec::with_capacity(map.len());
    for (name, file) in map {
        let file = file.as_str().ok_or_else(|| refuse(format!("tensor `{name}` is in {file}, which is not text")))?;
        if !shards.contains_key(file) {
            if Path::new(file).file_name() != Some(file.as_ref()) || shards.len() == SHARDS {
                return Err(refuse(format!("`{file}` is not the name of a file beside it, or one of too many")));
            }
            let shard = read(&dir.join(file))?;
            shards.insert(file, shard.iter().map(|(name, _)| name.clone()).collect());
            found.extend(shard);
        }
        if !shards.get(file).is_some_and(|shard| shard.contains(name)) {
            return Err(refuse(format!("tensor `{name}` is not in `{file}`")));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposed_tensor_is_read_in_the_order_of_its_shape() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("values");
        let bytes: Vec<u8> = (0..14).flat_map(|value| (value as f32).to_le_bytes()).collect();
        std::fs::write(&file, bytes).unwrap();
        let place = |shape: &[usize], strides: &[usize]| Place {
            file: Origin::File(file.clone()),
            start: 8,
            dtype: Dtype::Float(Precision::F32),
            shape: shape.to_vec(),
            strides: strides.to_vec(),
        };
        let read = |place: Place| {
            let values = place.dtype.decode(&place.read().unwrap()).unwrap();
            place.gather(values)
        };
        assert_eq!(read(place(&[2, 3], &[3, 1])), [2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        assert_eq!(read(place(&[2, 3], &[1, 2])), [2.0, 4.0, 6.0, 3.0, 5.0, 7.0]);
        assert_eq!(
            read(place(&[2, 3, 2], &[1, 4, 2])),
            [2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0]
        );
        assert_eq!(read(place(&[], &[])), [2.0]);
        assert!(read(place(&[3, 0], &[0, 1])).is_empty());
        assert!(place(&[13], &[1]).read().is_err());
    }

    #[test]
    fn names_lose_their_prefix_and_take_the_older_form() {
        let canonical = |name| canonical(name, "hubert");
        assert_eq!(canonical("hubert.encoder.layer_norm.bias"), "encoder.layer_norm.bias");
        assert_eq!(canonical("encoder.layer_norm.bias"), "encoder.layer_norm.bias");
        assert_eq!(canonical("hubertx.w"), "hubertx.w");
        assert_eq!(canonical("a.conv.parametrizations.weight.original1"), "a.conv.weight_v");
    }
}
