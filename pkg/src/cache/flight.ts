/**
 * One computation that several callers wait for.
 *
 * Each gets all parts from the first on. One that leaves gets an abort; the
 * computation ends when the last has left.
 */

import { abortError } from "../errors.js";

export type Compute<Part, Result> = (onPart: (part: Part) => void, signal: AbortSignal) => Promise<Result>;

export class Flight<Part, Result> {
  readonly #controller = new AbortController();
  readonly #begun = performance.now();
  readonly #listeners = new Set<(part: Part) => void>();
  #waiting: number;
  /** What has come, and when, in milliseconds after the beginning. */
  readonly parts: { part: Part; ms: number }[] = [];
  readonly result: Promise<Result>;

  /** `background`: goes on without anybody who waits. */
  constructor(compute: Compute<Part, Result>, background = false) {
    this.#waiting = background ? 1 : 0;
    this.result = compute((part) => this.#take(part), this.#controller.signal);
    // Each waiter gets the error; without any it is nobody's.
    this.result.catch(() => undefined);
  }

  /** True once nobody waits any more, and it is being ended. */
  get ending(): boolean {
    return this.#controller.signal.aborted;
  }

  /** Milliseconds since the beginning. */
  get elapsedMs(): number {
    return performance.now() - this.#begun;
  }

  /**
   * Waits for the result. An abort rejects at once where others wait on; else
   * the computation is aborted and decides itself what becomes of it.
   */
  async join(onPart: (part: Part) => void, signal: AbortSignal): Promise<Result> {
    for (const { part } of this.parts) onPart(part);
    this.#listeners.add(onPart);
    this.#waiting++;
    let left = false;
    const leave = () => {
      if (!left) this.#waiting--;
      left = true;
    };
    let abort = leave;
    const abandoned = new Promise<never>((_, reject) => {
      abort = () => {
        leave();
        if (this.#waiting > 0) reject(abortError(signal));
        else this.#controller.abort(signal.reason);
      };
    });
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    try {
      return await Promise.race([this.result, abandoned]);
    } finally {
      signal.removeEventListener("abort", abort);
      this.#listeners.delete(onPart);
      leave();
    }
  }

  #take(part: Part): void {
    this.parts.push({ part, ms: this.elapsedMs });
    for (const listener of [...this.#listeners]) listener(part);
  }
}
