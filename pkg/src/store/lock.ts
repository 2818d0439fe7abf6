/**
 * One download of a model at a time, over all tabs.
 */

import { abortError } from "../errors.js";

/**
 * Runs `work` while no other tab works under the same name; the others wait
 * and then find what it has stored. Where the browser has no locks (an
 * insecure origin), `work` runs at once.
 */
export async function withLock<T>(name: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  const locks = typeof navigator === "undefined" ? undefined : navigator.locks;
  if (locks === undefined) return work();
  let started = false;
  try {
    return (await locks.request(`cacher-model:${name}`, { signal }, () => {
      started = true;
      return work();
    })) as T;
  } catch (error) {
    if (!started && signal.aborted) throw abortError(signal);
    throw error;
  }
}
