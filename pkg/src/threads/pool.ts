/**
 * Starts the threads: workers inside the engine's worker.
 *
 * They run the very script of the worker they are in. So there is no second
 * script for bundlers to find, servers to serve or a Content Security Policy to
 * allow, and where the one could start, so can the others.
 */

import { messageOf } from "../errors.js";
import type { FromThread, ThreadRun, ThreadStart } from "./messages.js";

/** A thread that has not started by then is done without. */
const START_MS = 5_000;

export interface PoolSettings {
  /** How many workers to start. */
  count: number;
  start: Omit<ThreadStart, "type">;
  /** A thread that was running is lost. */
  onCrash(message: string): void;
  newWorker?: (name: string) => Worker;
}

export interface Pool {
  /** How many workers started. */
  size: number;
  /** Why one did not start, where one did not. */
  problem: string | null;
}

/** Resolves when each thread computes or was given up. */
export async function startPool({ count, start, onCrash, newWorker = sameWorker }: PoolSettings): Promise<Pool> {
  const problems: string[] = [];
  const ready: Worker[] = [];
  const starting = Array.from({ length: count }, async (_, index) => {
    let worker: Worker | undefined;
    try {
      worker = newWorker(`cacher-thread-${index + 1}`);
      await started(worker, start);
      ready.push(worker);
    } catch (error) {
      worker?.terminate();
      problems.push(messageOf(error));
    }
  });
  await Promise.all(starting);
  ready.forEach((worker, index) => {
    worker.onmessage = null;
    worker.onerror = (event) => {
      event.preventDefault();
      onCrash(event.message ?? "a thread was lost");
    };
    // Only now: the numbers of those that compute have no gap.
    worker.postMessage({ type: "run", index: index + 1 } satisfies ThreadRun);
  });
  return { size: ready.length, problem: problems[0] ?? null };
}

function started(worker: Worker, start: Omit<ThreadStart, "type">): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer within ${START_MS / 1000} seconds`)), START_MS);
    const end = (error?: string) => {
      clearTimeout(timer);
      if (error === undefined) resolve();
      else reject(new Error(error));
    };
    worker.onmessage = ({ data }: MessageEvent<FromThread>) => end(data.type === "failed" ? data.message : undefined);
    worker.onerror = (event) => {
      event.preventDefault();
      end(event.message ?? "its script could not be loaded");
    };
    worker.postMessage({ type: "thread", ...start } satisfies ThreadStart);
  });
}

function sameWorker(name: string): Worker {
  return new Worker(location.href, { type: isModule() ? "module" : "classic", name });
}

/** Bundlers may have made a classic script of the module; only there is this call, of nothing, allowed. */
function isModule(): boolean {
  try {
    (globalThis as unknown as { importScripts(): void }).importScripts();
    return false;
  } catch {
    return true;
  }
}
