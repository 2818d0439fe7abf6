//! The bindings for JavaScript: they convert, and do nothing else.
//!
//! JavaScript drives: it pushes a model's bytes into a [`loader::ModelLoader`],
//! gets an [`engine::Engine`], adds jobs to it, and calls `step` while there is
//! work, yielding to its event loop in between. No call waits for another, and
//! none calls back, so `&mut self` is never held across either.

pub mod analysis;
pub mod beam;
pub mod cache;
pub mod engine;
pub mod errors;
pub mod inspection;
pub mod loader;
mod memory;
pub mod requests;
pub mod state_files;
pub mod states;
#[cfg(target_feature = "atomics")]
pub mod threads;

use wasm_bindgen::prelude::wasm_bindgen;

/// SHA-256 of bytes that arrive in pieces; `crypto.subtle` wants them all at
/// once, and is missing outside secure contexts.
#[wasm_bindgen]
#[derive(Default)]
pub struct Sha256(sha2::Sha256);

#[wasm_bindgen]
impl Sha256 {
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    pub fn update(&mut self, bytes: &[u8]) {
        sha2::Digest::update(&mut self.0, bytes);
    }

    /// The hash in hexadecimal.
    pub fn digest(self) -> String {
        hex(&sha2::Digest::finalize(self.0))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Keeps a panic's message: without it the trap says only "unreachable".
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|info| errors::report_panic(&info.to_string())));
}
