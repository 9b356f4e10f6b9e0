//! The form in which the parameters of a fitted step are handed to the store.

use serde_json::Value;

/// A fitted step, ready to be written: what it is, its settings, its numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// Which step, by its number in `storage-format.md`.
    pub kind: u32,
    /// Version of that step's settings and arrays.
    pub version: u32,
    /// Settings as a JSON object; never fitted numbers.
    pub settings: Value,
    /// Fitted numbers, in an order that the step fixes.
    pub arrays: Vec<Array>,
}

/// An array of fitted numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
}
