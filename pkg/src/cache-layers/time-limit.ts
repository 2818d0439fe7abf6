/**
 * Work that is given up after a time, whether or not it heeds its signal.
 */

import { abortError } from "../errors.js";

/** On this device, a layer that takes longer is of no use; a remote one has a limit of its own. In milliseconds. */
export const LOCAL_TIMEOUT_MS = 2_000;

/** Rejects with what `late` gives after `ms`, and as soon as `signal` is aborted; the work's own signal fires as well. */
export async function withinTime<T>(
  ms: number,
  late: () => Error,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const end = new AbortController();
  const abort = () => end.abort(abortError(signal));
  signal.addEventListener("abort", abort);
  const timer = setTimeout(() => end.abort(late()), ms);
  try {
    const ended = new Promise<never>((_, reject) => {
      end.signal.addEventListener("abort", () => reject(end.signal.reason));
      if (signal.aborted) abort();
    });
    return await Promise.race([ended, work(end.signal)]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
  }
}
