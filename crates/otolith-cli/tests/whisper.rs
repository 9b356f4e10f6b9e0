//! The promise: Whisper checkpoints give the rows that the original implementation gives, through the same trait and
//! the same commands as any other model.
//!
//! The fixtures in `tests/data/whisper` are small random checkpoints with the reference's outputs (`make.py` there made
//! them).
#![cfg(feature = "whisper")]
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use candle_core::{DType, Device, Tensor, safetensors};
use common::{error, json, samples, text, write_wav};
use otolith::audio::Clip;
use otolith::embed::{Embedder, Loudness, Sound, Window, embed_clip, embed_file, open};
use otolith::testing::embed::whisper::Whisper;
use otolith::{Matrix, Result};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const MODELS: [&str; 2] = ["tiny", "bands128"];

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/whisper")
}

fn model(name: &str) -> Whisper {
    Whisper::open(&data().join(name)).unwrap()
}

fn sound() -> Vec<f32> {
    let reader = hound::WavReader::open(data().join("sound.wav")).unwrap();
    reader.into_samples::<i16>().map(|sample| f32::from(sample.unwrap()) / 32_768.0).collect()
}

/// Rows, columns and values of an array file.
fn array(path: &Path) -> (usize, usize, Vec<f32>) {
    let array = npyz::NpyFile::new(std::io::BufReader::new(fs::File::open(path).unwrap())).unwrap();
    let shape = array.shape().to_vec();
    assert_eq!(shape.len(), 2);
    (shape[0] as usize, shape[1] as usize, array.into_vec().unwrap())
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn embed(model: &Whisper, samples: &[f32]) -> Result<Matrix> {
    // What is known of the whole recording must not matter.
    model.embed(Window { whole: Loudness { mean: 17.0, deviation: 0.001 }, ..Window::whole(samples) })
}

#[test]
fn log_mel_frames_and_rows_are_those_of_the_reference() {
    for name in MODELS {
        let model = model(name);
        let (bands, frames, expected) = array(&data().join(name).join("log_mel.npy"));
        let log_mel = model.log_mel(&sound()).unwrap();
        assert_eq!(log_mel.dims(), [1, bands, 2 * model.config().max_source_positions], "{name}");
        let seen: Vec<f32> = log_mel.narrow(2, 0, frames).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let input = largest_difference(&seen, &expected);
        assert!(input <= 5e-5, "{name}: log-mel frames differ by {input}");
        let silence: Vec<f32> = log_mel.narrow(2, frames, 1).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let least = expected.iter().copied().fold(f32::INFINITY, f32::min);
        assert!(silence.iter().all(|value| (value - least).abs() <= 1e-6), "{name}: {silence:?}");

        let (rows, width, expected) = array(&data().join(name).join("last.npy"));
        let matrix = embed(&model, &sound()).unwrap();
        assert_eq!((matrix.rows(), matrix.dim(), model.dim()), (rows, width, width), "{name}");
        let output = largest_difference(matrix.values(), &expected);
        assert!(output <= 2e-5, "{name}: rows differ by {output}");
        println!("figure whisper_{name}_error = {output:.1e} (log-mel {input:.1e})");
    }
}

#[test]
fn half_a_row_makes_no_row_and_what_is_shorter_than_a_row_makes_one() {
    let model = model("bands128");
    assert_eq!((model.hop(), model.rows_per_second(), model.window_rows()), (320, 50.0, Some(200)));
    let all = embed(&model, &sound()).unwrap();
    let mut silent = sound();
    silent.resize(4 * 16_000 + 319, 0.0);
    let longer = embed(&model, &silent).unwrap();
    assert_eq!((all.rows(), longer.rows()), (65, 200));
    assert_eq!(longer.values()[..all.values().len()], *all.values(), "silence is what a window is filled up with");
    assert_eq!(embed(&model, &silent[..959]).unwrap().rows(), 2);
    let short = Clip { samples: silent[..10].to_vec(), rate: 16_000 };
    assert_eq!(embed_clip(&model, &short).unwrap().rows(), 1);

    let expected = "expected 320 to 64319 samples, found";
    for wrong in [0, 319, 64_320] {
        silent.resize(wrong, 0.0);
        let error = embed(&model, &silent).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_long_sound_goes_through_in_equal_windows() {
    let (model, folder) = (model("bands128"), tempfile::tempdir().unwrap());
    let path = folder.path().join("long.wav");
    write_wav(&path, 16_000, &samples(3, 9 * 16_000 + 100));
    let whole = embed_file(&model, &path).unwrap().matrix;
    assert_eq!(whole.rows(), 450);
    let read = Sound::read(&path, 16_000).unwrap().embed(&model).unwrap().matrix;
    assert_eq!(read.values(), whole.values());
    let samples: Vec<f32> = hound::WavReader::open(&path)
        .unwrap()
        .into_samples::<i16>()
        .map(|sample| f32::from(sample.unwrap()) / 32_768.0)
        .collect();
    for (window, rows) in samples[..144_000].chunks(48_000).zip(whole.values().chunks(150 * 16)).take(2) {
        assert_eq!(embed(&model, window).unwrap().values(), rows);
    }
    assert_eq!(
        embed(&model, &samples[96_000..]).unwrap().values(),
        &whole.values()[300 * 16..],
        "the last with its rest"
    );
}

/// A copy of the smaller model with other tensors and other JSON.
fn altered(tensors: impl FnOnce(&mut HashMap<String, Tensor>), file: &str, json: impl FnOnce(&mut Value)) -> TempDir {
    let (dir, from) = (tempfile::tempdir().unwrap(), data().join("bands128"));
    let mut all = safetensors::load(from.join("model.safetensors"), &Device::Cpu).unwrap();
    tensors(&mut all);
    safetensors::save(&all, dir.path().join("model.safetensors")).unwrap();
    for name in ["config.json", "preprocessor_config.json"] {
        fs::copy(from.join(name), dir.path().join(name)).unwrap();
    }
    let path = dir.path().join(file);
    let mut value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    json(&mut value);
    fs::write(path, value.to_string()).unwrap();
    dir
}

fn with_tensors(tensors: impl FnOnce(&mut HashMap<String, Tensor>)) -> TempDir {
    altered(tensors, "config.json", |_| {})
}

#[test]
fn the_identity_is_that_of_the_numbers_and_not_of_their_files() {
    let original = model("bands128");
    let name = original.identity();
    assert!(name.starts_with("whisper/last/") && name.len() == 13 + 32, "{name}");
    let singles = with_tensors(|all| {
        let renamed = all.drain().map(|(name, tensor)| (format!("model.{name}"), tensor.to_dtype(DType::F32).unwrap()));
        *all = renamed.collect();
        // A decoder is of no interest.
        all.insert("model.decoder.layer_norm.bias".into(), Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap());
    });
    assert_eq!(Whisper::open(singles.path()).unwrap().identity(), name);
    let moved = with_tensors(|all| {
        let bias = all.get_mut("encoder.layers.1.fc2.bias").unwrap();
        *bias = (&*bias + 0.01).unwrap();
    });
    let heads = altered(|_| {}, "config.json", |config| config["encoder_attention_heads"] = json!(4));
    for other in [moved, heads] {
        let other = Whisper::open(other.path()).unwrap();
        assert_ne!(other.identity(), name);
        assert_ne!(embed(&other, &sound()).unwrap().values(), embed(&original, &sound()).unwrap().values());
    }
}

#[test]
fn each_missing_or_misshapen_tensor_is_named() {
    let all = safetensors::load(data().join("bands128/model.safetensors"), &Device::Cpu).unwrap();
    assert_eq!(all.len(), 2 * 2 + 1 + 2 * 15 + 2);
    for name in all.keys() {
        let missing = with_tensors(|all| drop(all.remove(name)));
        let error = Whisper::open(missing.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("`{name}`")) && error.contains("found no tensor of that name"), "{error}");
        let flat = with_tensors(|all| {
            let tensor = all.get_mut(name).unwrap();
            *tensor = tensor.flatten_all().unwrap().unsqueeze(0).unwrap();
        });
        let error = Whisper::open(flat.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("`{name}`")) && error.contains("found [1, "), "{error}");
    }
}

#[test]
fn what_is_not_built_or_makes_no_sense_is_refused_with_its_field() {
    for (file, name, value) in [
        ("config.json", "model_type", json!("hubert")),
        ("config.json", "activation_function", json!("relu")),
        ("config.json", "encoder_attention_heads", json!(3)),
        ("config.json", "encoder_attention_heads", json!(0)),
        ("config.json", "encoder_attention_heads", json!(128)),
        ("config.json", "d_model", json!("16")),
        ("config.json", "d_model", json!(u64::MAX)),
        ("config.json", "max_source_positions", json!(1_501)),
        ("config.json", "encoder_layers", json!(-1)),
        ("config.json", "num_mel_bins", json!(1e3)),
        ("preprocessor_config.json", "feature_size", json!(80)),
        ("preprocessor_config.json", "sampling_rate", json!(8_000)),
        ("preprocessor_config.json", "hop_length", json!("160")),
        ("preprocessor_config.json", "n_fft", json!(512)),
        ("preprocessor_config.json", "n_samples", json!(480_000)),
        ("preprocessor_config.json", "dither", json!(0.1)),
    ] {
        let dir = altered(|_| {}, file, |fields| fields[name] = value);
        let error = Whisper::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(file) && error.contains(name), "{error}");
    }
    for (file, name) in [("config.json", "num_mel_bins"), ("config.json", "encoder_layers")] {
        // More than the weights have.
        let dir = altered(|_| {}, file, |fields| fields[name] = json!(fields[name].as_u64().unwrap() + 1));
        fs::remove_file(dir.path().join("preprocessor_config.json")).unwrap();
        let error = Whisper::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("tensor `encoder."), "{error}");
    }
    for file in ["config.json", "model.safetensors"] {
        let dir = with_tensors(|_| {});
        fs::remove_file(dir.path().join(file)).unwrap();
        let error = Whisper::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(file), "{error}");
        fs::write(dir.path().join(file), "{").unwrap();
        let error = Whisper::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(file), "{error}");
    }
    let bare = with_tensors(|_| {});
    fs::remove_file(bare.path().join("preprocessor_config.json")).unwrap();
    assert_eq!(Whisper::open(bare.path()).unwrap().identity(), model("bands128").identity());
}

#[test]
fn the_command_line_takes_it_as_any_other_model() {
    let (folder, dir) = (tempfile::tempdir().unwrap(), data().join("bands128"));
    let (model, wav, out) = (text(&dir), data().join("sound.wav"), folder.path().join("rows.npy"));
    let (wav, identity) = (text(&wav), self::model("bands128").identity().to_owned());
    let told = json(&["embed", wav, "--model", model]);
    assert_eq!((&told["rows"], &told["dim"], &told["rows_per_second"]), (&json!(65), &json!(16), &json!(50.0)));
    assert_eq!(told["model"], identity.as_str());
    json(&["embed", wav, "--model", model, "--layer", "last", "--out", text(&out)]);
    let (rows, dim, values) = array(&out);
    assert_eq!((rows, dim), (65, 16));
    assert!(largest_difference(&values, &array(&dir.join("last.npy")).2) <= 2e-5);
    for layer in ["features", "mean", "2"] {
        let error = error(&["embed", wav, "--model", model, "--layer", layer], 1);
        assert!(error.contains("layer") && error.contains("`last`") && error.contains(layer), "{error}");
    }
    assert_eq!(open(model, None).unwrap().identity(), identity);

    let (recordings, db) = (folder.path().join("recordings"), folder.path().join("sounds.otolith"));
    for seed in 0..4 {
        write_wav(&recordings.join(format!("{seed}.wav")), 16_000, &samples(seed, 16_000));
    }
    assert_eq!(json(&["add", text(&db), text(&recordings), "--model", model])["added"], 4);
    let query = recordings.join("2.wav");
    let found = json(&["search", text(&db), text(&query), "--model", model]);
    assert!(found["hits"][0]["id"].as_str().unwrap().contains('2'), "{found}");
    let error = error(&["search", text(&db), text(&query)], 1);
    assert!(error.contains("whisper/last/"), "the rows of another model: {error}");
}
