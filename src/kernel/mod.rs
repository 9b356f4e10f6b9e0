//! The only room with SIMD: what everything above needs fast, behind safe functions.
//!
//! Each function checks its bounds before any unsafe block, so callers cannot reach outside their slices. Kernels of
//! our own have one driver and a thin file for each instruction set; [`Level`] is the one in use.
//!
//! Three families of inner products, told apart by what they promise:
//! - *fast* ones in `f32` ([`dot`], [`tile()`]), summed in whatever order the machine likes. No product of theirs
//!   passes through more than [`roundings`] roundings, which is all that an error bound needs to know;
//! - *ordered* ones in `f64` ([`ordered`]), summed by rising index, the same bits on every machine;
//! - *integer* ones of rows in bytes ([`SignedCodes`]), exact.

mod dot;
#[cfg(any(test, feature = "testing", feature = "models"))]
mod gelu;
mod level;
pub mod ordered;
mod product;
mod softmax;
mod sq8;
mod tile;

pub use dot::{dot, roundings};
#[cfg(any(test, feature = "testing", feature = "models"))]
pub use gelu::{gelu, gelu_backward};
pub use level::Level;
#[cfg(any(feature = "testing", feature = "fit", feature = "audio"))]
pub use product::product_f64;
pub use product::{Strided, product};
pub use softmax::softmax;
pub use sq8::{STRIDE, SignedCodes, prefetch};
pub use tile::{
    ByteRows, LANES, Lanes, PackedRows, Reaching, SHORT_SIZE, ScaledRows, largest, reaching, short_is_faster, tile,
};
