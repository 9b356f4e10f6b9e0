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
        fs::write(folder.path().join(file), bytes).expect("a file");
    }
    if let Ok(model) = Wav2Vec2::open(folder.path(), Layer::Features) {
        assert!(model.config().conv_dim() > 0);
    }
}
