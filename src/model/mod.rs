//! GPT-2: its configuration, its weights as they stream in, its KV cache and
//! the forward pass.
//!
//! [`forward::Model`] is the one contract (rows in, logits out);
//! [`reference::Reference`] implements it in Candle operations, in f32. It is
//! what `dtype: "f32"` runs and what a faster engine is checked against.

pub mod ablation;
pub mod aligned;
pub mod captured;
pub mod config;
mod convert;
pub mod dtype;
mod filling;
pub mod forward;
mod gguf;
pub mod kv;
pub mod kv_head;
pub mod loader;
pub mod names;
mod plan;
pub mod prefix;
pub mod reference;
mod safetensors;
pub mod sink;
pub mod taps;
pub mod weights;

pub use ablation::{Ablation, Replacement};
pub use config::Config;
pub use dtype::Dtype;
pub use forward::{LogitRows, Model, Output, Rows};
pub use gguf::TokenizerLists;
pub use kv::{KvCache, KvFormat};
pub use loader::{Loaded, LoadedWeights, Loader};
pub use prefix::{BlockName, BlockTable};
pub use reference::Reference;
pub use taps::{Layers, Taps};
pub use weights::Weights;
