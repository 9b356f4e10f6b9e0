//! The promise: wav2vec2 and HuBERT checkpoints give the rows that the original implementation gives.
//!
//! The fixtures in `tests/data/wav2vec2` are small random checkpoints of every kind with the reference's outputs
//! (`make_fixtures.py` there made them); a fuller set is checked when it lies beside the checkout.
#![cfg(all(feature = "models", feature = "cli"))]
#![allow(clippy::unwrap_used)]

use candle_core::Tensor;
use otolith::embed::wav2vec2::{Classifier, Layer, Wav2Vec2};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[path = "wav2vec2/scale.rs"]
mod scale;

fn ours() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/wav2vec2")
}

/// The complete fixtures, where they are.
fn complete() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures/wav2vec2");
    if !dir.exists() {
        eprintln!("SKIPPED: the complete fixtures are not at {}", dir.display());
    }
    dir.exists().then_some(dir)
}

/// Shape and values of an array file.
fn array(path: &Path) -> (Vec<usize>, Vec<f32>) {
    let file = std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let array = npyz::NpyFile::new(std::io::BufReader::new(file)).unwrap();
    (array.shape().iter().map(|dim| *dim as usize).collect(), array.into_vec().unwrap())
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// One input of the fixtures: clips of equal length, and of each the frames that count.
struct Case {
    clips: Vec<Vec<f32>>,
    kept: Option<Vec<usize>>,
}

impl Case {
    fn read(root: &Path, model: &Wav2Vec2, name: &str) -> Case {
        let inputs = root.join("inputs");
        if !name.starts_with("pair") {
            let (_, raw) = array(&inputs.join(format!("{name}.npy")));
            let prepared = model.prepare(&raw).into_owned();
            if model.preprocessor().do_normalize {
                let (_, expected) = array(&inputs.join(format!("{name}.input_values.npy")));
                assert!(largest_difference(&prepared, &expected) <= 5e-7, "{name}: prepared samples");
            }
            return Case { clips: vec![prepared], kept: None };
        }
        let (shape, batch) = array(&inputs.join("pair_mask.input_values.npy"));
        let lengths = ["pair_long", "pair_short"].map(|clip| array(&inputs.join(format!("{clip}.npy"))).1.len());
        let kept = lengths.map(|length| model.config().frames(length)).to_vec();
        Case {
            clips: batch.chunks_exact(shape[1]).map(<[f32]>::to_vec).collect(),
            kept: (name == "pair_mask").then_some(kept),
        }
    }
}

/// Every tensor that the fixtures know, computed for one case.
fn compute(model: &Wav2Vec2, head: Option<&Classifier>, case: &Case) -> Vec<(&'static str, Tensor)> {
    let conv: Vec<Tensor> = case.clips.iter().map(|clip| model.conv(clip).unwrap()).collect();
    let conv = Tensor::cat(&conv, 0).unwrap();
    let features = model.features(&conv).unwrap();
    let kept = case.kept.as_deref();
    let states = model.encode(&model.project(&features).unwrap(), kept).unwrap();
    let mut v4 = states.states.clone();
    *v4.last_mut().unwrap() = states.last.clone();
    let mut all = vec![
        ("conv", conv),
        ("extract_features", features),
        ("hidden_states", Tensor::stack(&states.states, 0).unwrap()),
        ("hidden_states_v4", Tensor::stack(&v4, 0).unwrap()),
        ("last_hidden_state", states.last.clone()),
    ];
    if let Some(head) = head {
        all.push(("logits", head.logits(&states, kept).unwrap()));
    }
    all
}

/// Compares every stored tensor of a folder; its `expected` may lie in another folder. Returns how many there were and
/// the largest error.
fn check_folder(root: &Path, folder: &str, expected: &str) -> (usize, f32) {
    let (dir, expected) = (root.join(folder), root.join(expected).join("expected"));
    let head = folder.starts_with("classify").then(|| Classifier::open(&dir).unwrap());
    let alone = head.is_none().then(|| Wav2Vec2::open(&dir, Layer::Mean).unwrap());
    let model = head.as_ref().map_or_else(|| alone.as_ref().unwrap(), Classifier::model);
    let files: BTreeSet<String> =
        expected.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let cases: BTreeSet<&str> = files.iter().map(|file| file.split('.').next().unwrap()).collect();
    let (mut count, mut worst) = (0, 0.0_f32);
    for case in cases {
        for (tensor, got) in compute(model, head.as_ref(), &Case::read(root, model, case)) {
            let name = format!("{case}.{tensor}.npy");
            if !files.contains(&name) {
                continue;
            }
            let (shape, wanted) = array(&expected.join(&name));
            assert_eq!(got.dims(), shape, "{folder}/{name}");
            for (got, wanted) in values(&got).iter().zip(&wanted) {
                let error = (got - wanted).abs();
                assert!(error <= 2e-5 + 2e-6 * wanted.abs(), "{folder}/{name}: {got} for {wanted}");
                worst = worst.max(error);
            }
            count += 1;
        }
    }
    let elsewhere = files.iter().filter(|file| file.ends_with("logits_v4.npy")).count();
    assert_eq!(count + elsewhere, files.len(), "{folder}: not every stored tensor was compared");
    (count, worst)
}

/// Every folder of a set of fixtures.
fn check_all(root: &Path) -> (usize, f32) {
    let (mut count, mut worst) = (0, 0.0_f32);
    let mut folders: Vec<String> =
        root.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    folders.retain(|folder| root.join(folder).join("config.json").exists());
    folders.sort();
    for folder in folders {
        let expected = if folder == "base_group_prefixed_old" { "base_group" } else { &folder };
        let (found, error) = check_folder(root, &folder, expected);
        println!("{folder}: {found} tensors, largest error {error:.1e}");
        assert!(found > 0, "{folder}");
        (count, worst) = (count + found, worst.max(error));
    }
    (count, worst)
}

#[test]
fn every_stored_tensor_of_the_reference_is_met() {
    let (count, worst) = check_all(&ours());
    println!("figure wav2vec2_tensors = {count}");
    println!("figure wav2vec2_worst_error = {worst:.2e}");
    assert!(count >= 80, "only {count} tensors were compared");
}

#[test]
fn the_complete_fixtures_are_met() {
    let Some(root) = complete() else { return };
    let (count, worst) = check_all(&root);
    println!("figure wav2vec2_complete_tensors = {count}");
    println!("figure wav2vec2_complete_worst_error = {worst:.2e}");
    assert!(count >= 139, "only {count} tensors were compared");
}

#[test]
fn the_encoder_of_true_size_gives_the_exact_sums_and_samples() {
    let expected = std::fs::read_to_string(ours().join("conv_scale/expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&expected).unwrap();
    for (seed, first) in expected["first_values"].as_object().unwrap() {
        let first: Vec<f32> = first.as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect();
        assert_eq!(scale::values(seed.parse().unwrap(), 4, 1.0, 0.0), first);
    }
    for norm in ["group", "layer"] {
        let dir = tempfile::tempdir().unwrap();
        scale::write(dir.path(), norm);
        let model = Wav2Vec2::open(dir.path(), Layer::Features).unwrap();
        let conv = model.conv(&scale::input()).unwrap();
        let features = model.features(&conv).unwrap();
        for (name, got) in [("conv", values(&conv)), ("extract_features", values(&features))] {
            let expected = &expected[format!("{norm}.{name}")];
            let mut worst = 0.0_f64;
            for sample in expected["samples"].as_array().unwrap() {
                let [frame, channel] = [0, 1].map(|index| sample[index].as_u64().unwrap() as usize);
                let error = f64::from(got[frame * scale::CHANNELS + channel]) - sample[2].as_f64().unwrap();
                worst = worst.max(error.abs());
            }
            println!("figure wav2vec2_true_size_{norm}_{name}_worst_error = {worst:.2e}");
            assert!(worst <= 2e-5, "{norm} {name}: {worst:e}");
            let sum = |of: fn(f64) -> f64| got.iter().map(|value| of(f64::from(*value))).sum::<f64>();
            let sums = [("sum", sum(|x| x)), ("sum_abs", sum(f64::abs)), ("sum_squares", sum(|x| x * x))];
            for (which, sum) in sums {
                // 127,488 values, each off by about 1e-6 with either sign.
                let difference = (sum - expected[which].as_f64().unwrap()).abs();
                assert!(difference <= 0.05, "{norm} {name} {which}: {sum} is off by {difference}");
            }
        }
    }
}
