//! Checkpoints that are wrong on purpose: each is an error that says what is wrong, never a panic or a grab for memory.

use super::{ours, with_config};
use otolith::testing::embed::wav2vec2::{Layer, Wav2Vec2};
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// The message of opening the whole model.
fn refusal(dir: &TempDir) -> String {
    Wav2Vec2::open(dir.path(), Layer::Mean).unwrap_err().to_string()
}

fn tensors() -> HashMap<String, candle_core::Tensor> {
    candle_core::safetensors::load(ours().join("base_group/model.safetensors"), &candle_core::Device::Cpu).unwrap()
}

#[test]
fn each_missing_or_misshapen_tensor_is_named_with_what_was_expected() {
    let dir = with_config("base_group", |_| {});
    let file = dir.path().join("model.safetensors");
    let all = tensors();
    assert!(all.len() > 60);
    for name in all.keys().filter(|name| *name != "masked_spec_embed") {
        let mut fewer = all.clone();
        let removed = fewer.remove(name).unwrap();
        candle_core::safetensors::save(&fewer, &file).unwrap();
        let shown = name
            .replace("parametrizations.weight.original0", "weight_g")
            .replace("parametrizations.weight.original1", "weight_v");
        let (error, shape) = (refusal(&dir), format!("expected {:?}", removed.dims()));
        assert!(error.contains(&format!("`{shown}`")) && error.contains(&shape), "{error}");
        assert!(error.contains("found no tensor of that name"), "{error}");

        let flat = removed.flatten_all().unwrap().unsqueeze(0).unwrap();
        let found = format!("found {:?}", flat.dims());
        fewer.insert(name.clone(), flat);
        candle_core::safetensors::save(&fewer, &file).unwrap();
        let error = refusal(&dir);
        let parts = [&format!("`{shown}`"), &shape, &found];
        assert!(parts.iter().all(|part| error.contains(*part)), "{error}");
    }
    let mut whole_numbers = all.clone();
    let name = "encoder.layer_norm.bias";
    whole_numbers.insert(name.into(), all[name].to_dtype(candle_core::DType::I64).unwrap());
    candle_core::safetensors::save(&whole_numbers, &file).unwrap();
    assert!(refusal(&dir).contains("none of F64, F32, F16 and BF16"));
    let mut twice = all.clone();
    twice.insert(format!("wav2vec2.{name}"), all[name].clone());
    candle_core::safetensors::save(&twice, &file).unwrap();
    assert!(refusal(&dir).contains("there twice"));
}

#[test]
fn doubles_are_narrowed_and_give_the_same_rows() {
    let dir = with_config("base_group", |_| {});
    let doubles: HashMap<_, _> =
        tensors().into_iter().map(|(name, tensor)| (name, tensor.to_dtype(candle_core::DType::F64).unwrap())).collect();
    candle_core::safetensors::save(&doubles, dir.path().join("model.safetensors")).unwrap();
    let [a, b] = [dir.path(), &ours().join("base_group")].map(|dir| {
        use otolith::embed::Embedder;
        Wav2Vec2::open(dir, Layer::Mean).unwrap().identity().to_owned()
    });
    assert_eq!(a, b);
}

#[test]
fn configurations_that_are_not_built_are_refused_with_what_is() {
    type Change = fn(&mut serde_json::Value);
    let changes: [(Change, &str); 32] = [
        (|c| c["model_type"] = "wavlm".into(), "supported are `wav2vec2` and `hubert`"),
        (|c| c["model_type"] = serde_json::Value::Null, "supported are `wav2vec2` and `hubert`"),
        (|c| c["model_type"] = 7.into(), "not text"),
        (|c| c["add_adapter"] = true.into(), "supported are models without"),
        (|c| c["adapter_attn_dim"] = 16.into(), "supported are models without"),
        (|c| c["hidden_act"] = "relu".into(), "supported is `gelu`"),
        (|c| c["feat_extract_activation"] = "gelu_new".into(), "supported is `gelu`"),
        (|c| c["feat_extract_norm"] = "batch".into(), "supported are `group` and `layer`"),
        (|c| c["conv_stride"] = serde_json::json!([5, 2]), "7, 7 and 2 entries"),
        (|c| c["conv_kernel"] = serde_json::json!(3), "not a list"),
        (|c| c["conv_kernel"][0] = 100_000.into(), "from 1 to 1024"),
        (|c| c["conv_stride"] = serde_json::json!([1_000, 1_000, 1_000, 1_000, 2, 2, 2]), "65536 samples"),
        (|c| c["conv_stride"] = serde_json::json!([1 << 20, 2, 2, 2, 2, 2, 2]), "from 1 to 65536"),
        (
            |c| {
                c["conv_dim"] = vec![512; 7].into();
                c["conv_stride"] = serde_json::json!([1, 1, 1, 1, 1, 1, 1 << 15]);
            },
            "numbers at once",
        ),
        (|c| c["conv_stride"][0] = 0.into(), "from 1 to"),
        (|c| c["conv_kernel"][3] = 0.into(), "from 1 to"),
        (|c| c["hidden_size"] = serde_json::json!(48.0), "from 1 to"),
        (|c| c["hidden_size"] = (1_u64 << 31).into(), "from 1 to"),
        (|c| c["intermediate_size"] = 65_536.into(), "encoder.layers.0.feed_forward.intermediate_dense.weight"),
        (
            |c| {
                c["hidden_size"] = 49_152.into();
                c["num_hidden_layers"] = 1_000_000_000.into();
            },
            "from 1 to",
        ),
        (|c| c["hidden_size"] = 49_152.into(), "the largest is 4294967296"),
        (|c| c["problem_type"] = "ranking".into(), "problem_type is `ranking`"),
        (|c| c["num_attention_heads"] = 5.into(), "does not divide"),
        (|c| c["num_attention_heads"] = 0.into(), "from 1 to"),
        (|c| c["num_conv_pos_embedding_groups"] = 7.into(), "does not divide"),
        (|c| c["hidden_size"] = (-48).into(), "from 1 to"),
        (|c| c["hidden_size"] = serde_json::json!(1e18), "from 1 to"),
        (|c| c["num_hidden_layers"] = u64::MAX.into(), "from 1 to"),
        (|c| c["num_hidden_layers"] = 1_000.into(), "`encoder.layers.3.attention.q_proj.weight`"),
        (|c| c["layer_norm_eps"] = "small".into(), "not a number"),
        (|c| c["conv_bias"] = 1.into(), "not true or false"),
        (|c| c["id2label"] = serde_json::json!({"0": "dog", "2": "cat"}), "no text for `1`"),
    ];
    for (change, why) in changes {
        let error = refusal(&with_config("base_group", change));
        assert!(error.contains(why), "{error} does not say {why}");
    }
    for (file, text, why) in [
        ("config.json", "{", "not JSON"),
        ("config.json", "[]", "not a JSON object"),
        ("config.json", &"[".repeat(100_000), "not JSON"),
        ("config.json", &r#"{"a":"#.repeat(10_000), "not JSON"),
        ("config.json", r#"{"layer_norm_eps": NaN}"#, "not JSON"),
        ("config.json", &" ".repeat((16 << 20) + 1), "16777217 bytes"),
        ("config.json", "", "an empty file"),
        ("config.json", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git-LFS pointer"),
        ("config.json", "\n<!doctype html><html>", "a web page"),
        ("processor_config.json", r#"{"feature_extractor": 5}"#, "feature_extractor is 5"),
        ("processor_config.json", r#"{"feature_extractor": {"sampling_rate": "16k"}}"#, "sampling_rate"),
        ("processor_config.json", "[]", "not a JSON object"),
        ("preprocessor_config.json", r#"{"sampling_rate": 0}"#, "sampling_rate"),
        ("preprocessor_config.json", r#"{"feature_size": 2}"#, "feature_size"),
        ("preprocessor_config.json", r#"{"do_normalize": 1}"#, "do_normalize"),
    ] {
        let dir = with_config("base_group", |_| {});
        std::fs::write(dir.path().join(file), text).unwrap();
        let error = refusal(&dir);
        assert!(error.contains(why) && error.contains(file), "{error}");
    }
    let bare = with_config("base_group", |_| {});
    std::fs::remove_file(bare.path().join("preprocessor_config.json")).unwrap();
    assert_eq!(Wav2Vec2::open(bare.path(), Layer::Mean).unwrap().preprocessor().sampling_rate, 16_000);
    std::fs::remove_file(bare.path().join("model.safetensors")).unwrap();
    assert!(refusal(&bare).contains("no weights"));
    std::fs::remove_file(bare.path().join("config.json")).unwrap();
    assert!(refusal(&bare).contains("config.json"));
}

/// Opens the model with `file` cut at many lengths and with many bytes changed: anything but a panic will do, and a cut
/// file must never open.
fn mangle(folder: &str, file: &str, interesting: std::ops::Range<usize>) {
    let dir = with_config(folder, |_| {});
    let path = dir.path().join(file);
    let good = std::fs::read(&path).unwrap();
    let open = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        Wav2Vec2::open(dir.path(), Layer::Mean)
    };
    for length in interesting.clone().step_by(401).chain([0, 1, 7, 8, 9, good.len() / 2, good.len() - 2]) {
        assert!(open(&good[..length]).is_err(), "{file} of {length} bytes");
    }
    let mut state = 1_u64;
    for _ in 0..400 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = interesting.start + (state >> 33) as usize % interesting.len();
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (state >> 20 & 7);
        let _ = open(&bytes);
    }
}

#[test]
fn cut_and_scribbled_files_never_panic() {
    mangle("base_group", "model.safetensors", 0..7_000);
    mangle("large_layer", "model.safetensors.index.json", 0..7_400);
    let archive = std::fs::read(ours().join("hubert_base_bin/pytorch_model.bin")).unwrap();
    mangle("hubert_base_bin", "pytorch_model.bin", 0..8_300);
    mangle("hubert_base_bin", "pytorch_model.bin", archive.len() - 7_000..archive.len());
}

#[test]
fn headers_that_promise_what_is_not_there_are_refused() {
    let dir = with_config("base_group", |_| {});
    for (length, header) in [(u64::MAX, ""), (1 << 40, ""), (3, "{}"), (2, "[]"), (2, "no")] {
        let bytes = [&length.to_le_bytes()[..], header.as_bytes()].concat();
        std::fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
        assert!(refusal(&dir).contains("not whole safetensors"));
    }
    for entry in [
        r#"{"dtype": "F32", "shape": [4], "data_offsets": [0, 8]}"#,
        r#"{"dtype": "F32", "shape": [4], "data_offsets": [8, 0]}"#,
        r#"{"dtype": "F32", "shape": [1099511627776], "data_offsets": [0, 4398046511104]}"#,
        r#"{"dtype": "F32", "shape": [4294967296, 4294967296, 4], "data_offsets": [0, 0]}"#,
        r#"{"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}"#,
        r#"{"dtype": "F32", "shape": "all", "data_offsets": [0, 4]}"#,
        r#"{"dtype": 1, "shape": [1], "data_offsets": [0, 4]}"#,
        r#"{"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]}"#,
    ] {
        let header = format!(r#"{{"encoder.layer_norm.bias": {entry}}}"#);
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 64]].concat();
        std::fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
        let error = refusal(&dir);
        assert!(error.contains("header: ") || error.contains("its tensors have"), "{entry}: {error}");
    }
}

#[test]
fn an_index_names_files_beside_it_only() {
    for (name, why) in [
        ("../model-00001-of-00004.safetensors", "not the name of a file beside it"),
        ("/etc/hostname", "not the name of a file beside it"),
        ("..", "not the name of a file beside it"),
        ("", "not the name of a file beside it"),
        ("absent.safetensors", "absent.safetensors: open"),
        ("model-00001-of-00004.safetensors", "is not in `model-00001-of-00004.safetensors`"),
    ] {
        let dir = with_config("large_layer", |_| {});
        let path = dir.path().join("model.safetensors.index.json");
        let mut index: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        index["weight_map"]["encoder.layer_norm.bias"] = name.into();
        std::fs::write(&path, index.to_string()).unwrap();
        let error = refusal(&dir);
        assert!(error.contains(why), "{name}: {error}");
    }
}

/// A `pytorch_model.bin` of one pickle and one storage of 64 bytes.
fn archive(path: &Path, pickle: &[u8], compression: CompressionMethod) {
    let mut zip = ZipWriter::new(std::fs::File::create(path).unwrap());
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    zip.start_file("archive/data.pkl", stored).unwrap();
    zip.write_all(pickle).unwrap();
    zip.start_file("archive/data/0", stored.compression_method(compression)).unwrap();
    zip.write_all(&[0; 64]).unwrap();
    zip.finish().unwrap();
}

/// `{"w": _rebuild_tensor_v2(storage 0 of f32, 0, shape, strides, False, OrderedDict())}` in protocol 2.
fn pickled_tensor(shape: [i32; 2], strides: [i32; 2]) -> Vec<u8> {
    let mut pickle = b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n(".to_vec();
    pickle.extend(b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x10tQK\0");
    for pair in [shape, strides] {
        pair.iter().for_each(|number| pickle.extend([b"J", &number.to_le_bytes()[..]].concat()));
        pickle.push(0x86);
    }
    pickle.extend(b"\x89ccollections\nOrderedDict\n)RtRs.");
    pickle
}

#[test]
fn pickles_hold_tensors_and_nothing_else() {
    let dir = with_config("hubert_base_bin", |_| {});
    let path = dir.path().join("pytorch_model.bin");
    let mut doubling = b"\x80\x02)q\0".to_vec();
    doubling.extend(b"h\0h\0\x86q\0".repeat(200));
    doubling.push(b'.');
    let deep = [b"\x80\x02)", "\u{85}".chars().map(|c| c as u8).collect::<Vec<_>>().repeat(1_000_000).as_slice(), b"."]
        .concat();
    let cases: [(&[u8], &str); 17] = [
        (b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R.", "`os.system` is refused"),
        (b"\x80\x02cbuiltins\neval\n.", "`builtins.eval` is refused"),
        (b"\x80\x02ctorch._utils\n_rebuild_parameter\nK\x01\x88}\x87R.", "neither a dictionary nor a tensor"),
        (b"\x80\x02ctorch._utils\n_rebuild_qtensor\n.", "is refused"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.", "neither a dictionary nor a tensor"),
        (b"\x80\x02ctorch\nFloatStorage\n)R.", "neither a dictionary nor a tensor"),
        (b"\x80\x02}X\x01\0\0\0wK\x01s.", "`w` is not a tensor"),
        (b"\x80\x02K\x01.", "not a dictionary"),
        (b"\x80\x02)Q.", "not to a storage"),
        (b"\x80\x02X\xff\xff\xff\xffw.", "a text of 4294967295 bytes"),
        (b"\x80\x02h\x07.", "nothing was remembered"),
        (b"\x80\x02(t", "ends early"),
        (b"\x80\x02t.", "no mark"),
        (b"\x80\x04.", "supported is 2"),
        (b"\x80\x02]\x94.", "instruction 0x5d"),
        (&doubling, "not a dictionary"),
        (&deep, "not a dictionary"),
    ];
    for (pickle, why) in cases {
        archive(&path, pickle, CompressionMethod::Stored);
        let error = refusal(&dir);
        assert!(error.contains(why), "{error} does not say {why}");
    }
    std::fs::write(&path, b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.").unwrap();
    assert!(refusal(&dir).contains("before 2020"));
}

#[test]
fn pickled_tensors_stay_inside_their_storage() {
    let dir = with_config("hubert_base_bin", |_| {});
    let path = dir.path().join("pytorch_model.bin");
    for (shape, strides) in
        [([4, 5], [5, 1]), ([4, 4], [5, 1]), ([1 << 20, 1 << 20], [0, 0]), ([i32::MAX, i32::MAX], [i32::MAX, i32::MAX])]
    {
        archive(&path, &pickled_tensor(shape, strides), CompressionMethod::Stored);
        assert!(refusal(&dir).contains("outside its storage"), "{shape:?} {strides:?}");
    }
    archive(&path, &pickled_tensor([-1, 4], [4, 1]), CompressionMethod::Stored);
    assert!(refusal(&dir).contains("negative size"));
    // A good one is read, and then the model's own tensors are missed.
    for strides in [[4, 1], [1, 4]] {
        archive(&path, &pickled_tensor([4, 4], strides), CompressionMethod::Stored);
        assert!(refusal(&dir).contains("no tensor of that name"));
    }
}
