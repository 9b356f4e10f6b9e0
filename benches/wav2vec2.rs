//! The convolution encoder at true size on one thread, against the same network in stock candle operations.
//!
//! `RAYON_NUM_THREADS=1 cargo bench --bench wav2vec2`; candle splits its products over all cores without the variable.
//! Every variant's answer is checked before it is timed.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use candle_core::{Device, Result, Tensor};
use criterion::Criterion;
use otolith::embed::{Embedder, Loudness, Window};
use otolith::testing::embed::wav2vec2::{Layer, Wav2Vec2};
use std::cell::Cell;
use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

#[path = "../tests/wav2vec2/scale.rs"]
mod scale;

const STRIDES: [usize; 7] = [5, 2, 2, 2, 2, 2, 2];

/// The encoder as one would write it first: candle's convolution, norms and GELU, `[1, channels, time]`.
fn stock(samples: &Tensor, tensors: &HashMap<String, Tensor>, norm: &str) -> Result<Tensor> {
    let mut x = samples.reshape((1, 1, ()))?;
    for (layer, stride) in STRIDES.into_iter().enumerate() {
        let get = |part: &str| tensors.get(&format!("feature_extractor.conv_layers.{layer}.{part}"));
        x = x.conv1d(get("conv.weight").unwrap(), 0, stride, 1, 1)?;
        if let Some(bias) = get("conv.bias") {
            x = x.broadcast_add(&bias.reshape((1, (), 1))?)?;
        }
        if let (Some(weight), Some(bias)) = (get("layer_norm.weight"), get("layer_norm.bias")) {
            x = if norm == "group" {
                let centred = x.broadcast_sub(&x.mean_keepdim(2)?)?;
                let deviation = (centred.sqr()?.mean_keepdim(2)? + 1e-5)?.sqrt()?;
                let (weight, bias) = (weight.reshape((1, (), 1))?, bias.reshape((1, (), 1))?);
                centred.broadcast_div(&deviation)?.broadcast_mul(&weight)?.broadcast_add(&bias)?
            } else {
                candle_nn::ops::layer_norm(&x.transpose(1, 2)?.contiguous()?, weight, bias, 1e-5)?.transpose(1, 2)?
            };
        }
        x = x.contiguous()?.gelu_erf()?;
    }
    x.transpose(1, 2)?.contiguous()
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
    (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar().unwrap()
}

/// Times `run` with criterion and returns the shortest single run.
fn time(criterion: &mut Criterion, name: &str, mut run: impl FnMut()) -> f64 {
    let best = Cell::new(Duration::MAX);
    criterion.bench_function(name, |bencher| {
        bencher.iter_custom(|count| {
            let mut total = Duration::ZERO;
            for _ in 0..count {
                let start = Instant::now();
                run();
                let elapsed = start.elapsed();
                best.set(best.get().min(elapsed));
                total += elapsed;
            }
            total
        });
    });
    best.get().as_secs_f64()
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(5))
        .configure_from_args();
    let samples = scale::input();
    for norm in ["group", "layer"] {
        let dir = tempfile::tempdir().unwrap();
        scale::write(dir.path(), norm);
        let model = Wav2Vec2::open(dir.path(), Layer::Features).unwrap();
        let (tensors, input) = (scale::tensors(norm), Tensor::new(samples.as_slice(), &Device::Cpu).unwrap());
        let difference = largest_difference(&model.conv(&samples).unwrap(), &stock(&input, &tensors, norm).unwrap());
        assert!(difference < 1e-4, "{norm}: {difference:e}");

        let ours = time(&mut criterion, &format!("conv encoder, {norm}"), || {
            black_box(model.conv(&samples).unwrap());
        });
        let theirs = time(&mut criterion, &format!("conv encoder, {norm}, stock candle"), || {
            black_box(stock(&input, &tensors, norm).unwrap());
        });
        let whole = time(&mut criterion, &format!("embed 5 s, features, {norm}"), || {
            let whole = Loudness { mean: 0.0, deviation: 1.0 };
            black_box(model.embed(Window { whole, ..Window::whole(&samples) }).unwrap());
        });
        println!("figure wav2vec2_conv_{norm} = {ours:.4} s");
        println!("figure wav2vec2_conv_{norm}_stock = {theirs:.4} s");
        println!("figure wav2vec2_conv_{norm}_ratio = {:.2} x", theirs / ours);
        println!("figure wav2vec2_features_{norm} = {whole:.4} s");
    }
}
