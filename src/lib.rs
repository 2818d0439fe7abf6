//! GPT-2 as a library: run it, stream from it, look inside it, in a browser
//! tab or natively.
//!
//! The crate is layered, and data flows one way:
//!
//! | module | what it does |
//! |---|---|
//! | [`model`] | GPT-2: config, streamed weights, KV cache, the forward pass |
//! | [`tokenizer`] | text to token ids and back, byte-exact while streaming |
//! | [`generate`] | processors, sampling, stop strings, the step scheduler |
//! | `wasm` | bindings for JavaScript; compiled for `wasm32` only |
//!
//! Nothing outside `wasm` knows JavaScript, so all of it is tested natively.

pub mod error;
pub mod generate;
pub mod model;
pub mod tokenizer;

#[cfg(target_arch = "wasm32")]
pub mod wasm;

pub use error::{Error, Result};
