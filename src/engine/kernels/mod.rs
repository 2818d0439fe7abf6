//! What the engine spends its time in.
//!
//! [`linear`] has hand-written forms for wasm's plain and relaxed SIMD beside a
//! scalar oracle; everything else is written once against
//! [`vector::Vector`]. All forms give the same bits.

pub mod attention;
pub mod exp;
pub mod gelu;
pub mod linear;
pub mod norm;
pub mod quantize;
pub mod vector;
