/**
 * Gives parts back in the time in which they once came, if there is room for them.
 */

import { abortError } from "../errors.js";
import { roomAfter } from "../streaming/flow.js";
import type { Sink } from "../streaming/sink.js";

/** Gives the sink each part, when its time (milliseconds after now, without those in which there was no room) has come. Rejects when its signal fires. */
export async function pace<Part>(parts: readonly Part[], times: readonly number[], { give, flow, signal }: Pick<Sink<Part>, "give" | "flow" | "signal">): Promise<void> {
  let begun = performance.now();
  for (const [index, part] of parts.entries()) {
    for (;;) {
      await until(begun + (times[index] ?? 0), signal);
      if (flow.allowed > index) break;
      const blocked = performance.now();
      await roomAfter(index, flow, signal);
      begun += performance.now() - blocked;
    }
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
