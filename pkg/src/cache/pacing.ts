/**
 * Gives parts back in the time in which they once came.
 */

import { abortError } from "../errors.js";

/** Calls `give` with each part, when its time (milliseconds after now) has come. Rejects when `signal` fires. */
export async function pace<Part>(parts: readonly Part[], times: readonly number[], give: (part: Part) => void, signal: AbortSignal): Promise<void> {
  const begun = performance.now();
  for (const [index, part] of parts.entries()) {
    await until(begun + (times[index] ?? 0), signal);
    give(part);
  }
}

function until(time: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(abortError(signal));
    const wait = time - performance.now();
    if (wait <= 0) return resolve();
    const abort = () => {
      clearTimeout(timer);
      reject(abortError(signal));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", abort);
      resolve();
    }, wait);
    signal.addEventListener("abort", abort, { once: true });
  });
}
