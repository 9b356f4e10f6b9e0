//! The promise: wav2vec2 and HuBERT checkpoints give the rows that the original implementation gives.
//!
//! The fixtures in `tests/data/wav2vec2` are small random checkpoints of every kind with the reference's outputs
//! (`make_fixtures.py` there made them); a fuller set is checked when it lies beside the checkout.
#![cfg(feature = "models")]
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use candle_core::Tensor;
use otolith::embed::{Embedder, Loudness, Window};
use otolith::testing::embed::wav2vec2::{Classifier, Layer, States, Wav2Vec2};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

mod formats;
mod hostile;
mod long;
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

/// A folder of ours in which `change` has rewritten `config.json`.
fn with_config(folder: &str, change: impl FnOnce(&mut serde_json::Value)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in ours().join(folder).read_dir().unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            std::fs::write(dir.path().join(entry.file_name()), std::fs::read(entry.path()).unwrap()).unwrap();
        }
    }
    let mut config = serde_json::from_slice(&std::fs::read(dir.path().join("config.json")).unwrap()).unwrap();
    change(&mut config);
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    dir
}

fn clip(samples: &[f32]) -> Window<'_> {
    // What is known of the whole recording must not matter.
    Window { whole: Loudness { mean: 17.0, deviation: 0.001 }, ..Window::whole(samples) }
}

fn sound(name: &str) -> Vec<f32> {
    array(&ours().join(format!("inputs/{name}.npy"))).1
}

#[test]
fn a_weighted_sum_takes_the_last_state_as_the_saving_generation_meant_it() {
    let folder = "classify_large_weighted";
    type Change = fn(&mut serde_json::Value);
    let versions: [(Change, &str); 3] = [
        (|config| config["transformers_version"] = "5.0.0".into(), "logits"),
        (|config| config["transformers_version"] = "4.57.6".into(), "logits_v4"),
        (|config| config["transformers_version"] = serde_json::Value::Null, "logits_v4"),
    ];
    for (version, tensor) in versions {
        let dir = with_config(folder, version);
        let head = Classifier::open(dir.path()).unwrap();
        assert_eq!(head.labels(), ["dog", "rain", "crow", "clock", "siren"]);
        for name in ["min400", "odd", "pair_mask"] {
            let (_, wanted) = array(&ours().join(format!("{folder}/expected/{name}.{tensor}.npy")));
            let computed = compute(head.model(), Some(&head), &Case::read(&ours(), head.model(), name));
            let (_, got) = computed.last().unwrap();
            assert!(largest_difference(&values(got), &wanted) <= 2e-5, "{name}.{tensor}");
        }
    }
}

#[test]
fn a_clip_has_a_frame_every_320_samples_from_400_on() {
    let table = [
        (400, 1),
        (719, 1),
        (720, 2),
        (9_001, 27),
        (12_345, 38),
        (16_000, 49),
        (80_000, 249),
        (160_000, 499),
        (480_000, 1_499),
    ];
    let model = Wav2Vec2::open(&ours().join("base_group"), Layer::Features).unwrap();
    assert_eq!((model.hop(), model.receptive_field(), model.dim()), (320, 400, 32));
    assert_eq!((model.sample_rate(), model.rows_per_second(), model.window_rows()), (16_000, 50.0, Some(1_500)));
    for (samples, frames) in table {
        assert_eq!(model.config().frames(samples), frames);
    }
    for (samples, frames) in &table[..7] {
        assert_eq!(model.embed(clip(&vec![0.5; *samples])).unwrap().rows(), *frames);
    }
    for samples in [0, 1, 399] {
        let error = model.embed(clip(&vec![0.5; samples])).unwrap_err().to_string();
        assert!(error.contains("at least 400 samples"), "{error}");
    }
}

#[test]
fn each_layer_gives_the_state_of_its_number_and_loads_no_more_than_it_needs() {
    for folder in ["base_group", "large_layer", "hubert_switches"] {
        let dir = ours().join(folder);
        let samples = sound("odd");
        let whole = Wav2Vec2::open(&dir, Layer::Mean).unwrap();
        let conv = whole.conv(&whole.prepare(&samples)).unwrap();
        let features = whole.features(&conv).unwrap();
        let projected = whole.project(&features).unwrap();
        let States { mut states, last } = whole.encode(&projected, None).unwrap();
        let embed = |layer: Layer| Wav2Vec2::open(&dir, layer).unwrap().embed(clip(&samples)).unwrap().into_values();
        assert_eq!(embed(Layer::Features), values(&features));
        assert_eq!(embed(Layer::Projected), values(&projected));
        for (n, state) in states.iter().enumerate().take(3) {
            assert_eq!(embed(Layer::State(n)), values(state), "{folder} {n}");
        }
        assert_eq!(embed(Layer::State(3)), values(&last));
        *states.last_mut().unwrap() = last;
        let mean = Tensor::stack(&states, 0).unwrap().mean(0).unwrap();
        assert!(largest_difference(&embed(Layer::Mean), &values(&mean)) < 1e-6);

        assert!(Wav2Vec2::open(&dir, Layer::State(4)).unwrap_err().to_string().contains("beyond 3"));
        let shallow = Wav2Vec2::open(&dir, Layer::Features).unwrap();
        assert!(shallow.project(&features).unwrap_err().to_string().contains("not loaded"));
        assert!(shallow.encode(&projected, None).unwrap_err().to_string().contains("not loaded"));
    }
    // The encoder of true size has no tensor behind the features, and opens.
    let dir = tempfile::tempdir().unwrap();
    scale::write(dir.path(), "layer");
    assert_eq!(Wav2Vec2::open(dir.path(), Layer::Features).unwrap().dim(), 512);
    let error = Wav2Vec2::open(dir.path(), Layer::Projected).unwrap_err().to_string();
    assert!(error.contains("`feature_projection.projection.weight`: expected [768, 512]"), "{error}");
}

#[test]
fn layers_are_named_as_on_the_command_line() {
    for (name, layer) in [
        ("features", Layer::Features),
        ("projected", Layer::Projected),
        ("mean", Layer::Mean),
        ("0", Layer::State(0)),
        ("12", Layer::State(12)),
    ] {
        assert_eq!(name.parse::<Layer>().unwrap(), layer);
        assert_eq!(layer.to_string(), name);
    }
    for name in ["", "-1", "Features", "last", "1.0"] {
        assert!(name.parse::<Layer>().unwrap_err().to_string().contains("none of features"), "{name}");
    }
}

/// Hidden states of a clip alone, and of the same clip padded with `padding` and masked: the largest difference.
fn padding_matters_by(folder: &str, padding: f32) -> f32 {
    let model = Wav2Vec2::open(&ours().join(folder), Layer::Mean).unwrap();
    let run = |samples: &[f32], kept: Option<&[usize]>| {
        let features = model.features(&model.conv(samples).unwrap()).unwrap();
        model.encode(&model.project(&features).unwrap(), kept).unwrap().last
    };
    let clip = model.prepare(&sound("pair_short")).into_owned();
    let mut padded = clip.clone();
    padded.resize(16_000, padding);
    let alone = run(&clip, None);
    assert_eq!(values(&alone), values(&run(&clip, Some(&[27]))), "a mask of ones is no mask");
    let masked = run(&padded, Some(&[27])).narrow(1, 0, 27).unwrap();
    largest_difference(&values(&alone), &values(&masked))
}

#[test]
fn padded_and_masked_a_clip_is_itself_with_layer_norms_only() {
    for padding in [0.0, 3.0] {
        let difference = padding_matters_by("large_layer", padding);
        assert!(difference < 2e-5, "{difference}");
    }
    // The channel norm looks at the whole clip, so padding leaks: such models get clips one by one.
    assert!(padding_matters_by("base_group", 0.0) > 0.5);
}

#[test]
fn masks_that_do_not_fit_are_refused() {
    let model = Wav2Vec2::open(&ours().join("base_group"), Layer::Mean).unwrap();
    let projected = Tensor::zeros((2, 5, 48), candle_core::DType::F32, &candle_core::Device::Cpu).unwrap();
    assert!(model.encode(&projected, Some(&[5, 1])).is_ok());
    for kept in [&[5][..], &[5, 0], &[5, 6], &[1, 1, 1]] {
        assert!(model.encode(&projected, Some(kept)).is_err(), "{kept:?}");
    }
    let narrow = projected.narrow(2, 0, 40).unwrap().contiguous().unwrap();
    assert!(model.encode(&narrow, None).is_err());
}

#[test]
fn silence_and_loudness_give_finite_rows_and_broken_samples_an_error() {
    for folder in ["base_group", "large_layer", "hubert_switches"] {
        let model = Wav2Vec2::open(&ours().join(folder), Layer::Mean).unwrap();
        for samples in [vec![0.0; 4_000], vec![1.0; 4_000], vec![1e-20; 4_000]] {
            assert_eq!(model.embed(clip(&samples)).unwrap().rows(), 12);
        }
        let mut samples = sound("odd");
        samples[7_000] = f32::NAN;
        assert!(model.embed(clip(&samples)).is_err(), "{folder}");
    }
    // Normalised models do not hear how loud a clip is.
    let model = Wav2Vec2::open(&ours().join("base_group"), Layer::State(3)).unwrap();
    let loud = sound("odd");
    let soft: Vec<f32> = loud.iter().map(|sample| sample / 16.0).collect();
    let [loud, soft] = [loud, soft].map(|samples| model.embed(clip(&samples)).unwrap().into_values());
    assert!(largest_difference(&loud, &soft) < 1e-3);
}

#[test]
fn a_frame_of_a_long_clip_equals_that_frame_alone() {
    // 249 frames take several blocks of the encoder; each sees only its own samples when norms are per frame.
    let model = Wav2Vec2::open(&ours().join("large_layer"), Layer::Features).unwrap();
    let samples = model.prepare(&scale::input()).into_owned();
    let whole = model.conv(&samples).unwrap();
    for frame in (0..249).step_by(31).chain([63, 64, 65, 248]) {
        let alone = model.conv(&samples[frame * 320..][..400]).unwrap();
        let inside = whole.narrow(1, frame, 1).unwrap();
        assert!(largest_difference(&values(&alone), &values(&inside)) < 1e-5, "{frame}");
    }
}

#[test]
fn the_identity_follows_what_is_computed_and_not_how_it_is_stored() {
    let identity = |folder: &str, layer: &str| {
        let model = Wav2Vec2::open(&ours().join(folder), layer.parse().unwrap()).unwrap();
        model.identity().to_owned()
    };
    // Collections remember it, so it must never change.
    assert_eq!(identity("base_group", "features"), "wav2vec2/features/c89ab57d58a3737b09da51e2949e1ecb");
    let mut seen = BTreeSet::new();
    for layer in ["features", "projected", "0", "1", "2", "3", "mean"] {
        assert!(seen.insert(identity("base_group", layer)), "{layer}");
        assert_eq!(identity("base_group", layer), identity("base_group_prefixed_old", layer));
        assert!(seen.insert(identity("base_group_bf16", layer)), "{layer}");
    }
    let changed = |change: fn(&mut serde_json::Value), layer| {
        let dir = with_config("base_group", change);
        Wav2Vec2::open(dir.path(), layer).unwrap().identity().to_owned()
    };
    // Heads do not show in any shape; a label does not show in any row.
    let heads: fn(&mut serde_json::Value) = |config| config["num_attention_heads"] = 2.into();
    assert!(seen.insert(changed(heads, Layer::State(1))));
    assert!(!seen.insert(changed(heads, Layer::Features)));
    assert!(!seen.insert(changed(|config| config["id2label"] = serde_json::json!({"0": "dog"}), Layer::State(1))));
}

#[test]
fn clips_embedded_side_by_side_equal_those_embedded_one_by_one() {
    use rayon::prelude::*;
    let model = Wav2Vec2::open(&ours().join("base_group"), Layer::Mean).unwrap();
    let clips: Vec<Vec<f32>> = (0..24).map(|seed| scale::values(seed, 8_000 + 500 * seed as usize, 0.5, 0.1)).collect();
    let alone: Vec<_> = clips.iter().map(|samples| model.embed(clip(samples)).unwrap()).collect();
    let together: Vec<_> = clips.par_iter().map(|samples| model.embed(clip(samples)).unwrap()).collect();
    assert_eq!(alone, together);
}
