//! The only room with SIMD: what everything above needs fast, behind safe functions.
//!
//! Each function checks its bounds before any unsafe block, so callers cannot reach outside their slices.

mod product;

pub use product::{Strided, product, product_f64};
