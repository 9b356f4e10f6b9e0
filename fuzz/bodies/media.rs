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

/// Chunks of any names, contents and claimed sizes, as RIFF, RIFX, RF64, BW64, Wave64, AIFF or AIFC: an error, or no
/// more samples than the bytes can stand for. Input: the form, then of each chunk its name, what it claims, its length,
/// contents.
pub fn riff(bytes: &[u8]) {
    let [form, rest @ ..] = bytes else { return };
    let wave64 = form % 8 == 4;
    let big_endian = matches!(form % 8, 1 | 5 | 6);
    let order = |mut number: Vec<u8>| {
        if big_endian {
            number.reverse();
        }
        number
    };
    let guid = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a";
    let names: [&[u8; 4]; 8] = match form % 8 {
        5 | 6 => [b"COMM", b"SSND", b"FVER", b"NAME", b"MARK", b"APPL", b"ID3 ", b"data"],
        _ => [b"fmt ", b"data", b"fact", b"ds64", b"LIST", b"bext", b"id3 ", b"JUNK"],
    };
    let (mut chunks, mut rest) = (Vec::new(), rest);
    while let [name, claim, length, behind @ ..] = rest {
        let (contents, behind) = behind.split_at(usize::from(*length).min(behind.len()));
        rest = behind;
        let held = contents.len() as u64 + if wave64 { 24 } else { 0 };
        let claimed = match claim % 8 {
            0..=2 => held,
            3 => held + u64::from(claim / 8),
            4 => held.saturating_sub(u64::from(claim / 8)),
            5 => 0,
            6 => u64::from(u32::MAX) - u64::from(claim / 8),
            _ => 0x7fff_f000 + u64::from(claim / 8),
        };
        chunks.extend(names[usize::from(name % 8)]);
        if wave64 {
            chunks.extend(guid);
            chunks.extend(claimed.to_le_bytes());
            chunks.extend(contents);
            chunks.resize(chunks.len().next_multiple_of(8), 0);
        } else {
            chunks.extend(order((claimed as u32).to_le_bytes().to_vec()));
            chunks.extend(contents);
            // The highest bit of the name leaves out what fills up an odd chunk.
            chunks.extend(&[0][..if *name < 128 { contents.len() % 2 } else { 0 }]);
        }
    }
    let size = order((chunks.len() as u32 + 4).to_le_bytes().to_vec());
    let head = match form % 8 {
        0 | 7 => [b"RIFF", &size[..], b"WAVE"].concat(),
        1 => [b"RIFX", &size[..], b"WAVE"].concat(),
        2 => [b"RF64", &[0xff; 4][..], b"WAVE"].concat(),
        3 => [b"BW64", &[0xff; 4][..], b"WAVE"].concat(),
        4 => {
            let head = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00";
            [&head[..], &(chunks.len() as u64 + 40).to_le_bytes(), b"wave", guid].concat()
        }
        5 => [b"FORM", &size[..], b"AIFF"].concat(),
        _ => [b"FORM", &size[..], b"AIFC"].concat(),
    };
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), [&head[..], &chunks].concat()).expect("a file");
    let reader = otolith::audio::Reader::open(file.path(), 16_000);
    let Ok((format, summary)) = reader.and_then(|reader| Ok((reader.format(), reader.finish()?))) else { return };
    // A byte stands for two samples at most; in a frame of MPEG audio, four bytes may for 1,152 of each channel.
    let most = 512 * (head.len() + chunks.len()) as u64;
    assert!(summary.frames * summary.channels as u64 <= most, "{format}: {summary:?} of {} bytes", chunks.len());
}

/// One file of a checkpoint altered: an error or a model. Input: which file, how, then as `altered` reads it.
#[cfg(feature = "models")]
pub fn checkpoint(bytes: &[u8]) {
    use super::altered::altered;
    use otolith::testing::embed::wav2vec2::{Layer, Wav2Vec2};
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

/// What is made of a safetensors file is what the format's own crate makes of it: nothing, or the same tensors. Headers
/// of more than 16 MiB aside, which only the crate takes.
#[cfg(feature = "models")]
fn agrees(folder: &std::path::Path, bytes: &[u8]) {
    use otolith::testing::embed::checkpoint::Weights;
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
