//! Checkpoints as others write them: each is read as the original reads it, or refused.

use super::{ours, sound, with_config};
use ::safetensors::SafeTensors;
use ::safetensors::tensor::Dtype;
use otolith::embed::{Embedder, locate};
use otolith::testing::embed::checkpoint::{Checkpoint, Weights};
use otolith::testing::embed::wav2vec2::{Classifier, Layer, Wav2Vec2};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

fn refusal(dir: &TempDir) -> String {
    Wav2Vec2::open(dir.path(), Layer::Mean).unwrap_err().to_string()
}

/// Header and bytes of a safetensors file.
fn split(file: &[u8]) -> (Value, Vec<u8>) {
    let header = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&file[8..8 + header]).unwrap(), file[8 + header..].to_vec())
}

fn joined(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

/// What ours makes of a file must be what the format's own crate makes of it.
fn agrees(dir: &Path, bytes: &[u8]) -> bool {
    fs::write(dir.join("model.safetensors"), bytes).unwrap();
    let (ours, theirs) = (Weights::open(dir, "wav2vec2"), SafeTensors::deserialize(bytes));
    let (ours, theirs) = match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (Err(ours), Ok(_)) => panic!("refused, and read by the crate: {ours}"),
        (Ok(_), Err(theirs)) => panic!("read, and refused by the crate: {theirs}"),
        (Err(_), Err(_)) => return false,
    };
    for (name, tensor) in theirs.iter() {
        let name = name.replace("parametrizations.weight.original0", "weight_g");
        let name = name.replace("parametrizations.weight.original1", "weight_v");
        let expected: Vec<f32> = match tensor.dtype() {
            Dtype::F32 => tensor.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
            Dtype::F64 => tensor.data().as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes) as f32).collect(),
            _ => continue,
        };
        match ours.tensor(&name, tensor.shape()) {
            Ok(values) => assert_eq!(values, expected, "{name}"),
            Err(error) => assert!(expected.iter().any(|value| !value.is_finite()), "{name}: {error}"),
        }
    }
    true
}

#[test]
fn headers_are_read_as_the_formats_own_crate_reads_them() {
    let dir = tempfile::tempdir().unwrap();
    let file = fs::read(ours().join("base_group/model.safetensors")).unwrap();
    let (header, data) = split(&file);
    let entries = header.as_object().unwrap();
    let names: Vec<&String> = entries.keys().filter(|name| *name != "__metadata__").collect();
    assert!(agrees(dir.path(), &file));
    let mut state = 7_u64;
    let mut below = |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % limit
    };
    let (mut read, mut refused) = (0, 0);
    for _ in 0..400 {
        let (mut header, mut data) = (header.clone(), data.clone());
        let (one, other) = (names[below(names.len())], names[below(names.len())]);
        let mut text = None;
        let shift = |offsets: &mut Value, by: i64| {
            let moved = offsets.as_array().unwrap().iter().map(|at| at.as_i64().unwrap() + by).collect::<Vec<_>>();
            *offsets = json!(moved);
        };
        match below(16) {
            0 => header.as_object_mut().unwrap().values_mut().for_each(|entry| {
                entry.get_mut("data_offsets").map(|offsets| shift(offsets, 4)).unwrap_or_default();
            }),
            1 => {
                let taken = header[one]["data_offsets"].take();
                header[one]["data_offsets"] = header[other]["data_offsets"].take();
                header[other]["data_offsets"] = taken;
            }
            2 => header[one]["dtype"] = json!(["F64", "F16", "BF16", "F8_E4M3", "I32", "F4", "X"][below(7)]),
            3 => header[one]["shape"] = [json!([0]), json!([1]), json!([4, 4])][below(3)].clone(),
            4 => drop(header.as_object_mut().unwrap().remove(one)),
            5 => data.extend([0; 4]),
            6 => data.truncate(data.len() - 1 - below(8)),
            7 => shift(&mut header[one]["data_offsets"], [-4, 1, 8][below(3)]),
            8 => text = Some(format!("{header}{}", " ".repeat(below(9)))),
            9 => header["empty"] = json!({"dtype": "F32", "shape": [0, 3], "data_offsets": [0, 0]}),
            10 => {
                header["__metadata__"] =
                    [json!({"a": 1}), json!({"a": "b"}), json!([]), json!("x".repeat(99_999))][below(4)].clone()
            }
            11 => header[one]["shape"].as_array_mut().unwrap().insert(0, json!([1, 1_u64 << 33][below(2)])),
            // names and fields twice
            12 => text = Some(format!("{{\"{one}\":{},{}", header[other], &header.to_string()[1..])),
            13 => text = Some(format!("{{\"{one}\":{},{}", header[one], &header.to_string()[1..])),
            14 => header[one]["data_offsets"] = json!([[0, 0], [8, 4], [0, usize::MAX]][below(3)].to_vec()),
            _ => {
                let length = header[one]["data_offsets"][1].as_u64().unwrap();
                header[one]["data_offsets"] = json!([length, length]);
            }
        }
        let header = text.unwrap_or_else(|| header.to_string());
        match agrees(dir.path(), &joined(&header, &data)) {
            true => read += 1,
            false => refused += 1,
        }
    }
    println!("figure safetensors_differential = {read} read, {refused} refused");
    assert!(read > 20 && refused > 200, "{read} read, {refused} refused");
}

#[test]
fn what_people_have_in_place_of_weights_is_named() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 380267417\n";
    let safetensors = fs::read(ours().join("base_group/model.safetensors")).unwrap();
    let pickles = fs::read(ours().join("hubert_base_bin/pytorch_model.bin")).unwrap();
    for (folder, file, bytes, why) in [
        ("base_group", "model.safetensors", &pointer[..], "git-LFS pointer"),
        ("base_group", "model.safetensors", b"<!DOCTYPE html>", "a web page"),
        ("base_group", "model.safetensors", &pickles, "a zip archive"),
        ("base_group", "model.safetensors", b"", "an empty file"),
        ("base_group", "model.safetensors", &safetensors[..safetensors.len() / 2], "bytes, the file has"),
        ("hubert_base_bin", "pytorch_model.bin", pointer, "git-LFS pointer"),
        ("hubert_base_bin", "pytorch_model.bin", b"", "an empty file"),
        ("hubert_base_bin", "pytorch_model.bin", &safetensors, "give it the name model.safetensors"),
        ("hubert_base_bin", "pytorch_model.bin", b"\x1f\x8b\x08", "gzip"),
    ] {
        let dir = with_config(folder, |_| {});
        fs::write(dir.path().join(file), bytes).unwrap();
        let error = refusal(&dir);
        assert!(error.contains(why) && error.contains(file), "{error} does not say {why}");
    }
}

#[cfg(unix)]
#[test]
fn only_regular_files_are_opened_and_links_to_them_are_followed() {
    for file in ["config.json", "preprocessor_config.json", "model.safetensors"] {
        let dir = with_config("base_group", |_| {});
        let path = dir.path().join(file);
        let elsewhere = dir.path().join("blob");
        fs::rename(&path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        Wav2Vec2::open(dir.path(), Layer::Features).unwrap();
        fs::remove_file(&elsewhere).unwrap();
        let error = refusal(&dir);
        assert!(error.contains(file) && error.contains("No such file"), "{error}");
        fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let error = refusal(&dir);
        assert!(error.contains(file) && error.contains("not a regular file"), "{error}");
    }
    let dir = with_config("base_group", |_| {});
    let error = locate(dir.path().join("config.json").to_str().unwrap(), &|_| {}).unwrap_err().to_string();
    assert!(error.contains("not a directory"), "{error}");
}

#[test]
fn the_processors_section_goes_before_the_preprocessors_file() {
    let section = |rate: u32| json!({"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": rate});
    let rate = |dir: &TempDir| Checkpoint::open(dir.path()).unwrap().preprocessor.sampling_rate;
    let dir = with_config("base_group", |_| {});
    let write = |json: Value| fs::write(dir.path().join("processor_config.json"), json.to_string()).unwrap();
    write(json!({"feature_extractor": section(8_000), "processor_class": "Wav2Vec2Processor"}));
    assert_eq!(rate(&dir), 8_000);
    write(json!({"audio_processor": section(11_025)}));
    assert_eq!(rate(&dir), 11_025);
    // as transformers 4 writes it: nothing of the samples
    write(json!({"processor_class": "Wav2Vec2Processor"}));
    assert_eq!(rate(&dir), 16_000);
    write(json!({"feature_extractor": {"do_normalize": false, "return_attention_mask": true}}));
    let found = Checkpoint::open(dir.path()).unwrap().preprocessor;
    assert_eq!((found.sampling_rate, found.do_normalize, found.return_attention_mask), (16_000, false, true));
    // Of a folder that says nothing what is assumed is said.
    let remark = |dir: &TempDir| locate(dir.path().to_str().unwrap(), &|_| {}).unwrap().remark;
    assert_eq!(remark(&dir), None);
    write(json!({}));
    fs::remove_file(dir.path().join("preprocessor_config.json")).unwrap();
    assert!(remark(&dir).unwrap().contains("16 kHz and normalised samples are assumed"));
}

#[test]
fn a_mark_of_utf_8_and_a_name_twice_are_read_as_everywhere() {
    let dir = with_config("base_group", |_| {});
    let path = dir.path().join("config.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("\u{feff}{{\"hidden_size\": 5,{}", &text[1..])).unwrap();
    assert_eq!(Checkpoint::open(dir.path()).unwrap().config.hidden_size, 48);
}

#[test]
fn shards_give_all_their_tensors_once() {
    let identity = |dir: &TempDir| Wav2Vec2::open(dir.path(), Layer::Mean).unwrap().identity().to_owned();
    let whole = identity(&with_config("large_layer", |_| {}));
    let dir = with_config("large_layer", |_| {});
    let path = dir.path().join("model.safetensors.index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    // An index that forgets a tensor; the file that holds it is named for others.
    index["weight_map"].as_object_mut().unwrap().remove("encoder.layer_norm.bias");
    fs::write(&path, index.to_string()).unwrap();
    assert_eq!(identity(&dir), whole);
    let names: BTreeSet<String> =
        index["weight_map"].as_object().unwrap().values().map(|name| name.as_str().unwrap().to_owned()).collect();
    let (first, last) = (names.first().unwrap(), names.last().unwrap());
    // The same tensors in two files.
    fs::copy(dir.path().join(first), dir.path().join("more.safetensors")).unwrap();
    let map = index["weight_map"].as_object().unwrap();
    let tensor = map.iter().find(|(_, file)| *file == first.as_str()).unwrap().0.clone();
    index["weight_map"][&tensor] = "more.safetensors".into();
    fs::write(&path, index.to_string()).unwrap();
    assert!(refusal(&dir).contains("there twice"));
    fs::remove_file(dir.path().join(last)).unwrap();
    fs::remove_file(dir.path().join("more.safetensors")).unwrap();
    let error = refusal(&dir);
    assert!(error.contains("open"), "{error}");
}

#[test]
fn numbers_that_are_none_are_told_with_their_tensor() {
    for value in [f32::NAN, f32::INFINITY] {
        let dir = with_config("base_group", |_| {});
        let path = dir.path().join("model.safetensors");
        let mut file = fs::read(&path).unwrap();
        let (header, _) = split(&file);
        let name = "feature_projection.projection.bias";
        let at = file.len() - split(&file).1.len() + header[name]["data_offsets"][0].as_u64().unwrap() as usize;
        file[at + 8..at + 12].copy_from_slice(&value.to_le_bytes());
        fs::write(&path, file).unwrap();
        let error = refusal(&dir);
        assert!(error.contains(name) && error.contains("number 2 is"), "{error}");
        Wav2Vec2::open(dir.path(), Layer::Features).unwrap();
    }
}

#[test]
fn what_the_outputs_are_decides_what_becomes_of_them() {
    let samples = sound("odd");
    let chances = |problem: Value| {
        let dir = with_config("classify_base", |config| config["problem_type"] = problem);
        Classifier::open(dir.path()).map(|head| head.chances(&samples).unwrap())
    };
    let one = chances(Value::Null).unwrap();
    assert_eq!(chances("single_label_classification".into()).unwrap(), one);
    assert!((one.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    let each = chances("multi_label_classification".into()).unwrap();
    // softmax and sigmoid of the same scores: ratios of one are ratios of odds of the other
    for (one, each) in one.windows(2).zip(each.windows(2)) {
        let odds = |chance: f32| chance / (1.0 - chance);
        assert!((one[0] / one[1] - odds(each[0]) / odds(each[1])).abs() < 1e-4);
    }
    assert!((each.iter().sum::<f32>() - 1.0).abs() > 1e-3);
    let error = chances("regression".into()).unwrap_err().to_string();
    assert!(error.contains("regression"), "{error}");
    // It says nothing of rows.
    let dir = with_config("classify_base", |config| config["problem_type"] = "regression".into());
    Wav2Vec2::open(dir.path(), Layer::Features).unwrap();
}

#[test]
fn classes_may_be_numbers_and_stand_in_any_order() {
    let labels = |names: Value| {
        let dir = with_config("base_group", |config| config["id2label"] = names);
        Checkpoint::open(dir.path()).map(|checkpoint| checkpoint.config.labels)
    };
    assert_eq!(labels(json!({"1": "b", "0": 7})).unwrap(), ["7", "b"]);
    let ten: Vec<String> = (0..11).map(|id| id.to_string()).collect();
    assert_eq!(
        labels(ten.iter().map(|id| (id.clone(), json!(id))).collect::<serde_json::Map<_, _>>().into()).unwrap(),
        ten
    );
    for wrong in [json!({"0": "a", "2": "b"}), json!({"1": "a"}), json!({"0": ["a"]}), json!({"zero": "a"})] {
        assert!(labels(wrong).unwrap_err().to_string().contains("id2label has no text"));
    }
}
