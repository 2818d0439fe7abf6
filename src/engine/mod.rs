//! The fast GPT-2: packed weights, integer dot products, threads.
//!
//! [`forward::Engine`] runs the same contract as the reference, from weights of
//! 8 bits or fewer ([`packed`], [`matrix`]) and with 8-bit keys and values. Its
//! results are exact by construction: integer sums, a fixed order for the
//! others, no instruction that rounds differently elsewhere. So the bits do
//! not depend on the batch, on how a prompt is cut into passes, on the number
//! of threads, or on the browser.

mod buffers;
pub mod forward;
pub mod governor;
pub mod kernels;
pub mod matrix;
pub mod pack;
pub mod packed;
pub mod packed_file;
mod pass;
pub mod shared;
mod taps;
pub mod threads;

pub use forward::Engine;
pub use packed::Packed;
