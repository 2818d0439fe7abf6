//! What the engine holds, for whoever looks inside.

use super::engine::Engine;
use super::memory::{allocated_bytes, static_bytes, wasm_bytes};
use crate::error::{Error, Result};
use crate::state::kv_report::{KvReport, kv_report};
use serde::Serialize;
use wasm_bindgen::prelude::wasm_bindgen;

#[derive(Serialize)]
struct Inspection {
    memory: Memory,
    kv: KvReport,
}

/// Bytes of the WebAssembly memory, by owner; they sum to the whole.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Memory {
    wasm_bytes: u64,
    weight_bytes: u64,
    kv_bytes: u64,
    attention_bytes: u64,
    scratch_bytes: u64,
    other_bytes: u64,
    static_bytes: u64,
    free_bytes: u64,
}

#[wasm_bindgen]
impl Engine {
    /// Memory by owner and the KV cache's blocks, in JSON.
    pub fn inspect(&mut self) -> Result<String> {
        let (model, _, blocks) = self.scheduler.parts();
        let kv = kv_report(&self.states.states, model, blocks);
        let (weight_bytes, scratch_bytes) = (model.weight_bytes(), model.scratch_bytes());
        let (kv_bytes, attention_bytes) = (kv.metrics.bytes, kv.captured.bytes);
        let owned = weight_bytes + scratch_bytes + kv_bytes + attention_bytes;
        let (wasm_bytes, static_bytes, allocated) =
            (wasm_bytes(), static_bytes(), allocated_bytes());
        let memory = Memory {
            wasm_bytes,
            weight_bytes,
            kv_bytes,
            attention_bytes,
            scratch_bytes,
            other_bytes: allocated.saturating_sub(owned),
            static_bytes,
            free_bytes: wasm_bytes.saturating_sub(static_bytes + allocated),
        };
        serde_json::to_string(&Inspection { memory, kv })
            .map_err(|error| Error::Internal(error.to_string()))
    }
}
