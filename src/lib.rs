//! GPT-2 as a library: run it, stream from it, look inside it, in a browser
//! tab or natively.
//!
//! The crate is layered, and data flows one way:
//!
//! | module | what it does |
//! |---|---|
//! | [`model`] | GPT-2: config, streamed weights, KV cache, the forward pass |
//! | [`engine`] | GPT-2 fast: packed weights, hand-written kernels, threads |
//! | [`tokenizer`] | text to token ids and back, byte-exact while streaming |
//! | [`generate`] | processors, sampling, stop strings, the step scheduler |
//! | [`analysis`] | what the model expects of a text, and how it comes to it |
//! | [`state`] | texts with a history: fork, merge, rewind, keep |
//! | [`cache`] | answers kept, so that none is computed twice |
//! | `wasm` | bindings for JavaScript; compiled for `wasm32` only |
//!
//! Nothing outside `wasm` knows JavaScript, so all of it is tested natively.

// Sleeping threads are only nightly's, and only the build with threads has any.
#![cfg_attr(target_feature = "atomics", feature(stdarch_wasm_atomic_wait))]

pub mod analysis;
pub mod cache;
pub mod engine;
pub mod error;
pub mod generate;
pub mod model;
pub mod state;
pub mod tokenizer;

#[cfg(target_arch = "wasm32")]
pub mod wasm;

pub use error::{Error, Result};
