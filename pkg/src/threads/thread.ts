/**
 * One thread of the pool: a worker with an instance of its own in the shared
 * memory, which computes until it is stopped.
 */

import { messageOf } from "../errors.js";
import * as glue from "../wasm/cacher_wasm_threads.js";
import type { FromThread, ThreadRun, ThreadStart } from "./messages.js";

/** A thread only runs kernels; their temporary values are on the heap. A whole number of 64 KiB pages. */
const STACK_BYTES = 1 << 20;

export interface ThreadScope {
  onmessage: ((event: MessageEvent<ThreadRun>) => void) | null;
  postMessage(message: FromThread): void;
  close(): void;
}

export async function becomeThread({ module, memory }: ThreadStart, scope: ThreadScope): Promise<void> {
  try {
    await glue.default({ module_or_path: module, memory, thread_stack_size: STACK_BYTES });
    const failure = new Int32Array(memory.buffer, glue.threadFailureAddress(), 1);
    scope.onmessage = ({ data }) => {
      run(data.index, failure);
      scope.close();
    };
    scope.postMessage({ type: "ready" });
  } catch (error) {
    scope.postMessage({ type: "failed", message: messageOf(error) });
  }
}

/**
 * Returns when the threads are stopped. A trap is told in the memory too: the
 * engine's worker may be waiting there, deaf to messages.
 */
function run(index: number, failure: Int32Array): void {
  try {
    glue.runThread(index);
  } catch (error) {
    Atomics.store(failure, 0, 1);
    Atomics.notify(failure, 0);
    throw error;
  }
}
