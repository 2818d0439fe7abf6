/**
 * A number of places, given to those who wait in a fixed order and not in the
 * order in which they came.
 */

import { abortError } from "../errors.js";

interface Waiting {
  order: number;
  enter(): void;
}

export class Slots {
  readonly #waiting: Waiting[] = [];
  #free: number;

  constructor(count: number) {
    this.#free = count;
  }

  /** Resolves to the way out, once there is a place and nobody waits whose `order` is lower; rejects when `signal` fires. */
  enter(order: number, signal: AbortSignal): Promise<() => void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(abortError(signal));
      const abort = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        reject(abortError(signal));
      };
      const waiting = {
        order,
        enter: () => {
          signal.removeEventListener("abort", abort);
          resolve(this.#wayOut());
        },
      };
      signal.addEventListener("abort", abort, { once: true });
      const after = this.#waiting.findIndex((each) => each.order > order);
      this.#waiting.splice(after === -1 ? this.#waiting.length : after, 0, waiting);
      this.#fill();
    });
  }

  #wayOut(): () => void {
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#free++;
      this.#fill();
    };
  }

  #fill(): void {
    while (this.#free > 0 && this.#waiting.length > 0) {
      this.#free--;
      this.#waiting.shift()!.enter();
    }
  }
}
