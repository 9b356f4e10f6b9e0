//! How well a network tells sounds of classes apart that it was not trained on.

use crate::{is_held_out, sounds};
use otolith::Result;
use otolith::audio::Clip;
use otolith::embed::embed_clip;
use otolith::testing::embed::wav2vec2::{Layer, Wav2Vec2};
use rayon::prelude::*;
use std::path::Path;

/// Sounds of each class; half are searched for among the others.
const SOUNDS: u64 = 16;

/// For every layer the share of sounds whose nearest neighbour, by mean and deviation of the rows, is of their class.
pub(crate) fn held_out(model: &Path) -> Result<Vec<(Layer, f64)>> {
    let classes: Vec<usize> = (0..sounds::classes()).filter(|class| is_held_out(*class)).collect();
    let last = Wav2Vec2::open(model, Layer::Mean)?.config().num_hidden_layers;
    let layers =
        [Layer::Features, Layer::Projected].into_iter().chain((0..=last).map(Layer::State)).chain([Layer::Mean]);
    layers
        .map(|layer| {
            let embedder = Wav2Vec2::open(model, layer)?;
            let pairs: Vec<(usize, u64)> =
                classes.iter().flat_map(|class| (0..SOUNDS).map(|seed| (*class, seed))).collect();
            let rows: Vec<Vec<f32>> = pairs
                .par_iter()
                .map(|(class, seed)| {
                    let samples = sounds::render(*class, 1 << 60 | *seed, 5 * sounds::RATE as usize);
                    pooled(&embed_clip(&embedder, &Clip { samples, rate: sounds::RATE })?)
                })
                .collect::<Result<_>>()?;
            let right = pairs.iter().zip(&rows).filter(|((_, seed), _)| seed % 2 == 0).filter(|((class, _), row)| {
                let among = pairs.iter().zip(&rows).filter(|((_, seed), _)| seed % 2 == 1);
                let near = among.max_by(|(_, a), (_, b)| cosine(row, a).total_cmp(&cosine(row, b)));
                near.is_some_and(|((found, _), _)| found == class)
            });
            Ok((layer, right.count() as f64 / (pairs.len() / 2) as f64))
        })
        .collect()
}

/// Mean and deviation of each column.
fn pooled(rows: &otolith::Matrix) -> Result<Vec<f32>> {
    use otolith::pipeline::{Pipeline, Statistic, Step};
    let pool = Pipeline::fit(&[Step::Pool(vec![Statistic::Mean, Statistic::Std])], rows.dim(), &Vec::new())?;
    Ok(pool.apply(rows.view())?.into_values())
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-9)
}
