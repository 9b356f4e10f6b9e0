//! The tensors of a network that is trained, by the names that a checkpoint gives them.

use super::loader::internal;
use super::ops::Values;
use crate::error::Result;
use candle_core::{Device, Tensor, Var};

/// How a stored tensor lies in memory while it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As it is stored.
    Stored,
    /// `[outputs, inputs]` turned round to `[inputs, outputs]`: a product with a few hundred rows is a third faster
    /// that way.
    Turned,
    /// `[outputs, inputs, taps]` turned round to `[taps, inputs, outputs]`, so that a convolution is a product.
    ByTap,
}

impl Form {
    /// Shape in use of a tensor that is stored with `shape`.
    fn shape(self, shape: &[usize]) -> Vec<usize> {
        match self {
            Form::Stored => shape.to_vec(),
            Form::Turned | Form::ByTap => shape.iter().rev().copied().collect(),
        }
    }

    /// Stored values as they lie in use.
    pub(super) fn used(self, stored: Vec<f32>, shape: &[usize]) -> Result<Tensor> {
        let tensor = Tensor::from_vec(stored, shape, &Device::Cpu);
        let turned = tensor.and_then(|tensor| match self {
            Form::Stored => Ok(tensor),
            Form::Turned => tensor.t()?.contiguous(),
            Form::ByTap => tensor.permute((2, 1, 0))?.contiguous(),
        });
        turned.map_err(internal)
    }

    /// Values in use as they are stored.
    fn stored(self, used: &Tensor) -> Result<Vec<f32>> {
        let stored = match self {
            Form::Stored => Ok(used.clone()),
            Form::Turned => used.t().and_then(|turned| turned.contiguous()),
            Form::ByTap => used.permute((2, 1, 0)).and_then(|turned| turned.contiguous()),
        };
        stored.and_then(|stored| Ok(Values::of(&stored)?.to_vec())).map_err(internal)
    }
}

/// A tensor of a network that is trained. A frozen one is no variable: it has no gradient and never moves.
#[derive(Clone, Debug)]
pub struct Parameter {
    name: String,
    shape: Vec<usize>,
    form: Form,
    tensor: Tensor,
    variable: Option<Var>,
}

impl Parameter {
    pub(super) fn new(name: &str, shape: &[usize], form: Form, tensor: Tensor, frozen: bool) -> Result<Parameter> {
        let variable = (!frozen).then(|| Var::from_tensor(&tensor)).transpose().map_err(internal)?;
        let tensor = variable.as_ref().map_or(tensor, |variable| variable.as_tensor().clone());
        Ok(Parameter { name: name.to_owned(), shape: shape.to_vec(), form, tensor, variable })
    }

    /// Name in a checkpoint, without the family's prefix and in the older form (`weight_g`).
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Shape as stored.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The tensor that the network uses; its axes may be turned round.
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// The variable, unless it is frozen.
    pub fn variable(&self) -> Option<&Var> {
        self.variable.as_ref()
    }

    /// Its values, row-major by the stored shape.
    ///
    /// # Errors
    /// None that could be expected.
    pub fn values(&self) -> Result<Vec<f32>> {
        self.form.stored(&self.tensor)
    }

    /// Numbers of the same kind (a gradient, a moment), from the order in use to that of the stored shape.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for a tensor of another shape.
    pub fn as_stored(&self, used: &Tensor) -> Result<Vec<f32>> {
        used.reshape(self.form.shape(&self.shape)).map_err(internal).and_then(|used| self.form.stored(&used))
    }

    /// Changes its values, in the order in use. A frozen one stays.
    ///
    /// # Errors
    /// None that could be expected.
    pub fn update(&self, change: impl FnOnce(&mut [f32])) -> Result<()> {
        let Some(variable) = &self.variable else { return Ok(()) };
        let mut values = Values::of(&self.tensor).map_err(internal)?.to_vec();
        change(&mut values);
        let changed = Tensor::from_vec(values, self.tensor.shape(), &Device::Cpu);
        changed.and_then(|changed| variable.set(&changed)).map_err(internal)
    }

    /// Replaces its values, given row-major by the stored shape.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) when there are not as many, or it is frozen.
    pub fn set(&self, values: Vec<f32>) -> Result<()> {
        let tensor = self.form.used(values, &self.shape)?;
        match &self.variable {
            Some(variable) => variable.set(&tensor).map_err(internal),
            None => Err(crate::Error::invalid("parameter", format!("`{}` is frozen", self.name))),
        }
    }
}
