//! The promise: fine-tuning learns, goes on as if it had never been interrupted, refuses what cannot work with a
//! reason, and leaves a checkpoint that loads anywhere.
#![cfg(feature = "models")]
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use otolith::classify::fine_tune::{Clips, Corpus, Keep, Progress, Settings, Trained, fine_tune, predict};
use otolith::testing::embed::wav2vec2::{Classifier, Input, Still, Trainable};
use otolith::{Precision, Result};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

/// Tones and hisses: class 0 low, class 1 high, class 2 noise; half a second each, every fifth a little shorter.
struct Tones {
    count: usize,
    classes: usize,
    samples: usize,
}

impl Clips for Tones {
    fn count(&self) -> usize {
        self.count
    }

    fn name(&self, clip: usize) -> String {
        format!("tone-{clip}")
    }

    fn label(&self, clip: usize) -> usize {
        clip % self.classes
    }

    fn samples(&self, clip: usize) -> Result<Vec<f32>> {
        let mut state = clip as u32 * 7_919 + 1;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state as f32 / u32::MAX as f32 - 0.5
        };
        let pitch = [300.0, 2_000.0, 0.0][self.label(clip)] * (1.0 + 0.2 * noise());
        let length = if clip % 5 == 4 { self.samples * 9 / 10 } else { self.samples };
        Ok((0..length).map(|t| (pitch * std::f32::consts::TAU * t as f32 / 16_000.0).sin() + 0.3 * noise()).collect())
    }
}

fn tones() -> Tones {
    Tones { count: 48, classes: 3, samples: 8_000 }
}

fn small(norm: &str, stable: bool) -> Value {
    json!({
        "model_type": "wav2vec2", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
        "conv_dim": [32, 32, 32], "conv_kernel": [16, 8, 4], "conv_stride": [4, 8, 8], "conv_bias": norm == "layer",
        "feat_extract_norm": norm, "do_stable_layer_norm": stable,
        "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4, "classifier_proj_size": 16,
        "mask_time_prob": 0.1, "mask_time_length": 2,
    })
}

fn labels() -> Vec<String> {
    ["low", "high", "hiss"].map(str::to_owned).to_vec()
}

fn settings() -> Settings {
    Settings { epochs: 4, batch: 8, rate: 3e-3, ..Settings::default() }
}

/// Two thirds to train on.
fn parts(count: usize) -> (Vec<usize>, Vec<usize>) {
    (0..count).partition(|clip| clip / 3 % 3 != 2)
}

fn run(
    network: &Trainable,
    clips: &Tones,
    settings: &Settings,
    out: Option<&Path>,
    stop_after: usize,
) -> Result<Trained> {
    let corpus = Corpus::new(clips);
    let (training, validation) = parts(clips.count);
    let (stop, steps) = (AtomicBool::new(false), AtomicUsize::new(0));
    fine_tune(network, &corpus, (&training, &validation), settings, out, &stop, &|progress| {
        if matches!(progress, Progress::Step(_)) && steps.fetch_add(1, Ordering::Relaxed) + 1 == stop_after {
            stop.store(true, Ordering::Relaxed);
        }
    })
}

fn weights(network: &Trainable) -> Vec<Vec<f32>> {
    network.parameters().iter().map(|parameter| parameter.values().unwrap()).collect()
}

fn logits(network: &Trainable, clip: usize) -> Vec<f32> {
    let model = network.classifier().model();
    let conv = model.conv(&model.prepare(&tones().samples(clip).unwrap())).unwrap();
    network.logits(&Input::Conv(conv), None, &mut Still).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn a_network_learns_to_tell_tones_apart_with_every_norm() {
    for (norm, stable) in [("group", false), ("layer", true), ("group", true), ("layer", false)] {
        let network = Trainable::random(small(norm, stable), &labels(), 1).unwrap();
        let outcome =
            run(&network, &tones(), &Settings { epochs: 12, rate: 3e-3, ..settings() }, None, usize::MAX).unwrap();
        let last = outcome.epochs.last().unwrap();
        println!("figure tones_accuracy_{norm}_{stable} = {:.3}", last.accuracy);
        let best = outcome.epochs[outcome.kept.unwrap()].accuracy;
        assert!(best >= 0.9 && last.training_loss < outcome.epochs[0].training_loss, "{norm} {stable}: {outcome:?}");
        // The network has the best epoch's weights now.
        let (_, validation) = parts(48);
        let clips = tones();
        let found = predict(&network, &Corpus::new(&clips), &validation, &|_| ()).unwrap();
        let right = found.iter().filter(|one| one.ranked()[0] == one.clip % 3).count();
        assert_eq!(right as f64 / validation.len() as f64, best);
    }
}

#[test]
fn an_interrupted_run_ends_as_the_whole_one() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { accumulation: 2, weight_decay: 0.01, keep: Keep::Last, ..settings() };
    let fresh = || Trainable::random(small("layer", true), &labels(), 5).unwrap();
    let whole = fresh();
    let outcome = run(&whole, &tones(), &settings, Some(&dir.path().join("whole")), usize::MAX).unwrap();
    assert!(!outcome.stopped && outcome.epochs.len() == 4);

    let out = dir.path().join("cut");
    let mut runs = 0;
    let network = loop {
        // A network of its own each time, as in a new process; stopped in the middle of epochs and at their ends.
        let network = fresh();
        let outcome = run(&network, &tones(), &settings, Some(&out), 1 + runs).unwrap();
        runs += 1;
        if !outcome.stopped {
            break network;
        }
    };
    assert!(runs > 3, "{runs}");
    assert_eq!(weights(&network), weights(&whole));

    let other = Settings { rate: 1.0, ..settings };
    let refused = run(&fresh(), &tones(), &other, Some(&out), usize::MAX).unwrap_err().to_string();
    assert!(refused.contains("was begun with") && refused.contains("another folder"), "{refused}");
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let trained = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let network = Trainable::random(small("group", false), &labels(), 2).unwrap();
            run(&network, &tones(), &Settings { epochs: 1, ..settings() }, None, usize::MAX).unwrap();
            weights(&network)
        })
    };
    assert_eq!(trained(1), trained(3));
}

#[test]
fn a_checkpoint_gives_the_same_logits_again_and_a_frozen_encoder_stays() {
    let dir = tempfile::tempdir().unwrap();
    let network = Trainable::random(small("group", false), &labels(), 3).unwrap();
    network.save(&dir.path().join("begin"), Precision::F32).unwrap();

    // Of the same labels the head goes on; of others it is drawn anew.
    let same = Trainable::open(&dir.path().join("begin"), &labels(), true, 9).unwrap();
    assert_eq!(weights(&same), weights(&network));
    let others = Trainable::open(&dir.path().join("begin"), &["a".to_owned(), "b".to_owned()], true, 9).unwrap();
    assert_eq!(logits(&others, 0).len(), 2);

    run(&same, &tones(), &settings(), Some(&dir.path().join("tuned")), usize::MAX).unwrap();
    for (parameter, before) in same.parameters().iter().zip(weights(&network)) {
        let frozen = parameter.name().starts_with("feature_extractor.");
        assert_eq!(parameter.variable().is_none(), frozen);
        let moved = parameter.values().unwrap() != before;
        let unused = parameter.name() == "masked_spec_embed" || parameter.name().ends_with("k_proj.bias");
        assert!(moved != frozen || unused, "{}", parameter.name());
    }
    let loaded = Classifier::open(&dir.path().join("tuned")).unwrap();
    assert_eq!(loaded.labels(), labels());
    let model = loaded.model();
    let conv = model.conv(&model.prepare(&tones().samples(7).unwrap())).unwrap();
    let projected = model.project(&model.features(&conv).unwrap()).unwrap();
    let found = loaded.logits(&model.encode(&projected, None).unwrap(), None).unwrap();
    let found: Vec<f32> = found.flatten_all().unwrap().to_vec1().unwrap();
    for (found, expected) in found.iter().zip(logits(&same, 7)) {
        assert!((found - expected).abs() < 1e-5);
    }
    transformers_agree(&dir.path().join("tuned"), &same);
}

/// Has the original library load the checkpoint and compare logits, where it is installed.
fn transformers_agree(dir: &Path, network: &Trainable) {
    let model = network.classifier().model();
    let mut bytes = Vec::new();
    let samples = tones().samples(7).unwrap();
    let prepared = model.prepare(&samples);
    prepared.iter().for_each(|sample| bytes.extend(sample.to_le_bytes()));
    std::fs::write(dir.join("samples.f32"), bytes).unwrap();
    std::fs::write(dir.join("logits.json"), serde_json::to_vec(&logits(network, 7)).unwrap()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/load_with_transformers.py");
    let python = std::env::var("OTOLITH_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let run = Command::new(&python).arg(script).arg(dir).output();
    let Ok(run) = run else {
        eprintln!("SKIPPED: no {python} to load the checkpoint with transformers");
        return;
    };
    let said = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    match run.status.code() {
        Some(0) => println!("{said}"),
        Some(77) => eprintln!("SKIPPED: {python} has no torch and transformers to load the checkpoint with"),
        _ => panic!("{said}"),
    }
}

#[test]
fn what_cannot_work_is_refused_with_a_reason() {
    let network = || Trainable::random(small("layer", true), &labels(), 1).unwrap();
    let says = |result: Result<Trained>, words: &[&str]| {
        let error = result.unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    let short = Tones { count: 12, classes: 3, samples: 50 };
    says(run(&network(), &short, &settings(), None, usize::MAX), &["tone-", "samples", "at least"]);
    let one = Tones { classes: 1, ..tones() };
    says(run(&network(), &one, &settings(), None, usize::MAX), &["two classes"]);
    let clips = tones();
    let corpus = Corpus::new(&clips);
    let stop = AtomicBool::new(false);
    let two: Vec<usize> = (0..30).filter(|clip| clip % 3 != 2).collect();
    says(
        fine_tune(&network(), &corpus, (&two, &[32]), &settings(), None, &stop, &|_| ()),
        &["hiss", "no clip to train on"],
    );
    says(fine_tune(&network(), &corpus, (&two, &[]), &settings(), None, &stop, &|_| ()), &["validation"]);
    for bad in [
        Settings { epochs: 0, ..settings() },
        Settings { rate: f64::NAN, ..settings() },
        Settings { warmup: 2.0, ..settings() },
        Settings { clip: -1.0, ..settings() },
    ] {
        assert!(run(&network(), &tones(), &bad, None, usize::MAX).is_err(), "{bad:?}");
    }
    let wild = Settings { rate: 1e30, clip: 0.0, ..settings() };
    says(run(&network(), &tones(), &wild, None, usize::MAX), &["not finite", "learning rate"]);
    let refused = Trainable::random(small("layer", true), &["one".to_owned()], 1).unwrap_err().to_string();
    assert!(refused.contains("two classes"), "{refused}");
    let refused = Trainable::open(Path::new("nowhere"), &labels(), true, 1).unwrap_err().to_string();
    assert!(refused.contains("nowhere"), "{refused}");
}

/// The true size: 94 million numbers, one epoch on 16 sounds of a second with a frozen convolution encoder.
#[test]
fn a_network_of_full_size_trains_saves_and_loads() {
    let dir = tempfile::tempdir().unwrap();
    let clips = Tones { count: 24, classes: 2, samples: 16_000 };
    let labels = ["low".to_owned(), "high".to_owned()];
    let begin = Instant::now();
    let drawn = Trainable::random(json!({"model_type": "wav2vec2"}), &labels, 1).unwrap();
    let numbers: usize = drawn.parameters().iter().map(|p| p.shape().iter().product::<usize>()).sum();
    assert!((94_000_000..96_000_000).contains(&numbers), "{numbers}");
    drawn.save(dir.path(), Precision::F16).unwrap();
    drop(drawn);
    println!("figure full_size_draw_and_save = {:.1} s", begin.elapsed().as_secs_f64());

    let network = Trainable::open(dir.path(), &labels, true, 1).unwrap();
    let begin = Instant::now();
    let outcome = run(&network, &clips, &Settings { epochs: 1, batch: 4, ..settings() }, None, usize::MAX).unwrap();
    println!("figure full_size_epoch = {:.1} s", begin.elapsed().as_secs_f64());
    assert!(outcome.epochs[0].training_loss.is_finite());
    network.save(&dir.path().join("tuned"), Precision::F16).unwrap();
    let expected = logits(&network, 0);
    drop(network);
    let loaded = Trainable::open(&dir.path().join("tuned"), &labels, true, 1).unwrap();
    for (found, expected) in logits(&loaded, 0).iter().zip(expected) {
        assert!((found - expected).abs() < 0.05 * (1.0 + expected.abs()), "{found} {expected}"); // f16 weights
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(line) = status.lines().find(|line| line.starts_with("VmHWM")) {
        println!("figure full_size_memory = {}", line.trim_start_matches("VmHWM:").trim());
    }
}
