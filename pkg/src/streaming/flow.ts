/**
 * How far a producer of chunks may be ahead of whoever reads them.
 *
 * One number says it all: how many chunks may have been given by now. It counts
 * from the first chunk on and not from the last message, so nothing depends on
 * when a message arrives: a producer in a worker stops at the number by itself,
 * even while the reader's thread is too busy to say anything. Nought pauses it.
 */

import { abortError } from "../errors.js";

export interface Flow {
  /** How many chunks may have been given in all; `0`: paused, `Infinity`: as many as there are. */
  readonly allowed: number;
  /** Calls `listener` after each change; returns the way out. */
  onchange(listener: () => void): () => void;
}

/** A number that is set from outside. */
export class FlowValue implements Flow {
  readonly #listeners = new Set<() => void>();
  #allowed: number;

  constructor(allowed = Infinity) {
    this.#allowed = allowed;
  }

  get allowed(): number {
    return this.#allowed;
  }

  set allowed(allowed: number) {
    if (allowed === this.#allowed) return;
    this.#allowed = allowed;
    for (const listener of [...this.#listeners]) listener();
  }

  onchange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/** Nobody holds anything back. */
export const UNLIMITED: Flow = new FlowValue();

/** Resolves once the chunk after the first `given` may be given; rejects when `signal` fires. */
export function roomAfter(given: number, flow: Flow, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(abortError(signal));
    if (flow.allowed > given) return resolve();
    const leave = flow.onchange(() => {
      if (flow.allowed > given) settle(resolve);
    });
    const abort = () => settle(() => reject(abortError(signal)));
    const settle = (end: () => void) => {
      leave();
      signal.removeEventListener("abort", abort);
      end();
    };
    signal.addEventListener("abort", abort, { once: true });
  });
}

export interface WindowOptions {
  /** Most chunks that wait to be read, those on their way included, once somebody reads. */
  size: number;
  /** Most chunks that may be made before the last that came has been looked at. */
  lookahead: number;
}

/**
 * The reader's side: works the number out from what has come and what has been
 * read. It is raised in steps of half a window, so that not each chunk read
 * costs a message.
 */
export class Window implements Flow {
  readonly #value: FlowValue;
  readonly #size: number;
  readonly #lookahead: number;
  readonly #step: number;
  #received = 0;
  #waiting = 0;
  /** What reading has allowed so far; it never falls. */
  #granted = 0;
  #limited = false;
  #paused = false;
  #open = false;

  constructor({ size, lookahead }: WindowOptions) {
    this.#size = size;
    this.#lookahead = lookahead;
    this.#step = lookahead === Infinity ? Math.ceil(size / 2) : 1;
    this.#value = new FlowValue(lookahead);
  }

  get allowed(): number {
    return this.#value.allowed;
  }

  onchange(listener: () => void): () => void {
    return this.#value.onchange(listener);
  }

  get paused(): boolean {
    return this.#paused && !this.#open;
  }

  set paused(paused: boolean) {
    this.#paused = paused;
    this.#value.allowed = this.#wanted();
  }

  /** Somebody reads from now on. */
  limit(): void {
    this.#limited = true;
    this.#value.allowed = this.#wanted();
  }

  /** It has ended, or is to end: whatever is there may come. */
  open(): void {
    this.#open = true;
    this.#value.allowed = Infinity;
  }

  /** A chunk has come. To be followed by `waiting`. */
  receive(): void {
    this.#received++;
  }

  /** So many chunks wait to be read. */
  waiting(count: number): void {
    this.#waiting = count;
    const wanted = this.#wanted();
    if (wanted >= this.#value.allowed + this.#step) this.#value.allowed = wanted;
  }

  #wanted(): number {
    if (this.#open) return Infinity;
    if (this.#paused) return 0;
    if (this.#limited) {
      this.#granted = Math.max(this.#granted, this.#received + Math.max(0, this.#size - this.#waiting));
    }
    return Math.min(this.#limited ? this.#granted : Infinity, this.#received + this.#lookahead);
  }
}
