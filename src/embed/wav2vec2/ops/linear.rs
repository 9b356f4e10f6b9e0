//! A linear map of rows.

use super::{Values, contiguous, tensor};
use crate::kernel::{self, Strided};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

/// `x W + b` for every row, with `W` `[inputs, outputs]`.
struct Linear;

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight, bias) = (contiguous(s1, l1)?, contiguous(s2, l2)?, contiguous(s3, l3)?);
        let (Some((&width, batch)), &[inputs, outputs]) = (l1.dims().split_last(), l2.dims()) else {
            bail!("a linear map {:?} of {:?}", l2.dims(), l1.dims());
        };
        if width != inputs || bias.len() != outputs {
            bail!("a linear map {:?} with {} biases of {:?}", l2.dims(), bias.len(), l1.dims());
        }
        let rows = batch.iter().product();
        let mut out = bias.repeat(rows);
        kernel::product(&mut out, Strided::new(x, rows, inputs), Strided::new(weight, inputs, outputs), true);
        Ok((CpuStorage::F32(out), Shape::from([batch, &[outputs]].concat())))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let (inputs, outputs) = weight.dims2()?;
        let rows = x.elem_count() / inputs;
        let dy = Values::of(&gradient)?;
        let dy = Strided::new(&dy, rows, outputs);
        let dx = if x.track_op() {
            let mut dx = vec![0.0; rows * inputs];
            kernel::product(&mut dx, dy, Strided::new(&Values::of(weight)?, inputs, outputs).transposed(), false);
            Some(tensor(dx, x)?)
        } else {
            None
        };
        if !weight.track_op() {
            return Ok((dx, None, None));
        }
        let mut dw = vec![0.0; inputs * outputs];
        kernel::product(&mut dw, Strided::new(&Values::of(x)?, rows, inputs).transposed(), dy, false);
        let mut db = vec![0.0; outputs];
        for row in dy.values.chunks_exact(outputs) {
            db.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        Ok((dx, Some(tensor(dw, weight)?), Some(tensor(db, bias)?)))
    }
}

/// `x W + b` for every row of `x` `[.., inputs]`, with `W` `[inputs, outputs]`.
pub(in super::super) fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.apply_op3(weight, bias, Linear)
}
