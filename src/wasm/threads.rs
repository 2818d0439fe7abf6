//! The threads of a build with shared memory: workers that JavaScript starts.

use crate::engine::threads::POOL;
use wasm_bindgen::prelude::wasm_bindgen;

/// Takes part in the engine's passes as thread `index`, from 1 on, until the
/// threads are stopped.
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

/// Ends `runThread` in every thread.
#[wasm_bindgen(js_name = stopThreads)]
pub fn stop_threads() {
    POOL.close();
}

/// Address of an i32 that is not zero once a thread is lost.
#[wasm_bindgen(js_name = threadFailureAddress)]
pub fn thread_failure_address() -> usize {
    POOL.failure().as_ptr() as usize
}
