//! The operations of the network as candle operations on `kernel`, forwards and backwards.
//!
//! candle's own product splits each call over all cores, which helps nobody when callers embed or train on one clip a
//! core; its fused layer norm and softmax drop gradients without a word, and its convolution's are wrong for batches.
//! These run on the calling thread, each with its own backward pass; `gradients.rs` holds every one against central
//! differences.

mod attention;
mod convolution;
mod gelu;
#[cfg(test)]
mod gradients;
mod linear;
mod norm;

pub(super) use attention::attention;
pub(super) use convolution::{convolution, grouped_convolution};
pub(super) use gelu::gelu;
pub(super) use linear::linear;
pub(super) use norm::{channel_norm, layer_norm, norm_row};

use candle_core::{CpuStorage, Device, Layout, Result, Storage, StorageRef, Tensor, bail};
use std::ops::{Deref, Range};

/// The values of a contiguous `f32` tensor.
fn contiguous<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("a contiguous tensor is needed, found strides {:?}", layout.stride()),
    }
}

/// The values of a contiguous `f32` tensor; while they are borrowed, nobody writes to it.
pub(super) struct Values<'a> {
    storage: StorageRef<'a>,
    range: Range<usize>,
}

impl<'a> Values<'a> {
    pub(super) fn of(tensor: &'a Tensor) -> Result<Values<'a>> {
        let (storage, layout) = tensor.storage_and_layout();
        let Storage::Cpu(values) = &*storage else { bail!("a tensor in main memory is needed") };
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("a contiguous tensor is needed, found strides {:?}", layout.stride())
        };
        if values.as_slice::<f32>()?.len() < end {
            bail!("a tensor of {end} values has fewer");
        }
        Ok(Values { storage, range: start..end })
    }
}

impl Deref for Values<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => &values[self.range.clone()],
            _ => &[], // `of` has seen the type
        }
    }
}

/// A tensor of that shape, as a gradient.
fn tensor(values: Vec<f32>, like: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(values, like.shape(), &Device::Cpu)
}
