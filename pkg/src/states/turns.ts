/**
 * Turns under a key, within this thread: first come, first served.
 */

import { abortError } from "../errors.js";

export class Turns {
  /** Settles when all that asked for the key so far have left. */
  readonly #last = new Map<string, Promise<void>>();

  /** Whether somebody has the turn, or waits for it. */
  isTaken(key: string): boolean {
    return this.#last.has(key);
  }

  /** Waits for the turn; the caller ends it by calling what it got. */
  async take(key: string, signal: AbortSignal | undefined): Promise<() => void> {
    const before = this.#last.get(key) ?? Promise.resolve();
    let leave!: () => void;
    const left = new Promise<void>((resolve) => (leave = resolve));
    const last = before.then(() => left);
    this.#last.set(key, last);
    void last.then(() => {
      if (this.#last.get(key) === last) this.#last.delete(key);
    });
    try {
      await unlessAborted(before, signal);
    } catch (error) {
      leave();
      throw error;
    }
    return leave;
  }
}

/** What `promise` gives, or rejects as soon as `signal` is aborted. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(abortError(signal));
    if (signal?.aborted) return abort();
    signal?.addEventListener("abort", abort, { once: true });
    void promise.then(resolve, reject).finally(() => signal?.removeEventListener("abort", abort));
  });
}
