//! The only room with SIMD: what everything above needs fast, behind safe functions.
//!
//! Each function checks its bounds before any unsafe block, so callers cannot reach outside their slices.

mod gelu;
mod product;
mod softmax;

pub use gelu::gelu;
pub use product::{Strided, product, product_f64};
pub use softmax::softmax;
