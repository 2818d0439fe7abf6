//! The threads of a build with shared memory: workers that JavaScript starts.

use crate::engine::threads::POOL;
use wasm_bindgen::prelude::wasm_bindgen;

/// Takes part in the engine's passes as thread `index`, from 1 on; for ever.
#[wasm_bindgen(js_name = runThread)]
pub fn run_thread(index: u32) {
    POOL.work(index as usize);
}

/// Lets passes run on `count` threads, the engine's own included. The others
/// must be about to call `runThread`.
#[wasm_bindgen(js_name = setThreads)]
pub fn set_threads(count: u32) {
    POOL.set_size(count as usize);
}
