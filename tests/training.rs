//! The promise: fine-tuning takes the steps that the original library's trainer takes.
//!
//! The traces in `tests/data/training` are small random networks with every loss, gradient and weight of a few steps,
//! in both precisions (`make_traces.py` there made them). Dropout, masks and skipped layers were drawn once, stored,
//! and are replayed here.
#![cfg(feature = "models")]
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use candle_core::{Device, Tensor};
use otolith::Result;
use otolith::classify::fine_tune::{AdamW, Optimiser, Schedule, Shard, decays, gradients};
use otolith::testing::embed::wav2vec2::{Input, Noise, Place, Still, Trainable};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

const TRACES: [&str; 5] = [
    "t1_group_postnorm",
    "t2_layer_stable_masked",
    "t3_frozen_accumulated_decay",
    "t4_specaugment_dropout_layersum",
    "t5_layerdrop",
];

/// A trace's files.
struct Trace {
    dir: PathBuf,
    settings: Value,
    steps: Value,
    clips: Vec<Vec<f32>>,
    labels: Vec<u32>,
    masks: HashMap<String, Tensor>,
}

/// Worst errors over all traces.
#[derive(Default)]
struct Worst {
    loss: f64,
    norm: f64,
    logit: f64,
}

impl Trace {
    fn read(name: &str) -> Trace {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/training").join(name);
        let json = |file| serde_json::from_slice::<Value>(&std::fs::read(dir.join(file)).unwrap()).unwrap();
        let file = std::fs::File::open(dir.join("clips.npy")).unwrap();
        let clips = npyz::NpyFile::new(std::io::BufReader::new(file)).unwrap();
        let length = clips.shape()[1] as usize;
        let clips: Vec<f32> = clips.into_vec().unwrap();
        let file = std::fs::File::open(dir.join("labels.npy")).unwrap();
        let labels: Vec<i64> = npyz::NpyFile::new(std::io::BufReader::new(file)).unwrap().into_vec().unwrap();
        let masks = dir.join("masks.safetensors");
        Trace {
            settings: json("hparams.json"),
            steps: json("trace.json"),
            clips: clips.chunks(length).map(<[f32]>::to_vec).collect(),
            labels: labels.into_iter().map(|label| label as u32).collect(),
            masks: if masks.exists() { load(&masks) } else { HashMap::new() },
            dir,
        }
    }

    fn number(&self, name: &str) -> f64 {
        self.settings[name].as_f64().unwrap()
    }

    fn count(&self, name: &str) -> usize {
        self.settings[name].as_u64().unwrap() as usize
    }

    /// The clips of these numbers as one shard.
    fn shard(&self, numbers: &Value) -> Shard {
        let numbers: Vec<usize> = numbers.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
        let samples: Vec<f32> = numbers.iter().flat_map(|number| self.clips[*number].clone()).collect();
        let shape = (numbers.len(), self.clips[0].len());
        let frames = |number: &usize| self.settings["frames_per_clip"][number].as_u64().unwrap() as usize;
        Shard {
            input: Input::Samples(Tensor::from_vec(samples, shape, &Device::Cpu).unwrap()),
            kept: self.settings["use_attention_mask"].as_bool().unwrap().then(|| numbers.iter().map(frames).collect()),
            labels: numbers.iter().map(|number| self.labels[*number]).collect(),
        }
    }

    fn replay(&self, step: usize) -> Replay<'_> {
        let skips = self.settings["layer_skips"].get(step).and_then(Value::as_array);
        let skips = skips.map(|skips| skips.iter().map(|skip| skip.as_u64() == Some(1)).collect());
        Replay { trace: self, step, skips: skips.unwrap_or_default() }
    }
}

/// The noise of a step as it was drawn then.
struct Replay<'a> {
    trace: &'a Trace,
    step: usize,
    skips: Vec<bool>,
}

impl Replay<'_> {
    fn mask(&self, name: &str) -> Option<Vec<u8>> {
        let mask = self.trace.masks.get(&format!("step{:02}.{name}", self.step))?;
        Some(mask.flatten_all().unwrap().to_vec1().unwrap())
    }
}

impl Noise for Replay<'_> {
    fn dropout(&mut self, place: Place, shape: &[usize]) -> Option<Vec<f32>> {
        let (name, share) = match place {
            Place::FeatureProjection => ("feat_proj".to_owned(), "feat_proj_dropout"),
            Place::Encoder => ("encoder".to_owned(), "hidden_dropout"),
            Place::Attention(n) => (format!("layer{n}.attention"), "attention_dropout"),
            Place::AttentionOutput(n) => (format!("layer{n}.attention_output"), "hidden_dropout"),
            Place::Activation(n) => (format!("layer{n}.activation"), "activation_dropout"),
            Place::FeedForwardOutput(n) => (format!("layer{n}.feed_forward_output"), "hidden_dropout"),
        };
        let kept = self.mask(&format!("dropout.{name}"))?;
        assert_eq!(kept.len(), shape.iter().product::<usize>(), "{name}");
        let config = std::fs::read(self.trace.dir.join("initial/config.json")).unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        let factor = (1.0 / (1.0 - config[share].as_f64().unwrap())) as f32;
        Some(kept.into_iter().map(|kept| f32::from(kept) * factor).collect())
    }

    fn masked_frames(&mut self, _: usize, _: &[usize]) -> Result<Option<Vec<bool>>> {
        Ok(self.mask("mask_time").map(|mask| mask.into_iter().map(|masked| masked == 1).collect()))
    }

    fn masked_features(&mut self, _: usize, _: usize) -> Result<Option<Vec<bool>>> {
        Ok(self.mask("mask_feature").map(|mask| mask.into_iter().map(|masked| masked == 1).collect()))
    }

    fn skips(&mut self, layer: usize) -> bool {
        self.skips.get(layer).copied().unwrap_or(false)
    }
}

/// The tensors of a file, by the names that parameters have.
fn load(path: &Path) -> HashMap<String, Tensor> {
    let tensors = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    tensors.into_iter().map(|(name, tensor)| (short(&name), tensor)).collect()
}

fn short(name: &str) -> String {
    let name = name.strip_prefix("wav2vec2.").unwrap_or(name);
    name.replace("parametrizations.weight.original0", "weight_g")
        .replace("parametrizations.weight.original1", "weight_v")
}

fn names(list: &Value) -> BTreeSet<String> {
    list.as_array().unwrap().iter().map(|name| short(name.as_str().unwrap())).collect()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn furthest(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max)
}

fn length(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
}

/// Takes every step of a trace and holds each number against the f64 run.
fn follow(name: &str, worst: &mut Worst) {
    let trace = Trace::read(name);
    let config: Value = serde_json::from_slice(&std::fs::read(trace.dir.join("initial/config.json")).unwrap()).unwrap();
    let classes = config["id2label"].as_object().unwrap();
    let labels: Vec<String> =
        (0..classes.len()).map(|id| classes[&id.to_string()].as_str().unwrap().to_owned()).collect();
    let frozen = trace.settings["freeze_feature_encoder"].as_bool().unwrap();
    let network = Trainable::open(&trace.dir.join("initial"), &labels, frozen, 0).unwrap();
    let parameters = network.parameters();

    let trained = |decayed: bool| -> BTreeSet<String> {
        let of = parameters.iter().filter(|p| p.variable().is_some() && decays(p.name()) == decayed);
        of.map(|parameter| parameter.name().to_owned()).collect()
    };
    assert_eq!(trained(true), names(&trace.settings["decayed"]), "{name}");
    assert_eq!(trained(false), names(&trace.settings["not_decayed"]), "{name}");

    let adamw = AdamW { weight_decay: trace.number("weight_decay"), ..AdamW::default() };
    let total = trace.count("total_steps");
    let peak = trace.number("learning_rate");
    let schedule = Schedule { peak, warmup: trace.count("warmup_steps"), total };
    let mut optimiser = Optimiser::new(parameters.len(), adamw, schedule, trace.number("max_grad_norm"));
    let mut rates = 0.0;
    for step in 0..total {
        let batches: Vec<Vec<Shard>> =
            trace.settings["order"][step].as_array().unwrap().iter().map(|clips| vec![trace.shard(clips)]).collect();
        let found = gradients(&network, &batches, |_, _| trace.replay(step)).unwrap();
        let expected = &trace.steps["steps"][step];
        let absent = parameters.iter().zip(&found.values).filter(|(p, g)| p.variable().is_some() && g.is_none());
        let absent: BTreeSet<String> = absent.map(|(parameter, _)| parameter.name().to_owned()).collect();
        assert_eq!(absent, names(&expected["parameters_without_gradient"]), "{name} step {step}");
        if step == 0 {
            let stored = load(&trace.dir.join("first_grads.safetensors"));
            let whole = found.norm();
            for (parameter, gradient) in parameters.iter().zip(&found.values) {
                let Some(gradient) = gradient else { continue };
                let used = Tensor::from_vec(gradient.clone(), parameter.tensor().shape(), &Device::Cpu).unwrap();
                let gradient = parameter.as_stored(&used).unwrap();
                let expected = values(&stored[parameter.name()]);
                let off = furthest(&gradient, &expected) / whole;
                assert!(off < 1e-6, "{name}: gradient of {}: {off:e}", parameter.name());
                let (found, expected) = (length(&gradient), length(&expected));
                let off = (found - expected).abs();
                assert!(off / whole < 1e-6, "{name}: norm of {}: {off:e}", parameter.name());
                assert!(
                    off < 2e-5 * expected || parameter.name().ends_with("k_proj.bias"),
                    "{name}: {}",
                    parameter.name()
                );
            }
        }
        let taken = optimiser.apply(parameters, &found).unwrap();
        assert!((taken.rate - expected["learning_rate"].as_f64().unwrap()).abs() < 1e-15, "{name} step {step}");
        rates += taken.rate;
        let loss = (taken.loss - expected["loss_f64"].as_f64().unwrap()).abs();
        let norm = expected["grad_norm_f64"].as_f64().unwrap();
        let norm = (taken.norm - norm).abs() / norm;
        assert!(loss < 1e-5 && norm < 1e-5, "{name} step {step}: loss {loss:e}, norm {norm:e}");
        worst.loss = worst.loss.max(loss);
        worst.norm = worst.norm.max(norm);
    }

    let last = load(&trace.dir.join("final_f32.safetensors"));
    assert!(last.len() >= parameters.iter().filter(|parameter| parameter.variable().is_some()).count());
    for parameter in parameters {
        let Some(expected) = last.get(parameter.name()) else { panic!("{name}: no {}", parameter.name()) };
        let off = furthest(&parameter.values().unwrap(), &values(expected));
        let bar = if parameter.name().ends_with("k_proj.bias") { rates } else { 2e-5 };
        assert!(off < bar, "{name}: {} is {off:e} off at the end", parameter.name());
    }

    let shard = trace.shard(&trace.settings["eval_rows"]);
    let logits = values(&network.logits(&shard.input, shard.kept.as_deref(), &mut Still).unwrap());
    let file = std::fs::File::open(trace.dir.join("eval_logits_f64.npy")).unwrap();
    let expected: Vec<f64> = npyz::NpyFile::new(std::io::BufReader::new(file)).unwrap().into_vec().unwrap();
    assert_eq!(logits.len(), expected.len());
    let off = logits.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
    assert!(off < 1e-4, "{name}: logits {off:e}");
    worst.logit = worst.logit.max(off);
    println!(
        "{name}: {total} steps, worst so far loss {:.1e}, norm {:.1e}, logits {:.1e}",
        worst.loss, worst.norm, worst.logit
    );
}

#[test]
fn every_step_of_the_traces_is_taken() {
    let mut worst = Worst::default();
    for name in TRACES {
        follow(name, &mut worst);
    }
    println!("figure trace_loss_error = {:.2e}", worst.loss);
    println!("figure trace_gradient_norm_error = {:.2e}", worst.norm);
    println!("figure trace_logit_error = {:.2e}", worst.logit);
}
