//! GPT-2: its configuration, its weights as they stream in, its KV cache and
//! the forward pass.
//!
//! [`forward::Model`] is the one contract (rows in, logits out);
//! [`reference::Reference`] implements it in Candle operations, in f32. It is
//! what `dtype: "f32"` runs and what a faster engine is checked against.

pub mod config;
mod convert;
mod filling;
pub mod forward;
mod gguf;
pub mod kv;
pub mod loader;
mod names;
mod plan;
pub mod reference;
mod safetensors;
pub mod weights;

pub use config::Config;
pub use forward::{LogitRows, Model, Output, Rows, Taps};
pub use gguf::TokenizerLists;
pub use kv::KvCache;
pub use loader::{Loaded, Loader};
pub use reference::Reference;
pub use weights::Weights;
