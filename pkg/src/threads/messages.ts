/**
 * The messages between the engine's worker and its threads.
 */

/** The first message to a worker that is to be a thread. */
export interface ThreadStart {
  type: "thread";
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
}

/** The second: compute as this one of the pool, from 1 on. */
export interface ThreadRun {
  type: "run";
  index: number;
}

export type FromThread = { type: "ready" } | { type: "failed"; message: string };
