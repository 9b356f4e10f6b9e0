//! The loss of a batch and its gradients. The contrastive part compares all sounds of a batch, while the shards of the
//! batch run side by side: their outputs are gathered, the loss's slope at each output is found, and handed back to the
//! shards.

use crate::{Found, tensors};
use candle_core::{D, Device, Result as Computed, Tensor, Var};
use otolith::Result;
use otolith::classify::fine_tune::Gradients;
use otolith::testing::embed::wav2vec2::{Input, Noise, Trainable};
use rayon::prelude::*;

/// How sharply the contrastive loss tells neighbours apart.
const TEMPERATURE: f64 = 0.1;

/// Gradients of cross-entropy plus `contrast` times the supervised contrastive loss.
pub(crate) fn gradients<N: Noise>(
    network: &Trainable,
    batch: &[(Input, Vec<u32>)],
    contrast: f64,
    noise: impl Fn(usize) -> N + Sync,
) -> Result<Found> {
    let outputs: Vec<(Tensor, Tensor)> = batch
        .par_iter()
        .enumerate()
        .map(|(shard, (input, _))| {
            let states = network.states(input, None, &mut noise(shard))?;
            let classifier = network.classifier();
            Ok((classifier.pooled(&states, None)?, classifier.logits(&states, None)?))
        })
        .collect::<Result<_>>()?;
    let labels: Vec<u32> = batch.iter().flat_map(|(_, labels)| labels.clone()).collect();
    let (pooled, logits): (Vec<&Tensor>, Vec<&Tensor>) =
        outputs.iter().map(|(pooled, logits)| (pooled, logits)).unzip();
    let slopes = slopes(&pooled, &logits, &labels, contrast).map_err(tensors)?;

    let passes = outputs.par_iter().enumerate().map(|(shard, (pooled, logits))| {
        let at = batch[..shard].iter().map(|(_, labels)| labels.len()).sum::<usize>();
        let count = batch[shard].1.len();
        let part = (pooled * slopes.pooled.narrow(0, at, count)?)?.sum_all()?;
        (part + (logits * slopes.logits.narrow(0, at, count)?)?.sum_all()?)?.backward()
    });
    let mut gradients = Gradients::none(network.parameters().len());
    for pass in passes.collect::<Computed<Vec<_>>>().map_err(tensors)? {
        gradients.add(network.parameters(), &pass)?;
    }
    gradients.loss = slopes.loss;
    Ok(Found { gradients, right: slopes.right })
}

/// The loss, and its slope at each output.
struct Slopes {
    loss: f64,
    right: f64,
    pooled: Tensor,
    logits: Tensor,
}

fn slopes(pooled: &[&Tensor], logits: &[&Tensor], labels: &[u32], contrast: f64) -> Computed<Slopes> {
    let gathered = |parts: &[&Tensor]| -> Computed<Var> {
        let parts: Vec<Tensor> = parts.iter().map(|part| part.detach()).collect();
        Var::from_tensor(&Tensor::cat(&parts, 0)?)
    };
    let (pooled, logits) = (gathered(pooled)?, gathered(logits)?);
    let targets = Tensor::new(labels, &Device::Cpu)?;
    let first = logits.argmax(D::Minus1)?.to_vec1::<u32>()?;
    let right = first.iter().zip(labels).filter(|(a, b)| a == b).count() as f64 / labels.len() as f64;
    let entropy = candle_nn::loss::cross_entropy(logits.as_tensor(), &targets)?;
    let loss = (entropy + (supervised_contrast(pooled.as_tensor(), labels)? * contrast)?)?;
    let found = loss.backward()?;
    let slope = |var: &Var| found.get(var.as_tensor()).cloned().map_or_else(|| var.zeros_like(), Ok);
    let loss = f64::from(loss.to_scalar::<f32>()?);
    Ok(Slopes { loss, right, pooled: slope(&pooled)?, logits: slope(&logits)? })
}

/// Mean over the sounds of minus the mean log-probability of their fellows among all others, by cosine.
fn supervised_contrast(rows: &Tensor, labels: &[u32]) -> Computed<Tensor> {
    let count = labels.len();
    let size = (rows.sqr()?.sum_keepdim(1)? + 1e-8)?.sqrt()?;
    let rows = rows.broadcast_div(&size)?;
    let scores = (rows.matmul(&rows.t()?.contiguous()?)? / TEMPERATURE)?;
    let pairs = |of: &dyn Fn(usize, usize) -> f32| {
        let values: Vec<f32> = (0..count * count).map(|at| of(at / count, at % count)).collect();
        Tensor::from_vec(values, (count, count), &Device::Cpu)
    };
    let oneself = pairs(&|a, b| if a == b { -1e4 } else { 0.0 })?;
    let fellows = |a: usize| labels.iter().filter(|label| **label == labels[a]).count() - 1;
    let weights = pairs(&|a, b| if a != b && labels[a] == labels[b] { 1.0 / fellows(a) as f32 } else { 0.0 })?;
    let chances = candle_nn::ops::log_softmax(&(scores + oneself)?, D::Minus1)?;
    (chances * weights)?.sum_all()? * (-1.0 / count as f64)
}
