//! The exact GELU.

use super::{Values, contiguous, tensor};
use crate::kernel;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

struct Gelu;

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut values = contiguous(storage, layout)?.to_vec();
        kernel::gelu(&mut values);
        Ok((CpuStorage::F32(values), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        let mut dx = Values::of(&gradient)?.to_vec();
        kernel::gelu_backward(&Values::of(x)?, &mut dx);
        tensor(dx, x).map(Some)
    }
}

/// Exact GELU of every value.
pub(in super::super) fn gelu(x: &Tensor) -> Result<Tensor> {
    x.apply_op1(Gelu)
}
