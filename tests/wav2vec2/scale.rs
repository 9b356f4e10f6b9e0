//! A convolution encoder of true size (7 layers of 512 channels) whose weights are computed, not stored: the recipe is
//! in `tests/data/wav2vec2/conv_scale/make.py`.

use candle_core::{Device, Tensor};
use std::collections::HashMap;
use std::path::Path;

pub(crate) const CHANNELS: usize = 512;
const KERNELS: [usize; 7] = [10, 3, 3, 3, 3, 2, 2];
const SCALES: [f32; 7] = [0.75, 0.0625, 0.0625, 0.0625, 0.0625, 0.078125, 0.078125];

/// The first `count` values of the generator's stream `seed`: `offset + scale * u`, `u` in [-1, 1).
pub(crate) fn values(seed: u64, count: usize, scale: f32, offset: f32) -> Vec<f32> {
    let value = |index: u64| {
        let mut z = seed.wrapping_add((index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        offset + scale * ((z >> 40) as f32 * 2.0_f32.powi(-23) - 1.0)
    };
    (0..count as u64).map(value).collect()
}

/// Five seconds of input, fed as it is.
pub(crate) fn input() -> Vec<f32> {
    values(1, 80_000, 1.0, 0.0)
}

/// The tensors by checkpoint name; `norm` is `group` or `layer`.
pub(crate) fn tensors(norm: &str) -> HashMap<String, Tensor> {
    let mut tensors = HashMap::new();
    let mut put = |name: String, seed: u64, shape: &[usize], scale: f32, offset: f32| {
        let values = values(seed, shape.iter().product(), scale, offset);
        tensors.insert(name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap());
    };
    for (layer, (kernel, scale)) in KERNELS.into_iter().zip(SCALES).enumerate() {
        let name = |part: &str| format!("feature_extractor.conv_layers.{layer}.{part}");
        let (inputs, seed) = (if layer == 0 { 1 } else { CHANNELS }, layer as u64);
        put(name("conv.weight"), 100 + seed, &[CHANNELS, inputs, kernel], scale, 0.0);
        if norm == "layer" {
            put(name("conv.bias"), 200 + seed, &[CHANNELS], 0.125, 0.0);
        }
        if norm == "layer" || layer == 0 {
            put(name("layer_norm.weight"), 300 + seed, &[CHANNELS], 0.25, 1.0);
            put(name("layer_norm.bias"), 400 + seed, &[CHANNELS], 0.25, 0.0);
        }
    }
    put("feature_projection.layer_norm.weight".into(), 500, &[CHANNELS], 0.25, 1.0);
    put("feature_projection.layer_norm.bias".into(), 501, &[CHANNELS], 0.25, 0.0);
    tensors
}

/// Writes the encoder as a checkpoint folder, which has no transformer at all.
pub(crate) fn write(dir: &Path, norm: &str) {
    let config =
        format!(r#"{{"model_type": "wav2vec2", "feat_extract_norm": "{norm}", "conv_bias": {}}}"#, norm == "layer");
    std::fs::write(dir.join("config.json"), config).unwrap();
    std::fs::write(dir.join("preprocessor_config.json"), r#"{"do_normalize": false}"#).unwrap();
    candle_core::safetensors::save(&tensors(norm), dir.join("model.safetensors")).unwrap();
}
