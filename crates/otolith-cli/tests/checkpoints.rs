//! The binary on wav2vec2 and HuBERT checkpoints: `embed` gives the reference's rows, and every command that takes a
//! model works with each kind of checkpoint.
//!
//! The fixtures are those of `tests/wav2vec2.rs`; the complete set beside the checkout is used where it is.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use common::{error, json, samples, text, write_wav};
use std::fs;
use std::path::{Path, PathBuf};

/// The complete fixtures, or those that the product carries.
fn fixtures() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let complete = root.join("../../../shared/fixtures/wav2vec2");
    if complete.exists() {
        return complete;
    }
    eprintln!("SKIPPED: the complete fixtures are not at {}; the product's own are used", complete.display());
    root.join("../../tests/data/wav2vec2")
}

fn checkpoints() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fixtures().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.join("config.json").exists());
    found.sort();
    found
}

/// Shape and values of an array file.
fn array(path: &Path) -> (Vec<usize>, Vec<f32>) {
    let file = fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let array = npyz::NpyFile::new(std::io::BufReader::new(file)).unwrap();
    (array.shape().iter().map(|&dim| dim as usize).collect(), array.into_vec().unwrap())
}

/// What `embed` should give, layer by layer: rows of a stored tensor, without the axes of layer and clip.
fn expected_layers(expected: &Path, case: &str) -> Vec<(String, Vec<f32>)> {
    let stored = |tensor: &str| {
        let path = expected.join(format!("{case}.{tensor}.npy"));
        path.exists().then(|| array(&path))
    };
    let mut layers = Vec::new();
    if let Some((_, features)) = stored("extract_features") {
        layers.push(("features".to_owned(), features));
    }
    let last = stored("last_hidden_state");
    if let (Some((shape, states)), Some((_, last))) = (stored("hidden_states"), &last) {
        let depth = shape[0] - 1;
        let states: Vec<&[f32]> = states.chunks_exact(last.len()).collect();
        layers.extend(states.iter().take(depth).enumerate().map(|(n, state)| (n.to_string(), state.to_vec())));
        layers.push((depth.to_string(), last.clone()));
        let mean = |at: usize| {
            let sum: f64 = states[..depth].iter().map(|state| f64::from(state[at])).sum();
            ((sum + f64::from(last[at])) / (depth + 1) as f64) as f32
        };
        layers.push(("mean".to_owned(), (0..last.len()).map(mean).collect()));
    } else if let Some((_, last)) = last {
        let config: serde_json::Value =
            serde_json::from_slice(&fs::read(expected.with_file_name("config.json")).unwrap()).unwrap();
        layers.push((config["num_hidden_layers"].to_string(), last));
    }
    layers
}

#[test]
fn embed_gives_the_rows_of_the_reference() {
    let (root, folder) = (fixtures(), tempfile::tempdir().unwrap());
    let out = folder.path().join("x.npy");
    let (mut compared, mut worst) = (0, 0.0_f32);
    for checkpoint in checkpoints() {
        let name = checkpoint.file_name().unwrap().to_str().unwrap();
        let expected = if name == "base_group_prefixed_old" { root.join("base_group") } else { checkpoint.clone() };
        for case in ["min400", "odd", "s5"] {
            let sound = folder.path().join(format!("{case}.wav"));
            let layers = expected_layers(&expected.join("expected"), case);
            if !layers.is_empty() && !sound.exists() {
                let (_, samples) = array(&root.join(format!("inputs/{case}.npy")));
                write_exact(&sound, &samples);
            }
            for (layer, wanted) in layers {
                let told = json(&[
                    "embed",
                    text(&sound),
                    "--model",
                    text(&checkpoint),
                    "--layer",
                    &layer,
                    "--out",
                    text(&out),
                ]);
                let (shape, got) = array(&out);
                assert_eq!(told["rows"], shape[0], "{name} {case} {layer}");
                assert_eq!(told["dim"], shape[1], "{name} {case} {layer}");
                assert_eq!(got.len(), wanted.len(), "{name} {case} {layer}");
                for (got, wanted) in got.iter().zip(&wanted) {
                    let error = (got - wanted).abs();
                    assert!(error <= 2e-5 + 2e-6 * wanted.abs(), "{name} {case} {layer}: {got} for {wanted}");
                    worst = worst.max(error);
                }
                compared += 1;
            }
        }
    }
    println!("figure checkpoint_embeddings = {compared}");
    println!("figure checkpoint_worst_error = {worst:.2e}");
    assert!(compared >= 30, "only {compared} embeddings were compared");
}

/// A WAV file of 16 bits that holds exactly these values; they are multiples of 1 / 32768.
fn write_exact(path: &Path, samples: &[f32]) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for sample in samples {
        let whole = sample * 32_768.0;
        assert_eq!(whole, whole.round(), "no value of 16 bits");
        writer.write_sample(whole as i16).unwrap();
    }
    writer.finalize().unwrap();
}

/// Three classes of five clips in five folds, in ESC-50's layout; each class has a pitch range of its own.
fn data_set(root: &Path) {
    fs::create_dir_all(root.join("meta")).unwrap();
    let mut table = "filename,fold,target,category,esc10,src_file,take\n".to_owned();
    for fold in 1..=5 {
        for (class, name) in ["dog", "rain", "siren"].iter().enumerate() {
            let file = format!("{fold}-{fold}{class}-A-{class}.wav");
            write_wav(&root.join("audio").join(&file), 16_000, &samples((class * 100 + fold) as u32, 8_000));
            table += &format!("{file},{fold},{class},{name},False,{fold}{class},A\n");
        }
    }
    fs::write(root.join("meta/esc50.csv"), table).unwrap();
}

const ARMS: [&str; 13] = [
    "concat-64",
    "flat",
    "mean",
    "mean-std",
    "maxsim",
    "maxsim-white",
    "codes",
    "fused",
    "adapted",
    "knn",
    "linear-probe",
    "fine-tune",
    "tuned",
];

#[test]
fn compare_runs_every_arm_on_every_kind_of_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    data_set(folder.path());
    for checkpoint in checkpoints() {
        let told = json(&["compare", "--model", text(&checkpoint), "--data", text(folder.path()), "--epochs", "1"]);
        let arms = told["arms"].as_array().unwrap();
        let names: Vec<&str> = arms.iter().map(|arm| arm["arm"].as_str().unwrap()).collect();
        // A network with a batch norm can be searched with, but not trained.
        let trained = if checkpoint.ends_with("hubert_switches") { 11 } else { 13 };
        assert_eq!(names, ARMS[..trained], "{}", checkpoint.display());
        assert_eq!(told["skipped"].as_array().unwrap().len(), 13 - trained);
        for arm in arms {
            let top1 = arm["top1"].as_f64().unwrap();
            assert!((0.0..=1.0).contains(&top1), "{}: {arm}", checkpoint.display());
        }
    }
}

#[test]
fn a_collection_keeps_to_its_checkpoint_and_layer() {
    let folder = tempfile::tempdir().unwrap();
    let sounds = folder.path().join("sounds");
    for number in 0..6 {
        write_wav(&sounds.join(format!("{number}.wav")), 22_050, &samples(number, 22_050));
    }
    let root = fixtures();
    let (base, hubert) = (root.join("base_group"), root.join("hubert_base_bin"));
    let (db, sounds) = (folder.path().join("db"), text(&sounds));
    let (db, base, hubert) = (text(&db), text(&base), text(&hubert));
    assert_eq!(json(&["add", db, sounds, "--model", base, "--layer", "2"])["added"], 6);
    assert_eq!(json(&["add", db, sounds, "--model", base, "--layer", "2"])["skipped"], 6);

    let query = format!("{sounds}/3.wav");
    let found = json(&["search", db, &query, "--model", base, "--layer", "2", "-k", "2", "--explain"]);
    assert_eq!(found["hits"][0]["id"], "3.wav");
    assert_eq!(found["certificate"]["exact"], true);
    for wrong in [
        &["search", db, &query][..],
        &["search", db, &query, "--model", base],
        &["search", db, &query, "--model", base, "--layer", "1"],
        &["search", db, &query, "--model", hubert, "--layer", "2"],
        &["add", db, sounds, "--model", hubert, "--layer", "2"],
    ] {
        let message = error(wrong, 1);
        assert!(message.contains("--model and --layer") && message.contains("wav2vec2/2/"), "{message}");
    }
    let message = error(&["embed", &query, "--model", base, "--layer", "99"], 1);
    assert!(message.contains("99") && message.contains("last"), "{message}");
    let message = error(&["embed", &query, "--model", base, "--layer", "top"], 1);
    assert!(message.contains("`top`") && message.contains("projected"), "{message}");

    let made = json(&["view", "create", db, "white", "every:2", "whiten:16", "normalise", "--metric", "cosine"]);
    assert_eq!(made["views"][0]["dim"], 16);
    let found = json(&["search", db, &query, "--model", base, "--layer", "2", "--view", "white"]);
    assert_eq!(found["hits"][0]["id"], "3.wav");
    assert_eq!(json(&["verify", db, "--deep"])["damage"].as_array().unwrap().len(), 0);
}

#[test]
fn layers_of_one_checkpoint_have_the_shapes_its_config_says() {
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("a.wav");
    write_wav(&sound, 16_000, &samples(1, 16_000));
    for checkpoint in checkpoints() {
        let config: serde_json::Value =
            serde_json::from_slice(&fs::read(checkpoint.join("config.json")).unwrap()).unwrap();
        let wide =
            |layer| json(&["embed", text(&sound), "--model", text(&checkpoint), "--layer", layer])["dim"].clone();
        assert_eq!(wide("projected"), config["hidden_size"], "{}", checkpoint.display());
        assert_eq!(wide("features"), *config["conv_dim"].as_array().unwrap().last().unwrap());
    }
}

#[cfg(not(feature = "whisper"))]
#[test]
fn a_whisper_checkpoint_says_which_feature_it_needs() {
    let wav = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/whisper/sound.wav");
    let error = error(&["embed", text(&wav), "--model", text(&wav.with_file_name("tiny"))], 1);
    assert!(error.contains("tiny") && error.contains("without the feature `whisper`"), "{error}");
}
