//! Sound files and checkpoints.

use std::fs;

/// A sound file, read to its end: an error, or a summary that makes sense.
pub fn audio(bytes: &[u8]) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), bytes).expect("a file");
    let Ok(summary) = otolith::audio::Reader::open(file.path(), 16_000).and_then(|reader| reader.finish()) else {
        return;
    };
    assert!(summary.frames > 0 && summary.channels > 0 && summary.seconds > 0.0, "{summary:?}");
}

/// One file of a checkpoint altered: an error or a model. Input: which file, how, then as `altered` reads it.
#[cfg(feature = "models")]
pub fn checkpoint(bytes: &[u8]) {
    use super::altered::altered;
    use otolith::embed::wav2vec2::{Layer, Wav2Vec2};
    let [which, how, input @ ..] = bytes else { return };
    let (source, name) = [
        ("base_group_bf16", "config.json"),
        ("base_group_bf16", "model.safetensors"),
        ("hubert_base_bin", "pytorch_model.bin"),
        ("base_group_bf16", "preprocessor_config.json"),
    ][usize::from(which % 4)];
    let weights = if source == "hubert_base_bin" { "pytorch_model.bin" } else { "model.safetensors" };
    let source = super::data("wav2vec2").join(source);
    let folder = tempfile::tempdir().expect("a folder");
    for file in ["config.json", "preprocessor_config.json", weights] {
        let original = fs::read(source.join(file)).expect("a file");
        let bytes = if file == name { altered(&original, *how, input) } else { original };
        fs::write(folder.path().join(file), &bytes).expect("a file");
        if file == "model.safetensors" {
            agrees(folder.path(), &bytes);
        }
    }
    if let Ok(model) = Wav2Vec2::open(folder.path(), Layer::Features) {
        assert!(model.config().conv_dim() > 0);
    }
}

/// What is made of a safetensors file is what the format's own crate makes of it: nothing, or the same tensors. Headers of
/// more than 16 MiB aside, which only the crate takes.
#[cfg(feature = "models")]
fn agrees(folder: &std::path::Path, bytes: &[u8]) {
    use otolith::embed::checkpoint::Weights;
    use safetensors::{SafeTensors, tensor::Dtype};
    let (ours, theirs) = match (Weights::open(folder, "wav2vec2"), SafeTensors::deserialize(bytes)) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (Err(_), Err(_)) => return,
        // two names that become one
        (Err(error), Ok(_)) if error.to_string().contains("there twice") => return,
        (ours, theirs) => panic!("{:?}, and the crate {:?}", ours.err(), theirs.err()),
    };
    for (name, tensor) in theirs.iter().filter(|(_, tensor)| tensor.dtype() == Dtype::BF16) {
        let expected =
            tensor.data().chunks_exact(2).map(|bytes| f32::from_bits(u32::from_le_bytes([0, 0, bytes[0], bytes[1]])));
        if let Ok(values) = ours.tensor(name, tensor.shape()) {
            assert!(values.into_iter().eq(expected), "{name}");
        }
    }
}
