/**
 * One writer of a model at a time, over all tabs.
 */

import { abortError, CacherError } from "../errors.js";

export interface LockSettings {
  name: string;
  signal: AbortSignal;
  /** Grows while the holder of the lock gets on. */
  measure(): Promise<number>;
}

const POLL_MS = 2_000;
/** A frozen tab can hold a lock for ever; one that gets nowhere for this long is taken for frozen. */
const STALL_MS = 30_000;

/**
 * Runs `work` while no other tab works under the same name; the others wait
 * and then find what it has stored, or give up with `storage-locked` where it
 * stands still. Where the browser has no locks (an insecure origin), `work`
 * runs at once.
 */
export async function withLock<T>({ name, signal, measure }: LockSettings, work: () => Promise<T>): Promise<T> {
  const locks = typeof navigator === "undefined" ? undefined : navigator.locks;
  if (locks === undefined) return work();

  const waiting = new AbortController();
  const endWaiting = () => waiting.abort();
  signal.addEventListener("abort", endWaiting, { once: true });
  const watch = watchStall(measure, endWaiting);
  let started = false;
  try {
    return (await locks.request(lockName(name), { signal: waiting.signal }, () => {
      started = true;
      clearInterval(watch);
      return work();
    })) as T;
  } catch (error) {
    if (started) throw error;
    if (signal.aborted) throw abortError(signal);
    if (!waiting.signal.aborted) throw error;
    throw new CacherError("storage-locked", "another tab has begun to download this model and does not get on");
  } finally {
    clearInterval(watch);
    signal.removeEventListener("abort", endWaiting);
  }
}

/** Runs `work` if no other tab works under the same name, else nothing. */
export async function withFreeLock(name: string, work: () => Promise<void>): Promise<void> {
  const locks = typeof navigator === "undefined" ? undefined : navigator.locks;
  if (locks === undefined) return work();
  await locks.request(lockName(name), { ifAvailable: true }, (lock) => (lock === null ? undefined : work()));
}

function lockName(name: string): string {
  return `cacher-model:${name}`;
}

function watchStall(measure: () => Promise<number>, onStall: () => void): ReturnType<typeof setInterval> {
  let last = -1;
  let since = Date.now();
  return setInterval(() => {
    void measure().then((size) => {
      if (size !== last) since = Date.now();
      else if (Date.now() - since >= STALL_MS) onStall();
      last = size;
    }, onStall);
  }, POLL_MS);
}
