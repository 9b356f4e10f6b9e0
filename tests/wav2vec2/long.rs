//! Sounds of several windows: what is scaled is scaled by the whole sound, as the original scales it.

use super::{largest_difference, ours, values};
use candle_core::Tensor;
use otolith::audio::Clip;
use otolith::embed::{Embedder, embed_clip, embed_file};
use otolith::testing::embed::checkpoint::Checkpoint;
use otolith::testing::embed::wav2vec2::{Classifier, Layer, States, Wav2Vec2};

/// Noise and tones at 16 kHz whose first two fifths are 34 dB quieter than the rest, with an offset.
fn quiet_then_loud(seconds: usize) -> Vec<f32> {
    let (count, mut state) = (seconds * 16_000, 1_u32);
    let sample = |t: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (noise, tone) = ((state >> 8) as f32 / (1 << 24) as f32 - 0.5, (t as f32 * 0.11).sin());
        let level = if t < count * 2 / 5 { 0.02 } else { 1.0 };
        // values of 16 bits, so that a file holds them as they are
        ((0.01 + level * (0.3 * noise + 0.3 * tone)) * 32_768.0).round() / 32_768.0
    };
    (0..count).map(sample).collect()
}

fn write(path: &std::path::Path, samples: &[f32]) {
    let sample_format = hound::SampleFormat::Int;
    let spec = hound::WavSpec { channels: 1, sample_rate: 16_000, bits_per_sample: 16, sample_format };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    samples.iter().for_each(|sample| writer.write_sample((sample * 32_768.0) as i16).unwrap());
    writer.finalize().unwrap();
}

#[test]
fn features_of_a_long_sound_are_those_of_the_whole_at_once() {
    let samples = quiet_then_loud(45);
    let clip = Clip { samples, rate: 16_000 };
    let mut worst = 0.0_f32;
    for (folder, layer) in [
        ("base_group", Layer::Features),
        ("hubert_base_bin", Layer::Projected),
        ("large_layer", Layer::Features),
        ("hubert_large", Layer::Projected),
        ("hubert_switches", Layer::Projected),
    ] {
        let model = Wav2Vec2::open(&ours().join(folder), layer).unwrap();
        let whole = model.features(&model.conv(&model.prepare(&clip.samples)).unwrap()).unwrap();
        let whole = if layer == Layer::Features { whole } else { model.project(&whole).unwrap() };
        let rows = embed_clip(&model, &clip).unwrap();
        assert_eq!(rows.rows(), 2_249);
        let error = largest_difference(rows.values(), &values(&whole));
        assert!(error <= 2e-5, "{folder}: {error:e}");
        worst = worst.max(error);
    }
    println!("figure long_sound_features_worst_error = {worst:.1e}");
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Projected features of a whole clip at once.
fn projected(model: &Wav2Vec2, samples: &[f32]) -> Tensor {
    model.project(&model.features(&model.conv(&model.prepare(samples)).unwrap()).unwrap()).unwrap()
}

#[test]
fn the_transformer_alone_sees_a_long_sound_in_windows() {
    let clip = Clip { samples: quiet_then_loud(45), rate: 16_000 };
    for folder in ["base_group", "large_layer"] {
        let model = Wav2Vec2::open(&ours().join(folder), Layer::State(3)).unwrap();
        let projected = projected(&model, &clip.samples);
        let window = |first: usize, rows: usize| {
            values(&model.encode(&projected.narrow(1, first, rows).unwrap().contiguous().unwrap(), None).unwrap().last)
        };
        let expected = [window(0, 1_125), window(1_125, 1_124)].concat();
        let rows = embed_clip(&model, &clip).unwrap();
        let error = largest_difference(rows.values(), &expected);
        assert!(error <= 1e-4, "{folder}: {error:e}");
    }
}

/// What the windows of the transformer cost, on the network that comes with the library.
#[test]
fn states_of_a_long_sound_are_near_those_of_the_whole_at_once() {
    let clip = Clip { samples: quiet_then_loud(75), rate: 16_000 };
    let model = Wav2Vec2::of(Checkpoint::mini().unwrap(), Layer::Mean).unwrap();
    let States { mut states, last } = model.encode(&projected(&model, &clip.samples), None).unwrap();
    *states.last_mut().unwrap() = last;
    let whole = values(&Tensor::stack(&states, 0).unwrap().mean(0).unwrap());
    let rows = embed_clip(&model, &clip).unwrap();
    assert!(rows.rows() > model.window_rows().unwrap());
    let pairs = rows.values().chunks_exact(rows.dim()).zip(whole.chunks_exact(rows.dim()));
    let mut cosines: Vec<f64> = pairs.map(|(a, b)| cosine(a, b)).collect();
    cosines.sort_by(f64::total_cmp);
    let (least, middle) = (cosines[0], cosines[cosines.len() / 2]);
    println!("figure long_sound_mini_cosine = {middle:.4} (median), {least:.4} (least)");
    assert!(middle > 0.9 && least > 0.5, "{middle} {least}");
}

#[test]
fn a_file_too_long_to_be_kept_gives_the_rows_of_a_clip() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.wav");
    let samples = quiet_then_loud(270);
    assert!(samples.len() > 4 << 20);
    write(&path, &samples);
    let clip = Clip { samples, rate: 16_000 };
    for name in ["base_group", "large_layer"] {
        let model = Wav2Vec2::open(&ours().join(name), Layer::Features).unwrap();
        assert_eq!(embed_file(&model, &path).unwrap().matrix, embed_clip(&model, &clip).unwrap(), "{name}");
    }
}

#[test]
fn classes_of_a_long_sound_are_those_of_its_windows_together() {
    let samples = quiet_then_loud(45);
    for folder in ["classify_base", "classify_large_weighted"] {
        let head = Classifier::open(&ours().join(folder)).unwrap();
        let (model, projected) = (head.model(), projected(head.model(), &samples));
        let logits = |first: usize, rows: usize| {
            let window = projected.narrow(1, first, rows).unwrap().contiguous().unwrap();
            let logits = values(&head.logits(&model.encode(&window, None).unwrap(), None).unwrap());
            logits.into_iter().map(move |logit| f64::from(logit) * rows as f64 / 2_249.0).collect::<Vec<_>>()
        };
        let powers = logits(0, 1_124).into_iter().zip(logits(1_124, 1_125)).map(|(a, b)| (a + b).exp());
        let powers: Vec<f64> = powers.collect();
        let expected: Vec<f32> = powers.iter().map(|power| (power / powers.iter().sum::<f64>()) as f32).collect();
        let error = largest_difference(&head.chances(&samples).unwrap(), &expected);
        assert!(error < 1e-4, "{folder}: {error:e}");
    }
}
